package syslog

import (
	"bytes"
	"time"
)

// ParseHeader reads the header of one message into m and overwrites all of m.
// It never fails: what has no header that is known is FormatRaw, with
// Priority -1 and all of b as Text, and the parser of the text decides.
//
// now gives RFC 3164 times their year (the one that brings them nearest to
// now), zone their offset. Nothing is allocated for the headers that HAProxy
// writes, nor for those that rsyslog and journalctl make of them; an unusual
// header after a PRI goes to github.com/influxdata/go-syslog.
func ParseHeader(b []byte, now time.Time, zone *time.Location, m *Message) {
	b = trimEnd(b)
	m.reset(b)
	if len(b) == 0 {
		return
	}
	rest := b
	if b[0] == '<' {
		pri, n := priority(b)
		if n == 0 {
			return
		}
		m.Format, m.Priority = FormatPriority, pri
		rest = b[n:]
		m.Text = rest
	}
	if len(rest) < 4 {
		return
	}
	switch c := rest[0]; {
	case c >= '0' && c <= '9':
		if rest[1] == ' ' || rest[2] == ' ' || rest[3] == ' ' {
			parseVersioned(rest, m)
		} else {
			parseTimed(rest, m)
		}
	case c >= 'A' && c <= 'Z':
		if !parseBSD(rest, now, zone, m) {
			parseWeekday(rest, zone, m)
		}
	}
}

// reset makes m a message without a header. Field by field, as the compiler
// would build a Message literal of this size aside and copy it.
func (m *Message) reset(b []byte) {
	m.Format, m.Priority, m.Time = FormatRaw, -1, time.Time{}
	m.Hostname, m.AppName, m.ProcID, m.MsgID, m.StructuredData = nil, nil, nil, nil, nil
	m.Text, m.Raw = b, b
}

// trimEnd cuts the terminators that senders leave on a message: LF, CR LF, and
// the NUL of C strings (HAProxy 3.2 ends its "events dropped" so).
func trimEnd(b []byte) []byte {
	for len(b) > 0 {
		switch b[len(b)-1] {
		case '\n', '\r', 0:
			b = b[:len(b)-1]
		default:
			return b
		}
	}
	return b
}

// priority reads "<PRI>" (RFC 5424, section 6.2.1: 0 to 191, no leading zero).
// n is its length, 0 when b does not begin with one.
func priority(b []byte) (pri, n int) {
	for i := 1; i < len(b) && i < 5; i++ {
		c := b[i]
		if c == '>' {
			if i == 1 || pri > 191 || (b[1] == '0' && i > 2) {
				return 0, 0
			}
			return pri, i + 1
		}
		if c < '0' || c > '9' {
			return 0, 0
		}
		pri = pri*10 + int(c-'0')
	}
	return 0, 0
}

// parseVersioned reads RFC 5424's header after the PRI, and leaves m as it was
// when there is none. Files may have lost the PRI.
func parseVersioned(b []byte, m *Message) {
	if b[0] == '1' && b[1] == ' ' && parseRFC5424(b[2:], m) {
		return
	}
	if m.Priority >= 0 {
		parseGeneral(m.Raw, m)
	}
}

// parseRFC5424 reads what follows "<PRI>1 " (RFC 5424, section 6). It is laxer
// than the RFC about lengths and characters of the fields and about what
// stands between the quotes of the structured data, which HAProxy's
// log-format-sd does not check; m is untouched when it returns false.
func parseRFC5424(b []byte, m *Message) bool {
	var when time.Time
	n := 1
	if b[0] != '-' {
		if when, n = isoTime(b); n == 0 {
			return false
		}
	}
	if n >= len(b) || b[n] != ' ' {
		return false
	}
	b = b[n+1:]
	end, ok := headerFields(b)
	if !ok {
		return false
	}
	header := b
	b = b[end[3]+1:]
	n = structuredData(b)
	if n == 0 {
		return false
	}
	m.Format, m.Time = FormatRFC5424, when
	m.Hostname = field(header[:end[0]])
	m.AppName = field(header[end[0]+1 : end[1]])
	m.ProcID = field(header[end[1]+1 : end[2]])
	m.MsgID = field(header[end[2]+1 : end[3]])
	if b[0] != '-' {
		m.StructuredData = b[:n:n]
	}
	b = b[min(n+1, len(b)):]
	m.Text = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	return true
}

// headerFields returns where HOSTNAME, APP-NAME, PROCID and MSGID end at the
// start of b: in one pass, as they are short.
func headerFields(b []byte) (end [4]int, ok bool) {
	f, start := 0, 0
	for i, c := range b {
		if c != ' ' {
			continue
		}
		if i == start {
			return end, false
		}
		end[f] = i
		start = i + 1
		if f++; f == len(end) {
			return end, true
		}
	}
	return end, false
}

// field returns a field of RFC 5424's header: "-" is its NILVALUE.
func field(b []byte) []byte {
	if len(b) == 1 && b[0] == '-' {
		return nil
	}
	return b[:len(b):len(b)]
}

// structuredData returns the length of the STRUCTURED-DATA at the start of b,
// 0 when it is broken: "-", or one or more [SD-ELEMENT], then a blank or the
// end. Inside quotes a backslash hides the next byte.
func structuredData(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	n := 0
	if b[0] == '-' {
		n = 1
	}
	for n < len(b) && b[n] == '[' {
		end := sdElement(b[n:])
		if end == 0 {
			return 0
		}
		n += end
	}
	if n == 0 || (n < len(b) && b[n] != ' ') {
		return 0
	}
	return n
}

// sdElement returns the length of the SD-ELEMENT at the start of b, 0 when it
// has no end.
func sdElement(b []byte) int {
	n := 1
	for n < len(b) {
		switch b[n] {
		case ']':
			return n + 1
		case '"':
			end := quotedEnd(b[n+1:])
			if end < 0 {
				return 0
			}
			n += end + 2
		default:
			n++
		}
	}
	return 0
}

// quotedEnd returns the index of the quote that ends a PARAM-VALUE, -1 without.
func quotedEnd(b []byte) int {
	for from := 0; ; {
		q := bytes.IndexByte(b[from:], '"')
		if q < 0 {
			return -1
		}
		q += from
		slashes := 0
		for slashes < q && b[q-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return q
		}
		from = q + 1
	}
}

// parseTimed reads "RFC3339 [host] tag[pid]: text" and "RFC3339 text", and
// journalctl's "seconds.micros host tag[pid]: text" (-o short-unix).
func parseTimed(b []byte, m *Message) {
	if when, n := isoTime(b); n > 0 && n < len(b) && b[n] == ' ' {
		m.Format, m.Time, m.Text = FormatTimed, when, b[n+1:]
		m.takeTag(b[n+1:])
		return
	}
	if when, n := unixTime(b); n > 0 && n < len(b) && b[n] == ' ' {
		if m.takeTag(b[n+1:]) {
			m.Time = when
		}
	}
}

// parseWeekday reads "Mon 2026-11-23 11:10:03 UTC host tag[pid]: text"
// (journalctl -o short-full and with-unit).
func parseWeekday(b []byte, zone *time.Location, m *Message) {
	if len(b) < 24 || b[3] != ' ' || b[14] != ' ' || b[23] != ' ' {
		return
	}
	day, ok := isoDate(b[4:14])
	if !ok {
		return
	}
	sec := clock(b[15:23])
	end := bytes.IndexByte(b[24:], ' ')
	if sec < 0 || end < 1 {
		return
	}
	if string(b[24:24+end]) == "UTC" {
		zone = time.UTC
	}
	if m.takeTag(b[24+end+1:]) {
		m.Time = inZone(day*86400+int64(sec), 0, zone)
	}
}

// takeTag reads "[host] tag[pid]: text" after a time, and tells whether it is
// there. Only a tag with a pid is taken for one: after an RFC 3339 time
// HAProxy's own formats go straight on with the text, which may look like
// "host word: ...".
func (m *Message) takeTag(b []byte) bool {
	var host []byte
	app, pid, text, ok := cutTag(b)
	if !ok || pid == nil {
		end := bytes.IndexByte(b, ' ')
		if end < 1 || !plausibleHost(b[:end]) {
			return false
		}
		host = b[:end:end]
		if app, pid, text, ok = cutTag(b[end+1:]); !ok || pid == nil {
			return false
		}
	}
	m.Format, m.Hostname, m.AppName, m.ProcID, m.Text = FormatTimedTag, host, app, pid, text
	return true
}

// parseBSD reads RFC 3164's "Mmm dd hh:mm:ss [host] tag[pid]: text" (section
// 4.1; the fraction of seconds is journalctl's short-precise). HAProxy's
// "local" has no host. A message without a tag keeps its host, as the RFC has
// it, unless that cannot be one. m is untouched when it returns false.
func parseBSD(b []byte, now time.Time, zone *time.Location, m *Message) bool {
	stamp, n := bsdTime(b)
	if n == 0 || n >= len(b) || b[n] != ' ' {
		return false
	}
	b = b[n+1:]
	m.Format, m.Text = FormatRFC3164, b
	m.Time = stamp.near(now, zone)
	end := bytes.IndexByte(b, ' ')
	if end == 0 {
		return true
	}
	if end < 0 {
		end = len(b)
	}
	if app, pid, text, ok := cutTagAt(b, end); ok {
		m.AppName, m.ProcID, m.Text = app, pid, text
		return true
	}
	if end == len(b) {
		return true
	}
	app, pid, text, ok := cutTag(b[end+1:])
	switch {
	case ok && (pid != nil || plausibleHost(b[:end])):
		m.AppName, m.ProcID, m.Text = app, pid, text
		m.Hostname = b[:end:end]
	case plausibleHost(b[:end]):
		m.Hostname, m.Text = b[:end:end], b[end+1:]
	}
	return true
}

// cutTag reads "tag[pid]: text" or "tag: text"; pid is nil in the latter.
func cutTag(b []byte) (app, pid, text []byte, ok bool) {
	end := bytes.IndexByte(b, ' ')
	if end < 0 {
		end = len(b)
	}
	return cutTagAt(b, end)
}

// cutTagAt is cutTag where the first blank, or the end of b, is known.
func cutTagAt(b []byte, blank int) (app, pid, text []byte, ok bool) {
	if blank < 2 || b[blank-1] != ':' {
		return nil, nil, nil, false
	}
	tag := b[:blank-1]
	text = b[min(blank+1, len(b)):]
	if tag[len(tag)-1] != ']' {
		// "10.0.0.1:" or "::1:" is an address, "a=b:" a value.
		if bytes.ContainsAny(tag, `:=[]{}"'<>(),|`) {
			return nil, nil, nil, false
		}
		return tag[:len(tag):len(tag)], nil, text, true
	}
	open := bytes.IndexByte(tag, '[')
	if open < 1 || open == len(tag)-2 {
		return nil, nil, nil, false
	}
	return tag[:open:open], tag[open+1 : len(tag)-1 : len(tag)-1], text, true
}

// plausibleHost tells a HOSTNAME from the first word of a text: no brackets,
// quotes or other marks of a log line, and colons only in an IPv6 address.
func plausibleHost(b []byte) bool {
	colons, hex := 0, true
	for _, c := range b {
		switch {
		case c == ':':
			colons++
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F', c == '.':
		case bytes.IndexByte([]byte(`"'[]{}<>=|(),;`), c) >= 0:
			return false
		default:
			hex = false
		}
	}
	return len(b) > 0 && (colons == 0 || (colons > 1 && hex))
}
