package schema_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// ten is ten o'clock; at(m) is m minutes later.
var ten = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return ten.Add(time.Duration(minutes) * time.Minute) }

// addRequest appends a row with the given text columns and time.
func addRequest(b *schema.RequestBlock, texts map[string]string, at time.Time) {
	fillRow(b, func(name string) string { return texts[name] }, at)
}

// store inserts rows, one for each path at the path's time.
func insertRequests(t *testing.T, store *schema.Store, rows ...func(*schema.RequestBlock)) {
	t.Helper()
	b := schema.NewRequestBlock()
	for _, add := range rows {
		add(b)
	}
	if err := store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
}

func request(path string, at time.Time, texts map[string]string) func(*schema.RequestBlock) {
	return func(b *schema.RequestBlock) {
		row := map[string]string{"path": path}
		for k, v := range texts {
			row[k] = v
		}
		addRequest(b, row, at)
	}
}

// judged is an attribution of one caller's ten o'clock with the spans given as
// from, grade, run and commit.
func judged(texts map[string]string, revision uint32, was string, spans ...[4]string) schema.Attribution {
	claims := [13]string{}
	for i, name := range callerColumns {
		claims[i] = texts[name]
	}
	a := schema.Attribution{
		Hour: ten, Subject: texts["subject"], Caller: schema.Caller(claims), Provider: texts["provider"], TokenID: texts["token_id"],
		ClaimedRun: texts["claimed_run"], Digest: uint64(revision), Revision: revision, Was: was, AttributedAt: at(90),
	}
	for _, s := range spans {
		from, err := time.Parse("15:04", s[0])
		if err != nil {
			panic(err)
		}
		a.Froms = append(a.Froms, ten.Truncate(24*time.Hour).Add(time.Duration(from.Hour())*time.Hour+time.Duration(from.Minute())*time.Minute))
		a.Grades, a.Runs, a.Commits = append(a.Grades, s[1]), append(a.Runs, s[2]), append(a.Commits, s[3])
		a.Projects, a.Jobs, a.Refs = append(a.Projects, "project of "+s[2]), append(a.Jobs, ""), append(a.Refs, "")
		a.Attempts, a.Actors, a.Agents = append(a.Attempts, 1), append(a.Actors, ""), append(a.Agents, "agent-7")
		a.Approvers, a.Candidates = append(a.Approvers, ""), append(a.Candidates, "")
		a.Whys, a.Contradictions = append(a.Whys, "because of "+s[2]), append(a.Contradictions, "")
	}
	return a
}

var callerColumns = []string{
	"provider", "issuer", "subject", "token_id", "project", "job", "run", "run_attempt", "ref", "commit", "actor", "runner", "claimed_run",
}

func trailOf(t *testing.T, store *schema.Store, q schema.TrailQuery) map[string]schema.TrailRow {
	t.Helper()
	rows := map[string]schema.TrailRow{}
	err := store.Trail(t.Context(), q, func(row *schema.TrailRow) error {
		if _, twice := rows[row.Path]; twice {
			t.Errorf("%s: two rows: a join doubles some", row.Path)
		}
		rows[row.Path] = *row
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestTrailShowsTheVerdictOfItsTime(t *testing.T) {
	store := schematest.Open(t)
	shop := map[string]string{"subject": "shop-sa", "provider": "space", "claimed_run": "r1"}
	docs := map[string]string{"subject": "docs-sa", "provider": "space"}
	signed := map[string]string{"subject": "web", "provider": "github", "run": "g1", "commit": "BEEF0001", "project": "acme/web", "run_attempt": "2"}
	insertRequests(t, store,
		request("/early", at(0), shop), request("/in", at(10), shop), request("/late", at(50), shop), request("/next-hour", at(61), shop),
		request("/again", at(5), docs), request("/signed", at(5), signed), request("/unsigned", at(5), map[string]string{"subject": "x", "claimed_run": "r1"}),
		request("/nobody", at(5), map[string]string{"run": "g1", "claimed_run": "r1"}))
	changes := []schema.Reattribution{{AttributedAt: at(90), Hour: ten, Subject: "docs-sa", Revision: 2, Was: "none", Verdict: "inferred d1"}}
	err := store.InsertAttributions(t.Context(), []schema.Attribution{
		judged(shop, 1, "", [4]string{"10:05", "corroborated", "r1", "c0ffee01"}, [4]string{"10:40", "none", "", ""}),
		judged(docs, 1, "", [4]string{"10:00", "none", "", ""}),
		judged(docs, 2, "none", [4]string{"10:00", "inferred", "d1", "d0c5"}),
	}, changes)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.InsertCommits(t.Context(), []schema.Commit{{Commit: "c0ffee01", Repository: "shop", Author: "Ann", Signature: "verified", Said: at(0)}}); err != nil {
		t.Fatal(err)
	}
	have := trailOf(t, store, schema.TrailQuery{Since: at(-60), Until: at(600)})
	for path, want := range map[string]string{
		"/early":     "corroborated r1 c0ffee01 Ann because of r1 0 1", // before the first span: what it says holds for the hour
		"/in":        "corroborated r1 c0ffee01 Ann because of r1 0 1",
		"/late":      "none    because of  0 1",
		"/next-hour": "none    not judged yet 0 0",
		"/again":     "inferred d1 d0c5  because of d1 1 2",
		"/signed":    "proven g1 beef0001  not judged yet 0 0",
		"/unsigned":  "none    not judged yet 0 0",
		"/nobody":    "none g1   no verified identity 0 0",
	} {
		r, ok := have[path]
		if got := fmt.Sprintf("%s %s %s %s %s %d %d", r.Grade, r.Run, r.Commit, r.Author, r.Why, map[bool]int{true: 1}[r.Was != ""], r.Revision); !ok || got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if len(have) != 8 {
		t.Errorf("%d rows, want 8", len(have))
	}
	var told uint64
	if err := store.Conn().QueryRow(t.Context(), "SELECT count() FROM reattributions WHERE was = 'none' AND verdict = 'inferred d1'").Scan(&told); err != nil || told != 1 {
		t.Errorf("reattributions: %d rows, error %v", told, err)
	}
}

// What the command asks for, narrowed, is what the view shows.
func TestTrailFilters(t *testing.T) {
	store := schematest.Open(t)
	var rows []func(*schema.RequestBlock)
	var verdicts []schema.Attribution
	for i, path := range []string{"/a", "/a/b", "/ab", `/a%_b`, `/a\b`, "/it's"} {
		caller := map[string]string{"subject": "sub'" + path, "token_id": fmt.Sprintf("t%d", i), "claimed_run": "head-" + path}
		rows = append(rows, request(path, at(30), caller))
		verdicts = append(verdicts, judged(caller, 1, "", [4]string{"10:00", "inferred", "run-" + path, fmt.Sprintf("abcdef0%d", i)}))
	}
	rows = append(rows, request("/nobody", at(30), map[string]string{"token_id": "t9", "claimed_run": "head-/nobody"}))
	insertRequests(t, store, rows...)
	if err := store.InsertAttributions(t.Context(), verdicts, nil); err != nil {
		t.Fatal(err)
	}
	err := store.InsertCommits(t.Context(), []schema.Commit{
		{Commit: "abcdef01", Repository: "r", Author: "Ann Other", AuthorEmail: "ann@example.com", Said: at(0)},
		{Commit: "abcdef02", Repository: "r", Author: "Bob", AuthorEmail: "bob@example.com", Said: at(0)},
	})
	if err != nil {
		t.Fatal(err)
	}
	all := `/a /a%_b /a/b /a\b /ab /it's`
	for _, c := range []struct {
		query schema.TrailQuery
		want  string
	}{
		{schema.TrailQuery{Path: "/a"}, "/a /a/b"},
		{schema.TrailQuery{Path: "/a/"}, "/a/b"},
		{schema.TrailQuery{Path: "/a*"}, `/a /a%_b /a/b /a\b /ab`},
		{schema.TrailQuery{Path: `/a%_b`}, `/a%_b`},
		{schema.TrailQuery{Path: `/a\b`}, `/a\b`},
		{schema.TrailQuery{Path: `/it's`}, `/it's`},
		{schema.TrailQuery{Identity: `sub'/a`}, `/a`},
		{schema.TrailQuery{Identity: `*\b`}, `/a\b`},
		{schema.TrailQuery{Commit: "abcdef"}, all},
		{schema.TrailQuery{Commit: "ABCDEF03"}, `/a%_b`},
		{schema.TrailQuery{Commit: "bcdef"}, ``},
		{schema.TrailQuery{Run: "run-/ab"}, `/ab`},
		{schema.TrailQuery{Run: "head-/it's"}, `/it's`},
		{schema.TrailQuery{Run: "run-/ab", Commit: "abcdef00"}, ``},
		{schema.TrailQuery{Run: "head-/nobody"}, `/nobody`},
		{schema.TrailQuery{Run: "head-/nobody", Token: "t9"}, `/nobody`},
		{schema.TrailQuery{Run: "head-/nobody", Token: "t4"}, ``},
		{schema.TrailQuery{Run: "head-/nobody", Commit: "abcdef00"}, ``},
		{schema.TrailQuery{Token: "t9"}, `/nobody`},
		{schema.TrailQuery{Author: "ann*"}, `/a/b`},
		{schema.TrailQuery{Author: "BOB@example.com"}, `/ab`},
		{schema.TrailQuery{Author: "*@example.com"}, `/a/b /ab`},
		{schema.TrailQuery{Token: "t4"}, `/a\b`},
		{schema.TrailQuery{Token: "t4", Identity: "nobody"}, ``},
		{schema.TrailQuery{Grade: "inferred"}, all},
		{schema.TrailQuery{Grade: "proven"}, ``},
		{schema.TrailQuery{Decision: "deny"}, ``},
		{schema.TrailQuery{Path: "' OR 1=1 --"}, ``},
		{schema.TrailQuery{Run: "' OR 1=1 --"}, ``},
	} {
		for _, since := range []time.Time{at(29), {}} {
			c.query.Since, c.query.Until = since, at(31)
			paths := map[string]bool{}
			for path := range trailOf(t, store, c.query) {
				paths[path] = true
			}
			if have := strings.Join(sorted(paths), " "); have != c.want {
				t.Errorf("%+v: have %s, want %s", c.query, have, c.want)
			}
		}
	}
	var view string
	sql := "SELECT arrayStringConcat(groupArray(path), ' ') FROM (SELECT path FROM trail WHERE run LIKE 'run-%' AND grade = 'inferred' AND why LIKE 'because of run-%' ORDER BY path)"
	if err := store.Conn().QueryRow(t.Context(), sql).Scan(&view); err != nil || view != all {
		t.Errorf("the view has %s, error %v", view, err)
	}
}

// A caller is the same number in Go and in the table's DEFAULT, which rows get that
// somebody else inserts.
func TestCallerInGoAndInTheTable(t *testing.T) {
	store := schematest.Open(t)
	b := schema.NewRequestBlock()
	for i := range 500 {
		addRow(b, i%120)
	}
	for _, subject := range []string{"", "a", "a\x00b", "\xff\xfe", "ü", strings.Repeat("x", 5000)} {
		for _, run := range []string{"", "r"} {
			addRequest(b, map[string]string{"subject": subject, "claimed_run": run, "pid": "1"}, ten)
			addRequest(b, map[string]string{"claimed_run": run, "subject": subject, "role": "another", "path": "/other"}, at(1))
		}
	}
	if err := store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	const sql = `SELECT count(), countIf(caller = if(subject = '', 0, reinterpretAsUInt64(substring(SHA256(concatWithSeparator('\0',
		provider, issuer, subject, token_id, project, job, run, run_attempt, ref, commit, actor, runner, claimed_run)), 1, 8)))),
		uniqExact(caller), uniqExact(provider, issuer, subject, token_id, project, job, run, run_attempt, ref, commit, actor, runner, claimed_run),
		countIf(caller = 0), countIf(subject = '') FROM requests`
	var rows, same, callers, tuples, zero, nobody uint64
	if err := store.Conn().QueryRow(t.Context(), sql).Scan(&rows, &same, &callers, &tuples, &zero, &nobody); err != nil {
		t.Fatal(err)
	}
	if rows != 524 || same != rows || zero != nobody || nobody == 0 {
		t.Errorf("%d rows, %d with the number that the table computes; %d are nobody's, %d have the number 0", rows, same, nobody, zero)
	}
	if callers < 100 || callers > tuples {
		t.Errorf("%d callers of %d different claims", callers, tuples)
	}
	if err := store.Conn().Exec(t.Context(), "INSERT INTO requests (time, subject, run) VALUES ('2026-11-23 10:00:00', 'web', 'g1')"); err != nil {
		t.Fatal(err)
	}
	claims := [13]string{2: "web", 6: "g1"}
	var n uint64
	if err := store.Conn().QueryRow(t.Context(), "SELECT count() FROM uses WHERE caller = {caller:UInt64} AND subject = 'web' AND run = 'g1'", named("caller", fmt.Sprint(schema.Caller(claims)))).Scan(&n); err != nil || n != 1 {
		t.Errorf("uses of a row without a number: %d, error %v", n, err)
	}
}
