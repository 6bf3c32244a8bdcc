package runtimeapi

import (
	"fmt"
	"strings"
	"time"
)

// DataKind is what a data type of a stick table holds.
type DataKind uint8

// The kinds.
const (
	// Counter only grows while its entry lives: http_req_cnt, bytes_in_cnt, gpc0.
	Counter DataKind = iota
	// Rate is HAProxy's estimate of a counter's growth over the last Period; it
	// decays when it is read (issue haproxy#1913).
	Rate
	// Gauge goes up and down: conn_cur.
	Gauge
	// Tag is a number without an order: server_id, gpt0.
	Tag
	// Text is a word: server_key.
	Text
)

// String is the kind's word: "counter", "rate", "gauge", "tag" or "text".
func (k DataKind) String() string {
	return [...]string{"counter", "rate", "gauge", "tag", "text"}[k]
}

// Column is one data type as "show table" prints it. An array's elements are
// columns of their own: gpc(3) prints gpc0, gpc1 and gpc2, which is also what the
// single types gpc0 and gpc1 print.
type Column struct {
	// Name such as http_req_rate or gpc2_rate.
	Name string
	// Period of a rate, to the millisecond; 0 for all others.
	Period time.Duration
	Kind   DataKind
	// Wide counters have 64 bits; the others begin again at 0 after 4,294,967,295.
	Wide bool
}

// String is the column as the reply names it: "http_req_rate(10000)", the period
// in milliseconds, or "http_req_cnt".
func (c Column) String() string {
	if c.Kind == Rate {
		return fmt.Sprintf("%s(%d)", c.Name, c.Period.Milliseconds())
	}
	return c.Name
}

// newColumn knows the data types of HAProxy 2.4 to 3.5 (src/stick_table.c,
// stktable_data_types); one of a later version is taken by the shape of its name.
func newColumn(name string, period time.Duration, rate bool) Column {
	c := Column{Name: name, Period: period, Kind: Counter}
	switch {
	case rate:
		c.Kind = Rate
	case name == "server_key":
		c.Kind = Text
	case name == "conn_cur" || strings.HasSuffix(name, "_cur"):
		c.Kind = Gauge
	case name == "server_id" || strings.HasPrefix(name, "gpt"):
		c.Kind = Tag
	}
	c.Wide = name == "bytes_in_cnt" || name == "bytes_out_cnt"
	return c
}

// stored are the data types that a configuration may name after "store", and how:
// a rate needs a period, an array its length. HAProxy 2.6 and later have the
// arrays, 3.0 and later the glitches.
var stored = map[string]string{
	"server_id": "server_id", "server_key": "server_key",
	"gpt0": "gpt0", "gpt": "gpt(3)",
	"gpc0": "gpc0", "gpc0_rate": "gpc0_rate(10s)", "gpc1": "gpc1", "gpc1_rate": "gpc1_rate(10s)",
	"gpc": "gpc(3)", "gpc_rate": "gpc_rate(3,10s)",
	"conn_cnt": "conn_cnt", "conn_rate": "conn_rate(10s)", "conn_cur": "conn_cur",
	"sess_cnt": "sess_cnt", "sess_rate": "sess_rate(10s)",
	"http_req_cnt": "http_req_cnt", "http_req_rate": "http_req_rate(10s)",
	"http_err_cnt": "http_err_cnt", "http_err_rate": "http_err_rate(10s)",
	"http_fail_cnt": "http_fail_cnt", "http_fail_rate": "http_fail_rate(10s)",
	"bytes_in_cnt": "bytes_in_cnt", "bytes_in_rate": "bytes_in_rate(10s)",
	"bytes_out_cnt": "bytes_out_cnt", "bytes_out_rate": "bytes_out_rate(10s)",
	"glitch_cnt": "glitch_cnt", "glitch_rate": "glitch_rate(10s)",
}

// Store is what a stick-table line needs after "store" for a data type, with a
// period or a length to begin with: "http_req_rate(10s)". ok is false for a data
// type that no HAProxy up to 3.5 has. An element of an array, gpc[2], is its array.
func Store(data string) (syntax string, ok bool) {
	name, _, _ := strings.Cut(data, "[")
	syntax, ok = stored[name]
	return syntax, ok
}

// checkData refuses what is no name of a data type; "gpc[2]" is one (3.2 and later).
func checkData(data string) error {
	if _, ok := Store(data); ok && !strings.ContainsAny(data, " \t\\;<\x00\n\r") {
		return nil
	}
	return fmt.Errorf("data type %.60q: %w: HAProxy 2.4 to 3.5 have no such one; http_req_rate and gpc0 are some", data, ErrInexpressible)
}
