package schema_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

var quoted = regexp.MustCompile("`([a-z0-9_]+)`")

// columnsByTable are the tables and views as the engine has them.
func columnsByTable(t *testing.T, store *schema.Store) map[string][]string {
	t.Helper()
	rows, err := store.Conn().Query(t.Context(), "SELECT table, name FROM system.columns WHERE database = currentDatabase() ORDER BY table, position")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns := map[string][]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		columns[table] = append(columns[table], column)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return columns
}

// names are the words in code of a text, each once.
func names(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return found
}

// TestTablesPage: docs/schema.md names every table, view and column that the
// migrations make, and its tables of requests and of the trail no column that is
// not there.
func TestTablesPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "schema.md"))
	if err != nil {
		t.Fatal(err)
	}
	tables := columnsByTable(t, schematest.Open(t))
	sections, inCode := map[string]string{}, names(string(text))
	for section := range strings.SplitSeq(string(text), "\n## ") {
		title, body, _ := strings.Cut(section, "\n")
		sections[title] = body
	}
	for table, columns := range tables {
		if !strings.Contains(string(text), "**"+table+"**") && !inCode[table] {
			t.Errorf("docs/schema.md does not name %s", table)
		}
		switch table {
		case "proxy_events", "rejects", "imports", "schema_migrations", "ci_cursors":
			continue // a sentence is enough of them
		}
		for _, column := range columns {
			if !inCode[column] && column != "latest" { // that one is behind the view
				t.Errorf("docs/schema.md does not name %s.%s", table, column)
			}
		}
	}
	for table, title := range map[string]string{"requests": "requests: one row per log line", "trail": "trail: who touched what"} {
		documented := map[string]bool{}
		for line := range strings.Lines(sections[title]) {
			if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `") {
				maps.Copy(documented, names(cells[0]))
			}
		}
		have, want := slices.Sorted(maps.Keys(documented)), slices.Sorted(slices.Values(tables[table]))
		if !slices.Equal(have, want) {
			t.Errorf("the table of %s has the columns\n%v, want\n%v", table, have, want)
		}
	}
}

// TestQueriesOfThePages: each query that a page tells its reader to type is one
// that the engine takes from somebody who may only read.
func TestQueriesOfThePages(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	store, found := schematest.Open(t), 0
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"readonly": 2}))
	for _, page := range append(pages, filepath.Join("..", "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`haptrail query "([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			found++
			rows, err := store.Conn().Query(ctx, m[1])
			if err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(page), m[1], err)
				continue
			}
			for rows.Next() {
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(page), m[1], err)
			}
		}
	}
	if found < 5 {
		t.Errorf("%d queries found", found)
	}
}
