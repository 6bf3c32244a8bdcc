package bursttest_test

import (
	"iter"
	"math"
	"slices"
	"testing"

	"github.com/haptrail/haptrail/analyze/burst/bursttest"
)

type second struct {
	at int64
	n  uint32
}

func all(seconds iter.Seq2[int64, uint32]) (list []second) {
	for at, n := range seconds {
		list = append(list, second{at, n})
	}
	return list
}

func sum(list []second, from, until int64) (n float64) {
	for _, s := range list {
		if s.at >= from && s.at < until {
			n += float64(s.n)
		}
	}
	return n
}

// TestSeconds: the same seed makes the same traffic, in order, never empty seconds,
// and each identity's is its own.
func TestSeconds(t *testing.T) {
	for kind := range bursttest.Kind(bursttest.Kinds) {
		one := all(bursttest.New(kind, 1, 0, 7).Seconds())
		if !slices.Equal(one, all(bursttest.New(kind, 1, 0, 7).Seconds())) {
			t.Errorf("%s: the same seed makes something else", kind)
		}
		if slices.Equal(one, all(bursttest.New(kind, 1, 1, 7).Seconds())) || slices.Equal(one, all(bursttest.New(kind, 2, 0, 7).Seconds())) {
			t.Errorf("%s: another identity does the same", kind)
		}
		for i, s := range one {
			if s.n == 0 || s.at < 0 || s.at >= 7*bursttest.Day || i > 0 && s.at <= one[i-1].at {
				t.Fatalf("%s: second %d is %+v", kind, i, s)
			}
		}
		if each := sum(one, 0, 7*bursttest.Day) / 7; each < 10 || each > 6*bursttest.Day {
			t.Errorf("%s: %v requests a day", kind, each)
		}
	}
}

// TestKinds: each kind is what it says.
func TestKinds(t *testing.T) {
	night := func(list []second) float64 { return sum(list, 0, 6*3_600) / sum(list, 12*3_600, 18*3_600) }
	for n := range uint64(10) {
		if r := night(all(bursttest.New(bursttest.Diurnal, 3, n, 1).Seconds())); r > 0.5 {
			t.Errorf("diurnal %d: %v of the afternoon's requests at night", n, r)
		}
		steady := all(bursttest.New(bursttest.Steady, 3, n, 1).Seconds())
		if r := night(steady); r < 0.9 || r > 1.1 {
			t.Errorf("steady %d: %v of the afternoon's requests at night", n, r)
		}
		// A Poisson count varies as its mean; a job's clumps do much more.
		if spread := dispersion(steady); spread < 0.8 || spread > 1.2 {
			t.Errorf("steady %d: variance by mean %v", n, spread)
		}
		if spread := dispersion(all(bursttest.New(bursttest.CI, 3, n, 1).Seconds())); spread < 5 {
			t.Errorf("ci %d: variance by mean %v", n, spread)
		}
	}
}

// dispersion is the variance by the mean of a day's counts by ten seconds.
func dispersion(list []second) float64 {
	cells := make([]float64, bursttest.Day/10)
	for _, s := range list {
		cells[s.at/10] += float64(s.n)
	}
	mean, square := 0.0, 0.0
	for _, n := range cells {
		mean += n / float64(len(cells))
		square += n * n / float64(len(cells))
	}
	return (square - mean*mean) / mean
}

func TestUsual(t *testing.T) {
	counts := func(large int64) iter.Seq2[int64, uint32] {
		return func(yield func(int64, uint32) bool) {
			for i := range int64(10_000) {
				n := uint32(3)
				if i < large {
					n = 50
				}
				if !yield(i*10+i%10, n) {
					return
				}
			}
		}
	}
	// Of 10,000 cells ten are above the percentile.
	for large, want := range map[int64]float64{0: 3, 9: 3, 10: 3, 12: 50, 500: 50} {
		if have := bursttest.Usual(counts(large), 0, 100_000); have != want {
			t.Errorf("%d of 10,000 are 50: want %v, have %v", large, want, have)
		}
	}
	if have := bursttest.Usual(func(func(int64, uint32) bool) {}, 0, 1_000); have != 1 {
		t.Errorf("nothing: want 1, have %v", have)
	}
}

// TestWith: outside of bursts nothing changes; in them there is so much more, and no
// second comes twice.
func TestWith(t *testing.T) {
	for kind := range bursttest.Kind(bursttest.Kinds) {
		id := bursttest.New(kind, 4, 0, 1)
		plain := all(id.Seconds())
		bursts := []bursttest.Burst{{From: 1_000, Until: 1_120, Rate: 20}, {From: 50_000, Until: 50_120, Rate: 50}}
		with := all(bursttest.With(id.Seconds(), bursts, 9))
		outside := func(list []second) (kept []second) {
			for _, s := range list {
				if s.at < 1_000 || s.at >= 1_120 && s.at < 50_000 || s.at >= 50_120 {
					kept = append(kept, s)
				}
			}
			return kept
		}
		if !slices.Equal(outside(plain), outside(with)) {
			t.Errorf("%s: something changed outside of the bursts", kind)
		}
		for _, b := range bursts {
			more := sum(with, b.From, b.Until) - sum(plain, b.From, b.Until)
			if want := 120 * b.Rate; math.Abs(more-want) > 5*math.Sqrt(want) {
				t.Errorf("%s: want about %v more, have %v", kind, want, more)
			}
		}
		for i := range with {
			if i > 0 && with[i].at <= with[i-1].at {
				t.Fatalf("%s: second %d after %d", kind, with[i].at, with[i-1].at)
			}
		}
		for range bursttest.With(id.Seconds(), bursts, 9) {
			break
		}
	}
}
