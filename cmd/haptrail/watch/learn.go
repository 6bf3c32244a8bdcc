package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/schema"
)

// learn has a new detector see what the tables have of the past. What it says of that
// is old and not told.
func (w *Watch) learn(ctx context.Context, s *series) error {
	began := time.Now()
	h, err := w.gather(ctx, s, began.Add(-w.History), began)
	if err != nil {
		return err
	}
	defer h.close()
	for row := range h.all(&err) {
		w.mu.Lock() // a new key asks for its role, and requests that come in tell of roles
		s.detector.Step(row.Key, row.Time.Unix(), row.Count)
		w.mu.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	if h.rows > 0 {
		now := time.Now()
		if h.logs { // what was over by then is not told as going on
			s.detector.Advance(began.Add(-w.Lag).Unix())
		} else { // nobody looked at the tables since
			s.detector.Advance(h.until.Unix() + 1)
			w.gap(s, h.until.Add(time.Second), now)
		}
		w.Log.Info("learned what is usual from the tables", "measure", s.kind.name(), "keys", len(h.keys), "since", h.first.UTC(), "took", now.Sub(began))
	}
	return nil
}

// rolesSince is how long ago a role may have been seen that new keys are judged by.
const rolesSince = 3 * 24 * time.Hour

// learnRoles has identities known by their roles from the start.
func (w *Watch) learnRoles(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := w.Store.Roles(ctx, time.Now().Add(-rolesSince), func(r *schema.RoleOf) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.names.plays(w.identity(r.Issuer, r.Subject), r.Role)
		return nil
	})
	if err != nil {
		w.Log.Warn("the roles of identities are not known from the tables, and are learned from now on", "error", err)
	}
}

// The history that calibration needs at least: a week to learn, and one day on which
// alarms count.
const leastHistory = 8 * 24 * time.Hour

// calibrate finds thresholds anew when the schedule says so.
func (w *Watch) calibrate(ctx context.Context) {
	if w.Schedule == nil {
		return
	}
	for {
		now := time.Now()
		timer := time.NewTimer(w.Schedule.Next(now).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		for _, s := range w.all {
			err := w.calibrateSeries(ctx, s)
			if ctx.Err() != nil {
				return
			}
			w.Metrics.calibrated(s.kind, err)
			if err != nil {
				w.Log.Error("thresholds stay as they are: the history cannot be calibrated on", "measure", s.kind.name(), "error", err)
			}
		}
	}
}

// calibrateSeries finds the thresholds of one kind that keep to its share of the
// budget on the history, and has them count.
func (w *Watch) calibrateSeries(ctx context.Context, s *series) error {
	now := time.Now()
	h, err := w.gather(ctx, s, now.Add(-w.History), now)
	if err != nil {
		return err
	}
	defer h.close()
	if h.rows == 0 {
		return nil // nobody counts it, or nothing of it has happened
	}
	if h.until.Sub(h.first) < leastHistory {
		w.Log.Info("thresholds stay as they are: there is too little history", "measure", s.kind.name(), "rows", h.rows, "since", h.first.UTC(), "needed", leastHistory)
		return nil
	}
	known, err := w.knownBursts(ctx, s.kind, now.Add(-w.History))
	if err != nil {
		return err
	}
	w.mu.Lock()
	options := s.options()
	w.mu.Unlock()
	options.Role = nil // the watch's names are guarded, and a calibration takes its time
	var fault error
	limits, outcome, err := burst.Calibrate(h.all(&fault), burst.Calibration{Budget: w.Budget / float64(w.fed()), Options: options, Skip: known})
	if fault != nil {
		err = fault
	}
	if err != nil {
		return err
	}
	w.Log.Info("thresholds were calibrated", "measure", s.kind.name(), "ratio", limits.Ratio, "tail", limits.Tail,
		"days", outcome.Days, "alarms", outcome.Alarms, "short", outcome.Short, "took", time.Since(now))
	return w.limit(ctx, s, limits)
}

// knownBursts tells the times at which keys had bursts: they are no false alarms.
func (w *Watch) knownBursts(ctx context.Context, k *kind, since time.Time) (func(key string, at time.Time) bool, error) {
	type span struct{ from, until time.Time }
	bursts := map[string][]span{}
	query := schema.BurstsQuery{Since: since, Until: time.Now().Add(farAhead), Measure: k.measure, Severity: "medium"}
	err := w.Store.Bursts(ctx, query, func(r *schema.BurstRow) error {
		if r.Of == k.of {
			bursts[r.Key] = append(bursts[r.Key], span{r.Start.Add(-time.Duration(r.Window) * time.Second), r.End.Add(time.Minute)})
		}
		return nil
	})
	return func(key string, at time.Time) bool {
		for _, s := range bursts[whose(k, key).shown] {
			if !at.Before(s.from) && (at.Before(s.until) || s.until.Before(s.from)) {
				return true
			}
		}
		return false
	}, err
}

// limit has thresholds count from now on, also after a restart.
func (w *Watch) limit(ctx context.Context, s *series, limits burst.Thresholds) error {
	text, err := json.Marshal(limits)
	if err != nil {
		return err
	}
	if err := w.Store.SaveCursor(ctx, limitsCursor(s.kind), string(text), time.Now()); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.limits = limits
	return s.detector.SetThresholds(limits)
}

// limitsCursor is under which name thresholds are kept. No source of CI facts can have
// it.
func limitsCursor(k *kind) string { return "/bursts/" + k.name() }

// recallLimits reads the thresholds that were calibrated last.
func (w *Watch) recallLimits(ctx context.Context, s *series) error {
	if w.Schedule == nil {
		return nil
	}
	text, err := w.Store.Cursor(ctx, limitsCursor(s.kind))
	if err != nil || text == "" {
		return err
	}
	if err := json.Unmarshal([]byte(text), &s.limits); err != nil {
		s.limits = burst.Thresholds{}
		return fmt.Errorf("thresholds of %s: %w", s.kind.name(), err)
	}
	return nil
}
