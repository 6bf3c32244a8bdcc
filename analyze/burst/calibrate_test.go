package burst_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/analyze/burst/bursttest"
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
	if raced {
		t.Skip("too slow under the race detector")
	}
	history := clumps(1, 10, 21)
	group := func(key string) string { return key[:1] }
	var last burst.Thresholds
	for _, budget := range []float64{0.01, 0.05, 0.2} {
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

// with puts an attack of 200 requests a second into a history, for a key of its own
// kind; half an hour after a week and a day.
func with(history iter.Seq[burst.Row], key string, attacks ...int64) iter.Seq[burst.Row] {
	return func(yield func(burst.Row) bool) {
		for row := range history {
			if !yield(row) {
				return
			}
			at := row.Time.Unix()
			for _, from := range attacks {
				if row.Key == key && at >= from && at < from+hour/2 && !yield(burst.Row{Time: row.Time, Key: key, Count: 12_000}) {
					return
				}
			}
		}
	}
}

// TestPoison: an attack in the history is one alarm, not a threshold; left out it is
// nothing.
func TestPoison(t *testing.T) {
	if raced {
		t.Skip("too slow under the race detector")
	}
	const attack, budget = monday + 8*day, 0.05
	clean := clumps(1, 10, 21)
	want, plain, err := burst.Calibrate(clean, burst.Calibration{Budget: budget})
	if err != nil {
		t.Fatal(err)
	}
	have, out, err := burst.Calibrate(with(clean, "a-00", attack), burst.Calibration{Budget: budget})
	if err != nil || out.Counted >= out.Alarms || float64(out.Counted) > budget*out.Days {
		t.Fatalf("%s, %v", &out, err)
	}
	for w := range want.Ratio {
		if have.Ratio[w] > 2*want.Ratio[w] {
			t.Errorf("with an attack of 500 times the usual: want about %+v, have %+v", want, have)
		}
	}
	c := burst.Calibration{Budget: budget, Skip: func(key string, at time.Time) bool {
		return key == "a-00" && at.Unix() >= attack && at.Unix() < attack+hour/2
	}}
	have, out, err = burst.Calibrate(with(clean, "a-00", attack), c)
	if err != nil || out.Skipped != 60 || out.Rows != plain.Rows+30 {
		t.Fatalf("%+v, %v", out, err)
	}
	for w := range want.Ratio {
		if d := have.Ratio[w] / want.Ratio[w]; d < 0.98 || d > 1.02 {
			t.Errorf("left out: want %+v, have %+v", want, have)
		}
	}
	if out.Alarms > plain.Alarms {
		t.Errorf("left out: %s; without the attack: %s", &out, &plain)
	}
}

// TestPoisonShort: on a history that allows no alarm an attack is no threshold either.
func TestPoisonShort(t *testing.T) {
	history := with(clumps(2, 2, 10), "a-00", monday+8*day)
	th, out, err := burst.Calibrate(history, burst.Calibration{})
	if err != nil || !out.Short || out.Alarms == 0 {
		t.Fatalf("%s, %v", &out, err)
	}
	for w, r := range burst.DefaultThresholds().Ratio {
		if th.Ratio[w] < r || th.Ratio[w] > 2*r {
			t.Errorf("window %d: a ratio of %v", w, th.Ratio[w])
		}
	}
	if want := "too short a history for this budget: 6 identity-days, 100 needed; "; !strings.HasPrefix(out.String(), want) {
		t.Errorf("want %s…\nhave %s", want, &out)
	}
}

// TestOutcome: what is told to the operator is what replays say.
func TestOutcome(t *testing.T) {
	if raced {
		t.Skip("too slow under the race detector")
	}
	history := clumps(4, 10, 14)
	high := burst.DefaultThresholds()
	high.Ratio, high.Tail = burst.PerWindow{1.5, 1.5, 1.5, 1.5}, -7
	passes := 0
	counted := func(yield func(burst.Row) bool) {
		passes++
		history(yield)
	}
	th, out, err := burst.Calibrate(counted, burst.Calibration{Budget: 0.1, Options: burst.Options{Thresholds: high}})
	if err != nil {
		t.Fatal(err)
	}
	if passes != 2 || out.Passes != 2 || out.Keys != 10 || out.Rows != 10*14*1_440 || out.Thresholds != th || out.Groups[""].Keys != 10 {
		t.Errorf("%d passes, %+v", passes, out)
	}
	if want := alarms(t, history, high); out.Given.Alarms != want || want == 0 {
		t.Errorf("by the thresholds before: want %d, have %d", want, out.Given.Alarms)
	}
	if want := alarms(t, history, th); out.Alarms != want {
		t.Errorf("by those found: want %d, have %d", want, out.Alarms)
	}
	if want := fmt.Sprintf("%d alarms in 70 identity-days of 10 keys: %.4f a day of 0.1; %d with the thresholds before", out.Alarms, float64(out.Alarms)/out.Days, out.Given.Alarms); out.String() != want {
		t.Errorf("want %s\nhave %s", want, &out)
	}
}

// BenchmarkCalibrate is a calibration on a fortnight of samples every two seconds, for
// each of its rows: of identities of all kinds, and of ones that are never idle.
func BenchmarkCalibrate(b *testing.B) {
	for _, c := range []struct {
		name    string
		history iter.Seq[burst.Row]
	}{{"kinds", sampled(false)}, {"busy", sampled(true)}} {
		b.Run(c.name, func(b *testing.B) {
			rows := 0
			for b.Loop() {
				_, out, err := burst.Calibrate(c.history, burst.Calibration{})
				if err != nil {
					b.Fatal(err)
				}
				rows += int(out.Rows)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
			b.ReportMetric(float64(rows)/float64(b.N)/20, "rows/key")
		})
	}
}

// sampled is 20 identities, a row for every two seconds in which there was anything.
func sampled(busy bool) iter.Seq[burst.Row] {
	var rows []burst.Row
	for n := range uint64(20) {
		kind := bursttest.Kind(n % bursttest.Kinds)
		if busy {
			kind = bursttest.Steady
		}
		last := burst.Row{Key: fmt.Sprintf("project/job-%d", n)}
		for at, count := range bursttest.New(kind, 7, n, 14).Seconds() {
			if at = at / 2 * 2; last.Count > 0 && at == last.Time.Unix() {
				last.Count += count
				continue
			}
			if last.Count > 0 {
				rows = append(rows, last)
			}
			last.Time, last.Count = time.Unix(at, 0), count
		}
		rows = append(rows, last)
	}
	return slices.Values(rows)
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
