package burst_test

import (
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

// clumps is some weeks of keys that do 1 to 9 requests a minute and, each day, a
// clump that is now and then much larger.
func clumps(seed uint64, keys int, days int64) iter.Seq[burst.Row] {
	return func(yield func(burst.Row) bool) {
		for k := range keys {
			random := rand.New(rand.NewPCG(seed, uint64(k)))
			key := string([]byte{"ab"[k%2], '-', byte('0' + k/10), byte('0' + k%10)})
			for at := int64(monday); at < monday+days*day; at += 60 {
				n := 1 + random.Uint32N(9)
				if random.IntN(1_440) == 0 {
					n = uint32(20 * (1 + random.ExpFloat64()))
				}
				if !yield(burst.Row{Time: time.Unix(at, 0), Key: key, Count: n}) {
					return
				}
			}
		}
	}
}

// alarms replays a history and counts the starts after a week.
func alarms(t *testing.T, history iter.Seq[burst.Row], th burst.Thresholds) (n int) {
	t.Helper()
	d := detector(t, burst.Options{Thresholds: th})
	for row := range history {
		for _, v := range d.Observe(row.Key, row.Time, row.Count) {
			if v.Kind == burst.Start && v.At.Unix() >= monday+7*day {
				n++
			}
		}
	}
	return n
}

// TestBudget: a calibration keeps to its budget, as a replay of one's own says too,
// and a larger budget buys lower thresholds.
func TestBudget(t *testing.T) {
	history := clumps(1, 10, 21)
	group := func(key string) string { return key[:1] }
	var last burst.Thresholds
	for _, budget := range []float64{0.01, 0.05, 0.2} {
		if raced && budget < 0.2 {
			continue // too slow under the race detector
		}
		th, out, err := burst.Calibrate(history, burst.Calibration{Budget: budget, Group: group})
		if err != nil {
			t.Fatal(err)
		}
		if out.Days < 139 || out.Days > 141 || len(out.Groups) != 2 || out.Short {
			t.Fatalf("budget %v: want 140 identity-days of 2 groups, have %+v", budget, out)
		}
		if float64(out.Alarms) > budget*out.Days {
			t.Errorf("budget %v: %d alarms in %v identity-days", budget, out.Alarms, out.Days)
		}
		sum := 0
		for name, s := range out.Groups {
			sum += s.Alarms
			if s.Rate() > 5*budget {
				t.Errorf("budget %v: group %s has %v", budget, name, s.Rate())
			}
		}
		if have := alarms(t, history, th); have != out.Alarms || have != sum {
			t.Errorf("budget %v: it says %d, its groups %d, a replay %d", budget, out.Alarms, sum, have)
		}
		if budget >= 0.2 && float64(out.Alarms) < budget*out.Days/4 {
			t.Errorf("budget %v: only %d alarms in %v identity-days: the thresholds are too high", budget, out.Alarms, out.Days)
		}
		if last.Ratio[0] > 0 && (th.Ratio[0] > last.Ratio[0] || th.Tail < last.Tail) {
			t.Errorf("budget %v: %+v is not below %+v", budget, th, last)
		}
		last = th
	}
}

// TestBudgetShort: a history that is too short for the budget says so, and finds
// nothing in itself.
func TestBudgetShort(t *testing.T) {
	history := clumps(2, 2, 10)
	th, out, err := burst.Calibrate(history, burst.Calibration{})
	if err != nil || !out.Short || out.Alarms != 0 {
		t.Fatalf("have %+v, %v", out, err)
	}
	if least := burst.DefaultThresholds(); th.Ratio[0] < least.Ratio[0] || th.Tail > least.Tail {
		t.Errorf("%+v is below the default", th)
	}
}

// TestBudgetWorst: one kind may have five times the budget, however quiet the others.
func TestBudgetWorst(t *testing.T) {
	calm := func(yield func(burst.Row) bool) {
		for k := range 20 {
			for at := int64(monday); at < monday+21*day; at += 1_800 {
				if !yield(burst.Row{Time: time.Unix(at, 0), Key: "calm-" + string(rune('A'+k)), Count: 5}) {
					return
				}
			}
		}
	}
	both := func(yield func(burst.Row) bool) {
		for row := range clumps(3, 2, 21) {
			if !yield(row) {
				return
			}
		}
		calm(yield)
	}
	_, out, err := burst.Calibrate(both, burst.Calibration{Budget: 0.02, Group: func(key string) string { return key[:1] }})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range out.Groups {
		if s.Rate() > 0.1 {
			t.Errorf("group %s has %v false alarms a day of 0.1", name, s.Rate())
		}
	}
}

func TestCalibrateFaults(t *testing.T) {
	none := slices.Values([]burst.Row(nil))
	for want, c := range map[string]burst.Calibration{
		"a budget of -1 false alarms":               {Budget: -1},
		"no key has a longer history than Learn":    {},
		"MaxKeys is -1: give a number from 1":       {Options: burst.Options{MaxKeys: -1}},
		"Learn is -1s: give the time":               {Learn: -time.Second},
		"Thresholds.Least is 0: give a number of r": {Options: burst.Options{Thresholds: burst.Thresholds{Gate: 1}}},
	} {
		if _, _, err := burst.Calibrate(none, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v", want, err)
		}
	}
}
