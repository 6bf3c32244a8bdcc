package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/cmd/haptrail/config"
)

type burstsCalibrateCmd struct {
	File       string  `arg:"" optional:"" help:"CSV with the columns time, key and count; - for standard input. Default: the history that the daemon keeps."`
	Measure    string  `enum:"requests,denials,errors,kilobytes,endpoints,addresses,callers" default:"requests" placeholder:"WORD" help:"What is counted: requests, denials, errors or kilobytes of identities, requests of endpoints or of addresses, or the callers that frontends denied. Default: requests."`
	Budget     float64 `default:"0.01" help:"How many false alarms an identity may cause a day by this measure; those of the worst role five times as many. The daemon divides its own budget among the measures that are counted, mostly eight."`
	Learn      string  `default:"7d" placeholder:"DURATION" help:"For how long each key is learned before its alarms count."`
	Step       string  `placeholder:"DURATION" help:"For how long a row's count stands. Default: 1s."`
	Slack      string  `default:"10s" placeholder:"DURATION" help:"How far behind the newest row a row of the file may be."`
	Since      string  `default:"14d" placeholder:"WHEN" help:"Of the daemon's history: from when, as a duration back from now, a date or an RFC 3339 time."`
	Table      string  `placeholder:"NAME" help:"Of the daemon's history: the samples of this stick table. Default: haptrail_identity, or haptrail_source for addresses; what stick tables do not count comes from the logs."`
	Logs       bool    `help:"Of the daemon's history: the requests as logged, second by second."`
	WithBursts bool    `help:"Of the daemon's history: also what was told as a burst of medium or high severity. Else it is left out, as the daemon does: it is not what is usual."`
	where
	output
}

// calibrated is what a calibration found. Its thresholds are what bursts replay
// --thresholds takes.
type calibrated struct {
	Measure    string     `json:"measure"`
	Source     string     `json:"source"`
	Since      time.Time  `json:"since"` // of the rows
	Until      time.Time  `json:"until"`
	Rows       uint64     `json:"rows"`
	LeftOut    uint64     `json:"left_out"` // of the rows: they were of known bursts
	Keys       int        `json:"keys"`
	Days       float64    `json:"identity_days"` // that were judged, after learning
	Budget     float64    `json:"budget"`
	Learn      float64    `json:"learn_s"`
	Step       float64    `json:"step_s"`
	Thresholds limits     `json:"thresholds"`
	Alarms     int        `json:"alarms"`
	Rate       float64    `json:"alarms_per_identity_day"`
	Defaults   limits     `json:"default_thresholds"`
	Default    int        `json:"default_alarms"` // of the same history
	Short      bool       `json:"short"`          // too short a history for the budget
	Missing    float64    `json:"missing_identity_days"`
	Roles      roleShares `json:"roles"`
}

// limits are thresholds in JSON.
type limits struct {
	Ratio burst.PerWindow `json:"ratio"` // in windows of 5, 10, 60 and 300 s
	Tail  float64         `json:"tail"`
	Gate  float64         `json:"gate"`
	Least uint32          `json:"least"`
}

func (l limits) String() string { return jsonText(l) }

// roleShare is a role's part of the alarms.
type roleShare struct {
	Role   string  `json:"role"` // "" where it is not known
	Keys   int     `json:"keys"`
	Days   float64 `json:"identity_days"`
	Alarms int     `json:"alarms"`
	Rate   float64 `json:"alarms_per_identity_day"`
}

type roleShares []roleShare

func (r roleShares) String() string { return jsonText(r) }

// jsonText is a value in a field of CSV.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error() // there is nothing in these types that JSON has no form for
	}
	return string(text)
}

func (c *burstsCalibrateCmd) Run(ctx context.Context, s streams) error {
	plan, err := c.plan()
	if err != nil {
		return usageError{err}
	}
	past, err := c.past(ctx, s, &plan)
	if err != nil {
		return err
	}
	defer past.close()
	_, out, err := burst.Calibrate(past.noted(ctx), plan)
	switch {
	case past.fault != nil:
		return past.fault
	case past.rows == 0:
		return hint(fmt.Errorf("there is no history of %s from %s", c.Measure, past.name), past.mend)
	case err != nil && out.Days == 0:
		have := past.last.Sub(past.first)
		return hint(fmt.Errorf("the history is too short: it has %s, and each key is learned for %s before its alarms count", roughly(have), roughly(plan.Learn)),
			fmt.Sprintf("give %s more of it, or learn for a shorter time: --learn", roughly(plan.Learn-have+time.Hour)))
	case err != nil:
		return err
	}
	found := c.found(&out, &plan, past)
	if c.Output != "table" {
		p := newPrinter[calibrated](s.out, c.Output, nil)
		return errors.Join(p.row(found), p.close())
	}
	return found.write(s.out)
}

// plan is the calibration that the flags ask for.
func (c *burstsCalibrateCmd) plan() (plan burst.Calibration, err error) {
	if !(c.Budget > 0) || c.Budget > 1 {
		return plan, fmt.Errorf("--budget %v: give false alarms for each identity and day, above 0 and up to 1, such as 0.01", c.Budget)
	}
	if c.File != "" {
		for name, given := range map[string]bool{"--table": c.Table != "", "--logs": c.Logs, "--with-bursts": c.WithBursts, "--since": c.Since != "14d"} {
			if given {
				return plan, fmt.Errorf("%s is of the daemon's history: leave it out, or leave %s out", name, c.File)
			}
		}
	}
	if c.Logs && c.Table != "" {
		return plan, errors.New("--logs and --table exclude each other")
	}
	if c.Table != "" && !c.sticks() {
		return plan, fmt.Errorf("--table: stick tables' histories are of requests; %s are in the logs: leave --table out", c.Measure)
	}
	options, err := measureOptions(c.Measure)
	if err != nil {
		return plan, err
	}
	plan = burst.Calibration{Budget: c.Budget, Options: options}
	if plan.Learn, err = config.ParseDuration(c.Learn); err != nil || plan.Learn <= 0 {
		return plan, fmt.Errorf("--learn %q is no duration above 0: write it like 7d", c.Learn)
	}
	if plan.Options.Resolution, err = config.ParseDuration(cmp.Or(c.Step, "1s")); err != nil || plan.Options.Resolution <= 0 {
		return plan, fmt.Errorf("--step %q is no duration above 0: write it like 2s", c.Step)
	}
	if _, err := burst.New(plan.Options); err != nil {
		return plan, fmt.Errorf("--step: %w", err)
	}
	return plan, nil
}

// sticks tells whether stick tables count the measure.
func (c *burstsCalibrateCmd) sticks() bool {
	return c.Measure == "requests" || c.Measure == "addresses"
}

// found is an outcome as it is printed.
func (c *burstsCalibrateCmd) found(out *burst.Outcome, plan *burst.Calibration, past *past) *calibrated {
	defaults := plan.Options.Thresholds
	if defaults == (burst.Thresholds{}) {
		defaults = burst.DefaultThresholds()
	} else if defaults.Ratio == (burst.PerWindow{}) { // as a calibration fills them in
		defaults.Ratio, defaults.Tail = burst.DefaultThresholds().Ratio, burst.DefaultThresholds().Tail
	}
	f := &calibrated{
		Measure: c.Measure, Source: past.name, Since: past.first.UTC(), Until: past.last.UTC(), Rows: out.Rows, LeftOut: out.Skipped,
		Keys: out.Keys, Days: out.Days, Budget: c.Budget, Learn: plan.Learn.Seconds(), Step: plan.Options.Resolution.Seconds(),
		Thresholds: limits(out.Thresholds), Alarms: out.Alarms, Rate: out.Rate(), Defaults: limits(defaults), Default: out.Given.Alarms,
		Short: out.Short, Missing: max(0, out.Needed-out.Days), Roles: roleShares{},
	}
	for _, role := range slices.Sorted(maps.Keys(out.Groups)) {
		s := out.Groups[role]
		f.Roles = append(f.Roles, roleShare{role, s.Keys, s.Days, s.Alarms, s.Rate()})
	}
	return f
}

// write tells a person what was found.
func (f *calibrated) write(w io.Writer) error {
	var b strings.Builder
	each := time.Duration(f.Learn * float64(time.Second))
	fmt.Fprintf(&b, "%s of %s in %s, from %s until %s: %s identity-days after %s of learning.\n",
		thing(uint64(f.Keys), "key", "keys"), f.Measure, f.Source, moment(f.Since), moment(f.Until), number(f.Days), roughly(each))
	if f.LeftOut > 0 {
		fmt.Fprintf(&b, "%s of %s were left out: they are of known bursts.\n", thing(f.LeftOut, "row", "rows"), digits(f.Rows))
	}
	fmt.Fprintln(&b)
	line := func(name string, l limits, alarms int) []string {
		cells := []string{name}
		for _, r := range l.Ratio {
			cells = append(cells, fmt.Sprintf("%.2f", r))
		}
		return append(cells, fmt.Sprintf("1e%.1f", l.Tail), digits(uint64(alarms)), rateText(alarms, f.Days))
	}
	writeTable(&b, []string{"thresholds", "5 s", "10 s", "60 s", "300 s", "rarity", "alarms", "a day"},
		[][]string{line("found", f.Thresholds, f.Alarms), line("default", f.Defaults, f.Default)}, style{})
	fmt.Fprintf(&b, "\nBy window, how many times its high-water mark a count may be; rarity, how improbable it may be by mean and spread. Below %d nothing is a burst.\n", f.Thresholds.Least)
	fmt.Fprintf(&b, "On this history the default thresholds would have told of %s, those found of %s; the budget is %v for each identity and day.\n",
		thing(uint64(f.Default), "burst", "bursts"), digits(uint64(f.Alarms)), f.Budget)
	if f.Short {
		f.writeShort(&b)
	}
	if len(f.Roles) > 1 || len(f.Roles) == 1 && f.Roles[0].Role != "" {
		f.writeRoles(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *calibrated) writeShort(b *strings.Builder) {
	fmt.Fprintf(b, "The history is too short for this budget: it has %s identity-days of the %s needed. %s more are missing, which %s in %s.\n",
		number(f.Days), number(f.Days+f.Missing), number(f.Missing), thing(uint64(f.Keys), "key makes", "keys make"),
		thing(uint64(math.Ceil(f.Missing/float64(max(1, f.Keys)))), "day", "days"))
	fmt.Fprintln(b, "Until then the default thresholds count, raised above what the history shows.")
}

func (f *calibrated) writeRoles(b *strings.Builder) {
	var cells [][]string
	for _, r := range f.Roles {
		cells = append(cells, []string{cmp.Or(r.Role, "(not known)"), digits(uint64(r.Keys)), number(r.Days), digits(uint64(r.Alarms)), rateText(r.Alarms, r.Days)})
	}
	fmt.Fprintln(b)
	writeTable(b, []string{"role", "keys", "identity-days", "alarms", "a day"}, cells, style{})
}

// rateText is alarms for each identity and day.
func rateText(alarms int, days float64) string {
	if days == 0 {
		return "-"
	}
	return fmt.Sprintf("%.4f", float64(alarms)/days)
}

// number is a number of identity-days: with a tenth where they are few.
func number(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.1f", x)
	}
	return digits(uint64(math.Round(x)))
}

func thing(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return digits(n) + " " + many
}
