package burst

import (
	"math"
	"testing"
)

// TestGrowth: one burst a day raises a mark by a tenth each, at whatever time; and never
// beyond the burst itself.
func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		name   string
		factor float64
		n      uint32
		days   int64
	}{
		{"far too much", single, 100_000, 24},
		{"a little more, in five minutes too much", single, 210, 16},
	} {
		d, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		const start, apart = 1_767_571_200, 5_000
		for today := range c.days {
			from := start + today*day
			for at := from; at < from+day; at += 300 {
				d.Step("k", at, 200)
				if today < 14 || (at-from)/300 != 40+(today-14)*apart/300 {
					continue
				}
				before, _ := d.keys.find("k")
				high, _ := before.highWater(1, d.pool.of(0))
				d.Step("k", at+100, c.n)
				if d.Advance(at + 299); d.Stats().Open != 0 {
					t.Fatalf("%s: day %d: it goes on", c.name, today)
				}
				after, _ := d.keys.find("k")
				have := float64(after.top[1])
				if want := min(c.factor*high, max(high, float64(c.n))); math.Abs(have-want) > 1 {
					t.Fatalf("%s: day %d: from %v: want about %v, have %v", c.name, today, high, want, have)
				}
			}
		}
	}
}
