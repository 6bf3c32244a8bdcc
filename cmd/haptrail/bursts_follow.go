package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/haptrail/haptrail/schema"
)

const (
	followEvery   = time.Second
	followTimeout = 30 * time.Second
	// followBack is how long before the first look a burst may have been told last to
	// be known; what is told of an older one is new.
	followBack = 7 * 24 * time.Hour
	// followLate is how late a row may come into the table: the daemon tells again what
	// it could not store at once.
	followLate = time.Minute
)

// toldBurst is a burst and what has happened to it: start, worse, update, end or lost.
// update is what the table does not show: only a total, say.
type toldBurst struct {
	Change string `json:"change"`
	schema.BurstRow
}

// follower tells of bursts as their rows change.
type follower struct {
	query schema.BurstsQuery
	tell  func(*toldBurst) error
	notes io.Writer // for what is no burst

	known   map[string]schema.BurstRow // as they were told last
	newest  time.Time                  // of the rows seen
	looked  bool
	failed  int // looks in a row
	trouble bool
}

// follow shows the bursts that go on, then each change, until ctx ends.
func (c *burstsListCmd) follow(ctx context.Context, store *schema.Store, s streams, q schema.BurstsQuery) error {
	if store.Engine() != nil {
		return hint(fmt.Errorf("no daemon runs on %s: there is nothing to follow", store.DSN()), "start it: haptrail serve; or leave --follow out")
	}
	f := newFollower(q, s)
	switch c.Output {
	case "json":
		lines := json.NewEncoder(s.out)
		f.tell = func(t *toldBurst) error { return lines.Encode(t) }
	case "csv":
		p := newPrinter[schema.BurstRow](s.out, "csv", nil)
		p.csv.Flush()
		f.tell = func(t *toldBurst) error {
			if err := p.row(&t.BurstRow); err != nil {
				return err
			}
			return p.flush()
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	return f.run(ctx, store)
}

// newFollower tells of changes in lines for a person to read.
func newFollower(q schema.BurstsQuery, s streams) *follower {
	q.Open, q.Limit = false, 0
	f := &follower{query: q, notes: s.err, known: map[string]schema.BurstRow{}}
	shown := map[string]string{}
	f.tell = func(t *toldBurst) error {
		text := burstNews(&t.BurstRow)
		if t.Change == "update" && text == shown[t.ID] {
			return nil
		}
		shown[t.ID] = text
		if t.State != schema.BurstOpen {
			delete(shown, t.ID)
		}
		w := bufio.NewWriter(s.out)
		fmt.Fprintf(w, "%s  %-6s  %-6s  %s\n", moment(changedAt(t)), t.Change, t.Severity, text)
		return w.Flush()
	}
	return f
}

// changedAt is the time of a change: of a start and an end by the events, else when it
// was told.
func changedAt(t *toldBurst) time.Time {
	switch t.Change {
	case "start":
		return t.Start
	case "end", "lost":
		return t.End
	}
	return t.Updated
}

// burstNews is a burst in a line.
func burstNews(row *schema.BurstRow) string {
	text := printable(whoseBurst(row)) + "  " + printable(row.Reason)
	if row.Run != "" {
		text += "  " + ofRun(row)
	}
	return text + "  [" + printable(row.ID) + "]"
}

// run looks each second. That the tables cannot be read, while the daemon starts
// anew, is said once.
func (f *follower) run(ctx context.Context, store *schema.Store) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, followTimeout)
		err := f.look(asking, store)
		cancel()
		var told tellError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &told):
			return told.error
		case err != nil && !f.looked:
			return err
		}
		f.note(err)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// note says when the tables can no longer be read, and when they can again. One look
// that fails is nothing: the connection was an old one.
func (f *follower) note(err error) {
	if err == nil {
		if f.trouble {
			fmt.Fprintln(f.notes, "The tables are read again.")
		}
		f.failed, f.trouble = 0, false
		return
	}
	if f.failed++; f.failed == 2 {
		f.trouble = true
		fmt.Fprintf(f.notes, "The tables cannot be read: %s. It is tried again each second.\n", printable(err.Error()))
	}
}

// tellError is a fault of the reader, not of the tables.
type tellError struct{ error }

func (e tellError) Unwrap() error { return e.error }

// look tells what has changed since the last look.
func (f *follower) look(ctx context.Context, store *schema.Store) error {
	q := f.query
	q.Since = time.Time{}
	if !f.looked {
		q.Since = time.Now().Add(-followBack)
	} else if !f.newest.IsZero() {
		q.Updated = f.newest.Add(-followLate)
	}
	var rows []schema.BurstRow
	err := store.Bursts(ctx, q, func(row *schema.BurstRow) error {
		rows = append(rows, *row)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(a, b schema.BurstRow) int { return a.Updated.Compare(b.Updated) })
	for i := range rows {
		if err := f.take(&rows[i]); err != nil {
			return tellError{err}
		}
	}
	f.looked = true
	for id, row := range f.known {
		if row.State != schema.BurstOpen && row.Updated.Before(f.newest.Add(-2*followLate)) {
			delete(f.known, id) // no look sees it again
		}
	}
	return nil
}

// take tells a row, if it is news.
func (f *follower) take(row *schema.BurstRow) error {
	former, known := f.known[row.ID]
	if known && !row.Updated.After(former.Updated) {
		return nil
	}
	f.known[row.ID] = *row
	// A clock that is far ahead for a while does not keep later rows from being seen.
	if latest := time.Now().Add(followLate); row.Updated.After(latest) {
		f.newest = later(f.newest, latest)
	} else {
		f.newest = later(f.newest, row.Updated)
	}
	if !f.looked && row.State != schema.BurstOpen {
		return nil
	}
	return f.tell(&toldBurst{change(known, &former, row), *row})
}

// change names what has happened to a burst.
func change(known bool, former, row *schema.BurstRow) string {
	switch {
	case row.State == schema.BurstLost:
		return "lost"
	case row.State == schema.BurstOver && known && former.State == schema.BurstOver:
		return "update"
	case row.State == schema.BurstOver:
		return "end"
	case !known:
		return "start"
	case row.Severity != former.Severity || row.Peak != former.Peak || row.Window != former.Window:
		return "worse"
	}
	return "update"
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// flush sends on what was printed so far.
func (p *printer[T]) flush() error {
	if p.csv != nil {
		p.csv.Flush()
		if err := p.csv.Error(); err != nil {
			return err
		}
	}
	return p.w.Flush()
}
