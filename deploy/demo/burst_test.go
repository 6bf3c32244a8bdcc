package demo

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/report/alert/send"
	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// The bounds of what the demo shows, on a slow machine too. Here it is 1 to 2 s and
// 8 to 10 s.
const (
	foundWithin = 5 * time.Second  // of the burst's first request
	overWithin  = 20 * time.Second // of its last one
	toldWithin  = 5 * time.Second  // of either
)

// told is a verdict, and when it came.
type told struct {
	burst.Verdict
	table string
	at    time.Time
}

// watch is what the daemon does with HAProxy's stick tables, of the same parts:
// poller, a detector for each table, alerts. Nothing of the demo is known to it
// before, as on the first day.
type watch struct {
	alerts *alert.Manager // may be nil

	mu        sync.Mutex // guards all below
	detectors map[string]*burst.Detector
	verdicts  []told
	counted   map[string]uint64 // requests by key of haptrail_identity
	rate      map[string]uint64 // the highest http_req_rate of it, in RatePeriod
	period    time.Duration
	fault     error
}

// newWatch watches these tables.
func newWatch(t *testing.T, tables ...string) *watch {
	t.Helper()
	h := &watch{detectors: map[string]*burst.Detector{}, counted: map[string]uint64{}, rate: map[string]uint64{}}
	for _, table := range tables {
		d, err := burst.New(burst.Options{})
		if err != nil {
			t.Fatal(err)
		}
		h.detectors[table] = d
	}
	return h
}

// take is given each sample of the poller.
func (h *watch) take(s poll.Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	counter, ok := s.Measure("http_req_cnt")
	rate, found := s.Measure("http_req_rate")
	if !ok || !found {
		h.fault = fmt.Errorf("table %s stores no http_req_cnt or no http_req_rate", s.Table)
		return
	}
	if s.Table == "haptrail_identity" {
		h.counted[s.Key] += counter.Delta
		h.rate[s.Key] = max(h.rate[s.Key], rate.Value)
		h.period = rate.Period
	}
	if s.Elapsed > 0 {
		h.tell(s.Table, h.detectors[s.Table].Sample(s.Key, s.At, s.Elapsed, uint32(counter.Delta)))
	}
}

// advance lets time pass for those that are silent. What is two seconds old has been
// polled.
func (h *watch) advance() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for table, d := range h.detectors {
		h.tell(table, d.Advance(time.Now().Unix()-2))
	}
}

// tell notes verdicts and has people told.
func (h *watch) tell(table string, verdicts []burst.Verdict) {
	for _, v := range verdicts {
		h.verdicts = append(h.verdicts, told{v, table, time.Now()})
		if h.alerts == nil {
			continue
		}
		key := alert.Key("burst", table, v.Key)
		err := error(nil)
		if v.Kind == burst.End {
			err = h.alerts.Resolve(key, v.At)
		} else {
			err = h.alerts.Fire(alert.Alert{
				Key: key, Kind: "burst", Severity: alert.Low + alert.Severity(v.Severity-burst.Low), Identity: v.Key,
				Title: v.Why(), StartsAt: v.Began, Labels: map[string]string{"table": table},
			})
		}
		h.fault = errors.Join(h.fault, err)
	}
}

// open is how many bursts go on, and how many verdicts there were.
func (h *watch) open() (going, verdicts int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range h.verdicts {
		switch v.Kind {
		case burst.Start:
			going++
		case burst.End:
			going--
		}
	}
	return going, len(h.verdicts), h.fault
}

// run polls every second until the test ends, and tells until then.
func (h *watch) run(t *testing.T, w *World) {
	t.Helper()
	client, err := runtimeapi.New(w.StatsSocket(), runtimeapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	proxy := poll.Proxy{Name: "edge", Client: client}
	for table := range h.detectors {
		proxy.Tables = append(proxy.Tables, table)
	}
	poller, err := poll.New([]poll.Proxy{proxy}, poll.Options{Interval: time.Second}, h.take)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = poller.Run(ctx) })
	all.Go(func() {
		for pause(ctx, 200*time.Millisecond) == nil {
			h.advance()
		}
	})
	if h.alerts != nil {
		all.Go(func() { _ = h.alerts.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
}

// manager tells that Alertmanager until the test ends.
func manager(t *testing.T, a *Alertmanager) *alert.Manager {
	t.Helper()
	channels, err := send.Replicas("am", []string{a.URL()}, send.Alertmanager{}, alert.Channel{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := alert.Open(alert.Options{Dir: t.TempDir(), Channels: channels})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// The cast's burst is found in HAProxy's stick tables within seconds, of the identity
// and of the address that it comes from; nobody else of the cast is told of. It comes
// to a real Alertmanager, and its end too.
func TestBurstIsFoundAndTold(t *testing.T) {
	w := startWorld(t, edgetest.NewSink(t), func(o *Options) { o.Duration, o.Burst, o.Seed = 0, 0, 1 })
	h := newWatch(t, "haptrail_identity", "haptrail_source")
	a, err := StartAlertmanager(t.Context(), t.TempDir())
	switch {
	case err == nil:
		t.Cleanup(func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
		h.alerts = manager(t, a)
	case !errors.Is(err, ErrNoAlertmanager):
		t.Fatal(err)
	}
	h.run(t, w)
	summary, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "bursts and their ends", overWithin+5*time.Second, func() bool {
		going, verdicts, err := h.open()
		if err != nil {
			t.Fatal(err)
		}
		return verdicts >= 4 && going == 0
	})
	at := slices.IndexFunc(cast, func(j job) bool { return j.name == "load test" })
	requests := summary.Jobs[at].Requests
	calm := slices.IndexFunc(requests, func(q Request) bool { return q.Path != requests[0].Path })
	began, ended := requests[calm].began, requests[len(requests)-1].ended
	identity := cast[at].provider + "|" + cast[at].subject
	source := "::ffff:127.0.0.1" // where all jobs have the same
	if runtime.GOOS == "linux" {
		source = fmt.Sprintf("::ffff:127.0.0.%d", 11+at)
	}
	h.mu.Lock()
	verdicts := slices.Clone(h.verdicts)
	if n := h.counted[identity]; n != uint64(len(requests)) {
		t.Errorf("%d requests were counted, %d sent", n, len(requests))
	}
	t.Logf("haptrail_identity: up to %d requests in %s", h.rate[identity], h.period)
	if h.rate[identity] < DefaultBurst || h.period != 10*time.Second {
		t.Errorf("HAProxy's own rate was %d in %s, of %d requests", h.rate[identity], h.period, len(requests))
	}
	h.mu.Unlock()
	for _, table := range [][2]string{{"haptrail_identity", identity}, {"haptrail_source", source}} {
		checkBurst(t, verdicts, table, began, ended)
	}
	t.Run("Alertmanager", func(t *testing.T) {
		if a == nil {
			t.Skip(ErrNoAlertmanager)
		}
		checkAlerts(t, a, verdicts)
	})
}

// checkBurst checks what was told of a table: one burst, of that key.
func checkBurst(t *testing.T, verdicts []told, table [2]string, began, ended time.Time) {
	t.Helper()
	kinds := map[burst.Kind]int{}
	for _, v := range verdicts {
		if v.table != table[0] {
			continue
		}
		kinds[v.Kind]++
		t.Logf("%s, %.1f s after the first request: %s %s of %s: %s", table[0], v.at.Sub(began).Seconds(), v.Severity, v.Kind, v.Key, v.Why())
		if v.Key != table[1] {
			t.Errorf("%s: %s did nothing of the kind", table[0], v.Key)
		}
		switch delay := v.at.Sub(began); {
		case v.Kind == burst.Start && (delay < 0 || delay > foundWithin):
			t.Errorf("%s: found %s after the first request", table[0], delay)
		case v.Kind == burst.End && v.at.Sub(ended) > overWithin:
			t.Errorf("%s: over %s after the last request", table[0], v.at.Sub(ended))
		case v.Kind == burst.End && v.Total < DefaultBurst:
			t.Errorf("%s: a burst of %d requests, of %d", table[0], v.Total, DefaultBurst)
		}
	}
	if kinds[burst.Start] != 1 || kinds[burst.End] != 1 {
		t.Errorf("%s: the one burst was told %d times, and its end %d times", table[0], kinds[burst.Start], kinds[burst.End])
	}
}

// checkAlerts checks that Alertmanager knew of each burst soon, told of it, and told
// of its end.
func checkAlerts(t *testing.T, a *Alertmanager, verdicts []told) {
	t.Helper()
	eventually(t, "no alert that fires", toldWithin, func() bool {
		all, err := a.Alerts(t.Context())
		return err == nil && len(all) == 0
	})
	over := func(n Notification) bool { return n.Status == "resolved" }
	eventually(t, "the message that all is over", toldWithin, func() bool { return slices.ContainsFunc(a.Received(), over) })
	for _, v := range verdicts {
		// An update may be in the message of the start. One that is more severe ends the
		// alert that was less so: the end is that of the last.
		state, severity := "", ""
		switch v.Kind {
		case burst.Start:
			state = "firing"
		case burst.End:
			state, severity = "resolved", v.Severity.String()
		default:
			continue
		}
		key := alert.Key("burst", v.table, v.Key)
		tells := func(s AlertState) bool {
			return s.State == state && s.Labels["key"] == key && s.Labels["identity"] == v.Key && (severity == "" || s.Labels["severity"] == severity)
		}
		at := slices.IndexFunc(a.Received(), func(n Notification) bool { return slices.ContainsFunc(n.Alerts, tells) })
		if at < 0 {
			t.Errorf("nobody was told of the %s of %s", v.Kind, v.Key)
			continue
		}
		n := a.Received()[at]
		delay := n.At.Sub(v.at)
		t.Logf("%s of %s: told %.1f s later, with %d alerts", v.Kind, v.Key, delay.Seconds(), len(n.Alerts))
		if n.Group["alertname"] != "burst" || n.Group["source"] != "haptrail" || delay < 0 || delay > toldWithin {
			t.Errorf("%s of %s: told %s later, in the group %v", v.Kind, v.Key, delay, n.Group)
		}
	}
}
