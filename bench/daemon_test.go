package bench

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haptrail/haptrail/ingest"
	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/ingest/syslog"
	"github.com/haptrail/haptrail/schema"
)

// daemon is what `haptrail serve` runs, in this process: a listener and the
// pipeline behind it.
type daemon struct {
	b        *testing.B
	listener *syslog.Listener
	handler  syslog.Handler
	pipeline *ingest.Pipeline // nil where frames are only counted
	registry *prometheus.Registry

	endServe, endRun context.CancelFunc
	served, ran      chan error
}

// startDaemon listens on address and hands what comes to a pipeline into sink.
func startDaemon(b *testing.B, address string, sink ingest.Sink) *daemon {
	b.Helper()
	d := &daemon{b: b, registry: prometheus.NewRegistry(), ran: make(chan error, 1)}
	d.pipeline = newPipeline(b, traffic525(b), sink, d.registry)
	run, endRun := context.WithCancel(context.Background())
	d.endRun = endRun
	go func() { d.ran <- d.pipeline.Run(run) }()
	d.handler = d.pipeline
	d.listen(address)
	return d
}

// startCounter listens on address and counts messages.
func startCounter(b *testing.B, address string, c *counter) *daemon {
	b.Helper()
	d := &daemon{b: b, registry: prometheus.NewRegistry(), handler: c}
	d.listen(address)
	return d
}

func (d *daemon) listen(address string) {
	d.b.Helper()
	var err error
	d.listener, err = syslog.Listen(syslog.Config{Name: "bench", Address: address},
		syslog.Deps{Logger: newLogger(), Metrics: syslog.NewMetrics(d.registry)})
	if err != nil {
		d.b.Fatal(err)
	}
	serve, endServe := context.WithCancel(context.Background())
	d.endServe, d.served = endServe, make(chan error, 1)
	go func() { d.served <- d.listener.Serve(serve, d.handler) }()
}

func (d *daemon) addr() string { return d.listener.Addr().String() }

// drain stops the daemon the way SIGTERM does: afterwards everything that was
// sent is in the sink.
func (d *daemon) drain() {
	d.b.Helper()
	d.endServe()
	if err := <-d.served; err != nil {
		d.b.Error(err)
	}
	if d.pipeline == nil {
		return
	}
	d.endRun()
	if err := <-d.ran; err != nil {
		d.b.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.pipeline.Drain(ctx); err != nil {
		d.b.Error(err)
	}
}

// metric is the sum of a counter or gauge of the daemon over its labels.
func (d *daemon) metric(name string) (sum float64) {
	families, err := d.registry.Gather()
	if err != nil {
		d.b.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func newPipeline(b *testing.B, set *lf.Set, sink ingest.Sink, r prometheus.Registerer) *ingest.Pipeline {
	b.Helper()
	formats := ingest.Formats{Set: set, Zone: time.UTC}
	return ingest.New(ingest.Config{Formats: formats}, sink, ingest.NewMetrics(r), newLogger())
}

// newLogger tells of errors; a warning would stand amid the figures.
func newLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// traffic525 is the format of the 525-byte lines.
func traffic525(b *testing.B) *lf.Set {
	b.Helper()
	return compiled(b, variants[0].name, variants[0].format)
}

func compiled(b *testing.B, name, format string) *lf.Set {
	b.Helper()
	f, err := lf.Compile(format, lf.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return lf.NewSet(lf.Named{Name: name, Format: f})
}

// counter is a syslog.Handler that counts.
type counter struct{ messages, rejects atomic.Int64 }

func (c *counter) Handle(_ *syslog.Source, _ time.Time, batch []syslog.Message) {
	c.messages.Add(int64(len(batch)))
}

func (c *counter) Reject(*syslog.Source, time.Time, string, []byte) { c.rejects.Add(1) }

// countingSink counts the rows of requests that next took.
type countingSink struct {
	ingest.Sink
	rows atomic.Int64
}

func (s *countingSink) InsertRequests(ctx context.Context, b *schema.RequestBlock, id schema.BlockID) error {
	err := s.Sink.InsertRequests(ctx, b, id)
	if err == nil {
		s.rows.Add(int64(b.Rows()))
	}
	return err
}

// discard is an ingest.Sink that forgets.
type discard struct{}

func (discard) InsertRequests(context.Context, *schema.RequestBlock, schema.BlockID) error {
	return nil
}
func (discard) InsertRejects(context.Context, []schema.Reject, schema.BlockID) error { return nil }
func (discard) InsertProxyEvents(context.Context, []schema.ProxyEvent, schema.BlockID) error {
	return nil
}
