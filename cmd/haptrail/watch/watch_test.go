package watch_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haptrail/haptrail/cmd/haptrail/watch"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/runtimeapi/poll"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// patience is how long anything that a test waits for may take.
const patience = 60 * time.Second

// onCall is who is told, in a test.
type onCall struct {
	mu       sync.Mutex
	firing   map[string]alert.Alert
	fires    int // of alerts that did not fire
	resolved []alert.Alert
}

func newOnCall() *onCall { return &onCall{firing: map[string]alert.Alert{}} }

func (o *onCall) Fire(a alert.Alert) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, firing := o.firing[a.Key]; !firing {
		o.fires++
	}
	o.firing[a.Key] = a
}

func (o *onCall) Resolve(key string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a, firing := o.firing[key]; firing {
		a.EndsAt = at
		o.resolved = append(o.resolved, a)
		delete(o.firing, key)
	}
}

func (o *onCall) Firing(kind string) []alert.Alert {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []alert.Alert
	for _, a := range o.firing {
		if a.Kind == kind {
			all = append(all, a)
		}
	}
	return all
}

func (o *onCall) state() (firing []alert.Alert, fires int, resolved []alert.Alert) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Values(o.firing)), o.fires, slices.Clone(o.resolved)
}

// rig is a watch that runs, as far as a test wants.
type rig struct {
	*watch.Watch
	t      *testing.T
	store  *schema.Store
	onCall *onCall
	stop   func()
}

func options(t *testing.T, store *schema.Store, on *onCall) watch.Options {
	return watch.Options{
		Store: store, Dir: t.TempDir(), OnCall: on, Proxies: 1, Interval: time.Second, Lag: 2 * time.Second,
		Tables: map[string]watch.Table{
			"identities": {Keys: watch.IdentityKeys, Counter: "http_req_cnt"}, "addresses": {Keys: watch.AddressKeys, Counter: "http_err_cnt"},
		},
		Budget: 0.01, History: 14 * 24 * time.Hour, MaxKeys: 1000, Least: alert.Low, ExternalURL: "https://grafana.example.com/d/x?orgId=1",
		Metrics: watch.NewMetrics(prometheus.NewRegistry()),
	}
}

// run begins a watch, and returns when it judges.
func run(t *testing.T, o watch.Options) *rig {
	t.Helper()
	w, err := watch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return runWatch(t, w, o)
}

func runWatch(t *testing.T, w *watch.Watch, o watch.Options) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	r := &rig{Watch: w, t: t, store: o.Store, onCall: o.OnCall.(*onCall)}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	r.wait("judging", func() bool { return w.Judging() })
	return r
}

func (r *rig) wait(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func (r *rig) bursts(q schema.BurstsQuery) (rows []schema.BurstRow) {
	r.t.Helper()
	q.Until = time.Now().Add(24 * time.Hour)
	if err := r.store.Bursts(r.t.Context(), q, func(row *schema.BurstRow) error { rows = append(rows, *row); return nil }); err != nil {
		r.t.Fatal(err)
	}
	return rows
}

// sample is one of a stick table, of the second before at.
func sample(table, key string, at time.Time, n uint64) poll.Sample {
	return poll.Sample{
		Proxy: "edge1", Table: table, Key: key, At: at, Elapsed: time.Second,
		Measures: []poll.Measure{
			{Column: runtimeapi.Column{Name: "http_req_cnt", Kind: runtimeapi.Counter}, Value: n, Delta: n},
			{Column: runtimeapi.Column{Name: "http_req_rate", Kind: runtimeapi.Rate, Period: 10 * time.Second}, Value: n},
		},
	}
}

// calm has a key do a little from so long ago until now.
func (r *rig) calm(table, key string, now time.Time, ago int) {
	for second := ago; second > 0; second-- {
		r.Sample(sample(table, key, now.Add(-time.Duration(second)*time.Second), uint64(second%3)))
	}
}

// aMinuteAgo is when the bursts of these tests are: a burst ends when its key was calm
// for a minute.
func aMinuteAgo() time.Time { return time.Now().Truncate(time.Second).Add(-70 * time.Second) }

// TestBurstOfAnIdentity: counts of a stick table become a burst with the run behind
// it, one alert, and an end.
func TestBurstOfAnIdentity(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	r := run(t, options(t, store, on))
	begin := aMinuteAgo()
	insert(t, store, begin, "ci-bot", "r77", 40)
	for _, key := range []string{"space|ci-bot", "space|other"} {
		r.calm("identities", key, begin, 300)
	}
	for second := range 3 {
		r.Sample(sample("identities", "space|ci-bot", begin.Add(time.Duration(second)*time.Second), 200))
		r.Sample(sample("identities", "space|other", begin.Add(time.Duration(second)*time.Second), 2))
	}
	r.wait("the end", func() bool { _, _, resolved := on.state(); return len(resolved) == 1 })
	firing, fires, resolved := on.state()
	a := resolved[0]
	if len(firing) != 0 || fires != 1 || a.Kind != "burst" || a.Identity != "ci-bot" || a.Run != "r77" || a.Labels["issuer"] != "space" || len(a.Evidence) == 0 || a.Evidence[0].Endpoint != "/secrets/*" {
		t.Errorf("%d fires, alert %+v", fires, a)
	}
	if !strings.Contains(a.Text, "requests in") || !strings.Contains(a.Text, "c0ffee") || !strings.Contains(a.Links[0].URL, "var-identity=ci-bot") || !strings.Contains(a.Links[0].URL, "orgId=1") {
		t.Errorf("alert %+v", a)
	}
	r.wait("the row", func() bool {
		rows := r.bursts(schema.BurstsQuery{})
		return len(rows) == 1 && rows[0].State == schema.BurstOver
	})
	row := r.bursts(schema.BurstsQuery{})[0]
	if row.Key != "space|ci-bot" || row.Identity != "ci-bot" || row.Feed != "identities" || row.Proxy != "edge1" || row.Total < 600 || row.Run != "r77" || row.Commit != "c0ffee" || row.Start.Before(begin) || row.Start.After(begin.Add(2*time.Second)) {
		t.Errorf("row %+v", row)
	}
	if a.Command != "haptrail bursts explain "+row.ID {
		t.Errorf("command %q, id %s", a.Command, row.ID)
	}
	r.stop()
	var samples uint64
	if err := store.Conn().QueryRow(t.Context(), "SELECT sum(requests) FROM stick_samples WHERE key = 'space|ci-bot'").Scan(&samples); err != nil || samples < 600 {
		t.Errorf("samples say %d requests, error %v", samples, err)
	}
}

// TestOneAlertForAnIdentity: all that is too much of one identity is one alert, which
// ends with the last of it. Here its requests by the stick table, and by the logs its
// requests at an endpoint, its denials, errors and kilobytes.
func TestOneAlertForAnIdentity(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	o := options(t, store, on)
	o.Issuer = func(url string) string { return map[string]string{"https://ci.example.test/space": "space"}[url] }
	r := run(t, o)
	begin := aMinuteAgo()
	r.calm("identities", "space|ci-bot", begin, 300)
	for second := range 3 {
		r.Sample(sample("identities", "space|ci-bot", begin.Add(time.Duration(second)*time.Second), 300))
		b := schema.NewRequestBlock()
		for i := range 300 {
			row(b, begin.Add(time.Duration(second)*time.Second), 503, map[string]string{
				"subject": "ci-bot", "issuer": "https://ci.example.test/space", "method": "GET", "endpoint": "/secrets/*",
				"decision": []string{"deny", "allow"}[i%2], "role": "deployer",
			})
		}
		r.Stored(b)
	}
	r.wait("the end", func() bool { _, _, resolved := on.state(); return len(resolved) > 0 })
	time.Sleep(3 * time.Second) // of another alert, if there were one
	firing, fires, resolved := on.state()
	if len(firing) != 0 || fires != 1 || len(resolved) != 1 {
		t.Fatalf("%d fire, %d fired, %d resolved; want one that fired and is over", len(firing), fires, len(resolved))
	}
	have := map[string]bool{}
	for _, row := range r.bursts(schema.BurstsQuery{}) {
		have[row.Measure+" of "+row.Of] = true
		if row.Identity != "ci-bot" || row.Issuer != "space" || row.Role != "deployer" && row.Of != "identity" {
			t.Errorf("row %+v", row)
		}
	}
	want := map[string]bool{"requests of identity": true, "requests of endpoint": true, "denials of identity": true, "errors of identity": true}
	if !maps.Equal(have, want) {
		t.Errorf("bursts: %v, want %v", have, want)
	}
	if text := resolved[0].Text; !strings.Contains(text, "denials") || !strings.Contains(text, "GET /secrets/*: ") {
		t.Errorf("text %q", text)
	}
}

// TestAddresses: nobody's denials count for the address that they came from, also
// where a stick table counts errors: HAProxy does not count all that it answers itself.
func TestAddresses(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	r := run(t, options(t, store, on))
	begin := aMinuteAgo()
	for second := range 3 {
		b := schema.NewRequestBlock()
		for range 200 {
			row(b, begin.Add(time.Duration(second)*time.Second), 401, map[string]string{"decision": "deny", "reason": "sig_bad"})
		}
		r.Stored(b)
	}
	r.wait("the end", func() bool { _, _, resolved := on.state(); return len(resolved) == 1 })
	_, _, resolved := on.state()
	if a := resolved[0]; a.Identity != "192.0.2.9" || a.Labels["of"] != "address" || !strings.Contains(a.Title, "denials") || !strings.Contains(a.Text, "address") {
		t.Errorf("alert %+v", a)
	}
}

// insert stores requests of a subject just before now.
func insert(t *testing.T, store *schema.Store, now time.Time, subject, run string, n int) {
	t.Helper()
	if err := store.InsertRequests(t.Context(), block(now, subject, run, n), schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
}
