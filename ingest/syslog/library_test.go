package syslog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	gosyslog "github.com/influxdata/go-syslog/v3"
	"github.com/influxdata/go-syslog/v3/rfc3164"
	"github.com/influxdata/go-syslog/v3/rfc5424"
)

// libraryRFC5424 is what go-syslog makes of b, in the words of show, without
// the structured data (which it takes apart) and ok false when it refuses b.
func libraryRFC5424(b []byte) (string, bool) {
	parsed, err := rfc5424.NewMachine().Parse(b)
	msg, ok := parsed.(*rfc5424.SyslogMessage)
	if err != nil || !ok {
		return "", false
	}
	return showBase(&msg.Base), true
}

func libraryRFC3164(b []byte, year int) (string, *gosyslog.Base) {
	parsed, err := rfc3164.NewMachine(rfc3164.WithYear(rfc3164.Year{YYYY: year})).Parse(b)
	msg, ok := parsed.(*rfc3164.SyslogMessage)
	if err != nil || !ok {
		return "", nil // an end of input in mid-header is neither error nor message
	}
	return showBase(&msg.Base), &msg.Base
}

func showBase(m *gosyslog.Base) string {
	str := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	when := "-"
	if m.Timestamp != nil {
		when = m.Timestamp.UTC().Format(time.RFC3339Nano)
	}
	text := strings.TrimPrefix(str(m.Message), "\xef\xbb\xbf")
	return fmt.Sprintf("pri=%d time=%s host=%q app=%q pid=%q msgid=%q text=%q",
		*m.Priority, when, str(m.Hostname), str(m.Appname), str(m.ProcID), str(m.MsgID), text)
}

// showAsLibrary renders m as showBase does.
func showAsLibrary(m *Message) string {
	when := "-"
	if !m.Time.IsZero() {
		when = m.Time.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("pri=%d time=%s host=%q app=%q pid=%q msgid=%q text=%q",
		m.Priority, when, m.Hostname, m.AppName, m.ProcID, m.MsgID, m.Text)
}

// agree fails the test when ParseHeader and go-syslog both read a message and
// read it differently. The differences that are meant:
//
//   - trailing LF, CR and NUL are no part of our text, nor is a BOM;
//   - the year of RFC 3164 is the nearest, and February 29 has no other day;
//     go-syslog takes a fixed year, and makes it March 1 (the test gives it our
//     year, and leaves that day out);
//   - a message with no tag, or with no host (HAProxy's "local"): go-syslog's
//     grammar has a host always, and takes the tag for it;
//   - RFC 3164's PROCID "-" is kept, and a tag before an empty text is no text;
//   - a tag may have a colon ("log-tag shop::gate"), where go-syslog ends it;
//   - go-syslog takes PROCID wrongly when a "]" follows anywhere in the text,
//     as in every httplog line ("127.0.0.1:60664 [23/Nov/2026:10:56:39.175").
func agree(t *testing.T, b []byte, now time.Time) {
	t.Helper()
	b = trimEnd(b)
	var m Message
	ParseHeader(b, now, time.UTC, &m)
	if want, ok := libraryRFC5424(b); ok {
		if got := showAsLibrary(&m); m.Format != FormatRFC5424 || got != want {
			t.Errorf("rfc5424 %q\nours    %s %s\nlibrary %s", b, m.Format, got, want)
		}
		return
	}
	year := m.Time.Year()
	want, base := libraryRFC3164(b, year)
	if base == nil {
		return
	}
	if bytes.Contains(b, []byte(">Feb 29 ")) {
		return
	}
	if m.Format != FormatRFC3164 {
		t.Errorf("rfc3164 %q\nours    %s\nlibrary %s", b, m.Format, want)
		return
	}
	if len(m.Hostname) == 0 || len(m.AppName) == 0 || len(m.Text) == 0 || base.Appname == nil || string(m.ProcID) == "-" || string(m.Hostname) == "-" || string(m.AppName) == "-" {
		return
	}
	if bytes.IndexByte(m.AppName, ':') >= 0 {
		return
	}
	if bytes.IndexByte(m.Text, ']') >= 0 && len(m.ProcID) > 0 && base.ProcID != nil {
		pid := string(m.ProcID)
		base.ProcID = &pid
		want = showBase(base)
	}
	if got := showAsLibrary(&m); got != want {
		t.Errorf("rfc3164 %q\nours    %s\nlibrary %s", b, got, want)
	}
}

// headerCorpus builds headers out of parts, usual and unusual.
func headerCorpus() []string {
	var out []string
	for _, pri := range []string{"<0>", "<6>", "<134>", "<191>", "<192>", "<06>"} {
		for _, stamp := range []string{"Nov 23 10:56:39", "Nov  3 00:00:00", "Jan  1 23:59:59", "Feb 28 12:00:00", "Feb 30 12:00:00", "Dec 31 24:00:00", "Nov 03 10:56:39"} {
			for _, rest := range []string{
				"edge1 haproxy[10586]: " + text, "haproxy[10586]: " + text, "2001:db8::1 haproxy[1]: x", "10.0.0.1 su: x y", "edge1 no tag here",
				"edge1 haproxy[1]:no blank", "edge1 haproxy[]: x", "edge1 haproxy[12]x: y", "edge1 a.b-c_d[x-1]: y", "edge1 tag: [1]: y", "edge1 shop::gate[1]: y", "edge1 x", "edge1",
			} {
				out = append(out, pri+stamp+" "+rest)
			}
		}
		for _, version := range []string{"1", "2", "999", "0", "1000"} {
			for _, stamp := range []string{"-", "2026-11-23T10:56:39.178433+00:00", "2026-11-23T10:56:39Z", "2026-02-29T10:56:39.1-05:30", "2024-02-29T23:59:59.123456+14:00", "1999-12-31T00:00:00Z", "2100-12-31T00:00:00.000001Z", "2026-13-01T00:00:00Z"} {
				for _, rest := range []string{
					"edge1 haproxy 10586 - - " + text, "- - - - -", "- - - - - ", `e h 1 m [id@32473 a="b" c="d\"]e"][f] x`, `e h 1 m [id a="b] x`, "e h 1 m [id]x", "e h 1 m [id]", "e h 1 - - \xef\xbb\xbfx", "e  h 1 - - x",
				} {
					out = append(out, pri+version+" "+stamp+" "+rest)
				}
			}
		}
	}
	return out
}

func TestAgreesWithLibrary(t *testing.T) {
	both := 0
	for _, s := range headerCorpus() {
		for _, now := range []time.Time{testNow, time.Date(2027, 1, 1, 0, 0, 5, 0, time.UTC)} {
			agree(t, []byte(s), now)
		}
		_, ok := libraryRFC5424([]byte(s))
		_, base := libraryRFC3164([]byte(s), 2026)
		if ok || base != nil {
			both++
		}
	}
	if both < 500 {
		t.Errorf("the library reads only %d headers of the corpus: the comparison says little", both)
	}
	t.Logf("%d of %d headers are read by the library", both, len(headerCorpus()))
}

// FuzzHeader never panics, keeps to the message's bytes and agrees with the
// library.
func FuzzHeader(f *testing.F) {
	for _, s := range haproxyHeaders {
		f.Add([]byte(s))
	}
	for i, s := range headerCorpus() {
		if i%37 == 0 {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		agree(t, b, testNow)
		var m Message
		ParseHeader(b, testNow, time.UTC, &m)
		for _, part := range [][]byte{m.Hostname, m.AppName, m.ProcID, m.MsgID, m.StructuredData, m.Text} {
			if !bytes.Contains(b, part) {
				t.Errorf("%q is no part of %q", part, b)
			}
		}
		if !bytes.HasSuffix(m.Raw, m.Text) {
			t.Errorf("text %q does not end %q", m.Text, m.Raw)
		}
		if m.Priority < -1 || m.Priority > 191 {
			t.Errorf("priority %d", m.Priority)
		}
	})
}
