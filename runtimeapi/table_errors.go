package runtimeapi

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of failure that only stick tables have.
var (
	// ErrUnknownTable: HAProxy has no stick table of that name.
	ErrUnknownTable = errors.New("unknown table")
	// ErrNotStored: the table does not store the data type; see NotStoredError.
	ErrNotStored = errors.New("data type not stored")
	// ErrInUse: a stream tracks the entry, so it cannot be removed now.
	ErrInUse = errors.New("entry in use")
)

// NotStoredError names what a table's configuration lacks.
type NotStoredError struct {
	// Table and the data type as it was asked for, such as http_req_rate or gpc[2].
	Table, Data string
}

// Error says what to add.
func (e *NotStoredError) Error() string {
	syntax, _ := Store(e.Data)
	text := fmt.Sprintf("table %s does not store %s; add %s after \"store\" in its stick-table line and reload HAProxy", e.Table, e.Data, syntax)
	switch e.Data {
	case "gpc0", "gpc0_rate", "gpc1", "gpc1_rate", "gpt0":
		text += "; an element of gpc(n), gpc_rate(n,period) or gpt(n) is printed like that but has another name here: gpc[0], gpc_rate[0], gpt[0] (3.2 and later)"
	}
	return text
}

// tableRefusals are HAProxy's words about tables, the same in 2.4 to 3.5.
var tableRefusals = []struct {
	text string
	kind error
}{
	{"No such table", ErrUnknownTable},
	{"Data type not stored in this table", ErrNotStored},
	{"Unknown data type", ErrUnsupported},
	{"Entry currently in use", ErrInUse},
	{"contents not dumped due to insufficient privileges", ErrPermission},
}

// refuseTable is the error of a refusal by a command on the table t. data are the
// data types that it named, in its order.
func (c *Client) refuseTable(cmd command, t, reply string, data []string) error {
	for _, r := range tableRefusals {
		if !strings.Contains(reply, r.text) {
			continue
		}
		err := &CommandError{Address: c.to.String(), Command: cmd.name, Kind: r.kind, Reply: words(reply)}
		err.Cause = tableCause(r.kind, t, blamed(reply, data))
		return err
	}
	return c.to.refuse(cmd.name, classify(reply), reply)
}

// tableCause says what to mend.
func tableCause(kind error, table, data string) error {
	switch {
	case kind == ErrUnknownTable:
		return errors.New(`"show table" lists the tables: a table has the name of the frontend or backend that declares it, or PEERS/TABLE`)
	case kind == ErrInUse:
		return errors.New("a connection tracks it now; try again when that is over")
	case data == "":
		return nil
	case kind == ErrNotStored:
		return &NotStoredError{table, data}
	case kind == ErrUnsupported && strings.Contains(data, "["):
		return fmt.Errorf("an element of an array such as %s has a name from HAProxy 3.2 on; before, store gpc0,gpc0_rate instead of arrays where it must be filtered or set", data)
	case kind == ErrUnsupported:
		return fmt.Errorf("this HAProxy has no data type %s", data)
	}
	return nil
}

// blamed is the data type that "Filter entry #N" means, or the only one.
func blamed(reply string, data []string) string {
	if len(data) == 0 {
		return ""
	}
	n := 1
	if _, after, ok := strings.Cut(reply, "Filter entry #"); ok {
		_, _ = fmt.Sscanf(after, "%d", &n)
	}
	if n < 1 || n > len(data) {
		return ""
	}
	return data[n-1]
}
