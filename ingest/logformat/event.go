package logformat

import (
	"bytes"
	"strings"
	"time"
)

// The kinds of lines that HAProxy writes beside those of its log-formats.
const (
	EventConnect = "connect"        // Connect from 10.0.0.1:1 to 10.0.0.2:2 (fe/HTTP): a frontend without log-format
	EventTLS     = "tls_error"      // 10.0.0.1:1 [date] fe/1: SSL handshake failure
	EventSession = "session_error"  // likewise, for another reason than TLS
	EventProxy   = "proxy_state"    // Proxy fe stopped ..., Stopping backend be in 0 ms
	EventServer  = "server_state"   // Server be/srv is DOWN ...
	EventNoneUp  = "no_server"      // backend be has no server available!
	EventDropped = "events_dropped" // 23552 events dropped: a ring was full
	EventProcess = "process"        // New worker (123) forked
	EventAlert   = "alert"          // [ALERT] ...
	EventWarning = "warning"        // [WARNING] ...
	EventNotice  = "notice"         // [NOTICE] ...
)

// Event is a line that is no request and no connection.
type Event struct {
	Kind   string // one of the Event constants
	Client string // address and port, of a connect, TLS or session event
	// Frontend is the frontend of these, and else the proxy, or the server as
	// backend/server, that the line is about.
	Frontend string
	Count    int64 // events dropped; connections of a stopped proxy's frontend side
	// Time is what the line says, of a TLS or session event: a local time whose
	// zone the line does not name, given as if it were UTC. At reads it right.
	Time time.Time
	Text string // the whole line
}

// At is Time read as a local time of zone; the zero time when there is none.
func (e Event) At(zone *time.Location) time.Time {
	if e.Time.IsZero() {
		return e.Time
	}
	offset := e.Time.Unix() - inZone(e.Time.Unix(), zone)
	return e.Time.Add(-time.Duration(offset) * time.Second).In(zone)
}

// Classify recognises the lines on a log stream that no log-format describes:
// connections without log-format, failed TLS handshakes and other errors before
// a request, changes of state, and HAProxy's own messages.
func Classify(line []byte) (Event, bool) {
	line = trimEnd(line)
	if len(line) == 0 {
		return Event{}, false
	}
	var e Event
	ok := false
	switch c := line[0]; {
	case bytes.HasPrefix(line, []byte("Connect from ")):
		ok = e.connect(string(line))
	case c == '[':
		ok = e.bracket(line)
	case isDigit(c):
		ok = e.dropped(line) || e.session(line)
	case isAddrByte(c) || c == 'u':
		ok = e.session(line) || e.message(line)
	default:
		ok = e.message(line)
	}
	e.Text = string(line)
	return e, ok
}

// connect reads "Connect from A:p to B:p (fe/HTTP)".
func (e *Event) connect(line string) bool {
	client, rest, ok := strings.Cut(strings.TrimPrefix(line, "Connect from "), " to ")
	open := strings.LastIndex(rest, " (")
	if !ok || open < 0 || !strings.HasSuffix(rest, ")") {
		return false
	}
	name := rest[open+2 : len(rest)-1]
	if slash := strings.LastIndexByte(name, '/'); slash >= 0 {
		name = name[:slash]
	}
	e.Kind, e.Client, e.Frontend = EventConnect, client, name
	return true
}

// session reads "A:p [date] fe/bind: text".
func (e *Event) session(line []byte) bool {
	open := bytes.Index(line, []byte(" ["))
	if open < 0 || len(line) < open+2+dateLen+2 || string(line[open+2+dateLen:open+2+dateLen+2]) != "] " {
		return false
	}
	date, rest := line[open+2:open+2+dateLen], line[open+2+dateLen+2:]
	where, text, ok := bytes.Cut(rest, []byte(": "))
	slash := bytes.IndexByte(where, '/')
	if !ok || slash <= 0 || bytes.IndexByte(where, ' ') >= 0 || bytes.IndexByte(line[:open], ' ') >= 0 {
		return false
	}
	t, err := time.Parse("02/Jan/2006:15:04:05.000", string(date))
	if err != nil {
		return false
	}
	e.Kind = EventSession
	if bytes.Contains(text, []byte("SSL")) || bytes.Contains(text, []byte("TLS")) {
		e.Kind = EventTLS
	}
	e.Client, e.Frontend, e.Time = string(line[:open]), string(bytes.TrimSuffix(where[:slash], []byte("~"))), t
	return true
}

// dropped reads "23552 events dropped" and "1 event dropped", whatever stands
// behind.
func (e *Event) dropped(line []byte) bool {
	n := 0
	for n < len(line) && isDigit(line[n]) {
		n++
	}
	count, ok := decimal(line[:n])
	rest := string(line[n:min(len(line), n+len(" events dropped"))])
	if !ok || rest != " events dropped" && !strings.HasPrefix(rest, " event dropped") {
		return false
	}
	e.Kind, e.Count = EventDropped, count
	return true
}

// bracket reads "[WARNING]  (123) : text", and the older "[WARNING] 326/1110 ...".
func (e *Event) bracket(line []byte) bool {
	label, _, ok := bytes.Cut(line[1:], []byte("]"))
	switch {
	case !ok:
		return false
	case string(label) == "ALERT" || string(label) == "EMERG":
		e.Kind = EventAlert
	case string(label) == "WARNING":
		e.Kind = EventWarning
	case string(label) == "NOTICE" || string(label) == "INFO" || string(label) == "DIAG":
		e.Kind = EventNotice
	default:
		return false
	}
	return true
}

// messages are the beginnings of HAProxy's own messages (src/proxy.c,
// src/server.c, src/check.c, src/mworker.c, src/haproxy.c). What follows the
// beginning, up to a blank, is the name.
var messages = []struct{ begin, kind string }{
	{"Proxy ", EventProxy},
	{"Pausing proxy ", EventProxy},
	{"Paused proxy ", EventProxy},
	{"Pausing ", EventProxy},
	{"Paused ", EventProxy},
	{"Resuming ", EventProxy},
	{"Resumed ", EventProxy},
	{"Enabling ", EventProxy},
	{"Stopping frontend ", EventProxy},
	{"Stopping backend ", EventProxy},
	{"Stopping proxy ", EventProxy},
	{"Stopping ", EventProxy},
	{"Port ", EventProxy},
	{"Server ", EventServer},
	{"Backup Server ", EventServer},
	{"Health check for server ", EventServer},
	{"Health check for backup server ", EventServer},
	{"New worker ", EventProcess},
	{"Initializing new worker ", EventProcess},
	{"Loading success", EventProcess},
	{"Current worker ", EventProcess},
	{"Current program ", EventProcess},
	{"Former worker ", EventProcess},
	{"Former program ", EventProcess},
	{"Old worker ", EventProcess},
	{"All workers exited", EventProcess},
	{"Exiting Master process", EventProcess},
	{"Reexecuting Master process", EventProcess},
	{"Reloading HAProxy", EventProcess},
	{"exit-on-failure", EventProcess},
	{"haproxy version is ", EventNotice},
	{"path to executable is ", EventNotice},
}

func (e *Event) message(line []byte) bool {
	if name, ok := bytes.CutPrefix(line, []byte("backend ")); ok {
		// The two may not share a blank: "backend has no server available!" names none.
		if name, ok = bytes.CutSuffix(name, []byte(" has no server available!")); ok {
			e.Kind, e.Frontend = EventNoneUp, string(name)
			return true
		}
	}
	for _, m := range messages {
		if len(line) < len(m.begin) || string(line[:len(m.begin)]) != m.begin {
			continue
		}
		e.Kind = m.kind
		if m.kind == EventProxy || m.kind == EventServer {
			name, _, _ := bytes.Cut(line[len(m.begin):], []byte(" "))
			e.Frontend = strings.TrimRight(string(name), ".,:")
		}
		if at := bytes.Index(line, []byte("FE: ")); at >= 0 && m.kind == EventProxy {
			digits := line[at+len("FE: "):]
			n := 0
			for n < len(digits) && isDigit(digits[n]) {
				n++
			}
			e.Count, _ = decimal(digits[:n])
		}
		return true
	}
	return false
}
