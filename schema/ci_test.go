package schema_test

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// rows are a query's rows as text.
func rows(t testing.TB, store *schema.Store, sql string) []string {
	t.Helper()
	found, err := store.Conn().Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer found.Close()
	var lines []string
	for found.Next() {
		var line string
		if err := found.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

func exec(t testing.TB, store *schema.Store, sql string) {
	t.Helper()
	if err := store.Conn().Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// The types that inserts send are the tables' own, and each table says of every
// column how it merges.
func TestCIColumnsAreTheTables(t *testing.T) {
	store := schematest.Open(t)
	for table, columns := range schema.CIColumns() {
		var have []string
		for _, c := range columns {
			have = append(have, c.Name+" "+c.Type)
		}
		want := rows(t, store, "SELECT name || ' ' || type FROM system.columns WHERE database = currentDatabase() AND table = '"+table+"' AND name != 'told'")
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("%s:\nhave %s\nwant %s", table, strings.Join(have, "\n     "), strings.Join(want, "\n     "))
		}
	}
	for view, columns := range map[string][]string{
		"runs": schema.Columns[schema.Run](), "commits": schema.Columns[schema.Commit](),
		"principals": schema.Columns[schema.Principal](), "credentials": schema.Columns[schema.Credential](),
	} {
		have := rows(t, store, "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '"+view+"'")
		slices.Sort(have)
		slices.Sort(columns)
		if !slices.Equal(have, columns) {
			t.Errorf("the view %s has %v, its row %v", view, have, columns)
		}
	}
}

// asBefore makes the tables of runs and commits what migration 8 left.
func asBefore(t *testing.T, store *schema.Store) []schema.Statement {
	t.Helper()
	exec(t, store, "DROP TABLE IF EXISTS trail, runs, commits, principals, credentials, ci_runs, ci_commits, ci_principals, ci_credentials, ci_cursors")
	exec(t, store, "ALTER TABLE schema_migrations DELETE WHERE version > 8 SETTINGS mutations_sync = 1")
	statements, err := schema.Statements(schema.Target{})
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range statements[:8] {
		if st.SQL != "" {
			exec(t, store, st.SQL)
		}
	}
	exec(t, store, `INSERT INTO runs (provider, project, job, run, run_attempt, commit, status, principal, started_at, finished_at, version) VALUES
		('space', 'shop', 'Deploy', 'r-1', 1, 'C0FFEE', 'running', 'deployer', '2026-11-23 10:00:00.123', 0, 1),
		('space', 'shop', 'Deploy', 'r-1', 1, 'C0FFEE', 'success', 'deployer', '2026-11-23 10:00:00.123', '2026-11-23 10:05:00', 2),
		('github', 'acme/web', '', '7', 2, '', 'cancelled', '', 0, 0, 1), ('github', 'acme/web', '', '8', 0, '', 'exploded', '', 0, 0, 1)`)
	exec(t, store, `INSERT INTO commits (commit, repository, author, committed_at, subject, signature, version) VALUES
		('c0ffee', 'shop', 'Ada', '2026-11-23 09:00:00', 'Ship it', 'none', 1), ('c0ffee', 'shop', 'Ada', '2026-11-23 09:00:00', 'Ship it', 'verified', 2), ('beef', 'shop', 'Bob', 0, '', '', 1)`)
	return statements
}

// What was imported into the old tables is in the new ones, also when Migrate was
// killed after any of its statements and before that was recorded.
func TestOldRunsAreCopied(t *testing.T) {
	store := schematest.Open(t)
	for _, ran := range []int{8, 14, 15, 16, 18} {
		statements := asBefore(t, store)
		for i, st := range statements {
			if st.Version > 8 && int(st.Version) <= ran {
				exec(t, store, st.SQL)
			}
			if st.Version > 8 && int(st.Version) < ran {
				exec(t, store, fmt.Sprintf("INSERT INTO schema_migrations (version, name, hash) VALUES (%d, '%s', '%s')", st.Version, st.Name, statements[i].Hash()))
			}
		}
		if _, err := store.Migrate(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		runs, err := store.RunsOf(t.Context(), schema.RunsQuery{RunIDs: []string{"r-1", "7", "8"}})
		slices.SortFunc(runs, func(a, b schema.Run) int { return cmp.Compare(a.Run, b.Run) })
		want := []schema.Run{
			{Provider: "github", Project: "acme/web", Run: "7", RunAttempt: 2, Status: "canceled"},
			{Provider: "github", Project: "acme/web", Run: "8"},
			{Provider: "space", Project: "shop", Job: "Deploy", Run: "r-1", RunAttempt: 1, Commit: "c0ffee", Status: "succeeded", Principal: "deployer",
				StartedAt: time.Date(2026, 11, 23, 10, 0, 0, 123e6, time.UTC), FinishedAt: at(5)},
		}
		if err != nil || !reflect.DeepEqual(runs, want) {
			t.Errorf("%v\nhave %+v\nwant %+v", err, runs, want)
		}
		commits, err := store.CommitsOf(t.Context(), []string{"C0FFEE", "BEEF"})
		slices.SortFunc(commits, func(a, b schema.Commit) int { return cmp.Compare(a.Commit, b.Commit) })
		wantCommits := []schema.Commit{
			{Commit: "beef", Repository: "shop", Author: "Bob"},
			{Commit: "c0ffee", Repository: "shop", Author: "Ada", CommittedAt: at(-60), Subject: "Ship it", Signature: "verified"},
		}
		if err != nil || !reflect.DeepEqual(commits, wantCommits) {
			t.Errorf("%v\nhave %+v\nwant %+v", err, commits, wantCommits)
		}
	}
}

// manyRuns are n runs of the days before ten, of 500 principals in 50 projects.
func manyRuns(n int) []schema.Run {
	runs := make([]schema.Run, n)
	for i := range runs {
		start := ten.Add(-time.Duration(i) * time.Minute)
		runs[i] = schema.Run{
			Provider: "github", Project: "acme/" + strconv.Itoa(i%50), Job: "deploy", Run: strconv.Itoa(1_000_000 + i), RunAttempt: 1,
			Ref: "refs/heads/main", Commit: fmt.Sprintf("%040x", i), Status: "succeeded", Actor: "actor-" + strconv.Itoa(i%300),
			Principal: "sa-" + strconv.Itoa(i%500), QueuedAt: start.Add(-time.Second), StartedAt: start, FinishedAt: start.Add(5 * time.Minute), Said: start.Add(5 * time.Minute),
		}
	}
	return runs
}

func numbers(n int, name func(int) string) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = name(i)
	}
	return names
}

// A filter on a view's key reads what it picks, not the table.
func TestCIViewsPushFiltersDown(t *testing.T) {
	store := schematest.Open(t)
	const n = 40_000
	var (
		commits     []schema.Commit
		principals  []schema.PrincipalFact
		credentials []schema.Credential
	)
	for i := range n {
		subject := fmt.Sprintf("sa-%06d", i)
		commits = append(commits, schema.Commit{Commit: fmt.Sprintf("%040x", i*7919), Repository: "shop"})
		principals = append(principals, schema.PrincipalFact{Provider: "space", Subject: subject})
		credentials = append(credentials, schema.Credential{Provider: "space", Subject: subject, Kind: "permanent-token", ID: "1"})
	}
	for _, err := range []error{
		store.InsertRuns(t.Context(), manyRuns(n)), store.InsertCommits(t.Context(), commits),
		store.InsertPrincipals(t.Context(), principals), store.InsertCredentials(t.Context(), credentials),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	granules := regexp.MustCompile(`Granules: (\d+)/(\d+)`)
	for _, where := range []string{
		"runs WHERE provider = 'github' AND project = 'acme/7' AND run = '1000007'",
		"runs WHERE (provider, project, run, run_attempt) IN (('github', 'acme/7', '1000007', 1), ('github', 'acme/8', '1000008', 1))",
		"commits WHERE commit = '" + commits[777].Commit + "'", "commits WHERE commit LIKE '" + commits[777].Commit[:38] + "%'",
		"principals WHERE provider = 'space' AND subject = 'sa-000777'",
		"credentials WHERE provider = 'space' AND subject = 'sa-000777'",
	} {
		plan := strings.Join(rows(t, store, "EXPLAIN indexes = 1 SELECT * FROM "+where), "\n")
		reads := granules.FindAllStringSubmatch(plan, -1)
		for _, read := range reads {
			some, _ := strconv.Atoi(read[1])
			all, _ := strconv.Atoi(read[2])
			if all < 4 || some*2 > all {
				t.Errorf("%s reads %d of %d granules:\n%s", where, some, all, plan)
			}
		}
		if len(reads) == 0 {
			t.Errorf("%s: no index is used:\n%s", where, plan)
		}
		if found := rows(t, store, "SELECT toString(1) FROM "+where); len(found) == 0 {
			t.Errorf("%s: no rows", where)
		}
	}
}

func TestRunsOf(t *testing.T) {
	store := schematest.Open(t)
	nasty := []string{"it's", `back\slash`, "tab\tnew\nline", "nul\x00", "\xff\xfe", "{x:String}", "'], ['", "ü"}
	runs := []schema.Run{
		{Run: "before", Principal: "sa", StartedAt: at(-60), FinishedAt: at(-1)},
		{Run: "ends as it begins", Principal: "sa", StartedAt: at(-60), FinishedAt: at(0)},
		{Run: "around", Principal: "sa", StartedAt: at(-60), FinishedAt: at(60)},
		{Run: "open", Principal: "sa", StartedAt: at(-6000)},
		{Run: "begins as it ends", Principal: "sa", StartedAt: at(10), FinishedAt: at(60)},
		{Run: "after", Principal: "sa", StartedAt: at(11), FinishedAt: at(60)},
		{Run: "never started", Principal: "sa"},
		{Run: "another's", Principal: "other", StartedAt: at(-60)},
		{Run: "nobody's", StartedAt: at(-60)},
	}
	for _, name := range nasty {
		runs = append(runs, schema.Run{Run: name, Principal: name, StartedAt: at(-600), FinishedAt: at(-500)})
	}
	for i := range runs {
		runs[i].Provider = "space"
	}
	// The principal is told by another message than the times.
	halves := []schema.Run{{Provider: "space", Run: "in two halves", Principal: "sa"}, {Provider: "space", Run: "in two halves", StartedAt: at(1)}}
	for _, part := range [][]schema.Run{runs, halves[:1], halves[1:]} {
		if err := store.InsertRuns(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	long := numbers(3, func(i int) string { return strings.Repeat(strconv.Itoa(i), 200<<10) })
	for name, row := range map[string]struct {
		query schema.RunsQuery
		want  []string
	}{
		"nothing asked":          {schema.RunsQuery{}, nil},
		"the empty name":         {schema.RunsQuery{RunIDs: []string{""}, Principals: []string{""}}, nil},
		"a principal's":          {schema.RunsQuery{Principals: []string{"sa"}, From: at(0), Until: at(10)}, []string{"around", "begins as it ends", "ends as it begins", "in two halves", "open"}},
		"whenever":               {schema.RunsQuery{Principals: []string{"other", "nobody"}}, []string{"another's"}},
		"by name, whenever":      {schema.RunsQuery{RunIDs: []string{"before", "never started", "unknown"}, From: at(0), Until: at(10)}, []string{"before", "never started"}},
		"by either, once":        {schema.RunsQuery{RunIDs: []string{"around", "around"}, Principals: []string{"sa", "sa"}, From: at(30), Until: at(30)}, []string{"after", "around", "begins as it ends", "in two halves", "open"}},
		"names of any bytes":     {schema.RunsQuery{RunIDs: nasty}, nasty},
		"principals likewise":    {schema.RunsQuery{Principals: nasty}, nasty},
		"more than one question": {schema.RunsQuery{RunIDs: append(long, "open", "0"), Principals: append(long, "other", "sa"), From: at(30), Until: at(30)}, []string{"after", "another's", "around", "begins as it ends", "in two halves", "open"}},
	} {
		found, err := store.RunsOf(t.Context(), row.query)
		have := map[string]bool{}
		for _, run := range found {
			have[run.Run] = true
		}
		slices.Sort(row.want)
		if err != nil || len(found) != len(have) || !slices.Equal(sorted(have), row.want) {
			t.Errorf("%s: %v\nhave %q (%d)\nwant %q", name, err, sorted(have), len(found), row.want)
		}
	}
}

func TestRunsTold(t *testing.T) {
	store := schematest.Open(t)
	told := func(since time.Time) (names []string, last time.Time) {
		t.Helper()
		err := store.RunsTold(t.Context(), since, func(run *schema.Run) error {
			if run.Told.Before(last) || run.Told.Before(since) {
				t.Errorf("%s was told at %v, after %v, since %v", run.Run, run.Told, last, since)
			}
			last = run.Told
			names = append(names, run.Run+" "+run.Status+" "+run.Commit)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return names, last
	}
	insert := func(runs ...schema.Run) {
		t.Helper()
		for i := range runs {
			runs[i].Provider = "github"
		}
		if err := store.InsertRuns(t.Context(), runs); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // the engine's clock has milliseconds here
	}
	insert(schema.Run{Run: "1", Status: "running", Commit: "c0ffee"})
	insert(schema.Run{Run: "2", Status: "queued"})
	first, last := told(time.Time{})
	if want := []string{"1 running c0ffee", "2 queued "}; !slices.Equal(first, want) {
		t.Errorf("have %q, want %q", first, want)
	}
	exec(t, store, "OPTIMIZE TABLE ci_runs FINAL") // what is merged was told when its newest part was
	insert(schema.Run{Run: "1", Status: "failed"})
	if have, _ := told(last.Add(time.Millisecond)); !slices.Equal(have, []string{"1 failed c0ffee"}) {
		t.Errorf("since then: %q", have)
	}
	exec(t, store, "OPTIMIZE TABLE ci_runs FINAL")
	have, newest := told(last.Add(time.Millisecond))
	if !slices.Equal(have, []string{"1 failed c0ffee"}) {
		t.Errorf("merged, since then: %q", have)
	}
	if have, _ := told(newest.Add(time.Millisecond)); len(have) != 0 {
		t.Errorf("since now: %q", have)
	}
	stop := fmt.Errorf("stop")
	if err := store.RunsTold(t.Context(), time.Time{}, func(*schema.Run) error { return stop }); err != stop {
		t.Errorf("each's error: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.RunsTold(ended, time.Time{}, func(*schema.Run) error { return nil }); err == nil {
		t.Error("no error after ctx has ended")
	}
}

// A credential is shown until a later listing of its kind has it no more, even
// when a message from before comes late.
func TestCredentialsThatAreGone(t *testing.T) {
	store := schematest.Open(t)
	const kind = "permanent-token"
	say := func(id string, minute int, kind string) {
		t.Helper()
		if err := store.InsertCredentials(t.Context(), []schema.Credential{{Provider: "space", Subject: "app", Kind: kind, ID: id, CreatedAt: at(-60), Said: at(minute)}}); err != nil {
			t.Fatal(err)
		}
	}
	list := func(minute int) {
		t.Helper()
		if err := store.InsertPrincipals(t.Context(), []schema.PrincipalFact{{Provider: "space", Subject: "app", Listed: map[string]time.Time{kind: at(minute)}, Said: at(minute)}}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want ...string) {
		t.Helper()
		found, err := store.CredentialsOf(t.Context(), []string{"app"})
		have := map[string]bool{}
		for _, c := range found {
			have[c.ID] = true
			if !c.CreatedAt.Equal(at(-60)) || !c.ExpiresAt.IsZero() {
				t.Errorf("%+v", c)
			}
		}
		if err != nil || !slices.Equal(sorted(have), want) {
			t.Errorf("%v\nhave %q\nwant %q", err, sorted(have), want)
		}
	}
	say("secret", 0, "client-secret") // of a kind that is never listed
	say("a", 0, kind)
	say("b", 0, kind)
	check("a", "b", "secret")
	say("a", 10, kind)
	list(10)
	check("a", "secret")
	say("b", 0, kind)
	list(0)
	check("a", "secret")
	say("b", 11, kind)
	check("a", "b", "secret")
}

func TestMilli(t *testing.T) {
	for in, want := range map[time.Time]time.Time{
		{}:                             {},
		time.Unix(0, 0):                {},
		time.UnixMilli(1):              {},
		time.UnixMilli(-5):             {},
		time.UnixMilli(2):              time.UnixMilli(2).UTC(),
		ten.Add(999 * time.Nanosecond): ten,
		time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC): time.Date(2261, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		if have := schema.Milli(in); have != want {
			t.Errorf("%v: have %v, want %v", in, have, want)
		}
	}
}
