package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/haptrail/haptrail/internal/strictyaml"
	"github.com/haptrail/haptrail/schema"
)

type alertsListCmd struct {
	Words []string `arg:"" optional:"" hidden:""` // a command that there is not
	where
	Since    string `default:"24h" help:"From when: a duration back from now (90m, 7d), a date, an RFC 3339 time, or all. An alert that fires is always among them."`
	Until    string `default:"now" help:"Until when, likewise."`
	Firing   bool   `help:"Only those that fire."`
	Kind     string `placeholder:"KIND" help:"Only this kind: burst, finding or fault."`
	Identity string `placeholder:"SUB" help:"Only this identity (the token's whole subject) or key; * stands for anything."`
	Limit    uint64 `short:"n" default:"50" help:"The newest so many; 0 for all."`
	Long     bool   `short:"l" help:"Each alert in full: its text, and the command that shows more."`
	output
}

// alertLine is an alert as the table shows it; JSON and CSV have the columns of the
// table alerts.
type alertLine struct {
	Start    string `json:"start"`
	Lasted   string `json:"lasted"`
	Severity string `json:"severity"`
	Kind     string `json:"kind"`
	Identity string `json:"identity"`
	Run      string `json:"run"`
	Title    string `json:"title"`
}

var alertColumns = []string{"start", "lasted", "severity", "kind", "identity", "run", "title"}

func (c *alertsListCmd) Run(ctx context.Context, s streams) error {
	if len(c.Words) > 0 {
		return usageError{hint(errors.New(strictyaml.Unknown("command", c.Words[0], []string{"list", "silence", "test"})), "haptrail alerts --help")}
	}
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
	case c.Output == "table" && c.Long:
		w := bufio.NewWriter(s.out)
		found := 0
		err := store.Alerts(ctx, query, func(row *schema.AlertRow) error {
			found++
			writeAlert(w, row, &c.where)
			return nil
		})
		if err == nil && found == 0 {
			fmt.Fprintln(w, noneSince("alerts", query.Since))
		}
		return errors.Join(err, w.Flush())
	case c.Output == "table":
		p := newPrinter[alertLine](s.out, "table", alertColumns)
		p.empty = noneSince("alerts", query.Since)
		return errors.Join(store.Alerts(ctx, query, func(r *schema.AlertRow) error {
			return p.row(&alertLine{moment(r.Start), fired(r), r.Severity, r.Kind, r.Identity, r.Run, r.Title})
		}), p.close())
	}
	p := newPrinter[schema.AlertRow](s.out, c.Output, nil)
	return errors.Join(store.Alerts(ctx, query, p.row), p.close())
}

func (c *alertsListCmd) query(now time.Time) (q schema.AlertsQuery, err error) {
	q = schema.AlertsQuery{Kind: c.Kind, Identity: c.Identity, Firing: c.Firing, Limit: c.Limit}
	if q.Since, q.Until, err = between(c.Since, c.Until, now); err != nil {
		return q, err
	}
	return q, checkKind(c.Kind)
}

// fired says for how long an alert fired, or that it does.
func fired(row *schema.AlertRow) string {
	if row.End.Unix() <= 0 {
		return "fires"
	}
	return roughly(row.End.Sub(row.Start))
}

// writeAlert writes an alert for a person to read, found where from says.
func writeAlert(w io.Writer, row *schema.AlertRow, from *where) {
	state := fired(row)
	if state != "fires" {
		state = "lasted " + state
	}
	fmt.Fprintf(w, "%s  %s  %s, %s  [%s %s]\n", moment(row.Start), row.Severity, printable(row.Title), state, printable(row.Kind), printable(row.Key))
	for line := range strings.Lines(row.Text) {
		fmt.Fprintf(w, "    %s\n", printable(strings.TrimRight(line, "\n")))
	}
	if row.Command != "" {
		fmt.Fprintf(w, "    More: %s\n", printable(from.next(row.Command)))
	}
	fmt.Fprintln(w)
}
