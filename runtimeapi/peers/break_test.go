package peers

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// relay stands between a feed and HAProxy, and can be cut.
type relay struct {
	to   string
	path string

	mu    sync.Mutex
	open  bool
	conns []net.Conn
}

// relayed lets a feed reach the gate through a relay.
func (g *gate) relayed(t *testing.T) (Proxy, *relay) {
	t.Helper()
	r := &relay{to: g.path("p"), path: g.path("r"), open: true}
	l, err := net.Listen("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.cut()
		all.Wait()
	})
	p := g.peer()
	p.Address = "unix:" + r.path
	return p, r
}

// carry carries both ways until either ends.
func (r *relay) carry(conn net.Conn) {
	defer conn.Close()
	r.mu.Lock()
	if !r.open {
		r.mu.Unlock()
		return
	}
	up, err := net.Dial("unix", r.to)
	if err != nil {
		r.mu.Unlock()
		return
	}
	defer up.Close()
	r.conns = append(r.conns, conn, up)
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(up, conn)
		_ = up.Close()
	}()
	_, _ = io.Copy(conn, up)
	_ = conn.Close()
	<-done
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = false
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

func (r *relay) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = true
}

// TestRealAway: what happens while the connection is cut is told afterwards, with the
// time away.
func TestRealAway(t *testing.T) {
	g := startHAProxy(t, config)
	l := newLedger()
	p, r := g.relayed(t)
	f, _ := listen(t, p, Options{MaxPause: 100 * time.Millisecond}, l)
	await(t, f, StateOK)
	g.requests(t, 5, "X-Key", "a")
	g.requests(t, 5, "X-Key", "b")
	l.rise(t, "st/a", 5)
	r.cut()
	await(t, f, StateFailed)
	g.requests(t, 4, "X-Key", "a")
	g.requests(t, 3, "X-Key", "new", "X-Num", "5")
	time.Sleep(1500 * time.Millisecond)
	r.mend()
	await(t, f, StateOK)
	l.rise(t, "st/a", 9)
	l.rise(t, "st/b", 5)
	l.rise(t, "st/new", 3)
	l.rise(t, "in/5", 3)
	for _, id := range []string{"st/a", "st/new", "in/5"} {
		s, _ := l.sample(id)
		if s.Elapsed < 1500*time.Millisecond || s.Elapsed > 5*time.Second || s.Restarted || s.First != (id != "st/a") {
			t.Errorf("%s: %+v", id, s)
		}
	}
	g.requests(t, 2, "X-Key", "a")
	l.rise(t, "st/a", 11)
	if s, _ := l.sample("st/a"); s.Elapsed > time.Second {
		t.Errorf("%+v", s)
	}
	if s := f.Status(); s.Reconnects < 1 || s.Entries != 4 {
		t.Errorf("%+v", s)
	}
}

// TestRealReload: the new worker is taught by the old one, under requests without a
// pause; none is told twice, and after it each is told.
func TestRealReload(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for HAProxy's peers to be in step, 6 s")
	}
	g := startHAProxy(t, config)
	l := newLedger()
	f, _ := listen(t, g.peer(), Options{}, l)
	await(t, f, StateOK)
	g.requests(t, 40, "X-Key", "k")
	g.requests(t, 10, "X-Key", "rests")
	l.rise(t, "st/k", 40)
	// A worker hands its tables over only after its own first 5 s.
	time.Sleep(5500 * time.Millisecond)
	sent := uint64(40)
	reloaded := make(chan error, 1)
	go func() { reloaded <- g.master.Reload(t.Context()) }()
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		g.requests(t, 1, "X-Key", "k")
		sent++
	}
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	await(t, f, StateOK)
	time.Sleep(200 * time.Millisecond)
	told := l.sum("st/k")
	t.Logf("%d requests, %d were told; HAProxy has %s; %+v", sent, told, g.dump(t, "st")["k"], f.Status())
	if told > sent || sent-told > 50 {
		t.Errorf("%d requests were told, %d happened", told, sent)
	}
	g.requests(t, 6, "X-Key", "k")
	g.requests(t, 2, "X-Key", "rests")
	g.requests(t, 3, "X-Key", "fresh")
	l.rise(t, "st/k", told+6)
	l.rise(t, "st/rests", 12)
	l.rise(t, "st/fresh", 3)
	if s := f.Status(); s.Reconnects < 1 || s.State != StateOK {
		t.Errorf("%+v", s)
	}
}

// TestRealRestart: HAProxy goes away, and another one comes with empty tables.
func TestRealRestart(t *testing.T) {
	g := startHAProxy(t, config)
	l := newLedger()
	var told []Status
	var mu sync.Mutex
	f, _ := listen(t, g.peer(), Options{MaxPause: 200 * time.Millisecond, Change: func(s Status) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, s)
	}}, l)
	await(t, f, StateOK)
	g.requests(t, 9, "X-Key", "k")
	l.rise(t, "st/k", 9)
	if err := os.Rename(g.path("p"), g.path("hidden")); err != nil {
		t.Fatal(err)
	}
	if err := g.proc.Stop(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the failure", func() bool { return f.Status().State == StateFailed })
	again := startHAProxy(t, config)
	again.requests(t, 4, "X-Key", "k")
	if err := os.Symlink(again.path("p"), g.path("p")); err != nil {
		t.Fatal(err)
	}
	await(t, f, StateOK)
	l.rise(t, "st/k", 13)
	again.requests(t, 2, "X-Key", "k")
	l.rise(t, "st/k", 15)
	mu.Lock()
	defer mu.Unlock()
	last := StateUnknown
	for _, s := range told {
		if s.State == last || (s.Problem == "") == (s.State == StateFailed) || s.Proxy != "edge1" {
			t.Errorf("%+v after %q", s, last)
		}
		last = s.State
	}
}

// TestSlowConsumer: while samples are not taken HAProxy goes on. When the buffers are
// full for 5 s it ends the connection, and the next one tells what was missed.
func TestSlowConsumer(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for longer than HAProxy's patience, 7 s")
	}
	g := startHAProxy(t, config)
	l := newLedger()
	var slow atomic.Bool
	f, err := New(g.peer(), Options{Log: testLog(t)}, func(s poll.Sample) {
		l.take(s)
		if slow.CompareAndSwap(true, false) {
			time.Sleep(7 * time.Second)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, f)
	await(t, f, StateOK)
	slow.Store(true)
	for range 100 {
		g.requests(t, 10, "X-Key", "k")
	}
	waitFor(t, "the last request", func() bool { return l.sum("st/k") == 1000 })
	await(t, f, StateOK)
	if s := f.Status(); s.Reconnects > 1 {
		t.Errorf("%+v", s)
	}
	g.requests(t, 5, "X-Key", "k")
	l.rise(t, "st/k", 1005)
}
