package alert

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// receiver is a Sender that keeps what it was sent, and checks what every receiver
// is promised: fire before update before resolve, one resolve for a fire, and no
// message that is too long.
type receiver struct {
	t      testing.TB
	traits Traits
	// answer may refuse a message; may be nil.
	answer func(ctx context.Context, m Message) error

	mu       sync.Mutex
	messages []Message
	times    []time.Time
	open     map[string]bool
	fires    map[string]int
	resolves map[string]int
}

var (
	people  = Limit{PerMinute: 5, Burst: 2, Gap: time.Second}
	machine = Limit{PerMinute: 62, Burst: 2}
)

func newReceiver(t testing.TB, traits Traits) *receiver {
	return &receiver{t: t, traits: traits, open: map[string]bool{}, fires: map[string]int{}, resolves: map[string]int{}}
}

func (r *receiver) Traits() Traits { return r.traits }

func (r *receiver) Send(ctx context.Context, m Message) error {
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, m); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	r.times = append(r.times, time.Now())
	if m.Purpose != Alerts {
		return nil
	}
	if len(m.Notices) == 0 || len(m.Notices) > r.traits.Batch || m.ID == "" {
		r.t.Errorf("a message of %d notices, id %q", len(m.Notices), m.ID)
	}
	for _, n := range m.Notices {
		r.take(n)
	}
	return nil
}

func (r *receiver) take(n Notice) {
	key, open := n.Alert.Key, r.open[n.Alert.Key]
	if n.State.Firing() != n.Alert.EndsAt.IsZero() {
		r.t.Errorf("%s: state %d, and ends at %s", key, n.State, n.Alert.EndsAt)
	}
	switch {
	case n.State == Fired && open, (n.State == Updated || n.State == Repeated) && !open:
		r.t.Errorf("%s: state %d, and open is %t", key, n.State, open)
	case n.State == Resolved && n.Missed == open && !n.again:
		r.t.Errorf("%s: resolved, missed %t, and open is %t", key, n.Missed, open)
	case n.State == Fired:
		r.open[key] = true
		r.fires[key]++
	case n.State == Resolved && !n.again:
		if n.Missed {
			r.fires[key]++
		}
		delete(r.open, key)
		r.resolves[key]++
	}
}

// took is what was sent, a line per message: "+a" fired, "~a" updated, "=a" repeated,
// "-a" resolved, "!a" missed, "*a" resolved and known, "beat", "trial".
func (r *receiver) took() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, m := range r.messages {
		var words []string
		switch m.Purpose {
		case Heartbeat:
			words = []string{"beat"}
		case Trial:
			words = []string{"trial"}
		default:
			for _, n := range m.Notices {
				mark := map[State]string{Fired: "+", Updated: "~", Repeated: "=", Resolved: "-"}[n.State]
				if n.Missed {
					mark = "!"
				} else if n.State == Resolved && n.again {
					mark = "*"
				}
				words = append(words, mark+n.Alert.Key)
			}
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "; ")
}

func (r *receiver) expect(want string) {
	r.t.Helper()
	if have := r.took(); have != want {
		r.t.Errorf("was sent %q, want %q", have, want)
	}
}

// busiest is the most messages that came in one minute, wherever it begins.
func (r *receiver) busiest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := 0
	for i, from := range r.times {
		n := 0
		for _, at := range r.times[i:] {
			if at.Sub(from) < time.Minute {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// desk is a running Manager.
type desk struct {
	*Manager
	t       testing.TB
	options Options
	metrics *prometheus.Registry
	log     *strings.Builder
	stop    func()

	receivers map[string]*receiver
}

// sleep lets time pass, until nothing more happens at its end. What the test has
// changed before, as a receiver's answer, is seen by the lanes; and what they did, by
// the test.
func (d *desk) sleep(duration time.Duration) {
	for _, r := range d.receivers {
		r.mu.Lock()
		r.mu.Unlock() //lint:ignore SA2001 for the memory model alone
	}
	time.Sleep(duration)
	synctest.Wait()
}

// newDesk runs a manager with these channels until the test ends.
func newDesk(t testing.TB, o Options, receivers map[string]*receiver) *desk {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range receivers {
			if !yield(name) {
				return
			}
		}
	}) {
		known := slices.ContainsFunc(o.Channels, func(c Channel) bool { return c.Name == name })
		if !known {
			o.Channels = append(o.Channels, Channel{Name: name, Sender: receivers[name]})
		}
	}
	d := &desk{t: t, options: o, log: &strings.Builder{}, receivers: receivers}
	d.start()
	t.Cleanup(func() { d.stop() })
	return d
}

func (d *desk) start() {
	d.t.Helper()
	o := d.options
	d.metrics = prometheus.NewRegistry()
	o.Metrics = NewMetrics(d.metrics)
	o.Log = slog.New(slog.NewTextHandler(&locked{b: d.log}, nil))
	m, err := Open(o)
	if err != nil {
		d.t.Fatal(err)
	}
	m.jitter = func() float64 { return 0 }
	d.Manager = m
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Error(err)
		}
		if err := m.Close(); err != nil {
			d.t.Error(err)
		}
	})
}

// restart stops the manager in order, and starts it again.
func (d *desk) restart() {
	d.stop()
	d.start()
}

// locked is a writer for several goroutines.
type locked struct {
	mu sync.Mutex
	b  *strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (d *desk) fire(keys ...string) {
	d.t.Helper()
	for _, key := range keys {
		if err := d.Fire(simple(key)); err != nil {
			d.t.Error(err)
		}
	}
}

func (d *desk) resolve(keys ...string) {
	d.t.Helper()
	for _, key := range keys {
		if err := d.Resolve(key, time.Time{}); err != nil {
			d.t.Error(err)
		}
	}
}

// expectMetrics compares some of the metrics, in the text format.
func (d *desk) expectMetric(name string, want float64, labels ...string) {
	d.t.Helper()
	families, err := d.metrics.Gather()
	if err != nil {
		d.t.Fatal(err)
	}
	have := 0.0
	for _, family := range families {
		for _, metric := range family.Metric {
			fits := 0
			for _, label := range metric.Label {
				if slices.Contains(labels, label.GetName()+"="+label.GetValue()) {
					fits++
				}
			}
			if family.GetName() == name && fits == len(labels) {
				have += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	if have != want {
		d.t.Errorf("%s %v is %v, want %v", name, labels, have, want)
	}
}

// lint checks the metrics' names and texts.
func (d *desk) lint() {
	d.t.Helper()
	problems, err := testutil.GatherAndLint(d.metrics)
	if err != nil || len(problems) > 0 {
		d.t.Errorf("%v %v", problems, err)
	}
}

// simple is a small alert.
func simple(key string) Alert {
	return Alert{Key: key, Kind: "burst", Severity: High, Title: "burst of " + key, Identity: "id-" + key, Numbers: map[string]float64{"requests_10s": 412}}
}

// list is a receiver that is a machine, one a receiver that people read.
func list() Traits { return Traits{Batch: 1000, Updates: true, Heartbeats: true, Limit: machine} }
func one() Traits {
	return Traits{Batch: 1, Storm: 3, FreeResolve: true, Limit: people, FirstPause: time.Minute, MaxPause: 10 * time.Minute}
}
