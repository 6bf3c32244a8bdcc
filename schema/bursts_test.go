package schema_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

func readBursts(t *testing.T, store *schema.Store, q schema.BurstsQuery) []schema.BurstRow {
	t.Helper()
	if q.Until.IsZero() {
		q.Since, q.Until = at(-1_000_000), at(1_000_000)
	}
	var rows []schema.BurstRow
	if err := store.Bursts(t.Context(), q, func(row *schema.BurstRow) error { rows = append(rows, *row); return nil }); err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return rows
}

func aBurst(id string, start time.Time) schema.BurstRow {
	return schema.BurstRow{
		ID: id, Key: "space|shop-sa", Measure: "requests", Of: "identity", Identity: "shop-sa", Issuer: "space", Endpoint: "/secrets/*", Role: "deployer",
		Feed: "haptrail_identity", Proxy: "edge1", State: schema.BurstOpen, Severity: "medium", Start: start, End: time.Unix(0, 0).UTC(),
		Found: start.Add(time.Second), Updated: start.Add(time.Second), Window: 10, Peak: 412, Total: 500, Expected: 21, Limit: 70, High: 38.5, Own: 38, Cold: true,
		Reason: "it's \"so\"\x00", Project: "shop", Run: "r1", Commit: "c0ffee", Author: "Ann", Grade: "proven", Evidence: `[{"requests":12}]`,
	}
}

// TestBurstsLatestCounts: whatever is told of a burst, in whatever order, what was
// told last is what there is.
func TestBurstsLatestCounts(t *testing.T) {
	store := schematest.Open(t)
	open := aBurst("b1", at(0))
	over := open
	over.State, over.End, over.Updated, over.Peak, over.Cold = schema.BurstOver, at(2), at(2), 999, false
	other := aBurst("a2", at(1))
	for _, rows := range [][]schema.BurstRow{{over}, {open, other}, {open}} {
		if err := store.InsertBursts(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
	have := readBursts(t, store, schema.BurstsQuery{})
	if want := []schema.BurstRow{other, over}; !reflect.DeepEqual(have, want) {
		t.Errorf("have %+v\nwant %+v", have, want)
	}
	for _, c := range []struct {
		query schema.BurstsQuery
		want  string
	}{
		{schema.BurstsQuery{ID: "b"}, "b1"},
		{schema.BurstsQuery{Open: true}, "a2"},
		{schema.BurstsQuery{Identity: "shop*"}, "a2 b1"},
		{schema.BurstsQuery{Identity: "space|*"}, "a2 b1"},
		{schema.BurstsQuery{Identity: "shop"}, ""},
		{schema.BurstsQuery{Measure: "denials"}, ""},
		{schema.BurstsQuery{Severity: "medium"}, "a2 b1"},
		{schema.BurstsQuery{Severity: "high"}, ""},
		{schema.BurstsQuery{Limit: 1}, "a2"},
		{schema.BurstsQuery{Updated: at(1).Add(time.Second)}, "b1"},
		{schema.BurstsQuery{Since: at(3), Until: at(9)}, "a2"}, // it goes on
		{schema.BurstsQuery{Since: at(0), Until: at(1)}, "b1"},
	} {
		var ids []string
		for _, row := range readBursts(t, store, c.query) {
			ids = append(ids, row.ID)
		}
		if have := strings.Join(ids, " "); have != c.want {
			t.Errorf("%+v: have %q, want %q", c.query, have, c.want)
		}
	}
	if err := store.InsertBursts(t.Context(), []schema.BurstRow{{ID: "x"}}); err == nil || !strings.Contains(err.Error(), "row 1: no id or no start") {
		t.Errorf("a burst without a start: %v", err)
	}
}

// TestBurstEvidence: of an identity's requests in the time, and of a client's.
func TestBurstEvidence(t *testing.T) {
	store := schematest.Open(t)
	ours := map[string]string{"subject": "shop-sa", "provider": "space", "project": "shop", "run": "r1", "commit": "C0FFEE", "method": "GET", "endpoint": "/a/*", "decision": "allow"}
	denied := map[string]string{"subject": "shop-sa", "provider": "space", "project": "shop", "run": "r1", "method": "POST", "endpoint": "/b", "decision": "deny"}
	other := map[string]string{"subject": "shop-sa2", "method": "GET", "endpoint": "/a/*", "decision": "allow"}
	insertRequests(t, store, request("/a/1", at(1), ours), request("/a/2", at(2), ours), request("/b", at(2), denied), request("/a/3", at(9), ours), request("/a/1", at(1), other))
	have, err := store.BurstEvidence(t.Context(), schema.EvidenceQuery{Since: at(0), Until: at(5), Identity: "shop-sa", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range have {
		have[i].Network = netip.Addr{}
	}
	want := []schema.BurstEvidence{
		{Method: "GET", Endpoint: "/a/*", Decision: "allow", Provider: "space", Project: "shop", Run: "r1", Commit: "c0ffee", Grade: "proven", Requests: 2, First: at(1), Last: at(2)},
		{Method: "POST", Endpoint: "/b", Decision: "deny", Provider: "space", Project: "shop", Run: "r1", Grade: "proven", Requests: 1, First: at(2), Last: at(2)},
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("have %+v\nwant %+v", have, want)
	}
	for client, n := range map[string]int{"::": 3, "192.0.2.9": 0} { // the test's rows have no client
		rows, err := store.BurstEvidence(t.Context(), schema.EvidenceQuery{Since: at(0), Until: at(5), Client: netip.MustParseAddr(client), Limit: 10})
		if err != nil || len(rows) != n {
			t.Errorf("of client %s: %d rows, error %v; want %d", client, len(rows), err, n)
		}
	}
	if _, err := store.BurstEvidence(t.Context(), schema.EvidenceQuery{Since: at(0), Until: at(5)}); err == nil {
		t.Error("evidence of nobody: no error")
	}
}

func TestStickSamples(t *testing.T) {
	store := schematest.Open(t)
	id := schema.NewBlockID()
	rows := []schema.StickSample{
		{Time: at(1), Proxy: "edge1", Table: "t", Key: "b", Elapsed: 2000, Requests: 3, Counted: map[string]uint64{"http_err_cnt": 1}, Levels: map[string]uint64{"conn_cur": 2}},
		{Time: at(1), Proxy: "edge2", Table: "t", Key: "b", Elapsed: 2000, Requests: 4},
		{Time: at(2), Proxy: "edge1", Table: "t", Key: "a", Elapsed: 2000, Requests: 5},
		{Time: at(2), Proxy: "edge1", Table: "other", Key: "a", Elapsed: 2000, Requests: 6},
		{Time: at(-9), Proxy: "edge1", Table: "t", Key: "a", Elapsed: 2000, Requests: 7},
	}
	for range 2 { // the second time is none
		if err := store.InsertStickSamples(t.Context(), rows, id); err != nil {
			t.Fatal(err)
		}
	}
	var have []schema.Counted
	if err := store.StickHistory(t.Context(), "t", at(0), at(3), func(c *schema.Counted) error {
		have = append(have, schema.Counted{Time: c.Time.UTC(), Key: c.Key, Elapsed: c.Elapsed, Count: c.Count})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []schema.Counted{{at(2), "a", 2000, 5}, {at(1), "b", 2000, 7}}; !reflect.DeepEqual(have, want) {
		t.Errorf("have %+v\nwant %+v", have, want)
	}
}

// TestSampleHistory: samples that are old are a row a minute, and much older ones go.
func TestSampleHistory(t *testing.T) {
	store := schematest.Open(t)
	if err := store.SetSampleHistory(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	day := time.Now().UTC().Truncate(time.Hour)
	for _, age := range []int{1, 10, 200} {
		for second := range 4 {
			row := schema.StickSample{
				Time: day.AddDate(0, 0, -age).Add(time.Duration(second*20) * time.Second), Proxy: "edge1", Table: "t", Key: "a", Elapsed: 2000, Requests: 1,
				Counted: map[string]uint64{"http_err_cnt": 1}, Levels: map[string]uint64{"conn_cur": uint64(second)},
			}
			if err := store.InsertStickSamples(t.Context(), []schema.StickSample{row}, schema.NewBlockID()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := store.Conn().Exec(t.Context(), "OPTIMIZE TABLE stick_samples FINAL"); err != nil {
		t.Fatal(err)
	}
	rows, err := store.Conn().Query(t.Context(), `SELECT dateDiff('day', time, toDateTime({now:UInt32}, 'UTC')), second(time), requests, elapsed_ms, counted['http_err_cnt'], levels['conn_cur']
FROM stick_samples ORDER BY time`, clickhouse.Named("now", strconv.FormatInt(day.Unix(), 10)))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var have [][6]int64
	for rows.Next() {
		var age int64
		var second uint8
		var n [4]uint64
		if err := rows.Scan(&age, &second, &n[0], &n[1], &n[2], &n[3]); err != nil {
			t.Fatal(err)
		}
		have = append(have, [6]int64{age, int64(second), int64(n[0]), int64(n[1]), int64(n[2]), int64(n[3])})
	}
	want := [][6]int64{{10, 0, 3, 6000, 3, 2}, {10, 0, 1, 2000, 1, 3}, {1, 0, 1, 2000, 1, 0}, {1, 20, 1, 2000, 1, 1}, {1, 40, 1, 2000, 1, 2}, {1, 0, 1, 2000, 1, 3}}
	if !slices.Equal(have, want) {
		t.Errorf("days ago, second, requests, ms, errors, connections:\nhave %v\nwant %v", have, want)
	}
	if err := store.SetSampleHistory(t.Context(), 2); err != nil {
		t.Errorf("the same again: %v", err)
	}
}

// TestAnnouncements: what was told last of load and of silences counts, until it ends.
func TestAnnouncements(t *testing.T) {
	store := schematest.Open(t)
	e := schema.Expectation{ID: "e1", Identity: "load-*", Starts: at(0), Ends: at(60), Factor: 10, Owner: "ann", Reason: "load test", Told: at(0)}
	late := e
	late.ID, late.Ends = "e0", at(-1)
	withdrawn := e
	withdrawn.Withdrawn, withdrawn.Told = true, at(1)
	for _, row := range []schema.Expectation{withdrawn, e, late} {
		if err := store.InsertExpectation(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := store.Expectations(t.Context(), at(0)); err != nil || !reflect.DeepEqual(have, []schema.Expectation{withdrawn}) {
		t.Errorf("have %+v, error %v", have, err)
	}
	quiet := schema.SilenceRow{ID: "s1", Kind: "burst", Identity: "x", Starts: at(0), Ends: at(60), Owner: "ann", Reason: "known", Told: at(0)}
	if err := store.InsertSilence(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	if have, err := store.Silences(t.Context(), at(0)); err != nil || !reflect.DeepEqual(have, []schema.SilenceRow{quiet}) {
		t.Errorf("have %+v, error %v", have, err)
	}
}

func TestAlertsLatestCounts(t *testing.T) {
	store := schematest.Open(t)
	firing := schema.AlertRow{Key: "k", Kind: "burst", Severity: "high", Title: "T", Text: "X", Identity: "shop-sa", Run: "r", Commit: "c", Start: at(0), End: time.Unix(0, 0).UTC(), Updated: at(0), Command: "haptrail bursts"}
	again := firing
	again.Start, again.Updated = at(9), at(9)
	over := firing
	over.End, over.Updated = at(2), at(2)
	for _, row := range []schema.AlertRow{over, firing, again} {
		if err := store.InsertAlerts(t.Context(), []schema.AlertRow{row}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(q schema.AlertsQuery) (rows []schema.AlertRow) {
		t.Helper()
		if q.Until.IsZero() {
			q.Until = at(100)
		}
		if err := store.Alerts(t.Context(), q, func(row *schema.AlertRow) error { rows = append(rows, *row); return nil }); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if have := read(schema.AlertsQuery{}); !reflect.DeepEqual(have, []schema.AlertRow{again, over}) {
		t.Errorf("have %+v", have)
	}
	for _, c := range []struct {
		query schema.AlertsQuery
		want  int
	}{
		{schema.AlertsQuery{Firing: true}, 1}, {schema.AlertsQuery{Kind: "finding"}, 0}, {schema.AlertsQuery{Identity: "shop*"}, 2},
		{schema.AlertsQuery{Since: at(3)}, 1}, {schema.AlertsQuery{Until: at(3)}, 1}, {schema.AlertsQuery{Limit: 1}, 1},
	} {
		if have := read(c.query); len(have) != c.want {
			t.Errorf("%+v: %d alerts, want %d", c.query, len(have), c.want)
		}
	}
	if err := store.InsertAlerts(t.Context(), []schema.AlertRow{{Key: "x"}}); err == nil || !strings.Contains(err.Error(), "row 1: no key or no start") {
		t.Errorf("an alert without a start: %v", err)
	}
}

// TestRequestHistory: what the table tells of the past is what the block's tally told.
func TestRequestHistory(t *testing.T) {
	store := schematest.Open(t)
	b := schema.NewRequestBlock()
	for i := range 600 {
		row := map[string]string{"method": "GET", "endpoint": fmt.Sprint("/e", i%3), "decision": []string{"allow", "deny"}[i%2], "role": fmt.Sprint("role", i/300)}
		if i%5 > 0 {
			row["subject"], row["issuer"] = fmt.Sprint("s", i%5), "https://i"
		}
		addRequest(b, row, ten.Add(time.Duration(i/7)*time.Second))
	}
	type key struct{ second, who string }
	tallied := map[string]map[key]uint64{}
	count := func(what string, tally *schema.Tally, who string, n uint64) {
		if tallied[what] == nil {
			tallied[what] = map[key]uint64{}
		}
		if n > 0 {
			tallied[what][key{fmt.Sprint(tally.Second), who}] += n
		}
	}
	b.Tally(func(tally *schema.Tally) {
		if tally.Subject == "" {
			count("nobody", tally, tally.Client.String(), tally.Denied)
			return
		}
		count("requests", tally, tally.Subject, tally.Requests)
		count("endpoints", tally, tally.Subject+tally.Method+tally.Endpoint, tally.Requests)
		count("denials", tally, tally.Subject, tally.Denied)
	})
	if err := store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	for what, q := range map[string]schema.HistoryQuery{
		"requests": {}, "endpoints": {Endpoints: true}, "denials": {Denied: true}, "nobody": {Denied: true, Nobody: true},
	} {
		q.From, q.Until = ten, at(10)
		have := map[key]uint64{}
		err := store.RequestHistory(t.Context(), q, func(c *schema.RequestCount) error {
			who := c.Subject + c.Method + c.Endpoint
			if q.Nobody {
				who = c.Client.String()
			}
			have[key{fmt.Sprint(c.Time.Unix()), who}] += c.Count
			return nil
		})
		if err != nil || !maps.Equal(have, tallied[what]) {
			t.Errorf("%s: error %v\nhave %v\nwant %v", what, err, have, tallied[what])
		}
	}
	for _, q := range []schema.HistoryQuery{{Failed: true}, {Kilobytes: true}} { // there are none
		q.From, q.Until = ten, at(10)
		if err := store.RequestHistory(t.Context(), q, func(c *schema.RequestCount) error { return fmt.Errorf("%+v", *c) }); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
	roles := map[string]string{}
	if err := store.Roles(t.Context(), ten, func(r *schema.RoleOf) error { roles[r.Subject] = r.Role; return nil }); err != nil || len(roles) != 4 || roles["s1"] != "role1" {
		t.Errorf("roles %v, error %v", roles, err)
	}
}
