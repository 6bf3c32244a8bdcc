package burst

import (
	"fmt"
	"math"
)

// Thresholds are what is too much.
type Thresholds struct {
	// Ratio of (count+2) to (high-water mark+2) above which it is too much, by window:
	// the longer one is, the less do requests that clump by chance move its counts.
	Ratio PerWindow
	// Tail is log10 of the probability by the negative binomial at which it is too
	// much, such as -9, where the ratio is above Gate.
	Tail, Gate float64
	// Least is the number of requests below which nothing is a burst.
	Least uint32
}

func (t *Thresholds) check() error {
	for _, r := range t.Ratio {
		if !(r >= 1) || math.IsInf(r, 0) {
			return fmt.Errorf("burst: a number of Thresholds.Ratio is %v: give numbers above 1, such as %v", r, DefaultThresholds().Ratio)
		}
		if !(t.Gate >= 0) || t.Gate > r {
			return fmt.Errorf("burst: Thresholds.Gate is %v: give a number up to the lowest Ratio, such as %v", t.Gate, DefaultThresholds().Gate)
		}
	}
	switch {
	case !(t.Tail < 0) || math.IsInf(t.Tail, 0):
		return fmt.Errorf("burst: Thresholds.Tail is %v: give a negative number, such as %v", t.Tail, DefaultThresholds().Tail)
	case t.Least < 1:
		return fmt.Errorf("burst: Thresholds.Least is 0: give a number of requests, such as %d", DefaultThresholds().Least)
	}
	return nil
}

// DefaultThresholds are calibrated for 0.01 false alarms for each identity and day on
// synthetic identities of five kinds (bursttest):
//
//	go test -run TestDefaultThresholds -v -args -identities 60
//
// That is no substitute for the history at hand: see Calibrate.
func DefaultThresholds() Thresholds {
	return Thresholds{Ratio: PerWindow{1.84, 1.86, 1.77, 1.56}, Tail: -9.84, Gate: 1.1, Least: 5}
}

// DefaultPrior is for a key of which neither it nor its role is known. It is generous:
// of that population after a week the 75th percentile of means and variances and the
// 90th of high-water marks.
func DefaultPrior() Prior {
	return Prior{
		Mean:      PerWindow{2, 4.4, 25, 140},
		Variance:  PerWindow{7.8, 30, 660, 18_000},
		HighWater: PerWindow{130, 210, 490, 1300},
	}
}
