package poll

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestBreaks: work and rest are as the budget says, until no rest is left.
func TestBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			budget  float64
			entries int // at 10 us each
			left    time.Duration
			rested  time.Duration
		}{
			{0.2, 100_000, 10 * time.Second, 4 * time.Second},
			{0.2, 100_000, 2 * time.Second, 2 * time.Second},
			{0.5, 100_000, 10 * time.Second, time.Second},
			{1, 100_000, 10 * time.Second, 0},
			{0.2, 60, 10 * time.Second, 0},
		} {
			b := breaks{budget: tc.budget, left: tc.left, since: time.Now()}
			start := time.Now()
			for range tc.entries {
				time.Sleep(10 * time.Microsecond)
				if err := b.entry(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			work := time.Duration(tc.entries) * 10 * time.Microsecond
			if took := time.Since(start); b.rested > tc.rested || b.rested < tc.rested*98/100 || took != work+b.rested {
				t.Errorf("%+v: rested %v, took %v", tc, b.rested, took)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b := breaks{budget: 0.1, left: time.Hour, since: time.Now().Add(-time.Minute), n: workEntries - 1}
		if err := b.entry(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("told to end in a rest: %v", err)
		}
	})
}
