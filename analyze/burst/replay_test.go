package burst_test

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

// history is some days of four keys, with a burst now and then.
func history(random *rand.Rand, days int64) (rows []burst.Row) {
	for at := int64(monday); at < monday+days*day; at += random.Int64N(20) {
		n := random.Uint32N(8)
		if random.IntN(1_000) == 0 {
			n = 5_000
		}
		rows = append(rows, burst.Row{Time: time.Unix(at-random.Int64N(9), 0), Key: string(rune('a' + random.IntN(4))), Count: n})
	}
	return rows
}

type said struct {
	verdicts []burst.Verdict
	score    float64
}

func replay(t *testing.T, rows []burst.Row, o burst.Options) (all []said) {
	t.Helper()
	r, err := burst.NewReplay(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		verdicts, score := r.Row(row)
		if !(score >= 0 && score <= 1) {
			t.Fatalf("score %v", score)
		}
		all = append(all, said{verdicts, score})
	}
	return all
}

// TestReplayPast: what is said at a row is what is said when the history ends there.
func TestReplayPast(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 1))
	for range 2 {
		rows := history(random, 3)
		whole := replay(t, rows, burst.Options{})
		starts := 0
		for i, s := range whole {
			if len(s.verdicts) > 0 {
				starts++
			}
			// Each part costs a replay.
			if random.IntN(3) > 0 || len(s.verdicts) == 0 && random.IntN(2_000) > 0 {
				continue
			}
			if part := replay(t, rows[:i+1], burst.Options{}); !reflect.DeepEqual(part, whole[:i+1]) {
				t.Fatalf("with %d rows it says something else than with %d", i+1, len(rows))
			}
		}
		if starts < 5 {
			t.Fatalf("only %d verdicts: nothing was shown", starts)
		}
	}
}

// TestReplayScore: a start has a score of 1/2 at least, what is usual less; more is
// higher.
func TestReplayScore(t *testing.T) {
	r, err := burst.NewReplay(burst.Options{})
	if err != nil {
		t.Fatal(err)
	}
	row := func(at int64, n uint32) ([]burst.Verdict, float64) {
		return r.Row(burst.Row{Time: time.Unix(at, 0), Key: "k", Count: n})
	}
	for at := int64(monday); at < monday+14*day; at += 60 {
		if v, score := row(at, 20); v != nil || score >= 0.5 {
			t.Fatalf("usual: score %v\n%s", score, say(v))
		}
	}
	last := 0.0
	started := false
	for i := range int64(60) {
		v, score := row(monday+14*day+i, 20)
		started = started || len(v) > 0
		if started && score < 0.5 || score < last {
			t.Fatalf("in second %d of a burst: score %v after %v", i, score, last)
		}
		last = score
	}
	if !started || last < 0.8 {
		t.Errorf("a burst: started %v, score %v", started, last)
	}
	if score := r.Detector().Score("nobody"); score != 0 {
		t.Errorf("a key that is not known scores %v", score)
	}
}

// TestReplayOthers: a key's end is told by another key's row.
func TestReplayOthers(t *testing.T) {
	r, err := burst.NewReplay(burst.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []burst.Verdict
	for i := range int64(400) {
		row := burst.Row{Time: time.Unix(monday+i, 0), Key: "storm", Count: 1_000}
		if i >= 30 {
			row.Key, row.Count = "other", 1
		}
		v, _ := r.Row(row)
		verdicts = append(verdicts, v...)
	}
	last := verdicts[len(verdicts)-1]
	if last.Kind != burst.End || last.Key != "storm" || last.At.Unix() > monday+30+120 {
		t.Errorf("have\n%s", say(verdicts))
	}
}

// TestReplaySteps: rows may stand for a minute or an hour each; windows that are
// shorter are not spoken of.
func TestReplaySteps(t *testing.T) {
	for _, step := range []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, time.Hour} {
		random := rand.New(rand.NewPCG(10, uint64(step)))
		var rows []burst.Row
		start := time.Unix(monday, 0)
		for at := start; at.Before(start.AddDate(0, 0, 14)); at = at.Add(step) {
			rows = append(rows, burst.Row{Time: at, Key: "k", Count: 8 + random.Uint32N(5)})
		}
		rows = append(rows, burst.Row{Time: start.AddDate(0, 0, 14), Key: "k", Count: 100})
		all := replay(t, rows, burst.Options{Resolution: step})
		for i, s := range all[:len(all)-1] {
			if s.verdicts != nil {
				t.Fatalf("step %s, row %d is usual, but\n%s", step, i, say(s.verdicts))
			}
		}
		v := all[len(all)-1].verdicts
		if len(v) != 1 || v[0].Kind != burst.Start || v[0].Window < step {
			t.Errorf("step %s: ten times the usual:\n%s", step, say(v))
		}
	}
}

// TestReplayPhase: at whichever second of ten or five the rows of a history are, the
// same counts are the usual ones.
func TestReplayPhase(t *testing.T) {
	for _, step := range []int64{5, 10} {
		var least, most uint32
		for phase := range int64(10) {
			random := rand.New(rand.NewPCG(11, 1))
			var rows []burst.Row
			end := monday + 8*day + phase
			for at := monday + phase; at < end; at += step {
				rows = append(rows, burst.Row{Time: time.Unix(at, 0), Key: "k", Count: 100 + random.Uint32N(100)})
			}
			rows = append(rows, burst.Row{Time: time.Unix(end, 0), Key: "k", Count: 2_000})
			all := replay(t, rows, burst.Options{Resolution: time.Duration(step) * time.Second})
			v := all[len(all)-1].verdicts
			if len(v) != 1 || v[0].Kind != burst.Start {
				t.Fatalf("step %d, at %d: %s", step, phase, say(v))
			}
			if phase == 0 {
				least = v[0].Expected
			}
			least, most = min(least, v[0].Expected), max(most, v[0].Expected)
		}
		if least < 200 || float64(most) > 1.05*float64(least) {
			t.Errorf("rows of %d s: from %d to %d are expected, by the second of ten that they are at", step, least, most)
		}
	}
}
