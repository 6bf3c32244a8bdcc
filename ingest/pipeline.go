package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/ingest/syslog"
	"github.com/haptrail/haptrail/schema"
)

// Sink stores what the pipeline gathered. A method returns nil only when the
// rows are stored. After an error they may be stored all the same: the
// pipeline calls again with the same rows and the same id, and the sink must
// not store them twice. schema.Store is one.
type Sink interface {
	InsertRequests(context.Context, *schema.RequestBlock, schema.BlockID) error
	InsertRejects(context.Context, []schema.Reject, schema.BlockID) error
	InsertProxyEvents(context.Context, []schema.ProxyEvent, schema.BlockID) error
}

// Formats are the log formats that lines are tried against.
type Formats struct {
	Set *lf.Set
	// Zone is that of the times which HAProxy's own messages begin with.
	Zone *time.Location
	// RequestHeaders and ResponseHeaders name the captured headers in order,
	// where they are known: those that hold credentials are not stored.
	RequestHeaders, ResponseHeaders []string
}

// Config are the pipeline's settings. Zero values mean the defaults.
type Config struct {
	Formats Formats
	Keep    Keep
	// FlushRows seals a block at so many rows. Default 100,000.
	FlushRows int
	// FlushBytes seals a block at so many bytes of lines. Default 64 MiB.
	FlushBytes int
	// FlushAge seals a block so long after its first line. Default 1 s.
	FlushAge time.Duration
	// Lanes is how many blocks fill side by side. Default one a core.
	Lanes int
	// StrangeDays is how many days in the future, and in the far past, are
	// stored within a day. Default 8.
	StrangeDays int
	// Denied is told the reason of every request that the gate turned away, as it
	// is logged. It must neither block nor keep the bytes. May be nil.
	Denied func(reason []byte)
	// Stored is told each block that the sink has taken, in the order of their
	// inserts and before the next one. It must not keep the block. May be nil.
	Stored func(*schema.RequestBlock)
}

func (c *Config) setDefaults() {
	setDefault(&c.FlushRows, 100_000)
	setDefault(&c.FlushBytes, 64<<20)
	setDefault(&c.FlushAge, time.Second)
	setDefault(&c.Lanes, runtime.GOMAXPROCS(0))
	setDefault(&c.StrangeDays, DefaultStrangeDays)
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Pipeline takes messages from syslog listeners to a sink. It is a
// syslog.Handler.
type Pipeline struct {
	cfg     Config
	sink    Sink
	metrics *Metrics
	log     *slog.Logger

	lanes []*lockedLane // reliable sources, by number
	lossy *lockedLane   // sources that can't wait: it never blocks

	free  chan *schema.RequestBlock // empty blocks: their number bounds the memory
	queue chan sealed               // what waits for its insert
	done  chan struct{}             // closed when the queue's reader has ended

	clock   *clock
	failing atomic.Bool  // the last insert failed: for readiness
	held    atomic.Int64 // rows in memory: taken and not yet stored
	sources sources
}

// lockedLane is a lane that several sources share.
type lockedLane struct {
	mu sync.Mutex
	lane
}

// spareBlocks are blocks beyond the lanes': one in the queue, one being inserted.
const spareBlocks = 2

// New builds a pipeline. Nothing runs until Run.
func New(cfg Config, sink Sink, metrics *Metrics, log *slog.Logger) *Pipeline {
	cfg.setDefaults()
	p := &Pipeline{
		cfg: cfg, sink: sink, metrics: metrics, log: log,
		free:  make(chan *schema.RequestBlock, cfg.Lanes+1+spareBlocks),
		queue: make(chan sealed, spareBlocks),
		done:  make(chan struct{}),
		clock: newClock(true, cfg.StrangeDays),
	}
	for range cap(p.free) {
		p.free <- schema.NewRequestBlock()
	}
	for range cfg.Lanes {
		p.lanes = append(p.lanes, p.newLane())
	}
	p.lossy = p.newLane()
	return p
}

func (p *Pipeline) newLane() *lockedLane {
	l := &lockedLane{lane: *newLane(p.cfg.Formats, p.cfg.Keep, p.clock)}
	l.denied = p.cfg.Denied
	l.begin(<-p.free)
	return l
}

// Handle takes the messages of one read: syslog.Handler.
func (p *Pipeline) Handle(src *syslog.Source, received time.Time, batch []syslog.Message) {
	l := p.laneOf(src)
	label := p.sources.label(src)
	now := received.UnixMicro()
	taken := 0
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		if l.full(p.cfg.FlushRows, p.cfg.FlushBytes) && !p.seal(l, !src.Lossy) {
			l.counts.dropped += len(batch) - i
			break
		}
		a := arrivalOf(&batch[i], label, now)
		if l.add(&a, &batch[i]) == Request {
			taken++
		}
	}
	p.held.Add(int64(taken))
	p.count(src.Transport, l)
}

// Reject takes bytes that are no message: syslog.Handler.
func (p *Pipeline) Reject(src *syslog.Source, received time.Time, reason string, raw []byte) {
	l := p.laneOf(src)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first.IsZero() {
		l.first = received
	}
	a := arrival{received: received.UnixMicro(), source: p.sources.label(src)}
	l.counts.outcome[l.reject(&a, reason, 0, raw)]++
	p.count(src.Transport, l)
}

func (p *Pipeline) laneOf(src *syslog.Source) *lockedLane {
	if src.Lossy {
		return p.lossy
	}
	return p.lanes[src.Number%uint64(len(p.lanes))]
}

// count moves a lane's counts into the metrics.
func (p *Pipeline) count(transport string, l *lockedLane) {
	c := &l.counts
	for outcome, name := range [...]string{"request", "event", "rejected"} {
		if c.outcome[outcome] > 0 {
			p.metrics.lines.WithLabelValues(transport, name).Add(float64(c.outcome[outcome]))
		}
	}
	if c.dropped > 0 {
		p.metrics.lines.WithLabelValues(transport, "dropped").Add(float64(c.dropped))
	}
	p.metrics.bytes.WithLabelValues(transport).Add(float64(c.bytes))
	p.metrics.notKept.Add(float64(c.notKept))
	for i, n := range c.marked {
		if n > 0 {
			p.metrics.marked.WithLabelValues(markNames[i]).Add(float64(n))
		}
	}
	for reason, n := range c.rejected {
		p.metrics.rejects.WithLabelValues(reason).Add(float64(n))
	}
	clear(c.rejected)
	*c = counts{rejected: c.rejected}
}

// seal queues the lane's block and gives it an empty one. It waits for both
// where wait is set; otherwise it returns false when either is not to be had.
// The caller holds the lane.
func (p *Pipeline) seal(l *lockedLane, wait bool) bool {
	var next *schema.RequestBlock
	select {
	case next = <-p.free:
	default:
		if !wait {
			return false
		}
		next = <-p.free
	}
	l.id = schema.NewBlockID()
	if wait {
		p.queue <- l.sealed
	} else {
		select {
		case p.queue <- l.sealed:
		default:
			p.free <- next
			return false
		}
	}
	p.metrics.queue.Set(float64(len(p.queue)))
	l.begin(next)
	return true
}

// Run seals blocks by age and inserts what is queued, until ctx ends. It then
// returns at once: Drain stores the rest.
func (p *Pipeline) Run(ctx context.Context) error {
	go p.insertAll()
	tick := time.NewTicker(max(p.cfg.FlushAge/10, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			p.sealOld(now)
		}
	}
}

func (p *Pipeline) sealOld(now time.Time) {
	for _, l := range p.allLanes() {
		if !l.mu.TryLock() {
			continue // it is being filled; the next tick will do
		}
		if !l.empty() && now.Sub(l.first) >= p.cfg.FlushAge {
			p.seal(l, false)
		}
		l.mu.Unlock()
	}
}

// Drain seals what the lanes hold and returns when everything is stored, or
// when ctx ends: then the error says how many rows were given up. No listener
// may call Handle any more, and Run must have been called.
func (p *Pipeline) Drain(ctx context.Context) error {
	go func() {
		for _, l := range p.allLanes() {
			l.mu.Lock()
			if !l.empty() {
				p.seal(l, true)
			}
			l.mu.Unlock()
		}
		close(p.queue)
	}()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		lost := p.held.Load()
		p.metrics.lost.Add(float64(lost))
		return fmt.Errorf("ingest: %d rows are lost: the engine did not take them in time: %w", lost, ctx.Err())
	}
}

// Reload changes how further lines are read.
func (p *Pipeline) Reload(formats Formats, keep Keep) {
	for _, l := range p.allLanes() {
		l.mu.Lock()
		l.read(formats, keep)
		l.mu.Unlock()
	}
}

func (p *Pipeline) allLanes() []*lockedLane {
	return append(p.lanes[:len(p.lanes):len(p.lanes)], p.lossy)
}

// Failing tells whether the last insert failed: the pipeline is not ready.
func (p *Pipeline) Failing() bool { return p.failing.Load() }

func (p *Pipeline) insertAll() {
	defer close(p.done)
	for s := range p.queue {
		p.metrics.queue.Set(float64(len(p.queue)))
		p.insert(s)
		s.block.Reset()
		p.free <- s.block
	}
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
	// insertTimeout bounds one try; a longer one is tried again under the same id.
	insertTimeout = 2 * time.Minute
)

// insert tries until the sink has taken everything: while it does not, the
// lanes fill up and senders wait, so that nothing is lost but what datagrams
// drop.
func (p *Pipeline) insert(s sealed) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		start := time.Now()
		err := store(context.Background(), p.sink, &s)
		p.failing.Store(err != nil)
		if err == nil {
			p.metrics.insert.Observe(time.Since(start).Seconds())
			p.held.Add(-int64(s.block.Rows()))
			p.metrics.stored.Add(float64(s.block.Rows()))
			p.metrics.blockRows.Observe(float64(s.block.Rows()))
			p.metrics.blockAge.Observe(time.Since(s.first).Seconds())
			if p.cfg.Stored != nil {
				p.cfg.Stored(s.block)
			}
			return
		}
		p.metrics.insertErrs.Inc()
		p.log.Error("insert failed, trying again", "block", s.id, "rows", s.block.Rows(), "wait", wait, "error", err)
		time.Sleep(wait)
	}
}

// store writes what belongs to a block. Each part is deduplicated under the
// block's id, so that all of it can be tried again.
func store(ctx context.Context, sink Sink, s *sealed) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	return errors.Join(
		sink.InsertRequests(ctx, s.block, s.id),
		sink.InsertRejects(ctx, s.rejects, s.id),
		sink.InsertProxyEvents(ctx, s.events, s.id),
	)
}
