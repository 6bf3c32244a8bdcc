package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/schema"
)

type trailCmd struct {
	where
	Since    string `default:"24h" help:"From when: a duration back from now (90m, 7d), a date, or an RFC 3339 time."`
	Until    string `default:"now" help:"Until when, likewise."`
	Identity string `placeholder:"SUB" help:"Only this identity (the token's subject); * stands for anything."`
	RunID    string `name:"run" placeholder:"ID" help:"Only this CI run."`
	Commit   string `placeholder:"SHA" help:"Only this commit, or the commits that begin so."`
	Path     string `placeholder:"PATH" help:"Only this path and what is below it; or with * for anything."`
	Decision string `enum:",allow,deny" default:"" help:"Only allow or deny."`
	Limit    uint64 `short:"n" default:"50" help:"The newest rows so many; 0 for all."`
	Summary  bool   `short:"s" help:"One row for each identity, run, decision and reason, the busiest first."`
	output
}

// trailColumns are what the table shows; JSON and CSV have every column.
var trailColumns = []string{"time", "identity", "project", "run", "commit", "author", "method", "path", "status", "decision", "reason", "grade"}
var summaryColumns = []string{"identity", "project", "run", "commit", "author", "requests", "mostly", "decision", "reason", "grade"}

func (c *trailCmd) Run(ctx context.Context, s streams) error {
	now := time.Now()
	since, err := parseTime(c.Since, now)
	if err != nil {
		return usageError{fmt.Errorf("--since: %w", err)}
	}
	until, err := parseTime(c.Until, now)
	if err != nil {
		return usageError{fmt.Errorf("--until: %w", err)}
	}
	if c.Until == "now" {
		until = farFuture // a sender's clock may be ahead of ours
	}
	if !since.Before(until) {
		return usageError{fmt.Errorf("--since %s is not before --until %s", c.Since, c.Until)}
	}
	store, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer store.Close()
	query := schema.TrailQuery{
		Since: since, Until: until, Identity: c.Identity, Run: c.RunID, Commit: c.Commit,
		Path: c.Path, Decision: c.Decision, Limit: c.Limit,
	}
	empty := fmt.Sprintf("No requests match since %s. Widen --since, or loosen the filters.", since.UTC().Format(time.DateTime))
	if c.Summary {
		p := newPrinter[schema.TrailSummaryRow](s.out, c.Output, summaryColumns)
		p.empty = empty
		return errors.Join(store.TrailSummary(ctx, query, func(row *schema.TrailSummaryRow) error {
			if c.Output == "table" {
				nameUnknown(row)
			}
			return p.row(row)
		}), p.close())
	}
	p := newPrinter[schema.TrailRow](s.out, c.Output, trailColumns)
	p.empty = empty
	return errors.Join(store.Trail(ctx, query, func(row *schema.TrailRow) error {
		if row.Identity == "" && c.Output == "table" {
			row.Identity = "(" + row.ClientIP.String() + ")"
		}
		return p.row(row)
	}), p.close())
}

// nameUnknown says for a person what an empty identity means.
func nameUnknown(row *schema.TrailSummaryRow) {
	if row.Identity == "" {
		row.Identity = "(no valid token)"
	}
}

var farFuture = time.Date(2299, 12, 31, 0, 0, 0, 0, time.UTC)

// parseTime reads "now", a duration back from now, a date or a time.
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	if d, err := config.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration (90m, 7d), nor a date (2026-11-23), nor a time (2026-11-23T10:00:00Z)", s)
}
