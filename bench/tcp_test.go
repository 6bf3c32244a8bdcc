package bench

import (
	"fmt"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

const anyPort = "tcp://127.0.0.1:0"

// eachConns runs a benchmark with one sender's connection and with four.
func eachConns(b *testing.B, run func(b *testing.B, conns int)) {
	for _, conns := range []int{1, 4} {
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) { run(b, conns) })
	}
}

// BenchmarkTCPFrames receives, cuts frames, reads headers and counts.
func BenchmarkTCPFrames(b *testing.B) {
	eachConns(b, func(b *testing.B, conns int) {
		lost := 0
		m := newMeter(b)
		for m.again() {
			var c counter
			receive(b, m, startCounter(b, anyPort, &c), conns, framedLines())
			m.stop(*lineCount)
			lost += *lineCount - int(c.messages.Load())
		}
		m.reportRate()
		b.ReportMetric(float64(lost), "lost")
	})
}

// BenchmarkTCPDiscard receives, parses and fills blocks that are thrown away.
func BenchmarkTCPDiscard(b *testing.B) {
	eachConns(b, func(b *testing.B, conns int) {
		lost := 0
		m := newMeter(b)
		for m.again() {
			sink := &countingSink{Sink: discard{}}
			receive(b, m, startDaemon(b, anyPort, sink), conns, framedLines())
			m.stop(*lineCount)
			lost += *lineCount - int(sink.rows.Load())
		}
		m.reportRate()
		m.reportMemory()
		b.ReportMetric(float64(lost), "lost")
	})
}

// BenchmarkTCPStored receives until all rows are in the embedded engine. The
// merges of what was stored count as CPU time, not for lines/s. Scattered lines
// compress worse than CI's own: they are what the peers were measured with.
func BenchmarkTCPStored(b *testing.B) {
	eachConns(b, func(b *testing.B, conns int) { benchmarkStored(b, conns, framedLines()) })
	scattered := framedLines()
	scattered.scattered = true
	b.Run("scattered", func(b *testing.B) { benchmarkStored(b, 1, scattered) })
}

func benchmarkStored(b *testing.B, conns int, in input) {
	store := schematest.Open(b)
	lost := 0
	var perRow float64
	m := newMeter(b)
	for m.again() {
		empty(b, store)
		receive(b, m, startDaemon(b, anyPort, store), conns, in)
		m.arrived()
		merge(b, store)
		m.stop(in.lines)
		lost += in.lines - stored(b, store)
		perRow = bytesPerRow(b, store)
	}
	m.reportRate()
	m.reportMemory()
	b.ReportMetric(perRow, "B/row")
	b.ReportMetric(float64(lost), "lost")
}

func framedLines() input { return input{lines: *lineCount, framing: octetCounted} }

// receive has a sender send the lines and measures, from its first byte on,
// until d has drained. The caller stops the meter.
func receive(b *testing.B, m *meter, d *daemon, conns int, in input) {
	b.Helper()
	s := startSender(b, "tcp", d.addr(), conns, in.file(b))
	m.start()
	s.start()
	s.wait()
	d.drain()
}

// empty takes all rows away.
func empty(b *testing.B, s *schema.Store) {
	b.Helper()
	for _, table := range []string{"requests", "rejects", "proxy_events"} {
		if err := s.Conn().Exec(b.Context(), "TRUNCATE TABLE "+table); err != nil {
			b.Fatal(err)
		}
	}
}

func merge(b *testing.B, s *schema.Store) {
	b.Helper()
	if err := s.Conn().Exec(b.Context(), "OPTIMIZE TABLE requests FINAL"); err != nil {
		b.Fatal(err)
	}
}

func stored(b *testing.B, s *schema.Store) int {
	b.Helper()
	var n uint64
	if err := s.Conn().QueryRow(b.Context(), "SELECT count() FROM requests").Scan(&n); err != nil {
		b.Fatal(err)
	}
	return int(n)
}

// bytesPerRow is what a row takes on disk, marks and index included.
func bytesPerRow(b *testing.B, s *schema.Store) (size float64) {
	b.Helper()
	const query = "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND database = {db:String} AND table = 'requests'"
	if err := s.Conn().QueryRow(b.Context(), query, clickhouse.Named("db", s.Database())).Scan(&size); err != nil {
		b.Fatal(err)
	}
	return size
}
