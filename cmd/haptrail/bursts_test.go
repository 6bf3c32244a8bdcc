package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/embedded"
)

// TestBursts shows by the commands what the daemon found and told.
func TestBursts(t *testing.T) {
	library, err := embedded.Locate()
	if err != nil {
		t.Skipf("no embedded engine: %v", err)
	}
	var one sync.Mutex // a process has one engine
	testscript.Run(t, testscript.Params{
		Dir: "testdata/bursts",
		Setup: func(e *testscript.Env) error {
			one.Lock()
			defer one.Unlock()
			e.Setenv("HAPTRAIL_LIBCHDB", library)
			return seedBursts(t, filepath.Join(e.WorkDir, "data"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "rows": rows, "column": column},
	})
}

var burstsBegin = time.Date(2026, 11, 23, 10, 48, 2, 0, time.UTC)

// deployBurst is of an identity that did eleven times as much as ever, from one run.
func deployBurst() schema.BurstRow {
	return schema.BurstRow{
		ID: "3fa912cd34ab", Key: "space|payments-deploy", Measure: "requests", Of: "identity", Identity: "payments-deploy", Issuer: "space", Role: "deployer",
		Feed: "haptrail_identity", Proxy: "edge1", State: schema.BurstOver, Severity: "high", Start: burstsBegin, End: burstsBegin.Add(95 * time.Second),
		Found: burstsBegin.Add(800 * time.Millisecond), Updated: burstsBegin.Add(96 * time.Second), Window: 10, Peak: 412, Total: 3504, Expected: 21, Limit: 70,
		High: 38.5, Own: 38, Reason: "over after 95 s with 3,504 requests; at worst 412 requests in 10 s; this identity's own maximum in 14 days is 38; expected <= 21",
		Project: "payments", Run: "r-100", Commit: "c0ffee0123456789", Author: "Ann Other", Grade: "corroborated",
		Evidence: evidenceText(schema.BurstEvidence{
			Method: "POST", Endpoint: "/deployments/{n}", Decision: "allow", Project: "payments", Run: "r-100", Grade: "corroborated", Network: netip.MustParseAddr("10.2.3.0"), Requests: 3000,
		}),
	}
}

// hostileBurst goes on, of a key that would clear the screen, with an id that begins
// like another's.
func hostileBurst() schema.BurstRow {
	b := deployBurst()
	b.ID, b.Key, b.Identity, b.Issuer, b.Role = "3fa9ffff0000", "evil\x1b[2J'; reboot #", "evil\x1b[2J'; reboot #", "", ""
	b.Measure, b.Of, b.Feed, b.Proxy, b.State, b.Severity, b.End = "denials", "identity", "logs", "", schema.BurstOpen, "low", time.Unix(0, 0)
	b.Start, b.Found, b.Updated = burstsBegin.Add(time.Minute), burstsBegin.Add(62*time.Second), burstsBegin.Add(62*time.Second)
	b.Window, b.Peak, b.Total, b.Expected, b.Limit, b.High, b.Own, b.Cold = 60, 17, 17, 1, 4, 3, 0, true
	b.Reason = "17 denials in 60 s; known for 5 min only, so judged by what is usual for identities, at most 3; expected <= 1"
	b.Project, b.Run, b.Commit, b.Author, b.Grade, b.Evidence = "shop", "$(reboot)", "", "", "inferred", ""
	return b
}

// addressBurst was lost, of a client's address.
func addressBurst() schema.BurstRow {
	return schema.BurstRow{
		ID: "a0b1c2d3e4f5", Key: "192.0.2.7", Measure: "requests", Of: "address", Feed: "haptrail_source", Proxy: "edge2", State: schema.BurstLost, Severity: "medium",
		Start: burstsBegin.Add(-time.Hour), End: burstsBegin.Add(-30 * time.Minute), Found: burstsBegin.Add(-time.Hour), Updated: burstsBegin.Add(-30 * time.Minute),
		Window: 5, Peak: 900, Total: 1_204_000, Expected: 300, Limit: 310, High: 280, Own: 280,
		Reason: "900 requests in 5 s; this address's own maximum in 3 days is 280; expected <= 300; nobody saw it end, as haptrail was away",
	}
}

func evidenceText(rows ...schema.BurstEvidence) schema.JSONText {
	text, err := json.Marshal(rows)
	if err != nil {
		panic(err)
	}
	return schema.JSONText(text)
}

// seedBursts stores bursts of three kinds, an earlier one, what the first did second by
// second, and alerts.
func seedBursts(t *testing.T, dir string) error {
	store, err := schema.Open(t.Context(), "embedded:"+dir, schema.Options{})
	if err != nil {
		return err
	}
	if _, err := store.Migrate(t.Context(), ""); err != nil {
		return err
	}
	earlier := deployBurst()
	earlier.ID, earlier.Start, earlier.End, earlier.Peak = "0001aaaa0001", burstsBegin.AddDate(0, 0, -4), burstsBegin.AddDate(0, 0, -4).Add(3*time.Minute), 81
	if err := store.InsertBursts(t.Context(), []schema.BurstRow{deployBurst(), hostileBurst(), addressBurst(), earlier}); err != nil {
		return err
	}
	if err := store.InsertStickSamples(t.Context(), deploySamples(), schema.NewBlockID()); err != nil {
		return err
	}
	const denied = `INSERT INTO requests (time, subject, client_ip, method, endpoint, decision)
SELECT toDateTime64('2026-11-23 10:49:00', 6, 'UTC') + number, 'evil\x1b[2J\'; reboot #', '198.51.100.7', 'GET', if(number < 20, '/secrets/{n}', concat('/x\x1b[31m/', toString(number))), 'deny'
FROM numbers(30)`
	if err := store.Conn().Exec(t.Context(), denied); err != nil {
		return err
	}
	alerts := []schema.AlertRow{
		{Key: "k1", Kind: "burst", Severity: "high", Title: "Burst of requests: payments-deploy", Text: "412 requests in 10 s\nRun r-100", Identity: "payments-deploy", Run: "r-100",
			Start: burstsBegin, End: burstsBegin.Add(95 * time.Second), Updated: burstsBegin, Command: "haptrail bursts explain 3fa912cd34ab"},
		{Key: "k2", Kind: "finding", Severity: "critical", Title: "evil\x1b[2J", Text: "a\x1b[31m\nb", Identity: "evil\x1b[2J", Start: burstsBegin.Add(time.Minute), Updated: burstsBegin},
	}
	if err := store.InsertAlerts(t.Context(), alerts); err != nil {
		return err
	}
	return store.Close()
}

// deploySamples are 2 requests a second, 40 while the burst lasts, in samples of 2 s at
// two proxies; and other keys'.
func deploySamples() (rows []schema.StickSample) {
	for second := -200; second < 200; second += 2 {
		n := uint64(2)
		if second > 0 && second <= 96 {
			n = 40
		}
		at := burstsBegin.Add(time.Duration(second) * time.Second)
		for i := range 2 {
			rows = append(rows, schema.StickSample{Time: at, Proxy: fmt.Sprintf("edge%d", i+1), Table: "haptrail_identity", Key: "space|payments-deploy", Elapsed: 2000, Requests: n})
		}
		rows = append(rows, schema.StickSample{Time: at, Proxy: "edge1", Table: "haptrail_identity", Key: "space|other", Elapsed: 2000, Requests: 1000})
	}
	return rows
}
