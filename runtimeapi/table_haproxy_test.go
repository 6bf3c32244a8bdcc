package runtimeapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// tracking is a HAProxy with a table of every type, fed by requests whose X-Key is
// the key: percent-encoded in st and the rest, base64 in bi.
const tracking = `
global
    stats socket DIR/s mode 600 level admin
    stats socket DIR/o mode 600 level operator
    stats socket DIR/u mode 600 level user
    maxconn 100
    localpeer me
peers pp
    peer me unix@DIR/p
    table shared type string len 20 size 1k store http_req_cnt
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend www
    bind unix@DIR/f
    http-request track-sc0 req.fhdr(x-key),url_dec table st
    http-request track-sc1 req.fhdr(x-bin),b64dec table bi if { req.fhdr(x-bin) -m found }
    http-request track-sc1 req.fhdr(x-num) table in if { req.fhdr(x-num) -m found }
    http-request track-sc1 req.fhdr(x-addr) table a6 if { req.fhdr(x-addr) -m found }
    http-request sc-inc-gpc(1,0)
    http-request return status 200 content-type text/plain string ok
backend st
    stick-table type string len 300 size 100k expire 10m store gpc(3),gpt(2),gpc_rate(3,10s),http_req_cnt,http_req_rate(10s),conn_cur,server_id,server_key,bytes_in_cnt,bytes_in_rate(1m)
backend bi
    stick-table type binary len 8 size 1k store http_req_cnt
backend in
    stick-table type integer size 1k expire 1m store http_req_cnt,gpc0,gpc0_rate(5s)
backend a4
    stick-table type ip size 1k expire 1m store http_req_cnt,bytes_out_cnt
backend a6
    stick-table type ipv6 size 1k expire 1m store http_req_cnt
backend app
    server one 127.0.0.1:1 weight 7
    server two 127.0.0.1:2 disabled
`

// startTracking returns a client and what sends a request with headers.
func startTracking(t testing.TB) (dir string, c *Client, send func(key string, headers ...string)) {
	t.Helper()
	haproxyBinary(t)
	dir = shortDir(t)
	start(t, dir, tracking)
	transport := unixTransport(t, filepath.Join(dir, "f"))
	return dir, client(t, dir), func(key string, headers ...string) {
		t.Helper()
		request(t, transport, append([]string{"X-Key", strings.ReplaceAll(url.QueryEscape(key), "+", "%20")}, headers...))
	}
}

// TestTableRealKeys: every byte value in a key, written by requests, read by a dump
// and by the key.
func TestTableRealKeys(t *testing.T) {
	_, c, send := startTracking(t)
	keys := map[string]int{}
	for b := 1; b < 256; b++ {
		keys[fmt.Sprintf("k%c%c", 'a'+b%26, rune(b))] = 1
		keys["x"+string([]byte{byte(b)})+"y"] = 1
	}
	var all []byte
	for b := 1; b < 256; b++ {
		all = append(all, byte(b))
	}
	keys[string(all)] = 1
	for key := range keys {
		send(key)
	}
	seen := map[string]uint64{}
	if err := c.Table(t.Context(), "st", Filter{}, func(e *TableEntry) error {
		n, ok := e.Value("http_req_cnt")
		if !ok || e.Expire <= 0 || e.Address == 0 || len(e.Columns) != 15 {
			return fmt.Errorf("%+v", *e)
		}
		seen[string(e.Key)] += n
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for key := range keys {
		if seen[key] != 1 {
			t.Errorf("key %q was seen with %d requests", key, seen[key])
		}
		e, err := c.Lookup(t.Context(), "st", StringKey(key))
		if strings.ContainsAny(key, "\n\r") {
			if !errors.Is(err, ErrInexpressible) {
				t.Errorf("%q: %v", key, err)
			}
			continue
		}
		if err != nil || e == nil || string(e.Key) != key {
			t.Errorf("%q: %+v, %v", key, e, err)
		}
	}
	if len(seen) != len(keys) {
		t.Errorf("%d keys, want %d", len(seen), len(keys))
	}
}

// TestTableRealTypes: the other types of keys, arrays, rates and gauges.
func TestTableRealTypes(t *testing.T) {
	_, c, send := startTracking(t)
	binary := []byte{0, 1, ' ', '\n', 0xff, '\\', '=', 0}
	send("job", "X-Bin", base64.StdEncoding.EncodeToString(binary))
	send("job", "X-Num", "4294967295")
	send("job", "X-Addr", "2001:db8::1")
	send("job", "X-Addr", "::ffff:10.0.0.1")
	want := map[string][]string{"bi": {string(binary)}, "in": {"4294967295"}, "a6": {"2001:db8::1", "::ffff:10.0.0.1"}, "a4": nil}
	for table, keys := range want {
		var have []string
		if err := c.Table(t.Context(), table, Filter{}, func(e *TableEntry) error {
			have = append(have, string(e.Key))
			return nil
		}); err != nil {
			t.Error(err)
		}
		slices.Sort(have)
		if !slices.Equal(have, keys) {
			t.Errorf("%s has %q, want %q", table, have, keys)
		}
	}
	for table, key := range map[string]Key{"in": IntegerKey(4294967295), "a6": AddrKey(netip.MustParseAddr("10.0.0.1"))} {
		if e, err := c.Lookup(t.Context(), table, key); err != nil || e == nil {
			t.Errorf("%s %s: %v, %v", table, key, e, err)
		}
	}
	e, err := c.Lookup(t.Context(), "st", StringKey("job"))
	if err != nil || e == nil {
		t.Fatal(e, err)
	}
	for name, want := range map[string]uint64{"http_req_cnt": 4, "http_req_rate": 4, "gpt1": 0, "gpc2": 0, "server_id": 0} {
		if n, ok := e.Value(name); n != want || !ok {
			t.Errorf("%s=%d, %t; want %d", name, n, ok, want)
		}
	}
	if n, _ := e.Value("bytes_in_cnt"); n < 4*20 {
		t.Errorf("bytes_in_cnt=%d", n)
	}
	i := slices.IndexFunc(e.Columns, func(c Column) bool { return c.Kind == Text })
	if i < 0 || string(e.Texts[i]) != "-" || e.Columns[i].Name != "server_key" {
		t.Errorf("%+v", e)
	}
	if missing, err := c.Lookup(t.Context(), "st", StringKey("none")); missing != nil || err != nil {
		t.Errorf("%+v, %v", missing, err)
	}
}

// TestTableRealFilters: conditions, and what HAProxy refuses.
func TestTableRealFilters(t *testing.T) {
	_, c, send := startTracking(t)
	for i := range 9 {
		for range i + 1 {
			send(fmt.Sprintf("k%d", i))
		}
	}
	count := func(where ...Condition) int {
		t.Helper()
		n := 0
		if err := c.Table(t.Context(), "st", Filter{Where: where}, func(*TableEntry) error { n++; return nil }); err != nil {
			t.Error(err)
		}
		return n
	}
	const data = "http_req_cnt"
	for op, want := range map[Op]int{Equal: 1, NotEqual: 8, AtMost: 3, Less: 2, AtLeast: 7, Greater: 6} {
		if n := count(Condition{data, op, 3}); n != want {
			t.Errorf("%s 3: %d, want %d", op, n, want)
		}
	}
	if n := count(Condition{data, Greater, 1}, Condition{data, Less, 9}, Condition{"http_req_rate", Greater, 0}, Condition{data, NotEqual, 5}); n != 6 {
		t.Errorf("four conditions: %d", n)
	}
	var lacks *NotStoredError
	err := c.Table(t.Context(), "st", Filter{Where: []Condition{{data, Equal, 1}, {"http_err_rate", Equal, 1}}}, nil)
	if !errors.Is(err, ErrNotStored) || !errors.As(err, &lacks) || lacks.Data != "http_err_rate" || !strings.Contains(err.Error(), "add http_err_rate(10s)") {
		t.Errorf("%v", err)
	}
	if err := c.Table(t.Context(), "nonesuch", Filter{}, nil); !errors.Is(err, ErrUnknownTable) {
		t.Errorf("%v", err)
	}
	if haproxyVersion(t).AtLeast(3, 2) {
		return
	}
	if err := c.Stores(t.Context(), "st", "gpc[1]"); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "3.2") {
		t.Errorf("%v", err)
	}
}

// TestTableRealWrites: set and clear, read back.
func TestTableRealWrites(t *testing.T) {
	_, c, _ := startTracking(t)
	ctx := t.Context()
	for i, key := range []string{"a b", `semi;colon\back`, "<<", "\"quoted\"", "\xff\x01\t"} {
		if err := c.SetEntryData(ctx, "st", StringKey(key), []TableValue{{"http_req_cnt", uint64(i + 5)}, {"bytes_in_cnt", 1<<63 - 1}, {"http_req_rate", 77}}); err != nil {
			t.Fatal(err)
		}
		e, err := c.Lookup(ctx, "st", StringKey(key))
		if err != nil || e == nil || string(e.Key) != key {
			t.Fatalf("%q: %+v, %v", key, e, err)
		}
		for name, want := range map[string]uint64{"http_req_cnt": uint64(i + 5), "bytes_in_cnt": 1<<63 - 1, "http_req_rate": 77} {
			if n, _ := e.Value(name); n != want {
				t.Errorf("%q %s=%d, want %d", key, name, n, want)
			}
		}
	}
	if err := c.ClearTable(ctx, "st", Filter{Where: []Condition{{"http_req_cnt", Less, 7}}}); err != nil {
		t.Error(err)
	}
	if err := c.ClearTable(ctx, "st", Filter{Key: StringKey("<<")}); err != nil {
		t.Error(err)
	}
	if table, err := c.FindTable(ctx, "st"); err != nil || table.Used != 2 {
		t.Errorf("%+v, %v", table, err)
	}
	if err := c.ClearTable(ctx, "st", Filter{Where: []Condition{{"http_err_cnt", Less, 7}}}); !errors.Is(err, ErrNotStored) {
		t.Errorf("%v", err)
	}
	if err := c.ClearTable(ctx, "st", Filter{}); err != nil {
		t.Error(err)
	}
	if table, err := c.FindTable(ctx, "st"); err != nil || table.Used != 0 {
		t.Errorf("%+v, %v", table, err)
	}
	if err := c.SetEntryData(ctx, "st", StringKey("k"), []TableValue{{"http_err_cnt", 1}}); !errors.Is(err, ErrNotStored) {
		t.Errorf("%v", err)
	}
	if e, err := c.Lookup(ctx, "st", StringKey("k")); e != nil || err != nil {
		t.Errorf("a refused command made %+v, %v", e, err)
	}
	if err := c.SetEntryData(ctx, "bi", StringKey("k"), nil); !errors.Is(err, ErrInexpressible) {
		t.Errorf("%v", err)
	}
	if err := c.SetEntryData(ctx, "a4", AddrKey(netip.MustParseAddr("10.1.2.3")), []TableValue{{"bytes_out_cnt", 5}}); err != nil {
		t.Error(err)
	}
}

// TestTableRealLevels: what each level of a socket may do, and that nothing is taken
// for done that was not.
func TestTableRealLevels(t *testing.T) {
	dir, _, send := startTracking(t)
	send("k")
	for name, level := range map[string]Level{"u": LevelUser, "o": LevelOperator, "s": LevelAdmin} {
		c, err := New(filepath.Join(dir, name), Options{Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if have, err := c.Level(t.Context()); have != level || err != nil {
			t.Errorf("%s: %s, %v", name, have, err)
		}
		var want error
		if level == LevelUser {
			want = ErrPermission
		}
		if _, err := c.Tables(t.Context()); err != nil {
			t.Error(err)
		}
		if shared, err := c.SharedTables(t.Context()); err != nil || !reflect.DeepEqual(shared, []SharedTable{{Name: "pp/shared"}}) {
			t.Errorf("%q, %v", shared, err)
		}
		for what, err := range map[string]error{
			"dump":   c.Table(t.Context(), "st", Filter{}, nil),
			"lookup": func() error { _, err := c.Lookup(t.Context(), "st", StringKey("k")); return err }(),
			"set":    c.SetEntryData(t.Context(), "st", StringKey("k"), nil),
			"clear":  c.ClearTable(t.Context(), "st", Filter{}),
			"errors": func() error { _, _, err := c.CapturedErrors(t.Context()); return err }(),
		} {
			if !errors.Is(err, want) {
				t.Errorf("%s at level %s: %v", what, level, err)
			}
		}
	}
}

// TestTableRealBig: the entries of a large table, all there, in bounded memory.
func TestTableRealBig(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a table with 30,000 entries")
	}
	dir, c, _ := startTracking(t)
	const n = 30_000
	fill(t, filepath.Join(dir, "s"), "st", n)
	seen := make([]bool, n)
	d, err := c.Dump(t.Context(), "st", Filter{}, Visitor{Entry: func(e *TableEntry) error {
		var i int
		if _, err := fmt.Sscanf(string(e.Key), "repo:acme/app-%d", &i); err != nil || i >= n || seen[i] {
			return fmt.Errorf("key %q: %w", e.Key, err)
		}
		if count, _ := e.Value("http_req_cnt"); count != uint64(i) {
			return fmt.Errorf("key %q: %d", e.Key, count)
		}
		seen[i] = true
		return nil
	}})
	if err != nil || d.Entries != n || d.Table.Used != n {
		t.Errorf("%+v, %v", d, err)
	}
	t.Logf("%d entries, %d bytes in %v", d.Entries, d.Bytes, d.Took)
}
