package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// TestBurstOfCallers: a burst of callers that a frontend denied is listed and explained,
// with its callers second by second; and the command that its alert names shows them.
func TestBurstOfCallers(t *testing.T) {
	store := schematest.Open(t)
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	dsn := "unix:" + filepath.Join(dir, "s")
	begin := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	const denied = `INSERT INTO requests (time, frontend, client_ip, subject, method, endpoint, decision, reason)
SELECT toDateTime64('2026-11-23 10:00:00', 6, 'UTC') + intDiv(number, 25), 'www', toIPv6(concat('198.51.100.', toString(number % 250))), if(number = 7, 'job-7', ''),
    'GET', '/orders/*', 'deny', if(number % 3 = 0, 'no_token', 'sig_bad') FROM numbers(500)`
	if err := store.Conn().Exec(t.Context(), denied); err != nil {
		t.Fatal(err)
	}
	row := schema.BurstRow{
		ID: "ca11e55c0ffe", Key: "www", Measure: schema.MeasureCallers, Of: "frontend", Feed: schema.FeedLogs, State: schema.BurstOver, Severity: "high",
		Start: begin, End: begin.Add(80 * time.Second), Found: begin.Add(2 * time.Second), Window: 10, Peak: 250, Total: 251, Limit: 40, High: 9, Own: 9, Expected: 12,
		Reason:   "250 denied callers in 10 s; this frontend's own maximum in 14 days is 9; expected <= 12",
		Evidence: `[{"method":"GET","endpoint":"/orders/*","decision":"deny","network":"::","requests":500}]`,
	}
	if err := store.InsertBursts(t.Context(), []schema.BurstRow{row}); err != nil {
		t.Fatal(err)
	}
	defer serveSocket(t, store, filepath.Join(dir, "s"))()
	for _, c := range []struct {
		args string
		want []string
	}{
		{"bursts --since 2026-11-01 --measure callers", []string{"ca11e55c0ffe", "www", "250 callers in 10 s"}},
		{"bursts explain ca11e5", []string{
			"Burst of callers, high", "the frontend www of all proxies", "250 callers in 10 s; more than 40 in that time is too much", "500       GET     /orders/*  deny", "Callers a second",
			"250 addresses; 1 verified identity", "sig_bad (333 denials); no_token (167 denials)", "--summary --decision deny --since 2026-11-23T09:58:00Z",
		}},
		{"trail --summary --decision deny --since 2026-11-23T09:59:00Z --until 2026-11-23T10:01:21Z", []string{"job-7", "sig_bad", "no_token", "332", "167"}},
	} {
		out, errors, code := command(t, nil, append(strings.Fields(c.args), "--dsn", dsn)...)
		for _, want := range c.want {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%s: exit code %d, no %q in\n%s%s", c.args, code, want, out, errors)
			}
		}
		if strings.Contains(out, "no counts are kept") {
			t.Errorf("%s: no chart in\n%s", c.args, out)
		}
	}
}
