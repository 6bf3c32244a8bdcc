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
	Since    string `placeholder:"WHEN" help:"From when: a duration back from now (90m, 7d), a date, an RFC 3339 time, or all. Default 24h; all with --commit, --run, --author or --token."`
	Until    string `default:"now" help:"Until when, likewise."`
	Identity string `placeholder:"SUB" help:"Only this identity (the token's whole subject); * stands for anything."`
	RunID    string `name:"run" placeholder:"ID" help:"Only this CI run, by the id that a claim or a header names; also where the CI server denies the header."`
	Commit   string `placeholder:"SHA" help:"Only this commit, or the commits whose hash begins so: all that it touched, in which runs."`
	Author   string `placeholder:"NAME" help:"Only commits of this author, by the whole name or address; * stands for anything."`
	Token    string `placeholder:"ID" help:"Only this token (its jti, or the hash that stands for it)."`
	Path     string `placeholder:"PATH" help:"Only this path and what is below it; or with * for anything: who touched it."`
	Decision string `enum:",allow,deny" default:"" placeholder:"WORD" help:"Only allow, or only deny."`
	Grade    string `enum:",proven,corroborated,inferred,ambiguous,none" default:"" placeholder:"GRADE" help:"Only this grade: proven, corroborated, inferred, ambiguous or none."`
	Limit    uint64 `short:"n" default:"50" help:"The newest rows so many; 0 for all."`
	Summary  bool   `short:"s" help:"One row for each identity, run, decision and reason, the busiest first."`
	Output   string `short:"o" enum:"table,json,csv,sentences" default:"table" help:"table, json (one array), csv, or sentences: one a request, to be pasted into a report."`
}

// trailColumns are what the table shows; JSON and CSV have every column.
var trailColumns = []string{"time", "identity", "project", "run", "commit", "author", "method", "path", "status", "decision", "reason", "grade"}
var summaryColumns = []string{"identity", "project", "run", "commit", "author", "requests", "mostly", "decision", "reason", "grade"}

func (c *trailCmd) Run(ctx context.Context, s streams) error {
	query, err := c.query(time.Now())
	if err != nil {
		return err
	}
	if c.Summary && c.Output == "sentences" {
		return usageError{errors.New("--summary has rows, no sentences: write -o table, json or csv, or leave --summary out")}
	}
	store, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer store.Close()
	empty := "No requests match. Loosen the filters."
	if !query.Since.IsZero() {
		empty = fmt.Sprintf("No requests match since %s. Widen --since, or loosen the filters.", query.Since.UTC().Format(time.DateTime))
	}
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
	if c.Output == "sentences" {
		return printSentences(ctx, s.out, store, query, empty)
	}
	p := newPrinter[schema.TrailRow](s.out, c.Output, trailColumns)
	p.empty = empty
	return errors.Join(store.Trail(ctx, query, func(row *schema.TrailRow) error {
		if c.Output == "table" {
			forPerson(row)
		}
		return p.row(row)
	}), p.close())
}

// query is what the flags ask for.
func (c *trailCmd) query(now time.Time) (schema.TrailQuery, error) {
	q := schema.TrailQuery{
		Until: farFuture, Identity: c.Identity, Run: c.RunID, Commit: c.Commit, Author: c.Author, Token: c.Token,
		Path: c.Path, Decision: c.Decision, Grade: c.Grade, Limit: c.Limit,
	}
	since := c.Since
	if since == "" && !q.Picked() {
		since = "24h"
	}
	var err error
	if since != "" && since != "all" {
		if q.Since, err = parseTime(since, now); err != nil {
			return q, usageError{fmt.Errorf("--since: %w", err)}
		}
	}
	if c.Until != "now" { // a sender's clock may be ahead of ours
		if q.Until, err = parseTime(c.Until, now); err != nil {
			return q, usageError{fmt.Errorf("--until: %w", err)}
		}
	}
	if !q.Since.Before(q.Until) {
		return q, usageError{fmt.Errorf("--since %s is not before --until %s", since, c.Until)}
	}
	return q, nil
}

// forPerson puts into a table's cells what other formats have columns for.
func forPerson(row *schema.TrailRow) {
	if row.Identity == "" {
		row.Identity = "(" + row.ClientIP.String() + ")"
	}
	if row.Was != "" {
		row.Grade += " (was " + row.Was + ")"
	}
	if row.Contradiction != "" {
		row.Grade += " (claim denied)"
	}
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
