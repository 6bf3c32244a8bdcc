package check_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge/check"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/runtimeapi"
)

const realPolicy = `
version: 1
gate: {log: $LOG, node: edge-test}
issuers:
- {name: hub, provider: github, issuer: "https://hub.test", jwks: "file:$ROOT/jwks/hub.json", audiences: [gate.test], algorithms: [RS256]}
roles:
- {name: reader, match: [{issuer: hub, project: "acme/*"}]}
grants:
- {roles: [reader], methods: [GET], paths: ["/artifacts/**"]}
protect:
  frontends: [www]
  backends: [app]
  public:
  - {paths: [/healthz]}
`

// start runs a rendered gate whose frontend has further lines.
func start(t *testing.T, lines string) *edgetest.Gate {
	t.Helper()
	edgetest.Binary(t)
	root := edgetest.Root(t)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks", "hub.json"), edgetest.NewSigner(t, "rs", jose.RS256, 0))
	return edgetest.Start(t, root, realPolicy, edgetest.Options{Frontend: lines})
}

// about is what a check of a running gate is told.
func about(t *testing.T, g *edgetest.Gate) check.Input {
	t.Helper()
	store, err := keys.Open(g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	// The descriptor that the running one was given is closed in haproxy -c.
	text, err := os.ReadFile(filepath.Join(g.Root, "user.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(g.Root, "checked.cfg")
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "bind fd@3", "bind 127.0.0.1:8080", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return check.Input{
		Files: []string{file}, Dir: g.Dir,
		Policy: g.Policy, PolicyFile: filepath.Join(g.Root, "policy.yaml"),
		Render:    func() (map[string][]byte, error) { return g.Render(t), nil },
		Listeners: []string{"tcp://" + g.Sink.Address()},
		Live:      g.Client(t), Keys: store,
		MasterSocket: "master.sock", HAProxy: g.Binary,
	}
}

// expect checks, and compares the codes that are found. Those of the version of
// HAProxy at hand are left out.
func expect(t *testing.T, in check.Input, want ...string) {
	t.Helper()
	found, err := check.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var got, text []string
	for _, f := range found {
		if f.Code != "haproxy-miscounts" && f.Code != "haproxy-ring-stalls" {
			got = append(got, f.Code)
			text = append(text, f.String())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q\n%s", got, want, strings.Join(text, "\n"))
	}
}

// TestRealGate: a rendered gate that runs has no finding, and what happens to it
// is found.
func TestRealGate(t *testing.T) {
	g := start(t, "")
	in := about(t, g)
	expect(t, in)

	// Somebody grants himself something at run time.
	roles := filepath.Join(g.Dir, "maps", "roles.map")
	if err := g.Client(t).AddEntry(t.Context(), roles, runtimeapi.Entry{Key: "^.*", Value: "reader"}); err != nil {
		t.Fatal(err)
	}
	expect(t, in, "map-live-differs")
	if err := g.Client(t).DelEntry(t.Context(), roles, "^.*"); err != nil {
		t.Fatal(err)
	}
	expect(t, in)

	// The policy changes, and nobody renders it.
	g.SetPolicy(t, strings.Replace(realPolicy, "acme/*", "acme/shop", 1))
	in.Policy = g.Policy
	expect(t, in, "file-stale", "file-stale") // roles and grants name their generation
	g.SetPolicy(t, realPolicy)
	in.Policy = g.Policy

	// A key's file goes. HAProxy 2.6 would start, and deny its tokens; a later one
	// does not start.
	store, err := keys.Open(g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	in.Render = nil // it would fail for the same reason
	in.HAProxy = ""
	in.Keys = nil
	for _, key := range store.Keys() {
		for _, name := range []string{key.File, strings.TrimSuffix(key.File, ".pem") + ".crt"} {
			if err := os.Remove(filepath.Join(g.Dir, name)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	expect(t, in, "key-missing")
}

// TestHolesAreReal: what the findings say of a running HAProxy happens.
func TestHolesAreReal(t *testing.T) {
	for _, tc := range []struct {
		name, lines string
		code        string
		path        string
		status      int
		logged      int
	}{
		{"no hole", "", "", "/artifacts/x", 401, 1},
		{"forged", "    tcp-request content set-var(req.public) str(x)", "judgement-forged", "/artifacts/x", 401, 1},
		{"monitor", "    monitor-uri /alive", "monitor-before-gate", "/alive", 200, 0},
		{"silent", "    http-request set-log-level silent", "log-silenced", "/healthz", 200, 0},
		{"tcp level", "    tcp-request content set-log-level silent", "log-silenced", "/artifacts/x", 401, 0},
		{"no log", "    no log", "log-missing", "/artifacts/x", 401, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := start(t, tc.lines)
			var want []string
			if tc.code != "" {
				want = append(want, tc.code)
			}
			in := about(t, g)
			expect(t, in, want...)
			if status := get(t, g.URL+tc.path); status != tc.status {
				t.Errorf("%s: %d, want %d", tc.path, status, tc.status)
			}
			if lines := g.Sink.Take(t, tc.logged); len(lines) != tc.logged {
				t.Errorf("logged %+v, want %d lines", lines, tc.logged)
			}
		})
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}
