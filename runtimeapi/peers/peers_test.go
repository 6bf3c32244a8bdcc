package peers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// TestNew: what cannot be a feed is refused in words.
func TestNew(t *testing.T) {
	good := proxyAt("127.0.0.1:10000", "st")
	for want, change := range map[string]func(*Proxy, *Options){
		"":                                   func(*Proxy, *Options) {},
		"a proxy needs a name":               func(p *Proxy, _ *Options) { p.Name = "" },
		`"" is no name of a peer`:            func(p *Proxy, _ *Options) { p.Local = "" },
		`"a b" is no name of a peer`:         func(p *Proxy, _ *Options) { p.Remote = "a b" },
		`"a\nb" is no name of a peer`:        func(p *Proxy, _ *Options) { p.Local = "a\nb" },
		`local and remote are both "me"`:     func(p *Proxy, _ *Options) { p.Local = "me" },
		"want HOST:PORT or unix:/PATH":       func(p *Proxy, _ *Options) { p.Address = "10000" },
		`":10000": want HOST:PORT`:           func(p *Proxy, _ *Options) { p.Address = ":10000" },
		"want unix:/PATH":                    func(p *Proxy, _ *Options) { p.Address = "unix:p" },
		`table "st" is empty or there twice`: func(p *Proxy, _ *Options) { p.Tables = []string{"st", "st"} },
		`table "" is empty or there twice`:   func(p *Proxy, _ *Options) { p.Tables = []string{""} },
		`shared table "other" is not among`:  func(p *Proxy, _ *Options) { p.Shared = []string{"other"} },
		"must not be negative":               func(_ *Proxy, o *Options) { o.MaxKeys = -1 },
		"timeout 1s is below 4s":             func(_ *Proxy, o *Options) { o.Timeout = time.Second },
	} {
		p, o := good, Options{}
		change(&p, &o)
		f, err := New(p, o, func(poll.Sample) {})
		if want == "" {
			if err != nil || f.Status().State != StateUnknown || f.Status().Proxy != "edge1" {
				t.Errorf("%v, %+v", err, f)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := New(good, Options{}, nil); err == nil {
		t.Error("a feed whose samples nobody takes")
	}
}

// TestEnds: a feed ends at once with its context, wherever it is.
func TestEnds(t *testing.T) {
	silent := serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	met := serve(t, func(conn net.Conn) { meet(t, conn, "200\n").hold() })
	for name, address := range map[string]string{"nobody": serve(t), "no status": silent, "no lesson": met} {
		f, err := New(proxyAt(address), Options{MaxPause: time.Minute}, func(poll.Sample) {})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := f.Run(ctx); err != nil || time.Since(start) > 3*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
	}
}

// TestPauses: attempts become rarer.
func TestPauses(t *testing.T) {
	reg := prometheus.NewRegistry()
	f, err := New(proxyAt(serve(t)), Options{Metrics: NewMetrics(reg)}, func(poll.Sample) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
	// 50 ms and then twice as much each time: 50 + 100 + 200 + 400 + 800, more or less.
	if n := testutil.ToFloat64(f.options.Metrics.connections.WithLabelValues("edge1", "unreachable")); n < 4 || n > 8 {
		t.Errorf("%v attempts in 2 s", n)
	}
}

// TestMetrics: what a feed publishes, after a connection and its end.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	l := newLedger()
	done := make(chan struct{})
	address := serve(t, func(conn net.Conn) {
		h := meet(t, conn, "200\n")
		h.teach(packet(tableDefine, stick(1, "st")), timed(1, entry("a", 1)), packet(tableDefine, stick(2, "other")))
		h.send(packet(tableSwitch, number(1)), change(2, entry("a", 3)), change(3, entry("b", 1)), change(4, entry("c", 1)), change(5, entry("a", 1)))
		h.expectAck(1, 5)
		<-done
	})
	p := proxyAt(address, "st")
	p.Shared = []string{"st"}
	f, _ := listen(t, p, Options{Metrics: NewMetrics(reg), MaxKeys: 2}, l)
	await(t, f, StateOK)
	waitFor(t, "the last sample", func() bool { return f.Status().Updates == 5 })
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP haptrail_peers_samples_total Updates with something to tell.
# TYPE haptrail_peers_samples_total counter
haptrail_peers_samples_total{proxy="edge1",table="st"} 5
# HELP haptrail_peers_tracked_keys Keys whose counters are remembered.
# TYPE haptrail_peers_tracked_keys gauge
haptrail_peers_tracked_keys{proxy="edge1",table="st"} 2
# HELP haptrail_peers_untold_total Deltas that are not told: max_keys (the key has no place in memory), behind (a peer brought an older count).
# TYPE haptrail_peers_untold_total counter
haptrail_peers_untold_total{proxy="edge1",reason="behind",table="st"} 2
haptrail_peers_untold_total{proxy="edge1",reason="max_keys",table="st"} 1
# HELP haptrail_peers_up 1 while what is touched arrives, else 0.
# TYPE haptrail_peers_up gauge
haptrail_peers_up{proxy="edge1"} 1
# HELP haptrail_peers_updates_total Entries that HAProxy sent, of tables that were asked for.
# TYPE haptrail_peers_updates_total counter
haptrail_peers_updates_total{proxy="edge1",table="st"} 5
`), "haptrail_peers_samples_total", "haptrail_peers_tracked_keys", "haptrail_peers_untold_total", "haptrail_peers_up", "haptrail_peers_updates_total"); err != nil {
		t.Error(err)
	}
	if s, _ := l.sample("st/a"); !s.Shared || !f.Status().Tables[0].Shared {
		t.Errorf("%+v", s)
	}
	close(done)
	await(t, f, StateFailed)
	waitFor(t, "the count", func() bool {
		return testutil.ToFloat64(f.options.Metrics.connections.WithLabelValues("edge1", "closed")) == 1
	})
	if testutil.ToFloat64(f.options.Metrics.up.WithLabelValues("edge1")) != 0 {
		t.Error("it is still up")
	}
}

// sink is a connection that keeps what is written and has nothing to read.
type sink struct {
	net.Conn
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}
func (*sink) Close() error                     { return nil }
func (*sink) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession: whatever comes after a good greeting ends in an error or in samples,
// never in a panic or in memory without bound; and whatever it is, what is answered is
// only what a peer says that has nothing: no table, no entry.
func FuzzSession(f *testing.F) {
	for _, tc := range broken() {
		f.Add([]byte(tc[0]))
	}
	f.Add([]byte(packet(tableDefine, stick(1, "st")) + timed(7, entry("old", 5)) + packet(tableNextTimed, four(60_000)+entry("older", 6)) + finished + request +
		change(7, entry("old", 5)) + change(9, entry("old", 7)) + packet(tableNext, entry("new", 3)) + beat + partial + packet(tableSwitch, number(1))))
	f.Fuzz(func(t *testing.T, stream []byte) {
		const maxKeys = 5
		feed, err := New(proxyAt("127.0.0.1:1"), Options{MaxKeys: maxKeys}, func(s poll.Sample) {
			if s.Elapsed < 0 || s.Table == "" || s.Proxy == "" {
				t.Errorf("%+v", s)
			}
			for _, m := range s.Measures {
				if m.Delta > 0 && s.Elapsed == 0 {
					t.Errorf("%s has grown by %d in no time", m.Name, m.Delta)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		to := &sink{}
		s := newSession(feed, to)
		s.in = newReader(bytes.NewReader(stream))
		s.out = newOutbox(to, time.Second)
		s.begin()
		for err == nil {
			var m message
			if m, err = s.next(); err == nil {
				err = s.take(m)
			}
		}
		_ = s.out.close()
		if len(feed.tables) > maxTables || feed.Status().Entries > maxKeys*len(feed.tables) {
			t.Errorf("%d tables, %d keys", len(feed.tables), feed.Status().Entries)
		}
		if problem(feed, err) == "" || strings.Contains(problem(feed, err), "\n") {
			t.Errorf("%q", problem(feed, err))
		}
		if err := onlyReads(to.all.Bytes()); err != nil {
			t.Error(err)
		}
	})
}

// onlyReads is an error if there is anything that changes a table.
func onlyReads(sent []byte) error {
	r := newReader(bytes.NewReader(sent))
	for {
		m, err := r.next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case m.class == classControl && (m.kind == controlRequest || m.kind == controlPartial || m.kind == controlConfirm || m.kind == controlHeartbeat):
		case m.class == classTable && m.kind == tableAck:
		default:
			return fmt.Errorf("class %d type %d was sent", m.class, m.kind)
		}
	}
}
