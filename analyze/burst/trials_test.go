package burst_test

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/analyze/burst/bursttest"
)

// trial is what came of bursts of a factor; seconds until found, +Inf for never, and
// seconds from a burst's end to that of its verdict.
type trial struct {
	delays, ends []float64
}

// at is a percentile of sorted numbers.
func at(sorted []float64, percent int) float64 {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

func (r *trial) found() float64 {
	n := 0
	for _, delay := range r.delays {
		if !math.IsInf(delay, 1) {
			n++
		}
	}
	return 100 * float64(n) / float64(len(r.delays))
}

// outcome is what came of a burst.
type outcome struct {
	kind   bursttest.Kind
	nth    int // of its identity's, from 0
	factor float64
	delay  float64
	ends   []float64
}

// try puts a burst into each of an identity's last days but one, half of them of one
// and half of the other factor of its usual, and says what came of it.
func try(t *testing.T, m measured, kind bursttest.Kind, n uint64) (all []outcome) {
	id := bursttest.New(kind, *seed, n, whole)
	usual := bursttest.Usual(id.Of(m.Measure), 0, learned*bursttest.Day)
	random := rand.New(rand.NewPCG(*seed, n<<4|uint64(kind)))
	var bursts []bursttest.Burst
	for today := int64(learned); today < whole-1; today++ {
		from := today*bursttest.Day + random.Int64N(bursttest.Day-hour)
		factor := m.factors[random.IntN(2)]
		bursts = append(bursts, bursttest.Burst{From: from, Until: from + 120, Factor: factor, Rate: factor * usual / 10})
	}
	d := detector(t, m.options)
	var verdicts []burst.Verdict
	for at, count := range bursttest.With(id.Of(m.Measure), bursts, n) {
		verdicts = append(verdicts, d.Step("k", at, count)...)
	}
	verdicts = append(verdicts, d.Advance(whole*bursttest.Day)...)
	for nth, b := range bursts {
		delay, ends := math.Inf(1), []float64(nil)
		for _, v := range verdicts {
			at := v.At.Unix()
			switch {
			case v.Kind == burst.Start && at >= b.From && at < b.Until:
				delay = min(delay, float64(at-b.From+1)) // known when the second is over
			case v.Kind == burst.End && v.Began.Unix() >= b.From && v.Began.Unix() < b.Until && at >= b.Until:
				ends = append(ends, float64(at-b.Until+1))
			}
		}
		all = append(all, outcome{kind, nth, b.Factor, delay, ends})
	}
	return all
}

// trials are the bursts of a measure by the names that an outcome goes under.
func trials(t *testing.T, m measured, names func(outcome) []string) map[string]*trial {
	all := map[string]*trial{}
	for kind := range bursttest.Kind(bursttest.Kinds) {
		for n := range m.some() {
			for _, o := range try(t, m, kind, n) {
				for _, name := range names(o) {
					if all[name] == nil {
						all[name] = &trial{}
					}
					all[name].delays = append(all[name].delays, o.delay)
					all[name].ends = append(all[name].ends, o.ends...)
				}
			}
		}
	}
	var lines []string
	for name, r := range all {
		slices.Sort(r.delays)
		slices.Sort(r.ends)
		line := fmt.Sprintf("%-14s %4d bursts, found %6.2f %%, median %3v s, p95 %3v s", name, len(r.delays), r.found(), at(r.delays, 50), at(r.delays, 95))
		if len(r.ends) > 0 {
			line += fmt.Sprintf("; over after %2v s, p99 %2v s, at most %v s", at(r.ends, 50), at(r.ends, 99), r.ends[len(r.ends)-1])
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	t.Log("\n" + strings.Join(lines, "\n"))
	return all
}

// TestFigures: how many bursts are found, how soon, and how soon they are over. The
// goals are 99 % of those of ten times the usual, half within 5 s and 95 % within
// 15 s, and 98 % of those of five times, half within 10 s; over within 120 s. An
// identity has six bursts on six days: the first finds it as it is, the sixth after
// it learned of five.
func TestFigures(t *testing.T) {
	if raced {
		t.Skip("too slow under the race detector")
	}
	all := trials(t, measures()[bursttest.Requests], func(o outcome) []string {
		names := []string{fmt.Sprintf("%vx", o.factor), fmt.Sprintf("%vx %s", o.factor, o.kind)}
		switch o.nth {
		case 0:
			names = append(names, fmt.Sprintf("%vx first", o.factor))
		case 5:
			names = append(names, fmt.Sprintf("%vx sixth", o.factor))
		}
		return names
	})
	for _, want := range []struct {
		name               string
		found, median, p95 float64
	}{{"10x", 99, 5, 15}, {"5x", 98, 10, 60}} {
		r := all[want.name]
		if r.found() < want.found || at(r.delays, 50) > want.median || at(r.delays, 95) > want.p95 || at(r.ends, 99) > 120 {
			t.Errorf("%s: want %v %% found, median %v s, p95 %v s, over within 120 s", want.name, want.found, want.median, want.p95)
		}
	}
}

// TestMeasures: the same bursts of the other measures, each by the options that are
// meant for it. Ten times the usual is little in kilobytes (see burst.Kilobytes), where
// what is a hundred times is found, mostly, and not within seconds.
func TestMeasures(t *testing.T) {
	if raced {
		t.Skip("too slow under the race detector")
	}
	for _, m := range measures()[1:] {
		t.Run(m.Measure.String(), func(t *testing.T) {
			all := trials(t, m, func(o outcome) []string {
				return []string{fmt.Sprintf("%vx", o.factor), fmt.Sprintf("%vx %s", o.factor, o.kind)}
			})
			found, median := 98.0, 15.0
			if m.Measure == bursttest.Kilobytes {
				found, median = 85, 60
			}
			if r := all[fmt.Sprintf("%vx", m.factors[1])]; r.found() < found || at(r.delays, 50) > median {
				t.Errorf("%vx: want %v %% found, half of them within %v s", m.factors[1], found, median)
			}
		})
	}
}

// TestBound: whatever a detector does with counts, it cannot tell a burst from what an
// identity does by itself more often than the budget allows. So for each measure: how
// many identities did as much within 15 s, or within all of a burst's 120 s, in the
// week before.
func TestBound(t *testing.T) {
	if raced {
		t.Skip("too slow under the race detector")
	}
	for _, m := range measures() {
		shown := map[string]int{}
		for kind := range bursttest.Kind(bursttest.Kinds) {
			for n := range m.some() {
				traffic := bursttest.New(kind, *seed, n, learned).Of(m.Measure)
				usual := bursttest.Usual(traffic, 0, learned*bursttest.Day) / 10
				for _, seconds := range []int64{15, 120} {
					did := most(traffic, seconds)
					for _, factor := range m.factors {
						name := fmt.Sprintf("%3vx in %3d s", factor, seconds)
						if shown[name] += 0; did >= factor*usual*float64(seconds) {
							shown[name]++
						}
					}
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(shown)) {
			t.Logf("%-9s %s: %3.0f %% of the identities did as much in the week before", m.Measure, name, 100*float64(shown[name])/float64(m.some()*bursttest.Kinds))
		}
		if name := fmt.Sprintf("%3vx in 120 s", m.factors[1]); 20*shown[name] > int(m.some())*bursttest.Kinds {
			t.Errorf("%s: so large are bursts that are usual for %d identities", m.Measure, shown[name])
		}
	}
}

// most is the most of a traffic in so many seconds.
func most(traffic iter.Seq2[int64, uint32], seconds int64) (most float64) {
	type second struct {
		at int64
		n  float64
	}
	var window []second
	sum := 0.0
	for at, n := range traffic {
		window = append(window, second{at, float64(n)})
		for sum += float64(n); window[0].at <= at-seconds; window = window[1:] {
			sum -= window[0].n
		}
		most = max(most, sum)
	}
	return most
}
