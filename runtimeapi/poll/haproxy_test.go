package poll

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

	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/runtimeapi"
)

// config has a table that a reload empties and one that its peers fill again; a
// request counts in both under its X-Key.
const config = `
global
    stats socket DIR/s mode 600 level admin
    hard-stop-after 2s
    localpeer me
peers pp
    peer me unix@DIR/p
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend www
    bind unix@DIR/f
    http-request track-sc0 req.fhdr(x-key) table plain
    http-request track-sc1 req.fhdr(x-key) table peered
    http-request return status 200 content-type text/plain string ok
backend plain
    stick-table type string len 64 size 200k expire EXPIRE store http_req_cnt,http_req_rate(10s),bytes_in_cnt
backend peered
    stick-table type string len 64 size 200k expire 10m peers pp store http_req_cnt,http_req_rate(10s)
`

// startHAProxy runs config with a master.
func startHAProxy(t testing.TB, expire string) (dir string, c *runtimeapi.Client, m *runtimeapi.Master) {
	t.Helper()
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	dir, err = os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := func(name string) string { return filepath.Join(dir, name) }
	text := strings.NewReplacer("DIR", dir, "EXPIRE", expire).Replace(config)
	if err := os.WriteFile(path("h.cfg"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := haproxy.Start(t.Context(), haproxy.Options{Binary: binary, Configs: []string{path("h.cfg")}, Socket: path("s"), Master: path("m"), Output: path("log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("HAProxy said:\n%s", p.Tail())
		}
	})
	if c, err = runtimeapi.New(path("s"), runtimeapi.Options{}); err != nil {
		t.Fatal(err)
	}
	if m, err = runtimeapi.NewMaster(path("m"), runtimeapi.Options{}); err != nil {
		t.Fatal(err)
	}
	return dir, c, m
}

// requests sends n with a key, each over a connection of its own, so that none is
// left to an old worker.
func requests(t testing.TB, dir, key string, n int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "f"))
	}}}
	for range n {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://gate/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Key", key)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// ledger adds up the deltas by table and key.
type ledger struct {
	mu   sync.Mutex
	sums map[string]uint64
	last map[string]Sample
}

func (l *ledger) take(s Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, _ := s.Measure("http_req_cnt")
	id := s.Table + "/" + s.Key
	l.sums[id] += m.Delta
	s.Measures = nil // the poller's own
	l.last[id] = s
}

func (l *ledger) sum(id string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums[id]
}

// rise waits until a sum has risen to n and stays there for some polls.
func (l *ledger) rise(t *testing.T, id string, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); l.sum(id) < n && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	if have := l.sum(id); have != n {
		t.Errorf("%s: %d requests were told, want %d", id, have, n)
	}
}

// follow polls both tables every 50 ms until the test ends.
func follow(t *testing.T, c Client) (*ledger, *Poller) {
	t.Helper()
	l := &ledger{sums: map[string]uint64{}, last: map[string]Sample{}}
	p, err := New([]Proxy{{Name: "edge1", Client: c, Tables: []string{"plain", "peered"}}}, Options{Interval: 50 * time.Millisecond}, l.take)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		ok := 0
		for _, s := range p.Status() {
			if s.State == StateOK {
				ok++
			}
		}
		if ok == 2 {
			return l, p
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", p.Status())
		}
	}
}

// TestRealTraffic: every request is told once, also of a key that is cleared.
func TestRealTraffic(t *testing.T) {
	dir, c, _ := startHAProxy(t, "10m")
	requests(t, dir, "old", 5) // before the first look: not told
	l, p := follow(t, c)
	requests(t, dir, "old", 7)
	requests(t, dir, "new key", 9)
	l.rise(t, "plain/old", 7)
	l.rise(t, "plain/new key", 9)
	l.rise(t, "peered/old", 7)
	l.mu.Lock()
	if l.last["plain/old"].Shared || !l.last["peered/old"].Shared {
		t.Errorf("%+v", l.last)
	}
	l.mu.Unlock()
	if err := c.ClearTable(t.Context(), "plain", runtimeapi.Filter{Key: runtimeapi.StringKey("old")}); err != nil {
		t.Fatal(err)
	}
	requests(t, dir, "old", 4)
	l.rise(t, "plain/old", 11)
	for _, s := range p.Status() {
		if s.State != StateOK || s.Tracked != 2 || s.Used != 2 || s.Shared != (s.Table == "peered") {
			t.Errorf("%+v", s)
		}
	}
}

// TestRealExpiry: an entry that expires and is made anew begins at 0.
func TestRealExpiry(t *testing.T) {
	dir, c, _ := startHAProxy(t, "300ms")
	l, _ := follow(t, c)
	for i := range uint64(4) {
		requests(t, dir, "k", 3)
		l.rise(t, "plain/k", 3*(i+1))
		time.Sleep(400 * time.Millisecond)
	}
}

// TestRealReload: the plain table begins empty and the peered one does not; each
// request is told once, and no history is told at all.
func TestRealReload(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for HAProxy's peers to be in step, 6 s")
	}
	dir, c, m := startHAProxy(t, "10m")
	l, _ := follow(t, c)
	requests(t, dir, "seen", 1)
	requests(t, dir, "k", 40)
	l.rise(t, "plain/k", 40)
	// A worker hands its tables over only after its own first 5 s.
	time.Sleep(5500 * time.Millisecond)
	before, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := c.Info(t.Context())
	if err != nil || after.PID == before.PID {
		t.Fatalf("%+v, %v", after, err)
	}
	requests(t, dir, "k", 6)
	requests(t, dir, "fresh", 2)
	l.rise(t, "plain/k", 46)
	l.rise(t, "plain/fresh", 2)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		e, err := c.Lookup(t.Context(), "peered", runtimeapi.StringKey("k"))
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := e.Value("http_req_cnt"); e != nil && n >= 40 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the peers did not fill the table: %+v", e)
		}
	}
	time.Sleep(200 * time.Millisecond)
	told := l.sum("peered/k")
	if told > 46 {
		t.Errorf("peered/k: %d requests were told, 46 happened", told)
	}
	requests(t, dir, "k", 5)
	l.rise(t, "peered/k", told+5)
	if l.sum("plain/seen") > 1 || l.sum("peered/seen") > 1 {
		t.Errorf("%+v", l.sums)
	}
}

// TestRealStop: HAProxy goes away, and another comes.
func TestRealStop(t *testing.T) {
	dir, c, m := startHAProxy(t, "10m")
	l, p := follow(t, c)
	if err := os.Rename(filepath.Join(dir, "s"), filepath.Join(dir, "hidden")); err != nil {
		t.Fatal(err)
	}
	wait := func(want State) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); p.Status()[0].State != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%+v, want %s", p.Status()[0], want)
			}
		}
	}
	wait(StateMissing)
	requests(t, dir, "k", 3)
	if err := os.Rename(filepath.Join(dir, "hidden"), filepath.Join(dir, "s")); err != nil {
		t.Fatal(err)
	}
	wait(StateOK)
	l.rise(t, "plain/k", 3)
	if err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	requests(t, dir, "k", 2)
	l.rise(t, "plain/k", 5)
}

// fill makes n entries, many to a connection.
func fill(t testing.TB, dir, table string, n int) {
	t.Helper()
	const batch = 200
	for from := 0; from < n; from += batch {
		var b strings.Builder
		for i := from; i < min(from+batch, n); i++ {
			fmt.Fprintf(&b, "set table %s key repo:acme/app-%06d:ref:refs/heads/main data.http_req_cnt %d\n", table, i, i)
		}
		conn, err := net.Dial("unix", filepath.Join(dir, "s"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, b.String())
		reply, err := io.ReadAll(conn)
		_ = conn.Close()
		if text := strings.TrimSpace(string(reply)); err != nil || text != "" {
			t.Fatalf("%v, %.200q", err, text)
		}
	}
}

// TestRealBig: 100,000 entries are polled within 2 s, every one told when it changes.
func TestRealBig(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a table with 100,000 entries")
	}
	dir, c, _ := startHAProxy(t, "10m")
	const n = 100_000
	fill(t, dir, "plain", n)
	l, p := follow(t, c)
	requests(t, dir, "repo:acme/app-077777:ref:refs/heads/main", 3)
	l.rise(t, "plain/repo:acme/app-077777:ref:refs/heads/main", 3)
	s := p.Status()[0]
	if s.Tracked != n || s.Took > 2*time.Second {
		t.Errorf("%+v", s)
	}
	t.Logf("%d entries in %v, next in %v, filtered %t", s.Entries, s.Took, s.Interval, s.Filtered)
}
