package attribute_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// TestProperties: verdicts are in order, differ, and begin where a run begins or
// ends to matter; and neither order, nor copies, nor strangers among the runs, nor
// the index make a difference.
func TestProperties(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(4, seed))
	for range 6_000 {
		use, runs, options := world(random)
		want := attribute.Attribute(use, runs, options)
		fail := func(what string, have []attribute.Verdict) {
			t.Helper()
			t.Fatalf("seed %d: %s\nuse %+v\noptions %+v\nruns %s\nwant\n%s\nhave\n%s", seed, what, use, options, lines(runs), say(want), say(have))
		}
		if what := disorder(use, runs, options, want); what != "" {
			fail(what, want)
		}

		found := attribute.NewIndex(runs).For(use, options.Slack)
		if have := attribute.Attribute(use, found, options); !reflect.DeepEqual(have, want) {
			fail("the index leaves out what matters", have)
		}
		if len(found) > len(runs) {
			fail("the index finds a run twice", want)
		}

		more := append(append([]attribute.Run(nil), runs...), strangers(random)...)
		for range random.IntN(4) {
			if len(runs) > 0 {
				more = append(more, runs[random.IntN(len(runs))])
			}
		}
		random.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
		before := append([]attribute.Run(nil), more...)
		if have := attribute.Attribute(use, more, options); !reflect.DeepEqual(have, want) {
			fail("order, copies or strangers matter", have)
		}
		index := attribute.NewIndex(more)
		if !reflect.DeepEqual(before, more) {
			fail("the runs that were given are changed", want)
		}
		if have := index.For(use, options.Slack); !reflect.DeepEqual(have, found) {
			t.Fatalf("seed %d: order, copies or strangers matter to the index\nuse %+v\nwant %s\nhave %s", seed, use, lines(found), lines(have))
		}
	}
}

// strangers are runs that the worlds' uses have nothing to do with.
func strangers(random *rand.Rand) []attribute.Run {
	var runs []attribute.Run
	for i := range random.IntN(5) {
		runs = append(runs, attribute.Run{
			Provider: pick(random, "space", "buildkite", "github"), Project: pick(random, "a", "z"), ID: fmt.Sprint("stranger-", i), Principal: pick(random, "stranger", ""),
			Started: worldStart.Add(time.Duration(random.IntN(60)) * time.Second),
		})
	}
	return runs
}

// disorder says what is wrong with the shape of verdicts, "" if nothing is.
func disorder(use attribute.Use, runs []attribute.Run, o attribute.Options, verdicts []attribute.Verdict) string {
	slack := max(o.Slack, 0)
	if o.Slack == 0 {
		slack = attribute.DefaultSlack
	}
	bounds := map[time.Time]bool{}
	for _, r := range runs {
		bounds[r.Started] = true
		bounds[r.Started.Add(-slack)] = true
		bounds[r.Finished.Add(slack+time.Microsecond)] = true
	}
	for i, v := range verdicts {
		switch {
		case i == 0 && v.From != use.First:
			return "the first is not from use.First on"
		case i > 0 && !v.From.After(verdicts[i-1].From):
			return "not sorted"
		case i > 0 && v.From.After(use.Last):
			return "one is from after the last request"
		case i > 0 && !bounds[v.From]:
			return "one begins where no run begins or ends to matter"
		case v.Why == "":
			return "one has no reason"
		case (v.Grade == attribute.Ambiguous) != (len(v.Candidates) > 1):
			return "the candidates do not fit the grade"
		}
		if i > 0 {
			v.From = verdicts[i-1].From
			if reflect.DeepEqual(v, verdicts[i-1]) {
				return "neighbours say the same"
			}
		}
	}
	if len(verdicts) == 0 {
		return "there is none"
	}
	return ""
}

// TestMerged: records of one attempt that differ come to one, whatever their order.
func TestMerged(t *testing.T) {
	started := run("2bQ", "10:00", "", commit(""), ref(""))
	ended := run("2bQ", "10:01", "10:10", func(r *attribute.Run) { r.Actor, r.Agent, r.Approver = "", "", "" })
	want := attribute.Attribute(use(header("2bQ")), []attribute.Run{run("2bQ", "10:00", "10:10")}, attribute.Options{})
	for _, runs := range [][]attribute.Run{{started, ended}, {ended, started}, {ended, started, ended}} {
		if have := attribute.Attribute(use(header("2bQ")), runs, attribute.Options{}); !reflect.DeepEqual(have, want) {
			t.Errorf("want\n%s\nhave\n%s", say(want), say(have))
		}
		found := attribute.NewIndex(runs).For(use(header("2bQ")), 0)
		if have := attribute.Attribute(use(header("2bQ")), found, attribute.Options{}); len(found) != 1 || !reflect.DeepEqual(have, want) {
			t.Errorf("by the index: want\n%s\nhave %d runs\n%s", say(want), len(found), say(have))
		}
	}
}
