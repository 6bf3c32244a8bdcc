package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
	"github.com/haptrail/haptrail/internal/strictyaml"
	"github.com/haptrail/haptrail/schema"
)

type alertsSilenceCmd struct {
	where
	Kind     string `placeholder:"KIND" help:"Alerts of this kind: burst, finding or fault; * stands for anything."`
	Identity string `placeholder:"SUB" help:"Alerts of this identity (the token's whole subject) or key; * stands for anything."`
	announcement
	output
}

// alertKinds are what alerts are of.
var alertKinds = []string{oncall.KindBurst, oncall.KindFinding, oncall.KindFault}

// silenceColumns are what the table shows; JSON and CSV have every column.
var silenceColumns = []string{"id", "kind", "identity", "starts", "ends", "owner", "reason"}

// silenceLine is a silence as the table shows it.
type silenceLine struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	Identity string `json:"identity"`
	Starts   string `json:"starts"`
	Ends     string `json:"ends"`
	Owner    string `json:"owner"`
	Reason   string `json:"reason"`
}

const silenceList = "haptrail alerts silence --list"

func (c *alertsSilenceCmd) Run(ctx context.Context, s streams) error {
	given := ""
	switch {
	case c.Kind != "":
		given = "--kind"
	case c.Identity != "":
		given = "--identity"
	}
	action, err := c.action(given)
	if err != nil {
		return usageError{err}
	}
	var row schema.SilenceRow
	if action == "announce" {
		if row, err = c.silence(time.Now()); err != nil {
			return usageError{err}
		}
	}
	store, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer store.Close()
	switch action {
	case "list":
		return c.list(ctx, s.out, store)
	case "withdraw":
		return c.withdraw(ctx, s.out, store)
	}
	if err := store.InsertSilence(ctx, row); err != nil {
		return err
	}
	return c.say(s.out, &row, fmt.Sprintf("Silenced %s: %s are quiet %s, by %s: %s.\nOne that still fires at its end is told then. %s To withdraw it: %s\n",
		row.ID, silencedWords(&row), spanText(row.Starts, row.Ends), told(row.Owner), strings.TrimSuffix(oneLine(row.Reason), "."), reads(store), c.next("haptrail alerts silence --withdraw "+row.ID)))
}

// silence is what the flags ask for.
func (c *alertsSilenceCmd) silence(now time.Time) (row schema.SilenceRow, err error) {
	switch {
	case c.Kind == "" && c.Identity == "":
		return row, errors.New(`which alerts? Name a --kind, an --identity, or both; --identity "*" if all of them are meant`)
	case !strings.Contains(c.Kind, "*"):
		if err := checkKind(c.Kind); err != nil {
			return row, err
		}
	}
	row = schema.SilenceRow{ID: newID(), Kind: c.Kind, Identity: c.Identity, Told: now.UTC()}
	if row.Starts, row.Ends, err = c.span(now); err != nil {
		return row, err
	}
	row.Owner, row.Reason, err = c.who(c.Kind, c.Identity)
	return row, err
}

// checkKind finds a kind of alerts that there is not; "" is any.
func checkKind(kind string) error {
	if kind == "" || slices.Contains(alertKinds, kind) {
		return nil
	}
	return hint(fmt.Errorf("--kind: %s", strictyaml.Unknown("kind of alert", kind, alertKinds)), "the kinds are "+strings.Join(alertKinds, ", "))
}

// silencedWords are the alerts that a silence is of.
func silencedWords(row *schema.SilenceRow) string {
	text := "alerts"
	if row.Kind != "" {
		text += " of kind " + told(row.Kind)
	}
	if row.Identity != "" {
		text += " of " + told(row.Identity)
	}
	return text
}

// say prints what was done: the text, or the row.
func (c *alertsSilenceCmd) say(w io.Writer, row *schema.SilenceRow, text string) error {
	if c.Output == "table" {
		_, err := io.WriteString(w, text)
		return err
	}
	p := newPrinter[schema.SilenceRow](w, c.Output, nil)
	return errors.Join(p.row(row), p.close())
}

func (c *alertsSilenceCmd) list(ctx context.Context, w io.Writer, store *schema.Store) error {
	rows, err := store.Silences(ctx, time.Now())
	if err != nil {
		return err
	}
	if c.Output != "table" {
		p := newPrinter[schema.SilenceRow](w, c.Output, nil)
		for i := range rows {
			if !rows[i].Withdrawn {
				err = errors.Join(err, p.row(&rows[i]))
			}
		}
		return errors.Join(err, p.close())
	}
	p := newPrinter[silenceLine](w, "table", silenceColumns)
	p.empty = "No alerts are silenced."
	for i := range rows {
		if r := &rows[i]; !r.Withdrawn {
			line := silenceLine{r.ID, anyOr(r.Kind), anyOr(r.Identity), moment(r.Starts), moment(r.Ends), r.Owner, r.Reason}
			err = errors.Join(err, p.row(&line))
		}
	}
	return errors.Join(err, p.close())
}

// anyOr is a filter for a person to read.
func anyOr(filter string) string {
	if filter == "" {
		return "(any)"
	}
	return filter
}

func (c *alertsSilenceCmd) withdraw(ctx context.Context, w io.Writer, store *schema.Store) error {
	rows, err := store.Silences(ctx, time.Now())
	if err != nil {
		return err
	}
	row, err := pickOne(rows, c.Withdraw, "silence", c.next(silenceList), func(r *schema.SilenceRow) (string, bool) { return r.ID, r.Withdrawn })
	if err != nil {
		return err
	}
	row.Withdrawn, row.Told = true, after(row.Told)
	if err := store.InsertSilence(ctx, *row); err != nil {
		return err
	}
	return c.say(w, row, fmt.Sprintf("Withdrawn %s: %s are told again. %s\n", row.ID, silencedWords(row), reads(store)))
}
