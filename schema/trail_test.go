package schema_test

import (
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// ten is ten o'clock; at(m) is m minutes later.
var ten = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return ten.Add(time.Duration(minutes) * time.Minute) }

// ciRuns are what the CI knows: the cunning cases of attribution.
var ciRuns = []schema.Run{
	{Provider: "space", Project: "shop", Run: "r1", Principal: "shop-sa", Commit: "c0ffee01", StartedAt: at(0), FinishedAt: at(10)},
	{Provider: "space", Project: "shop", Run: "never", Principal: "idle-sa"},
	{Provider: "space", Project: "docs", Run: "open", Principal: "docs-sa", StartedAt: at(0)},
	{Provider: "space", Project: "two", Run: "t1", Principal: "two-sa", StartedAt: at(0), FinishedAt: at(60)},
	{Provider: "space", Project: "two", Run: "t2", Principal: "two-sa", StartedAt: at(5), FinishedAt: at(60)},
	{Provider: "space", Project: "again", Run: "retry", RunAttempt: 1, Principal: "again-sa", StartedAt: at(0), FinishedAt: at(5)},
	{Provider: "space", Project: "again", Run: "retry", RunAttempt: 2, Principal: "again-sa", StartedAt: at(600), FinishedAt: at(610)},
	{Provider: "space", Project: "p", Run: "same", Principal: "p-sa", StartedAt: at(0), FinishedAt: at(60)},
	{Provider: "space", Project: "q", Run: "same", Principal: "p-sa", StartedAt: at(0), FinishedAt: at(60)},
	{Provider: "space", Project: "anon", Run: "nobody", StartedAt: at(0), FinishedAt: at(60)},
	{Provider: "github", Project: "acme/web", Run: "g1", Principal: "repo:acme/web", Commit: "beef0001", StartedAt: at(0), FinishedAt: at(60)},
}

func TestGrades(t *testing.T) {
	store := schematest.Open(t)
	for i := range ciRuns {
		ciRuns[i].Version = 1
	}
	if err := store.InsertRuns(t.Context(), ciRuns); err != nil {
		t.Fatal(err)
	}
	if err := store.InsertCommits(t.Context(), []schema.Commit{{Commit: "c0ffee01", Repository: "shop", Author: "Ann", Version: 1}}); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name                                      string
		minute                                    int
		subject, provider, project, claim, header string
		grade, run                                string
	}{
		{"signed", 5, "repo:acme/web", "github", "acme/web", "g1", "", "proven", "g1"},
		{"signed-unknown", 5, "x", "github", "", "g404", "", "proven", "g404"},
		{"header", 5, "shop-sa", "space", "shop", "", "r1", "corroborated", "r1"},
		{"header-without-provider", 5, "shop-sa", "", "", "", "r1", "corroborated", "r1"},
		{"header-late", 16, "shop-sa", "space", "shop", "", "r1", "none", ""},
		{"header-within-slack", 14, "shop-sa", "space", "shop", "", "r1", "corroborated", "r1"},
		{"header-forged-by-nobody", 5, "", "", "", "", "r1", "none", ""},
		{"header-forged-by-another", 5, "docs-sa", "space", "", "", "r1", "inferred", "open"},
		{"header-of-another-project", 5, "shop-sa", "space", "docs", "", "r1", "none", ""},
		{"header-of-another-provider", 5, "shop-sa", "github", "", "", "r1", "none", ""},
		{"header-principal-unknown", 5, "who-sa", "space", "anon", "", "nobody", "corroborated", "nobody"},
		{"header-nothing-known", 5, "who-sa", "space", "", "", "nobody", "none", ""},
		{"inferred", 5, "docs-sa", "space", "", "", "", "inferred", "open"},
		{"inferred-long-after", 5000, "docs-sa", "space", "", "", "", "inferred", "open"},
		{"inferred-other-provider", 5, "docs-sa", "gitlab", "", "", "", "none", ""},
		{"never-started", 5, "idle-sa", "space", "", "", "", "none", ""},
		{"two-runs", 20, "two-sa", "space", "", "", "", "ambiguous", ""},
		{"between-attempts", 300, "again-sa", "space", "", "", "", "none", ""},
		{"second-attempt", 605, "again-sa", "space", "", "", "", "inferred", "retry"},
		{"one-id-two-projects", 5, "p-sa", "space", "", "", "", "ambiguous", ""},
		{"one-id-two-projects-told-apart", 5, "p-sa", "space", "q", "", "", "inferred", "same"},
	}
	b := schema.NewRequestBlock()
	for _, c := range cases {
		addRequest(b, map[string]string{
			"path": "/" + c.name, "subject": c.subject, "provider": c.provider, "project": c.project,
			"run": c.claim, "claimed_run": c.header,
		}, at(c.minute))
	}
	if err := store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	have := map[string]schema.TrailRow{}
	query := schema.TrailQuery{Since: at(-60), Until: at(10_000)}
	if err := store.Trail(t.Context(), query, func(row *schema.TrailRow) error { have[row.Path] = *row; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		row, ok := have["/"+c.name]
		if !ok {
			t.Errorf("%s: no row", c.name)
			continue
		}
		if row.Grade != c.grade || row.Run != c.run {
			t.Errorf("%s: grade %s, run %q; want %s, %q", c.name, row.Grade, row.Run, c.grade, c.run)
		}
		if row.Run == "r1" && row.Author != "Ann" {
			t.Errorf("%s: author %q", c.name, row.Author)
		}
	}
	if len(have) != len(cases) {
		t.Errorf("%d rows, want %d: a join doubles or loses some", len(have), len(cases))
	}
}

// addRequest appends a row with the given text columns and time.
func addRequest(b *schema.RequestBlock, texts map[string]string, at time.Time) {
	fillRow(b, func(name string) string { return texts[name] }, at)
}

func TestTrailFilters(t *testing.T) {
	store := schematest.Open(t)
	b := schema.NewRequestBlock()
	for _, path := range []string{"/a", "/a/b", "/ab", `/a%_b`, `/a\b`, "/it's"} {
		addRequest(b, map[string]string{"path": path, "subject": "sub'" + path, "commit": "ABCDEF01", "decision": "allow"}, at(0))
	}
	if err := store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
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
		{schema.TrailQuery{Commit: "abcdef"}, `/a /a%_b /a/b /a\b /ab /it's`},
		{schema.TrailQuery{Commit: "ABCDEF01"}, `/a /a%_b /a/b /a\b /ab /it's`},
		{schema.TrailQuery{Commit: "bcdef"}, ``},
		{schema.TrailQuery{Decision: "deny"}, ``},
		{schema.TrailQuery{Path: "' OR 1=1 --"}, ``},
	} {
		c.query.Since, c.query.Until = at(-1), at(1)
		paths := map[string]bool{}
		if err := store.Trail(t.Context(), c.query, func(row *schema.TrailRow) error { paths[row.Path] = true; return nil }); err != nil {
			t.Errorf("%+v: %v", c.query, err)
			continue
		}
		if have := strings.Join(sorted(paths), " "); have != c.want {
			t.Errorf("%+v: have %s, want %s", c.query, have, c.want)
		}
	}
}
