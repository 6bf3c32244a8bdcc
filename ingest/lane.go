package ingest

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/ingest/syslog"
	"github.com/haptrail/haptrail/schema"
)

// Why a line became no row, beside the reasons of syslog (framing) and
// logformat (grammar).
const (
	ReasonTime       = "time_out_of_range" // before 1900 or after 2299
	ReasonStrangeDay = "time_implausible"  // one more day in the future or far past than is let through
	ReasonEmpty      = "empty"             // a message without text
)

// Outcome is what became of a line.
type Outcome uint8

// A line's outcomes.
const (
	Request  Outcome = iota // a row of requests
	Event                   // a row of proxy_events
	Rejected                // counted by reason, and kept in rejects while there is room
	numOutcomes
)

const (
	// maxRejects bounds what one block keeps in rejects.
	maxRejects = 1000
	// maxRaw bounds how much of a rejected line is kept, in bytes.
	maxRaw = 4096
	// maxDays is how many partitions a block may touch: ClickHouse refuses an
	// insert with more than 100 (max_partitions_per_insert_block).
	maxDays = 90
)

// lane turns lines into rows of one block. It belongs to one goroutine, or to
// whoever holds its owner's lock.
type lane struct {
	matcher *lf.Matcher
	zone    *time.Location
	record  lf.Record
	row     rowWriter
	clock   *clock

	sealed  // what is being filled
	days    map[int64]struct{}
	lastDay int64
	bytes   int // of lines since the block began

	denied func(reason []byte) // may be nil
	marks  []byte              // scratch
	counts counts              // since the owner last took them
}

// counts is what became of lines.
type counts struct {
	outcome  [numOutcomes]int
	bytes    int
	dropped  int
	notKept  int
	rejected map[string]int // by reason
	marked   [len(markNames)]int
}

// sealed is a block with what belongs to it.
type sealed struct {
	block   *schema.RequestBlock
	id      schema.BlockID
	rejects []schema.Reject
	events  []schema.ProxyEvent
	first   time.Time // arrival of its first line
}

func (s *sealed) empty() bool {
	return s.block.Rows() == 0 && len(s.rejects) == 0 && len(s.events) == 0
}

func newLane(formats Formats, keep Keep, c *clock) *lane {
	l := &lane{clock: c, days: map[int64]struct{}{}, counts: counts{rejected: map[string]int{}}}
	l.read(formats, keep)
	return l
}

// read sets how lines are read from now on.
func (l *lane) read(formats Formats, keep Keep) {
	l.matcher, l.zone = formats.Set.Matcher(), formats.Zone
	l.row.keep = keep
	l.row.requestSecrets = secretSlots(formats.RequestHeaders)
	l.row.responseSecrets = secretSlots(formats.ResponseHeaders)
	l.row.extras = extraSensitivity(formats)
	l.row.seen = memory{generation: l.row.seen.generation + 1}
}

// begin gives the lane an empty block to fill.
func (l *lane) begin(b *schema.RequestBlock) {
	l.sealed = sealed{block: b}
	l.bytes, l.lastDay = 0, 0
	l.row.seen.nextBlock()
	clear(l.days)
}

// full tells whether the block must be sealed before another line.
func (l *lane) full(rows, bytes int) bool {
	return l.block.Rows() >= rows || l.bytes >= bytes || len(l.days) >= maxDays || len(l.events) >= rows
}

// add takes one message: afterwards it is a row, an event, or a reject.
func (l *lane) add(a *arrival, m *syslog.Message) Outcome {
	if l.first.IsZero() {
		l.first = time.UnixMicro(a.received)
	}
	l.bytes += len(m.Text)
	l.counts.bytes += len(m.Text)
	outcome := l.take(a, m)
	l.counts.outcome[outcome]++
	return outcome
}

func (l *lane) take(a *arrival, m *syslog.Message) Outcome {
	if len(m.Text) == 0 && len(m.StructuredData) == 0 {
		return l.reject(a, ReasonEmpty, 0, m.Raw)
	}
	if fault := l.parse(m); fault.Reason != lf.OK {
		if event, ok := lf.Classify(m.Text); ok {
			l.event(a, &event)
			return Event
		}
		return l.reject(a, fault.Reason.String(), fault.Pos, m.Text)
	}
	at, marks := l.time(a)
	written := at + int64(max(timer(&l.record, lf.TimerTa, lf.TimerTt), 0))*1000
	more, reason := l.clock.judge(at, written, a.received)
	if reason != "" {
		return l.reject(a, reason, 0, m.Text)
	}
	if marks |= more; l.record.Truncated {
		marks |= MarkTruncated
	}
	if today := dayOf(at); today != l.lastDay {
		l.days[today] = struct{}{}
		l.lastDay = today
	}
	l.marks = marks.appendNames(l.marks[:0])
	for i := range markNames {
		l.counts.marked[i] += int(marks >> i & 1)
	}
	l.row.write(l.block, &l.record, a, at, l.marks, m.Raw)
	if l.denied != nil && string(text(&l.record, lf.Decision)) == "deny" {
		l.denied(text(&l.record, lf.Reason))
	}
	return Request
}

// parse reads the message's text; or its structured data, for a log-format-sd;
// or all of it, for a log-format that itself begins with a time, which the
// header then took.
func (l *lane) parse(m *syslog.Message) lf.Fault {
	_, fault := l.matcher.Parse(m.Text, &l.record)
	if fault.Reason == lf.OK {
		return fault
	}
	other := m.StructuredData
	if m.Format == syslog.FormatTimed || m.Format == syslog.FormatTimedTag {
		other = m.Raw
	}
	if len(other) > 0 {
		if _, again := l.matcher.Parse(other, &l.record); again.Reason == lf.OK {
			return again
		}
	}
	return fault
}

// time is the request's time: as HAProxy logged it, else the syslog header's,
// else the arrival.
func (l *lane) time(a *arrival) (at int64, marks Marks) {
	switch {
	case l.record.Has(lf.RequestTime):
		return l.record.Int[lf.RequestTime], 0
	case l.record.Has(lf.AcceptTime):
		return l.record.Int[lf.AcceptTime], 0
	case a.sent != 0:
		return a.sent, MarkTimeHeader
	}
	return a.received, MarkTimeHeader
}

func (l *lane) event(a *arrival, e *lf.Event) {
	at := e.At(l.zone)
	if at.IsZero() {
		if at = time.UnixMicro(a.sent); a.sent == 0 {
			at = time.UnixMicro(a.received)
		}
	}
	l.events = append(l.events, schema.ProxyEvent{
		Time: at.UTC(), Received: time.UnixMicro(a.received).UTC(),
		Source: string(a.source), Proxy: string(a.proxy), PID: a.pid,
		Kind: e.Kind, ClientIP: addressOf(e.Client), Frontend: e.Frontend, Count: uint64(max(e.Count, 0)),
		Text: validText(l.redact([]byte(e.Text))),
	})
}

// addressOf is the address of "address:port", the port being behind the last
// colon; :: where there is none, as for a unix socket.
func addressOf(hostPort string) netip.Addr {
	if colon := strings.LastIndexByte(hostPort, ':'); colon > 0 {
		if a, err := netip.ParseAddr(hostPort[:colon]); err == nil {
			return netip.AddrFrom16(a.As16())
		}
	}
	return netip.IPv6Unspecified()
}

// validText is a text that every client can read.
func validText(v []byte) string { return string(bytes.ToValidUTF8(v, []byte("\uFFFD"))) }

func (l *lane) redact(raw []byte) []byte {
	return redactRaw(raw, either(l.row.requestSecrets, l.row.responseSecrets))
}

func (l *lane) reject(a *arrival, reason string, position int, raw []byte) Outcome {
	l.counts.rejected[reason]++
	if len(l.rejects) >= maxRejects {
		l.counts.notKept++
		return Rejected
	}
	l.rejects = append(l.rejects, schema.Reject{
		Received: time.UnixMicro(a.received).UTC(), Source: string(a.source), Proxy: string(a.proxy),
		Reason: reason, Position: uint32(position), Length: uint32(len(raw)), Raw: validText(l.redact(raw[:min(len(raw), maxRaw)])),
	})
	return Rejected
}

// arrivalOf reads what a syslog header tells.
func arrivalOf(m *syslog.Message, source []byte, received int64) arrival {
	a := arrival{received: received, source: source, proxy: m.Hostname, pid: decimal(m.ProcID)}
	if !m.Time.IsZero() {
		a.sent = m.Time.UnixMicro()
	}
	return a
}

// decimal is a process id as a number, 0 where it is none.
func decimal(v []byte) uint32 {
	var n uint64
	for _, b := range v {
		if b < '0' || b > '9' || n > 1<<31 {
			return 0
		}
		n = 10*n + uint64(b-'0')
	}
	return uint32(n)
}
