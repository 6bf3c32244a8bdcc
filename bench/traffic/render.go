package traffic

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
)

// Format is the log-format of Line.
const Format = `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r ` +
	`%{+Q}[var(txn.sub)] %{+Q}[var(txn.iss)] %{+Q}[var(txn.jti)] %{+Q}[var(txn.role)] %{+Q}[var(txn.job)] %{+Q}[var(txn.sha)] %{+Q}[var(txn.decision)] %{+Q}[var(txn.reason)]`

// Line appends the next line's text, without syslog header or line feed.
func (g *Generator) Line(dst []byte) []byte {
	q := g.next()
	dst = append(dst, q.client...)
	dst = append(append(dst, ':'), strconv.Itoa(q.port)...)
	dst = q.at.UTC().AppendFormat(append(dst, " ["...), "02/Jan/2006:15:04:05.000")
	dst = fmt.Appendf(dst, "] gate~ be_%02d/%s %d/%d/%d/%d/%d %d %d - - %s %d/%d/%d/%d/%d 0/0 {%s|%s} {application/json} \"%s %s HTTP/1.1\"",
		q.backend, q.server, q.timers[0], q.timers[1], q.timers[2], q.timers[3], q.timers[4], q.status, q.bytes, q.termination,
		q.conns[0], q.conns[1], q.conns[2], q.conns[3], q.conns[4], q.host, q.agent, q.method, q.path)
	return fmt.Appendf(dst, " %q %q %q %q %q %q %q %q", q.who.subject, q.who.issuer, q.job.token, q.who.role, q.job.id, q.job.sha, q.decision, q.reason)
}

// JSONLine appends the next line's text in the format logformat.Haptrail. It
// has what Line has but the captured headers, and the rest of the identity.
func (g *Generator) JSONLine(dst []byte) []byte {
	q := g.next()
	dst = fmt.Appendf(dst, `{"v":1,"pid":%d,"rt":%d,"id":"`, pid, q.counter)
	dst = appendUniqueID(dst, &q)
	dst = fmt.Appendf(dst, `","t":%d,"ci":"%s","cp":"%d","fe":"gate~","be":"be_%02d","srv":"%s","TR":%d,"Tw":%d,"Tc":%d,"Tr":%d,"Ta":"%d"`,
		q.at.UnixMilli(), q.client, q.port, q.backend, q.server, q.timers[0], q.timers[1], q.timers[2], q.timers[3], q.timers[4])
	dst = fmt.Appendf(dst, `,"st":%d,"out":"%d","in":%d,"ts":"%s","conn":"%d/%d/%d/%d/%d","q":"0/0"`,
		q.status, q.bytes, q.sent(), q.termination, q.conns[0], q.conns[1], q.conns[2], q.conns[3], q.conns[4])
	who, job := q.who, q.job
	for _, f := range [...]struct{ key, value string }{
		{"m", q.method}, {"dec", q.decision}, {"why", q.reason}, {"role", who.role},
		{"prov", who.provider}, {"iss", who.issuer}, {"sub", who.subject},
		{"jti", job.token}, {"kid", who.keyID}, {"aud", audience},
		{"iat", strconv.FormatInt(job.issued.Unix(), 10)}, {"exp", strconv.FormatInt(job.issued.Add(tokenLife).Unix(), 10)},
		{"tenant", who.tenant}, {"proj", who.project}, {"job", who.definition}, {"run", job.id},
		{"att", "1"}, {"ref", who.ref}, {"sha", job.sha}, {"actor", who.actor}, {"runner", job.runner},
		{"claim", ""}, {"host", q.host}, {"path", q.path}, {"uri", q.path},
	} {
		dst = append(append(append(dst, `,"`...), f.key...), `":"`...)
		dst = append(appendEscaped(dst, f.value), '"')
	}
	return append(dst, '}')
}

// appendEscaped escapes like HAProxy's converter json (configuration manual,
// section 7.3.1), for the printable ASCII that the generator makes.
func appendEscaped(dst []byte, s string) []byte {
	for i := range len(s) {
		switch s[i] {
		case '"', '\\', '/':
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return dst
}

// appendUniqueID writes what the gate's unique-id-format
// "%{+X}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid" makes.
func appendUniqueID(dst []byte, q *request) []byte {
	addr := netip.MustParseAddr(q.client)
	if addr.Is4() {
		four := addr.As4()
		dst = fmt.Appendf(dst, "%08X", binary.BigEndian.Uint32(four[:]))
	} else {
		dst = fmt.Appendf(dst, "%X", addr.As16())
	}
	return fmt.Appendf(dst, ":%04X_0A200001:01BB_%08X_%04X:%04X", q.port, q.at.Unix(), q.counter, pid)
}

// Header appends the RFC 5424 header that HAProxy writes in front of a line.
func (g *Generator) Header(dst []byte) []byte {
	dst = append(dst, "<134>1 "...)
	dst = g.at.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000-07:00")
	return fmt.Appendf(dst, " edge1 haproxy %d - - ", pid)
}
