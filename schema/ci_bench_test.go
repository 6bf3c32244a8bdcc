package schema_test

import (
	"strconv"
	"testing"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// BenchmarkRunsOf is the look-up of 1,000 runs by name and 300 principals for an
// hour, in 100,000 runs.
func BenchmarkRunsOf(b *testing.B) {
	store := schematest.Open(b)
	if err := store.InsertRuns(b.Context(), manyRuns(100_000)); err != nil {
		b.Fatal(err)
	}
	query := schema.RunsQuery{
		RunIDs:     numbers(1000, func(i int) string { return strconv.Itoa(1_000_000 + 97*i) }),
		Principals: numbers(300, func(i int) string { return "sa-" + strconv.Itoa(i) }),
		From:       at(-120), Until: at(-60),
	}
	found := 0
	for b.Loop() {
		runs, err := store.RunsOf(b.Context(), query)
		if err != nil {
			b.Fatal(err)
		}
		found = len(runs)
	}
	b.ReportMetric(float64(found), "runs")
}
