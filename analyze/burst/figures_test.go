package burst_test

import (
	"flag"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/analyze/burst/bursttest"
)

// The figures, and the default thresholds, on larger populations than go test's own:
//
//	go test -run TestFigures -v -args -identities 60
//	go test -run TestDefaultThresholds -v -args -identities 60
var (
	identities = flag.Uint64("identities", 10, "synthetic identities of each kind")
	seed       = flag.Uint64("seed", 2, "of the identities that the figures are of; the thresholds are of seed 1")
)

const (
	learned = 7  // days that are learned
	whole   = 14 // days in all
)

// measured is a measure with the options that are meant for it.
type measured struct {
	bursttest.Measure
	options burst.Options
	factors [2]float64 // that bursts have of the usual
}

// some is how many identities of each kind are tried; of the measures that are not
// requests, of which a single one takes seconds, three unless many were asked for.
func (m measured) some() uint64 {
	if m.Measure != bursttest.Requests && *identities < 20 {
		return min(*identities, 3)
	}
	return *identities
}

func measures() []measured {
	return []measured{
		{bursttest.Requests, burst.Requests(), [2]float64{5, 10}},
		{bursttest.Denials, burst.Denials(), [2]float64{5, 10}},
		{bursttest.Errors, burst.Errors(), [2]float64{5, 10}},
		{bursttest.Kilobytes, burst.Kilobytes(), [2]float64{10, 100}},
		{bursttest.Endpoint, burst.Endpoints(), [2]float64{5, 10}},
	}
}

func population(seed uint64, m bursttest.Measure) iter.Seq[burst.Row] {
	return func(yield func(burst.Row) bool) {
		for kind := range bursttest.Kind(bursttest.Kinds) {
			for n := range *identities {
				key := fmt.Sprintf("%s %d", kind, n)
				for at, count := range bursttest.New(kind, seed, n, whole).Of(m) {
					if !yield(burst.Row{Time: time.Unix(at, 0), Key: key, Count: count}) {
						return
					}
				}
			}
		}
	}
}

// kindOf is an identity's kind.
func kindOf(key string) string { return key[:strings.IndexByte(key, ' ')] }

// TestDefaultThresholds are what a calibration finds, given enough identities; and
// default priors what is usual then.
func TestDefaultThresholds(t *testing.T) {
	if *identities < 60 {
		t.Skip("sixty identities of each kind take minutes: -args -identities 60")
	}
	for _, m := range measures() {
		t.Run(m.Measure.String(), func(t *testing.T) {
			have, out, err := burst.Calibrate(population(1, m.Measure), burst.Calibration{Group: kindOf, Options: m.options})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.4v: %s", have, &out)
			for kind, s := range out.Groups {
				t.Logf("  %-8s %.4f", kind, s.Rate())
			}
			t.Logf("%s", usual(t, m))
			// Keys are known from their first count on, which of denials may be late.
			if days := float64(whole-learned) * float64(*identities) * bursttest.Kinds; float64(out.Given.Alarms) > 0.0105*days {
				t.Errorf("the thresholds that are meant for it have %d alarms in %v identity-days", out.Given.Alarms, days)
			}
			if m.options.Thresholds != (burst.Thresholds{}) || m.Measure == bursttest.Requests {
				near(t, have, m.options.Thresholds)
			}
		})
	}
}

// near fails if thresholds are not about those of the options.
func near(t *testing.T, have, want burst.Thresholds) {
	if want == (burst.Thresholds{}) {
		want = burst.DefaultThresholds()
	}
	for w := range want.Ratio {
		if math.Abs(have.Ratio[w]-want.Ratio[w]) > 0.05*want.Ratio[w] || math.Abs(have.Tail-want.Tail) > -0.05*want.Tail {
			t.Errorf("want %+v", want)
		}
	}
}

// usual is what a prior for a measure is made of.
func usual(t *testing.T, m measured) string {
	m.options.Role = func(key string) string { return key }
	d := detector(t, m.options)
	for row := range population(1, m.Measure) {
		if row.Time.Unix() <= learned*bursttest.Day {
			d.Observe(row.Key, row.Time, row.Count)
		}
	}
	var b strings.Builder
	priors := d.Priors()
	percentile := func(name string, percent int, of func(burst.Prior) burst.PerWindow) {
		fmt.Fprintf(&b, "; %d %% of %s below", percent, name)
		for w := range 4 {
			var all []float64
			for _, p := range priors {
				all = append(all, of(p)[w])
			}
			slices.Sort(all)
			fmt.Fprintf(&b, " %.3g", at(all, percent))
		}
	}
	percentile("means", 75, func(p burst.Prior) burst.PerWindow { return p.Mean })
	percentile("variances", 75, func(p burst.Prior) burst.PerWindow { return p.Variance })
	percentile("high-water marks", 75, func(p burst.Prior) burst.PerWindow { return p.HighWater })
	percentile("high-water marks", 90, func(p burst.Prior) burst.PerWindow { return p.HighWater })
	return fmt.Sprintf("after a week, %d identities%s", len(priors), b.String())
}

// TestFalseAlarms: on identities that the thresholds were not calibrated on.
func TestFalseAlarms(t *testing.T) {
	if raced {
		t.Skip("too slow under the race detector")
	}
	for _, m := range measures() {
		t.Run(m.Measure.String(), func(t *testing.T) { falseAlarms(t, m) })
	}
}

func falseAlarms(t *testing.T, m measured) {
	d := detector(t, m.options)
	alarms := map[string]int{}
	all, early := 0, 0
	for row := range population(*seed, m.Measure) {
		for _, v := range d.Observe(row.Key, row.Time, row.Count) {
			switch {
			case v.Kind != burst.Start:
			case v.At.Unix() < learned*bursttest.Day:
				early++
			default:
				all++
				alarms[kindOf(v.Key)]++
			}
		}
	}
	days := float64((whole - learned) * *identities)
	worst := 0
	for _, n := range alarms {
		worst = max(worst, n)
	}
	t.Logf("false alarms for each identity and day: %.4f, in the worst kind %.4f (%v); in the first week %.4f",
		float64(all)/days/bursttest.Kinds, float64(worst)/days, alarms, float64(early)/days/bursttest.Kinds)
	// Three standard deviations of what the budget allows so few identities.
	if allowed := 0.01 * days * bursttest.Kinds; float64(all) > allowed+3*math.Sqrt(allowed) {
		t.Errorf("%d false alarms, want about %v", all, allowed)
	}
	if allowed := 0.05 * days; float64(worst) > allowed+3*math.Sqrt(allowed) {
		t.Errorf("%d false alarms in the worst kind, want about %v", worst, allowed)
	}
}
