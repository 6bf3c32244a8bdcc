package runtimeapi

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Lines of the versions that print differently: 2.4 (no arrays, signs), 2.6 and 3.x.
const (
	line24 = `0x55a1c8a0b3d0: key=repo:acme/app use=1 exp=9999 server_id=2 gpt0=7 gpc0=3 gpc0_rate(10000)=3 conn_cur=1 http_req_cnt=12 bytes_in_cnt=920 bytes_in_rate(3600000)=-2147483648 server_key=app1`
	line26 = `0x565002ba7940: key=a\ b\=c\\d\xC3\xA9"q use=0 exp=599992 server_id=0 conn_cur=0 http_req_cnt=1 http_req_rate(10000)=1 bytes_in_cnt=54 server_key=- gpt0=0 gpt1=0 gpc0=0 gpc1=0 gpc2=0 gpc0_rate(10000)=0 gpc1_rate(10000)=0 gpc2_rate(10000)=4294967295`
	line3x = `0x7f00deadbeef: key=zz use=-1 exp=0 shard=3 http_fail_cnt=0 bytes_out_cnt=18446744073709551615 glitch_cnt=5 glitch_rate(1000)=2`
)

// TestParseEntry: what each version prints, typed.
func TestParseEntry(t *testing.T) {
	counter := func(name string) Column { return Column{Name: name, Kind: Counter} }
	rate := func(name string, p time.Duration) Column { return Column{Name: name, Kind: Rate, Period: p} }
	for _, tc := range []struct {
		line    string
		key     string
		use     int
		expire  time.Duration
		shard   int
		address uint64
		columns []Column
		values  []uint64
		text    string // the server key
	}{
		{line24, "repo:acme/app", 1, 9999 * time.Millisecond, -1, 0x55a1c8a0b3d0, []Column{
			{Name: "server_id", Kind: Tag}, {Name: "gpt0", Kind: Tag}, counter("gpc0"), rate("gpc0_rate", 10*time.Second), {Name: "conn_cur", Kind: Gauge},
			counter("http_req_cnt"), {Name: "bytes_in_cnt", Kind: Counter, Wide: true}, rate("bytes_in_rate", time.Hour), {Name: "server_key", Kind: Text},
		}, []uint64{2, 7, 3, 3, 1, 12, 920, 1 << 31, 0}, "app1"},
		{line26, "a b=c\\d\xc3\xa9\"q", 0, 599992 * time.Millisecond, -1, 0x565002ba7940, []Column{
			{Name: "server_id", Kind: Tag}, {Name: "conn_cur", Kind: Gauge}, counter("http_req_cnt"), rate("http_req_rate", 10*time.Second),
			{Name: "bytes_in_cnt", Kind: Counter, Wide: true}, {Name: "server_key", Kind: Text}, {Name: "gpt0", Kind: Tag}, {Name: "gpt1", Kind: Tag},
			counter("gpc0"), counter("gpc1"), counter("gpc2"),
			rate("gpc0_rate", 10*time.Second), rate("gpc1_rate", 10*time.Second), rate("gpc2_rate", 10*time.Second),
		}, []uint64{0, 0, 1, 1, 54, 0, 0, 0, 0, 0, 0, 0, 0, 1<<32 - 1}, "-"},
		{line3x, "zz", -1, 0, 3, 0x7f00deadbeef, []Column{
			counter("http_fail_cnt"), {Name: "bytes_out_cnt", Kind: Counter, Wide: true}, counter("glitch_cnt"), rate("glitch_rate", time.Second),
		}, []uint64{0, 1<<64 - 1, 5, 2}, ""},
	} {
		p := newEntryParser(KeyString)
		for range 2 { // learned, then recognized
			if err := p.parse([]byte(tc.line)); err != nil {
				t.Fatal(err)
			}
			e := p.entry
			if string(e.Key) != tc.key || e.Use != tc.use || e.Expire != tc.expire || e.Shard != tc.shard || e.Address != tc.address {
				t.Errorf("%+v", e)
			}
			if !reflect.DeepEqual(e.Columns, tc.columns) || !reflect.DeepEqual(e.Values, tc.values) {
				t.Errorf("have %+v\n%v\nwant %+v\n%v", e.Columns, e.Values, tc.columns, tc.values)
			}
			for i, c := range e.Columns {
				if c.Kind == Text && string(e.Texts[i]) != tc.text {
					t.Errorf("text %q, want %q", e.Texts[i], tc.text)
				}
			}
		}
		if have := string(p.entry.AppendTo(nil)); have != tc.line && !strings.Contains(tc.line, "=-2147483648") {
			t.Errorf("have %s\nwant %s", have, tc.line)
		}
	}
}

// TestParseEntryCut: a line that is cut anywhere is an error, or an entry whose
// last value alone is shorter; never another key.
func TestParseEntryCut(t *testing.T) {
	for _, line := range []string{line24, line26, line3x} {
		whole := newEntryParser(KeyString)
		if err := whole.parse([]byte(line)); err != nil {
			t.Fatal(err)
		}
		for i := range len(line) {
			p := newEntryParser(KeyString)
			if err := p.parse([]byte(line[:i])); err != nil {
				continue
			}
			if n := len(p.entry.Columns); !bytes.Equal(p.entry.Key, whole.entry.Key) || n > 0 && !reflect.DeepEqual(p.entry.Columns[:n-1], whole.entry.Columns[:n-1]) {
				t.Errorf("cut at %d: %+v", i, p.entry)
			}
		}
	}
}

// TestParseEntryRefuses: what HAProxy does not print.
func TestParseEntryRefuses(t *testing.T) {
	for _, tc := range []struct{ keys, line, want string }{
		{KeyString, "", "no address"},
		{KeyString, "key=a use=0 exp=0", "no address"},
		{KeyString, "0x: key=a use=0 exp=0", "no number"},
		{KeyString, "0x00: key=a use=0 exp=0", "no number"},
		{KeyString, "0x11112222333344445: key=a use=0 exp=0", "no key"},
		{KeyString, "0x1: use=0 exp=0", "no key"},
		{KeyString, "0x1: key=a=b use=0 exp=0", "not one of type string"},
		{KeyString, `0x1: key=a\x41 use=0 exp=0`, "not one of type string"},
		{KeyString, `0x1: key=a\xc3 use=0 exp=0`, "not one of type string"},
		{KeyString, `0x1: key=a\x00 use=0 exp=0`, "not one of type string"},
		{KeyString, `0x1: key=a\q use=0 exp=0`, "not one of type string"},
		{KeyString, "0x1: key=\xc3 use=0 exp=0", "not one of type string"},
		{KeyString, `0x1: key=a\ use=0`, "not one of type string"},
		{KeyInteger, "0x1: key=4294967296 use=0 exp=0", "not one of type integer"},
		{KeyInteger, "0x1: key=007 use=0 exp=0", "not one of type integer"},
		{KeyIP, "0x1: key=zz use=0 exp=0", "not one of type ip"},
		{KeyBinary, "0x1: key=ABC use=0 exp=0", "not one of type binary"},
		{KeyBinary, "0x1: key=ag use=0 exp=0", "not one of type binary"},
		{KeyString, "0x1: key=a exp=0", "no use="},
		{KeyString, "0x1: key=a use=0", "no exp="},
		{KeyString, "0x1: key=a use=0 exp=-1", "no exp="},
		{KeyString, "0x1: key=a use=0 exp=0 ", "no data type"},
		{KeyString, "0x1: key=a use=0 exp=0 gpc0", "no data type"},
		{KeyString, "0x1: key=a use=0 exp=0x gpc0=1", "no blank"},
		{KeyString, "0x1: key=a use=0 exp=0 gpc0:1", "no = after gpc0"},
		{KeyString, "0x1: key=a use=0 exp=0 gpc0_rate(x)=1", "period"},
		{KeyString, "0x1: key=a use=0 exp=0 gpc0_rate(10=1", "no = after gpc0_rate"},
		{KeyString, "0x1: key=a use=0 exp=0 gpc0_rate(10)=x", "no number"},
		{KeyString, "0x1: key=a use=0 exp=0 gpc0_rate(10)=18446744073709551616", "no number"},
		{KeyString, "0x1: key=a use=0 exp=0" + strings.Repeat(" gpc0=1", maxColumns+1), "more than"},
	} {
		if err := newEntryParser(tc.keys).parse([]byte(tc.line)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.line, err, tc.want)
		}
	}
}

// TestParseEntryTypes: the keys of the other types, and a data type from the future.
func TestParseEntryTypes(t *testing.T) {
	for _, tc := range []struct{ keys, shown, key string }{
		{KeyIP, "127.0.0.1", "127.0.0.1"}, {KeyIPv6, "::ffff:127.0.0.1", "::ffff:127.0.0.1"}, {KeyIPv6, "::", "::"},
		{KeyInteger, "4294967295", "4294967295"}, {KeyInteger, "0", "0"}, {KeyBinary, "00FF0A20", "\x00\xff\n "}, {KeyBinary, "", ""},
	} {
		line := "0x1: key=" + tc.shown + " use=0 exp=0 gpc0=1 mood=fine"
		p := newEntryParser(tc.keys)
		if err := p.parse([]byte(line)); err != nil || string(p.entry.Key) != tc.key {
			t.Errorf("%q: %q, %v", line, p.entry.Key, err)
		}
		if have := string(p.entry.AppendTo(nil)); have != line {
			t.Errorf("have %s\nwant %s", have, line)
		}
		if n, ok := p.entry.Value("gpc0"); n != 1 || !ok {
			t.Errorf("gpc0=%d, %t", n, ok)
		}
		if _, ok := p.entry.Value("mood"); ok {
			t.Error("a text is a number")
		}
	}
}

// TestColumnsChange: a reply whose lines differ is read line by line.
func TestColumnsChange(t *testing.T) {
	p := newEntryParser(KeyString)
	for i, line := range []string{"0x1: key=a use=0 exp=0 gpc0=1 mood=5", "0x2: key=b use=0 exp=0 gpc0=2 mood=low", "0x3: key=c use=0 exp=0 gpc0=3", "0x4: key=d use=0 exp=0", "0x5: key=e use=0 exp=0 gpc0=5"} {
		if err := p.parse([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if have := string(p.entry.AppendTo(nil)); have != line {
			t.Errorf("line %d: have %s", i, have)
		}
	}
}

// TestEscapes: each byte has exactly the text that HAProxy's dump_text gives it.
func TestKeyEscapes(t *testing.T) {
	for c := 1; c < 256; c++ {
		var want string
		switch b := byte(c); {
		case strings.ContainsRune(" =\\", rune(c)):
			want = "\\" + string(rune(c))
		case c == '\t':
			want = `\t`
		case c == '\n':
			want = `\n`
		case c == '\r':
			want = `\r`
		case c == 27:
			want = `\e`
		case c > 32 && c < 127:
			want = string(rune(c))
		default:
			want = fmt.Sprintf(`\x%02X`, b)
		}
		have := appendKey(nil, []byte{byte(c)})
		back, ok := unescapeKey(nil, have)
		if string(have) != want || !ok || len(back) != 1 || back[0] != byte(c) {
			t.Errorf("byte %d: %q, want %q; back %q, %t", c, have, want, back, ok)
		}
	}
}

// FuzzEntry: nothing panics; what parses is written as it was, but for the signs of
// 2.4; and it parses to the same when its columns are known already.
func FuzzEntry(f *testing.F) {
	for i, line := range []string{line24, line26, line3x, "0x1: key=1.2.3.4 use=0 exp=0", "0x1: key=00FF use=0 exp=0 gpc0=1", `0x1: key=\ use=0 exp=0`} {
		f.Add(uint8(i), []byte(line))
	}
	types := []string{KeyString, KeyInteger, KeyIP, KeyIPv6, KeyBinary}
	f.Fuzz(func(t *testing.T, keys uint8, line []byte) {
		p := newEntryParser(types[int(keys)%len(types)])
		if p.parse(line) != nil {
			return
		}
		text := p.entry.AppendTo(nil)
		first := p.entry.Clone()
		if err := p.parse(text); err != nil || !reflect.DeepEqual(first, p.entry.Clone()) {
			t.Fatalf("again: %v\n%+v\n%+v", err, first, p.entry)
		}
		if !bytes.Equal(text, line) && !bytes.Contains(line, []byte("=-")) {
			t.Fatalf("have %q\nfrom %q", text, line)
		}
	})
}

// TestParsedIsWritten: random entries, the property without the fuzzer.
func TestParsedIsWritten(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p := newEntryParser(KeyString)
	for range 5000 {
		e := TableEntry{Address: random.Uint64(), Use: random.IntN(9), Expire: time.Duration(random.Uint32()) * time.Millisecond, Shard: random.IntN(3) - 1, table: KeyString}
		for range random.IntN(40) {
			e.Key = append(e.Key, byte(1+random.IntN(255)))
		}
		for i := range random.IntN(6) {
			e.Columns = append(e.Columns, newColumn(fmt.Sprintf("gpc%d", i), 0, false), newColumn(fmt.Sprintf("gpc%d_rate", i), time.Second, true))
			e.Values = append(e.Values, random.Uint64()>>random.IntN(64), uint64(random.Uint32()))
		}
		line := e.AppendTo(nil)
		if err := p.parse(line); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if have := p.entry.AppendTo(nil); !bytes.Equal(p.entry.Key, e.Key) || !bytes.Equal(have, line) {
			t.Fatalf("have %q\nwant %q", have, line)
		}
	}
}

// dumpText is a reply of n entries with 12 counters, like the one in the facts.
func dumpText(n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# table: st, type: string, size:2097152, used:%d\n", n)
	for i := range n {
		fmt.Fprintf(&b, "0x7fd5f8%06x: key=repo:acme/app-%06d:ref:refs/heads/main use=0 exp=599992 conn_cnt=%d conn_rate(10000)=12 conn_cur=0 http_req_cnt=%d http_req_rate(10000)=%d http_err_cnt=3 http_err_rate(60000)=1 bytes_in_cnt=%d bytes_in_rate(60000)=9211 bytes_out_cnt=971234 bytes_out_rate(60000)=97 gpc0=1\n",
			i, i, i, i*7, i%100, i*920)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// BenchmarkParseEntries: entries a second on one core, without a socket.
func BenchmarkParseEntries(b *testing.B) {
	text := dumpText(1000)
	lines := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))[1:]
	b.SetBytes(int64(len(text)) / 1000)
	b.ReportAllocs()
	p := newEntryParser(KeyString)
	for i := 0; b.Loop(); i++ {
		if err := p.parse(lines[i%len(lines)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
