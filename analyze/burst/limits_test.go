package burst

import "testing"

// TestSetThresholds: a detector that was given thresholds later says what one says
// that had them from the start, from then on.
func TestSetThresholds(t *testing.T) {
	high := DefaultThresholds()
	for w := range high.Ratio {
		high.Ratio[w] *= 100
	}
	high.Tail = -300
	early, err := New(Options{Thresholds: high})
	if err != nil {
		t.Fatal(err)
	}
	late, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	run := func(d *Detector, from, until int64, n uint32) (starts int) {
		for second := from; second < until; second++ {
			for _, v := range d.Step("a", second, n) {
				if v.Kind == Start {
					starts++
				}
			}
		}
		return starts
	}
	for _, d := range []*Detector{early, late} {
		run(d, 1000, 5000, 1)
	}
	if err := late.SetThresholds(high); err != nil {
		t.Fatal(err)
	}
	if have, want := run(late, 5000, 5030, 50), run(early, 5000, 5030, 50); have != 0 || want != 0 {
		t.Errorf("with high thresholds: %d and %d bursts, want none", have, want)
	}
	for _, d := range []*Detector{early, late} {
		if err := d.SetThresholds(DefaultThresholds()); err != nil {
			t.Fatal(err)
		}
		if n := run(d, 9000, 9030, 5000); n != 1 {
			t.Errorf("with the default thresholds: %d bursts, want 1", n)
		}
	}
	if err := late.SetThresholds(Thresholds{}); err == nil {
		t.Error("thresholds of nothing: no error")
	}
}

// TestBurstOfAShortWindowGoesOn: what is too much for five seconds and nothing yet for
// ten is one burst, not one a second.
func TestBurstOfAShortWindowGoesOn(t *testing.T) {
	for n := uint32(50); n < 1000; n += 10 {
		d, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		starts := 0
		for second := range int64(400) {
			count := uint32(second % 3)
			if second >= 300 && second < 303 {
				count = n
			}
			for _, v := range d.Step("a", 1000+second, count) {
				if v.Kind == Start {
					starts++
				}
			}
		}
		if starts > 1 {
			t.Errorf("%d requests in each of three seconds are %d bursts", n, starts)
		}
	}
}
