package edge_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge/edgetest"
)

// attackPolicy has two issuers that both have a key under the kid "shared".
const attackPolicy = `
version: 1
gate: {log: $LOG, node: edge-test}
issuers:
- {name: hub, provider: github, issuer: "https://hub.test", jwks: "file:$ROOT/jwks/hub.json", audiences: [gate.test, other.test], max_age: 1h, max_lifetime: 2h, algorithms: [RS256, ES256, ES384, ES512]}
- {name: lab, provider: gitlab, issuer: "https://lab.test", jwks: "file:$ROOT/jwks/lab.json", audiences: [gate.test]}
- {name: loose, provider: generic, issuer: "https://loose.test", jwks: "file:$ROOT/jwks/loose.json", audiences: [gate.test], max_age: 0, max_lifetime: 0, claims: {project: $.team}}
roles:
- {name: deployer, match: [{issuer: hub, project: "acme/*", ref: refs/heads/main}, {issuer: loose, project: "**"}]}
- {name: reader, match: [{issuer: hub, project: "acme/*"}]}
- {name: idle, match: [{issuer: hub, project: "idle/*"}]}
- {name: slow, match: [{issuer: hub, project: "slow/*"}], rate: 3/10s}
grants:
- {roles: [reader, deployer], methods: [GET], paths: ["/artifacts/**", "/one/*"]}
- {roles: [deployer], methods: [PUT, DELETE], paths: ["/artifacts/{project}/**"]}
- {roles: [deployer], methods: [GET], hosts: ["secrets.test", "*.vault.test"], paths: [/secrets/**]}
- {roles: [slow], paths: [/slow/**]}
protect:
  frontends: [www]
  backends: [app]
  public:
  - {paths: [/healthz, /assets/**]}
`

// attacker knows all that is public: URLs, kids, public keys and the claims of
// the job whose place it wants; and, to make the other cases, has real tokens.
type attacker struct {
	t      *testing.T
	g      *edgetest.Gate
	rs, es edgetest.Signer // hub's
	shared edgetest.Signer // lab's, under a kid that hub has too
	loose  edgetest.Signer
	claims map[string]any // a deployer's
}

func newAttacker(t *testing.T) attacker { return newAttackerWith(t, edgetest.Options{}) }

func newAttackerWith(t *testing.T, o edgetest.Options) attacker {
	edgetest.Binary(t)
	root := edgetest.Root(t)
	a := attacker{
		t:  t,
		rs: edgetest.NewSigner(t, "rs", jose.RS256, 0), es: edgetest.NewSigner(t, "es", jose.ES256, 0),
		shared: edgetest.NewSigner(t, "shared", jose.RS256, 1), loose: edgetest.NewSigner(t, "AQ==/+:@x", jose.RS256, 2),
	}
	other := a.rs
	other.KID = "shared"
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks/hub.json"), a.rs, a.es, other,
		edgetest.NewSigner(t, "es384", jose.ES384, 0), edgetest.NewSigner(t, "es512", jose.ES512, 0))
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks/lab.json"), a.shared)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks/loose.json"), a.loose)
	a.g = edgetest.Start(t, root, attackPolicy, o)
	now := time.Now().Unix()
	a.claims = map[string]any{
		"iss": "https://hub.test", "aud": "gate.test", "sub": "repo:acme/shop:ref:refs/heads/main", "jti": "7d3f-1",
		"iat": now - 5, "nbf": now - 5, "exp": now + 600, "repository": "acme/shop", "repository_owner": "acme",
		"ref": "refs/heads/main", "sha": strings.Repeat("ab", 20), "run_id": "9123456789", "run_attempt": "1", "actor": "kim",
	}
	return a
}

// token is a real token of the job, with claims changed before it is signed.
func (a attacker) token(changes map[string]any) string {
	a.t.Helper()
	return a.rs.Token(a.t, edgetest.With(a.claims, changes))
}

// raw is a token whose payload is the job's with text put in before its end.
func (a attacker) raw(text string) string {
	a.t.Helper()
	payload := string(a.payload())
	return a.rs.Token(a.t, json.RawMessage(payload[:len(payload)-1]+text+"}"))
}

func (a attacker) payload() []byte {
	a.t.Helper()
	payload, err := json.Marshal(a.claims)
	if err != nil {
		a.t.Fatal(err)
	}
	return payload
}

// headed is the job's token under another header, its signature made by sign.
func (a attacker) headed(header map[string]any, sign func(string) []byte) string {
	a.t.Helper()
	return edgetest.Forge(a.t, header, a.claims, sign)
}

func hs256(secret []byte) func(string) []byte {
	return func(input string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
}

func zeros(n int) func(string) []byte { return func(string) []byte { return make([]byte, n) } }

// attack is a request and what the gate must make of it.
type attack struct {
	name, method, path string
	authorization      []string
	headers            http.Header
	host               string
	status             int
	reason             string
}

func bearer(name, token string, status int, reason string) attack {
	return attack{name: name, authorization: []string{"Bearer " + token}, status: status, reason: reason}
}

func (a attacker) tokenShapes() []attack {
	good := a.token(nil)
	return []attack{
		bearer("as it should be", good, 200, "ok"),
		{name: "lower-case scheme", authorization: []string{"bearer " + good}, status: 200, reason: "ok"},
		{name: "no token", status: 401, reason: "no_token"},
		{name: "Basic", authorization: []string{"Basic dXNlcjpwYXNz"}, status: 401, reason: "no_token"},
		{name: "two Authorization headers", authorization: []string{"Bearer " + good, "Bearer " + good}, status: 401, reason: "no_token"},
		bearer("dots", "..", 401, "token_shape"),
		bearer("garbage", "garbage", 401, "token_shape"),
		bearer("four parts", good+".x", 401, "token_shape"),
		bearer("no JSON in it", "e30x.bm90IGpzb24.AAAA", 401, "iss_bad"),
		bearer("longer than the bound", good+strings.Repeat("A", 6000), 401, "token_size"),
		{name: "identity header instead of a token", headers: http.Header{"X-Identity-Sub": {"root"}}, status: 401, reason: "no_token"},
	}
}

func (a attacker) signatures() []attack {
	der, err := x509.MarshalPKIXPublicKey(a.rs.Private.Public())
	if err != nil {
		a.t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good, other := strings.Split(a.token(nil), "."), strings.Split(a.token(map[string]any{"run_id": "1"}), ".")
	header := func(alg, kid string) map[string]any { return map[string]any{"alg": alg, "kid": kid, "typ": "JWT"} }
	stranger := edgetest.NewSigner(a.t, "es", jose.ES256, 0)
	attacks := []attack{
		bearer("ES256", a.es.Token(a.t, a.claims), 200, "ok"),
		bearer("another key under our kid", stranger.Token(a.t, a.claims), 401, "sig_bad"),
		bearer("claims of one token, signature of another", good[0]+"."+other[1]+"."+good[2], 401, "sig_bad"),
		bearer("signature cut", strings.Join(good, ".")[:len(strings.Join(good, "."))-4], 401, "sig_bad"),
		bearer("alg none", a.headed(header("none", "rs"), zeros(0)), 401, "token_shape"),
		bearer("alg none with a signature", a.headed(header("none", "rs"), zeros(256)), 401, "alg_mismatch"),
		bearer("alg None", a.headed(header("None", "rs"), zeros(256)), 401, "alg_mismatch"),
		bearer("HS256 with the public key", a.headed(header("HS256", "rs"), hs256(public)), 401, "alg_mismatch"),
		bearer("ES256 on an RSA key", a.headed(header("ES256", "rs"), zeros(64)), 401, "alg_mismatch"),
		bearer("RS512, which the key is not for", a.headed(header("RS512", "rs"), zeros(256)), 401, "alg_mismatch"),
		bearer("PS256", a.headed(header("PS256", "rs"), zeros(256)), 401, "alg_mismatch"),
		bearer("alg with a NUL", a.headed(header("RS256\x00", "rs"), zeros(256)), 401, "alg_mismatch"),
		bearer("no alg", a.headed(map[string]any{"kid": "rs"}, zeros(256)), 401, "alg_mismatch"),
		bearer("ES256 signature too long", a.headed(header("ES256", "es"), zeros(3000)), 401, "sig_length"),
		bearer("ES256 signature too short", a.headed(header("ES256", "es"), zeros(63)), 401, "sig_length"),
		bearer("ES384 signature of ES256's length", a.headed(header("ES384", "es384"), zeros(64)), 401, "sig_length"),
		bearer("ES512 signature of zeros", a.headed(header("ES512", "es512"), zeros(132)), 401, "sig_bad"),
		bearer("ES256 signature of zeros", a.headed(header("ES256", "es"), zeros(64)), 401, "sig_bad"),
		bearer("crit: b64", a.headed(map[string]any{"alg": "RS256", "kid": "rs", "crit": []string{"b64"}, "b64": false}, zeros(256)), 401, "header_crit"),
		bearer("crit: no list", a.headed(map[string]any{"alg": "RS256", "kid": "rs", "crit": "exp"}, zeros(256)), 401, "header_crit"),
		bearer("unknown kid", a.headed(header("RS256", "rs-1999"), zeros(256)), 401, "kid_unknown"),
		bearer("no kid", a.headed(map[string]any{"alg": "RS256"}, zeros(256)), 401, "kid_unknown"),
		bearer("kid with a NUL", a.headed(header("RS256", "rs\x00x"), zeros(256)), 401, "kid_unknown"),
		bearer("kid that reaches into the map's key", a.headed(header("RS256", "rs|RS256"), zeros(256)), 401, "kid_unknown"),
		bearer("kid that forges a line", a.headed(header("RS256", "x\",\"sub\":\"root\n<134>1 - root"), zeros(256)), 401, "kid_unknown"),
		bearer("one issuer's name, another's key of the same kid", a.shared.Token(a.t, a.claims), 401, "sig_bad"),
		bearer("a key that only another issuer has", a.loose.Token(a.t, a.claims), 401, "kid_unknown"),
		bearer("kid of odd characters", a.loose.Token(a.t, edgetest.With(a.claims, map[string]any{"iss": "https://loose.test", "team": "x"})), 200, "ok"),
	}
	// HS256 with the name of the key's file as secret: what a verifier does that takes the algorithm from the token
	for _, entry := range a.liveKeys() {
		attacks = append(attacks, bearer("HS256 with "+entry, a.headed(header("HS256", "rs"), hs256([]byte(entry))), 401, "alg_mismatch"))
	}
	return attacks
}

// liveKeys are the files that the gate verifies with.
func (a attacker) liveKeys() []string {
	entries, err := a.g.Client(a.t).Map(a.t.Context(), filepath.Join(a.g.Base, "maps/keys.map"))
	if err != nil {
		a.t.Fatal(err)
	}
	var files []string
	for _, entry := range entries {
		if entry.Value != "1" && !slices.Contains(files, entry.Value) {
			files = append(files, entry.Value)
		}
	}
	return files
}

func (a attacker) claimValues() []attack {
	now := time.Now().Unix()
	var attacks []attack
	claim := func(status int, reason, name string, values ...any) {
		for i, value := range values {
			attacks = append(attacks, bearer(fmt.Sprintf("%s %s %d: %.40q", name, reason, i, fmt.Sprint(value)),
				a.token(map[string]any{name: value}), status, reason))
		}
	}
	number := func(text string) any { return json.RawMessage(text) }
	claim(401, "iss_bad", "iss", nil, "https://nowhere.test", "https://hub.test\x00", "https://hub.test/", "https://HUB.test", 7, []string{"https://hub.test"})
	claim(401, "kid_unknown", "iss", "https://lab.test")
	claim(401, "aud_bad", "aud", nil, "", "gate", "gate.test\x00x", "gate.test.evil", "GATE.test", []string{"a", "b"}, true,
		map[string]any{"gate.test": "gate.test"}, `["gate.test"]`, []any{[]string{"gate.test"}}, "hub|gate.test")
	claim(200, "ok", "aud", "other.test", []string{"gate.test", "b"}, []string{"a", "b", "c", "d", "e", "gate.test"})
	claim(401, "claim_type", "exp", true, "never", "", -1, fmt.Sprint(now+600), number("1.9e10"), number("null"), []int64{now + 600}, number("9223372036854775808"), int64(1)<<53, int64(1)<<53-1)
	claim(401, "exp_bad", "exp", nil, 0, now-31)
	claim(200, "ok", "exp", now-20, number(fmt.Sprintf("%d.5", now+60)))
	claim(401, "nbf_bad", "nbf", now+600)
	claim(401, "claim_type", "nbf", "soon", true, -1, number("1e3"), number("9223372036854775808"), number("9999999999999999"), number("9007199254740992"))
	claim(200, "ok", "nbf", nil, now+20)
	claim(401, "iat_bad", "iat", nil, now+600, 0)
	claim(401, "claim_type", "iat", fmt.Sprint(now), -1)
	claim(401, "too_old", "iat", now-3700)
	claim(200, "ok", "iat", now+20, now-3500)
	claim(401, "lifetime", "exp", now+7300, number("999999999999999"))
	claim(401, "claim_charset", "sub", nil, "", "root\n", "a\nb", `a"b`, "a\x00b", "ä", "a|b", `a\b`, "deploy \U0001F680", "a\x7f", strings.Repeat("a", 301))
	for _, branch := range []string{"feature/#123", "fix-(12)", "it's", "a&b;c", "<x>{y}$!~^`", "release [1]", strings.Repeat("dependabot/", 20)} {
		claim(200, "ok", "sub", "repo:acme/shop:ref:refs/heads/"+branch) // GitHub's sub has the branch in it
	}
	claim(401, "claim_type", "sub", 7, true, map[string]any{"sub": "root"}, []string{"root"})
	claim(401, "claim_charset", "jti", "", "a b", "a\x00", "x\",\"sub\":\"root", strings.Repeat("j", 201))
	claim(200, "ok", "jti", nil)
	claim(401, "claim_charset", "sha", "0123\n<134>1 - - -", `","sub":"root`)
	claim(401, "claim_charset", "ref", "refs/heads/main|", "refs/heads/main\x00x", "refs/heads/main\n")
	claim(401, "claim_charset", "repository", "acme/shop|refs/heads/main", "acme/shop\x00x", strings.Repeat("r", 2000))
	claim(200, "ok", "ref", "refs/heads/fix (#12) it's ~50% of ä")
	claim(403, "no_role", "repository", nil, "", "acmee/shop", "acme", "acme/shop/x", "Acme/shop")
	claim(200, "ok", "run_id", number("9007199254740991"), nil, true)
	return append(attacks,
		bearer("sub twice", a.raw(`,"sub":"root"`), 401, "claim_duplicate"),
		bearer("aud an empty list, ours in the next one", a.rs.Token(a.t, json.RawMessage(strings.Replace(string(a.payload()), `"aud":"gate.test"`, `"aud": [ ],"scp":["gate.test"]`, 1))), 401, "claim_type"),
		bearer(`"/" written as "\/"`, a.rs.Token(a.t, json.RawMessage(strings.ReplaceAll(string(a.payload()), "/", `\/`))), 200, "ok"),
		bearer(`a backslash before a slash`, a.raw(`,"x":"\\/\\\/"`), 200, "ok"),
		bearer("aud twice, with blanks", a.raw(` , "aud" : "x"`), 401, "claim_duplicate"),
		bearer("exp a text, behind line feeds", a.raw(",\n\"x\": 1,\n\"act\": {\n\"exp\": \"never\"}\n"), 401, "claim_type"),
		bearer("sub twice, behind line feeds", a.raw(",\n\n\"sub\" :\n \"root\"\n"), 401, "claim_duplicate"),
		bearer("written over many lines", a.raw(",\n\n\"x\" :\n 1\n"), 200, "ok"),
		bearer("any claim twice", a.raw(`,"x":{"y":1},"x":2`), 401, "claim_duplicate"),
		bearer("the same name further down", a.raw(`,"act":{"sub":"root","aud":"x"},"a":["sub","sub"],"b":"\"sub\":1"`), 200, "ok"),
		bearer("many claims", a.raw(manyClaims(120)), 200, "ok"),
		bearer("deep claims", a.raw(`,"deep":`+strings.Repeat(`{"a":`, 200)+"1"+strings.Repeat("}", 200)), 200, "ok"),
		bearer("without iat, where that is allowed", a.loose.Token(a.t, map[string]any{
			"iss": "https://loose.test", "aud": "gate.test", "sub": "me", "exp": now + 1<<30, "team": "core",
		}), 200, "ok"),
	)
}

func manyClaims(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"claim_%d":"value {%d}"`, i, i)
	}
	return b.String()
}

func (a attacker) paths() []attack {
	good, branch := a.token(nil), a.token(map[string]any{"ref": "refs/heads/main-of-mine"})
	var attacks []attack
	add := func(method, path, token string, status int, reason string) {
		attacks = append(attacks, attack{
			name: method + " " + path, method: method, path: path,
			authorization: []string{"Bearer " + token}, status: status, reason: reason,
		})
	}
	for _, path := range []string{
		"/artifacts/../secrets/x", "/artifacts/%2e%2e/secrets/x", "/artifacts/.%2E/secrets/x", "/artifacts/%252e%252e/secrets/x",
		"/artifacts//secrets/x", "/artifacts/x;/secrets", "/artifacts/%5c..%5csecrets", "/artifacts/a%00b", "/artifacts/a%0ab",
		"/artifacts/./x", "/artifacts/..", "/artifacts/acme%2fshop/x", "/artifacts/a%2Fb", "/artifacts/a%3fb", "/artifacts/a%23b",
		"/artifacts/a%zzb", "/artifacts/a%", "/assets/../artifacts/x", "/one/a%2fb", `/artifacts/a\b`,
	} {
		add("GET", path, good, 403, "path_unsafe")
	}
	for _, path := range []string{"/secrets/x", "/%73ecrets/x", "/artifacts", "/artifacts-of-others/x", "/ARTIFACTS/x", "/", "/one/a/b", "/one/"} {
		add("GET", path, good, 403, "grant_denied")
	}
	add("GET", "/one/%61", good, 200, "ok")
	add("PUT", "/artifacts/acme/shop/x", good, 200, "ok")
	for _, path := range []string{"/artifacts/acme/other/x", "/artifacts/acme/shop", "/artifacts/acme/shopp/x", "/artifacts/acme/shop-2/x", "/artifacts/x", "/artifacts/"} {
		add("PUT", path, good, 403, "grant_denied") // {project} is not the caller's
	}
	add("PUT", "/artifacts/acme/shop/2", branch, 403, "grant_denied")
	for _, method := range []string{"get", "POST", "PATCH", "TRACE", "OPTIONS", "HEAD"} {
		add(method, "/artifacts/x/"+method, good, 403, "grant_denied")
	}
	for _, method := range []string{"GET|x", "GET|a|b", "M-" + strings.Repeat("E", 31)} {
		add(method, "/artifacts/x/3", good, 403, "method_unsafe")
	}
	add("GET", "/artifacts/idle", a.token(map[string]any{"repository": "idle/x"}), 403, "grant_denied") // a role with no grant
	add("GET", "/artifacts/x/4?token="+branch[:40], good, 200, "ok")                                    // a query string is not logged
	return attacks
}

func (a attacker) headers() []attack {
	good := a.token(nil)
	var attacks []attack
	add := func(name, value string, status int, reason string) {
		attack := bearer(name+": "+value, good, status, reason)
		attack.headers = http.Header{name: {value}}
		attacks = append(attacks, attack)
	}
	for _, name := range []string{"X-Identity-Sub", "X-Identity-Anything", "x_identity_sub", "X_Identity-Role", "x-identity-", "x.identity.sub"} {
		add(name, "root", 403, "identity_forged")
	}
	for _, name := range []string{"X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method", "x_http_method_override"} {
		add(name, "DELETE", 403, "method_override")
	}
	add("Connection", "keep-alive, X-Identity-Sub", 403, "connection_header")
	add("Connection", "close, x-identity-role", 403, "connection_header")
	add("Connection", "Keep-Alive", 200, "ok")
	twice := bearer("two Connection headers", good, 403, "connection_header")
	twice.headers = http.Header{"Connection": {"keep-alive", "X-Identity-Sub"}}
	attacks = append(attacks, twice)
	add("X-Identify", "x", 200, "ok")
	add("X-Request-ID", "chosen by the client", 200, "ok")
	for host, status := range map[string]int{
		"secrets.test": 200, "SECRETS.test": 200, "secrets.test:8443": 200, "a.vault.test": 200,
		"a.b.vault.test": 403, "secrets.test.evil": 403, "vault.test": 403, "x|secrets.test": 403, "": 403,
	} {
		attack := bearer("Host "+host, good, status, map[int]string{200: "ok", 403: "grant_denied"}[status])
		attack.method, attack.path, attack.host = "GET", "/secrets/"+strings.ToLower(fmt.Sprintf("%x", host)), host
		attacks = append(attacks, attack)
	}
	return append(attacks,
		attack{name: "public", method: "GET", path: "/healthz", status: 200, reason: "public"},
		attack{name: "public, below", method: "HEAD", path: "/assets/a/b.css", status: 200, reason: "public"},
		attack{name: "public, with a bad token", method: "GET", path: "/assets/x", authorization: []string{"Bearer x"}, status: 200, reason: "public"},
		attack{name: "public, by another method", method: "POST", path: "/healthz", status: 401, reason: "no_token"},
		attack{name: "public, but not quite", method: "GET", path: "/healthz/x", status: 401, reason: "no_token"},
		attack{name: "public, and out of it", method: "GET", path: "/assets/%2e%2e/artifacts/x", status: 401, reason: "no_token"},
		attack{name: "public, double slash", method: "GET", path: "/assets//x", status: 401, reason: "no_token"},
	)
}

// The attack table: what comes back, and what is in the log.
func TestAttacks(t *testing.T) {
	a := newAttacker(t)
	attacks := slices.Concat(a.tokenShapes(), a.signatures(), a.claimValues(), a.paths(), a.headers())
	for i := range attacks {
		c := &attacks[i]
		if c.path == "" { // one of its own, to find its line by
			c.method, c.path = "GET", fmt.Sprintf("/artifacts/attack/%d", i)
		}
		if have := a.send(*c); have != c.status {
			t.Errorf("%s: want status %d, have %d", c.name, c.status, have)
		}
	}
	lines := make(map[string]edgetest.Line)
	for _, l := range a.g.Sink.Take(t, len(attacks)) {
		lines[l.Method+" "+l.Path] = l
	}
	proven := []string{"aud_bad", "exp_bad", "nbf_bad", "iat_bad", "too_old", "lifetime"} // whose token it is was checked by then
	for _, c := range attacks {
		path, _, _ := strings.Cut(c.path, "?")
		l, found := lines[c.method[:min(len(c.method), 32)]+" "+path]
		decision := "deny"
		if c.status == 200 {
			decision = "allow"
		}
		if !found || l.Status != c.status || l.Decision != decision || l.Reason != c.reason {
			t.Errorf("%s: want %d %s %s, have (found: %t) %d %s %s", c.name, c.status, decision, c.reason, found, l.Status, l.Decision, l.Reason)
		}
		unproven := c.status == 401 && !slices.Contains(proven, c.reason) || c.reason == "public"
		if identity := l.Subject + l.Issuer + l.Provider + l.Key + l.Project + l.Role; unproven && identity != "" {
			t.Errorf("%s: what nobody has proven is logged: %q", c.name, identity)
		}
	}
}

func (a attacker) send(c attack) int {
	a.t.Helper()
	r, err := http.NewRequest(http.MethodGet, a.g.URL+"/", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	path, query, _ := strings.Cut(c.path, "?")
	r.Method, r.URL.Opaque, r.URL.RawQuery = c.method, path, query // as it is, not cleaned
	if c.headers != nil {
		r.Header = c.headers.Clone()
	}
	if c.host != "" {
		r.Host = c.host
	}
	for _, value := range c.authorization {
		r.Header.Add("Authorization", value)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		a.t.Fatalf("%s: %v", c.name, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatalf("%s: %v", c.name, err)
	}
	a.checkRefusal(c, response, body)
	return response.StatusCode
}

// checkRefusal: a refusal has a challenge (RFC 6750, section 3) and says why, to
// people and to programs.
func (a attacker) checkRefusal(c attack, response *http.Response, body []byte) {
	a.t.Helper()
	challenge := response.Header.Get("WWW-Authenticate")
	want := map[bool]string{true: "Bearer"}[c.status == 401]
	if c.status == 401 && c.reason != "no_token" {
		want = fmt.Sprintf(`Bearer error="invalid_token", error_description="%s"`, c.reason)
	}
	if c.status == 403 {
		want = fmt.Sprintf(`Bearer error="insufficient_scope", error_description="%s"`, c.reason)
	}
	if challenge != want {
		a.t.Errorf("%s: want challenge %q, have %q", c.name, want, challenge)
	}
	var answer struct{ Reason string }
	if c.status >= 400 && c.method != http.MethodHead && (json.Unmarshal(body, &answer) != nil || answer.Reason != c.reason) {
		a.t.Errorf("%s: want reason %s, have %.100q", c.name, c.reason, body)
	}
	if c.status == 200 && bytes.Contains(body, []byte("Authorization: ")) && c.reason != "public" {
		a.t.Errorf("%s: the application sees the token", c.name)
	}
}
