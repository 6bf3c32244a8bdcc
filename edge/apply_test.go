package edge_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/runtimeapi/peers"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

const applyPolicy = `
version: 1
gate: {log: $LOG}
issuers:
- {name: one, provider: generic, issuer: "https://one.test", jwks: "file:$ROOT/jwks/one.json", audiences: [g], algorithms: [RS256], claims: {project: $.p}, key_overlap: 1h}
roles:
- {name: builder, match: [{project: "acme/*"}], rate: 1000000/10s}
grants:
- {roles: [builder], paths: ["/artifacts/**"]}
protect: {frontends: [www], backends: [app]}
`

type applied struct {
	*edgetest.Gate
	signer edgetest.Signer
}

func startApplied(t *testing.T, o edgetest.Options) applied {
	edgetest.Binary(t)
	root := edgetest.Root(t)
	signer := edgetest.NewSigner(t, "k1", jose.RS256, 0)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks/one.json"), signer)
	return applied{edgetest.Start(t, root, applyPolicy, o), signer}
}

func (a applied) claims(project string) map[string]any {
	now := time.Now().Unix()
	return map[string]any{"iss": "https://one.test", "aud": "g", "sub": "job", "jti": "j", "p": project, "iat": now, "exp": now + 600}
}

func (a applied) pid(t *testing.T) int {
	t.Helper()
	info, err := a.Client(t).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.PID
}

// A changed grant, a new role and a new public path take effect with the process
// that runs, on the next request.
func TestGrantsChangeWithoutReload(t *testing.T) {
	a := startApplied(t, edgetest.Options{})
	token := a.signer.Token(t, a.claims("acme/shop"))
	other := a.signer.Token(t, a.claims("other/shop"))
	expect := func(step, path, token string, want int) {
		t.Helper()
		for range 3 { // map_reg's results are cached: the second answer would be the old one
			if have, body := get(t, a.URL+path, token); have != want {
				t.Errorf("%s: %s: want %d, have %d %s", step, path, want, have, body)
			}
		}
	}
	expect("before", "/artifacts/x", token, 200)
	expect("before", "/releases/x", token, 403)
	expect("before", "/artifacts/x", other, 403)
	expect("before", "/status", "", 401)
	pid := a.pid(t)
	a.SetPolicy(t, strings.NewReplacer(
		`["/artifacts/**"]`, `["/releases/**"]`,
		"grants:\n", "- {name: guest, match: [{project: \"other/*\"}]}\ngrants:\n- {roles: [guest], paths: [\"/artifacts/**\"]}\n",
		"backends: [app]", "backends: [app], public: [{paths: [/status]}]",
	).Replace(applyPolicy))
	done, err := a.Apply(t.Context(), a.Render(t))
	if err != nil || done.Reloaded || done.Swapped != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	expect("after", "/artifacts/x", token, 403)
	expect("after", "/releases/x", token, 200)
	expect("after", "/artifacts/x", other, 200)
	expect("after", "/status", "", 200)
	if have := a.pid(t); have != pid {
		t.Errorf("pid %d, before %d", have, pid)
	}
	if done, err = a.Apply(t.Context(), a.Render(t)); err != nil || len(done.Changes) != 0 {
		t.Errorf("a second time: %+v, %v", done, err)
	}
}

// While two policies take turns in which the roles' names change places, no
// request is judged by the roles of one and the grants of the other.
func TestPoliciesNeverMix(t *testing.T) {
	a := startApplied(t, edgetest.Options{})
	turns := [2]string{}
	for i, roles := range [2][2]string{{"x", "y"}, {"y", "x"}} {
		turns[i] = strings.NewReplacer(
			"- {name: builder, match: [{project: \"acme/*\"}], rate: 1000000/10s}\n",
			"- {name: "+roles[0]+", match: [{project: acme/shop}], rate: 1000000/10s}\n- {name: "+roles[1]+", match: [{project: acme/other}], rate: 1000000/10s}\n",
			"- {roles: [builder], paths: [\"/artifacts/**\"]}\n",
			"- {roles: ["+roles[0]+"], paths: [\"/artifacts/**\"]}\n- {roles: ["+roles[1]+"], paths: [\"/other/**\"]}\n",
		).Replace(applyPolicy)
	}
	apply := func(text string) {
		a.SetPolicy(t, text)
		if done, err := a.Apply(t.Context(), a.Render(t)); err != nil || done.Reloaded {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	apply(turns[0])
	shop := a.signer.Token(t, a.claims("acme/shop"))
	allowed := a.traffic(t, func() string { return shop })
	other := a.signer.Token(t, a.claims("acme/other"))
	denied := a.traffic(t, func() string { return other })
	for i := range 60 {
		apply(turns[(i+1)%2])
	}
	if sent, failed := allowed.end(); failed != 0 || sent < 100 {
		t.Errorf("%d of %d permitted requests were denied", failed, sent)
	}
	if sent, failed := denied.end(); failed != sent || sent < 100 {
		t.Errorf("%d of %d forbidden requests were let through", sent-failed, sent)
	}
}

// Two renders at once: the files that stay are those of one.
func TestFilesOfTwoPoliciesDoNotMix(t *testing.T) {
	a := startApplied(t, edgetest.Options{})
	a.Sockets = nil
	var renders [2]edge.Files
	for i, name := range []string{"one", "two"} {
		a.SetPolicy(t, strings.ReplaceAll(applyPolicy, "builder", name))
		renders[i] = a.Render(t)
	}
	for range 30 {
		var both sync.WaitGroup
		for i := range renders {
			both.Go(func() {
				if _, err := a.Apply(t.Context(), renders[i]); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		first, err := renders[0].Diff(a.Dir)
		if err != nil {
			t.Fatal(err)
		}
		second, err := renders[1].Diff(a.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(first) > 0 && len(second) > 0 {
			t.Fatalf("neither one nor two: %v and %v differ", first, second)
		}
	}
}

// What is taken away is taken at once, also from the connections that an old
// worker still serves after a reload for a key.
func TestRevokedBeforeReload(t *testing.T) {
	a := startApplied(t, edgetest.Options{Master: true})
	token := a.signer.Token(t, a.claims("acme/x"))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask := func() int {
		r, err := http.NewRequest(http.MethodGet, a.URL+"/artifacts/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		return response.StatusCode
	}
	if status := ask(); status != 200 {
		t.Fatal(status)
	}
	edgetest.WriteJWKS(t, filepath.Join(a.Root, "jwks/one.json"), a.signer, edgetest.NewSigner(t, "k2", jose.RS256, 1))
	store, err := keys.Open(a.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Refresh(t.Context(), edge.KeySource(&a.Policy.Issuers[0])); err != nil {
		t.Fatal(err)
	}
	a.SetPolicy(t, strings.Replace(applyPolicy, "/artifacts/**", "/releases/**", 1))
	if done, err := a.Apply(t.Context(), a.Render(t)); err != nil || !done.Reloaded {
		t.Fatalf("%+v, %v", done, err)
	}
	if status := ask(); status != 403 {
		t.Errorf("the connection of before: %d", status)
	}
}

// Rules that a running HAProxy has not read are a reload, also when the files
// were written by an earlier Apply that could not have one.
func TestApplyKnowsWhatHAProxyHasRead(t *testing.T) {
	a := startApplied(t, edgetest.Options{Master: true})
	a.SetPolicy(t, strings.Replace(applyPolicy, "log: $LOG", "log: $LOG, forward_token: true", 1))
	files := a.Render(t)
	alone := a.Installation
	alone.Master = ""
	for range 2 {
		if done, err := alone.Apply(t.Context(), files); !errors.Is(err, edge.ErrReloadNeeded) {
			t.Fatalf("without a master: %+v, %v", done, err)
		}
	}
	pid := a.pid(t)
	done, err := a.Apply(t.Context(), files)
	if err != nil || !done.Reloaded {
		t.Fatalf("%+v, %v", done, err)
	}
	if a.pid(t) == pid {
		t.Error("the worker is still the old one")
	}
	if _, body := get(t, a.URL+"/artifacts/x", a.signer.Token(t, a.claims("acme/x"))); !strings.Contains(body, "Authorization: ") {
		t.Errorf("the new rules are not in force: %s", body)
	}
	if done, err = a.Apply(t.Context(), files); err != nil || done.Reloaded {
		t.Errorf("a second time: %+v, %v", done, err)
	}
}

// A configuration that HAProxy would refuse is not given to it.
func TestApplyChecksBeforeReload(t *testing.T) {
	a := startApplied(t, edgetest.Options{Master: true})
	pid := a.pid(t)
	user := a.Configs[len(a.Configs)-1]
	text, err := os.ReadFile(user)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(user, append(text, "\nnonsense here\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	a.SetPolicy(t, strings.Replace(applyPolicy, "log: $LOG", "log: $LOG, forward_token: true", 1))
	if done, err := a.Apply(t.Context(), a.Render(t)); err == nil || done.Reloaded || !strings.Contains(err.Error(), "the old configuration goes on") || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%+v, %v", done, err)
	}
	if a.pid(t) != pid {
		t.Error("the worker was replaced")
	}
}

// trafficConnections is how many clients there are, each with one connection.
const trafficConnections = 4

// traffic sends requests over kept-alive connections until it is stopped.
type traffic struct {
	sent, failed atomic.Int64
	ctx          context.Context
	stop         context.CancelFunc
	done         sync.WaitGroup
}

func (a applied) traffic(t *testing.T, token func() string) *traffic {
	tr := &traffic{}
	tr.ctx, tr.stop = context.WithCancel(context.Background())
	t.Cleanup(func() { tr.end() })
	for range trafficConnections {
		tr.done.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-tr.ctx.Done():
					return
				case <-time.After(time.Millisecond):
				}
				r, err := http.NewRequest(http.MethodGet, a.URL+"/artifacts/x", nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+token())
				tr.sent.Add(1)
				response, err := client.Do(r)
				if err != nil {
					tr.failed.Add(1)
					t.Error(err)
					continue
				}
				response.Body.Close()
				if response.StatusCode != 200 {
					tr.failed.Add(1)
				}
			}
		})
	}
	return tr
}

func (tr *traffic) end() (sent, failed int64) {
	tr.stop()
	tr.done.Wait()
	return tr.sent.Load(), tr.failed.Load()
}

// An issuer rotates its key: it publishes the new one, signs with it, and takes
// the old one out of its set. No request is lost.
//
// The log is another matter: HAProxy closes its rings the moment a reload begins
// (haproxy/haproxy issue 3436, open), and what an old worker still answers, one
// request on each connection that was idle then, is missing in it. %rt tells.
func TestRotationLosesNoRequest(t *testing.T) {
	t.Run("by reload", func(t *testing.T) { rotate(t, edgetest.Options{Master: true}) })
	t.Run("at run time", func(t *testing.T) { rotate(t, edgetest.Options{RuntimeKeys: true}) })
}

func rotate(t *testing.T, o edgetest.Options) {
	a := startApplied(t, o)
	next := edgetest.NewSigner(t, "k2", jose.RS256, 1)
	jwks := filepath.Join(a.Root, "jwks/one.json")
	var current atomic.Pointer[string]
	sign := func(s edgetest.Signer) {
		token := s.Token(t, a.claims("acme/shop"))
		current.Store(&token)
	}
	sign(a.signer)
	old := *current.Load()
	store, err := keys.Open(a.Dir)
	if err != nil {
		t.Fatal(err)
	}
	refresher := edge.Refresher{Installation: a.Installation, Policy: func() (*policy.Policy, error) { return a.Policy, nil }, Store: store}
	refresh := func(step string) edge.Refreshed {
		t.Helper()
		done, err := refresher.Refresh(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		return done
	}
	pid := a.pid(t)
	load := a.traffic(t, func() string { return *current.Load() })
	pause := func() { time.Sleep(300 * time.Millisecond) }
	pause()
	edgetest.WriteJWKS(t, jwks, a.signer, next)
	if done := refresh("published"); done.Reloaded == a.RuntimeKeys || len(done.Issuers[0].Added) != 1 {
		t.Errorf("published: %+v", done)
	}
	sign(next)
	pause()
	edgetest.WriteJWKS(t, jwks, next)
	if done := refresh("withdrawn"); done.Reloaded || len(done.Issuers[0].Retired) != 1 {
		t.Errorf("withdrawn: %+v", done)
	}
	pause()
	if status, body := get(t, a.URL+"/artifacts/x", old); status != 200 { // in its overlap
		t.Errorf("the old key's token: %d %s", status, body)
	}
	sent, failed := load.end()
	// HAProxy's own flaw, and why this is not the default: see edge.Options
	flaw := int64(0)
	if a.RuntimeKeys {
		flaw = sent / 50
	}
	if failed > flaw || sent < 100 {
		t.Errorf("%d of %d requests failed", failed, sent)
	}
	if (a.pid(t) == pid) != a.RuntimeKeys {
		t.Errorf("pid %d, before %d", a.pid(t), pid)
	}
	t.Logf("%d requests", sent)
	lines := a.Sink.Await(int(sent) + 1)
	if missing := int(sent) + 1 - len(lines); missing > trafficConnections || missing < 0 || missing > 0 && a.RuntimeKeys {
		t.Errorf("%d log lines of %d are missing", missing, sent+1)
	}
}

// The counters outlive a reload where the policy names a peer address, and the
// old process was up for longer than the peers' first synchronisation takes.
func TestCountersOutliveReload(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until the peers are synchronised")
	}
	edgetest.Binary(t)
	root := edgetest.Root(t)
	signer := edgetest.NewSigner(t, "k1", jose.RS256, 0)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks/one.json"), signer)
	text := strings.Replace(applyPolicy, "log: $LOG", `log: $LOG, peer: "`+freeAddress(t)+`"`, 1)
	a := applied{edgetest.Start(t, root, text, edgetest.Options{Master: true}), signer}
	token := signer.Token(t, a.claims("acme/x"))
	for range 5 {
		get(t, a.URL+"/artifacts/x", token)
	}
	time.Sleep(7 * time.Second)
	a.SetPolicy(t, strings.Replace(text, ", peer:", ", forward_token: true, peer:", 1))
	if done, err := a.Apply(t.Context(), a.Render(t)); err != nil || !done.Reloaded {
		t.Fatalf("%+v, %v", done, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		reply := ask(t, a.Gate, "show table haptrail_identity")
		if strings.Contains(reply, "http_req_cnt=5 ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the counters are gone: %s", reply)
		}
	}
}

// TestFeed: with gate.feed haptrail hears of the gate's counts as its peer.
func TestFeed(t *testing.T) {
	edgetest.Binary(t)
	root := edgetest.Root(t)
	signer := edgetest.NewSigner(t, "k1", jose.RS256, 0)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks/one.json"), signer)
	address := freeAddress(t)
	a := applied{edgetest.Start(t, root, strings.Replace(applyPolicy, "log: $LOG", `log: $LOG, feed: true, peer: "`+address+`"`, 1), edgetest.Options{Master: true}), signer}
	counted := make(chan uint64, 100)
	feed, err := peers.New(peers.Proxy{Name: "gate", Address: address, Local: "haptrail_feed", Remote: "haptrail", Tables: []string{"haptrail_identity"}}, peers.Options{}, func(s poll.Sample) {
		if m, ok := s.Measure("http_req_cnt"); ok && strings.HasSuffix(s.Key, "|job") {
			counted <- m.Delta
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx) }()
	defer func() { stop(); <-done }()
	for deadline := time.Now().Add(20 * time.Second); !feed.Status().Covers("haptrail_identity"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", feed.Status())
		}
	}
	token := a.signer.Token(t, a.claims("acme/x"))
	for range 5 {
		get(t, a.URL+"/artifacts/x", token)
	}
	timeout := time.After(10 * time.Second)
	for sum := uint64(0); sum < 5; {
		select {
		case n := <-counted:
			sum += n
		case <-timeout:
			t.Fatalf("%d of 5 requests were told: %+v", sum, feed.Status())
		}
	}
}

// freeAddress is a loopback address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// An issuer that fails in any way changes no key.
func TestFailingIssuerKeepsItsKeys(t *testing.T) {
	a := startApplied(t, edgetest.Options{})
	token := a.signer.Token(t, a.claims("acme/shop"))
	store, err := keys.Open(a.Dir)
	if err != nil {
		t.Fatal(err)
	}
	refresher := edge.Refresher{Installation: a.Installation, Policy: func() (*policy.Policy, error) { return a.Policy, nil }, Store: store}
	jwks := filepath.Join(a.Root, "jwks/one.json")
	good := edgetest.JWKS(t, a.signer)
	for _, text := range []string{"", "{}", `{"keys":[]}`, "<html>", string(good[:len(good)/2]), `{"keys":[{"kty":"oct","k":"AAAA","kid":"k1"}]}`} {
		if err := os.WriteFile(jwks, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := refresher.Refresh(t.Context()); err == nil {
			t.Errorf("%q is taken for a key set", text)
		}
		if status, body := get(t, a.URL+"/artifacts/x", token); status != 200 {
			t.Fatalf("after %q: %d %s", text, status, body)
		}
	}
	if status := store.Status()[0]; status.Failures != 6 || status.Keys != 1 {
		t.Errorf("%+v", status)
	}
}

// Every HAProxy of an installation is brought to the policy, and one that cannot
// be reached is named.
func TestApplyNamesWhomItDidNotReach(t *testing.T) {
	a := startApplied(t, edgetest.Options{})
	gone := filepath.Join(a.Root, "gone.sock")
	in := a.Installation
	in.Sockets = append([]string{}, a.Sockets[0], "unix:"+gone)
	done, err := in.Apply(t.Context(), a.Render(t))
	if err == nil || !strings.Contains(err.Error(), gone) || done.Swapped != 1 {
		t.Errorf("want an error that names %s and one swapped, have %+v, %v", gone, done, err)
	}
}
