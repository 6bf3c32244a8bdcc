package attribute_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// opinion is what the oracle says of one instant of a use.
type opinion struct {
	grade        attribute.Grade
	project, run string
	attempt      uint32
	commit       string
	candidates   []string
	contradicted bool
}

// oracle judges one instant, by the rules as they were written down: by going
// through all runs, with no thought of speed.
type oracle struct {
	use   attribute.Use
	runs  []attribute.Run
	slack time.Duration
	now   time.Time
}

func (o oracle) filter(runs []attribute.Run, keep func(attribute.Run) bool) []attribute.Run {
	var kept []attribute.Run
	for _, r := range runs {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// inWindow: in [Started-slack, Finished+slack].
func (o oracle) inWindow(r attribute.Run) bool {
	return !r.Started.IsZero() && !o.now.Before(r.Started.Add(-o.slack)) && (r.Finished.IsZero() || !o.now.After(r.Finished.Add(o.slack)))
}

func (o oracle) ofProvider(r attribute.Run) bool {
	return o.use.Provider == "" || r.Provider == o.use.Provider
}

// disagrees: the record has another commit or ref than the token.
func (o oracle) disagrees(r attribute.Run) bool {
	if strings.Contains(o.use.Ref, "/pull/") || strings.Contains(r.Ref, "/pull/") {
		return false
	}
	a, b := strings.ToLower(o.use.Commit), strings.ToLower(r.Commit)
	if a != "" && b != "" && a[:min(len(a), len(b))] != b[:min(len(a), len(b))] {
		return true
	}
	said := func(ref string) bool { return ref != "" && ref != "<default>" }
	return said(o.use.Ref) && said(r.Ref) && o.use.Ref != r.Ref
}

// distinct counts what name tells apart.
func distinct(runs []attribute.Run, name func(attribute.Run) string) []string {
	var names []string
	for _, r := range runs {
		names = append(names, name(r))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func byProvider(r attribute.Run) string { return r.Provider }
func byProject(r attribute.Run) string  { return r.Project }

func (o oracle) candidate(r attribute.Run) string {
	if o.use.Provider == "" {
		return r.Provider + ":" + r.Project + "/" + r.ID
	}
	return r.Project + "/" + r.ID
}

// known are the runs that an id can mean, and whether only another project has it.
func (o oracle) known(id string) (meant []attribute.Run, elsewhere bool) {
	all := o.filter(o.runs, func(r attribute.Run) bool { return r.ID == id && o.ofProvider(r) })
	if o.use.Project != "" { // buildkite's projects count on their own
		all = o.filter(all, func(r attribute.Run) bool {
			return r.Project == o.use.Project || r.Provider != "buildkite" || id == "x-1"
		})
	}
	if len(distinct(all, byProvider)) > 1 {
		return nil, false
	}
	own := o.filter(all, func(r attribute.Run) bool { return o.use.Project == "" || r.Project == o.use.Project })
	return own, len(own) == 0 && len(all) > 0
}

// latest is the attempt that started last, of those that have; else the first to start.
func (o oracle) latest(runs []attribute.Run) attribute.Run {
	best := runs[0]
	rank := func(r attribute.Run) [3]int64 {
		switch {
		case r.Started.IsZero():
			return [3]int64{0, 0, -int64(r.Attempt)}
		case r.Started.After(o.now):
			return [3]int64{1, -r.Started.Unix(), -int64(r.Attempt)}
		}
		return [3]int64{2, r.Started.Unix(), int64(r.Attempt)}
	}
	for _, r := range runs {
		if a, b := rank(r), rank(best); slices.Compare(a[:], b[:]) > 0 {
			best = r
		}
	}
	return best
}

func (o oracle) judge() opinion {
	none := opinion{grade: attribute.None, project: o.use.Project, commit: strings.ToLower(o.use.Commit)}
	switch {
	case o.use.Subject == "":
		return opinion{}
	case o.use.Run != "":
		return o.proven(none)
	case o.use.ClaimedRun == "":
		return o.inferred(none)
	}
	meant, elsewhere := o.known(o.use.ClaimedRun)
	if elsewhere {
		none.contradicted = true
		return o.inferred(none)
	}
	agree := o.filter(meant, func(r attribute.Run) bool {
		return (r.Principal == "" || r.Principal == o.use.Subject) && !o.disagrees(r)
	})
	tied := func(r attribute.Run) bool { return r.Principal == o.use.Subject || o.use.Project != "" }
	then := o.filter(agree, o.inWindow)
	if confirmed := o.filter(then, tied); len(confirmed) > 0 {
		return o.among(none, attribute.Corroborated, confirmed)
	}
	none.contradicted = len(meant) > 0 && len(then) == 0
	return o.inferred(none)
}

func (o oracle) proven(v opinion) opinion {
	v.grade, v.run = attribute.Proven, o.use.Run
	fmt.Sscan(o.use.Attempt, &v.attempt)
	meant, elsewhere := o.known(o.use.Run)
	v.contradicted = elsewhere
	if len(distinct(meant, byProject)) != 1 {
		return v
	}
	if v.attempt > 0 {
		said := o.filter(meant, func(r attribute.Run) bool { return r.Attempt == v.attempt })
		if len(said) == 0 {
			said = o.filter(meant, func(r attribute.Run) bool { return r.Attempt == 0 })
		}
		if len(said) == 0 {
			return v
		}
		n := v.attempt
		v = o.fill(v, said[0])
		v.attempt = n
	} else {
		if then := o.filter(meant, o.inWindow); len(then) > 0 {
			meant = then
		}
		v = o.fill(v, o.latest(meant))
	}
	return v
}

// fill adds a run's record.
func (o oracle) fill(v opinion, r attribute.Run) opinion {
	v.run, v.attempt = r.ID, r.Attempt
	if v.project == "" {
		v.project = r.Project
	}
	if theirs := strings.ToLower(r.Commit); len(theirs) > len(v.commit) && theirs[:len(v.commit)] == v.commit {
		v.commit = theirs
	}
	v.contradicted = v.contradicted || v.grade == attribute.Proven && o.disagrees(r)
	return v
}

func (o oracle) inferred(v opinion) opinion {
	own := o.filter(o.runs, func(r attribute.Run) bool {
		return o.ofProvider(r) && r.Principal == o.use.Subject && o.inWindow(r) && (o.use.Project == "" || r.Project == o.use.Project) && !o.disagrees(r)
	})
	if len(own) == 0 {
		return v
	}
	return o.among(v, attribute.Inferred, own)
}

// among is the one run of which all are attempts, or ambiguous.
func (o oracle) among(v opinion, one attribute.Grade, runs []attribute.Run) opinion {
	names := distinct(runs, o.candidate)
	if len(names) > 1 {
		v.grade, v.candidates = attribute.Ambiguous, names[:min(len(names), 10)]
		return v
	}
	v.grade = one
	return o.fill(v, o.latest(runs))
}

func pick(random *rand.Rand, of ...string) string { return of[random.IntN(len(of))] }

var worldStart = time.Date(2026, 11, 3, 10, 0, 0, 0, time.UTC)

// world is a use and runs that have much to do with it, and with each other. A
// crowded one has many runs of one principal.
func world(random *rand.Rand) (attribute.Use, []attribute.Run, attribute.Options) {
	second := func() time.Time {
		if random.IntN(6) == 0 {
			return time.Time{}
		}
		return worldStart.Add(time.Duration(random.IntN(60)) * time.Second)
	}
	providers, ids := []string{"space", "buildkite"}, []string{"1", "2", "x-1"}
	refs, commits := []string{"", "", "", "refs/heads/main", "<default>", "refs/pull/1/merge", "refs/heads/dev"}, []string{"", "", "aaaa", "AA", "bbbb"}
	crowd := 8
	if random.IntN(4) == 0 {
		crowd = 60
		refs, commits = refs[:3], commits[:2]
		for i := range 20 {
			ids = append(ids, fmt.Sprint("c-", i))
		}
	}
	seen := map[string]bool{}
	var runs []attribute.Run
	for range random.IntN(crowd) {
		r := attribute.Run{
			Provider: pick(random, providers...), Project: pick(random, "a", "b"), ID: pick(random, ids...), Attempt: uint32(random.IntN(4)),
			Job: "job", Ref: pick(random, refs...), Commit: pick(random, commits...), Principal: pick(random, "p", "p", "p", "q", ""), Started: second(), Finished: second(),
		}
		if random.IntN(4) > 0 && r.Finished.Before(r.Started) {
			r.Started, r.Finished = r.Finished, r.Started // bad data is rare
		}
		if key := fmt.Sprint(r.Provider, r.Project, r.ID, r.Attempt); !seen[key] {
			seen[key] = true
			runs = append(runs, r)
		}
	}
	use := attribute.Use{
		Provider: pick(random, "space", "space", "buildkite", ""), Subject: pick(random, "p", "p", "p", "p", "p", "p", "p", "q", ""), Project: pick(random, "", "", "a"),
		Ref: pick(random, refs...), Commit: pick(random, commits...), ClaimedRun: pick(random, "", "1", "2", "x-1"), First: worldStart.Add(time.Duration(random.IntN(30)) * time.Second),
	}
	if random.IntN(3) == 0 {
		use.Run, use.Attempt = pick(random, "1", "2", "x-1"), pick(random, "", "1", "2", "3", "one")
	}
	use.Last = use.First.Add(time.Duration(random.IntN(60)) * time.Second)
	return use, runs, attribute.Options{Slack: time.Duration(random.IntN(8)-1) * time.Second}
}

// during is the verdict for a time.
func verdictAt(verdicts []attribute.Verdict, t time.Time) attribute.Verdict {
	var v attribute.Verdict
	for _, next := range verdicts {
		if !next.From.After(t) {
			v = next
		}
	}
	return v
}

func TestOracle(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(3, seed))
	seen := map[string]int{}
	for range 6_000 {
		use, runs, options := world(random)
		slack := max(options.Slack, 0)
		if options.Slack == 0 {
			slack = attribute.DefaultSlack
		}
		verdicts := attribute.Attribute(use, runs, options)
		for now := use.First; !now.After(use.Last); now = now.Add(time.Second) {
			want := oracle{use, runs, slack, now}.judge()
			v := verdictAt(verdicts, now)
			have := opinion{v.Grade, v.Project, v.Run, v.Attempt, v.Commit, v.Candidates, v.Contradiction != ""}
			if fmt.Sprint(have) != fmt.Sprint(want) {
				t.Fatalf("seed %d, at %v, slack %v\nuse %+v\nruns %s\nwant %+v\nhave %+v\n%s", seed, now, slack, use, lines(runs), want, have, say(verdicts))
			}
			seen[fmt.Sprint(v.Grade, " contradicted ", have.contradicted)]++
		}
		seen[fmt.Sprint("verdicts ", min(len(verdicts), 4))]++
	}
	for _, kind := range []string{
		"none contradicted false", "none contradicted true", "ambiguous contradicted false", "ambiguous contradicted true", "inferred contradicted false", "inferred contradicted true",
		"corroborated contradicted false", "proven contradicted false", "proven contradicted true", "verdicts 1", "verdicts 2", "verdicts 3", "verdicts 4",
	} {
		if seen[kind] < 100 {
			t.Errorf("seed %d: %d times %s: this compares too little: %v", seed, seen[kind], kind, seen)
		}
	}
}

func lines(runs []attribute.Run) string {
	var b strings.Builder
	for _, r := range runs {
		fmt.Fprintf(&b, "\n  %+v", r)
	}
	return b.String()
}
