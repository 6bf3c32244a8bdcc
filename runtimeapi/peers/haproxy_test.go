package peers

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"maps"
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

// columnsOf are a sample's measures as text.
func columnsOf(s poll.Sample) (names []string) {
	for _, m := range s.Measures {
		names = append(names, m.String())
	}
	return names
}

// TestRealTypes: each type of key, and nearly each data type, is what a dump of the
// table shows.
func TestRealTypes(t *testing.T) {
	g := startHAProxy(t, config)
	l := newLedger()
	f, _ := listen(t, g.peer("st", "bi", "in", "a4", "a6", "pp/inner"), Options{}, l)
	if s := await(t, f, StateOK); s.Problem != "" || len(s.Tables) != 6 {
		t.Fatalf("%+v", s)
	}
	all := ""
	for b := 1; b < 256; b++ {
		all += fmt.Sprintf("%%%02X", b)
	}
	binary := base64.StdEncoding.EncodeToString([]byte{0, 1, ' ', '\n', 0xff, '\\', '=', 0})
	for _, headers := range [][]string{
		{"X-Key", all}, {"X-Key", "job", "X-Bin", binary}, {"X-Key", "job", "X-Num", "4294967295"}, {"X-Key", "job", "X-Num", "7"},
		{"X-Key", "job", "X-Addr", "127.0.0.1"}, {"X-Key", "job", "X-Addr6", "2001:db8::1"}, {"X-Key", "job", "X-Addr6", "::ffff:10.0.0.1"}, {"X-Key", "job", "X-Addr6", "::1.2.3.4"},
	} {
		g.requests(t, 2, headers...)
	}
	time.Sleep(200 * time.Millisecond)
	seen := 0
	for table, keys := range map[string]int{"st": 2, "bi": 1, "in": 2, "a4": 1, "a6": 3} {
		err := g.client.Table(t.Context(), table, runtimeapi.Filter{}, func(e *runtimeapi.TableEntry) error {
			s, ok := l.sample(table + "/" + string(e.Key))
			if !ok {
				return fmt.Errorf("%s: no sample of %q", table, e.Key)
			}
			seen++
			keys--
			n := 0
			for i, c := range e.Columns {
				if c.Kind == runtimeapi.Text {
					continue
				}
				if n >= len(s.Measures) || s.Measures[n].Column != c {
					return fmt.Errorf("%s has %v, the samples %v", table, e.Columns, columnsOf(s))
				}
				if have, want := s.Measures[n].Value, e.Values[i]; have != want && (c.Kind != runtimeapi.Rate || max(have, want)-min(have, want) > 1+want/20) {
					t.Errorf("%s %q: %s is %d, the dump says %d", table, e.Key, c, have, want)
				}
				n++
			}
			return nil
		})
		if err != nil || keys != 0 {
			t.Errorf("%s: %v, %d keys are missing", table, err, keys)
		}
	}
	if _, ok := l.sample("st/job"); !ok || seen != 9 {
		t.Errorf("%d keys were compared", seen)
	}
	if s, _ := l.sample("in/7"); len(s.Measures) != 3 || s.Measures[2].Value != 2 || s.Measures[0].Name != "gpc0" {
		t.Errorf("%+v", s)
	}
}

// TestRealTraffic: every request is told once, at once, and none from before.
func TestRealTraffic(t *testing.T) {
	g := startHAProxy(t, config)
	g.requests(t, 5, "X-Key", "old")
	l := newLedger()
	f, _ := listen(t, g.peer(), Options{}, l)
	await(t, f, StateOK)
	for range 3 {
		g.requests(t, 7, "X-Key", "old")
		g.requests(t, 9, "X-Key", "new key", "X-Num", "77")
	}
	l.rise(t, "st/old", 21)
	l.rise(t, "st/new key", 27)
	l.rise(t, "in/77", 27)
	s, _ := l.sample("st/new key")
	if s.Elapsed < time.Millisecond || s.Elapsed > time.Second || s.Shared || s.Restarted || s.First || time.Since(s.At).Abs() > time.Minute {
		t.Errorf("%+v", s)
	}
	if err := g.client.ClearTable(t.Context(), "st", runtimeapi.Filter{Key: runtimeapi.StringKey("old")}); err != nil {
		t.Fatal(err)
	}
	g.requests(t, 4, "X-Key", "old")
	l.rise(t, "st/old", 25)
	if s := f.Status(); s.State != StateOK || s.Reconnects != 0 || s.Entries != 3 || s.Updates < 10 || !s.Covers("st") || s.Covers("alone") {
		t.Errorf("%+v", s)
	}
}

// TestRealExpiry: an entry that expires and is made anew begins at 0, also where it
// comes as far as before.
func TestRealExpiry(t *testing.T) {
	g := startHAProxy(t, config)
	l := newLedger()
	f, _ := listen(t, g.peer("short"), Options{}, l)
	await(t, f, StateOK)
	for i := range uint64(4) {
		g.requests(t, 3, "X-Key", "x", "X-Short", "k")
		l.rise(t, "short/k", 3*(i+1))
		time.Sleep(400 * time.Millisecond)
	}
}

// dump is what a table's keys have counted.
func (g *gate) dump(t testing.TB, table string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := g.client.Table(t.Context(), table, runtimeapi.Filter{}, func(e *runtimeapi.TableEntry) error {
		for i, c := range e.Columns {
			if c.Kind != runtimeapi.Rate { // they fade by themselves
				all[string(e.Key)] += fmt.Sprintf(" %s=%d", c, e.Values[i])
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRealReadOnly: nothing in HAProxy's tables changes because a feed listens.
func TestRealReadOnly(t *testing.T) {
	g := startHAProxy(t, config)
	g.requests(t, 3, "X-Key", "a", "X-Num", "1")
	g.requests(t, 2, "X-Key", "b", "X-Addr", "10.1.2.3")
	time.Sleep(50 * time.Millisecond) // the last request's stream ends
	tables := []string{"st", "in", "a4", "pp/inner"}
	before := map[string]map[string]string{}
	for _, table := range tables {
		before[table] = g.dump(t, table)
	}
	if len(before["st"]) != 2 || !strings.Contains(before["st"]["a"], "http_req_cnt=3") {
		t.Fatal(before)
	}
	for range 3 {
		f, stop := listen(t, g.peer(), Options{}, newLedger())
		await(t, f, StateOK)
		time.Sleep(1500 * time.Millisecond) // some lessons and acknowledgements
		stop()
	}
	for _, table := range tables {
		if after := g.dump(t, table); !maps.Equal(after, before[table]) {
			t.Errorf("%s is %v, it was %v", table, after, before[table])
		}
	}
}

// TestRealRefusals: what HAProxy itself answers to each greeting.
func TestRealRefusals(t *testing.T) {
	g := startHAProxy(t, config)
	for want, change := range map[string]func(*Proxy){
		"status 503: its own name is not": func(p *Proxy) { p.Remote = "other" },
		"status 504: its peers section":   func(p *Proxy) { p.Local = "stranger" },
		"HAProxy does not send table alone to its peers; add": func(p *Proxy) {
			p.Tables = []string{"alone"}
		},
		"no status came": func(p *Proxy) { p.Address = "unix:" + g.path("f") }, // the frontend
	} {
		p := g.peer()
		change(&p)
		f, stop := listen(t, p, Options{}, newLedger())
		if s := await(t, f, StateFailed); !strings.Contains(s.Problem, want) {
			t.Errorf("%s\nwant %s", s.Problem, want)
		}
		stop()
	}
	for hello, want := range map[string]string{
		"SomethingElse 2.1\nme\nhaptrail 1 1\n": "501\n", "HAProxyS 3.0\nme\nhaptrail 1 1\n": "502\n", "HAProxyS 2.1\nme\nhaptrail\n": "501\n",
	} {
		conn, err := net.Dial("unix", g.path("p"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(conn, hello)
		if have, err := io.ReadAll(conn); string(have) != want {
			t.Errorf("%q is answered %q, %v; want %q", hello, have, err, want)
		}
		_ = conn.Close()
	}
}

// TestRealTwoFeeds: HAProxy has one connection for a name.
func TestRealTwoFeeds(t *testing.T) {
	g := startHAProxy(t, config)
	first, _ := listen(t, g.peer(), Options{}, newLedger())
	await(t, first, StateOK)
	l := newLedger()
	second, _ := listen(t, g.peer(), Options{}, l)
	await(t, second, StateOK)
	waitFor(t, "the first feed's end", func() bool {
		s := first.Status()
		return s.Reconnects > 0 || strings.Contains(s.Problem, "another client calls itself haptrail")
	})
}
