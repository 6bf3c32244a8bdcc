package attribute_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// TestIndex: what it finds, against going through all runs.
func TestIndex(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(5, seed))
	matters := 0
	for range 300 {
		_, runs, _ := world(random)
		for range random.IntN(4) {
			_, more, _ := world(random)
			runs = append(runs, more...)
		}
		slices.SortFunc(runs, func(a, b attribute.Run) int { return slices.Compare([]byte(key(a)), []byte(key(b))) })
		runs = slices.CompactFunc(runs, func(a, b attribute.Run) bool { return key(a) == key(b) })
		index := attribute.NewIndex(runs)
		for range 20 {
			use, _, options := world(random)
			use.Project, use.Ref, use.Commit, use.Run = "", "", "", pick(random, "", "", use.Run)
			slack := max(options.Slack, 0)
			if options.Slack == 0 {
				slack = attribute.DefaultSlack
			}
			var want []string
			for _, r := range runs {
				id := use.ClaimedRun
				if use.Run != "" {
					id = use.Run
				}
				named := id != "" && r.ID == id
				going := use.Run == "" && r.Principal == use.Subject && !r.Started.IsZero() && !r.Started.Add(-slack).After(use.Last) &&
					(r.Finished.IsZero() || !r.Finished.Add(slack).Before(use.First))
				if use.Subject != "" && (use.Provider == "" || use.Provider == r.Provider) && (named || going) {
					want = append(want, key(r))
				}
			}
			var have []string
			for _, r := range index.For(use, options.Slack) {
				have = append(have, key(r))
			}
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Fatalf("seed %d: slack %v, use %+v\nruns %s\nwant %q\nhave %q", seed, slack, use, lines(runs), want, have)
			}
			matters += len(want)
		}
	}
	if matters < 10_000 {
		t.Errorf("seed %d: %d runs found: this compares too little", seed, matters)
	}
}

func key(r attribute.Run) string {
	return fmt.Sprintf("%s %s %s %d", r.Provider, r.Project, r.ID, r.Attempt)
}

// month is 100,000 runs of 300 principals in 30 days, of which one in a thousand
// has never been told to be over.
func month() []attribute.Run {
	random := rand.New(rand.NewPCG(6, 6))
	runs := make([]attribute.Run, 100_000)
	for i := range runs {
		n := random.IntN(300)
		started := worldStart.Add(time.Duration(random.Int64N(int64(30 * 24 * time.Hour))))
		runs[i] = attribute.Run{
			Provider: "space", Project: fmt.Sprint("project-", n), ID: fmt.Sprint("execution-", i), Commit: built, Principal: fmt.Sprint("app-", n),
			Started: started, Finished: started.Add(time.Duration(random.Int64N(int64(20 * time.Minute)))),
		}
		if i%1000 == 0 {
			runs[i].Finished = time.Time{}
		}
	}
	return runs
}

// oneOf300 is a use of the month's principals.
func oneOf300(i int) attribute.Use {
	first := worldStart.Add(time.Duration(i%(30*24)) * time.Hour)
	return attribute.Use{Provider: "space", Subject: fmt.Sprint("app-", i%300), ClaimedRun: fmt.Sprint("execution-", i*7919%100_000), First: first, Last: first.Add(10 * time.Minute)}
}

func BenchmarkIndexFor(b *testing.B) {
	runs := month()
	one := slices.Clone(runs)
	for i := range one {
		one[i].Principal = "app-1"
	}
	for name, index := range map[string]*attribute.Index{"300-principals": attribute.NewIndex(runs), "one-principal": attribute.NewIndex(one)} {
		b.Run(name, func(b *testing.B) {
			uses := make([]attribute.Use, 1000)
			for i := range uses {
				uses[i] = oneOf300(i)
				if name == "one-principal" {
					uses[i].Subject = "app-1"
				}
			}
			found, i := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				found += len(index.For(uses[i%len(uses)], 0))
				i++
			}
			b.ReportMetric(float64(found)/float64(b.N), "runs/op")
		})
	}
}

func BenchmarkNewIndex(b *testing.B) {
	runs := month()
	for b.Loop() {
		attribute.NewIndex(runs)
	}
}

// BenchmarkHour is both: the index asked and the use judged, for uses as they come.
func BenchmarkHour(b *testing.B) {
	index := attribute.NewIndex(month())
	uses := make([]attribute.Use, 1000)
	for i := range uses {
		uses[i] = oneOf300(i)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		use := uses[i%len(uses)]
		attribute.Attribute(use, index.For(use, 0), attribute.Options{})
		i++
	}
}

func BenchmarkAttribute(b *testing.B) {
	crowd := make([]attribute.Run, 10_000)
	for i := range crowd {
		crowd[i] = run(fmt.Sprint("r-", i), "10:00", "")
		crowd[i].Started = at("10:00").Add(time.Duration(i) * 300 * time.Millisecond)
		crowd[i].Finished = crowd[i].Started.Add(10 * time.Second)
	}
	for _, row := range []struct {
		name string
		use  attribute.Use
		runs []attribute.Run
	}{
		{"proven", use(signed("github", "shop", "118"), numbered("1")), []attribute.Run{run("118", "10:00", "10:10", of("github", "shop"), attempt(1))}},
		{"proven-unknown", use(signed("github", "shop", "118"), numbered("1")), nil},
		{"corroborated", use(header("2bQ")), []attribute.Run{run("2bQ", "10:00", "10:10")}},
		{"inferred", use(), []attribute.Run{run("2bQ", "10:00", "10:10")}},
		{"ambiguous", use(), []attribute.Run{run("2bQ", "10:00", "10:10"), run("3cR", "10:01", "10:10")}},
		{"none", use(), nil},
		{"10000-runs-in-an-hour", use(during("10:00", "10:59")), crowd},
	} {
		b.Run(row.name, func(b *testing.B) {
			verdicts := 0
			b.ReportAllocs()
			for b.Loop() {
				verdicts = len(attribute.Attribute(row.use, row.runs, attribute.Options{}))
			}
			b.ReportMetric(float64(verdicts), "verdicts")
		})
	}
}
