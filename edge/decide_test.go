package edge_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/policy"
)

// judgePolicy is rich in what patterns and templates can say.
const judgePolicy = `
version: 1
gate: {log: $LOG}
issuers:
- {name: one, provider: generic, issuer: "https://one.test", jwks: "file:$ROOT/jwks/all.json", audiences: [g], claims: &claims {tenant: $.t, project: $.p, job: $.j, ref: $.r, run: $.n, sha: $.s, actor: $.a, runner: $.m}}
- {name: two, provider: generic, issuer: "https://two.test", jwks: "file:$ROOT/jwks/all.json", audiences: [g], claims: *claims}
roles:
- {name: a.b, match: [{project: "acme/*", ref: "refs/heads/main"}, {issuer: two, job: "*.yml"}]}
- {name: a-b, match: [{project: "acme/**", actor: "k?m"}, {subject: "svc/**"}]}
- {name: "c", match: [{tenant: 'lit\*ral', runner: "**"}, {ref: "refs/**/v(1)"}]}
- {name: rest, match: [{issuer: "*", project: "**"}]}
grants:
- {roles: [a.b, a-b], methods: [GET, PUT], paths: ["/p/{project}/**", "/s/{subject}"]}
- {roles: [c, a-b], methods: [GET, PATCH], hosts: ["h.test", "*.w.test"], paths: ["/v*.zip", "/x/*/y", "/r/{ref}/{sha}"]}
- {roles: [rest], methods: [GET], paths: ["/only/{tenant}-{run}/z", "/a b/(.+)"]}
- {roles: [c], paths: ["/**"]}
protect:
  public:
  - {paths: [/open, "/open/*.css"]}
  - {methods: [POST], hosts: [hook.test], paths: [/hook/**]}
`

// pick is one of its arguments.
func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// randomIdentity is an identity near the policy's patterns.
func randomIdentity(r *rand.Rand) policy.Identity {
	return policy.Identity{
		Issuer: pick(r, "one", "two"), Provider: "generic",
		Tenant:  pick(r, "", "acme", "lit*ral", "literal"),
		Project: pick(r, "", "acme/shop", "acme/shop/sub", "acme", "acme/", "other"),
		Job:     pick(r, "", "ci.yml", "a/ci.yml", ".yml", "yml"),
		Ref:     pick(r, "", "refs/heads/main", "refs/heads/main2", "refs/tags/v(1)", "refs/v(1)", "refs/a/b/v(1)"),
		Run:     pick(r, "", "17"), SHA: pick(r, "", "abc123"),
		Actor: pick(r, "", "kim", "kiim", "k/m"), Runner: pick(r, "", "agent 7 (ä)", "x"),
		Subject: pick(r, "svc/1/2", "svc/", "me", "svc"),
	}
}

// randomRequest is a request near the policy's templates.
func randomRequest(r *rand.Rand, id policy.Identity) policy.Request {
	path := pick(r, "/p/"+id.Project+"/x", "/p/"+id.Project+"/", "/p/"+id.Project, "/p/acme/shop/x/y", "/s/"+id.Subject, "/s/svc/1", "/v1.zip", "/v.zip",
		"/v/1.zip", "/v1.zipx", "/x/a/y", "/x//y", "/x/a/b/y", "/r/"+id.Ref+"/"+id.SHA, "/only/"+id.Tenant+"-"+id.Run+"/z", "/only/acme-17/z",
		"/a%20b/(.+)", "/a%20b/(.)", "/open", "/open/", "/open/x.css", "/open/.css", "/open/x/y.css", "/hook/1", "/hook/", "/hook", "/", "/%2e", "/a;b", "/p/%61cme/shop/x", "/%zz", "/p/acme%2fshop/x", "/..", "/x/%C3%A4/y")
	return policy.Request{
		Method: pick(r, "GET", "GET", "PUT", "PATCH", "POST", "DELETE", "HEAD", "get"),
		Host:   pick(r, "h.test", "H.TEST:80", "a.w.test", "a.b.w.test", "hook.test", "other.test", "w.test"),
		Path:   path,
	}
}

func (j judge) token(id policy.Identity) string {
	now := time.Now().Unix()
	claims := map[string]any{"iss": "https://" + id.Issuer + ".test", "aud": "g", "sub": id.Subject, "iat": now, "exp": now + 600}
	for name, value := range map[string]string{
		"t": id.Tenant, "p": id.Project, "j": id.Job, "r": id.Ref, "n": id.Run, "s": id.SHA, "a": id.Actor, "m": id.Runner,
	} {
		if value != "" {
			claims[name] = value
		}
	}
	return j.signer.Token(j.t, claims)
}

// judge holds what the policy's Decide says against what HAProxy does.
type judge struct {
	t      *testing.T
	g      *edgetest.Gate
	signer edgetest.Signer
}

// TestHAProxyDecidesAsThePolicy: the rendered maps and Decide, which were written
// apart from each other, agree on random identities and requests.
func TestHAProxyDecidesAsThePolicy(t *testing.T) {
	edgetest.Binary(t)
	root := edgetest.Root(t)
	j := judge{t: t, signer: edgetest.NewSigner(t, "k1", jose.RS256, 0)}
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks/all.json"), j.signer)
	j.g = edgetest.Start(t, root, judgePolicy, edgetest.Options{})
	r := rand.New(rand.NewPCG(7, 7))
	type question struct {
		id     policy.Identity
		r      policy.Request
		status int
	}
	questions := make([]question, 1500)
	reasons := make(map[string]int)
	for i := range questions {
		id := randomIdentity(r)
		q := question{id: id, r: randomRequest(r, id)}
		q.status = j.ask(q.id, q.r)
		questions[i] = q
	}
	lines := j.g.Sink.Take(t, len(questions))
	for i, q := range questions {
		want, l := j.g.Policy.Decide(q.id, q.r), lines[i]
		if l.Reason != want.Reason || l.Role != want.Role || (l.Decision == "allow") != want.Allow || (q.status < 400) != want.Allow {
			t.Errorf("%+v\n%+v\npolicy  %+v\nHAProxy %d %s %s role %q", q.id, q.r, want, q.status, l.Decision, l.Reason, l.Role)
		}
		reasons[want.Reason]++
	}
	for _, reason := range []string{"ok", "public", "no_role", "path_unsafe", "grant_denied"} {
		if reasons[reason] < 15 {
			t.Errorf("only %d of %d questions came to %s: %v", reasons[reason], len(questions), reason, reasons)
		}
	}
}

func (j judge) ask(id policy.Identity, q policy.Request) int {
	j.t.Helper()
	r, err := http.NewRequest(http.MethodGet, j.g.URL, nil)
	if err != nil {
		j.t.Fatal(err)
	}
	r.Method, r.Host, r.URL.Opaque = q.Method, q.Host, q.Path
	r.Header.Set("Authorization", "Bearer "+j.token(id))
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		j.t.Fatal(fmt.Errorf("%+v: %w", q, err))
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}
