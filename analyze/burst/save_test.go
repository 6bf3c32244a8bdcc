package burst_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

func saved(t testing.TB, d *burst.Detector) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restored(t testing.TB, state []byte, o burst.Options) *burst.Detector {
	t.Helper()
	d, left, err := burst.Restore(bytes.NewReader(state), o)
	if err != nil || left != nil {
		t.Fatalf("%v, left %v", err, say(left))
	}
	return d
}

// event is one thing that a daemon tells a detector.
type event func(d *burst.Detector) []burst.Verdict

// events are some days of everything that a detector can be told.
func events(random *rand.Rand, n int) (all []event) {
	at := int64(monday)
	for range n {
		at += random.Int64N(200)
		if random.IntN(300) == 0 {
			at += random.Int64N(day)
		}
		now, key, count := at, fmt.Sprintf("%c%d", 'p'+rune(random.IntN(3)), random.IntN(9)), random.Uint32N(8)
		if random.IntN(60) == 0 {
			count = 1 << random.IntN(32)
		}
		switch random.IntN(40) {
		default:
			now -= random.Int64N(12)
			all = append(all, func(d *burst.Detector) []burst.Verdict { return d.Step(key, now, count) })
		case 1, 2, 3:
			since := time.Duration(random.IntN(700)) * time.Second
			all = append(all, func(d *burst.Detector) []burst.Verdict { return d.Sample(key, time.Unix(now, 0), since, count) })
		case 4, 5, 6, 7:
			all = append(all, func(d *burst.Detector) []burst.Verdict { return d.Advance(now) })
		case 8:
			until := now + random.Int64N(2*hour)
			all = append(all, func(d *burst.Detector) []burst.Verdict {
				d.Gap(time.Unix(now, 0), time.Unix(until, 0))
				return nil
			})
		case 9:
			factor := []float64{2, 100, math.Inf(1)}[random.IntN(3)]
			all = append(all, func(d *burst.Detector) []burst.Verdict {
				if err := d.Expect(key[:1]+"*", time.Unix(now, 0), time.Unix(now+hour, 0), factor); err != nil {
					panic(err)
				}
				return nil
			})
		}
	}
	return all
}

// TestRestore: cut anywhere, a history has the same verdicts, and ends in the same
// state, byte for byte.
func TestRestore(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 1))
	starts, open := 0, 0
	histories, least := 60, 20
	if raced {
		histories, least = 9, 3
	}
	for i := range histories {
		o := burst.Options{MaxKeys: 5 + random.IntN(40), Words: burst.Words{Where: "at work"}}
		if i%3 > 0 {
			o.Role = func(key string) string { return key[:1] }
		}
		all := events(random, 3_000)
		whole := detector(t, o)
		cut := random.IntN(len(all))
		for n, e := range all {
			// Half of the cuts are in a burst.
			if v := e(whole); n >= cut && (i%2 == 0 || len(v) > 0 && v[len(v)-1].Kind != burst.End) {
				cut = n + 1
				break
			}
		}
		state := saved(t, whole)
		part := restored(t, state, o)
		if again := saved(t, part); !bytes.Equal(again, state) {
			t.Fatalf("history %d: a restored state is saved in other words", i)
		}
		open += len(part.Open())
		for n, e := range all[cut:] {
			want, have := e(whole), e(part)
			if !reflect.DeepEqual(want, have) {
				t.Fatalf("history %d: %d after the cut at %d: want\n%s\nhave\n%s", i, n, cut, say(want), say(have))
			}
			starts += len(want)
		}
		if !bytes.Equal(saved(t, whole), saved(t, part)) || !reflect.DeepEqual(whole.Stats(), part.Stats()) {
			t.Fatalf("history %d: another state in the end", i)
		}
	}
	if starts < 10*least || open < least {
		t.Errorf("only %d verdicts after cuts and %d bursts at them: nothing was shown", starts, open)
	}
}

// TestRestoreFewer: with less room the least recently active leave, their bursts end,
// and the others are judged as they would have been.
func TestRestoreFewer(t *testing.T) {
	d := detector(t, burst.Options{})
	now := int64(monday + 14*day)
	names := "abcdef"
	for i, name := range names {
		live(t, d, string(name), monday, now+int64(i), 600, 20)
	}
	var open []string
	for _, name := range "ace" {
		if v := storm(d, string(name), now+10, now+40, 40); len(v) == 0 {
			t.Fatal("no burst")
		}
		open = append(open, string(name))
	}
	storm(d, "f", now+41, now+42, 1)
	// Of b, d, a, c, e, f the latter three stay.
	have, left, err := burst.Restore(bytes.NewReader(saved(t, d)), burst.Options{MaxKeys: 3})
	if err != nil || len(left) != 1 || left[0].Key != "a" || left[0].Kind != burst.End || !left[0].Forgotten {
		t.Fatalf("want the end of %s's, have\n%s, %v", open[0], say(left), err)
	}
	if s := have.Stats(); s.Keys != 3 || s.Evicted != 3 || s.Open != 2 {
		t.Errorf("have %+v", s)
	}
	for _, name := range "cef" {
		want, have := storm(d, string(name), now+50, now+400, 90), storm(have, string(name), now+50, now+400, 90)
		if len(want) == 0 || !reflect.DeepEqual(want, have) {
			t.Errorf("%c: want\n%s\nhave\n%s", name, say(want), say(have))
		}
	}
}

// TestRestoreOther: thresholds and the prior count as they are now.
func TestRestoreOther(t *testing.T) {
	d := detector(t, burst.Options{})
	now := int64(monday + 14*day)
	live(t, d, "old", monday, now, 60, 20)
	live(t, d, "new", now-60, now, 60, 1)
	state := saved(t, d)
	high := burst.DefaultThresholds()
	high.Ratio, high.Tail = burst.PerWindow{9000, 9000, 9000, 9000}, -1e6
	if v := storm(restored(t, state, burst.Options{}), "old", now, now+60, 40); len(v) == 0 {
		t.Error("no burst with the same thresholds")
	}
	if v := storm(restored(t, state, burst.Options{Thresholds: high}), "old", now, now+60, 40); v != nil {
		t.Errorf("with higher ones:\n%s", say(v))
	}
	if v := storm(restored(t, state, burst.Options{}), "new", now, now+10, 10); v != nil {
		t.Errorf("by the prior that it had:\n%s", say(v))
	}
	if v := storm(restored(t, state, burst.Options{Prior: &burst.Prior{}}), "new", now, now+10, 10); len(v) == 0 {
		t.Error("no burst by a lower prior")
	}
	role := func(string) string { return "r" }
	low := map[string]burst.Prior{"r": {Keys: 7}}
	have := restored(t, state, burst.Options{Role: role, Priors: low})
	if v := storm(have, "newer", now, now+10, 10); len(v) == 0 || v[0].Peers != 7 {
		t.Errorf("of a role that the state does not know:\n%s", say(v))
	}
}

// TestOpen: what goes on, as an update would tell it, before and after a restart.
func TestOpen(t *testing.T) {
	d := detector(t, burst.Options{})
	if v := d.Open(); len(v) != 0 {
		t.Errorf("nothing goes on, have\n%s", say(v))
	}
	var last burst.Verdict
	for _, key := range []string{"b", "a"} {
		verdicts := storm(d, key, monday, monday+30, 1_000)
		last = verdicts[len(verdicts)-1]
	}
	for _, d := range []*burst.Detector{d, restored(t, saved(t, d), burst.Options{})} {
		open := d.Open()
		if len(open) != 2 || open[0].Key != "a" || open[1].Key != "b" {
			t.Fatalf("want a's and b's, have\n%s", say(open))
		}
		v := open[0]
		if v.Kind != burst.Update || v.Began != last.Began || v.At.Unix() != monday+29 || v.Total != 30_000 || v.Count < last.Count || v.Severity != last.Severity {
			t.Errorf("have %+v", v)
		}
	}
	d.Advance(monday + 2_000)
	if v := d.Open(); len(v) != 0 {
		t.Errorf("all are over, have\n%s", say(v))
	}
}

// TestRestoreFaults: whatever happened to a file, it is refused, and the words say
// what to do.
func TestRestoreFaults(t *testing.T) {
	d := detector(t, burst.Options{Role: func(key string) string { return key[:1] }})
	for _, e := range events(rand.New(rand.NewPCG(22, 1)), 2_000) {
		e(d)
	}
	state := saved(t, d)
	refused := func(what string, state []byte, want string) {
		t.Helper()
		_, _, err := burst.Restore(bytes.NewReader(state), burst.Options{})
		if !errors.Is(err, burst.ErrState) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "learns again from the samples") {
			t.Fatalf("%s: want %q, have %v", what, want, err)
		}
	}
	for n := range state {
		refused(fmt.Sprintf("the first %d of %d bytes", n, len(state)), state[:n], "cut off")
	}
	for i := range state {
		wrong := bytes.Clone(state)
		wrong[i] ^= 1 << (i % 8)
		refused(fmt.Sprintf("a bit of byte %d", i), wrong, "")
	}
	refused("another file", []byte("time,key,count\n1767571200,deploy,20\n"), "it is something else")
	later := bytes.Clone(state)
	later[len("haptrail bursts\n")+1] = 9
	refused("a later version", later, "of version 9, and versions 1 to 2 are known")
	refused("two in a row", append(bytes.Clone(state), state...), "there is more after its end")

	broken := errors.New("the disk")
	if _, _, err := burst.Restore(iotest.ErrReader(broken), burst.Options{}); !errors.Is(err, broken) || errors.Is(err, burst.ErrState) {
		t.Errorf("a disk that fails: %v", err)
	}
	if _, _, err := burst.Restore(bytes.NewReader(state), burst.Options{MaxKeys: -1}); err == nil || errors.Is(err, burst.ErrState) {
		t.Errorf("an option that is wrong: %v", err)
	}
	for room := range 12 {
		if err := d.Save(&small{room: room * len(state) / 12}); !errors.Is(err, errFull) {
			t.Errorf("no room after %d twelfths: %v", room, err)
		}
	}
}

var errFull = errors.New("no space left")

// small is a disk that becomes full.
type small struct{ room int }

func (s *small) Write(b []byte) (int, error) {
	if s.room -= len(b); s.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// BenchmarkSave is saving and restoring 100,000 keys, each with its last requests
// still among its counts.
func BenchmarkSave(b *testing.B) {
	const keys = 100_000
	d, err := burst.New(burst.Options{MaxKeys: keys})
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for at := int64(monday); at < monday+hour; at += 150 {
		for i := range keys {
			d.Step(fmt.Sprintf("project/job-%06d", i), at, random.Uint32N(4))
		}
	}
	state := saved(b, d)
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			saved(b, d)
		}
		b.ReportMetric(float64(len(state))/keys, "B/key")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			restored(b, state, burst.Options{MaxKeys: keys})
		}
	})
	b.Run("restore-recalibrated", func(b *testing.B) {
		th := burst.DefaultThresholds()
		th.Tail--
		for b.Loop() {
			restored(b, state, burst.Options{MaxKeys: keys, Thresholds: th})
		}
	})
}
