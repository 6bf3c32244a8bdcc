package judge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// world is a store with requests of the last hours.
type world struct {
	*testing.T
	store *schema.Store
	now   time.Time // to the full hour
}

func newWorld(t *testing.T) *world {
	return &world{t, schematest.Open(t), time.Now().UTC().Truncate(time.Hour)}
}

// minute is a time, minutes after the full hour before this one.
func (w *world) minute(m int) time.Time { return w.now.Add(time.Duration(m-60) * time.Minute) }

// request is one of the log, with what its test is about.
type request struct {
	minute                                                                int
	provider, subject, token, project, run, claimed, method, path, client string
}

func (w *world) requests(rows ...request) {
	w.Helper()
	b := schema.NewRequestBlock()
	for _, r := range rows {
		appendRequest(b, w.minute(r.minute), r)
	}
	if err := w.store.InsertRequests(w.Context(), b, schema.NewBlockID()); err != nil {
		w.Fatal(err)
	}
}

func (w *world) runs(rows ...schema.Run) {
	w.Helper()
	if err := w.store.InsertRuns(w.Context(), rows); err != nil {
		w.Fatal(err)
	}
}

func (w *world) pass(j *Judge) int {
	w.Helper()
	n, err := j.Pass(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// trail is "grade run" of each path, with the revision where it is not the first.
func (w *world) trail() map[string]string {
	w.Helper()
	have := map[string]string{}
	err := w.store.Trail(w.Context(), schema.TrailQuery{Until: farFuture}, func(r *schema.TrailRow) error {
		have[r.Path] = strings.TrimSpace(r.Grade + " " + r.Run)
		if r.Revision > 1 {
			have[r.Path] += fmt.Sprintf(" (%d, was %s)", r.Revision, r.Was)
		}
		if r.Revision == 0 && r.Identity != "" {
			have[r.Path] += " unjudged"
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return have
}

func (w *world) expect(want map[string]string) {
	w.Helper()
	have := w.trail()
	for path, text := range want {
		if have[path] != text {
			w.Errorf("%s: %q, want %q", path, have[path], text)
		}
	}
	if len(have) != len(want) {
		w.Errorf("%d paths, want %d: %v", len(have), len(want), have)
	}
}

func TestARunToldLateIsTiedToItsRequests(t *testing.T) {
	w := newWorld(t)
	j := &Judge{Store: w.store}
	w.requests(
		request{minute: 10, provider: "space", subject: "docs-sa", path: "/docs"},
		request{minute: 10, provider: "space", subject: "shop-sa", claimed: "r1", path: "/shop"},
		request{minute: 10, provider: "teamcity", subject: "bt7", run: "48214", path: "/signed"},
		request{minute: 10, provider: "space", subject: "idle-sa", path: "/idle"},
		request{minute: 10, path: "/nobody"},
	)
	if n := w.pass(j); n != 4 {
		t.Errorf("%d verdicts, want 4", n)
	}
	w.expect(map[string]string{"/docs": "none", "/shop": "none", "/signed": "proven 48214", "/idle": "none", "/nobody": "none"})
	w.runs(
		schema.Run{Provider: "space", Project: "docs", Run: "d1", Principal: "docs-sa", StartedAt: w.minute(5), Said: w.minute(5)},
		schema.Run{Provider: "space", Project: "shop", Run: "r1", Principal: "shop-sa", StartedAt: w.minute(5), FinishedAt: w.minute(20), Said: w.minute(20)},
	)
	if n := w.pass(j); n != 2 {
		t.Errorf("%d verdicts changed, want 2", n)
	}
	want := map[string]string{
		"/docs": "inferred d1 (2, was none)", "/shop": "corroborated r1 (2, was none)", "/signed": "proven 48214", "/idle": "none", "/nobody": "none",
	}
	w.expect(want)
	for _, again := range []*Judge{j, {Store: w.store}} { // also after a restart
		if n := w.pass(again); n != 0 {
			t.Errorf("%d verdicts changed although nothing is new", n)
		}
	}
	var told uint64
	if err := w.store.Conn().QueryRow(t.Context(), "SELECT count() FROM reattributions WHERE was = 'none' AND verdict IN ('inferred d1', 'corroborated r1')").Scan(&told); err != nil || told != 2 {
		t.Errorf("%d changes are told, want 2 (%v)", told, err)
	}
	// More requests of the same callers: the same verdict, no new revision.
	w.requests(request{minute: 12, provider: "space", subject: "docs-sa", path: "/docs/2"})
	if n := w.pass(j); n != 0 {
		t.Errorf("%d verdicts changed by more of the same", n)
	}
	want["/docs/2"] = want["/docs"]
	w.expect(want)
}

func TestWhatIsTooOldIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	j := &Judge{Store: w.store, LookBack: 24 * time.Hour}
	old := -10 * 24 * 60
	w.requests(request{minute: old, provider: "space", subject: "sa", path: "/old"}, request{minute: 0, provider: "space", subject: "sa", path: "/new"})
	w.pass(j)
	w.runs(
		schema.Run{Provider: "space", Project: "p", Run: "then", Principal: "sa", StartedAt: w.minute(old - 5), FinishedAt: w.minute(old + 5)},
		schema.Run{Provider: "space", Project: "p", Run: "now", Principal: "sa", StartedAt: w.minute(-5), FinishedAt: w.minute(5)},
	)
	j.reached.Stored = time.Now().Add(time.Hour) // as if the requests had been stored long ago
	w.pass(j)
	w.expect(map[string]string{"/old": "none", "/new": "inferred now (2, was none)"})
	if _, err := j.Again(t.Context(), w.minute(old-60), w.minute(old+60)); err != nil {
		t.Fatal(err)
	}
	w.expect(map[string]string{"/old": "inferred then (2, was none)", "/new": "inferred now (2, was none)"})
}

// A use that no pass has seen, as its insert took longer than passes look back, is
// found by the sweep; and so is what was stored while no daemon ran.
func TestSweep(t *testing.T) {
	w := newWorld(t)
	w.requests(request{minute: 0, provider: "space", subject: "sa", path: "/a"})
	j := &Judge{Store: w.store}
	j.begun, j.reached = true, place{time.Now().Add(time.Hour), time.Now().Add(time.Hour)}
	w.pass(j)
	w.expect(map[string]string{"/a": "none unjudged"})
	if err := j.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(map[string]string{"/a": "none"})
}

// age makes what was judged look as if it had been stored long ago, which no pass
// reads again for its own sake.
func (w *world) age() {
	w.Helper()
	for _, column := range []string{"uses UPDATE stored = stored", "ci_runs UPDATE told = told"} {
		if err := w.store.Conn().Exec(w.Context(), "ALTER TABLE "+column+" - INTERVAL 1 HOUR WHERE 1 SETTINGS mutations_sync = 1"); err != nil {
			w.Fatal(err)
		}
	}
}

// However requests and runs come, and whenever they are judged, the verdicts are
// those of all runs together: also where a run's end is told hours after others
// were tied to it, clocks are far apart, and the daemon is killed and started again.
func TestVerdictsDoNotDependOnTheOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 3))
	w := newWorld(t)
	var requests []request
	var runs []schema.Run
	for i := range 40 {
		run := schema.Run{
			Provider: []string{"space", "teamcity"}[i%2], Project: fmt.Sprint("p", random.IntN(3)), Run: fmt.Sprint("r", random.IntN(20)),
			RunAttempt: uint32(random.IntN(2)), Principal: fmt.Sprint("sa", random.IntN(6)),
			StartedAt: w.minute(random.IntN(600) - 550), Commit: fmt.Sprintf("%040x", i),
		}
		runs = append(runs, run)
		run.FinishedAt = run.StartedAt.Add(time.Duration(random.IntN(60)-2) * time.Minute)
		runs = append(runs, run)
	}
	random.Shuffle(len(runs), func(i, j int) { runs[i], runs[j] = runs[j], runs[i] })
	for i := range 600 {
		r := request{minute: random.IntN(700) - 600, provider: []string{"space", "teamcity", ""}[random.IntN(3)], subject: fmt.Sprint("sa", random.IntN(8)), path: fmt.Sprint("/", i)}
		switch random.IntN(3) {
		case 0:
			r.run = fmt.Sprint("r", random.IntN(25))
		case 1:
			r.claimed = fmt.Sprint("r", random.IntN(25))
		}
		requests = append(requests, r)
	}
	j := &Judge{Store: w.store}
	for round := range 12 {
		w.requests(requests[50*round : 50*round+50]...)
		n := min(len(runs), random.IntN(16))
		if round == 11 {
			n = len(runs)
		}
		w.runs(runs[:n]...)
		runs = runs[n:]
		switch random.IntN(3) {
		case 0:
			w.pass(j)
			w.age()
		case 1:
			w.dieIn(j, random.IntN(40))
		}
	}
	w.pass(j)
	interleaved := verdicts(w)
	if err := w.store.Conn().Exec(t.Context(), "TRUNCATE TABLE attributions"); err != nil {
		t.Fatal(err)
	}
	if err := (&Judge{Store: w.store}).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	atOnce := verdicts(w)
	if len(atOnce) < 300 {
		t.Fatalf("only %d verdicts", len(atOnce))
	}
	grades := map[string]int{}
	for path, want := range atOnce {
		grades[strings.Fields(want)[0]]++
		if interleaved[path] != want {
			t.Errorf("%s: %s when judged bit by bit, %s at once", path, interleaved[path], want)
		}
	}
	for _, grade := range []string{"none", "ambiguous", "inferred", "corroborated", "proven"} {
		if grades[grade] == 0 {
			t.Errorf("no verdict is %s: the world is too simple: %v", grade, grades)
		}
	}
}

// dieIn has a pass killed at its n-th word with the engine, and another daemon take
// over later.
func (w *world) dieIn(j *Judge, n int) {
	w.Helper()
	ctx, kill := context.WithCancel(w.Context())
	defer kill()
	go func() {
		time.Sleep(time.Duration(n) * time.Millisecond)
		kill()
	}()
	_, _ = j.Pass(ctx)
	*j = Judge{Store: w.store}
}

// verdicts are those of each request, without revisions.
func verdicts(w *world) map[string]string {
	have := map[string]string{}
	err := w.store.Trail(w.Context(), schema.TrailQuery{Until: farFuture}, func(r *schema.TrailRow) error {
		have[r.Path] = fmt.Sprint(r.Grade, " ", r.Project, " ", r.Run, " ", r.RunAttempt, " ", r.Commit, " ", r.Why, " ", r.Contradiction, " ", r.Candidates)
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return have
}

func TestMoreUsesThanAChunk(t *testing.T) {
	w := newWorld(t)
	var rows []request
	for i := range 2*chunkUses + 100 {
		rows = append(rows, request{minute: i % 60, provider: "teamcity", subject: "bt", run: fmt.Sprint(i), path: fmt.Sprint("/", i)})
	}
	w.requests(rows...)
	if n := w.pass(&Judge{Store: w.store}); n != len(rows) {
		t.Errorf("%d verdicts, want %d", n, len(rows))
	}
}

func TestFindingsAreMadeOnce(t *testing.T) {
	w := newWorld(t)
	policy := finding.Policy{Protected: []finding.Place{{Endpoints: []string{"/deployments/**"}}}}
	j := &Judge{Store: w.store, Policy: &policy}
	w.runs(schema.Run{Provider: "teamcity", Project: "p", Run: "7", Ref: "refs/heads/feature", StartedAt: w.minute(0), FinishedAt: w.minute(10), Said: w.minute(10)})
	w.requests(
		request{minute: 5, provider: "teamcity", subject: "bt7", token: "t7", project: "p", run: "7", method: "POST", path: "/deployments/prod", client: "10.1.2.3"},
		request{minute: 50, provider: "teamcity", subject: "bt7", token: "t7", project: "p", run: "7", method: "GET", path: "/x", client: "192.0.2.9"},
	)
	for range 2 {
		w.pass(j)
		if err := j.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[string]int{}
	err := w.store.Findings(t.Context(), schema.FindingsQuery{Until: farFuture}, func(f *schema.FindingRow) error {
		kinds[f.Kind]++
		if f.Identity != "bt7" || !strings.Contains(string(f.Evidence), "bt7") || f.Action == "" {
			t.Errorf("%+v", f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"token_after_run", "token_two_networks", "unprotected_ref"} {
		if kinds[kind] != 1 {
			t.Errorf("%s: %d findings, want 1: %v", kind, kinds[kind], kinds)
		}
	}
}

// A fact that is told after the look makes its finding all the same.
func TestFindingOfAFactToldLate(t *testing.T) {
	w := newWorld(t)
	policy := finding.Policy{}
	j := &Judge{Store: w.store, Policy: &policy}
	w.requests(request{minute: 40, provider: "space", subject: "sa", claimed: "r9", path: "/x"})
	w.pass(j)
	if err := j.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.lookedTo = time.Now().Add(time.Hour) // as if all of this were long ago
	w.runs(schema.Run{Provider: "space", Project: "p", Run: "r9", Principal: "somebody-else", StartedAt: w.minute(35), FinishedAt: w.minute(45), Said: w.minute(45)})
	w.pass(j)
	j.lookedTo = time.Now().Add(-time.Second)
	if err := j.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n uint64
	if err := w.store.Conn().QueryRow(t.Context(), "SELECT count() FROM findings WHERE kind = 'claim_contradicted' AND identity = 'sa'").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d findings, error %v", n, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.requests(request{minute: 1, provider: "space", subject: "sa", path: "/a"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&Judge{Store: w.store, Policy: &finding.Policy{}}).Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); w.trail()["/a"] != "none"; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was judged")
		}
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAffected(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	floor, slack := now.AddDate(0, 0, -7), attribute.DefaultSlack
	queries := affected([]schema.Run{
		{Run: "b", Principal: "sa", StartedAt: now.Add(-time.Hour), FinishedAt: now},
		{Run: "old", Principal: "sb", StartedAt: now.AddDate(0, 0, -30), FinishedAt: now.AddDate(0, 0, -29)},
		{Run: "a", Principal: "sa", QueuedAt: now.Add(-2 * time.Hour)},
	}, floor, slack)
	old := schema.UsesQuery{
		From: floor, Until: farFuture, Runs: []string{"old"}, Principals: []string{"sb"}, PrincipalsFrom: floor, PrincipalsUntil: now.AddDate(0, 0, -29).Add(slack),
	}
	recent := schema.UsesQuery{
		From: now.Add(-26*time.Hour - slack), Until: farFuture, Runs: []string{"a", "b"}, Principals: []string{"sa"},
		PrincipalsFrom: now.Add(-2*time.Hour - slack), PrincipalsUntil: farFuture,
	}
	if want := []schema.UsesQuery{old, recent}; !reflect.DeepEqual(queries, want) {
		t.Errorf("have %+v\nwant %+v", queries, want)
	}
	many := make([]schema.Run, manyRuns+1)
	for i := range many {
		many[i] = schema.Run{Run: fmt.Sprint(i), Principal: "sa", StartedAt: now}
	}
	if queries := affected(many, floor, slack); len(queries) != 1 || queries[0].Named() {
		t.Errorf("%d queries, of %d runs: want one of all uses", len(queries), len(many))
	}
}
