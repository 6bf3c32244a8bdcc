// Package watch has the burst detectors of analyze/burst look at what the daemon
// sees, stores what they say, and has people told.
//
//	HAProxys --polls, peers--> Samples --+--> stick_samples
//	                                     v
//	blocks of requests --> Stored --> series: one detector a measure --verdicts--> book --> bursts
//	                                     ^    |                                     |
//	expectations ------------------------'    '--> state files                      '--> on call
//
// Stick tables tell of requests within seconds; the logs of what HAProxy did with
// them: denials, errors, bytes, endpoints, and how many callers were denied something.
// Where no stick table can be read, the logs
// stand in for it.
package watch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/schema"
)

// OnCall is told of bursts. *oncall.Desk is one.
type OnCall interface {
	// Fire begins an alert, or changes one that fires.
	Fire(alert.Alert)
	// Resolve ends an alert; one that does not fire stays as it is.
	Resolve(key string, at time.Time)
	// Firing are the alerts of a kind that fire.
	Firing(kind string) []alert.Alert
}

// Options of a Watch. Store, Dir and OnCall are needed.
type Options struct {
	Store  *schema.Store
	Dir    string // for what the detectors have learned
	OnCall OnCall

	// Tables say what the keys of stick tables are, by the table's name; samples of
	// others are stored and not judged. Of a table that several proxies share, one is
	// listened to.
	Tables map[string]Table
	// Proxies is how many there are, and Interval from one look to the next one.
	Proxies  int
	Interval time.Duration
	// Lag is how old the newest requests may be that blocks tell of. Default 3 s.
	Lag time.Duration
	// Issuer is the policy's name of an issuer; "" for one that it does not know. Where
	// it is nil, names are those of stick tables' keys.
	Issuer func(url string) string

	// Budget is how many false alarms an identity may cause a day, of all measures
	// together; Schedule when thresholds are calibrated for it, nil: never, on how much
	// History.
	Budget   float64
	Schedule cron.Schedule
	History  time.Duration
	MaxKeys  int // of each measure

	// Least is the least severity of a burst that is an alert; 0: none is.
	Least alert.Severity
	// ExternalURL is a dashboard's, that alerts link to; "": they do not.
	ExternalURL string

	Metrics *Metrics
	Log     *slog.Logger
}

// Table says what there is in a stick table.
type Table struct {
	Keys    Keys
	Counter string // whose growth is watched
}

// Keys are what the keys of a stick table are.
type Keys uint8

// The kinds of keys.
const (
	OtherKeys    Keys = iota
	IdentityKeys      // issuer|subject
	SubjectKeys       // the subject alone
	GroupKeys         // issuer|subject|group
	AddressKeys
)

// Watch looks for bursts. Its methods are safe for concurrent use.
type Watch struct {
	Options
	book *book

	mu       sync.Mutex // guards the rest, and the detectors
	all      []*series
	judging  bool // history was learned; until then nothing is judged
	names    *names
	leaders  map[string]leader       // of shared tables, by table
	looked   map[[2]string]time.Time // when a proxy's table was looked at first
	samples  samples
	callers  *callers
	fromLogs bool // requests of identities are counted from the logs
	blindAt  time.Time
	told     map[string]announcement // expectations that the detectors know, by id
}

// New makes a watch. Nothing is judged before Run has read what was learned.
func New(o Options) (*Watch, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Lag == 0 {
		o.Lag = 3 * time.Second
	}
	w := &Watch{
		Options: o, names: newNames(o.MaxKeys), leaders: map[string]leader{}, looked: map[[2]string]time.Time{}, told: map[string]announcement{},
		fromLogs: len(o.Tables) == 0, callers: newCallers(o.MaxKeys),
	}
	w.book = newBook(&w.Options)
	for _, kind := range kinds {
		w.all = append(w.all, &series{kind: kind, watch: w})
	}
	return w, nil
}

// Housekeeping, beside judging.
const (
	tickEvery  = time.Second
	storeEvery = 2 * time.Second
	saveEvery  = time.Minute
	askTimeout = 30 * time.Second
)

// Run learns what is usual, judges until ctx ends, and saves what was learned. A table
// that cannot be written stops nothing: what is to be in it waits.
func (w *Watch) Run(ctx context.Context) error {
	if err := w.begin(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	// The book has the last word: what detectors still say while the others end.
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var others, told sync.WaitGroup
	told.Go(func() { w.book.run(telling) })
	for _, part := range []func(context.Context){w.tick, w.keepSamples, w.hearExpectations, w.keepState, w.calibrate, w.forgetCallers} {
		others.Go(func() { part(ctx) })
	}
	others.Wait()
	err := w.save()
	stop()
	told.Wait()
	return err
}

// every calls do now and then until ctx ends, and logs the first of its failures in a
// row.
func (w *Watch) every(ctx context.Context, pause time.Duration, what string, do func(context.Context) error) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		err := do(asking)
		cancel()
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil && !failing:
			w.Log.Error(what+" failed; it is tried again", "error", err)
		case err == nil && failing:
			w.Log.Info(what + " goes on")
		}
		failing = err != nil
	}
}

// tick tells detectors how late it is, so that the bursts of keys which went silent
// end.
func (w *Watch) tick(ctx context.Context) {
	w.every(ctx, tickEvery, "watching", func(context.Context) error {
		now := time.Now()
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.judging {
			return nil
		}
		for _, s := range w.all {
			lag := w.Lag
			if s.kind.stick && !w.fromLogs {
				lag = w.samples.lag(w.Interval)
			}
			w.book.tell(s.kind, heard{}, s.detector.Advance(now.Add(-lag).Unix()))
			w.Metrics.keys(s.kind, s.detector.Stats())
		}
		return nil
	})
}

// keepSamples stores what stick tables counted.
func (w *Watch) keepSamples(ctx context.Context) {
	store := func(ctx context.Context) error {
		w.mu.Lock()
		batch := w.samples.take()
		w.mu.Unlock()
		if len(batch.rows) == 0 {
			return nil
		}
		if err := w.Store.InsertStickSamples(ctx, batch.rows, batch.id); err != nil {
			return err
		}
		w.mu.Lock()
		w.samples.stored()
		w.mu.Unlock()
		return nil
	}
	w.every(ctx, storeEvery, "storing samples of stick tables", store)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	if err := errors.Join(store(ctx), store(ctx)); err != nil { // what waited for its second try, and what came since
		w.Log.Error("the last samples of stick tables are lost", "error", err)
	}
}
