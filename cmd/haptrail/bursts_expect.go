package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/schema"
)

type burstsExpectCmd struct {
	where
	Identity string `arg:"" optional:"" help:"Whose load: the token's whole subject, or a key as bursts show it; * stands for anything."`
	announcement
	Factor string `default:"10" placeholder:"N" help:"How many times as much as usual is no burst, or any for any amount."`
	output
}

// expectColumns are what the table shows; JSON and CSV have every column.
var expectColumns = []string{"id", "identity", "starts", "ends", "factor", "owner", "reason"}

// expectLine is announced load as the table shows it.
type expectLine struct {
	ID       string `json:"id"`
	Identity string `json:"identity"`
	Starts   string `json:"starts"`
	Ends     string `json:"ends"`
	Factor   string `json:"factor"`
	Owner    string `json:"owner"`
	Reason   string `json:"reason"`
}

const expectList = "haptrail bursts expect --list"

func (c *burstsExpectCmd) Run(ctx context.Context, s streams) error {
	given := c.Identity
	if given == "" && c.Factor != "10" {
		given = "--factor"
	}
	action, err := c.action(given)
	if err != nil {
		return usageError{err}
	}
	var row schema.Expectation
	if action == "announce" {
		if row, err = c.expectation(time.Now()); err != nil {
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
	if err := store.InsertExpectation(ctx, row); err != nil {
		return err
	}
	return c.say(s.out, &row, fmt.Sprintf("Announced %s: %s may do %s %s, by %s: %s.\n%s To withdraw it: %s\n",
		row.ID, told(row.Identity), factorWords(row.Factor), spanText(row.Starts, row.Ends), told(row.Owner),
		strings.TrimSuffix(oneLine(row.Reason), "."), reads(store), c.next("haptrail bursts expect --withdraw "+row.ID)))
}

// expectation is what the flags announce.
func (c *burstsExpectCmd) expectation(now time.Time) (row schema.Expectation, err error) {
	if strings.TrimSpace(c.Identity) == "" {
		return row, errors.New(`whose load? Name the identity, such as: haptrail bursts expect payments-deploy --until 2h --reason "load test"`)
	}
	row = schema.Expectation{ID: newID(), Identity: c.Identity, Told: now.UTC()}
	if row.Factor, err = parseFactor(c.Factor); err != nil {
		return row, err
	}
	if row.Starts, row.Ends, err = c.span(now); err != nil {
		return row, err
	}
	row.Owner, row.Reason, err = c.who(c.Identity)
	return row, err
}

// parseFactor reads a factor; "any" is 0.
func parseFactor(s string) (float64, error) {
	if s == "any" {
		return 0, nil
	}
	factor, err := strconv.ParseFloat(s, 64)
	if err != nil || !(factor > 1) || math.IsInf(factor, 0) {
		return 0, fmt.Errorf("--factor %q is no number above 1: say how many times as much as usual, such as 10, or any", s)
	}
	return factor, nil
}

func factorText(factor float64) string {
	if factor == 0 {
		return "any"
	}
	return strconv.FormatFloat(factor, 'g', -1, 64)
}

func factorWords(factor float64) string {
	if factor == 0 {
		return "any amount"
	}
	return factorText(factor) + " times what is usual"
}

// say prints what was done: the text, or the row.
func (c *burstsExpectCmd) say(w io.Writer, row *schema.Expectation, text string) error {
	if c.Output == "table" {
		_, err := io.WriteString(w, text)
		return err
	}
	p := newPrinter[schema.Expectation](w, c.Output, nil)
	return errors.Join(p.row(row), p.close())
}

func (c *burstsExpectCmd) list(ctx context.Context, w io.Writer, store *schema.Store) error {
	rows, err := store.Expectations(ctx, time.Now())
	if err != nil {
		return err
	}
	if c.Output != "table" {
		p := newPrinter[schema.Expectation](w, c.Output, nil)
		for i := range rows {
			if !rows[i].Withdrawn {
				err = errors.Join(err, p.row(&rows[i]))
			}
		}
		return errors.Join(err, p.close())
	}
	p := newPrinter[expectLine](w, "table", expectColumns)
	p.empty = "No load is announced."
	for i := range rows {
		if r := &rows[i]; !r.Withdrawn {
			line := expectLine{r.ID, r.Identity, moment(r.Starts), moment(r.Ends), factorText(r.Factor), r.Owner, r.Reason}
			err = errors.Join(err, p.row(&line))
		}
	}
	return errors.Join(err, p.close())
}

func (c *burstsExpectCmd) withdraw(ctx context.Context, w io.Writer, store *schema.Store) error {
	rows, err := store.Expectations(ctx, time.Now())
	if err != nil {
		return err
	}
	row, err := pickOne(rows, c.Withdraw, "announcement", c.next(expectList), func(e *schema.Expectation) (string, bool) { return e.ID, e.Withdrawn })
	if err != nil {
		return err
	}
	row.Withdrawn, row.Told = true, after(row.Told)
	if err := store.InsertExpectation(ctx, *row); err != nil {
		return err
	}
	return c.say(w, row, fmt.Sprintf("Withdrawn %s: %s is expected to do what is usual. %s\n", row.ID, told(row.Identity), reads(store)))
}
