package watch_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/watch"
	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/runtimeapi/peers"
	"github.com/haptrail/haptrail/schema/schematest"
)

// gateConfig counts requests by the header X-Key, as issuer|subject. PEER is a line
// for haptrail, or none.
const gateConfig = `
global
    stats socket DIR/s mode 600 level operator
    hard-stop-after 1s
    localpeer me
peers pp
    peer me unix@DIR/p
PEER
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend www
    bind unix@DIR/f
    http-request track-sc0 req.fhdr(x-key) table identities
    http-request return status 200 content-type text/plain string ok
backend identities
    stick-table type string len 64 size 10k expire 10m peers pp store http_req_cnt,http_req_rate(10s)
`

// gate is a HAProxy of a test's own.
type gate struct {
	t       *testing.T
	dir     string
	process *haproxy.Process
}

func startGate(t *testing.T, peer string) *gate {
	t.Helper()
	dir, err := os.MkdirTemp("", "h") // the path of a unix socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	g := &gate{t: t, dir: dir}
	text := strings.NewReplacer("DIR", dir, "PEER", peer).Replace(gateConfig)
	if err := os.WriteFile(g.path("h.cfg"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start()
	return g
}

func (g *gate) path(name string) string { return filepath.Join(g.dir, name) }

func (g *gate) start() {
	g.t.Helper()
	binary, err := haproxy.Find()
	if err != nil {
		g.t.Skip(err)
	}
	g.process, err = haproxy.Start(context.Background(), haproxy.Options{Binary: binary, Configs: []string{g.path("h.cfg")}, Socket: g.path("s"), Output: g.path("log")})
	if err != nil {
		g.t.Fatal(err)
	}
	stop := sync.OnceValue(g.process.Stop)
	g.t.Cleanup(func() { _ = stop() })
}

// send sends n requests under a key.
func (g *gate) send(key string, n int) {
	g.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", g.path("f"))
	}}}
	defer client.CloseIdleConnections()
	for range n {
		req, err := http.NewRequestWithContext(g.t.Context(), "GET", "http://gate/", nil)
		if err != nil {
			g.t.Fatal(err)
		}
		req.Header.Set("X-Key", key)
		resp, err := client.Do(req)
		if err != nil {
			g.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// feed runs feeds of a gate for a watch.
func (r *rig) feed(g *gate, peer *peers.Proxy, faultAfter time.Duration) {
	r.t.Helper()
	feeds, err := watch.NewFeeds(watch.FeedOptions{
		Proxies:  []watch.Proxy{{Name: "edge1", Socket: "unix:" + g.path("s"), Tables: []string{"identities"}, Peers: peer}},
		Interval: 300 * time.Millisecond, Load: 0.5, OnCall: r.onCall, FaultAfter: faultAfter,
	}, r.Watch)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- feeds.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
}

// counted is how many requests of a key the table of samples has.
func (r *rig) counted(key string) (n uint64) {
	r.t.Helper()
	err := r.store.Conn().QueryRow(r.t.Context(), "SELECT sum(requests) FROM stick_samples WHERE key = ?", key).Scan(&n)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestPolledGate: a burst at a real HAProxy is found in its stick table within seconds;
// that it is gone is told, and that it is back.
func TestPolledGate(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	o := options(t, store, on)
	o.Interval = 300 * time.Millisecond
	r := run(t, o)
	g := startGate(t, "")
	r.feed(g, nil, 4*time.Second)
	r.wait("a second look", func() bool { g.send("space|calm", 1); return r.counted("space|calm") > 0 })
	began := time.Now()
	g.send("space|ci-bot", 400)
	r.wait("an alert", func() bool { firing, _, _ := on.state(); return len(firing) == 1 })
	t.Logf("told %s after the first of 400 requests", time.Since(began).Round(time.Millisecond))
	if firing, _, _ := on.state(); firing[0].Identity != "ci-bot" {
		t.Errorf("alert %+v", firing)
	}
	r.wait("all counted", func() bool { return r.counted("space|ci-bot") == 400 })
	if err := g.process.Stop(); err != nil {
		t.Fatal(err)
	}
	fault := func() bool {
		firing, _, _ := on.state()
		for _, a := range firing {
			if a.Kind == "fault" && a.Labels["table"] == "identities" && strings.Contains(a.Title, "edge1") && a.Text != "" {
				return true
			}
		}
		return false
	}
	r.wait("that the table cannot be read", fault)
	g.start()
	r.wait("that it can", func() bool { return !fault() })
	before := r.counted("space|calm")
	r.wait("counts of the new HAProxy", func() bool { g.send("space|calm", 1); return r.counted("space|calm") > before })
}

// TestPeeredGate: what HAProxy tells its peers is counted once, while polls stand in
// for the peers protocol too.
func TestPeeredGate(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	r := run(t, options(t, store, on))
	g := startGate(t, "    peer haptrail 127.0.0.1:9") // where nobody listens
	r.feed(g, &peers.Proxy{Name: "edge1", Address: "unix:" + g.path("p"), Local: "haptrail", Remote: "me", Tables: []string{"identities"}}, time.Minute)
	want := uint64(0)
	send := func(n int) {
		t.Helper()
		g.send("space|calm", n)
		want += uint64(n)
		r.wait(fmt.Sprintf("%d counted", want), func() bool { return r.counted("space|calm") == want })
	}
	time.Sleep(time.Second) // it connects
	send(5)
	send(3)
	// Another with our name has HAProxy end our connection, again and again.
	if err := g.process.Stop(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(g.path("h.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.path("h.cfg"), []byte(strings.ReplaceAll(string(text), "peer haptrail", "peer other")), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start() // it does not know us any more: polls stand in
	time.Sleep(6 * time.Second)
	send(4)
	time.Sleep(2 * time.Second)
	if have := r.counted("space|calm"); have != want {
		t.Errorf("%d requests were counted, want %d", have, want)
	}
}

// TestFeedsNeedWhatTheyAreOf: wrong sockets and peers are said before anything runs.
func TestFeedsNeedWhatTheyAreOf(t *testing.T) {
	w, err := watch.New(watch.Options{MaxKeys: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []watch.Proxy{
		{Name: "edge1", Socket: "nonsense:x", Tables: []string{"t"}},
		{Name: "edge1", Socket: "unix:/s"},
		{Name: "edge1", Socket: "unix:/s", Tables: []string{"t"}, Peers: &peers.Proxy{}},
	} {
		if _, err := watch.NewFeeds(watch.FeedOptions{Proxies: []watch.Proxy{p}, Interval: time.Second, Load: 0.2}, w); err == nil || !strings.Contains(err.Error(), "edge1") {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
