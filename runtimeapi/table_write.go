package runtimeapi

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Level is what a connection to the stats socket may do (configuration manual,
// "stats socket", keyword level).
type Level string

// The levels, each with all that the one before may do.
const (
	LevelUser     Level = "user"
	LevelOperator Level = "operator"
	LevelAdmin    Level = "admin"
)

// Level asks for the socket's own ("show cli level"; level user).
func (c *Client) Level(ctx context.Context) (Level, error) {
	cmd := of("show", "cli", "level")
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return "", err
	}
	switch level := Level(strings.TrimSpace(reply)); level {
	case LevelUser, LevelOperator, LevelAdmin:
		return level, nil
	}
	return "", c.to.misread(cmd.name, reply, fmt.Errorf("want user, operator or admin"))
}

// TableValue is one data type of an entry and the number to set it to.
type TableValue struct {
	// Data is a name as in Condition. Text cannot be set.
	Data string
	// Value: bytes_in_cnt and bytes_out_cnt to 2^63-1, all others to 2^32-1. A rate
	// is set so that it reads as Value for a period and then fades.
	Value uint64
}

// SetEntryData sets data types of an entry, which is made if it is not there
// (level operator). "set table", management guide. HAProxy makes it also when it
// then refuses a data type, takes "zz" for 0.0.0.0 (2.6) and cuts a number to 32
// bits, each silently: so the type of the key, the data types and the numbers are
// looked at before.
func (c *Client) SetEntryData(ctx context.Context, table string, key Key, values []TableValue) error {
	t, err := c.FindTable(ctx, table)
	if err != nil {
		return err
	}
	text, err := key.in(t.Type)
	if err != nil {
		return err
	}
	words := []string{"set", "table", table, "key", text}
	for _, v := range values {
		if err := c.settable(ctx, table, v); err != nil {
			return err
		}
		words = append(words, filterDataWord+v.Data, strconv.FormatUint(v.Value, 10))
	}
	cmd := of(words...)
	cmd.name = "set table " + table
	return c.doTable(ctx, cmd, table, nil)
}

// settable refuses what HAProxy would refuse too late or cut.
func (c *Client) settable(ctx context.Context, table string, v TableValue) error {
	limit := uint64(math.MaxUint32)
	column := newColumn(v.Data, 0, strings.Contains(v.Data, "_rate"))
	if column.Wide {
		limit = math.MaxInt64
	}
	switch {
	case column.Kind == Text:
		return fmt.Errorf("set table %s: %w: %s is text, HAProxy sets numbers only", table, ErrInexpressible, v.Data)
	case v.Value > limit:
		return fmt.Errorf("set table %s: %w: %s=%d, HAProxy keeps at most %d", table, ErrInexpressible, v.Data, v.Value, limit)
	}
	return c.Stores(ctx, table, v.Data)
}

// Stores is nil if the table stores the data type, else ErrNotStored,
// ErrUnknownTable or ErrUnsupported (level user). HAProxy looks at no entry for it.
func (c *Client) Stores(ctx context.Context, table, data string) error {
	if err := checkArg("table", table); err != nil {
		return err
	}
	if err := checkData(data); err != nil {
		return err
	}
	// An operator that does not exist is what HAProxy looks at last.
	cmd := of("show", "table", table, filterDataWord+data, "?")
	reply, err := c.ask(ctx, cmd)
	if err != nil || strings.Contains(reply, "Require and operator among") {
		return err
	}
	return c.refuseTable(cmd, table, reply, []string{data})
}

// ClearTable removes the entries that the filter chooses, all of them if it is
// zero (level operator). "clear table", management guide. An entry that a stream
// tracks is not removed: by its key that is ErrInUse, else it stays silently. A key
// that is not there is no error.
func (c *Client) ClearTable(ctx context.Context, table string, f Filter) error {
	// Before 3.4 a socket of level user clears nothing and says nothing (d04a56e17).
	level, err := c.Level(ctx)
	if err != nil {
		return err
	}
	t, err := c.FindTable(ctx, table)
	if err != nil {
		return err
	}
	words, err := f.words(t.Type)
	if err != nil {
		return err
	}
	cmd := of(append([]string{"clear", "table", table}, words...)...)
	cmd.name = "clear table " + table
	if level == LevelUser {
		return &CommandError{Address: c.to.String(), Command: cmd.name, Kind: ErrPermission, Cause: fmt.Errorf("the socket's level is %s", level)}
	}
	return c.doTable(ctx, cmd, table, f.data())
}

// doTable sends a command whose success is silence.
func (c *Client) doTable(ctx context.Context, cmd command, table string, data []string) error {
	reply, err := c.ask(ctx, cmd)
	if err != nil || strings.TrimSpace(reply) == "" {
		return err
	}
	return c.refuseTable(cmd, table, reply, data)
}

// SharedTable is a stick table of a peers section.
type SharedTable struct {
	Name string
	// Others are the peers besides HAProxy itself that the section names, connected or
	// not: other proxies that fill the table, and listeners such as package peers.
	Others []string
}

// SharedTables are the tables that peers fill, too ("show peers", level user): after
// a reload the old worker does, and at any time other proxies, where there are any.
func (c *Client) SharedTables(ctx context.Context) ([]SharedTable, error) {
	reply, err := c.ask(ctx, of("show", "peers"))
	if err != nil {
		return nil, err
	}
	if kind := classify(reply); kind != ErrRejected {
		return nil, c.to.refuse("show peers", kind, reply)
	}
	return parsePeers(reply), nil
}

// parsePeers reads "0x5581... id=NAME(remote,active) ..." lines, one for each peer, and
// below them "table:0x5581... id=NAME update=..." ones, one for each of its tables.
func parsePeers(reply string) []SharedTable {
	var tables []SharedTable
	peer, remote := "", false
	for line := range strings.Lines(reply) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "table:0x"); ok {
			_, rest, _ = strings.Cut(rest, " id=")
			name, _, ok := strings.Cut(rest, " update=")
			if !ok {
				continue
			}
			i := slices.IndexFunc(tables, func(t SharedTable) bool { return t.Name == name })
			if i < 0 {
				i = len(tables)
				tables = append(tables, SharedTable{Name: name})
			}
			if remote && !slices.Contains(tables[i].Others, peer) {
				tables[i].Others = append(tables[i].Others, peer)
			}
			continue
		}
		if _, rest, ok := strings.Cut(line, ": id="); ok && strings.HasPrefix(line, "0x") {
			if at := strings.LastIndex(rest, "(remote,"); at >= 0 {
				peer, remote = rest[:at], true
			} else if strings.Contains(rest, "(local,") {
				peer, remote = "", false
			}
		}
	}
	return tables
}
