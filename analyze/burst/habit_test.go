package burst_test

import (
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/analyze/burst"
)

// life is a key's days: twenty requests a minute or so, and bursts.
type life struct {
	d      *burst.Detector
	random *rand.Rand
	told   []burst.Verdict // starts
}

func newLife(t *testing.T, seed uint64) *life {
	l := &life{d: detector(t, burst.Options{}), random: rand.New(rand.NewPCG(33, seed))}
	for today := range int64(14) {
		l.day(today, nil)
	}
	if len(l.told) > 0 {
		t.Fatalf("told of the usual:\n%s", say(l.told))
	}
	return l
}

// tenfold is ten times what a life has in 10 s at most, a second.
const tenfold = 20

// job is a burst at a second of a day, so many seconds long, of n requests a second.
type job struct{ at, lasts, n int64 }

// day lives one day, and returns how many bursts were told.
func (l *life) day(today int64, jobs []job) int {
	from, before := int64(monday)+today*day, len(l.told)
	step := func(at int64, n uint32) {
		for _, v := range slices.Concat(l.d.Advance(at-1), l.d.Step("k", at, n)) {
			if v.Kind == burst.Start {
				l.told = append(l.told, v)
			}
		}
	}
	slices.SortFunc(jobs, func(a, b job) int { return int(a.at - b.at) })
	for at := from; at < from+day; at += 30 {
		step(at, 5+l.random.Uint32N(11))
		for _, j := range jobs {
			for s := max(at, from+j.at); s < min(at+30, from+j.at+j.lasts); s++ {
				step(s, uint32(j.n))
			}
		}
	}
	return len(l.told) - before
}

// nightly is a job at two o'clock, give or take some minutes and a tenth.
func (l *life) nightly(n int64) job {
	return job{2*hour + l.random.Int64N(900), 120, n*9/10 + l.random.Int64N(n/5+1)}
}

// TestNightly: what comes every night at the same time is told three times, whatever its
// size, and again when it doubles or comes at another hour; the rest of the day is
// judged as ever.
func TestNightly(t *testing.T) {
	for _, n := range []int64{tenfold / 2, tenfold, 50 * tenfold} {
		l := newLife(t, uint64(n))
		for night := range int64(30) {
			want := 0
			if night < 3 {
				want = 1
			}
			if have := l.day(14+night, []job{l.nightly(n)}); have != want {
				t.Fatalf("%d a second, night %d: told %d times, want %d:\n%s", n, night+1, have, want, say(l.told))
			}
		}
		words := []string{"", "; the second one in a row at this time of day", "; the third one in a row at this time of day, and the last that is told if it stays like that"}
		for i, v := range l.told {
			if why := v.Why(); !strings.HasSuffix(why, words[i]) || v.Before != uint8(i) {
				t.Errorf("night %d: %s", i+1, why)
			}
		}
		if l.d.Stats().Habitual == 0 {
			t.Error("nothing was expected")
		}
		if l.day(44, []job{{14 * hour, 120, n}}) != 1 {
			t.Errorf("%d a second at noon is not told after thirty such nights", n)
		}
		if l.day(45, []job{l.nightly(2 * n)}) != 1 || !strings.Contains(l.told[len(l.told)-1].Why(), " at this time of day are usual") {
			t.Errorf("twice as much at night is not told, or not why:\n%s", say(l.told[len(l.told)-1:]))
		}
		if l.day(46, []job{l.nightly(n)}) != 0 {
			t.Error("one large night, and the usual one is told again")
		}
	}
}

// TestDoubled: a job that becomes larger for good is told three times more; one that
// grows a little each night is told again too, before it is twice what was told.
func TestDoubled(t *testing.T) {
	l := newLife(t, 1)
	for night, want := range []int{1, 1, 1, 0, 0, 1, 1, 1, 0, 0} {
		n := int64(tenfold)
		if night >= 5 {
			n *= 2
		}
		if have := l.day(14+int64(night), []job{l.nightly(n)}); have != want {
			t.Fatalf("night %d: told %d times, want %d", night+1, have, want)
		}
	}
	l = newLife(t, 2)
	size, told := 100.0, 100.0 // of the last that was told
	for night := range int64(30) {
		if l.day(14+night, []job{{2 * hour, 120, int64(size)}}) > 0 {
			told = size
		}
		if size >= 2*told {
			t.Fatalf("night %d: %v a second are not told, and what was is %v", night+1, size, told)
		}
		size *= 1.1
	}
	if told == 100 {
		t.Error("it was never told again")
	}
}

// TestPeriods: jobs of certain weekdays are told three times as well, one that lasts for
// hours with them; one with gaps is not when it comes back; after two months it is new.
func TestPeriods(t *testing.T) {
	for _, c := range []struct {
		name string
		days func(day int64) bool
		long int64
		want []int64 // the days on which it is told
	}{
		{"weekly", func(day int64) bool { return day%7 == 3 }, 120, []int64{3, 10, 17}},
		{"every 30 days", func(day int64) bool { return day%30 == 3 }, 120, []int64{3, 33, 63}},
		{"from Monday to Friday", func(day int64) bool { return day%7 < 5 }, 120, []int64{0, 1, 2}},
		{"the same, from a Thursday on", func(day int64) bool { return day%7 < 5 && day >= 3 }, 120, []int64{3, 4, 7, 8, 9}},
		{"two hours long", func(day int64) bool { return day < 20 }, 2 * hour, []int64{0, 1, 2}},
		{"with a month's rest", func(day int64) bool { return day < 5 || day > 35 }, 120, []int64{0, 1, 2}},
		{"with two months' rest", func(day int64) bool { return day < 5 || day > 65 && day < 72 }, 120, []int64{0, 1, 2, 66, 67, 68}},
	} {
		l := newLife(t, 3)
		var have []int64
		for today := range int64(100) {
			var jobs []job
			if c.days(today) {
				jobs = []job{{2*hour + l.random.Int64N(900), c.long, tenfold}}
			}
			if l.day(14+today, jobs) > 0 {
				have = append(have, today)
			}
		}
		if !slices.Equal(have, c.want) {
			t.Errorf("%s: told on the days %v, want %v", c.name, have, c.want)
		}
	}
}

// TestTwoHabits: two jobs a night are two habits, and an attack that comes between them
// at any hour takes neither's place.
func TestTwoHabits(t *testing.T) {
	l := newLife(t, 4)
	for night := range int64(12) {
		jobs, want := []job{{2 * hour, 120, tenfold}, {5 * hour, 120, 3 * tenfold}}, 0
		if night < 3 {
			want = 2
		}
		if night%2 == 1 {
			jobs = append(jobs, job{8*hour + night*4_000, 120, 2 * tenfold})
			want++
		}
		if have := l.day(14+night, jobs); have != want {
			t.Errorf("night %d: told %d times, want %d:\n%s", night+1, have, want, say(l.told))
		}
	}
}

// TestUnpunctual: an attack a day at any hour is told each day for a month, or nearly:
// to be missed it has to come at the hour of the day before twice in a row, and there
// once more.
func TestUnpunctual(t *testing.T) {
	if raced {
		t.Skip("too slow under the race detector")
	}
	trials, missed := 2**identities, 0
	for seed := range trials {
		l := newLife(t, 100+seed)
		for today := range int64(30) {
			if l.day(14+today, []job{{l.random.Int64N(day - 200), 120, tenfold}}) == 0 {
				missed++
			}
		}
	}
	t.Logf("%d of %d attacks at any hour were not told", missed, 30*trials)
	if float64(missed) > 0.005*float64(30*trials) {
		t.Errorf("%d of %d attacks at any hour were not told", missed, 30*trials)
	}
}

// TestRestoreFormer: a state of version 1 is read as it was, but for habits, and saved as
// one of today.
func TestRestoreFormer(t *testing.T) {
	state, err := os.ReadFile("testdata/version-1.state")
	if err != nil {
		t.Fatal(err)
	}
	o := burst.Options{Role: func(key string) string { return key[:1] }}
	d := restored(t, state, o)
	all := events(rand.New(rand.NewPCG(31, 1)), 2_574) // what it was made of
	same := detector(t, o)
	for _, e := range all {
		e(same)
	}
	have, want := d.Stats(), same.Stats()
	want.Habitual = 0
	if have != want {
		t.Errorf("have %+v, want %+v", have, want)
	}
	// The former version learned its means at other seconds.
	mean := regexp.MustCompile("expected <= [0-9]+")
	if have, want := mean.ReplaceAllString(say(d.Open()), ""), mean.ReplaceAllString(say(same.Open()), ""); have != want || strings.Count(have, "\n") != 1 {
		t.Errorf("goes on:\n%s\nwant\n%s", have, want)
	}
	again := saved(t, restored(t, saved(t, d), o))
	if string(again) != string(saved(t, d)) || again[len("haptrail bursts\n")+1] != 2 {
		t.Error("it is not saved as one of version 2, or not whole")
	}
	if now := storm(d, "p1", monday+400*day, monday+400*day+60, 1<<20); len(now) == 0 {
		t.Error("it finds nothing any more")
	}
}
