package burst_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

// TestGap: what is not known is not nothing.
func TestGap(t *testing.T) {
	now := int64(monday + 14*day)
	score := func(tell bool) float64 {
		d := detector(t, burst.Options{})
		live(t, d, "steady", monday, now, 1, 5)
		if tell {
			d.Gap(time.Unix(now, 0), time.Unix(now+6*day, 0))
		}
		v := d.Step("steady", now+6*day, 5)
		if v != nil {
			t.Fatalf("usual, but\n%s", say(v))
		}
		v = storm(d, "steady", now+6*day+1, now+6*day+60, 30)
		if len(v) == 0 {
			t.Fatal("not found after the gap")
		}
		if tell && v[0].Known > 14*24*time.Hour+time.Minute {
			t.Errorf("known for %s: the gap counts as known", v[0].Known)
		}
		return v[0].Tail
	}
	if known, silent := score(true), score(false); known >= silent {
		t.Errorf("a gap is learned as silence: tail %v after it, %v after silence", known, silent)
	}
}

// TestClocks: late counts within ten seconds count, later ones are left out and
// counted; a clock that stays back is followed, one line from far off is not.
func TestClocks(t *testing.T) {
	now := int64(monday + 14*day)
	d := detector(t, burst.Options{})
	live(t, d, "k", monday, now, 60, 20)
	d.Step("k", now, 1)
	var late []burst.Verdict
	for i := range int64(10) {
		late = append(late, d.Step("k", now-i, 40)...)
	}
	if len(late) == 0 || late[0].Kind != burst.Start {
		t.Error("a burst whose lines come in the wrong order is none")
	}
	d.Step("k", now-10, 1)
	if s := d.Stats(); s.Late != 1 || s.Jumps != 0 {
		t.Errorf("want one late, have %+v", s)
	}
	for range 70 {
		d.Step("k", now-2*day, 0)
	}
	if s := d.Stats(); s.Jumps != 1 {
		t.Errorf("want one jump, have %+v", s)
	}
	live(t, d, "k", now-2*day+60, now, 60, 20)
	// A line of the year 2100 makes the others late for a while, and nobody forget.
	d.Step("k", 4_102_444_800, 1)
	for at := now; at < now+70; at++ {
		d.Step("k", at, 1)
	}
	if v := storm(d, "k", now+600, now+630, 40); len(v) == 0 || v[0].Own < 20 || v[0].Cold {
		t.Errorf("after a line of 2100:\n%s", say(v))
	}
	before := d.Stats().Refused
	d.Step("k", -1, 1)
	d.Step("k", math.MaxInt64, 1)
	d.Step("k", math.MinInt64, 1)
	if have := d.Stats().Refused - before; have != 3 {
		t.Errorf("want 3 refused, have %d", have)
	}
}

// TestLarge: counts of 2^32-1 neither overflow nor go unnoticed.
func TestLarge(t *testing.T) {
	d := detector(t, burst.Options{})
	now := int64(monday + 14*day)
	live(t, d, "k", monday, now, 60, 20)
	v := storm(d, "k", now, now+400, math.MaxUint32)
	if len(v) == 0 || v[0].Kind != burst.Start || v[0].Count != math.MaxUint32 {
		t.Fatalf("have\n%s", say(v))
	}
	for at := now + 400; at < now+2*day; at += 60 {
		for _, v := range d.Step("k", at, 20) {
			if v.Kind == burst.Start {
				t.Fatalf("usual again, but\n%s", v.Why())
			}
		}
	}
	if s := d.Score("k"); !(s >= 0 && s < 0.5) {
		t.Errorf("scores %v afterwards", s)
	}
}

// TestForgotten: a burst whose key has to leave has an end too.
func TestForgotten(t *testing.T) {
	d := detector(t, burst.Options{MaxKeys: 2})
	if v := storm(d, "a", monday, monday+30, 1_000); len(v) == 0 {
		t.Fatal("no burst")
	}
	d.Step("b", monday+30, 1)
	v := d.Step("c", monday+30, 1)
	if len(v) != 1 || v[0].Kind != burst.End || v[0].Key != "a" || !v[0].Forgotten || !strings.HasPrefix(v[0].Why(), "no longer watched") {
		t.Errorf("want the end of a, have\n%s", say(v))
	}
	if s := d.Stats(); s.Evicted != 1 || s.Keys != 2 || s.Open != 0 {
		t.Errorf("have %+v", s)
	}
}

// TestSample: a poll that was late is no burst, and a counter's samples come to what
// the requests themselves do.
func TestSample(t *testing.T) {
	now := int64(monday + 14*day)
	d := detector(t, burst.Options{})
	for at := int64(monday); at < now; at += 2 {
		if v := d.Sample("k", time.Unix(at, 0), 2*time.Second, 10); v != nil {
			t.Fatalf("usual, but\n%s", say(v))
		}
	}
	if v := d.Sample("k", time.Unix(now+60, 0), 62*time.Second, 310); v != nil {
		t.Errorf("a poll after a minute, with a minute's requests:\n%s", say(v))
	}
	if v := d.Sample("k", time.Unix(now+60+7_200, 0), 2*time.Hour, 36_000); v != nil {
		t.Errorf("a poll after two hours, with two hours' requests:\n%s", say(v))
	}
	if v := d.Sample("k", time.Unix(now+7_262, 0), 2*time.Second, 400); len(v) == 0 {
		t.Error("a burst between two polls is none")
	}
}

// TestSampleSpread: no request is lost or made up by spreading.
func TestSampleSpread(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 1))
	for range 300 {
		n, seconds := 1_000_000+random.Uint32N(1_000_000), 1+random.IntN(290)
		d := detector(t, burst.Options{})
		v := d.Sample("k", time.Unix(monday+299, 0), time.Duration(seconds)*time.Second, n)
		v = append(v, d.Advance(monday+2_000)...)
		if last := v[len(v)-1]; last.Kind != burst.End || last.Total != uint64(n) {
			t.Fatalf("%d requests in %d s: have %d\n%s", n, seconds, last.Total, say(v))
		}
	}
}
