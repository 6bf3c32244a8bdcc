package burst_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

// monday is where tests begin: a Monday, at the start of a block.
const monday = 1_767_571_200

const (
	hour = 3_600
	day  = 24 * hour
)

func detector(t *testing.T, o burst.Options) *burst.Detector {
	t.Helper()
	d, err := burst.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// live lets a key do n requests every so many seconds, and fails if that is a burst.
func live(t *testing.T, d *burst.Detector, key string, from, until, every int64, n uint32) {
	t.Helper()
	for at := from; at < until; at += every {
		if v := d.Step(key, at, n); v != nil {
			t.Fatalf("usual, but at %d: %v", at, say(v))
		}
	}
}

func say(verdicts []burst.Verdict) string {
	var lines []string
	for _, v := range verdicts {
		lines = append(lines, fmt.Sprintf("%s %s %s: %s", v.Kind, v.Severity, v.Key, v.Why()))
	}
	return strings.Join(lines, "\n")
}

// storm is n requests a second.
func storm(d *burst.Detector, key string, from, until int64, n uint32) (out []burst.Verdict) {
	for at := from; at < until; at++ {
		out = append(out, d.Step(key, at, n)...)
	}
	return out
}

// TestStory: a burst is found within seconds, told again as it grows, and is over
// within two minutes, when nobody asks for that key any more.
func TestStory(t *testing.T) {
	d := detector(t, burst.Options{})
	now := int64(monday + 14*day)
	live(t, d, "deployer", monday, now, 60, 20)
	verdicts := storm(d, "deployer", now, now+120, 40)
	if len(verdicts) < 2 || verdicts[0].Kind != burst.Start {
		t.Fatalf("want a start and updates, have\n%s", say(verdicts))
	}
	if first := verdicts[0]; first.At.Unix() > now+4 || first.Began != first.At {
		t.Errorf("found at %s, %d s late", first.At, first.At.Unix()-now)
	}
	for _, v := range verdicts[1:] {
		if v.Kind != burst.Update || v.Began != verdicts[0].Began {
			t.Errorf("want an update of %s, have %s of %s", verdicts[0].Began, v.Kind, v.Began)
		}
	}
	worst := verdicts[len(verdicts)-1]
	if worst.Severity != burst.High {
		t.Errorf("ten times the usual is %s", worst.Severity)
	}
	if len(verdicts) > 10 {
		t.Errorf("%d verdicts for one burst:\n%s", len(verdicts), say(verdicts))
	}
	var ends []burst.Verdict
	for at := now + 120; at < now+1_000; at++ {
		ends = append(ends, d.Advance(at)...)
	}
	if len(ends) != 1 || ends[0].Kind != burst.End || ends[0].At.Unix() > now+240 || ends[0].Began != verdicts[0].Began {
		t.Fatalf("want one end by %d, have\n%s", now+240, say(ends))
	}
	if ends[0].Total < 4_800 || ends[0].Total > 4_860 {
		t.Errorf("want about 4800 requests, have %d", ends[0].Total)
	}
	if s := d.Stats(); s.Open != 0 || s.Keys != 1 {
		t.Errorf("have %+v", s)
	}
}

// TestWhy: the words are what on-call reads.
func TestWhy(t *testing.T) {
	d := detector(t, burst.Options{Role: func(string) string { return "build" }})
	now := int64(monday + 14*day)
	live(t, d, "usual", monday, now, 600, 38)
	v := d.Step("usual", now+300, 412)
	if len(v) != 1 {
		t.Fatalf("want a start, have\n%s", say(v))
	}
	if have, want := v[0].Why(), "412 requests in 5 s; this identity's own maximum in 14 days is 38; expected <= 21"; have[:len(want)-2] != want[:len(want)-2] {
		t.Errorf("want %s or so\nhave %s", want, have)
	}
	if v := storm(d, "new", now, now+60, 100); len(v) == 0 || !v[0].Cold ||
		!strings.Contains(v[0].Why(), `s only, so judged by the other identity of role "build", at most 38; expected <= `) {
		t.Errorf("a new key of a known role:\n%s", say(v))
	}
	d = detector(t, burst.Options{})
	if v := storm(d, "new", now, now+60, 100); len(v) == 0 || v[0].Peers != 0 ||
		!strings.Contains(v[0].Why(), "so judged by what is usual for identities, at most ") {
		t.Errorf("a new key of none:\n%s", say(v))
	}
}

// TestSmall: three requests are no burst, however quiet the key was.
func TestSmall(t *testing.T) {
	d := detector(t, burst.Options{})
	now := int64(monday + 14*day)
	live(t, d, "quiet", monday, now, 6*hour, 1)
	live(t, d, "quiet", now, now+1, 1, 3)
	live(t, d, "quiet", now+400, now+404, 1, 1)
	if v := storm(d, "quiet", now+1_000, now+1_020, 1); len(v) == 0 || v[0].At.Unix() > now+1_012 {
		t.Errorf("twelve within twelve seconds are one, have\n%s", say(v))
	}
}

// TestLearned: a burst is not usual because it was there once, and is when it comes
// every day; the mark goes up by a quarter a time.
func TestLearned(t *testing.T) {
	d := detector(t, burst.Options{})
	told := 0
	for today := int64(monday); today < monday+40*day; today += day {
		live(t, d, "nightly", today, today+20*hour, 60, 20)
		if today < monday+14*day {
			continue
		}
		bursts := 0
		for _, v := range storm(d, "nightly", today+20*hour, today+20*hour+60, 3) {
			if v.Kind == burst.Start {
				bursts++
			}
		}
		d.Advance(today + 21*hour)
		if bursts > 0 && (today-monday)/day != int64(14+told) {
			t.Fatalf("told again on day %d after it was usual", (today-monday)/day)
		}
		told += bursts
	}
	if told < 3 || told > 20 {
		t.Errorf("one that comes every day was told %d times, want some", told)
	}
}

// TestStays: a new level is usual after some hours, and the burst ends.
func TestStays(t *testing.T) {
	d := detector(t, burst.Options{})
	now := int64(monday + 14*day)
	live(t, d, "moved", monday, now, 10, 10)
	var ends []int64
	starts := 0
	for at := now; at < now+2*day; at += 10 {
		for _, v := range append(d.Advance(at-1), d.Step("moved", at, 50)...) {
			switch v.Kind {
			case burst.Start:
				starts++
			case burst.End:
				ends = append(ends, (v.At.Unix()-now)/hour)
			}
		}
	}
	if starts != 1 || len(ends) != 1 || ends[0] < 2 || ends[0] > 24 {
		t.Errorf("want one burst that ends after some hours, have %d that end after %v hours", starts, ends)
	}
}

// TestAnnounced: announced load is no burst and is not learned; more than announced
// is one, and other keys' are.
func TestAnnounced(t *testing.T) {
	now := int64(monday + 14*day)
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	d := detector(t, burst.Options{})
	for _, key := range []string{"ci/one", "ci/two", "other"} {
		live(t, d, key, monday, now, 60, 20)
	}
	if err := d.Expect("ci/*", at(now), at(now+hour), 20); err != nil {
		t.Fatal(err)
	}
	if v := storm(d, "ci/one", now, now+120, 5); v != nil {
		t.Errorf("it was announced:\n%s", say(v))
	}
	if v := storm(d, "other", now, now+60, 30); len(v) == 0 {
		t.Error("another key's was not")
	}
	v := storm(d, "ci/two", now, now+60, 500)
	if len(v) == 0 || v[0].Announced != 20 || !strings.Contains(v[0].Why(), "; 20 times that was announced") {
		t.Errorf("more than was announced:\n%s", say(v))
	}
	if d.Stats().Announced == 0 {
		t.Error("what was announced is not counted")
	}
	if v := storm(d, "ci/one", now+2*hour, now+2*hour+60, 30); len(v) == 0 || v[0].Own != 20 {
		t.Errorf("after it: want a burst by the old mark of 20, have\n%s", say(v))
	}
	for _, c := range []struct {
		pattern     string
		from, until int64
		factor      float64
		want        string
	}{
		{"", 0, 1, 2, `without a pattern: give a key, or "*"`},
		{"a", 5, 5, 2, "the end is not after the start"},
		{"a", 0, 1, 0.5, "give a factor of 1 or more"},
		{"a", 0, 1, math.NaN(), "give a factor of 1 or more"},
	} {
		if err := d.Expect(c.pattern, at(c.from), at(c.until), c.factor); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, have %v", c.want, err)
		}
	}
}

// TestApart: keys have nothing to do with each other, but by their role.
func TestApart(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 1))
	type step struct {
		key string
		at  int64
		n   uint32
	}
	var steps []step
	for at := int64(monday); at < monday+2*day; at += random.Int64N(30) {
		n := random.Uint32N(10)
		if random.IntN(500) == 0 {
			n = 2_000
		}
		steps = append(steps, step{string(rune('a' + random.IntN(4))), at, n})
	}
	together, alone := map[string][]burst.Verdict{}, map[string][]burst.Verdict{}
	d := detector(t, burst.Options{})
	single := map[string]*burst.Detector{}
	for _, s := range steps {
		together[s.key] = append(together[s.key], d.Step(s.key, s.at, s.n)...)
		if single[s.key] == nil {
			single[s.key] = detector(t, burst.Options{})
		}
		alone[s.key] = append(alone[s.key], single[s.key].Step(s.key, s.at, s.n)...)
	}
	if len(together) != 4 || len(together["a"]) == 0 || !reflect.DeepEqual(together, alone) {
		t.Errorf("together %d verdicts of a, alone %d", len(together["a"]), len(alone["a"]))
	}
}

// TestPriors: what a role learned outlives the detector.
func TestPriors(t *testing.T) {
	role := func(key string) string { return key[:1] }
	d := detector(t, burst.Options{Role: role})
	now := int64(monday + 5*day)
	for _, key := range []string{"r1", "r2", "r3"} {
		live(t, d, key, monday, now, 60, 10)
	}
	priors := d.Priors()
	if p := priors["r"]; p.Keys != 3 || math.Abs(p.HighWater[1]-10) > 2 {
		t.Fatalf("have %+v", priors)
	}
	d = detector(t, burst.Options{Role: role, Priors: priors})
	if v := storm(d, "r4", now, now+60, 10); len(v) == 0 || v[0].Role != "r" || v[0].Peers != 3 || !v[0].Cold ||
		!strings.Contains(v[0].Why(), `the 3 other identities of role "r"`) {
		t.Errorf("a new one of role r:\n%s", say(v))
	}
	if v := storm(d, "s1", now, now+60, 5); v != nil {
		t.Errorf("of a role that nobody taught:\n%s", say(v))
	}
}

func TestOptions(t *testing.T) {
	odd := burst.DefaultThresholds()
	with := func(change func(*burst.Thresholds)) burst.Options {
		th := odd
		change(&th)
		return burst.Options{Thresholds: th}
	}
	for want, o := range map[string]burst.Options{
		"MaxKeys is -1":                             {MaxKeys: -1},
		"Resolution is 48h0m0s":                     {Resolution: 48 * time.Hour},
		"a number of Prior is negative":             {Prior: &burst.Prior{Mean: burst.PerWindow{-1}}},
		`the prior of role "x" is negative or no`:   {Priors: map[string]burst.Prior{"x": {HighWater: burst.PerWindow{math.NaN()}}}},
		"a number of Thresholds.Ratio is 0.5":       with(func(t *burst.Thresholds) { t.Ratio[2] = 0.5 }),
		"Thresholds.Gate is 3: give a number up to": with(func(t *burst.Thresholds) { t.Gate = 3 }),
		"Thresholds.Tail is 1: give a negative":     with(func(t *burst.Thresholds) { t.Tail = 1 }),
		"Thresholds.Least is 0: give a number":      with(func(t *burst.Thresholds) { t.Least = 0 }),
	} {
		if _, err := burst.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v", want, err)
		}
	}
}
