package bench

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haptrail/haptrail/bench/traffic"
	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/ingest/syslog"
)

// inMemory is how many different lines the benchmarks without a socket go
// round: more than the processor's caches hold.
const inMemory = 100_000

// BenchmarkParse is the parser alone; an op is a line.
func BenchmarkParse(b *testing.B) {
	for _, v := range variants {
		b.Run(v.name, func(b *testing.B) {
			f, err := lf.Compile(v.format, lf.Options{})
			if err != nil {
				b.Fatal(err)
			}
			g := newTraffic(inMemory)
			lines, size := make([][]byte, inMemory), 0
			for i := range lines {
				lines[i] = v.line(g, nil)
				size += len(lines[i])
			}
			b.SetBytes(int64(size / inMemory))
			b.ReportAllocs()
			var rec lf.Record
			n := 0
			before := cpuTime(b)
			for b.Loop() {
				if fault := f.Parse(lines[n%inMemory], &rec); fault.Reason != lf.OK || rec.Truncated {
					b.Fatal(f.Describe(fault))
				}
				n++
			}
			used := cpuTime(b) - before
			b.ReportMetric(used.Seconds()*1e6/float64(n), "cpu-s/Mline")
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// BenchmarkColumns takes messages whose headers are read to rows of blocks,
// which are thrown away; an op is a batch of 100 lines.
func BenchmarkColumns(b *testing.B) {
	for _, v := range variants {
		b.Run(v.name, func(b *testing.B) {
			const batch = 100
			sink := &countingSink{Sink: discard{}}
			p := newPipeline(b, compiled(b, v.name, v.format), sink, prometheus.NewRegistry())
			ctx, cancel := context.WithCancel(b.Context())
			ran := make(chan error, 1)
			go func() { ran <- p.Run(ctx) }()
			messages := newMessages(inMemory, v.line)
			src := &syslog.Source{Transport: "tcp", Listener: "bench", Peer: "127.0.0.1"}
			received := time.Now()
			b.ReportAllocs()
			n := 0
			before := cpuTime(b)
			for b.Loop() {
				at := n % inMemory
				p.Handle(src, received, messages[at:at+batch])
				n += batch
			}
			used := cpuTime(b) - before
			b.ReportMetric(used.Seconds()*1e6/float64(n), "cpu-s/Mline")
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
			cancel()
			if err := <-ran; err != nil {
				b.Error(err)
			}
			if err := p.Drain(context.Background()); err != nil {
				b.Error(err)
			}
			if have := sink.rows.Load(); have != int64(n) {
				b.Errorf("%d of %d lines became rows", have, n)
			}
		})
	}
}

// newMessages makes n messages as a listener hands them over.
func newMessages(n int, line func(*traffic.Generator, []byte) []byte) []syslog.Message {
	g := newTraffic(n)
	messages := make([]syslog.Message, n)
	for i := range messages {
		text := line(g, nil)
		raw := bytes.Join([][]byte{g.Header(nil), text}, nil)
		syslog.ParseHeader(raw, time.Now(), time.UTC, &messages[i])
	}
	return messages
}
