package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/schema"
)

// past is a history that is read several times, always the same rows.
type past struct {
	name  string // for people
	mend  string // what to try where it is empty
	read  func(ctx context.Context, each func(burst.Row) bool) error
	close func()

	// Of the latest reading.
	rows        int
	first, last time.Time
	fault       error
}

// noted are the rows; what there is to know of them is in p afterwards.
func (p *past) noted(ctx context.Context) iter.Seq[burst.Row] {
	return func(yield func(burst.Row) bool) {
		p.rows, p.first, p.last = 0, time.Time{}, time.Time{}
		err := p.read(ctx, func(row burst.Row) bool {
			if p.rows++; p.first.IsZero() || row.Time.Before(p.first) {
				p.first = row.Time
			}
			p.last = later(p.last, row.Time)
			return yield(row)
		})
		if err != nil && p.fault == nil {
			p.fault = err
		}
	}
}

// past opens the history that the flags name, and adds to the plan what is known of
// its keys.
func (c *burstsCalibrateCmd) past(ctx context.Context, s streams, plan *burst.Calibration) (*past, error) {
	if c.File != "" {
		return c.filed(s.in)
	}
	now := time.Now()
	since, err := parseTime(c.Since, now)
	if err != nil {
		return nil, usageError{fmt.Errorf("--since: %w", err)}
	}
	if !since.Before(now) {
		return nil, usageError{fmt.Errorf("--since %s is not over yet: give a time before now", c.Since)}
	}
	store, err := c.open(ctx, false)
	if err != nil {
		return nil, err
	}
	k := &kept{store: store, measure: c.Measure, since: since.UTC().Truncate(time.Second), until: now.UTC(), table: c.Table}
	if k.table == "" && c.sticks() && !c.Logs {
		k.table = map[string]string{"requests": "haptrail_identity", "addresses": "haptrail_source"}[c.Measure]
	}
	if err := k.fill(ctx, plan, c.WithBursts); err != nil {
		store.Close()
		return nil, err
	}
	return &past{name: k.name(), mend: k.mend(), read: k.read, close: func() { store.Close() }}, nil
}

// filed is the history of a CSV file. Standard input is read once and held in memory.
func (c *burstsCalibrateCmd) filed(in io.Reader) (*past, error) {
	slack, err := config.ParseDuration(c.Slack)
	if err != nil {
		return nil, usageError{fmt.Errorf("--slack: %w", err)}
	}
	p := &past{name: historyName(c.File), mend: csvHint, close: func() {}}
	read := func(ctx context.Context, from io.Reader, each func(burst.Row) bool) error {
		for row, err := range burst.ReadCSV(from, slack) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return hint(fmt.Errorf("%s: %w", p.name, err), csvHint)
			}
			if !each(row) {
				return nil
			}
		}
		return nil
	}
	if c.File == "-" {
		var held []burst.Row
		p.read = func(ctx context.Context, each func(burst.Row) bool) error {
			if held == nil {
				if err := read(ctx, in, func(row burst.Row) bool { held = append(held, row); return true }); err != nil {
					return err
				}
			}
			for _, row := range held {
				if !each(row) {
					break
				}
			}
			return nil
		}
		return p, nil
	}
	p.read = func(ctx context.Context, each func(burst.Row) bool) error {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		return read(ctx, f, each)
	}
	return p, nil
}

// kept is the history in the tables.
type kept struct {
	store        *schema.Store
	measure      string
	table        string // of stick_samples; "": the logs
	since, until time.Time
}

func (k *kept) name() string {
	if k.table == "" {
		return "the logs"
	}
	return "stick table " + told(k.table)
}

func (k *kept) mend() string {
	if k.table == "" {
		return "widen --since; haptrail trail shows what was logged"
	}
	return "widen --since, name another stick table by --table, or take the logs: --logs"
}

// longestSample is how many seconds a sample is spread over at most, as detectors do.
const longestSample = 300

// read reads a day after the other, so that the engine sorts no more at once.
func (k *kept) read(ctx context.Context, each func(burst.Row) bool) error {
	stopped := errors.New("enough was read")
	row := func(key string, at int64, n uint64) error {
		if !each(burst.Row{Time: time.Unix(at, 0).UTC(), Key: key, Count: uint32(min(n, math.MaxUint32))}) {
			return stopped
		}
		return nil
	}
	for from := k.since; from.Before(k.until); from = from.Add(24 * time.Hour) {
		until := from.Add(24 * time.Hour)
		if k.until.Before(until) {
			until = k.until
		}
		var err error
		if k.table != "" {
			err = k.store.StickHistory(ctx, k.table, from, until, func(c *schema.Counted) error { return spreadOut(c, row) })
		} else {
			err = k.store.RequestHistory(ctx, k.query(from, until), func(c *schema.RequestCount) error { return row(k.key(c), c.Time.Unix(), c.Count) })
		}
		if err == stopped {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// spreadOut is a sample as a detector takes it: even over the seconds in which it was
// counted.
func spreadOut(c *schema.Counted, row func(key string, at int64, n uint64) error) error {
	seconds := int64(max(1, min((c.Elapsed+999)/1000, longestSample)))
	rest := c.Count
	for left := seconds; left > 0; left-- {
		share := rest / uint64(left)
		rest -= share
		if share == 0 {
			continue
		}
		if err := row(c.Key, c.Time.Unix()-left+1, share); err != nil {
			return err
		}
	}
	return nil
}

func (k *kept) query(from, until time.Time) schema.HistoryQuery {
	return schema.HistoryQuery{
		From: from, Until: until, Denied: k.measure == "denials", Failed: k.measure == "errors", Kilobytes: k.measure == "kilobytes",
		Nobody: k.measure == "addresses", Endpoints: k.measure == "endpoints", Callers: k.measure == schema.MeasureCallers,
	}
}

// Keys of the logs have the issuer's URL and the subject in front, each ended by a
// byte that stands in neither.
const keyEnd = "\x00"

func (k *kept) key(c *schema.RequestCount) string {
	switch k.measure {
	case "addresses":
		return c.Client.Unmap().String()
	case schema.MeasureCallers:
		return c.Frontend
	}
	key := c.Issuer + keyEnd + c.Subject
	if k.measure == "endpoints" {
		key += keyEnd + strings.TrimSpace(c.Method+" "+c.Endpoint)
	}
	return key
}

// subject is whose a key is, and at which endpoint; "" where it names no identity.
func (k *kept) subject(key string) (subject, endpoint string) {
	separator := keyEnd
	if k.table != "" {
		separator = "|"
	}
	parts := strings.SplitN(key, separator, 3)
	switch {
	case k.measure == "addresses" || k.measure == schema.MeasureCallers:
		return "", ""
	case len(parts) == 1:
		return key, ""
	case k.table != "": // a subject may have a "|" of its own
		_, subject, _ = strings.Cut(key, separator)
		return subject, ""
	case len(parts) == 3:
		return parts[1], parts[2]
	}
	return parts[1], ""
}

// fill adds to a plan the roles of the keys, and the bursts to leave out.
func (k *kept) fill(ctx context.Context, plan *burst.Calibration, withBursts bool) error {
	roles := map[string]string{}
	err := k.store.Roles(ctx, k.since, func(r *schema.RoleOf) error {
		if former, known := roles[r.Subject]; known && former != r.Role {
			roles[r.Subject] = "" // of two issuers: which of them it is, is not known
		} else {
			roles[strings.Clone(r.Subject)] = r.Role
		}
		return nil
	})
	if err != nil {
		return err
	}
	plan.Options.Role = func(key string) string {
		subject, _ := k.subject(key)
		return roles[subject]
	}
	if withBursts {
		return nil
	}
	plan.Skip, err = k.bursts(ctx)
	return err
}

// bursts tells the times at which keys had bursts.
func (k *kept) bursts(ctx context.Context) (func(key string, at time.Time) bool, error) {
	type span struct{ from, until time.Time }
	measure := map[string]string{"endpoints": "requests", "addresses": "requests"}[k.measure]
	of := map[string]string{"endpoints": "endpoint", "addresses": "address", schema.MeasureCallers: "frontend"}[k.measure]
	measure = cmp.Or(measure, k.measure)
	of = cmp.Or(of, "identity")
	name := func(subject, endpoint string) string { return subject + keyEnd + endpoint }
	spans := map[string][]span{}
	query := schema.BurstsQuery{Since: k.since, Until: farFuture, Measure: measure, Severity: "medium"}
	err := k.store.Bursts(ctx, query, func(r *schema.BurstRow) error {
		if r.Of != of {
			return nil
		}
		key := r.Key
		if r.Identity != "" {
			key = name(r.Identity, r.Endpoint)
		}
		until := r.End.Add(time.Minute)
		if r.State == schema.BurstOpen {
			until = farFuture
		}
		spans[key] = append(spans[key], span{r.Start.Add(-time.Duration(r.Window) * time.Second), until})
		return nil
	})
	if len(spans) == 0 {
		return nil, err
	}
	return func(key string, at time.Time) bool {
		if subject, endpoint := k.subject(key); subject != "" {
			key = name(subject, endpoint)
		}
		for _, s := range spans[key] {
			if !at.Before(s.from) && at.Before(s.until) {
				return true
			}
		}
		return false
	}, err
}
