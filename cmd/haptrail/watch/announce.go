package watch

import (
	"context"
	"math"
	"time"

	"github.com/haptrail/haptrail/schema"
)

// announcement is what detectors know of an expectation.
type announcement struct {
	identity  string
	withdrawn bool
}

// hearExpectations brings detectors what was announced.
func (w *Watch) hearExpectations(ctx context.Context) {
	w.every(ctx, storeEvery, "hearing of announced load", w.hear)
}

// hear reads the table of expectations. What has changed of an identity is told anew as
// a whole: a state that was restored may know something that was withdrawn since.
func (w *Watch) hear(ctx context.Context) error {
	rows, err := w.Store.Expectations(ctx, time.Now())
	if err != nil {
		return err
	}
	now := make(map[string]announcement, len(rows))
	changed := map[string]bool{}
	for i := range rows {
		r := &rows[i]
		now[r.ID] = announcement{r.Identity, r.Withdrawn}
		changed[r.Identity] = changed[r.Identity] || w.told[r.ID] != now[r.ID]
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = now
	for identity, anew := range changed {
		if !anew {
			continue
		}
		for _, s := range w.all {
			for _, pattern := range patterns(identity) {
				s.detector.Withdraw(pattern)
			}
		}
		for i := range rows {
			if rows[i].Identity == identity {
				w.expect(&rows[i])
			}
		}
	}
	return nil
}

func (w *Watch) expect(r *schema.Expectation) {
	if r.Withdrawn {
		w.Log.Info("load is no longer expected", "id", r.ID, "identity", r.Identity, "owner", r.Owner)
		return
	}
	factor := r.Factor
	if factor == 0 {
		factor = math.Inf(1)
	}
	for _, s := range w.all {
		for _, pattern := range patterns(r.Identity) {
			if err := s.detector.Expect(pattern, r.Starts, r.Ends, factor); err != nil {
				w.Log.Error("announced load cannot be expected", "id", r.ID, "identity", r.Identity, "error", err)
				return
			}
		}
	}
	w.Log.Info("load is expected", "id", r.ID, "identity", r.Identity, "from", r.Starts, "until", r.Ends, "factor", factor, "owner", r.Owner, "reason", r.Reason)
}
