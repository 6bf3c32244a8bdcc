package traffic

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/ingest/syslog"
)

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// variants are the two ways to render a request, with what each must give back.
var variants = []struct {
	name, format string
	line         func(*Generator, []byte) []byte
	want         func(*request) map[logformat.Field]any
	mean         int // bytes of a line that figures are quoted for
}{
	{"httplog", Format, (*Generator).Line, httplogValues, 525},
	{"json", logformat.Haptrail, (*Generator).JSONLine, jsonValues, 955},
}

func TestSameSeedSameLines(t *testing.T) {
	for _, v := range variants {
		a, b, other := New(7, 1000, start), New(7, 1000, start), New(8, 1000, start)
		same := 0
		for i := range 1000 {
			line := v.line(a, nil)
			if have := v.line(b, nil); !bytes.Equal(have, line) {
				t.Fatalf("%s line %d differs:\n%s\n%s", v.name, i, line, have)
			}
			if bytes.Equal(v.line(other, nil), line) {
				same++
			}
		}
		if same > 0 {
			t.Errorf("%s: another seed made %d equal lines", v.name, same)
		}
	}
}

func TestLinesAreOfTheSizeThatFiguresAreQuotedFor(t *testing.T) {
	for _, v := range variants {
		g := New(1, 10_000, start)
		bytes := 0
		for range 10_000 {
			bytes += len(v.line(g, nil))
		}
		if mean := bytes / 10_000; mean < v.mean-10 || mean > v.mean+10 {
			t.Errorf("%s: lines have %d bytes on average, want about %d", v.name, mean, v.mean)
		}
	}
}

// TestLinesParse reads every line with its own format and holds the values
// against the request that it was made from.
func TestLinesParse(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			f, err := logformat.Compile(v.format, logformat.Options{})
			if err != nil {
				t.Fatal(err)
			}
			const lines = 20_000
			g, twin := New(3, lines, start), New(3, lines, start)
			statuses, six := map[int]int{}, 0
			var rec logformat.Record
			for i := range lines {
				line, q := v.line(g, nil), twin.next()
				if fault := f.Parse(line, &rec); fault.Reason != logformat.OK || rec.Truncated {
					t.Fatalf("line %d: %s (truncated %t)\n%s", i, f.Describe(fault), rec.Truncated, line)
				}
				for field, want := range v.want(&q) {
					if have := value(&rec, field); have != want {
						t.Fatalf("line %d: %s is %v, want %v\n%s", i, field, have, want, line)
					}
				}
				if have := netip.AddrFrom16(rec.Addr).Unmap().String(); have != netip.MustParseAddr(q.client).String() {
					t.Fatalf("line %d: the client is %s, want %s", i, have, q.client)
				}
				statuses[q.status]++
				if netip.MustParseAddr(q.client).Is6() {
					six++
				}
			}
			for _, status := range []int{200, 401, 403, 404, 503} {
				if statuses[status] < lines/200 {
					t.Errorf("only %d of %d lines have status %d", statuses[status], lines, status)
				}
			}
			if share := float64(six) / lines; share < 0.06 || share > 0.10 {
				t.Errorf("%.3f of the clients are IPv6, want 0.08", share)
			}
		})
	}
}

// value is a field as a string or an int64, nil where the line has none.
func value(r *logformat.Record, f logformat.Field) any {
	switch {
	case !r.Has(f):
		return nil
	case f.Kind() == logformat.KindText:
		return string(r.Text[f])
	}
	return r.Int[f]
}

// sharedValues are those that both formats carry; -1 is a value of a timer.
func sharedValues(q *request) map[logformat.Field]any {
	return map[logformat.Field]any{
		logformat.ClientPort: int64(q.port), logformat.Frontend: "gate", logformat.TLS: int64(1),
		logformat.Backend: fmt.Sprintf("be_%02d", q.backend), logformat.Server: q.server,
		logformat.TimerTR: int64(q.timers[0]), logformat.TimerTw: int64(q.timers[1]), logformat.TimerTc: int64(q.timers[2]),
		logformat.TimerTr: int64(q.timers[3]), logformat.TimerTa: int64(q.timers[4]),
		logformat.Status: int64(q.status), logformat.BytesRead: int64(q.bytes), logformat.TerminationState: q.termination,
		logformat.ActConn: int64(q.conns[0]), logformat.FeConn: int64(q.conns[1]), logformat.BeConn: int64(q.conns[2]),
		logformat.SrvConn: int64(q.conns[3]), logformat.Retries: int64(q.conns[4]),
		logformat.Method: q.method, logformat.URI: q.path,
		logformat.Subject: q.who.subject, logformat.Issuer: q.who.issuer, logformat.TokenID: q.job.token, logformat.Role: q.who.role,
		logformat.Commit: q.job.sha, logformat.Decision: q.decision, logformat.Reason: q.reason,
	}
}

func httplogValues(q *request) map[logformat.Field]any {
	values := sharedValues(q)
	values[logformat.RequestTime] = q.at.Truncate(time.Millisecond).UnixMicro()
	values[logformat.HTTPVersion] = "HTTP/1.1"
	values[logformat.RequestHeaders] = q.host + "|" + q.agent
	values[logformat.ResponseHeaders] = "application/json"
	values[logformat.Job] = q.job.id
	return values
}

func jsonValues(q *request) map[logformat.Field]any {
	values := sharedValues(q)
	values[logformat.AcceptTime] = q.at.Truncate(time.Millisecond).UnixMicro()
	values[logformat.PID], values[logformat.RequestCounter] = int64(pid), int64(q.counter)
	values[logformat.UniqueID] = string(appendUniqueID(nil, q))
	values[logformat.BytesSent] = int64(q.sent())
	values[logformat.Host], values[logformat.Path] = q.host, q.path
	values[logformat.Provider], values[logformat.KeyID], values[logformat.Audience] = q.who.provider, q.who.keyID, audience
	values[logformat.IssuedAt], values[logformat.ExpiresAt] = q.job.issued.UnixMicro(), q.job.issued.Add(tokenLife).UnixMicro()
	values[logformat.Tenant], values[logformat.Project], values[logformat.Ref] = q.who.tenant, q.who.project, q.who.ref
	values[logformat.Job], values[logformat.Run], values[logformat.RunAttempt] = q.who.definition, q.job.id, "1"
	values[logformat.Actor], values[logformat.Runner] = q.who.actor, q.job.runner
	values[logformat.ClaimedRun] = nil
	return values
}

func TestHeaderIsTheOneOfHAProxy(t *testing.T) {
	g := New(5, 100, start)
	text := g.Line(nil)
	var m syslog.Message
	syslog.ParseHeader(append(g.Header(nil), text...), start, time.UTC, &m)
	if m.Format != syslog.FormatRFC5424 || m.Priority != 134 || string(m.Hostname) != "edge1" || string(m.ProcID) != "10586" {
		t.Errorf("the header reads as %s, priority %d, host %q, process %q", m.Format, m.Priority, m.Hostname, m.ProcID)
	}
	if !m.Time.Equal(g.at.Truncate(time.Microsecond)) {
		t.Errorf("the header's time is %s, want %s", m.Time, g.at)
	}
	if !bytes.Equal(m.Text, text) {
		t.Errorf("the text behind the header is %q", m.Text)
	}
}

func TestEscapedAsHAProxyDoes(t *testing.T) {
	const in, want = `a/b"c\d`, `a\/b\"c\\d`
	if have := string(appendEscaped(nil, in)); have != want {
		t.Errorf("%q is written as %q, want %q", in, have, want)
	}
}

// TestJobsAreAnIdentitysOwn counts the identities of each job, and its lines.
func TestJobsAreAnIdentitysOwn(t *testing.T) {
	const lines = 100_000
	for _, scattered := range []bool{false, true} {
		g := New(2, lines, start)
		g.Scattered = scattered
		whose := map[*job]map[*identity]int{}
		for range lines {
			q := g.next()
			if whose[q.job] == nil {
				whose[q.job] = map[*identity]int{}
			}
			whose[q.job][q.who]++
		}
		shared := 0
		for _, identities := range whose {
			if len(identities) > 1 {
				shared++
			}
		}
		if mean := lines / len(whose); mean < 30 || mean > linesPerJob+5 {
			t.Errorf("scattered %t: a job has %d lines on average, want about %d", scattered, mean, linesPerJob)
		}
		if scattered && shared < len(whose)*9/10 {
			t.Errorf("only %d of %d scattered jobs are of several identities", shared, len(whose))
		}
		if !scattered && shared > 0 {
			t.Errorf("%d of %d jobs are of several identities", shared, len(whose))
		}
	}
}
