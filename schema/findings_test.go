package schema_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

func readFindings(t *testing.T, store *schema.Store, q schema.FindingsQuery) []schema.FindingRow {
	t.Helper()
	if q.Until.IsZero() {
		q.Since, q.Until = at(-1_000_000), at(1_000_000)
	}
	var rows []schema.FindingRow
	if err := store.Findings(t.Context(), q, func(row *schema.FindingRow) error { rows = append(rows, *row); return nil }); err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return rows
}

func TestFindingsRoundTrip(t *testing.T) {
	store := schematest.Open(t)
	want := schema.FindingRow{
		Key: "0123456789abcdef0123456789abcdef", Kind: "token_after_run", Severity: "high", Title: "Title", Text: "it's \"so\"\x00\u2028", Action: "Act",
		Provider: "space", Issuer: "https://ci.example.test", Identity: "shop-sa", Project: "shop", Run: "r1", Commit: "c0ffee", TokenID: "t1", Backend: "app",
		First: at(1), Last: at(2).Add(time.Microsecond), Requests: 1 << 63, Evidence: `[{"requests":12}]`, Found: at(3), Updated: at(4),
	}
	if err := store.InsertFindings(t.Context(), []schema.FindingRow{want}); err != nil {
		t.Fatal(err)
	}
	have := readFindings(t, store, schema.FindingsQuery{})
	if len(have) != 1 || !reflect.DeepEqual(have[0], want) {
		t.Fatalf("have %+v\nwant %+v", have, want)
	}
	text, err := json.Marshal(have[0])
	if err != nil || !strings.Contains(string(text), `"evidence":[{"requests":12}]`) {
		t.Errorf("as JSON: %s, error %v", text, err)
	}
}

// TestFindingsConverge: the same findings told in any order, in any batches and
// again come to the same rows, which are those of a fold in Go.
func TestFindingsConverge(t *testing.T) {
	store := schematest.Open(t)
	rng := rand.New(rand.NewPCG(1, 2))
	severities := []string{"low", "medium", "high", "critical"}
	var told []schema.FindingRow
	for i := range 200 {
		minute, key := rng.IntN(50), rng.IntN(20)
		told = append(told, schema.FindingRow{
			Key: fmt.Sprintf("%032x", key), Kind: fmt.Sprint("kind", key%3), Severity: severities[rng.IntN(4)], Text: fmt.Sprint("text ", i),
			Identity: fmt.Sprint("who ", i), Evidence: schema.JSONText(fmt.Sprintf("[%d]", i)), First: at(minute - rng.IntN(5)), Last: at(minute),
			Requests: rng.Uint64N(100), Found: at(1000 + i), Updated: at(1000 + i),
		})
	}
	want := foldFindings(told)
	for round := range 4 {
		if err := store.Conn().Exec(t.Context(), "TRUNCATE TABLE finding_states"); err != nil {
			t.Fatal(err)
		}
		all := append(append([]schema.FindingRow(nil), told...), told[:round*40]...)
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for len(all) > 0 {
			n := 1 + rng.IntN(len(all))
			if err := store.InsertFindings(t.Context(), all[:n]); err != nil {
				t.Fatal(err)
			}
			if all = all[n:]; rng.IntN(3) == 0 {
				if err := store.Conn().Exec(t.Context(), "OPTIMIZE TABLE finding_states FINAL"); err != nil {
					t.Fatal(err)
				}
			}
		}
		have := readFindings(t, store, schema.FindingsQuery{})
		if len(have) != len(want) {
			t.Fatalf("round %d: %d rows, want %d", round, len(have), len(want))
		}
		for i, row := range have {
			if !reflect.DeepEqual(row, want[row.Key]) {
				t.Fatalf("round %d: have %+v\nwant %+v", round, row, want[row.Key])
			}
			if i > 0 && row.Last.After(have[i-1].Last) {
				t.Fatalf("round %d: row %d is newer than the one before it", round, i)
			}
		}
	}
}

// foldFindings is what findings come to, by key, when they are told in the order of
// Found.
func foldFindings(told []schema.FindingRow) map[string]schema.FindingRow {
	sums := map[string]schema.FindingRow{}
	for _, row := range told {
		sum, known := sums[row.Key]
		if !known {
			sums[row.Key] = row
			continue
		}
		newest := row // told later, which counts where Last is the same
		if row.Last.Before(sum.Last) {
			newest = sum
		}
		newest.First = row.First
		if sum.First.Before(row.First) {
			newest.First = sum.First
		}
		newest.Requests, newest.Found, newest.Updated = max(sum.Requests, row.Requests), sum.Found, row.Updated
		sums[row.Key] = newest
	}
	return sums
}

func TestFindingsFilters(t *testing.T) {
	store := schematest.Open(t)
	var rows []schema.FindingRow
	for i, severity := range []string{"low", "medium", "high", "critical"} {
		rows = append(rows, schema.FindingRow{
			Key: fmt.Sprint(i), Kind: fmt.Sprint("kind", i%2), Severity: severity, Identity: fmt.Sprintf("it's_%d", i), Run: fmt.Sprint("r", i),
			First: at(10 * i), Last: at(10*i + 5), Found: at(100),
		})
	}
	if err := store.InsertFindings(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		query schema.FindingsQuery
		want  string
	}{
		{schema.FindingsQuery{}, "3 2 1 0"},
		{schema.FindingsQuery{Limit: 2}, "3 2"},
		{schema.FindingsQuery{Kind: "kind0"}, "2 0"},
		{schema.FindingsQuery{Severity: "high"}, "3 2"},
		{schema.FindingsQuery{Severity: "low"}, "3 2 1 0"},
		{schema.FindingsQuery{Identity: "it's_1"}, "1"},
		{schema.FindingsQuery{Identity: "*_*"}, "3 2 1 0"},
		{schema.FindingsQuery{Identity: "its"}, ""},
		{schema.FindingsQuery{Run: "r2"}, "2"},
		{schema.FindingsQuery{Kind: "' OR 1=1 --"}, ""},
		{schema.FindingsQuery{Since: at(15), Until: at(20)}, "1"},                        // Last is in it
		{schema.FindingsQuery{Since: at(5), Until: at(21)}, "2 1 0"},                     // a part is
		{schema.FindingsQuery{Since: at(6), Until: at(10)}, ""},                          // between two
		{schema.FindingsQuery{Since: at(35).Add(time.Microsecond), Until: at(1000)}, ""}, // after the last
	} {
		var keys []string
		for _, row := range readFindings(t, store, c.query) {
			keys = append(keys, row.Key)
		}
		if have := strings.Join(keys, " "); have != c.want {
			t.Errorf("%+v: have %q, want %q", c.query, have, c.want)
		}
	}
}

func TestFindingsNeedAKeyAndASeverity(t *testing.T) {
	store := schematest.Open(t)
	for name, row := range map[string]schema.FindingRow{
		"no key": {Kind: "x", Severity: "low"}, "no kind": {Key: "x", Severity: "low"},
		"no severity": {Key: "x", Kind: "x"}, "unknown severity": {Key: "x", Kind: "x", Severity: "urgent"},
	} {
		if err := store.InsertFindings(t.Context(), []schema.FindingRow{row}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if rows := readFindings(t, store, schema.FindingsQuery{}); len(rows) != 0 {
		t.Errorf("stored: %+v", rows)
	}
}
