package peers

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLesson: what a feed says and hears, from the greeting to a change.
func TestLesson(t *testing.T) {
	l := newLedger()
	started := make(chan *fakeHAProxy, 1)
	address := serve(t, func(conn net.Conn) {
		h := meet(t, conn, "200\n")
		h.teach(packet(tableDefine, stick(1, "st")), timed(7, entry("old", 5)), packet(tableNextTimed, four(60_000)+entry("older", 6)))
		h.send(change(7, entry("old", 5))) // HAProxy sends its own ones once more
		h.send(change(9, entry("old", 7)), packet(tableNext, entry("new", 3)), beat)
		h.expectAck(1, 10)
		started <- h
		h.hold()
	})
	f, _ := listen(t, proxyAt(address), Options{}, l)
	h := <-started
	if want := []string{"HAProxyS 2.1", "me", fmt.Sprintf("haptrail %d 1", os.Getpid())}; !slices.Equal(h.hello, want) {
		t.Errorf("greeting %q, want %q", h.hello, want)
	}
	waitFor(t, "three changes", func() bool { return l.sum("st/new") == 3 })
	if l.sum("st/old") != 2 || l.sum("st/older") != 0 || l.all != 4 {
		t.Errorf("%d samples, sums %v", l.all, l.sums)
	}
	for id, want := range map[string]string{"st/older": "0s true", "st/old": "1ms false", "st/new": "1ms true"} {
		s, _ := l.sample(id)
		if have := fmt.Sprint(s.Elapsed.Round(time.Millisecond), " ", s.First); have != want && s.Elapsed != 0 && s.Elapsed > time.Second || s.First != strings.HasSuffix(want, "true") || (s.Elapsed == 0) != strings.HasPrefix(want, "0s") {
			t.Errorf("%s: %s, want %s", id, have, want)
		}
		if rate, _ := s.Measure("http_req_rate"); s.Proxy != "edge1" || s.At.IsZero() || len(s.Measures) != 3 || rate.Value == 0 || s.Shared || s.Restarted {
			t.Errorf("%s: %+v", id, s)
		}
	}
	waitFor(t, "the tally", func() bool { return f.Status().Updates == 5 })
	s := f.Status()
	if s.State != StateOK || s.Problem != "" || s.Entries != 3 || s.Reconnects != 0 || s.Since.IsZero() || len(s.Tables) != 1 {
		t.Errorf("%+v", s)
	}
	if x := s.Tables[0]; x.Name != "st" || x.Type != "string" || len(x.Columns) != 3 || x.Expire != time.Minute || x.Entries != 3 || x.Updates != 5 || !s.Covers("st") || s.Covers("other") {
		t.Errorf("%+v", s.Tables)
	}
	if want := []State{StateLearning, StateOK}; !slices.Equal(l.states(), want) {
		t.Errorf("states %q, want %q", l.states(), want)
	}
}

// TestRefusals: each status and each other end of a greeting has its problem and mend.
func TestRefusals(t *testing.T) {
	for answer, want := range map[string]string{
		"300\n":                  "refused the greeting with status 300: it is busy with another connection of haptrail",
		"501\n":                  "is ADDRESS the address of its own line in its peers section?",
		"502\r\n":                "take HAProxy 2.6 or later",
		"503\n":                  `its own name is not "me"; set remote to the name in its "localpeer" line`,
		"504\n":                  `its peers section has no "haptrail"; add the line "peer haptrail 127.0.0.1:1" there`,
		"599\n":                  "status 599, which haptrail does not know",
		"":                       "no status came: the connection was ended; is ADDRESS the address of HAProxy's own line in its peers section, without TLS?",
		"20":                     "no status came: the connection was ended",
		"220 mail ESMTP\n":       `the answer is "220 mail ESMTP\n", no status`,
		strings.Repeat("2", 999): "no status",
		"\x15\x03\x01\x00\x02\n": "without TLS?",
	} {
		t.Run(answer[:min(len(answer), 5)], func(t *testing.T) {
			address := serve(t, func(conn net.Conn) {
				h := meet(t, conn, answer)
				if answer == "" || answer == "20" {
					return
				}
				h.hold()
			})
			f, _ := listen(t, proxyAt(address), Options{}, newLedger())
			s := await(t, f, StateFailed)
			if !strings.Contains(strings.ReplaceAll(s.Problem, address, "ADDRESS"), want) || strings.Contains(s.Problem, "\n") {
				t.Errorf("%s\nwant %s", s.Problem, want)
			}
		})
	}
	dir := t.TempDir()
	for address, want := range map[string]string{
		serve(t):                                `nobody listens on`,
		"unix:" + filepath.Join(dir, "missing"): `start HAProxy with the line "peer me unix@`,
	} {
		f, _ := listen(t, proxyAt(address), Options{}, newLedger())
		if s := await(t, f, StateFailed); !strings.Contains(s.Problem, want) {
			t.Errorf("%s\nwant %s", s.Problem, want)
		}
	}
}

// broken are streams after a good greeting that no HAProxy sends.
func broken() map[string][2]string {
	define := packet(tableDefine, stick(1, "st"))
	many := ""
	for i := range uint64(maxTables + 1) {
		many += packet(tableDefine, stick(i, fmt.Sprint("t", i)))
	}
	return map[string][2]string{
		"update before a table":      {change(1, entry("a", 1)), "an update before any table was defined"},
		"switch to nothing":          {packet(tableSwitch, number(5)), "table number 5, which was not defined"},
		"switch to another":          {define + packet(tableSwitch, number(2)), "table number 2, which was not defined"},
		"empty switch":               {define + packet(tableSwitch, ""), "was not defined"},
		"too long":                   {"\x0a\x80" + number(1<<40), "1099511627776 bytes"},
		"endless length":             {"\x0a\x80" + strings.Repeat("\xff", 100), "a length beyond 64 bits"},
		"broken definition":          {packet(tableDefine, "\x01"), "table definition of 1 bytes"},
		"update without its number":  {define + packet(tableUpdate, "abc"), "ends after 3 bytes"},
		"update without its time":    {define + packet(tableNextTimed, "abc"), "ends after 3 bytes"},
		"update without its values":  {define + change(1, prefixed("a")), "not what its definition says"},
		"update with more":           {define + change(1, entry("a", 1)+"x"), "1 bytes follow"},
		"key longer than the table":  {define + change(1, entry(strings.Repeat("k", 32), 1)), "not what its definition says"},
		"key longer than the update": {define + change(1, number(1<<50)+"a"), "not what its definition says"},
		"endless number":             {define + change(1, prefixed("a")+strings.Repeat("\xff", 50)), "not what its definition says"},
		"unknown class":              {"\x07\x00", "class 7 type 0 is unknown"},
		"reserved class":             {"\xff\x00", "class 255 type 0 is unknown"},
		"unknown control":            {"\x00\x09", "control type 9 is unknown"},
		"unknown table message":      {packet(0x90, "abc"), "class 10 type 144 is unknown"},
		"protocol error":             {"\x01\x00", "HAProxy says that there was a protocol error"},
		"size error":                 {"\x01\x01", "HAProxy says that a message was too long"},
		"other error":                {"\x01\x05", "an error of type 5"},
		"a thousand tables and more": {many, "more than 1024 tables"},
		"the end":                    {define, "HAProxy ended the connection"},
		"the end within a message":   {define[:9], "HAProxy ended the connection"},
	}
}

// TestBroken: what no HAProxy sends ends the connection with words, and the next one
// is fine.
func TestBroken(t *testing.T) {
	for name, tc := range broken() {
		t.Run(name, func(t *testing.T) {
			l, told := newLedger(), make(chan Status, 100)
			address := serve(t, func(conn net.Conn) {
				meet(t, conn, "200\n").send(tc[0])
			}, func(conn net.Conn) {
				h := meet(t, conn, "200\n")
				h.teach(packet(tableDefine, stick(1, "st")))
				h.send(change(1, entry("a", 1)))
				h.hold()
			})
			f, _ := listen(t, proxyAt(address), Options{Change: func(s Status) { told <- s }}, l)
			for s := range told {
				if s.State == StateFailed {
					if !strings.Contains(s.Problem, tc[1]) || strings.Contains(s.Problem, "\n") {
						t.Errorf("%s\nwant %s", s.Problem, tc[1])
					}
					break
				}
			}
			waitFor(t, "the next connection's update", func() bool { return l.sum("st/a") == 1 })
			if s := f.Status(); s.State != StateOK || s.Reconnects != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestTables: tables that are not asked for are acknowledged and dropped, those that
// cannot be read or do not come are complained of, and with none at all it fails.
func TestTables(t *testing.T) {
	unread := number(3) + prefixed("odd") + number(6) + number(32) + number(1<<40) + number(0)
	play := func(conn net.Conn, acked chan<- struct{}) {
		h := meet(t, conn, "200\n")
		h.expect(request)
		h.send(packet(tableDefine, stick(1, "st")), timed(1, entry("a", 1)), packet(tableDefine, stick(2, "/inner")), packet(tableDefine, unread), timed(4, "????"), finished)
		if m, ok := <-h.heard; !ok || m != confirm {
			return // there is nothing for it
		}
		h.send(packet(tableSwitch, number(1)), change(2, entry("a", 2)), packet(tableSwitch, number(2)), change(3, entry("b", 1)))
		h.send(packet(tableSwitch, number(3)), change(5, "????"))
		if h.acknowledged(1, 2) && h.acknowledged(2, 3) && h.acknowledged(3, 5) { // else it has gone, or its test is over
			acked <- struct{}{}
			h.hold()
		}
	}
	for name, tc := range map[string]struct {
		tables []string
		state  State
		want   string // the samples' tables
		say    string
	}{
		"all":     {nil, StateOK, "/inner=1 st=1", "table odd cannot be read: it stores data types that haptrail does not know (number 40)"},
		"one":     {[]string{"st"}, StateOK, "st=1", ""},
		"section": {[]string{"pp/inner"}, StateOK, "pp/inner=1", ""},
		"missing": {[]string{"st", "gone"}, StateOK, "st=1", `HAProxy does not send table gone to its peers; add "peers SECTION" to the table's stick-table line`},
		"useless": {[]string{"odd", "gone"}, StateFailed, "", "number 40"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			acked := make(chan struct{}, 10)
			f, _ := listen(t, proxyAt(serve(t, func(conn net.Conn) { play(conn, acked) }), tc.tables...), Options{}, l)
			s := await(t, f, tc.state)
			if !strings.Contains(s.Problem, tc.say) || tc.say == "" && s.Problem != "" {
				t.Errorf("%s\nwant %s", s.Problem, tc.say)
			}
			for part := range strings.FieldsSeq(tc.want) {
				table, _, _ := strings.Cut(part, "=")
				waitFor(t, part, func() bool { return l.sum(table+"/a")+l.sum(table+"/b") == 1 })
				if !f.Status().Covers(table) {
					t.Errorf("%+v", f.Status())
				}
			}
			if tc.state == StateOK {
				select {
				case <-acked:
				case <-time.After(20 * time.Second):
					t.Error("updates were not acknowledged")
				}
			}
			if f.Status().Covers("odd") || f.Status().Covers("gone") {
				t.Errorf("%+v", f.Status())
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			for id := range l.last {
				if table := id[:strings.LastIndex(id, "/")]; !strings.Contains(tc.want, table+"=") {
					t.Errorf("a sample of %s", table)
				}
			}
		})
	}
}

// TestNoTables: a HAProxy whose tables have no peers.
func TestNoTables(t *testing.T) {
	f, _ := listen(t, proxyAt(serve(t, func(conn net.Conn) {
		h := meet(t, conn, "200\n")
		h.expect(request)
		h.send(finished)
		h.hold()
	})), Options{}, newLedger())
	if s := await(t, f, StateFailed); !strings.Contains(s.Problem, `no table at all to its peers; add "peers SECTION"`) {
		t.Error(s.Problem)
	}
}
