package poll

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/haptrail/haptrail/runtimeapi"
)

// fake is a HAProxy with one table, under the test's clock.
type fake struct {
	mu       sync.Mutex
	worker   runtimeapi.Info
	entries  []*runtimeapi.TableEntry
	used     int           // as the header says; the number of entries if 0
	takes    time.Duration // an unfiltered dump
	fail     error         // after the entries
	refuse   error         // at once; ErrNotStored: where there is a filter
	shared   []runtimeapi.SharedTable
	sharing  error
	busy     int // dumps at this time
	most     int
	began    []time.Time
	filtered int
}

func (f *fake) Dump(_ context.Context, table string, filter runtimeapi.Filter, v runtimeapi.Visitor) (runtimeapi.Dumped, error) {
	f.mu.Lock()
	f.busy++
	f.most = max(f.most, f.busy)
	f.began = append(f.began, time.Now())
	d := runtimeapi.Dumped{Info: f.worker, Table: runtimeapi.Table{Name: table, Type: runtimeapi.KeyString, Used: max(f.used, len(f.entries))}, Took: f.takes}
	entries, fail, refuse := slices.Clone(f.entries), f.fail, f.refuse
	if len(filter.Where) > 0 {
		f.filtered++
		d.Took /= 100
	}
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.busy--; f.mu.Unlock() }()
	time.Sleep(d.Took)
	if refuse != nil && (len(filter.Where) > 0 || !errors.Is(refuse, runtimeapi.ErrNotStored)) { // that refuses a filter
		return d, refuse
	}
	if err := v.Head(d.Info, d.Table); err != nil {
		return d, err
	}
	for _, e := range entries {
		d.Entries++
		if err := v.Entry(e); err != nil {
			return d, err
		}
	}
	return d, fail
}

func (f *fake) SharedTables(context.Context) ([]runtimeapi.SharedTable, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shared, f.sharing
}

func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// polls is how many dumps began, and how many of them with a filter.
func (f *fake) polls() (all, filtered int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.began), f.filtered
}

func worker(pid int) runtimeapi.Info {
	return runtimeapi.Info{PID: pid, Fields: map[string]string{"Start_time_sec": "1"}}
}

// running is a poller in a bubble of synctest.
type running struct {
	*Poller
	metrics *Metrics
	log     bytes.Buffer
	mu      sync.Mutex
	samples []string
	stop    func()
}

// startPoller runs one; it ends with stop.
func startPoller(t *testing.T, o Options, proxies ...Proxy) *running {
	t.Helper()
	r := &running{metrics: NewMetrics(prometheus.NewRegistry())}
	o.Metrics, o.Log = r.metrics, slog.New(slog.NewTextHandler(&r.log, nil))
	p, err := New(proxies, o, func(s Sample) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.samples = append(r.samples, say(&s))
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Poller = p
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	r.stop = func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return r
}

// said takes what was said since the last time.
func (r *running) said() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	said := r.samples
	r.samples = nil
	return said
}

func count(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	return testutil.ToFloat64(c)
}

// TestPollsInTime: every 2 s with a jitter of a tenth, never two of one proxy at once.
func TestPollsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{worker: worker(1), takes: 300 * time.Millisecond}, &fake{worker: worker(2)}
		r := startPoller(t, Options{}, Proxy{Name: "a", Client: a, Tables: []string{"t1", "t2", "t3"}}, Proxy{Name: "b", Client: b, Tables: []string{"t1"}})
		time.Sleep(100 * time.Second)
		r.stop()
		if a.most != 1 || len(a.began) < 3*45 || len(a.began) > 3*56 {
			t.Errorf("%d at once, %d polls", a.most, len(a.began))
		}
		steps := map[time.Duration]bool{}
		for i, at := range b.began[1:] {
			gap := at.Sub(b.began[i])
			steps[gap] = true
			if gap < 1800*time.Millisecond || gap > 2200*time.Millisecond {
				t.Errorf("%v between two polls", gap)
			}
		}
		if len(steps) < 10 {
			t.Errorf("no jitter: %v", steps)
		}
		for _, s := range r.Status() {
			if s.State != StateOK || s.Interval != 2*time.Second || s.Failures != 0 || s.Filtered {
				t.Errorf("%+v", s)
			}
		}
	})
}

// TestPollsWithinBudget: the interval widens with what a dump takes, and a filter is
// taken where it is cheaper, with a full dump now and then.
func TestPollsWithinBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{worker: worker(1), takes: 2 * time.Second, entries: show(entry(1, "a", 1)), used: 1_000_000}
		r := startPoller(t, Options{}, Proxy{Name: "p", Client: f, Tables: []string{"st"}})
		time.Sleep(101 * time.Second)
		if n, filtered := f.polls(); n < 9 || n > 13 || filtered > 0 {
			t.Errorf("%d polls, %d filtered, of a dump that takes 2 s", n, filtered)
		}
		f.set(func(f *fake) { f.takes = time.Second; f.used = 90_000; f.began = nil })
		time.Sleep(10 * time.Minute)
		if n, filtered := f.polls(); filtered < 200 || n-filtered < 8 || n-filtered > 22 {
			t.Errorf("%d polls, %d filtered", n, filtered)
		}
		f.set(func(f *fake) {
			f.refuse = &runtimeapi.CommandError{Kind: runtimeapi.ErrNotStored}
		})
		time.Sleep(time.Minute)
		f.set(func(f *fake) { f.refuse = nil; f.filtered = 0 })
		time.Sleep(time.Minute)
		if _, filtered := f.polls(); filtered > 0 {
			t.Error("a filter that was refused is asked again")
		}
		f.set(func(f *fake) { f.takes = time.Minute })
		time.Sleep(5 * time.Minute)
		r.stop()
		if count(t, r.metrics.over) != 1 || strings.Count(r.log.String(), "more than its budget") != 1 {
			t.Errorf("over budget: %v\n%s", count(t, r.metrics.over), &r.log)
		}
	})
}

// TestPollsAcrossReloads: an emptied table, a table that peers filled again, and a
// worker that does not say which.
func TestPollsAcrossReloads(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*fake)
		want   []string // of the poll after
		then   []string // and of the next one, when a has 3 more
		log    string
	}{
		"emptied":            {func(f *fake) { f.worker = worker(2); f.entries = show(entry(1, "a", 7)) }, []string{"a+7!"}, []string{"a+3"}, "another HAProxy worker answers"},
		"the same PID again": {func(f *fake) { f.worker.Fields = nil; f.entries = show(entry(1, "a", 7)) }, []string{"a+7!"}, []string{"a+3"}, "another HAProxy worker answers"},
		"peers filled it": {func(f *fake) {
			f.worker = worker(2)
			f.shared = []runtimeapi.SharedTable{{Name: "st"}}
			f.entries = show(entry(9, "a", 7))
		}, nil, []string{"a+3"}, "shared=true"},
		"nobody knows":         {func(f *fake) { f.worker = worker(2); f.sharing = errors.New("no"); f.entries = show(entry(9, "a", 7)) }, nil, []string{"a+3"}, "another HAProxy worker answers"},
		"an old worker":        {func(f *fake) { f.worker = worker(2); f.worker.Stopping = true; f.entries = show(entry(9, "a", 99)) }, nil, nil, "old worker answered"},
		"the same, going on":   {func(f *fake) { f.worker.Uptime = time.Hour; f.entries = show(entry(1, "a", 7)) }, []string{"a+2"}, []string{"a+3"}, ""},
		"uptime went backward": {func(f *fake) { f.worker.Uptime = -1; f.entries = show(entry(1, "a", 7)) }, []string{"a+7!"}, []string{"a+3"}, "another"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{worker: worker(1), entries: show(entry(1, "a", 5))}
				r := startPoller(t, Options{}, Proxy{Name: "p", Client: f, Tables: []string{"st"}})
				time.Sleep(10 * time.Second)
				if said := r.said(); len(said) > 0 {
					t.Errorf("at rest: %q", said)
				}
				step := func(change func(*fake), want []string) {
					f.set(change)
					time.Sleep(2400 * time.Millisecond)
					var have []string
					for _, s := range r.said() {
						key, _, _ := strings.Cut(s, "/")
						have = append(have, key+strings.TrimLeft(s[len(key):], "/0123456789"))
					}
					have = slices.DeleteFunc(have, func(s string) bool { return s == "a+0" })
					if !slices.Equal(have, want) {
						t.Errorf("have %q, want %q", have, want)
					}
				}
				step(tc.change, tc.want)
				step(func(f *fake) {
					f.sharing = nil
					f.entries = show(entry(f.entries[0].Address, "a", f.entries[0].Values[1]+3))
				}, tc.then)
				r.stop()
				if !strings.Contains(r.log.String(), tc.log) || tc.log == "" && r.log.Len() > 0 {
					t.Errorf("want %q in\n%s", tc.log, &r.log)
				}
			})
		})
	}
}

// TestPollsThroughFailures: each state is told once, counted each time, and what was
// missed is in the next delta.
func TestPollsThroughFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{worker: worker(1), entries: show(entry(1, "a", 5), entry(2, "b", 5))}
		r := startPoller(t, Options{}, Proxy{Name: "p", Client: f, Tables: []string{"st"}})
		time.Sleep(10 * time.Second)
		f.set(func(f *fake) {
			f.entries = show(entry(1, "a", 6))
			f.fail = &runtimeapi.CommandError{Kind: runtimeapi.ErrPartial, Cause: errors.New("reset")}
		})
		time.Sleep(20 * time.Second)
		s := r.Status()[0]
		if s.State != StateCut || s.Failures < 8 || !strings.Contains(s.Problem, "raise the timeout") || s.Tracked != 2 {
			t.Errorf("%+v", s)
		}
		if said := r.said(); len(said) == 0 || said[0][:3] != "a+1" {
			t.Errorf("what came before the cut: %q", said)
		}
		f.set(func(f *fake) { f.refuse = &runtimeapi.CommandError{Kind: runtimeapi.ErrUnknownTable} })
		time.Sleep(20 * time.Second)
		f.set(func(f *fake) { f.refuse, f.fail = nil, nil; f.entries = show(entry(1, "a", 6), entry(2, "b", 25)) })
		time.Sleep(4400 * time.Millisecond)
		r.stop()
		said := strings.Join(r.said(), " ")
		if !strings.Contains(said, "b+20/") || strings.Contains(said, "b+20/2 ") || strings.Contains(said, "!") {
			t.Errorf("after the failures: %q", said)
		}
		log := r.log.String()
		if strings.Count(log, "cannot be read") != 2 || strings.Count(log, "is read again") != 1 || !strings.Contains(log, "state=unknown_table") {
			t.Errorf("%s", log)
		}
		if n := count(t, r.metrics.polls.WithLabelValues("p", "st", "cut")); n < 8 {
			t.Errorf("%v cut polls", n)
		}
		if r.Status()[0].State != StateOK || count(t, r.metrics.keys) != 2 {
			t.Errorf("%+v", r.Status())
		}
	})
}

// TestPollsWhenTheClockJumps: At follows the clock, Elapsed does not.
func TestPollsWhenTheClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var offset time.Duration
		f := &fake{worker: worker(1)}
		var samples []Sample
		m := NewMetrics(prometheus.NewRegistry())
		p, err := New([]Proxy{{Name: "p", Client: f, Tables: []string{"st"}}}, Options{Metrics: m, Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(offset)
		}}, func(s Sample) { mu.Lock(); samples = append(samples, s); mu.Unlock() })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = p.Run(ctx) }()
		for i, jump := range []time.Duration{0, time.Hour, -3 * time.Hour, 0} {
			mu.Lock()
			offset += jump
			mu.Unlock()
			f.set(func(f *fake) { f.entries = show(entry(1, "a", uint64(i+1))) })
			time.Sleep(4 * time.Second)
		}
		cancel()
		synctest.Wait()
		for _, s := range samples {
			if s.Elapsed > 2200*time.Millisecond {
				t.Errorf("%v elapsed", s.Elapsed)
			}
		}
		if n := len(samples); n < 3 || samples[n-1].At.After(time.Now().Add(-2*time.Hour+time.Second)) || count(t, m.jumps) != 2 {
			t.Errorf("%d samples, %v jumps: %+v", n, count(t, m.jumps), samples)
		}
	})
}

// TestPollerRefuses: what is configured wrongly.
func TestPollerRefuses(t *testing.T) {
	f := &fake{}
	good := []Proxy{{Name: "p", Client: f, Tables: []string{"st"}}}
	take := func(Sample) {}
	for want, try := range map[string]func() (*Poller, error){
		"takes the samples": func() (*Poller, error) { return New(good, Options{}, nil) },
		"needs a name": func() (*Poller, error) {
			return New([]Proxy{{Name: "", Client: f, Tables: []string{"st"}}}, Options{}, take)
		},
		"at least one table": func() (*Poller, error) { return New([]Proxy{{Name: "p", Client: f, Tables: nil}}, Options{}, take) },
		"there twice": func() (*Poller, error) {
			return New([]Proxy{{Name: "p", Client: f, Tables: []string{"a", "a"}}}, Options{}, take)
		},
		"below the interval":     func() (*Poller, error) { return New(good, Options{Interval: time.Hour, MaxInterval: 1}, take) },
		"not above 0 and up to":  func() (*Poller, error) { return New(good, Options{Budget: 1.1}, take) },
		"must not be negative":   func() (*Poller, error) { return New(good, Options{Interval: -1}, take) },
		"keys -1 must not be":    func() (*Poller, error) { return New(good, Options{MaxKeys: -1}, take) },
		"budget -1 is not above": func() (*Poller, error) { return New(good, Options{Budget: -1}, take) },
	} {
		if _, err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if p, err := New(good, Options{Interval: time.Hour}, take); err != nil || p.options.MaxInterval != time.Hour {
		t.Errorf("%+v, %v", p, err)
	}
	if s := fmt.Sprint((&Poller{}).Status()); s != "[]" {
		t.Error(s)
	}
}
