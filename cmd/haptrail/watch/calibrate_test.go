package watch_test

import (
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// TestCalibrates: on the schedule thresholds are found on the history, count at once,
// and after a restart.
func TestCalibrates(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	now := time.Now().Truncate(time.Minute)
	var rows []schema.StickSample
	for minute := range 9 * 24 * 60 { // a steady key, with ten a minute for nine days
		rows = append(rows, schema.StickSample{
			Time: now.Add(-time.Duration(minute) * time.Minute), Proxy: "edge1", Table: "identities", Key: "space|steady", Elapsed: 1000, Requests: uint64(8 + minute%5),
		})
	}
	if err := store.InsertStickSamples(t.Context(), rows, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	o := options(t, store, on)
	o.Schedule = cron.Every(time.Second)
	r := run(t, o)
	cursor := func() string {
		text, err := store.Cursor(t.Context(), "/bursts/requests_of_identity")
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	r.wait("a calibration", func() bool { return cursor() != "" })
	r.wait("that it counts", func() bool { return r.Limits("requests_of_identity") == cursor() })
	if have := r.Limits("denials_of_identity"); have != "" {
		t.Errorf("denials have no history, and thresholds %s", have)
	}
	r.stop()
	o.Metrics, o.Schedule = nil, cron.Every(time.Hour)
	again := run(t, o)
	if have := again.Limits("requests_of_identity"); have != cursor() {
		t.Errorf("after a restart %s, want %s", have, cursor())
	}
}
