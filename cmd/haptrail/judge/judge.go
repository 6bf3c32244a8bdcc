// Package judge has what was stored judged: it reads what is new in the tables,
// calls the pure packages of analyze, and stores what they say.
//
//	uses: new requests ---------+
//	runs: told since then ------+--> uses --attribute--> attributions, reattributions
//	uses that have no verdict --+                             |
//	                                                          v
//	requests, runs, commits, principals, the past --finding--> findings
//
// It decides nothing itself, and all that it does can be done again: a judgement
// that is the same is not stored twice, and a finding keeps its key.
package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/schema"
)

// Times of a Judge.
const (
	// pause is between two passes; after a pass that took long it is dutyCycle times
	// as long, so that judging takes no more than its share of a processor.
	pause        = 2 * time.Second
	dutyCycle    = 20
	longestPause = 30 * time.Second
	// overlap is read again by each pass: rows are seen when their insert ends, and
	// carry the time at which it began.
	overlap = 15 * time.Second
	// sweepEvery is how often uses without a verdict are looked for, should a pass
	// have missed one.
	sweepEvery = 5 * time.Minute
	lookEvery  = time.Minute
	lookBack   = 7 * 24 * time.Hour
	retryAfter = 10 * time.Second
)

// Judge keeps the tables' judgements up to date. Store is needed; the rest may be
// left out.
type Judge struct {
	Store *schema.Store
	// Slack is how far the clocks of HAProxy and of CI servers may be apart. Default
	// attribute.DefaultSlack.
	Slack time.Duration
	// LookBack is how old requests may be that a late run is still tied to. Default 7 days.
	LookBack time.Duration
	// Policy is what findings are made by; nil looks for none.
	Policy *finding.Policy
	// Found is told the findings that were stored, of each look those that it made.
	// It may be told the same ones again. May be nil.
	Found func([]finding.Finding)

	Metrics *Metrics
	Log     *slog.Logger

	mu      sync.Mutex // one pass at a time; guards the rest
	reached place      // by the engine's clock
	begun   bool       // reached is known
	// By our clock, as requests are received and verdicts made.
	lookedTo      time.Time // what was received before it was looked at; zero: not known yet
	swept, looked time.Time // when it last did
}

// Run judges until ctx ends, and returns nil then. A pass that fails is tried again.
func (j *Judge) Run(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		began := time.Now()
		err := j.step(ctx)
		if ctx.Err() != nil {
			break
		}
		wait := min(max(pause, dutyCycle*time.Since(began)), longestPause)
		switch {
		case err != nil && !failing:
			j.log().Error("what is new could not be judged; it is tried again", "error", err)
		case err == nil && failing:
			j.log().Info("judging goes on")
		}
		if failing = err != nil; failing {
			wait = max(wait, retryAfter)
		}
		j.Metrics.passed(time.Since(began), err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// step is a pass, and what is due beside it.
func (j *Judge) step(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if time.Since(j.swept) >= sweepEvery {
		began := time.Now()
		if err := j.sweep(ctx); err != nil {
			return err
		}
		j.swept = began
	}
	if _, err := j.pass(ctx); err != nil {
		return err
	}
	if j.Policy == nil || time.Since(j.looked) < lookEvery {
		return nil
	}
	return j.look(ctx)
}

// Pass judges what is new since the pass before: uses that were stored, and uses
// whose runs were told. It returns how many verdicts are new or changed.
func (j *Judge) Pass(ctx context.Context) (changed int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pass(ctx)
}

func (j *Judge) pass(ctx context.Context) (changed int, err error) {
	if err := j.begin(ctx); err != nil {
		return 0, err
	}
	uses := schema.UsesQuery{Until: farFuture}
	if !j.reached.Stored.IsZero() {
		uses.StoredSince = j.reached.Stored.Add(-overlap)
	}
	late, told, err := j.late(ctx)
	if err != nil {
		return 0, err
	}
	next := place{Told: told, Stored: j.reached.Stored}
	changed, err = j.judge(ctx, uses, func(u *schema.Use) { next.Stored = later(next.Stored, u.Stored) })
	if err != nil {
		return 0, err
	}
	if !uses.Stored() {
		late = nil // every use was judged by them just now
	}
	for _, query := range late {
		n, err := j.judge(ctx, query, nil)
		if err != nil {
			return changed, err
		}
		changed += n
	}
	return changed, j.reach(ctx, next)
}

// Once judges what has no verdict yet and what changed, however old, and looks for
// findings: for logs and runs that were imported where no daemon runs.
func (j *Judge) Once(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.pass(ctx); err != nil {
		return err
	}
	if _, err := j.judge(ctx, schema.UsesQuery{Until: farFuture, Unjudged: true}, nil); err != nil || j.Policy == nil {
		return err
	}
	return j.look(ctx)
}

// Again judges every use of the hours between two times again, by what is known of
// the runs now.
func (j *Judge) Again(ctx context.Context, from, until time.Time) (changed int, err error) {
	return j.judge(ctx, schema.UsesQuery{From: from, Until: until}, nil)
}

// place is how far judging has come: the newest of the uses and of the runs that
// were looked at, by when the engine stored them.
type place struct{ Stored, Told time.Time }

// placeCursor is under which name it is kept. No source of CI facts can have it.
const placeCursor = "/judged"

// begin finds out where the Judge before this one had come to. The time of its last
// verdict would not tell: a pass that was killed stored some verdicts, and others
// are still to come from runs that were told before those.
func (j *Judge) begin(ctx context.Context) error {
	if j.begun {
		return nil
	}
	text, err := j.Store.Cursor(ctx, placeCursor)
	if err != nil {
		return err
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &j.reached); err != nil {
			return wrap("the place that judging had come to", err)
		}
	}
	j.begun = true
	return nil
}

// reach remembers that all up to a place is judged.
func (j *Judge) reach(ctx context.Context, next place) error {
	if next == j.reached {
		return nil
	}
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := j.Store.SaveCursor(ctx, placeCursor, string(text), time.Now()); err != nil {
		return err
	}
	j.reached = next
	return nil
}

// sweep judges the uses of the look-back that have no verdict.
func (j *Judge) sweep(ctx context.Context) error {
	_, err := j.judge(ctx, schema.UsesQuery{From: time.Now().Add(-j.lookBack()), Until: farFuture, Unjudged: true}, nil)
	return err
}

// late are queries for the uses that runs told since the pass before may matter to.
func (j *Judge) late(ctx context.Context) (queries []schema.UsesQuery, told time.Time, err error) {
	var since time.Time
	if told = j.reached.Told; !told.IsZero() {
		since = told.Add(-overlap)
	}
	var runs []schema.Run
	err = j.Store.RunsTold(ctx, since, func(r *schema.Run) error {
		runs, told = append(runs, *r), later(told, r.Told)
		return nil
	})
	if err != nil {
		return nil, told, err
	}
	return affected(runs, time.Now().Add(-j.lookBack()), j.slack()), told, nil
}

func (j *Judge) slack() time.Duration {
	if j.Slack == 0 {
		return attribute.DefaultSlack
	}
	return j.Slack
}

func (j *Judge) lookBack() time.Duration {
	if j.LookBack == 0 {
		return lookBack
	}
	return j.LookBack
}

func (j *Judge) log() *slog.Logger {
	if j.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return j.Log
}

// farFuture is after every hour that uses can have: senders' clocks may be ahead.
var farFuture = time.Unix(1<<32-1, 0).UTC()

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
