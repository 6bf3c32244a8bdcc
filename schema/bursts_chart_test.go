package schema_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// burstCounts are what the store has of a burst from 60 s before at(0) until at(5), by
// seconds after at(0), with the milliseconds that they took.
func burstCounts(t *testing.T, store *schema.Store, b schema.BurstRow) map[[2]int64]uint64 {
	t.Helper()
	counts, err := store.BurstCounts(t.Context(), &b, at(-1), at(5))
	if err != nil {
		t.Fatal(err)
	}
	have := map[[2]int64]uint64{}
	for i, c := range counts {
		if i > 0 && !c.Time.After(counts[i-1].Time) {
			t.Errorf("%v is not after %v", c.Time, counts[i-1].Time)
		}
		have[[2]int64{int64(c.Time.Sub(at(0)) / time.Second), int64(c.Elapsed)}] = c.Count
	}
	return have
}

// TestBurstCountsOfSticks: of the key in its stick table, at all proxies; where the
// samples are gone the logs stand in.
func TestBurstCountsOfSticks(t *testing.T) {
	store := schematest.Open(t)
	key := "space|it's\\a \"key\"\x01\t"
	sample := func(second int, proxy, table, key string, n uint64) schema.StickSample {
		return schema.StickSample{Time: at(0).Add(time.Duration(second) * time.Second), Proxy: proxy, Table: table, Key: key, Elapsed: 2000, Requests: n}
	}
	rows := []schema.StickSample{
		sample(-61, "edge1", "t", key, 99), sample(-60, "edge1", "t", key, 1), sample(0, "edge1", "t", key, 2), sample(0, "edge2", "t", key, 3),
		sample(2, "edge1", "t", key, 4), sample(0, "edge1", "t", key+"x", 99), sample(0, "edge1", "other", key, 99), sample(300, "edge1", "t", key, 99),
	}
	if err := store.InsertStickSamples(t.Context(), rows, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	insertRequests(t, store, request("/a", at(1), map[string]string{"subject": "ann"}))
	want := map[[2]int64]uint64{{-60, 2000}: 1, {0, 2000}: 5, {2, 2000}: 4}
	for name, b := range map[string]schema.BurstRow{
		"an identity":         {Feed: "t", Key: key, Identity: "ann", Measure: "requests"},
		"judged at a proxy":   {Feed: "t", Key: key + "@edge1", Proxy: "edge1", Identity: "ann", Measure: "requests"},
		"a key of no kind":    {Feed: "t", Key: "t|" + key, Measure: "requests"},
		"of no requests even": {Feed: "t", Key: key, Measure: "requests"},
	} {
		if have := burstCounts(t, store, b); !reflect.DeepEqual(have, want) {
			t.Errorf("%s: have %v, want %v", name, have, want)
		}
	}
	gone := schema.BurstRow{Feed: "t", Key: "space|ann", Identity: "ann", Measure: "requests"}
	if have := burstCounts(t, store, gone); !reflect.DeepEqual(have, map[[2]int64]uint64{{61, 1000}: 1}) {
		t.Errorf("samples that are gone: have %v", have)
	}
	if have := burstCounts(t, store, schema.BurstRow{Feed: "t", Key: "who knows", Measure: "requests"}); len(have) != 0 {
		t.Errorf("a key of nobody: have %v", have)
	}
}

// TestBurstCountsOfLogs: each measure counts what its detector counts.
func TestBurstCountsOfLogs(t *testing.T) {
	store := schematest.Open(t)
	ann := func(path, decision, endpoint string) func(*schema.RequestBlock) {
		return request(path, at(1), map[string]string{"subject": "ann", "method": "GET", "endpoint": endpoint, "decision": decision})
	}
	insertRequests(t, store, ann("/a", "allow", "/a"), ann("/b", "deny", "/b"), ann("/b", "deny", "/b"),
		request("/a", at(2), map[string]string{"subject": "ann2"}), request("/a", at(2), map[string]string{"decision": "deny"}), request("/a", at(9), map[string]string{"subject": "ann"}))
	const failed = `INSERT INTO requests (time, subject, status, bytes_read, active_ms) VALUES
('2026-11-23 10:01:00.5', 'ann', 502, 1500, 0), ('2026-11-23 10:01:00.5', 'ann', -1, 0, 2600), ('2026-11-23 10:01:00.6', 'ann', 404, 501, 0)`
	if err := store.Conn().Exec(t.Context(), failed); err != nil {
		t.Fatal(err)
	}
	logs := func(b schema.BurstRow) schema.BurstRow { b.Feed = schema.FeedLogs; return b }
	for name, c := range map[string]struct {
		burst  schema.BurstRow
		second int64
		n      uint64
	}{
		"requests":              {logs(schema.BurstRow{Identity: "ann", Endpoint: "GET /b", Measure: "requests"}), 61, 2},
		"denials":               {logs(schema.BurstRow{Identity: "ann", Measure: "denials"}), 61, 2},
		"errors":                {logs(schema.BurstRow{Identity: "ann", Measure: "errors"}), 61, 1},
		"kilobytes":             {logs(schema.BurstRow{Identity: "ann", Measure: "kilobytes"}), 61, 3},
		"an endpoint":           {logs(schema.BurstRow{Identity: "ann", Endpoint: "GET /a", Measure: "requests"}), 61, 1},
		"denials of an address": {logs(schema.BurstRow{Key: "::", Measure: "denials"}), 121, 1},
		"another address":       {logs(schema.BurstRow{Key: "192.0.2.1", Measure: "denials"}), 0, 0},
	} {
		want := map[[2]int64]uint64{}
		if c.n > 0 {
			want[[2]int64{c.second, 1000}] = c.n
		}
		if c.burst.Measure == "errors" {
			want[[2]int64{64, 1000}] = 1 // what is told when it was answered
		}
		if have := burstCounts(t, store, c.burst); !reflect.DeepEqual(have, want) {
			t.Errorf("%s: have %v, want %v", name, have, want)
		}
	}
	all := burstCounts(t, store, schema.BurstRow{Feed: "haptrail_source", Of: "address", Key: "::", Measure: "requests"})
	if want := map[[2]int64]uint64{{61, 1000}: 5, {64, 1000}: 1, {121, 1000}: 2}; !reflect.DeepEqual(all, want) {
		t.Errorf("all requests of an address: have %v, want %v", all, want)
	}
}
