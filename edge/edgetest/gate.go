// Package edgetest runs a rendered gate for tests: a real HAProxy between a
// client and an application, with keys that the test signs with, and a sink that
// reads what it logs.
package edgetest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/runtimeapi"
)

// Gate is a running HAProxy with rendered files.
type Gate struct {
	edge.Installation
	Sink    *Sink
	Policy  *policy.Policy
	Process *haproxy.Process
	URL     string // where clients connect
	Root    string // holds policy.yaml, user.cfg, jwks/ and the gate's Dir

	options Options
}

// Options changes what Start does.
type Options struct {
	// Frontend is added to the user's frontend; App replaces the application,
	// which answers 200 and, line by line, the identity headers it was given.
	Frontend string
	App      http.Handler
	// RuntimeKeys renders for keys that come at run time; the test is skipped where
	// HAProxy takes none.
	RuntimeKeys bool
	// Master runs HAProxy with a master process, so that it can be reloaded.
	Master bool
}

// Binary is the path of haproxy; the test is skipped where there is none.
func Binary(t testing.TB) string {
	t.Helper()
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	return binary
}

// Root makes a folder whose path is short enough for unix sockets.
func Root(t testing.TB) string {
	t.Helper()
	root, err := os.MkdirTemp("", "edge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	return root
}

// Start renders text, a policy in which $LOG is the sink's address and $ROOT the
// gate's Root, with the keys of the issuers' JWKS, and runs a HAProxy with it
// until the test ends.
func Start(t testing.TB, root, text string, o Options) *Gate {
	t.Helper()
	g := &Gate{Sink: NewSink(t), Root: root, options: o}
	g.Binary = Binary(t)
	g.Dir = filepath.Join(root, "gate")
	g.Base = g.Dir
	g.Source = "policy.yaml"
	g.Sockets = []string{"unix:" + filepath.Join(root, "stats.sock")}
	version, err := edge.BinaryVersion(t.Context(), g.Binary)
	if err != nil {
		t.Fatal(err)
	}
	g.Version, g.RuntimeKeys = version, o.RuntimeKeys
	if o.RuntimeKeys && !edge.TakesKeys(version) {
		t.Skipf("HAProxy %s takes no keys at run time; name a newer one in HAPTRAIL_HAPROXY", version)
	}
	g.SetPolicy(t, text)
	g.refresh(t)
	g.write(t)
	g.Restart(t)
	return g
}

// SetPolicy replaces the policy file and loads it; nothing is rendered.
func (g *Gate) SetPolicy(t testing.TB, text string) {
	t.Helper()
	text = strings.NewReplacer("$LOG", g.Sink.Address(), "$ROOT", g.Root).Replace(text)
	path := filepath.Join(g.Root, "policy.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var err error
	if g.Policy, err = policy.Load(path); err != nil {
		t.Fatal(err)
	}
}

func (g *Gate) refresh(t testing.TB) {
	t.Helper()
	store, err := keys.Open(g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range g.Policy.Issuers {
		if _, err := store.Refresh(t.Context(), edge.KeySource(&g.Policy.Issuers[i])); err != nil {
			t.Fatal(err)
		}
	}
}

// Render renders the policy with the keys that are there.
func (g *Gate) Render(t testing.TB) edge.Files {
	t.Helper()
	store, err := keys.Open(g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := edge.Render(g.Policy, store, g.Options)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (g *Gate) write(t testing.TB) {
	t.Helper()
	if _, err := g.Render(t).Write(g.Dir); err != nil {
		t.Fatal(err)
	}
}

// Restart starts a HAProxy with the files as they are; an earlier one must have
// been stopped. URL changes.
func (g *Gate) Restart(t testing.TB) {
	t.Helper()
	if err := g.TryRestart(t); err != nil {
		t.Fatal(err)
	}
}

// TryRestart is Restart, where HAProxy may refuse the files.
func (g *Gate) TryRestart(t testing.TB) error {
	t.Helper()
	o := g.options
	if o.App == nil {
		o.App = http.HandlerFunc(Echo)
	}
	app := httptest.NewServer(o.App)
	t.Cleanup(app.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // the child has a copy of its own
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	g.URL = "http://" + listener.Addr().String()
	user := filepath.Join(g.Root, "user.cfg")
	config := fmt.Sprintf(userConfig, strings.TrimPrefix(g.Sockets[0], "unix:"), o.Frontend, strings.TrimPrefix(app.URL, "http://"))
	if err := os.WriteFile(user, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	g.Configs = []string{g.Dir, user}
	options := haproxy.Options{
		Binary: g.Binary, Configs: g.Configs, Socket: strings.TrimPrefix(g.Sockets[0], "unix:"),
		Files: []*os.File{file}, Env: []string{"EDGETEST_BIND=fd@3"}, Output: filepath.Join(g.Root, "haproxy.log"),
	}
	if o.Master {
		options.Master = filepath.Join(g.Root, "master.sock")
		g.Master = "unix:" + options.Master
	}
	process, err := haproxy.Start(t.Context(), options)
	if err != nil {
		return err
	}
	g.Process = process
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
	})
	return nil
}

// userConfig is what a user has beside the gate: socket, frontend, application.
const userConfig = `global
    stats socket %s mode 600 level admin
    stats timeout 1m
    hard-stop-after 5s
defaults
    mode http
    log global
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend www from haptrail
    # a listener handed over; the other is for "haproxy -c", which has none
    bind "${EDGETEST_BIND-127.0.0.1:1}"
%s
    default_backend app
backend app
    server app1 %s
`

// Echo answers with the request line and the headers that speak of identity, in
// order.
func Echo(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	fmt.Fprintf(w, "%s %s\n", r.Method, r.URL.RequestURI())
	var lines []string
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X") || name == "Authorization" {
			lines = append(lines, fmt.Sprintf("%s: %s\n", name, strings.Join(values, "; ")))
		}
	}
	slices.Sort(lines)
	_, _ = io.WriteString(w, strings.Join(lines, ""))
}

// Client speaks to the process's stats socket.
func (g *Gate) Client(t testing.TB) *runtimeapi.Client {
	t.Helper()
	client, err := runtimeapi.New(g.Sockets[0], runtimeapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return client
}
