package ci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// counter is a source that has one more run each minute. Its cursor is how many
// were told, and it tells three a poll at most.
type counter struct {
	Source
	began time.Time
	mu    sync.Mutex
	fail  error
	part  int // of the runs of a failing poll that are told
	polls []time.Duration
	since []time.Time
}

func (c *counter) Poll(_ context.Context, since time.Time, cursor string) ([]Fact, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polls, c.since = append(c.polls, time.Since(c.began)), append(c.since, since)
	told, _ := strconv.Atoi(cursor)
	have := int(time.Since(c.began)/time.Minute) + 1
	most := 100
	if c.fail != nil {
		most = c.part
	}
	var facts []Fact
	for ; told < have && len(facts) < most; told++ {
		facts = append(facts, Fact{Run: &Run{ID: strconv.Itoa(told)}})
	}
	if c.fail != nil && c.part == 0 {
		return nil, "", c.fail
	}
	return facts, strconv.Itoa(told), c.fail
}

func (c *counter) set(fail error, part int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail, c.part = fail, part
}

// times are those of the polls so far, from when the source began.
func (c *counter) times() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.polls)
}

// drawer is Cursors in memory.
type drawer struct {
	mu         sync.Mutex
	saved      map[string]string
	load, save error
}

func (d *drawer) Load(_ context.Context, source string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.saved[source], d.load
}

func (d *drawer) Save(_ context.Context, source, cursor string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.save == nil {
		d.saved[source] = cursor
	}
	return d.save
}

func (d *drawer) cursor() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.saved["one"]
}

func (d *drawer) set(load, save error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.load, d.save = load, save
}

type office struct {
	*Poller
	*counter
	store *shelf
	desk  *drawer
	log   *bytes.Buffer
}

func newOffice() office {
	o := office{counter: &counter{began: time.Now()}, store: &shelf{}, desk: &drawer{saved: make(map[string]string)}, log: &bytes.Buffer{}}
	o.Poller = &Poller{Sources: map[string]Source{"one": o.counter}, Store: o.store, Cursors: o.desk, Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(o.log, nil))}
	return o
}

// during runs the poller, does something after a time, and stops it.
func (o office) during(t *testing.T, steps ...func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	for _, step := range steps {
		step()
		synctest.Wait()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func wait(d time.Duration) func() { return func() { time.Sleep(d) } }

// ids are the runs that are stored, each as often as it was.
func (o office) ids() map[string]int {
	o.store.mu.Lock()
	defer o.store.mu.Unlock()
	ids := make(map[string]int)
	for _, fact := range o.store.facts {
		ids[fact.Run.ID]++
	}
	return ids
}

func (o office) complete(t *testing.T, n int) {
	t.Helper()
	ids := o.ids()
	for i := range n {
		if ids[strconv.Itoa(i)] == 0 {
			t.Errorf("run %d is missing", i)
		}
	}
	if len(ids) != n {
		t.Errorf("%d runs, want %d", len(ids), n)
	}
}

func (o office) count(outcome string) float64 {
	return testutil.ToFloat64(o.Poller.Metrics.polls.WithLabelValues("one", outcome))
}

func TestPoller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		start := time.Now()
		o.during(t, wait(10*time.Minute+time.Second))
		o.complete(t, 11)
		if fmt.Sprint(o.polls[:3]) != "[0s 1m0s 2m0s]" || o.count("ok") != 11 || o.desk.cursor() != "11" {
			t.Errorf("polls at %v, %v ok, cursor %s", o.polls, o.count("ok"), o.desk.cursor())
		}
		for _, since := range o.since {
			if !since.Equal(start.Add(-24 * time.Hour)) {
				t.Errorf("since %v", since)
			}
		}
		if n := testutil.ToFloat64(o.Poller.Metrics.facts.WithLabelValues("one", "run")); n != 11 {
			t.Errorf("%v facts counted", n)
		}
		if last := testutil.ToFloat64(o.Poller.Metrics.lastPoll.WithLabelValues("one")); last != float64(start.Add(10*time.Minute).Unix()) {
			t.Errorf("last success %v", last)
		}
		// Another process goes on where this one ended.
		o.during(t, wait(5*time.Minute))
		o.complete(t, 16)
		for id, n := range o.ids() {
			if n != 1 {
				t.Errorf("run %s was stored %d times", id, n)
			}
		}
		if o.log.Len() > 0 {
			t.Errorf("log:\n%s", o.log)
		}
	})
}

// A server that is down for an hour: it is asked less and less, and the gap is
// closed soon after.
func TestPollerOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		before, after := 0, 0
		o.during(t,
			wait(10*time.Minute+time.Second),
			func() { o.set(errors.New("connection refused"), 0); before = len(o.times()) },
			wait(time.Hour),
			func() { o.set(nil, 0); after = len(o.times()) },
			wait(5*time.Minute),
		)
		o.complete(t, 76)
		if after-before < 12 || after-before > 15 {
			t.Errorf("%d polls in an hour's outage: %v", after-before, o.polls[before:after])
		}
		var gaps []time.Duration
		for i := before + 1; i < after; i++ {
			gaps = append(gaps, o.polls[i]-o.polls[i-1])
		}
		if text := fmt.Sprint(gaps[:4]); text != "[2m0s 4m0s 5m0s 5m0s]" {
			t.Errorf("pauses %v", gaps)
		}
		if !strings.Contains(o.log.String(), "connection refused") || !strings.Contains(o.log.String(), "answers again") {
			t.Errorf("log:\n%s", o.log)
		}
		if o.count("failed") != float64(after-before) {
			t.Errorf("%v failed", o.count("failed"))
		}
	})
}

// Down from the beginning, for longer than Back: what happened from Back on before
// the start is still asked for.
func TestPollerDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		start := time.Now()
		o.Back = time.Hour
		o.set(errors.New("connection refused"), 0)
		o.during(t, wait(3*time.Hour), func() { o.set(nil, 0) }, wait(10*time.Minute))
		if last := o.since[len(o.since)-1]; !last.Equal(start.Add(-time.Hour)) {
			t.Errorf("since %v", last)
		}
	})
}

// Facts and the cursor beside an error are used.
func TestPollerPartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.began = time.Now().Add(-20 * time.Minute)
		o.set(fmt.Errorf("a page: %w", ErrMalformed), 3)
		o.during(t, wait(time.Second))
		o.complete(t, 3)
		if o.desk.cursor() != "3" || o.count("failed") != 1 {
			t.Errorf("cursor %s", o.desk.cursor())
		}
	})
}

func TestPollerWaits(t *testing.T) {
	for name, row := range map[string]struct {
		err     error
		want    time.Duration // between the first two polls
		outcome string
		level   string
	}{
		"failed":               {errors.New("reset"), 2 * time.Minute, "failed", "WARN"},
		"a limit of an hour":   {fmt.Errorf("github: %w", &LimitError{After: time.Hour}), time.Hour, "limited", "WARN"},
		"a short limit":        {&LimitError{After: time.Second}, time.Minute, "limited", "WARN"},
		"a limit without time": {errors.Join(errors.New("x"), &LimitError{}), 2 * time.Minute, "limited", "WARN"},
		"refused":              {fmt.Errorf("x: %w", ErrRefused), 2 * time.Minute, "refused", "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice()
				o.set(row.err, 0)
				o.during(t, wait(row.want-time.Nanosecond), func() {
					if polls := o.times(); len(polls) != 1 {
						t.Errorf("polls at %v", polls)
					}
				}, wait(time.Nanosecond), func() {
					if polls := o.times(); len(polls) != 2 {
						t.Errorf("polls at %v", polls)
					}
				})
				if o.count(row.outcome) != 2 || !strings.Contains(o.log.String(), "level="+row.level) {
					t.Errorf("%v %s; log:\n%s", o.count(row.outcome), row.outcome, o.log)
				}
			})
		})
	}
}

// A store that fails, before or after it has stored: the cursor stays, and nothing
// is lost.
func TestPollerStoreFails(t *testing.T) {
	for name, row := range map[string]struct{ begin, end func(office) }{
		"facts": {func(o office) { o.store.fail = errors.New("disk full") }, func(o office) { o.store.fail = nil }},
		"save":  {func(o office) { o.desk.set(nil, errors.New("disk full")) }, func(o office) { o.desk.set(nil, nil) }},
		"load":  {func(o office) { o.desk.set(errors.New("disk full"), nil) }, func(o office) { o.desk.set(nil, nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice()
				row.begin(o)
				o.during(t, wait(time.Hour), func() {
					if o.desk.cursor() != "" || o.count("store_failed") < 10 || o.count("ok") != 0 {
						t.Errorf("cursor %q, %v failed", o.desk.cursor(), o.count("store_failed"))
					}
					o.store.mu.Lock()
					defer o.store.mu.Unlock()
					row.end(o)
				}, wait(10*time.Minute))
				o.complete(t, len(o.ids()))
				if len(o.ids()) < 65 || o.desk.cursor() != strconv.Itoa(len(o.ids())) {
					t.Errorf("%d runs, cursor %s", len(o.ids()), o.desk.cursor())
				}
			})
		})
	}
}

// A source that hangs keeps none waiting but itself, and ends with the daemon.
type stuck struct{ Source }

func (stuck) Poll(ctx context.Context, _ time.Time, _ string) ([]Fact, string, error) {
	<-ctx.Done()
	return nil, "", ctx.Err()
}

func TestPollerStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.Poller.Sources["stuck"] = stuck{}
		o.Interval = 10 * time.Second
		o.during(t, wait(5*time.Minute))
		o.complete(t, 6)
		if strings.Contains(o.log.String(), "stuck") {
			t.Errorf("the end is no failure:\n%s", o.log)
		}
	})
}
