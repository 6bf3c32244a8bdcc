package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/haptrail/haptrail/ingest"
	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/ingest/syslog"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// identified is an httplog line with an identity behind it.
const identified = ` %{+Q}[var(txn.sub)] %{+Q}[var(txn.run)] %{+Q}[var(txn.decision)]`

func formats(t testing.TB, texts ...string) ingest.Formats {
	t.Helper()
	var named []lf.Named
	for _, text := range texts {
		if builtin, ok := lf.Builtin(strings.TrimSuffix(text, identified)); ok {
			text = builtin + strings.TrimPrefix(text, strings.TrimSuffix(text, identified))
		}
		f, err := lf.Compile(text, lf.Options{})
		if err != nil {
			t.Fatal(err)
		}
		named = append(named, lf.Named{Name: text, Format: f})
	}
	return ingest.Formats{Set: lf.NewSet(named...), Zone: time.UTC}
}

// line is an httplog line of a moment.
func line(at time.Time, path, subject string) string {
	return fmt.Sprintf(`10.0.0.1:5000 [%s] fe be/s1 0/0/0/1/1 200 122 - - ---- 1/1/0/0/0 0/0 "GET %s HTTP/1.1" "%s" "r1" "allow"`,
		at.UTC().Format("02/Jan/2006:15:04:05.000"), path, subject)
}

// rig is a pipeline on the real engine, behind a sink that can fail.
type rig struct {
	*ingest.Pipeline
	t        *testing.T
	store    *schema.Store
	sink     *flakySink
	registry *prometheus.Registry
	stop     context.CancelFunc
	source   *syslog.Source
	sent     int
}

func newRig(t *testing.T, cfg ingest.Config, format ...string) *rig {
	t.Helper()
	if format == nil {
		format = []string{"httplog" + identified}
	}
	cfg.Formats = formats(t, format...)
	r := &rig{t: t, store: schematest.Open(t), registry: prometheus.NewRegistry()}
	r.sink = &flakySink{Sink: r.store}
	r.Pipeline = ingest.New(cfg, r.sink, ingest.NewMetrics(r.registry), slog.New(slog.DiscardHandler))
	r.source = &syslog.Source{Transport: "tcp", Listener: "test", Peer: "10.9.8.7"}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		r.stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) send(texts ...string) {
	batch := make([]syslog.Message, len(texts))
	for i, text := range texts {
		syslog.ParseHeader([]byte(text), time.Now(), time.UTC, &batch[i])
	}
	r.sent += len(texts)
	r.Handle(r.source, time.Now(), batch)
}

func (r *rig) drain() error {
	r.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return r.Drain(ctx)
}

func (r *rig) scan(sql string, dest ...any) {
	r.t.Helper()
	if err := r.store.Conn().QueryRow(r.t.Context(), sql).Scan(dest...); err != nil {
		r.t.Fatal(err)
	}
}

// totals re-checks that each line is in one place.
func (r *rig) totals() (requests, events, rejects uint64) {
	r.t.Helper()
	r.scan("SELECT (SELECT count() FROM requests), (SELECT count() FROM proxy_events), (SELECT count() FROM rejects)", &requests, &events, &rejects)
	return requests, events, rejects
}

// flakySink fails as it is told, before or after the rows were stored.
type flakySink struct {
	ingest.Sink
	failBefore, failAfter atomic.Int64  // how many further calls fail
	block                 chan struct{} // when not nil, inserts wait for it
}

var errFault = errors.New("injected")

func (s *flakySink) InsertRequests(ctx context.Context, b *schema.RequestBlock, id schema.BlockID) error {
	if s.block != nil {
		<-s.block
	}
	if s.failBefore.Add(-1) >= 0 {
		return errFault
	}
	err := s.Sink.InsertRequests(ctx, b, id)
	if s.failAfter.Add(-1) >= 0 {
		return errors.Join(err, errFault)
	}
	return err
}

func (s *flakySink) InsertRejects(ctx context.Context, rows []schema.Reject, id schema.BlockID) error {
	err := s.Sink.InsertRejects(ctx, rows, id)
	if len(rows) > 0 && s.failAfter.Add(-1) >= 0 {
		return errors.Join(err, errFault)
	}
	return err
}

func TestFaultsLoseAndDoubleNothing(t *testing.T) {
	for _, fault := range []struct {
		name          string
		before, after int64
	}{
		{"none", 0, 0},
		{"not stored, reported failed", 3, 0},
		{"stored, reported failed", 0, 3},
		{"both", 2, 2},
	} {
		t.Run(fault.name, func(t *testing.T) {
			told := 0 // by one goroutine, which has ended when the rig is drained
			r := newRig(t, ingest.Config{FlushRows: 40, FlushAge: 20 * time.Millisecond, Stored: func(b *schema.RequestBlock) { told += b.Rows() }})
			r.sink.failBefore.Store(fault.before)
			r.sink.failAfter.Store(fault.after)
			for i := range 100 {
				r.send(line(time.Now(), fmt.Sprintf("/p/%d", i), "sub"), "no log line at all", `Proxy fe stopped (cumulated conns: FE: 3, BE: 0).`)
			}
			if err := r.drain(); err != nil {
				t.Fatal(err)
			}
			requests, events, rejects := r.totals()
			if requests != 100 || events != 100 || rejects != 100 || told != 100 {
				t.Errorf("requests %d, events %d, rejects %d, told stored %d; want 100 of each", requests, events, rejects, told)
			}
			var distinct uint64
			r.scan("SELECT uniqExact(path) FROM requests", &distinct)
			if distinct != 100 {
				t.Errorf("%d different paths, want 100", distinct)
			}
		})
	}
}

func TestFlushByAge(t *testing.T) {
	r := newRig(t, ingest.Config{FlushAge: 50 * time.Millisecond})
	r.send(line(time.Now(), "/x", "sub"))
	for deadline := time.Now().Add(10 * time.Second); ; {
		if requests, _, _ := r.totals(); requests == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the row was not stored by age")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestSlowEngineMakesReliableSendersWait(t *testing.T) {
	r := newRig(t, ingest.Config{FlushRows: 10, FlushAge: time.Hour, Lanes: 1})
	r.sink.block = make(chan struct{})
	sent := make(chan int, 1000)
	go func() {
		for i := range 200 {
			r.send(line(time.Now(), fmt.Sprintf("/%d", i), "sub"))
			sent <- i
		}
		close(sent)
	}()
	time.Sleep(300 * time.Millisecond)
	if n := len(sent); n == 0 || n > 60 {
		t.Errorf("%d lines were taken while the engine took none; want a few blocks' worth", n)
	}
	close(r.sink.block)
	for range sent {
	}
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	if requests, _, _ := r.totals(); requests != 200 {
		t.Errorf("%d rows, want 200", requests)
	}
}

func TestSlowEngineDropsDatagramsAndCountsThem(t *testing.T) {
	r := newRig(t, ingest.Config{FlushRows: 10, FlushAge: time.Hour, Lanes: 1})
	r.sink.block = make(chan struct{})
	r.source = &syslog.Source{Transport: "udp", Listener: "test", Peer: "10.9.8.7", Lossy: true}
	began := time.Now()
	for i := range 500 {
		r.send(line(time.Now(), fmt.Sprintf("/%d", i), "sub"))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a lossy source waited %s", took)
	}
	close(r.sink.block)
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	requests, _, _ := r.totals()
	dropped := metric(t, r.registry, "haptrail_ingest_lines_total", "outcome", "dropped")
	if dropped == 0 || int(requests)+int(dropped) != r.sent {
		t.Errorf("%d sent, %d stored, %.0f counted as dropped", r.sent, requests, dropped)
	}
}

func metric(t *testing.T, r *prometheus.Registry, name, label, value string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

func TestDrainSaysWhatIsLost(t *testing.T) {
	r := newRig(t, ingest.Config{FlushAge: time.Hour})
	r.sink.block = make(chan struct{})
	defer close(r.sink.block)
	r.send(line(time.Now(), "/x", "sub"), line(time.Now(), "/y", "sub"))
	r.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := r.Drain(ctx)
	if err == nil || !strings.Contains(err.Error(), "2 rows") {
		t.Errorf("got %v, want an error that says that 2 rows are lost", err)
	}
	if have := testutil.ToFloat64(lostCounter(t, r.registry)); have != 2 {
		t.Errorf("haptrail_ingest_rows_lost_total is %.0f, want 2", have)
	}
}

// lostCounter reads one counter out of a registry as a collector of its own.
func lostCounter(t *testing.T, r *prometheus.Registry) prometheus.Collector {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "copy"})
	for _, family := range families {
		if family.GetName() == "haptrail_ingest_rows_lost_total" {
			g.Set(family.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return g
}

func TestNastyLines(t *testing.T) {
	r := newRig(t, ingest.Config{}, "httplog"+identified)
	now := time.Now()
	date := now.UTC().Format("02/Jan/2006:15:04:05.000")
	with := func(headers, subject string) string {
		return `10.0.0.1:5000 [` + date + `] fe be/s1 0/0/0/1/1 200 122 - - ---- 1/1/0/0/0 0/0 ` + headers + `"GET /x HTTP/1.1" "` + subject + `" "r1" "allow"`
	}
	const secret = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
	r.send(
		with("", `repo:acme] "quoted`),
		with("", "nul\x00inside"),
		with("", "cr\rinside"),
		with("", "invalid \xff\xfe utf-8"),
		with("{www|Bearer "+secret+"} ", "headers"),
		with("", secret),
		"garbage with Bearer "+secret,
		"",
		line(time.Date(1999, 5, 1, 0, 0, 0, 0, time.UTC), "/old", "old"),
		line(time.Date(2100, 5, 1, 0, 0, 0, 0, time.UTC), "/new", "new"),
	)
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	requests, _, rejects := r.totals()
	if int(requests+rejects) != r.sent {
		t.Errorf("%d lines sent, %d requests and %d rejects", r.sent, requests, rejects)
	}
	for what, sql := range map[string]string{
		"a quote and a bracket in an identity": `SELECT count() FROM requests WHERE subject = 'repo:acme] "quoted'`,
		"NUL":                                  `SELECT count() FROM requests WHERE subject = 'nul\0inside'`,
		"CR":                                   `SELECT count() FROM requests WHERE subject = 'cr\rinside'`,
		"invalid UTF-8":                        `SELECT count() FROM requests WHERE subject = unhex('696E76616C696420FFFE207574662D38')`,
		"authorization":                        `SELECT count() FROM requests WHERE request_headers = 'www|Bearer [redacted]'`,
		"a token as subject":                   `SELECT count() FROM requests WHERE subject = '[redacted]'`,
		"1999":                                 `SELECT count() FROM requests WHERE path = '/old' AND marks = 'time_past' AND toYear(time) = 1999`,
		"2100":                                 `SELECT count() FROM requests WHERE path = '/new' AND marks = 'time_future' AND toYear(time) = 2100`,
		"an empty message":                     `SELECT count() FROM rejects WHERE reason = 'empty'`,
		"garbage with a secret":                `SELECT count() FROM rejects WHERE raw = 'garbage with Bearer [redacted]'`,
	} {
		var n uint64
		r.scan(sql, &n)
		if n != 1 {
			t.Errorf("%s: %d rows by %s", what, n, sql)
		}
	}
	var leaks uint64
	r.scan(`SELECT (SELECT countIf(positionCaseInsensitive(toString(tuple(*)), 'eyJhbGci') > 0) FROM requests) + (SELECT countIf(raw LIKE '%eyJhbGci%') FROM rejects)`, &leaks)
	if leaks != 0 {
		t.Errorf("%d rows hold a token", leaks)
	}
}

// Whatever a format calls it, a credential is not stored.
func TestCredentialsInItemsWithoutColumn(t *testing.T) {
	const format = `%ci:%cp [%tr] %{+Q,+E}[req.hdr(authorization)] %{+Q,+E}[http_auth_bearer] %{+Q,+E}[req.cook(session)] %{+Q,+E}[req.hdr(x-team)] %{+Q,+E}[req.hdr(user-agent)] %ID`
	r := newRig(t, ingest.Config{}, format)
	r.send(`10.0.0.1:1 [` + time.Now().UTC().Format("02/Jan/2006:15:04:05.000") + `] "Custom opaque" "opaque" "opaque" "red" "x Bearer opaque" ` + "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.e30.c2ln")
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	var row string
	r.scan("SELECT toString(tuple(*)) FROM requests", &row)
	if strings.Contains(row, "opaque") || strings.Contains(row, "eyJ") || !strings.Contains(row, "red") {
		t.Errorf("stored: %s", row)
	}
}

func TestFloodOfFutureDaysIsBounded(t *testing.T) {
	r := newRig(t, ingest.Config{Lanes: 1})
	for i := range 300 {
		r.send(line(time.Date(2100, 1, 1+i, 0, 0, 0, 0, time.UTC), "/x", "sub"))
	}
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	var partitions, rejects uint64
	r.scan("SELECT (SELECT uniqExact(toDate32(time)) FROM requests), (SELECT countIf(reason = 'time_implausible') FROM rejects)", &partitions, &rejects)
	if partitions != ingest.DefaultStrangeDays || rejects != 300-ingest.DefaultStrangeDays {
		t.Errorf("%d partitions, %d rejects", partitions, rejects)
	}
}

func TestTwoProxiesOfOneHostnameStayApart(t *testing.T) {
	r := newRig(t, ingest.Config{})
	for _, peer := range []string{"10.0.0.1", "10.0.0.2"} {
		r.source = &syslog.Source{Transport: "tcp", Peer: peer, Number: uint64(len(peer))}
		r.send("<134>Nov 23 11:10:03 edge1 haproxy[7]: " + line(time.Now(), "/x", "sub"))
	}
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	var proxies, sources, pids uint64
	r.scan("SELECT uniqExact(proxy), uniqExact(source), countIf(pid = 7) FROM requests", &proxies, &sources, &pids)
	if proxies != 1 || sources != 2 || pids != 2 {
		t.Errorf("%d proxies, %d sources, %d rows with the header's pid; want 1, 2, 2", proxies, sources, pids)
	}
}

func TestRejectsAreBounded(t *testing.T) {
	r := newRig(t, ingest.Config{Lanes: 1, FlushAge: time.Hour})
	for range 3000 {
		r.send("garbage " + strings.Repeat("x", 10_000))
	}
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	var rows, longest uint64
	r.scan("SELECT count(), max(length(raw)) FROM rejects", &rows, &longest)
	counted := metric(t, r.registry, "haptrail_ingest_lines_total", "outcome", "rejected")
	if rows != 1000 || longest > 4096 || counted != 3000 {
		t.Errorf("%d rejects of at most %d bytes kept, %.0f counted; want 1000, 4096, 3000", rows, longest, counted)
	}
}

func TestStructuredDataIsRead(t *testing.T) {
	r := newRig(t, ingest.Config{}, `%{+Q,+E}o [id@32473 pid=%pid sub=%[var(txn.sub)] st=%ST]`)
	r.send(`<134>1 2026-11-23T10:56:39.178433+00:00 edge1 haproxy 10586 - [id@32473 pid=10586 sub="a \"b\" \]" st=403] whatever text`)
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	var n uint64
	r.scan(`SELECT count() FROM requests WHERE subject = 'a "b" ]' AND status = 403 AND pid = 10586 AND proxy = 'edge1' AND marks LIKE '%time_header%'`, &n)
	if n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}
