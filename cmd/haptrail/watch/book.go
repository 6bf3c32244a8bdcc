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
	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
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
	// stirred: a burst began or ended since the detectors were saved last.
	stirred bool

	news    chan struct{} // holds one
	answers chan answer   // what was looked up

	// Owned by run.
	open     map[string]*burstOf // by the burst's id
	subjects map[string]*subject // by the alert's key
	closed   map[string]bool     // ids of bursts that a detector goes on with, and that were over before a crash
	ended    map[string]bool     // alerts that resume ended, by key
	wanted   []wanted
	asked    int // lookups that go on
}

// burstOf is a burst that goes on.
type burstOf struct {
	row     schema.BurstRow
	level   burst.Severity
	spread  string // of callers: how many were denied what; "": not looked up yet
	subject *subject
}

// subject is whom an alert is about, and its bursts: those that go on, and those that
// were over before the others.
type subject struct {
	key    string // the alert's
	bursts []*burstOf
	open   int
	fired  bool
	// What was told last, and when; stale: there is more to say since.
	level alert.Severity
	told  time.Time
	stale bool
}

func newBook(o *Options) *book {
	return &book{
		Options: o, news: make(chan struct{}, 1), answers: make(chan answer, maxAsked),
		open: map[string]*burstOf{}, subjects: map[string]*subject{}, rows: map[string]schema.BurstRow{},
		closed: map[string]bool{}, ended: map[string]bool{},
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
		b.stirred = b.stirred || v.Kind != burst.Update
	}
	b.mu.Unlock()
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// stir tells whether a burst began or ended since it was asked last.
func (b *book) stir() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	stirred := b.stirred
	b.stirred = false
	return stirred
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
		b.refresh(time.Now())
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
	if b.closed[id] {
		if v.Kind == burst.End {
			delete(b.closed, id)
		}
		return nil, false
	}
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
// saved a while before the daemon ended. What the table has of them is newer: those that
// it has as over stay over, whatever the detectors still say. What it has open beside
// them, and what people on call have, is closed: nobody saw how that ended.
func (b *book) resume(ctx context.Context, series []*series, now time.Time) error {
	open, since := map[string]told{}, now
	for _, s := range series {
		for _, v := range s.detector.Open() {
			open[burstID(s.kind, &v)] = told{kind: s.kind, verdict: v, found: now}
			since = earlier(since, v.Began)
		}
	}
	rows := map[string]schema.BurstRow{}
	read := func(q schema.BurstsQuery) error {
		q.Until = now.Add(farAhead)
		return b.Store.Bursts(ctx, q, func(row *schema.BurstRow) error { rows[row.ID] = *row; return nil })
	}
	err := errors.Join(read(schema.BurstsQuery{Since: since}), read(schema.BurstsQuery{Open: true}))
	for id, t := range open {
		row, known := rows[id]
		if known && row.State != schema.BurstOpen {
			b.closed[id] = true
			continue
		}
		if o := b.begin(id, &t); known {
			o.row, o.level = row, max(o.level, levelOf(row.Severity))
		}
	}
	b.tellAgain(now)
	for id, row := range rows {
		if row.State == schema.BurstOpen && b.open[id] == nil {
			b.lose(row, now)
		}
	}
	return errors.Join(err, b.store(ctx))
}

// tellAgain has people on call know what goes on, as it is known now: a crash may have
// come before they were told.
func (b *book) tellAgain(now time.Time) {
	for _, a := range b.OnCall.Firing(oncall.KindBurst) {
		if s := b.subjects[a.Key]; s != nil {
			s.fired = true
		} else {
			b.OnCall.Resolve(a.Key, now)
			b.ended[a.Key] = true
		}
	}
	for _, s := range b.subjects {
		b.alert(s, now)
	}
}

// lose closes a burst that nobody saw the end of. Where the outbox was lost, receivers
// may still show its alert: they are told that it is over.
func (b *book) lose(row schema.BurstRow, now time.Time) {
	row.State, row.End, row.Updated = schema.BurstLost, now, now
	row.Reason = strings.TrimSuffix(row.Reason, lostWords) + lostWords
	b.record(&row)
	key := alertKey(&row)
	if b.subjects[key] != nil || b.ended[key] || now.Sub(row.Start) > lostNews {
		return
	}
	b.ended[key] = true
	s := &subject{key: key, bursts: []*burstOf{{row: row, level: levelOf(row.Severity)}}}
	if a := b.compose(s); b.Least > 0 && a.Severity >= b.Least {
		b.OnCall.Fire(a)
		b.OnCall.Resolve(key, now)
	}
}

// levelOf is the severity that a row says.
func levelOf(word string) burst.Severity {
	for level := burst.High; level > burst.Low; level-- {
		if level.String() == word {
			return level
		}
	}
	return burst.Low
}

const (
	farAhead  = 10 * 365 * 24 * time.Hour
	lostNews  = 24 * time.Hour // after a burst began that was lost, people are told
	lostWords = "; nobody saw it end, as haptrail was away"
)
