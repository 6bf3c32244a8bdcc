package syslog

import (
	"fmt"
	"testing"
	"time"
)

var (
	testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	utc     = time.UTC
)

// show renders what a test compares: every field, nil and empty alike.
func show(m *Message) string {
	when := "-"
	if !m.Time.IsZero() {
		when = m.Time.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%s pri=%d time=%s host=%q app=%q pid=%q msgid=%q sd=%q text=%q",
		m.Format, m.Priority, when, m.Hostname, m.AppName, m.ProcID, m.MsgID, m.StructuredData, m.Text)
}

const text = `127.0.0.1:60664 [23/Nov/2026:10:56:39.175] fe be/s 0/0/0/3/3 200 122 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1"`

func TestParseHeader(t *testing.T) {
	tests := []struct{ name, in, want string }{
		// What HAProxy writes (configuration manual, section 4.2, "format").
		{"rfc3164", "<134>Nov 23 10:56:39 edge1 haproxy[10586]: " + text + "\n",
			`rfc3164 pri=134 time=2026-11-23T10:56:39Z host="edge1" app="haproxy" pid="10586" msgid="" sd="" text=` + q(text)},
		{"rfc3164 day padded with a blank", "<134>Nov  3 10:56:39 edge1 haproxy[1]: x",
			`rfc3164 pri=134 time=2026-11-03T10:56:39Z host="edge1" app="haproxy" pid="1" msgid="" sd="" text="x"`},
		{"local", "<134>Nov 23 10:56:39 haproxy[10586]: " + text,
			`rfc3164 pri=134 time=2026-11-23T10:56:39Z host="" app="haproxy" pid="10586" msgid="" sd="" text=` + q(text)},
		{"rfc5424", "<134>1 2026-11-23T10:56:39.178433+00:00 edge1 haproxy 10586 - - " + text,
			`rfc5424 pri=134 time=2026-11-23T10:56:39.178433Z host="edge1" app="haproxy" pid="10586" msgid="" sd="" text=` + q(text)},
		{"rfc5424 with sd", `<134>1 2026-11-23T10:56:39.178433+01:00 - haproxy 10586 - [id@32473 sub="a\"]b" m="GET"][x@1] t`,
			`rfc5424 pri=134 time=2026-11-23T09:56:39.178433Z host="" app="haproxy" pid="10586" msgid="" sd="[id@32473 sub=\"a\\\"]b\" m=\"GET\"][x@1]" text="t"`},
		{"raw", text, `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text=` + q(text)},
		{"short", "<6>" + text, `priority pri=6 time=- host="" app="" pid="" msgid="" sd="" text=` + q(text)},
		{"priority", "<63>" + text, `priority pri=63 time=- host="" app="" pid="" msgid="" sd="" text=` + q(text)},
		{"timed", "<6>2026-11-23T12:37:44.019409+00:00 " + text,
			`timed pri=6 time=2026-11-23T12:37:44.019409Z host="" app="" pid="" msgid="" sd="" text=` + q(text)},
		{"iso", "2026-11-23T12:37:44.019409-05:30 " + text,
			`timed pri=-1 time=2026-11-23T18:07:44.019409Z host="" app="" pid="" msgid="" sd="" text=` + q(text)},
		{"events dropped, with its NUL", "<133>Nov 23 10:56:39 edge1 haproxy[1]: 5 events dropped\x00",
			`rfc3164 pri=133 time=2026-11-23T10:56:39Z host="edge1" app="haproxy" pid="1" msgid="" sd="" text="5 events dropped"`},
		{"log-tag without blank", "<134>Nov 23 10:56:39 localhost my-proxy.1[7]: x",
			`rfc3164 pri=134 time=2026-11-23T10:56:39Z host="localhost" app="my-proxy.1" pid="7" msgid="" sd="" text="x"`},

		// What rsyslog and journalctl make of it.
		{"rsyslog file", "Feb  2 04:05:24 127.0.0.1 haproxy[9883]: " + text,
			`rfc3164 pri=-1 time=2027-02-02T04:05:24Z host="127.0.0.1" app="haproxy" pid="9883" msgid="" sd="" text=` + q(text)},
		{"rsyslog file, ISO", "2026-11-23T11:10:03.499+01:00 host haproxy[1]: " + text,
			`timed-tag pri=-1 time=2026-11-23T10:10:03.499Z host="host" app="haproxy" pid="1" msgid="" sd="" text=` + q(text)},
		{"rsyslog forward", "<134>2026-11-23T11:10:03.499123+01:00 host haproxy[1]: x",
			`timed-tag pri=134 time=2026-11-23T10:10:03.499123Z host="host" app="haproxy" pid="1" msgid="" sd="" text="x"`},
		{"ISO without host", "2026-11-23T11:10:03Z haproxy[1]: x",
			`timed-tag pri=-1 time=2026-11-23T11:10:03Z host="" app="haproxy" pid="1" msgid="" sd="" text="x"`},
		{"journalctl short-iso", "2026-11-23T11:10:03+0100 host haproxy[1]: x",
			`timed-tag pri=-1 time=2026-11-23T10:10:03Z host="host" app="haproxy" pid="1" msgid="" sd="" text="x"`},
		{"journalctl short-precise", "Nov 23 11:10:03.123456 host haproxy[1]: x",
			`rfc3164 pri=-1 time=2026-11-23T11:10:03.123456Z host="host" app="haproxy" pid="1" msgid="" sd="" text="x"`},
		{"journalctl short-full", "Mon 2026-11-23 11:10:03 UTC host haproxy[1]: x",
			`timed-tag pri=-1 time=2026-11-23T11:10:03Z host="host" app="haproxy" pid="1" msgid="" sd="" text="x"`},
		{"journalctl short-unix", "1795432203.123456 host haproxy[1]: x",
			`timed-tag pri=-1 time=2026-11-23T11:10:03.123456Z host="host" app="haproxy" pid="1" msgid="" sd="" text="x"`},
		{"docker logs -t", "2026-11-23T11:10:03.123456789Z " + text,
			`timed pri=-1 time=2026-11-23T11:10:03.123456789Z host="" app="" pid="" msgid="" sd="" text=` + q(text)},
		{"rfc5424 without its PRI", "1 2026-11-23T10:56:39Z edge1 haproxy 1 - - x",
			`rfc5424 pri=-1 time=2026-11-23T10:56:39Z host="edge1" app="haproxy" pid="1" msgid="" sd="" text="x"`},

		// Texts that only look like a header.
		{"text after a time is no host", "<6>2026-11-23T12:37:44Z user alice: said",
			`timed pri=6 time=2026-11-23T12:37:44Z host="" app="" pid="" msgid="" sd="" text="user alice: said"`},
		{"number first", "200 1234 GET /index.html", `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="200 1234 GET /index.html"`},
		{"number first after a PRI", "<134>1 2026 requests today", `priority pri=134 time=- host="" app="" pid="" msgid="" sd="" text="1 2026 requests today"`},
		{"epoch first", "1795432203.123 10.0.0.1 - GET /index.html", `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="1795432203.123 10.0.0.1 - GET /index.html"`},
		{"address after an RFC 3164 time", "Nov 23 10:56:39 127.0.0.1:60664 [23/Nov/2026:10:56:39.175] fe",
			`rfc3164 pri=-1 time=2026-11-23T10:56:39Z host="" app="" pid="" msgid="" sd="" text="127.0.0.1:60664 [23/Nov/2026:10:56:39.175] fe"`},
		{"month name", "November rain fell here", `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="November rain fell here"`},
		{"JSON", `{"v":1,"pid":2,"rt":3,"id":"x"}`, `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="{\"v\":1,\"pid\":2,\"rt\":3,\"id\":\"x\"}"`},
		{"clf", `127.0.0.1 - - [23/Nov/2026:10:56:39 +0000] "GET / HTTP/1.1" 200 1`,
			`raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="127.0.0.1 - - [23/Nov/2026:10:56:39 +0000] \"GET / HTTP/1.1\" 200 1"`},
		{"no such day", "<134>Feb 30 10:56:39 edge1 haproxy[1]: x", `priority pri=134 time=- host="" app="" pid="" msgid="" sd="" text="Feb 30 10:56:39 edge1 haproxy[1]: x"`},
		{"hour 24", "<134>Nov 23 24:00:00 edge1 haproxy[1]: x", `priority pri=134 time=- host="" app="" pid="" msgid="" sd="" text="Nov 23 24:00:00 edge1 haproxy[1]: x"`},
		{"PRI over 191", "<192>text", `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="<192>text"`},
		{"PRI with a leading zero", "<06>text", `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="<06>text"`},
		{"PRI of 4 digits", "<1340>text", `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="<1340>text"`},
		{"PRI without end", "<13", `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="<13"`},
		{"PRI alone", "<13>", `priority pri=13 time=- host="" app="" pid="" msgid="" sd="" text=""`},
		{"nothing", "", `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text=""`},
		{"only terminators", "\r\n\x00\n", `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text=""`},

		// Relayed and broken headers.
		{"no tag", "<13>Nov 23 10:56:39 edge1 just a text", `rfc3164 pri=13 time=2026-11-23T10:56:39Z host="edge1" app="" pid="" msgid="" sd="" text="just a text"`},
		{"tag without pid", "<13>Nov 23 10:56:39 edge1 su: a text", `rfc3164 pri=13 time=2026-11-23T10:56:39Z host="edge1" app="su" pid="" msgid="" sd="" text="a text"`},
		{"IPv6 host", "<13>Nov 23 10:56:39 2001:db8::1 haproxy[1]: x", `rfc3164 pri=13 time=2026-11-23T10:56:39Z host="2001:db8::1" app="haproxy" pid="1" msgid="" sd="" text="x"`},
		{"tag with colons", "<13>Nov 23 10:56:39 edge1 shop::gate[1]: x", `rfc3164 pri=13 time=2026-11-23T10:56:39Z host="edge1" app="shop::gate" pid="1" msgid="" sd="" text="x"`},
		{"tag and no text", "<13>Nov 23 10:56:39 edge1 haproxy[1]:", `rfc3164 pri=13 time=2026-11-23T10:56:39Z host="edge1" app="haproxy" pid="1" msgid="" sd="" text=""`},
		{"rfc5424 nil time", "<13>1 - - - - - -", `rfc5424 pri=13 time=- host="" app="" pid="" msgid="" sd="" text=""`},
		{"rfc5424 BOM", "<13>1 2026-11-23T10:56:39Z h a p m - \xef\xbb\xbfé", `rfc5424 pri=13 time=2026-11-23T10:56:39Z host="h" app="a" pid="p" msgid="m" sd="" text="é"`},
		{"rfc5424 not UTF-8", "<13>1 2026-11-23T10:56:39Z h a p m - \xff\x00\xfe", `rfc5424 pri=13 time=2026-11-23T10:56:39Z host="h" app="a" pid="p" msgid="m" sd="" text="\xff\x00\xfe"`},
		{"rfc5424 version 2", "<13>2 2026-11-23T10:56:39Z h a p m - x", `rfc5424 pri=13 time=2026-11-23T10:56:39Z host="h" app="a" pid="p" msgid="m" sd="" text="x"`},
		{"rfc5424 cut in the sd", `<13>1 2026-11-23T10:56:39Z h a p m [id@1 sub="rep`, `priority pri=13 time=- host="" app="" pid="" msgid="" sd="" text="1 2026-11-23T10:56:39Z h a p m [id@1 sub=\"rep"`},
		{"rfc5424 cut in the header", "<13>1 2026-11-23T10:56:39Z edge1 hapr", `priority pri=13 time=- host="" app="" pid="" msgid="" sd="" text="1 2026-11-23T10:56:39Z edge1 hapr"`},
		{"time in 1999", "<13>1 1999-12-31T23:59:59Z h a p m - x", `rfc5424 pri=13 time=1999-12-31T23:59:59Z host="h" app="a" pid="p" msgid="m" sd="" text="x"`},
		{"time in 2100", "<13>1 2100-02-28T23:59:59Z h a p m - x", `rfc5424 pri=13 time=2100-02-28T23:59:59Z host="h" app="a" pid="p" msgid="m" sd="" text="x"`},
		{"NUL and CR within", "<134>Nov 23 10:56:39 edge1 haproxy[1]: sub=\"a\x00b\rc\xff]\"\r\n",
			`rfc3164 pri=134 time=2026-11-23T10:56:39Z host="edge1" app="haproxy" pid="1" msgid="" sd="" text="sub=\"a\x00b\rc\xff]\""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Message
			ParseHeader([]byte(tt.in), testNow, utc, &m)
			if got := show(&m); got != tt.want {
				t.Errorf("in   %q\ngot  %s\nwant %s", tt.in, got, tt.want)
			}
			if want := string(trimEnd([]byte(tt.in))); string(m.Raw) != want {
				t.Errorf("Raw = %q, want %q", m.Raw, want)
			}
		})
	}
}

func q(s string) string { return fmt.Sprintf("%q", s) }

// TestParseHeaderTruncated cuts each of HAProxy's headers at every byte: a
// datagram cut by "len" must neither panic nor read past its end.
func TestParseHeaderTruncated(t *testing.T) {
	for _, in := range haproxyHeaders {
		for n := range len(in) + 1 {
			var m Message
			b := []byte(in)[:n:n]
			ParseHeader(b, testNow, utc, &m)
			if string(m.Raw) != string(trimEnd(b)) {
				t.Fatalf("cut at %d of %q: Raw = %q", n, in, m.Raw)
			}
		}
	}
}

func TestYearNearestToNow(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zone database: ", err)
	}
	tests := []struct {
		stamp string
		now   string
		zone  *time.Location
		want  string
	}{
		{"Dec 31 23:59:59", "2027-01-01T00:00:05Z", utc, "2026-12-31T23:59:59Z"},
		{"Jan  1 00:00:01", "2026-12-31T23:59:58Z", utc, "2027-01-01T00:00:01Z"},
		{"Jun 15 12:00:00", "2026-11-23T12:00:00Z", utc, "2026-06-15T12:00:00Z"},
		{"Feb  2 04:05:24", "2012-02-02T04:10:00Z", utc, "2012-02-02T04:05:24Z"},
		{"Feb 29 12:00:00", "2028-03-01T00:00:00Z", utc, "2028-02-29T12:00:00Z"},
		{"Feb 29 12:00:00", "2026-03-01T00:00:00Z", utc, "2024-02-29T12:00:00Z"},
		{"Feb 29 12:00:00", "2026-11-23T00:00:00Z", utc, "2028-02-29T12:00:00Z"},
		{"Feb 29 12:00:00", "2100-03-01T00:00:00Z", utc, "2096-02-29T12:00:00Z"},
		{"Nov 23 12:00:00", "2026-11-23T11:00:00Z", berlin, "2026-11-23T11:00:00Z"},
		{"Jul  1 00:30:00", "2026-07-01T00:00:00Z", berlin, "2026-06-30T22:30:00Z"},
		{"Jan  1 00:30:00", "2026-12-31T23:30:01Z", berlin, "2026-12-31T23:30:00Z"},
	}
	for _, tt := range tests {
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		ParseHeader([]byte("<134>"+tt.stamp+" h haproxy[1]: x"), now, tt.zone, &m)
		if got := m.Time.Format(time.RFC3339); got != tt.want {
			t.Errorf("%s at %s in %s = %s, want %s", tt.stamp, tt.now, tt.zone, got, tt.want)
		}
	}
}

// TestTimesAgreeWithTime holds the arithmetic against package time's, over
// every day of four centuries and over the hours that summer time moves.
func TestTimesAgreeWithTime(t *testing.T) {
	for day := time.Date(1799, 12, 1, 0, 0, 0, 0, utc); day.Year() < 2202; day = day.AddDate(0, 0, 1) {
		y, m, d := day.Date()
		if got, ok := daysSinceEpoch(y, int(m), d); !ok || got*86400 != day.Unix() {
			t.Fatalf("daysSinceEpoch(%s) = %d, %v", day.Format(time.DateOnly), got, ok)
		}
	}
	for _, y := range []int{0, 1, 4, 100, 400, 9999} {
		if got, ok := daysSinceEpoch(y, 3, 1); !ok || got*86400 != time.Date(y, 3, 1, 0, 0, 0, 0, utc).Unix() {
			t.Errorf("daysSinceEpoch(%d-03-01) = %d, %v", y, got, ok)
		}
	}
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Skip("no time zone database: ", err)
		}
		for wall := time.Date(2026, 1, 1, 0, 0, 0, 0, utc); wall.Year() < 2027; wall = wall.Add(17 * time.Minute) {
			y, mo, d := wall.Date()
			h, mi, s := wall.Clock()
			want := time.Date(y, mo, d, h, mi, s, 0, zone)
			if got := inZone(wall.Unix(), 0, zone); !got.Equal(want) {
				t.Fatalf("%s in %s = %s, want %s", wall, name, got, want.UTC())
			}
		}
	}
}

// haproxyHeaders is one message of each of HAProxy's formats.
var haproxyHeaders = []string{
	"<134>Nov 23 10:56:39 edge1 haproxy[10586]: " + text,
	"<134>Nov 23 10:56:39 haproxy[10586]: " + text,
	"<134>1 2026-11-23T10:56:39.178433+00:00 edge1 haproxy 10586 - - " + text,
	`<134>1 2026-11-23T10:56:39.178433+00:00 edge1 haproxy 10586 - [id@32473 reason="ok" sub="repo:acme/app:ref:refs/heads/main" jti="4c7a0a2e" iss="github"] ` + text,
	text,
	"<6>" + text,
	"<134>" + text,
	"<6>2026-11-23T12:37:44.019409+00:00 " + text,
	"2026-11-23T12:37:44.019409+00:00 " + text,
}

func BenchmarkParseHeader(b *testing.B) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		b.Skip("no time zone database: ", err)
	}
	for _, bb := range []struct {
		name, in string
		zone     *time.Location
	}{
		{"rfc3164", haproxyHeaders[0], utc},
		{"rfc3164-Berlin", haproxyHeaders[0], berlin},
		{"local", haproxyHeaders[1], utc},
		{"rfc5424", haproxyHeaders[2], utc},
		{"rfc5424-sd", haproxyHeaders[3], utc},
		{"raw", haproxyHeaders[4], utc},
		{"timed", haproxyHeaders[7], utc},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in := []byte(bb.in)
			now := time.Now()
			var m Message
			b.ReportAllocs()
			for b.Loop() {
				ParseHeader(in, now, bb.zone, &m)
			}
		})
	}
}
