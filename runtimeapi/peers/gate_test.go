package peers

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// config has a table of each type of key, and one with most data types, in a peers
// section with this feed. A request counts in st under its X-Key, and in another
// table under another header.
const config = `
global
    stats socket DIR/s mode 600 level admin
    hard-stop-after 2s
    localpeer me
peers pp
    peer me unix@DIR/p
    peer haptrail 127.0.0.1:1
    table inner type string len 20 size 1k store http_req_cnt
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend www
    bind unix@DIR/f
    http-request track-sc0 req.fhdr(x-key),url_dec table st
    http-request track-sc1 req.fhdr(x-bin),b64dec table bi if { req.fhdr(x-bin) -m found }
    http-request track-sc1 req.fhdr(x-num) table in if { req.fhdr(x-num) -m found }
    http-request track-sc1 req.fhdr(x-addr) table a4 if { req.fhdr(x-addr) -m found }
    http-request track-sc1 req.fhdr(x-addr6) table a6 if { req.fhdr(x-addr6) -m found }
    http-request track-sc1 req.fhdr(x-short) table short if { req.fhdr(x-short) -m found }
    http-request sc-inc-gpc(1,0)
    http-request sc-set-gpt(1,0) 7
    http-request return status 200 content-type text/plain string ok
backend st
    stick-table type string len 300 size 100k expire 10m peers pp store gpc(3),gpt(2),gpc_rate(3,10s),http_req_cnt,http_req_rate(10s),conn_cur,conn_cnt,server_id,server_key,bytes_in_cnt,bytes_in_rate(1m),bytes_out_cnt,http_err_cnt,sess_rate(3s)
backend bi
    stick-table type binary len 8 size 1k peers pp store http_req_cnt
backend in
    stick-table type integer size 1k expire 1m peers pp store http_req_cnt,gpc0,gpc0_rate(5s)
backend a4
    stick-table type ip size 1k expire 1m peers pp store http_req_cnt,bytes_out_cnt
backend a6
    stick-table type ipv6 size 1k expire 1m peers pp store http_req_cnt
backend short
    stick-table type string len 40 size 1k expire 300ms peers pp store http_req_cnt,http_req_rate(100ms)
backend alone
    stick-table type string len 40 size 1k expire 1m store http_req_cnt
`

// gate is a running HAProxy.
type gate struct {
	dir    string
	client *runtimeapi.Client
	master *runtimeapi.Master
	proc   *haproxy.Process
}

// startHAProxy runs a configuration with a master; DIR in it is a folder of its own.
func startHAProxy(t testing.TB, config string) *gate {
	t.Helper()
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	g := &gate{dir: dir}
	g.write(t, config)
	if g.proc, err = haproxy.Start(t.Context(), haproxy.Options{Binary: binary, Configs: []string{g.path("h.cfg")}, Socket: g.path("s"), Master: g.path("m"), Output: g.path("log")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.proc.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("HAProxy said:\n%s", g.proc.Tail())
		}
	})
	if g.client, err = runtimeapi.New(g.path("s"), runtimeapi.Options{}); err != nil {
		t.Fatal(err)
	}
	if g.master, err = runtimeapi.NewMaster(g.path("m"), runtimeapi.Options{}); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gate) path(name string) string { return filepath.Join(g.dir, name) }

func (g *gate) write(t testing.TB, config string) {
	t.Helper()
	if err := os.WriteFile(g.path("h.cfg"), []byte(strings.ReplaceAll(config, "DIR", g.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// transport reaches the frontend; keepAlive says whether a connection serves more
// than one request.
func (g *gate) transport(t testing.TB, keepAlive bool) *http.Transport {
	tr := &http.Transport{DisableKeepAlives: !keepAlive, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", g.path("f"))
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// send sends a request with headers, and fails unless it is answered.
func send(ctx context.Context, tr *http.Transport, headers ...string) error {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://gate/", nil)
	if err != nil {
		return err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("status %d, %v", resp.StatusCode, err)
	}
	return nil
}

// requests sends n with a key, each over a connection of its own, so that none is
// left to an old worker.
func (g *gate) requests(t testing.TB, n int, headers ...string) {
	t.Helper()
	tr := g.transport(t, false)
	for range n {
		if err := send(t.Context(), tr, headers...); err != nil {
			t.Fatal(err)
		}
	}
}

// ledger keeps what a feed says: the sums of the deltas of http_req_cnt, and the last
// sample, by table and key.
type ledger struct {
	mu    sync.Mutex
	sums  map[string]uint64
	last  map[string]poll.Sample
	all   int
	trail []string // each sample in a line
	state []State
}

func newLedger() *ledger { return &ledger{sums: map[string]uint64{}, last: map[string]poll.Sample{}} }

func (l *ledger) take(s poll.Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, _ := s.Measure("http_req_cnt")
	id := s.Table + "/" + s.Key
	l.sums[id] += m.Delta
	s.Measures = slices.Clone(s.Measures)
	l.last[id] = s
	l.all++
	l.trail = append(l.trail, fmt.Sprintf("%s=%d +%d in %v first=%t restarted=%t", id, m.Value, m.Delta, s.Elapsed, s.First, s.Restarted))
}

func (l *ledger) change(s Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = append(l.state, s.State)
}

func (l *ledger) states() []State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.state)
}

func (l *ledger) sum(id string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums[id]
}

func (l *ledger) sample(id string) (poll.Sample, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.last[id]
	return s, ok
}

// rise waits until a sum is n, and a while longer to see that it stays.
func (l *ledger) rise(t *testing.T, id string, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); l.sum(id) < n && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	if have := l.sum(id); have != n {
		t.Errorf("%s: %d requests were told, want %d; the last samples:\n%s", id, have, n, strings.Join(l.trail[max(0, len(l.trail)-40):], "\n"))
	}
}

// testLog says what a feed logs, while its test runs.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// listen runs a feed until the test ends, or until stop.
func listen(t testing.TB, p Proxy, o Options, l *ledger) (f *Feed, stop func()) {
	t.Helper()
	o.Log = testLog(t)
	if o.Change == nil {
		o.Change = l.change
	}
	f, err := New(p, o, l.take)
	if err != nil {
		t.Fatal(err)
	}
	return f, run(t, f)
}

// run runs a feed until the test ends, or until stop.
func run(t testing.TB, f *Feed) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the feed does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// await waits for a state.
func await(t testing.TB, f *Feed, want State) Status {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if s := f.Status(); s.State == want {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, want %q", f.Status(), want)
		}
	}
}

// peer is the gate as a feed has it.
func (g *gate) peer(tables ...string) Proxy {
	return Proxy{Name: "edge1", Address: "unix:" + g.path("p"), Local: "haptrail", Remote: "me", Tables: tables}
}
