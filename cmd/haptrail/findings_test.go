package main

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/haptrail/haptrail/analyze/attribute"
	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/embedded"
)

// TestFindings shows by the command what the detectors found.
func TestFindings(t *testing.T) {
	library, err := embedded.Locate()
	if err != nil {
		t.Skipf("no embedded engine: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/findings",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HAPTRAIL_LIBCHDB", library)
			return seedFindings(t, filepath.Join(e.WorkDir, "data"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "rows": rows, "column": column},
	})
}

// seedFindings stores what the detectors find in a token that is used after its run,
// and later from another network, and in an archived account with an evil name.
func seedFindings(t *testing.T, dir string) error {
	store, err := schema.Open(t.Context(), "embedded:"+dir, schema.Options{})
	if err != nil {
		return err
	}
	if _, err := store.Migrate(t.Context(), ""); err != nil {
		return err
	}
	start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	use := func(subject string, minute int, network string) finding.Use {
		at := start.Add(time.Duration(minute) * time.Minute)
		u := finding.Use{
			Verdict: attribute.Verdict{Grade: attribute.Proven, Project: "shop", Run: "r-100"},
			Backend: "app", Role: "deployer", Method: "POST", Endpoint: "/deployments/{n}", Decision: "allow",
			Network: netip.MustParsePrefix(network), Requests: 12,
		}
		u.Provider, u.Issuer, u.Subject, u.TokenID = "teamcity", "https://ci.example.test", subject, "token-of-"+subject
		u.Project, u.Run, u.First, u.Last = "shop", "r-100", at, at.Add(time.Minute)
		return u
	}
	thief := finding.Token{Issuer: "https://ci.example.test", ID: "token-of-deployer"}
	in := finding.Input{
		Uses: []finding.Use{use("deployer", 37, "10.2.3.0/24"), use("evil\x1b[2J", 1, "10.2.3.0/24")},
		Runs: []attribute.Run{{Provider: "teamcity", Project: "shop", ID: "r-100", Started: start.Add(-time.Minute), Finished: start}},
		Principals: map[finding.Identity]finding.Principal{
			{Provider: "teamcity", Subject: "evil\x1b[2J"}: {Owner: "ada", Archived: true},
		},
	}
	found := finding.Look(in, finding.Policy{})
	in.Uses = []finding.Use{use("deployer", 47, "192.0.2.0/24")}
	in.Tokens = map[finding.Token]finding.TokenPast{thief: {Networks: []finding.Seen[netip.Prefix]{
		{Value: netip.MustParsePrefix("10.2.3.0/24"), First: start, Last: start.Add(38 * time.Minute), Requests: 12},
		{Value: netip.MustParsePrefix("192.0.2.0/24"), First: start.Add(30 * time.Minute), Last: start.Add(48 * time.Minute), Requests: 12},
	}}}
	found = append(found, finding.Look(in, finding.Policy{})...)
	var told []schema.FindingRow
	for i, f := range found {
		row, err := findingRow(f)
		if err != nil {
			return err
		}
		row.Found = start.Add(time.Duration(60+i) * time.Minute)
		told = append(told, row)
	}
	if err := store.InsertFindings(t.Context(), told); err != nil {
		return err
	}
	return store.Close()
}

// findingRow is a finding as the table has it.
func findingRow(f finding.Finding) (schema.FindingRow, error) {
	evidence, err := json.Marshal(f.Evidence)
	return schema.FindingRow{
		Key: f.Key, Kind: f.Kind, Severity: f.Severity.String(), Title: f.Title, Text: f.Text, Action: f.Action,
		Provider: f.Provider, Issuer: f.Issuer, Identity: f.Subject, Project: f.Project, Run: f.Run, Commit: f.Commit, TokenID: f.Token,
		Backend: f.Backend, First: f.First, Last: f.Last, Requests: f.Requests, Evidence: schema.JSONText(evidence),
	}, err
}
