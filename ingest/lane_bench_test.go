package ingest

import (
	"testing"
	"time"

	"github.com/haptrail/haptrail/bench/traffic"
	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/ingest/syslog"
	"github.com/haptrail/haptrail/schema"
)

// BenchmarkLane takes a message with its header already read to a row.
func BenchmarkLane(b *testing.B) {
	f, err := lf.Compile(traffic.Format, lf.Options{})
	if err != nil {
		b.Fatal(err)
	}
	const lines = 100_000
	start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	g := traffic.New(1, lines, start)
	messages := make([]syslog.Message, lines)
	bytes := 0
	for i := range messages {
		messages[i].Text = g.Line(nil)
		messages[i].Raw = messages[i].Text
		bytes += len(messages[i].Text)
	}
	l := newLane(Formats{Set: lf.NewSet(lf.Named{Name: "bench", Format: f}), Zone: time.UTC}, Keep{}, newClock(true, 8))
	l.begin(schema.NewRequestBlock())
	a := arrival{received: start.Add(time.Hour).UnixMicro(), source: []byte("tcp/127.0.0.1"), proxy: []byte("edge1")}
	b.SetBytes(int64(bytes / lines))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%lines == 0 {
			l.block.Reset()
			l.begin(l.block)
		}
		l.add(&a, &messages[i%lines])
	}
	if l.counts.outcome[Request] != b.N {
		b.Fatalf("%d of %d lines became rows: %v", l.counts.outcome[Request], b.N, l.counts.rejected)
	}
}
