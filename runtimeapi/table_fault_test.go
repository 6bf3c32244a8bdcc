package runtimeapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	header26 = "# table: st, type: string, size:102400, used:2\n"
	dump26   = info26 + "\n" + header26 + line26 + "\n" + "0x1: key=b use=0 exp=0 gpc0=1\n\n"
)

// TestDumpOutcomes: complete, partial and failed are never mistaken for one
// another, and entries before a fault were told.
func TestDumpOutcomes(t *testing.T) {
	stall := func(text string) func(string, net.Conn) {
		return func(_ string, conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			_, _ = io.Copy(io.Discard, conn) // until the client gives up
		}
	}
	one := info26 + "\n" + header26 + line26 + "\n"
	for name, tc := range map[string]struct {
		answer  func(string, net.Conn)
		want    error
		text    string
		entries int
	}{
		"complete":             {says(dump26), nil, "", 2},
		"empty table":          {says(info26 + "\n" + header26 + "\n"), nil, "", 0},
		"missing key":          {says(info26 + "\n\n"), nil, "", 0},
		"no blank line":        {says(strings.TrimSuffix(dump26, "\n")), ErrPartial, "without the final blank line", 2},
		"cut after an entry":   {says(one), ErrPartial, "without the final blank line", 1},
		"cut in an entry":      {says(one + "0x1: key=b use=0 exp=0 gpc0=1"), ErrPartial, "after", 1},
		"cut in the header":    {says(info26 + "\n# table: st, ty"), ErrPartial, "after", 0},
		"cut in the info":      {says(info26[:60]), ErrPartial, "after 60 bytes", 0},
		"cut after the info":   {says(info26 + "\n"), ErrPartial, "final blank line", 0},
		"closed at once":       {says(""), ErrPartial, "after 0 bytes", 0},
		"stalls in mid-reply":  {stall(one), ErrPartial, "context deadline exceeded", 1},
		"stalls after the end": {stall(dump26), ErrPartial, "context deadline exceeded", 2},
		"more after the end":   {says(dump26 + "x\n"), nil, "more follows", 2},
		"endless line":         {says(one + strings.Repeat("x", maxLine+1)), ErrTooLarge, "262144 bytes", 1},
		"no entry":             {says(one + "220 mail ESMTP\n\n"), ErrMalformed, "entry 2", 1},
		"unknown table":        {says(info26 + "\nNo such table\n\n"), ErrUnknownTable, `"show table" lists`, 0},
		"unknown, severity":    {says(info26 + "\n[3]:No such table\n\n"), ErrUnknownTable, "haproxy unix:", 0},
		"level user":           {says(info26 + "\n" + header26 + "# contents not dumped due to insufficient privileges\n\n"), ErrPermission, "level admin", 0},
		"refused":              {says(info26 + "\nPermission denied\n\n"), ErrPermission, "level admin", 0},
		"new words":            {says(info26 + "\nNot today\n\n"), ErrRejected, "Not today", 0},
		"no info":              {says("Permission denied\n\n"), ErrPermission, "show info", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(fakeSocket(t, tc.answer), Options{Timeout: 300 * time.Millisecond, MaxReply: 10})
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			d, err := c.Dump(t.Context(), "st", Filter{}, Visitor{Entry: func(*TableEntry) error { seen++; return nil }})
			if tc.want != nil && !errors.Is(err, tc.want) || (err == nil) != (tc.text == "") || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("%v, want %v with %q", err, tc.want, tc.text)
			}
			if seen != tc.entries || d.Entries != tc.entries {
				t.Errorf("%d entries told, %d counted, want %d", seen, d.Entries, tc.entries)
			}
			if err == nil && (d.Info.PID != 7 || d.Took <= 0 || d.Bytes < int64(len(info26))) {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestDumpEndsWhenAsked: an error of the caller and the end of its context end the
// reading at once, and are told apart.
func TestDumpEndsWhenAsked(t *testing.T) {
	hung := make(chan struct{})
	path := fakeSocket(t, func(_ string, conn net.Conn) {
		_, _ = io.WriteString(conn, strings.TrimSuffix(dump26, "\n"))
		_, _ = io.Copy(io.Discard, conn)
		hung <- struct{}{}
	})
	c, err := New(path, Options{Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	mine := errors.New("enough")
	if err := c.Table(t.Context(), "st", Filter{}, func(*TableEntry) error { return mine }); err != mine {
		t.Errorf("have %v", err)
	}
	<-hung
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Table(ctx, "st", Filter{}, func(*TableEntry) error { cancel(); return nil })
	if !errors.Is(err, ErrPartial) || !errors.Is(err, context.Canceled) {
		t.Errorf("have %v", err)
	}
	<-hung
	if _, err := c.Dump(t.Context(), "st", Filter{}, Visitor{Head: func(i Info, table Table) error {
		if i.PID != 7 || table.Used != 2 {
			t.Errorf("%+v %+v", i, table)
		}
		return mine
	}}); err != mine {
		t.Errorf("have %v", err)
	}
	<-hung
}

// script answers "show table" with tables, and keeps what else it was asked.
func script(t *testing.T, tables, reply string) (*Client, *[]string) {
	asked := new([]string)
	c, err := New(fakeSocket(t, func(line string, conn net.Conn) {
		switch {
		case line == "show table":
			_, _ = io.WriteString(conn, tables+"\n")
		case line == "show cli level":
			_, _ = io.WriteString(conn, "operator\n\n")
		default:
			*asked = append(*asked, line)
			_, _ = io.WriteString(conn, reply)
		}
	}), Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c, asked
}

const tables = "# table: st, type: string, size:1, used:0\n# table: a4, type: ip, size:1, used:0\n# table: a6, type: ipv6, size:1, used:0\n" +
	"# table: in, type: integer, size:1, used:0\n# table: bi, type: binary, size:1, used:0\n# table: pp/a, type: b, type: string, size:1, used:0\n"

// TestTableCommands: what is sent for typed values, and what is never sent.
func TestTableCommands(t *testing.T) {
	addr := netip.MustParseAddr
	for _, tc := range []struct {
		table string
		f     Filter
		want  string // the command, or what the error says
	}{
		{"st", Filter{}, "show info;show table st"},
		{"p p;x", Filter{}, `show info;show table p\ p\;x`},
		{"st", Filter{Where: []Condition{{"http_req_rate", Greater, 100}}}, "show info;show table st data.http_req_rate gt 100"},
		{"st", Filter{Where: []Condition{{"gpc[2]", Equal, -1}, {"gpc0", AtMost, 3}}}, "show info;show table st data.gpc[2] eq -1 data.gpc0 le 3"},
		{"st", Filter{Key: StringKey("a b;c\\d<<\"'\t\x01\xff")}, "show info;show table st key a\\ b\\;c\\\\d\\<\\<\"'\\\t\x01\xff"},
		{"in", Filter{Key: IntegerKey(1<<32 - 1)}, "show info;show table in key 4294967295"},
		{"a4", Filter{Key: AddrKey(addr("10.0.0.1"))}, "show info;show table a4 key 10.0.0.1"},
		{"a4", Filter{Key: AddrKey(addr("::ffff:10.0.0.1"))}, "show info;show table a4 key 10.0.0.1"},
		{"a6", Filter{Key: AddrKey(addr("10.0.0.1"))}, "show info;show table a6 key ::ffff:10.0.0.1"},
		{"a6", Filter{Key: AddrKey(addr("::1"))}, "show info;show table a6 key ::1"},
		{"", Filter{}, "it is empty"},
		{"a\nb", Filter{}, "remove it"},
		{"st", Filter{Key: StringKey("")}, "it is empty"},
		{"st", Filter{Key: StringKey("a\nb")}, "remove it"},
		{"st", Filter{Key: StringKey("a\x00b")}, "remove it"},
		{"st", Filter{Key: StringKey("a\rb")}, "remove it"},
		{"st", Filter{Key: StringKey(strings.Repeat("a", 5000))}, "limit is 4000"},
		{"st", Filter{Key: AddrKey(addr("10.0.0.1"))}, "table's keys are of type string"},
		{"in", Filter{Key: StringKey("1")}, "table's keys are of type integer"},
		{"a4", Filter{Key: StringKey("zz")}, "table's keys are of type ip"},
		{"a4", Filter{Key: AddrKey(addr("::1"))}, "table's keys are of type ip"},
		{"a6", Filter{Key: AddrKey(addr("fe80::1%lo"))}, "zone"},
		{"bi", Filter{Key: StringKey("a")}, "binary"},
		{"no", Filter{Key: StringKey("a")}, "among its 6 tables are st, a4, a6, in, bi, pp/a, type: b"},
		{"st", Filter{Key: AddrKey(netip.Addr{}), Where: []Condition{{"gpc0", "=", 1}}}, "operator"},
		{"st", Filter{Key: StringKey("a"), Where: []Condition{{"gpc0", Equal, 1}}}, "exclude"},
		{"st", Filter{Where: []Condition{{"gpc0;clear table st", Equal, 1}}}, "no such one"},
		{"st", Filter{Where: []Condition{{"gpc[1] ne 0", Equal, 1}}}, "no such one"},
		{"st", Filter{Where: make([]Condition, 5)}, "at most 4"},
	} {
		c, asked := script(t, tables, info26+"\n\n")
		err := c.Table(t.Context(), tc.table, tc.f, nil)
		if err == nil && (len(*asked) != 1 || (*asked)[0] != tc.want) {
			t.Errorf("asked %q, want %q", *asked, tc.want)
		}
		if err != nil && (!strings.Contains(err.Error(), tc.want) || len(*asked) > 0) {
			t.Errorf("%v after asking %q, want %q", err, *asked, tc.want)
		}
	}
	c, _ := script(t, tables, "")
	if have, err := c.Tables(t.Context()); err != nil || len(have) != 6 || have[5] != (Table{"pp/a, type: b", KeyString, 1, 0}) {
		t.Errorf("%+v, %v", have, err)
	}
	none, _ := script(t, "", "")
	if _, err := none.FindTable(t.Context(), "st"); !errors.Is(err, ErrUnknownTable) || !strings.Contains(err.Error(), "no stick-table line at all") {
		t.Errorf("%v", err)
	}
}

// TestTableRefusals: HAProxy's words, typed, with the mend.
func TestTableRefusals(t *testing.T) {
	two := []Condition{{"gpc0", Equal, 1}, {"http_err_rate", Greater, 1}}
	for _, tc := range []struct {
		reply string
		where []Condition
		kind  error
		data  string
		text  string
	}{
		{"Filter entry #2: Data type not stored in this table\n\n", two, ErrNotStored, "http_err_rate", `add http_err_rate(10s) after "store"`},
		{"Filter entry #1: Data type not stored in this table\n\n", two, ErrNotStored, "gpc0", "gpc[0]"},
		{"Filter entry #9: Data type not stored in this table\n\n", two, ErrNotStored, "", "not stored"},
		{"Filter entry #1: Unknown data type\n\n", []Condition{{"gpc[2]", Equal, 1}}, ErrUnsupported, "", "from HAProxy 3.2 on"},
		{"Filter entry #1: Unknown data type\n\n", []Condition{{"glitch_cnt", Equal, 1}}, ErrUnsupported, "", "no data type glitch_cnt"},
		{"Entry currently in use, cannot remove\n\n", nil, ErrInUse, "", "try again"},
	} {
		c, _ := script(t, tables, info26+"\n"+tc.reply)
		err := c.Table(t.Context(), "st", Filter{Where: tc.where}, nil)
		var lacks *NotStoredError
		if !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.text) || errors.As(err, &lacks) != (tc.data != "") || lacks != nil && *lacks != (NotStoredError{"st", tc.data}) {
			t.Errorf("%q: %v", tc.reply, err)
		}
	}
}

// TestSetChecksBefore: HAProxy makes the entry before it refuses, so that the
// command is not sent when it would.
func TestSetChecksBefore(t *testing.T) {
	for _, tc := range []struct {
		v     TableValue
		reply string // to the look at the data type
		kind  error
		asked int
	}{
		{TableValue{"http_req_cnt", 1 << 32}, "", ErrInexpressible, 0},
		{TableValue{"bytes_in_cnt", 1 << 63}, "", ErrInexpressible, 0},
		{TableValue{"server_key", 1}, "", ErrInexpressible, 0},
		{TableValue{"nonesuch", 1}, "", ErrInexpressible, 0},
		{TableValue{"gpc0", 1}, "Filter entry #1: Data type not stored in this table\n\n", ErrNotStored, 1},
		{TableValue{"gpc[1]", 1}, "Filter entry #1: Unknown data type\n\n", ErrUnsupported, 1},
		{TableValue{"gpc0", 1}, "Permission denied\n\n", ErrPermission, 1},
	} {
		c, asked := script(t, tables, tc.reply)
		err := c.SetEntryData(t.Context(), "st", StringKey("k"), []TableValue{tc.v})
		if !errors.Is(err, tc.kind) || len(*asked) != tc.asked {
			t.Errorf("%+v: %v after %q", tc.v, err, *asked)
		}
	}
	c, asked := script(t, tables, "\n")
	if err := c.SetEntryData(t.Context(), "st", StringKey("k;"), nil); err != nil || !reflect.DeepEqual(*asked, []string{`set table st key k\;`}) {
		t.Errorf("%v, %q", err, *asked)
	}
}

// TestParsePeers: the tables of "show peers", 2.6's form.
func TestParsePeers(t *testing.T) {
	const reply = "0x5: [23/Nov/2026:19:36:22] id=pp disabled=0 flags=0x11 resync_timeout=4s task_calls=1\n" +
		"  0x6: id=me(local,inactive) addr=127.0.0.1:10924 last_status=NONE last_hdshk=<NEVER>\n        shared tables:\n" +
		"          0x7 local_id=2 remote_id=0 flags=0x0 remote_data=0x0\n              table:0x8 id=st update=0 localupdate=0 commitupdate=0 refcnt=1\n" +
		"              table:0x9 id=pp/tt update=0 localupdate=0\n              table:0x8 id=st update=0 localupdate=0\n              table:0x8 id=\n" +
		"  0xb: id=b(remote,x(remote,active) addr=127.0.0.1:10925 last_status=ESTA\n              table:0x8 id=st update=0 localupdate=0\n              table:0x8 id=st update=1\n"
	c, _ := script(t, tables, reply+"\n")
	if have, err := c.SharedTables(t.Context()); err != nil || !reflect.DeepEqual(have, []SharedTable{{Name: "st", Others: []string{"b(remote,x"}}, {Name: "pp/tt"}}) {
		t.Errorf("%+v, %v", have, err)
	}
}
