package syslog

import (
	"bytes"

	"github.com/influxdata/go-syslog/v3/rfc5424"
)

// parseGeneral reads an RFC 5424 header that parseRFC5424 does not take, such
// as one of a later version, by the library's state machine, and leaves m as
// it is when the library refuses it too. It allocates, and copies nothing that
// m keeps: the fields are found again in raw.
//
// RFC 3164 needs no such second opinion: parseBSD takes all that the library
// takes (TestAgreesWithLibrary), and the library gets the PROCID of httplog
// lines wrong.
func parseGeneral(raw []byte, m *Message) {
	if !versionAhead(m.Text) {
		return
	}
	parsed, err := rfc5424.NewMachine().Parse(raw)
	if err != nil {
		return
	}
	msg, ok := parsed.(*rfc5424.SyslogMessage)
	if !ok {
		return
	}
	// The library has proven the form: VERSION is followed by a blank, and
	// what follows is version 1's grammar. It gives copies and loses the form
	// of the structured data, so the fields come from raw all the same.
	rest := m.Text[bytes.IndexByte(m.Text, ' ')+1:]
	if len(rest) == 0 || !parseRFC5424(rest, m) {
		return
	}
	if msg.Timestamp != nil {
		m.Time = msg.Timestamp.UTC()
	}
}

// versionAhead tells whether b begins with VERSION and TIMESTAMP (RFC 5424,
// section 6): 1 to 3 digits, a blank, then a digit or "-". Texts that begin
// with a number would else cost a run of the state machine each.
func versionAhead(b []byte) bool {
	n := bytes.IndexByte(b[:min(4, len(b))], ' ')
	if n < 1 || n+1 >= len(b) || b[0] == '0' {
		return false
	}
	for _, c := range b[:n] {
		if c < '0' || c > '9' {
			return false
		}
	}
	c := b[n+1]
	return c == '-' || (c >= '0' && c <= '9')
}
