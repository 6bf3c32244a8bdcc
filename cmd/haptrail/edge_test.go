package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/schema/schematest"
)

const edgePolicy = `
version: 1
gate: {log: "%s"}
issuers:
- {name: hub, provider: github, issuer: "https://hub.test", jwks: "file:$ROOT/jwks.json", audiences: [gate.test]}
roles:
- {name: builder, match: [{project: "acme/*"}]}
grants:
- {roles: [builder], paths: ["/artifacts/**"]}
protect: {frontends: [www], backends: [app]}
`

// gatedTest is a gate, its one issuer, and the flags that lead to it.
type gatedTest struct {
	*edgetest.Gate
	t      *testing.T
	signer edgetest.Signer
	flags  []string
}

func startGated(t *testing.T, log string) gatedTest {
	edgetest.Binary(t)
	root := edgetest.Root(t)
	signer := edgetest.NewSigner(t, "one", jose.RS256, 0)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks.json"), signer)
	g := edgetest.Start(t, root, fmt.Sprintf(edgePolicy, log), edgetest.Options{Master: true})
	return gatedTest{g, t, signer, []string{
		"-p", filepath.Join(root, "policy.yaml"), "--socket", g.Sockets[0], "--master", g.Master, "-f", g.Configs[0], "-f", g.Configs[1],
	}}
}

// run executes a command and returns its exit code and what it printed.
func (g gatedTest) run(args ...string) (int, string) {
	g.t.Helper()
	var out bytes.Buffer
	code := execute(args, strings.NewReader(""), &out, &out)
	return code, out.String()
}

// ask sends a request with a token of the signer's.
func (g gatedTest) ask(signer edgetest.Signer, path string) int {
	g.t.Helper()
	now := time.Now().Unix()
	r, err := http.NewRequest(http.MethodGet, g.URL+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+signer.Token(g.t, map[string]any{
		"iss": "https://hub.test", "aud": "gate.test", "sub": "repo:acme/shop", "jti": "j", "iat": now, "exp": now + 300,
		"repository": "acme/shop", "run_id": "7",
	}))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func (g gatedTest) pid() int {
	g.t.Helper()
	info, err := g.Client(g.t).Info(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	return info.PID
}

// The operator's way: change the policy, apply; rotate, fetch the keys; check.
func TestEdgeCommands(t *testing.T) {
	g := startGated(t, "$LOG")
	render := append([]string{"edge", "render", "-o", g.Dir, "--apply"}, g.flags...)
	if status := g.ask(g.signer, "/releases/x"); status != 403 {
		t.Fatalf("before: %d", status)
	}
	pid := g.pid()
	g.SetPolicy(t, strings.Replace(fmt.Sprintf(edgePolicy, "$LOG"), "/artifacts/**", "/releases/**", 1))
	if code, out := g.run(render...); code != 0 || !strings.Contains(out, "maps swapped in 1 HAProxy, without a reload") {
		t.Errorf("exit %d: %s", code, out)
	}
	if status := g.ask(g.signer, "/releases/x"); status != 200 || g.pid() != pid {
		t.Errorf("after: %d, pid %d and %d", status, pid, g.pid())
	}
	next := edgetest.NewSigner(t, "two", jose.RS256, 1)
	edgetest.WriteJWKS(t, filepath.Join(g.Root, "jwks.json"), g.signer, next)
	if status := g.ask(next, "/releases/x"); status != 401 {
		t.Errorf("a key that nobody fetched: %d", status)
	}
	if code, out := g.run(append([]string{"edge", "keys", "-o", g.Dir}, g.flags...)...); code != 0 ||
		!strings.Contains(out, "hub: one RS256, two RS256 (new)") || !strings.Contains(out, "HAProxy reloaded") {
		t.Errorf("exit %d: %s", code, out)
	}
	if status := g.ask(next, "/releases/x"); status != 200 {
		t.Errorf("the fetched key: %d", status)
	}
	code, out := g.run(append([]string{"edge", "check", "-d", g.Dir}, g.flags...)...)
	if code != 0 || !strings.Contains(out, "0 errors") {
		t.Errorf("exit %d: %s", code, out)
	}
	if err := os.WriteFile(filepath.Join(g.Dir, "maps", "grants.map"), []byte("^ anything\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out = g.run(append([]string{"edge", "check", "-d", g.Dir}, g.flags...)...); code != 0 || !strings.Contains(out, "[file-stale]") || !strings.Contains(out, "[map-live-differs]") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// The daemon sees a kid that nobody knows in the log it receives, asks the
// issuer, and HAProxy knows the key; and what it stores is who asked.
func TestDaemonFetchesUnknownKeys(t *testing.T) {
	schematest.NeedEngine(t)
	cfg := testConfig(t.TempDir())
	cfg.Listeners[0].Framing = "octet-counted"
	root := edgetest.Root(t)
	cfg.Edge = &config.Edge{Policy: filepath.Join(root, "policy.yaml"), Dir: filepath.Join(root, "gate"), KeyAskInterval: config.Duration(100 * time.Millisecond)}
	address := "127.0.0.1:" + freePort(t)
	cfg.Listeners[0].Address = "tcp://" + address
	edgetest.Binary(t)
	signer := edgetest.NewSigner(t, "one", jose.RS256, 0)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks.json"), signer)
	g := gatedTest{Gate: edgetest.Start(t, root, fmt.Sprintf(edgePolicy, address), edgetest.Options{Master: true}), t: t, signer: signer}
	cfg.Edge.Sockets, cfg.Edge.Master, cfg.Edge.Files = g.Sockets, g.Master, g.Configs
	d := startDaemon(t, cfg, nil)
	if status := g.ask(signer, "/artifacts/x"); status != 200 {
		t.Fatalf("the old key: %d", status)
	}
	next := edgetest.NewSigner(t, "two", jose.RS256, 1)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks.json"), signer, next)
	refused := 0
	for deadline := time.Now().Add(patience); g.ask(next, "/artifacts/y") != 200; refused++ {
		if time.Now().After(deadline) {
			t.Fatal("the new key never came")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if refused == 0 {
		t.Error("the new key was known before anybody asked for it")
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var rows uint64
		query := "SELECT count() FROM requests WHERE decision = 'allow' AND subject = 'repo:acme/shop' AND role = 'builder' AND run = '7' AND path = '/artifacts/y'"
		if err := d.store.Conn().QueryRow(t.Context(), query).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		if rows == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d rows", rows)
		}
	}
	if logs := d.logs.String(); !strings.Contains(logs, "new key") || !strings.Contains(logs, "kid=two") {
		t.Errorf("the log does not tell of the key:\n%s", logs)
	}
}
