package watch

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/schema"
)

// heard is where a count came from.
type heard struct{ feed, proxy string }

// told is a verdict on its way into the book.
type told struct {
	kind    *kind
	from    heard
	verdict burst.Verdict
	found   time.Time // by our clock
}

// book keeps the bursts that go on, stores what is said of them, and has people told:
// one alert for each identity, however many of its counts are too much. The detectors
// hand it their verdicts and wait for nothing.
type book struct {
	*Options

	mu    sync.Mutex // guards what follows
	queue []told
	rows  map[string]schema.BurstRow // that the table does not have yet, by id

	news    chan struct{} // holds one
	answers chan answer   // what was looked up

	// Owned by run.
	open     map[string]*burstOf // by the burst's id
	subjects map[string]*subject // by the alert's key
	wanted   []wanted
	asked    int // lookups that go on
}

// burstOf is a burst that goes on.
type burstOf struct {
	row     schema.BurstRow
	level   burst.Severity
	subject *subject
}

// subject is whom an alert is about, and its bursts: those that go on, and those that
// were over before the others.
type subject struct {
	key    string // the alert's
	bursts []*burstOf
	open   int
	fired  bool
}

func newBook(o *Options) *book {
	return &book{
		Options: o, news: make(chan struct{}, 1), answers: make(chan answer, maxAsked),
		open: map[string]*burstOf{}, subjects: map[string]*subject{}, rows: map[string]schema.BurstRow{},
	}
}

// tell adds verdicts.
func (b *book) tell(k *kind, from heard, verdicts []burst.Verdict) {
	if len(verdicts) == 0 {
		return
	}
	now := time.Now().UTC()
	b.mu.Lock()
	for _, v := range verdicts {
		b.queue = append(b.queue, told{k, from, v, now})
	}
	b.mu.Unlock()
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// run takes verdicts as they come until ctx ends, and then what is left. It waits for
// the engine nowhere longer than people can: an engine that stalls delays rows and
// evidence, and no alert.
func (b *book) run(ctx context.Context) {
	var keeping sync.WaitGroup
	keeping.Go(func() { b.keep(ctx) })
	tick := time.NewTicker(storeEvery / 4)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-b.news:
		case <-tick.C:
		case a := <-b.answers:
			b.hear(a)
		}
		b.take(ctx)
		b.ask(ctx, time.Now())
	}
	for ; b.asked > 0; b.asked-- { // they end with ctx
		<-b.answers
	}
	keeping.Wait()
	if err := b.store(context.WithoutCancel(ctx)); err != nil {
		b.Log.Error("the last of bursts is not in their table", "error", err)
	}
}

// keep stores what is said of bursts, soon after it was.
func (b *book) keep(ctx context.Context) {
	tick := time.NewTicker(storeEvery / 4)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := b.store(ctx); (err != nil) != failing && ctx.Err() == nil {
			if failing = err != nil; failing {
				b.Log.Error("bursts are not in their table; it is tried again", "error", err)
			}
		}
	}
}

// take enters the verdicts of the queue and has people told.
func (b *book) take(ctx context.Context) {
	b.mu.Lock()
	queue := b.queue
	b.queue = nil
	b.mu.Unlock()
	changed := map[*subject]time.Time{}
	var begun []*burstOf
	for i := range queue {
		t := &queue[i]
		o, fresh := b.enter(t)
		if o == nil {
			continue
		}
		changed[o.subject] = t.verdict.At
		if fresh {
			begun = append(begun, o)
		}
	}
	b.lookAtOnce(ctx, begun)
	for s, at := range changed {
		b.alert(s, at)
	}
}

// enter brings the book up to date with a verdict; nil if it has no such burst.
func (b *book) enter(t *told) (o *burstOf, fresh bool) {
	v := &t.verdict
	id := burstID(t.kind, v)
	o = b.open[id]
	if o == nil {
		if v.Kind == burst.End {
			return nil, false
		}
		o = b.begin(id, t)
		fresh = true
	}
	r := &o.row
	r.Updated, r.Severity = t.found, v.Severity.String()
	r.Window, r.Peak, r.Total = uint32(v.Window/time.Second), v.Count, v.Total
	r.Expected, r.Limit, r.High, r.Own, r.Cold, r.Reason = uint64(v.Expected), v.Limit, v.HighWater, uint64(v.Own), v.Cold, v.Why()
	o.level = v.Severity
	if v.Kind == burst.End {
		r.State, r.End = schema.BurstOver, v.At
		if v.Forgotten {
			r.State = schema.BurstLost
		}
		delete(b.open, id)
		o.subject.open--
		b.want(o, t.found.Add(settle))
	}
	b.record(r)
	b.Metrics.told(t.kind, v)
	b.Log.Info("burst "+v.Kind.String(), "id", id, "measure", r.Measure, "of", r.Of, "key", r.Key, "severity", r.Severity, "reason", r.Reason)
	return o, fresh
}

func (b *book) begin(id string, t *told) *burstOf {
	v := &t.verdict
	named := whose(t.kind, v.Key)
	o := &burstOf{level: v.Severity, row: schema.BurstRow{
		ID: id, Key: named.shown, Measure: t.kind.measure, Of: t.kind.of, Identity: named.subject, Issuer: named.issuer, Endpoint: named.endpoint,
		Role: v.Role, Feed: t.from.feed, Proxy: t.from.proxy, State: schema.BurstOpen, Start: v.Began, Found: t.found,
		Severity: v.Severity.String(), Window: uint32(v.Window / time.Second), Peak: v.Count, Total: v.Total, Reason: v.Why(),
	}}
	key := alertKey(&o.row)
	if b.subjects[key] == nil {
		b.subjects[key] = &subject{key: key}
	}
	o.subject = b.subjects[key]
	o.subject.bursts = append(o.subject.bursts, o)
	o.subject.open++
	b.open[id] = o
	return o
}

// burstID names a burst: a key begins one at a time.
func burstID(k *kind, v *burst.Verdict) string {
	return alert.Key(k.name(), v.Key, v.Began.UTC().Format(time.RFC3339))[:12]
}

// alertKey is the same for all bursts of one identity, at all of its endpoints.
func alertKey(r *schema.BurstRow) string {
	if r.Identity != "" {
		return alert.Key("burst", ofIdentity, r.Issuer, r.Identity)
	}
	return alert.Key("burst", r.Of, r.Key)
}

// record has the table know of a burst.
func (b *book) record(r *schema.BurstRow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows[r.ID] = *r
}

// store writes what the table does not have yet.
func (b *book) store(ctx context.Context) error {
	b.mu.Lock()
	rows := slices.Collect(maps.Values(b.rows))
	b.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := b.Store.InsertBursts(ctx, rows); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rows {
		if b.rows[r.ID].Updated.Equal(r.Updated) { // else there is more to say by now
			delete(b.rows, r.ID)
		}
	}
	return nil
}

// resume goes on with the bursts that the detectors have open, from a state that was
// saved, and closes what the table and the people on call have open beside them:
// nobody saw how that ended.
func (b *book) resume(ctx context.Context, series []*series, now time.Time) error {
	for _, s := range series {
		for _, v := range s.detector.Open() {
			b.begin(burstID(s.kind, &v), &told{kind: s.kind, verdict: v, found: now})
		}
	}
	err := b.Store.Bursts(ctx, schema.BurstsQuery{Until: now.Add(farAhead), Open: true}, func(row *schema.BurstRow) error {
		if o := b.open[row.ID]; o != nil {
			o.row = *row
			return nil
		}
		lost := *row
		lost.State, lost.End, lost.Updated = schema.BurstLost, now, now
		lost.Reason = strings.TrimSuffix(row.Reason, lostWords) + lostWords
		b.record(&lost)
		return nil
	})
	for _, a := range b.OnCall.Firing(kindBurst) {
		if s := b.subjects[a.Key]; s != nil {
			s.fired = true
		} else {
			b.OnCall.Resolve(a.Key, now)
		}
	}
	for _, s := range b.subjects {
		b.alert(s, now) // as it is known now; a crash may have come before people were told
	}
	return errors.Join(err, b.store(ctx))
}

const (
	farAhead  = 10 * 365 * 24 * time.Hour
	lostWords = "; nobody saw it end, as haptrail was away"
)
