package ci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// ciTables are the tables of facts, and the views of what they add up to.
var (
	ciTables = []string{"ci_runs", "ci_commits", "ci_principals", "ci_credentials"}
	ciViews  = []string{"runs", "commits", "principals", "credentials"}
)

func execute(t testing.TB, store *schema.Store, sql string) {
	t.Helper()
	if err := store.Conn().Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// shown is all that the views show, as text.
func shown(t testing.TB, store *schema.Store) string {
	t.Helper()
	var all strings.Builder
	for _, view := range ciViews {
		rows, err := store.Conn().Query(t.Context(), "SELECT toString(tuple(*)) FROM "+view+" ORDER BY ALL")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var row string
			if err := rows.Scan(&row); err != nil {
				t.Fatal(err)
			}
			all.WriteString(view + " " + row + "\n")
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// state is what is known after some facts.
type state struct {
	runs        []schema.Run
	commits     []schema.Commit
	principals  []schema.Principal
	credentials []schema.Credential
}

// sort puts all in the order of their names.
func (s *state) sort() *state {
	slices.SortFunc(s.runs, func(a, b schema.Run) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Project, b.Project), cmp.Compare(a.Run, b.Run), cmp.Compare(a.RunAttempt, b.RunAttempt))
	})
	slices.SortFunc(s.commits, func(a, b schema.Commit) int {
		return cmp.Or(cmp.Compare(a.Commit, b.Commit), cmp.Compare(a.Repository, b.Repository))
	})
	slices.SortFunc(s.principals, func(a, b schema.Principal) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Subject, b.Subject))
	})
	slices.SortFunc(s.credentials, func(a, b schema.Credential) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return s
}

// folded is what Merge makes of facts, one after another.
func folded(facts []Fact) *state {
	var s state
	runs, commits, principals := map[runKey]Run{}, map[[2]string]Commit{}, map[[2]string]Principal{}
	for _, fact := range facts {
		switch {
		case fact.Run != nil:
			r := coarseRun(*fact.Run)
			key := runKey{r.Provider, r.Project, r.ID, r.Attempt}
			if known, ok := runs[key]; ok {
				r = known.Merge(r)
			}
			runs[key] = r
		case fact.Commit != nil:
			c := coarseCommit(*fact.Commit)
			key := [2]string{c.SHA, c.Repository}
			if known, ok := commits[key]; ok {
				c = known.Merge(c)
			}
			commits[key] = c
		case fact.Principal != nil:
			p := coarsePrincipal(*fact.Principal)
			key := [2]string{p.Provider, p.Subject}
			if known, ok := principals[key]; ok {
				p = known.Merge(p)
			}
			principals[key] = p
		}
	}
	for _, r := range runs {
		s.runs = append(s.runs, runRow(r))
	}
	for _, c := range commits {
		row := commitRow(c)
		row.CheckedAt = schema.Milli(c.checked())
		s.commits = append(s.commits, row)
	}
	for _, p := range principals {
		s.principals = append(s.principals, schema.Principal{
			Provider: p.Provider, Subject: p.Subject, Name: p.Name.Value, Owner: p.Owner.Value, OwnerTold: p.Owner.Known, Project: p.Project,
			Archived: p.Archived.Value, Rights: append([]string{}, p.Rights.Value...), CreatedAt: p.Created, LastUsedAt: p.LastUsed, Said: p.Said,
		})
		for _, c := range credentialRows(p) {
			if !c.Said.Before(p.Listed[c.Kind]) {
				s.credentials = append(s.credentials, c)
			}
		}
	}
	return s.sort()
}

// lines are all things, each on a line.
func (s *state) lines() (lines []string) {
	for _, r := range s.runs {
		lines = append(lines, fmt.Sprintf("%#v", r))
	}
	for _, c := range s.commits {
		lines = append(lines, fmt.Sprintf("%#v", c))
	}
	for _, p := range s.principals {
		lines = append(lines, fmt.Sprintf("%#v", p))
	}
	for _, c := range s.credentials {
		lines = append(lines, fmt.Sprintf("%#v", c))
	}
	return lines
}

// difference is the lines that only one of two has.
func difference(have, want []string) string {
	var all strings.Builder
	for _, line := range have {
		if !slices.Contains(want, line) {
			all.WriteString("have " + line + "\n")
		}
	}
	for _, line := range want {
		if !slices.Contains(have, line) {
			all.WriteString("want " + line + "\n")
		}
	}
	return all.String()
}

// read is what the store's look-ups find of the same things.
func read(t testing.TB, store *schema.Store, like *state) *state {
	t.Helper()
	var (
		s                        state
		runs, commits, principal []string
		errs                     [4]error
	)
	for _, r := range like.runs {
		runs = append(runs, r.Run)
	}
	for _, c := range like.commits {
		commits = append(commits, c.Commit)
	}
	for _, p := range like.principals {
		principal = append(principal, p.Subject)
	}
	s.runs, errs[0] = store.RunsOf(t.Context(), schema.RunsQuery{RunIDs: runs})
	s.commits, errs[1] = store.CommitsOf(t.Context(), commits)
	s.principals, errs[2] = store.PrincipalsOf(t.Context(), principal)
	s.credentials, errs[3] = store.CredentialsOf(t.Context(), principal)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return s.sort()
}

// deliver gives all facts to the tables, in any order, some more than once, in any
// parts, some at the same time, while the engine merges or not.
func deliver(t *testing.T, random *rand.Rand, store *schema.Store, tables *Tables, facts []Fact) {
	t.Helper()
	facts = slices.Clone(facts)
	for range len(facts) / 3 {
		facts = append(facts, facts[random.IntN(len(facts))])
	}
	random.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
	var callers sync.WaitGroup
	for len(facts) > 0 {
		n := min(1+random.IntN(25), len(facts))
		part := facts[:n]
		facts = facts[n:]
		callers.Go(func() {
			if err := tables.Apply(t.Context(), part); err != nil {
				t.Error(err)
			}
		})
		if random.IntN(2) == 0 {
			callers.Wait()
		}
		if random.IntN(6) == 0 {
			execute(t, store, "OPTIMIZE TABLE "+ciTables[random.IntN(len(ciTables))]+" FINAL")
		}
	}
	callers.Wait()
}

// The same facts in any order, twice, in any parts, merged by the engine before or
// after: the same tables, and what Merge says.
func TestTablesAnyOrder(t *testing.T) {
	store := schematest.Open(t)
	tables := NewTables(store)
	for seed := range uint64(5) {
		random := rand.New(rand.NewPCG(seed, 2))
		facts := make([]Fact, 120)
		for i := range facts {
			facts[i] = oddFact(random)
		}
		want, before := folded(facts), ""
		for order := range 3 {
			for _, table := range ciTables {
				execute(t, store, "TRUNCATE TABLE "+table)
			}
			deliver(t, random, store, tables, facts)
			if have := read(t, store, want); !reflect.DeepEqual(have, want) {
				t.Fatalf("seed %d, order %d:\n%s", seed, order, difference(have.lines(), want.lines()))
			}
			if have := shown(t, store); before != "" && have != before {
				t.Fatalf("seed %d, order %d: %s\nbefore\n%s", seed, order, have, before)
			} else {
				before = have
			}
			for _, table := range ciTables {
				execute(t, store, "OPTIMIZE TABLE "+table+" FINAL")
			}
			if have := shown(t, store); have != before {
				t.Fatalf("seed %d: merged by the engine: %s\nbefore\n%s", seed, have, before)
			}
		}
	}
}

// What names nothing is left out, and the facts of others beside it are stored.
func TestTablesLeaveOutNothings(t *testing.T) {
	store := schematest.Open(t)
	run := Run{Provider: "github", Project: "p", ID: "1"}
	facts := []Fact{{}, {Run: &Run{}}, {Commit: &Commit{}}, {Principal: &Principal{}}, {Run: &run}}
	if err := NewTables(store).Apply(t.Context(), facts); err != nil {
		t.Fatal(err)
	}
	if have := shown(t, store); strings.Count(have, "\n") != 1 || !strings.HasPrefix(have, "runs ('github'") {
		t.Error(have)
	}
}

// Two verdicts within a millisecond, of which one is newer only by nanoseconds: it
// does not matter whether they come in one batch.
func TestTablesWithinAMillisecond(t *testing.T) {
	store := schematest.Open(t)
	tables := NewTables(store)
	at := time.UnixMilli(1_700_000_000_000)
	older := Fact{Commit: &Commit{SHA: "c0ffee", Signature: "verified", Said: at.Add(5)}}
	newer := Fact{Commit: &Commit{SHA: "c0ffee", Signature: "none", Said: at.Add(7)}}
	for _, parts := range [][][]Fact{{{older, newer}}, {{newer, older}}, {{older}, {newer}}, {{newer}, {older}}} {
		execute(t, store, "TRUNCATE TABLE ci_commits")
		for _, part := range parts {
			if err := tables.Apply(t.Context(), part); err != nil {
				t.Fatal(err)
			}
		}
		if commits, err := store.CommitsOf(t.Context(), []string{"c0ffee"}); err != nil || len(commits) != 1 || commits[0].Signature != "verified" {
			t.Errorf("%v %+v", err, commits)
		}
	}
}

func TestTablesCursors(t *testing.T) {
	store := schematest.Open(t)
	tables := NewTables(store)
	check := func(source, want string) {
		t.Helper()
		if have, err := tables.Load(t.Context(), source); err != nil || have != want {
			t.Errorf("%s: have %q, want %q: %v", source, have, want, err)
		}
	}
	check("github", "")
	for _, cursor := range []string{"z", "a", `{"since":"it's \\ \n"}`, "m"} {
		if err := tables.Save(t.Context(), "github", cursor); err != nil {
			t.Fatal(err)
		}
		check("github", cursor)
		time.Sleep(10 * time.Microsecond) // the table's clock has microseconds
	}
	execute(t, store, "OPTIMIZE TABLE ci_cursors FINAL")
	check("github", "m")
	check("gitlab", "")
	if err := store.SaveCursor(t.Context(), "github", "from a clock that was set back", time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	check("github", "m")
}

// An insert that fails is every caller's error, and the next one stores again.
func TestTablesThatFail(t *testing.T) {
	store := schematest.Open(t)
	tables := NewTables(store)
	fact := func(i int) []Fact { return []Fact{{Run: &Run{Provider: "github", ID: fmt.Sprint(i)}}} }
	execute(t, store, "RENAME TABLE ci_runs TO ci_runs_away")
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			if err := tables.Apply(t.Context(), fact(i)); err == nil || !strings.Contains(err.Error(), "ci_runs") {
				t.Errorf("without the table: %v", err)
			}
		})
	}
	callers.Wait()
	execute(t, store, "RENAME TABLE ci_runs_away TO ci_runs")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tables.Apply(ended, fact(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("ctx has ended: %v", err)
	}
	if err := tables.Apply(t.Context(), fact(2)); err != nil {
		t.Error(err)
	}
	if runs, err := store.RunsOf(t.Context(), schema.RunsQuery{RunIDs: []string{"1", "2"}}); err != nil || len(runs) != 1 || runs[0].Run != "2" {
		t.Errorf("%v %+v", err, runs)
	}
}
