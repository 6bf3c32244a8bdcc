package bench

import (
	"strconv"
	"testing"

	"github.com/haptrail/haptrail/ingest"
	"github.com/haptrail/haptrail/schema/schematest"
)

// How many datagrams BenchmarkUDP sends, and how many a second.
const (
	datagrams = 200_000
	pace      = 50_000
)

// BenchmarkUDP receives datagrams that come at a steady pace. Nothing may be
// lost: neither in the kernel nor in the pipeline.
func BenchmarkUDP(b *testing.B) {
	b.Run("sink=discard", func(b *testing.B) { benchmarkUDP(b, discard{}) })
	b.Run("sink=engine", func(b *testing.B) { benchmarkUDP(b, schematest.Open(b)) })
}

func benchmarkUDP(b *testing.B, target ingest.Sink) {
	var lost, dropped, granted, sent float64
	m := newMeter(b)
	for m.again() {
		sink := &countingSink{Sink: target}
		d := startDaemon(b, "udp://127.0.0.1:0", sink)
		s := startSender(b, "udp", d.addr(), pace, input{lines: datagrams, framing: newline}.file(b))
		m.start()
		s.start()
		rate, err := strconv.ParseFloat(s.wait(), 64)
		if err != nil {
			b.Fatal("the sender's pace: ", err)
		}
		d.drain()
		m.stop(datagrams)
		sent = rate
		lost += float64(datagrams - sink.rows.Load())
		dropped += d.metric("haptrail_syslog_kernel_drops_total")
		granted = d.metric("haptrail_syslog_receive_buffer_bytes")
	}
	m.reportRate()
	b.ReportMetric(sent, "sent/s")
	b.ReportMetric(lost, "lost")
	b.ReportMetric(dropped, "kernel-drops")
	b.ReportMetric(granted/1e6, "MB-rcvbuf")
}
