package burst

import (
	"math"
	"testing"
)

// TestScheduled: the same hour on another day, give or take half an hour.
func TestScheduled(t *testing.T) {
	const noon = 1_767_614_400
	for _, c := range []struct {
		name          string
		before, began int64
		want          bool
	}{
		{"the first one", 0, noon, false},
		{"the day after", noon, noon + day, true},
		{"a week after, late", noon, noon + 7*day + 1_800, true},
		{"the day after, early", noon, noon + day - 1_800, true},
		{"too late", noon, noon + day + 1_860, false},
		{"too early", noon, noon + day - 1_860, false},
		{"the same one", noon, noon + 60, false},
		{"twelve hours later", noon, noon + day/2, false},
		{"a clock that went back", noon, noon - day, false},
	} {
		s := state{before: uint32(c.before / 60)}
		if have := s.scheduled(c.began); have != c.want {
			t.Errorf("%s: have %v", c.name, have)
		}
	}
}

// TestGrowth: one burst a day at any time raises a mark by a tenth each, at the same
// time by a quarter; and never beyond the burst itself.
func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		name   string
		apart  int64 // seconds by which a burst comes later each day
		factor float64
		n      uint32
		days   int64
	}{
		{"at any time", 5_000, single, 100_000, 24},
		{"at the same time", 60, growth, 100_000, 24},
		{"a little more, in five minutes too much", 5_000, single, 210, 16},
	} {
		d, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		const start = 1_767_571_200
		for today := range c.days {
			from := start + today*day
			for at := from; at < from+day; at += 300 {
				d.Step("k", at, 200)
				if today < 14 || (at-from)/300 != 40+(today-14)*c.apart/300 {
					continue
				}
				before, _ := d.keys.find("k")
				high, _ := before.highWater(1, d.pool.of(0))
				d.Step("k", at+100, c.n)
				if d.Advance(at + 299); d.Stats().Open != 0 {
					t.Fatalf("%s: day %d: it goes on", c.name, today)
				}
				after, _ := d.keys.find("k")
				factor := c.factor
				if today == 14 {
					factor = single // the first one is on no schedule
				}
				have := float64(after.top[1])
				if want := min(factor*high, max(high, float64(c.n))); math.Abs(have-want) > 1 {
					t.Fatalf("%s: day %d: from %v: want about %v, have %v", c.name, today, high, want, have)
				}
			}
		}
	}
}
