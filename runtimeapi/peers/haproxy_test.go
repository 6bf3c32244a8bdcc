package peers

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// columnsOf are a sample's measures as text.
func columnsOf(s poll.Sample) (names []string) {
	for _, m := range s.Measures {
		names = append(names, m.String())
	}
	return names
}

// TestRealTypes: each type of key, and nearly each data type, is what a dump of the
// table shows.
func TestRealTypes(t *testing.T) {
	g := startHAProxy(t, config)
	l := newLedger()
	f, _ := listen(t, g.peer("st", "bi", "in", "a4", "a6", "pp/inner"), Options{}, l)
	if s := await(t, f, StateOK); s.Problem != "" || len(s.Tables) != 6 {
		t.Fatalf("%+v", s)
	}
	all := ""
	for b := 1; b < 256; b++ {
		all += fmt.Sprintf("%%%02X", b)
	}
	binary := base64.StdEncoding.EncodeToString([]byte{0, 1, ' ', '\n', 0xff, '\\', '=', 0})
	for _, headers := range [][]string{
		{"X-Key", all}, {"X-Key", "job", "X-Bin", binary}, {"X-Key", "job", "X-Num", "4294967295"}, {"X-Key", "job", "X-Num", "7"},
		{"X-Key", "job", "X-Addr", "127.0.0.1"}, {"X-Key", "job", "X-Addr6", "2001:db8::1"}, {"X-Key", "job", "X-Addr6", "::ffff:10.0.0.1"}, {"X-Key", "job", "X-Addr6", "::1.2.3.4"},
	} {
		g.requests(t, 2, headers...)
	}
	time.Sleep(200 * time.Millisecond)
	seen := 0
	for table, keys := range map[string]int{"st": 2, "bi": 1, "in": 2, "a4": 1, "a6": 3} {
		err := g.client.Table(t.Context(), table, runtimeapi.Filter{}, func(e *runtimeapi.TableEntry) error {
			s, ok := l.sample(table + "/" + string(e.Key))
			if !ok {
				return fmt.Errorf("%s: no sample of %q", table, e.Key)
			}
			seen++
			keys--
			n := 0
			for i, c := range e.Columns {
				if c.Kind == runtimeapi.Text {
					continue
				}
				if n >= len(s.Measures) || s.Measures[n].Column != c {
					return fmt.Errorf("%s has %v, the samples %v", table, e.Columns, columnsOf(s))
				}
				if have, want := s.Measures[n].Value, e.Values[i]; have != want && (c.Kind != runtimeapi.Rate || max(have, want)-min(have, want) > 1+want/20) {
					t.Errorf("%s %q: %s is %d, the dump says %d", table, e.Key, c, have, want)
				}
				n++
			}
			return nil
		})
		if err != nil || keys != 0 {
			t.Errorf("%s: %v, %d keys are missing", table, err, keys)
		}
	}
	if _, ok := l.sample("st/job"); !ok || seen != 9 {
		t.Errorf("%d keys were compared", seen)
	}
	if s, _ := l.sample("in/7"); len(s.Measures) != 3 || s.Measures[2].Value != 2 || s.Measures[0].Name != "gpc0" {
		t.Errorf("%+v", s)
	}
}

// TestRealTraffic: every request is told once, at once, and none from before.
func TestRealTraffic(t *testing.T) {
	g := startHAProxy(t, config)
	g.requests(t, 5, "X-Key", "old")
	l := newLedger()
	f, _ := listen(t, g.peer(), Options{}, l)
	await(t, f, StateOK)
	for range 3 {
		g.requests(t, 7, "X-Key", "old")
		g.requests(t, 9, "X-Key", "new key", "X-Num", "77")
	}
	l.rise(t, "st/old", 21)
	l.rise(t, "st/new key", 27)
	l.rise(t, "in/77", 27)
	s, _ := l.sample("st/new key")
	if s.Elapsed < time.Millisecond || s.Elapsed > time.Second || s.Shared || s.Restarted || s.First || time.Since(s.At).Abs() > time.Minute {
		t.Errorf("%+v", s)
	}
	if err := g.client.ClearTable(t.Context(), "st", runtimeapi.Filter{Key: runtimeapi.StringKey("old")}); err != nil {
		t.Fatal(err)
	}
	g.requests(t, 4, "X-Key", "old")
	l.rise(t, "st/old", 25)
	if s := f.Status(); s.State != StateOK || s.Reconnects != 0 || s.Entries != 3 || s.Updates < 10 || !s.Covers("st") || s.Covers("alone") {
		t.Errorf("%+v", s)
	}
}

// TestRealExpiry: an entry that expires and is made anew begins at 0, also where it
// comes as far as before.
func TestRealExpiry(t *testing.T) {
	g := startHAProxy(t, config)
	l := newLedger()
	f, _ := listen(t, g.peer("short"), Options{}, l)
	await(t, f, StateOK)
	for i := range uint64(4) {
		g.requests(t, 3, "X-Key", "x", "X-Short", "k")
		l.rise(t, "short/k", 3*(i+1))
		time.Sleep(400 * time.Millisecond)
	}
}

// dump is what a table's keys have counted.
func (g *gate) dump(t testing.TB, table string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := g.client.Table(t.Context(), table, runtimeapi.Filter{}, func(e *runtimeapi.TableEntry) error {
		for i, c := range e.Columns {
			if c.Kind != runtimeapi.Rate { // they fade by themselves
				all[string(e.Key)] += fmt.Sprintf(" %s=%d", c, e.Values[i])
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRealReadOnly: nothing in HAProxy's tables changes because a feed listens.
func TestRealReadOnly(t *testing.T) {
	g := startHAProxy(t, config)
	g.requests(t, 3, "X-Key", "a", "X-Num", "1")
	g.requests(t, 2, "X-Key", "b", "X-Addr", "10.1.2.3")
	time.Sleep(50 * time.Millisecond) // the last request's stream ends
	tables := []string{"st", "in", "a4", "pp/inner"}
	before := map[string]map[string]string{}
	for _, table := range tables {
		before[table] = g.dump(t, table)
	}
	if len(before["st"]) != 2 || !strings.Contains(before["st"]["a"], "http_req_cnt=3") {
		t.Fatal(before)
	}
	for range 3 {
		f, stop := listen(t, g.peer(), Options{}, newLedger())
		await(t, f, StateOK)
		time.Sleep(1500 * time.Millisecond) // some lessons and acknowledgements
		stop()
	}
	for _, table := range tables {
		if after := g.dump(t, table); !maps.Equal(after, before[table]) {
			t.Errorf("%s is %v, it was %v", table, after, before[table])
		}
	}
}

// TestRealRefusals: what HAProxy itself answers to each greeting.
func TestRealRefusals(t *testing.T) {
	g := startHAProxy(t, config)
	for want, change := range map[string]func(*Proxy){
		"status 503: its own name is not": func(p *Proxy) { p.Remote = "other" },
		"status 504: its peers section":   func(p *Proxy) { p.Local = "stranger" },
		"HAProxy does not send table alone to its peers; add": func(p *Proxy) {
			p.Tables = []string{"alone"}
		},
		"no status came": func(p *Proxy) { p.Address = "unix:" + g.path("f") }, // the frontend
	} {
		p := g.peer()
		change(&p)
		f, stop := listen(t, p, Options{}, newLedger())
		if s := await(t, f, StateFailed); !strings.Contains(s.Problem, want) {
			t.Errorf("%s\nwant %s", s.Problem, want)
		}
		stop()
	}
	for hello, want := range map[string]string{
		"SomethingElse 2.1\nme\nhaptrail 1 1\n": "501\n", "HAProxyS 3.0\nme\nhaptrail 1 1\n": "502\n", "HAProxyS 2.1\nme\nhaptrail\n": "501\n",
	} {
		conn, err := net.Dial("unix", g.path("p"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(conn, hello)
		if have, err := io.ReadAll(conn); string(have) != want {
			t.Errorf("%q is answered %q, %v; want %q", hello, have, err, want)
		}
		_ = conn.Close()
	}
}

// TestRealTwoFeeds: HAProxy has one connection for a name.
func TestRealTwoFeeds(t *testing.T) {
	g := startHAProxy(t, config)
	first, _ := listen(t, g.peer(), Options{}, newLedger())
	await(t, first, StateOK)
	l := newLedger()
	second, _ := listen(t, g.peer(), Options{}, l)
	await(t, second, StateOK)
	waitFor(t, "the first feed's end", func() bool {
		s := first.Status()
		return s.Reconnects > 0 || strings.Contains(s.Problem, "another client calls itself haptrail")
	})
}
