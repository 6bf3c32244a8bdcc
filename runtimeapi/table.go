package runtimeapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tables lists the stick tables (level user). "show table", management guide.
func (c *Client) Tables(ctx context.Context) ([]Table, error) {
	cmd := of("show", "table")
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return nil, err
	}
	var tables []Table
	for line := range strings.Lines(reply) {
		t, err := parseTable([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil {
			return nil, c.to.misread(cmd.name, reply, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// FindTable returns the table of that name, or ErrUnknownTable with the names of
// those that there are (level user).
func (c *Client) FindTable(ctx context.Context, name string) (Table, error) {
	tables, err := c.Tables(ctx)
	if err != nil {
		return Table{}, err
	}
	if i := slices.IndexFunc(tables, func(t Table) bool { return t.Name == name }); i >= 0 {
		return tables[i], nil
	}
	names := make([]string, 0, 10)
	for _, t := range tables[:min(len(tables), cap(names))] {
		names = append(names, t.Name)
	}
	cause := fmt.Errorf("HAProxy has no stick-table line at all")
	if len(names) > 0 {
		cause = fmt.Errorf("among its %d tables are %s", len(tables), strings.Join(names, ", "))
	}
	return Table{}, &CommandError{Address: c.to.String(), Command: "show table " + name, Kind: ErrUnknownTable, Cause: cause}
}

// Table calls each for the entries of a table, in HAProxy's order, which is that
// of the keys up to 2.9 (level operator). The memory is that of one entry, however
// many there are. It is no snapshot: entries change while they are read.
//
// A nil error means that the whole reply was read. With any other the entries seen
// so far are true, and some are missing. An error of each ends the reading and
// comes back as it is. Options.Timeout covers all of it, with the time in each;
// Options.MaxReply does not count here.
//
// ErrUnknownTable, ErrNotStored (see NotStoredError), ErrPermission: HAProxy does
// not do it. A filter's key that is not there is no error.
func (c *Client) Table(ctx context.Context, name string, f Filter, each func(*TableEntry) error) error {
	_, err := c.Dump(ctx, name, f, Visitor{Entry: each})
	return err
}

// Lookup reads one entry; nil if the table has no such key (level operator). The
// entry is the caller's.
func (c *Client) Lookup(ctx context.Context, table string, key Key) (*TableEntry, error) {
	var found *TableEntry
	err := c.Table(ctx, table, Filter{Key: key}, func(e *TableEntry) error {
		found = e.Clone()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Visitor is told what a dump reads. Either may be nil.
type Visitor struct {
	// Head comes first, before any entry.
	Head func(Info, Table) error
	// Entry comes once for each; see Table.
	Entry func(*TableEntry) error
}

// Dumped is what a dump cost and whom it asked.
type Dumped struct {
	// Info is the worker that answered, over the very connection of the entries.
	Info Info
	// Table with Used as it was when the dump began; zero for a key that is missing.
	Table Table
	// Entries that were read, and Bytes of the replies.
	Entries int
	Bytes   int64
	// Took is from connecting to the end, with the time in the visitor.
	Took time.Duration
}

// Dump is Table that also says which worker answered, so that a reload between two
// dumps is seen, and what it cost. What was read before an error is in Dumped.
func (c *Client) Dump(ctx context.Context, name string, f Filter, v Visitor) (Dumped, error) {
	var d Dumped
	start := time.Now()
	if err := checkArg("table", name); err != nil {
		return d, err
	}
	keys := ""
	if f.Key != (Key{}) {
		t, err := c.FindTable(ctx, name)
		if err != nil {
			return d, err
		}
		keys = t.Type
	}
	words, err := f.words(keys)
	if err != nil {
		return d, err
	}
	cmd := of(append([]string{"show", "table", name}, words...)...)
	cmd.name = "show table " + name
	cmd.line = "show info;" + cmd.line
	err = c.stream(ctx, cmd, func(l *lines) error {
		defer func() { d.Bytes = l.read }()
		return c.readDump(l, cmd, f, v, &d)
	})
	d.Took = time.Since(start)
	return d, err
}

// readDump reads the two replies of a dump.
func (c *Client) readDump(l *lines, cmd command, f Filter, v Visitor, d *Dumped) error {
	text := l.text(l.next(), maxLine)
	if l.fail != nil {
		return nil
	}
	var err error
	if d.Info, err = parseInfo(text); err != nil {
		return c.to.misread("show info", text, err)
	}
	first := l.next()
	if first == nil { // a key that is not there
		return l.end()
	}
	if d.Table, err = parseTable(first); err != nil {
		reply := l.text(first, maxQuotedReply)
		return c.refuseTable(cmd, strings.TrimPrefix(cmd.name, "show table "), reply, f.data())
	}
	if v.Head != nil {
		if err := v.Head(d.Info, d.Table); err != nil {
			return err
		}
	}
	if err := c.readEntries(l, cmd, v.Entry, d); err != nil || l.fail != nil {
		return err
	}
	return l.end()
}

// readEntries reads up to the blank line.
func (c *Client) readEntries(l *lines, cmd command, each func(*TableEntry) error, d *Dumped) error {
	p := newEntryParser(d.Table.Type)
	for line := l.next(); line != nil; line = l.next() {
		if line[0] == '#' {
			return c.refuseTable(cmd, d.Table.Name, l.text(line, maxQuotedReply), nil)
		}
		if err := p.parse(line); err != nil {
			return &CommandError{Address: c.to.String(), Command: cmd.name, Kind: ErrMalformed, Cause: fmt.Errorf("entry %d: %w", d.Entries+1, err)}
		}
		d.Entries++
		if each != nil {
			if err := each(&p.entry); err != nil {
				return err
			}
		}
	}
	return nil
}
