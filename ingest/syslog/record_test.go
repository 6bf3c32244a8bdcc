package syslog

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// recorder is a Handler that keeps copies of what it is given.
type recorder struct {
	mu      sync.Mutex
	shown   []string // show() of each message
	texts   []string // Text of each message, in order of arrival
	bySrc   map[*Source][]string
	rejects []string         // "reason: raw", raw cut to 40 bytes
	block   chan struct{}    // when not nil, Handle waits for it to close
	busy    map[*Source]bool // to find two calls at once for one Source
	broken  []string         // faults of the caller
}

func newRecorder() *recorder {
	return &recorder{bySrc: map[*Source][]string{}, busy: map[*Source]bool{}}
}

func (r *recorder) enter(src *Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[src] {
		r.broken = append(r.broken, "two calls at once for one source")
	}
	r.busy[src] = true
}

func (r *recorder) Handle(src *Source, received time.Time, batch []Message) {
	r.enter(src)
	if r.block != nil {
		<-r.block
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[src] = false
	if len(batch) == 0 || received.IsZero() {
		r.broken = append(r.broken, fmt.Sprintf("Handle with %d messages, received %s", len(batch), received))
	}
	for i := range batch {
		m := &batch[i]
		r.shown = append(r.shown, show(m))
		r.texts = append(r.texts, string(m.Text))
		r.bySrc[src] = append(r.bySrc[src], string(m.Text))
	}
}

func (r *recorder) Reject(src *Source, received time.Time, reason string, raw []byte) {
	r.enter(src)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[src] = false
	if len(raw) > MaxReject || received.IsZero() {
		r.broken = append(r.broken, fmt.Sprintf("Reject with %d bytes, received %s", len(raw), received))
	}
	r.rejects = append(r.rejects, reason+": "+string(raw[:min(len(raw), 40)]))
}

func (r *recorder) counts() (messages, rejects int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.texts), len(r.rejects)
}

// wait waits until so many messages and rejects are there, and checks at the
// end that there are no more.
func (r *recorder) wait(t *testing.T, messages, rejects int) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		m, j := r.counts()
		if m >= messages && j >= rejects {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %d messages and %d rejects, want %d and %d", m, j, messages, rejects)
		}
		time.Sleep(time.Millisecond)
	}
	r.check(t, messages, rejects)
}

func (r *recorder) check(t *testing.T, messages, rejects int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.texts) != messages || len(r.rejects) != rejects {
		t.Errorf("got %d messages and %d rejects, want %d and %d\nrejects: %q", len(r.texts), len(r.rejects), messages, rejects, r.rejects)
	}
	if len(r.broken) > 0 {
		t.Errorf("the handler's contract was broken: %q", r.broken)
	}
}

// running is a listener that serves.
type running struct {
	*Listener
	rec  *recorder
	reg  *prometheus.Registry
	log  *logBuffer
	stop func() error // ends the context and returns what Serve returned
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	sb strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sb.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sb.String()
}

// start serves cfg until the test ends.
func start(t testing.TB, cfg Config, h Handler) *running {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	cfg.Zone = time.UTC
	r := &running{reg: prometheus.NewRegistry(), log: &logBuffer{}}
	r.rec, _ = h.(*recorder)
	l, err := Listen(cfg, Deps{Logger: slog.New(slog.NewTextHandler(r.log, nil)), Metrics: NewMetrics(r.reg)})
	if err != nil {
		t.Fatal(err)
	}
	r.Listener = l
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, h) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil && !t.Failed() {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// dial connects to a listener.
func (r *running) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial(r.Addr().Network(), r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t testing.TB, conn net.Conn, b string) {
	t.Helper()
	if _, err := conn.Write([]byte(b)); err != nil {
		t.Fatal(err)
	}
}

// metric returns the sum of a metric over the label values that contain each
// of the given strings.
func (r *running) metric(t testing.TB, name string, values ...string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "haptrail_syslog_"+name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			for _, want := range values {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetValue() == want
				}
				if !found {
					continue next
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			t.Fatal("did not come about: ", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// counted frames a message by octet count.
func counted(s string) string { return fmt.Sprintf("%d %s", len(s), s) }
