package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/internal/strictyaml"
	"github.com/haptrail/haptrail/schema"
)

type findingsCmd struct {
	where
	Since    string `default:"7d" help:"From when, by the requests' time: a duration back from now (90m, 7d), a date, an RFC 3339 time, or all."`
	Until    string `default:"now" help:"Until when, likewise."`
	Kind     string `placeholder:"KIND" help:"Only this kind, such as token_after_run."`
	Severity string `enum:",low,medium,high,critical" default:"" placeholder:"WORD" help:"Only low, medium, high or critical, and what is worse."`
	Identity string `placeholder:"SUB" help:"Only this identity (the token's whole subject); * stands for anything."`
	RunID    string `name:"run" placeholder:"ID" help:"Only this CI run."`
	Limit    uint64 `short:"n" default:"50" help:"The newest so many; 0 for all."`
	Long     bool   `short:"l" help:"Each finding in full: what was seen, and what to do about it."`
	Output   string `short:"o" enum:"table,json,csv,ocsf" default:"table" help:"table, json (one array), csv or ocsf (one OCSF 1.7 Detection Finding a line)."`
}

// findingColumns are what the table shows; JSON and CSV have every column.
var findingColumns = []string{"last", "severity", "kind", "identity", "project", "run", "requests", "text"}

func (c *findingsCmd) Run(ctx context.Context, s streams) error {
	query, err := c.query(time.Now())
	if err != nil {
		return usageError{err}
	}
	store, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer store.Close()
	switch {
	case c.Output == "ocsf":
		w := bufio.NewWriter(s.out)
		lines := json.NewEncoder(w)
		return errors.Join(store.Findings(ctx, query, func(row *schema.FindingRow) error {
			event, err := ocsfEvent(row)
			if err != nil {
				return err
			}
			return lines.Encode(event)
		}), w.Flush())
	case c.Output == "table" && c.Long:
		w := bufio.NewWriter(s.out)
		found := 0
		err := store.Findings(ctx, query, func(row *schema.FindingRow) error {
			found++
			writeFinding(w, row, &c.where)
			return nil
		})
		if found == 0 {
			fmt.Fprintln(w, c.empty(query))
		}
		return errors.Join(err, w.Flush())
	}
	p := newPrinter[schema.FindingRow](s.out, c.Output, findingColumns)
	p.empty = c.empty(query)
	return errors.Join(store.Findings(ctx, query, p.row), p.close())
}

func (c *findingsCmd) query(now time.Time) (q schema.FindingsQuery, err error) {
	var since time.Time
	if c.Since != "all" {
		if since, err = parseTime(c.Since, now); err != nil {
			return q, fmt.Errorf("--since: %w", err)
		}
	}
	until, err := parseTime(c.Until, now)
	if err != nil {
		return q, fmt.Errorf("--until: %w", err)
	}
	if c.Until == "now" {
		until = farFuture // a sender's clock may be ahead of ours
	}
	if !since.Before(until) {
		return q, fmt.Errorf("--since %s is not before --until %s", c.Since, c.Until)
	}
	if c.Kind != "" && !slices.Contains(finding.Kinds(), c.Kind) {
		return q, hint(fmt.Errorf("--kind: %s", strictyaml.Unknown("kind of finding", c.Kind, finding.Kinds())), "the kinds are "+strings.Join(finding.Kinds(), ", "))
	}
	return schema.FindingsQuery{
		Since: since, Until: until, Kind: c.Kind, Severity: c.Severity, Identity: c.Identity, Run: c.RunID, Limit: c.Limit,
	}, nil
}

func (c *findingsCmd) empty(q schema.FindingsQuery) string {
	return fmt.Sprintf("No findings since %s. Widen --since, or loosen the filters.", q.Since.UTC().Format(time.DateTime))
}

// writeFinding writes a finding for a person to read, found where from says.
func writeFinding(w io.Writer, row *schema.FindingRow, from *where) {
	fmt.Fprintf(w, "%s  %s  %s  [%s %s]\n    %s\n    To do: %s\n\n",
		short(row.Last), row.Severity, printable(row.Title), printable(row.Kind), printable(row.Key), printable(row.Text), printable(from.next(row.Action)))
}

// ocsfEvent is a row as an OCSF Detection Finding.
func ocsfEvent(row *schema.FindingRow) (finding.DetectionFinding, error) {
	severity, ok := finding.ParseSeverity(row.Severity)
	if !ok {
		return finding.DetectionFinding{}, fmt.Errorf("finding %s: unknown severity %q", row.Key, row.Severity)
	}
	f := finding.Finding{
		Kind: row.Kind, Severity: severity, Key: row.Key, Title: row.Title, Text: row.Text, Action: row.Action,
		Provider: row.Provider, Issuer: row.Issuer, Subject: row.Identity, Project: row.Project, Run: row.Run, Commit: row.Commit,
		Token: row.TokenID, Backend: row.Backend, First: row.First, Last: row.Last, Requests: row.Requests,
	}
	if err := json.Unmarshal([]byte(row.Evidence), &f.Evidence); err != nil {
		return finding.DetectionFinding{}, fmt.Errorf("finding %s: evidence: %w", row.Key, err)
	}
	return f.OCSF(finding.Told{Version: versionText(), Found: row.Found, Updated: row.Updated}), nil
}
