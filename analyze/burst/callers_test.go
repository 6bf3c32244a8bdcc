package burst_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/analyze/burst"
)

// trickle is how many new callers a frontend denies something, second by second of so
// many days: scanners, more of them by day, from one in an hour to thirty in five
// minutes; clumps of a few within seconds, of jobs that try again together; and at one
// of two frontends an hourly schedule, whose jobs have no right to something.
func trickle(seed, n uint64, days int64) map[int64]uint32 {
	random := rand.New(rand.NewPCG(seed, n))
	counts := map[int64]uint32{}
	base := math.Exp(math.Log(1./3600) + random.Float64()*math.Log(30./300*3600)) // a second
	hourly := 0
	if random.IntN(2) == 0 {
		hourly = 1 + random.IntN(12)
	}
	for at := int64(0); ; {
		at += 1 + int64(random.ExpFloat64()/(1.5*base))
		if at >= days*day {
			break
		}
		if 1+0.5*math.Sin(2*math.Pi*float64(at)/day) < 1.5*random.Float64() {
			continue
		}
		size := 1
		for random.IntN(6) == 0 { // one in six brings another
			size++
		}
		for range size {
			counts[at+random.Int64N(4)]++
		}
	}
	for hours := range days * 24 {
		for range hourly {
			if random.IntN(4) > 0 {
				counts[hours*hour+random.Int64N(20)]++
			}
		}
	}
	return counts
}

// spreadOver puts n new callers into so many seconds.
func spreadOver(counts map[int64]uint32, from, seconds, n int64, random *rand.Rand) {
	for range n {
		counts[from+random.Int64N(seconds)]++
	}
}

// TestCallers: what a botnet and a broken rollout are found by, and how often trickles
// are told.
func TestCallers(t *testing.T) {
	if raced {
		t.Skip("too slow under the race detector")
	}
	frontends, alarms, early := 6**identities, 0, 0
	for n := range frontends {
		d := detector(t, burst.Callers())
		counts := trickle(*seed, n, whole)
		for _, at := range sorted(counts) {
			for _, v := range d.Step("www", at, counts[at]) {
				switch {
				case v.Kind != burst.Start:
				case at < learned*day:
					early++
				default:
					alarms++
				}
			}
		}
	}
	days := float64(frontends * (whole - learned))
	t.Logf("false alarms for each frontend and day: %.4f; in the first week %.4f", float64(alarms)/days, float64(early)/float64(frontends*learned))
	if allowed := 0.01 * days; float64(alarms) > allowed+3*math.Sqrt(allowed) {
		t.Errorf("%d false alarms in %v days, want about %v", alarms, days, allowed)
	}
	for _, c := range []struct {
		name       string
		n, seconds int64
		after      int64   // days
		found      float64 // %, at least
		median     float64
	}{
		{"500 within 20 s of a frontend that is new", 500, 20, 0, 100, 5},
		{"500 within 20 s", 500, 20, 7, 100, 5},
		{"100 within a minute", 100, 60, 7, 98, 30},
		{"300 within ten minutes", 300, 600, 7, 98, 120},
	} {
		var delays []float64
		for n := range frontends {
			random := rand.New(rand.NewPCG(*seed+1_000, n))
			counts := trickle(*seed, n, c.after+1)
			from := c.after*day + random.Int64N(day-hour)
			spreadOver(counts, from, c.seconds, c.n, random)
			delays = append(delays, found(t, counts, from, from+c.seconds))
		}
		slices.Sort(delays)
		r := trial{delays: delays}
		t.Logf("%-42s found %6.2f %%, median %3v s, p95 %3v s", c.name, r.found(), at(delays, 50), at(delays, 95))
		if r.found() < c.found || at(delays, 50) > c.median {
			t.Errorf("%s: want %v %% found, half of them within %v s", c.name, c.found, c.median)
		}
	}
}

// found is how many seconds after its beginning a burst is told; +Inf: it is not.
func found(t *testing.T, counts map[int64]uint32, from, until int64) float64 {
	d := detector(t, burst.Callers())
	for _, at := range sorted(counts) {
		for _, v := range d.Step("www", at, counts[at]) {
			if v.Kind == burst.Start && at >= from && at < until {
				return float64(at - from + 1)
			}
		}
	}
	return math.Inf(1)
}

func sorted(counts map[int64]uint32) []int64 {
	all := make([]int64, 0, len(counts))
	for at := range counts {
		all = append(all, at)
	}
	slices.Sort(all)
	return all
}

// TestCallersWhy: the words are of callers, and a few are nothing.
func TestCallersWhy(t *testing.T) {
	for n, want := range map[uint32]string{9: "", 60: "60 denied callers in 5 s; this frontend's own maximum in 14 days is 2; expected <= "} {
		d := detector(t, burst.Callers())
		live(t, d, "www", monday, monday+14*day, 700, 2)
		if have := say(d.Step("www", monday+14*day+100, n)); !strings.Contains(have, want) || (want == "") != (have == "") {
			t.Errorf("%d: have %q, want %q", n, have, want)
		}
	}
}
