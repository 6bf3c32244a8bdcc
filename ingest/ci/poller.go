package ci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Cursors remembers how far each source was polled, over restarts.
type Cursors interface {
	// Load returns what was saved last for a source, "" if nothing was.
	Load(ctx context.Context, source string) (string, error)
	// Save is called when all facts before the cursor are stored.
	Save(ctx context.Context, source, cursor string) error
}

// Times of a Poller.
const (
	pollInterval = time.Minute
	pollBack     = 24 * time.Hour
	maxBackoff   = 5 * time.Minute // so that a gap is closed soon after its cause is gone
)

// Poller asks CI servers for what no webhook told. Sources, Store and Cursors are
// needed; the rest may be left out.
type Poller struct {
	Sources map[string]Source
	Store   Store
	Cursors Cursors

	// Interval is between the end of a poll and the next. After failures it doubles,
	// to 5 min, or is what the server wants (LimitError). Default 1 min.
	Interval time.Duration
	// Back is how far back the first poll of a source goes, from when Run begins.
	// Default 24 h.
	Back time.Duration

	Metrics *Metrics
	Log     *slog.Logger
}

// Run polls every source until ctx ends, each by itself: one that is down or slow
// keeps none waiting. It returns nil, when all are done.
func (p *Poller) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for name, source := range p.Sources {
		poll := &sourcePoll{Poller: p, name: name, source: source, since: time.Now().Add(-cmp.Or(p.Back, pollBack)).UTC()}
		all.Go(func() { poll.run(ctx) })
	}
	all.Wait()
	return nil
}

// sourcePoll is the polling of one source; its goroutine owns it.
type sourcePoll struct {
	*Poller
	name   string
	source Source
	// since stays the same while the source cannot be reached for the first time,
	// however long that takes.
	since  time.Time
	loaded bool
	cursor string
	failed int       // polls in a row
	down   time.Time // since when
}

func (p *sourcePoll) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		p.Metrics.polled(p.name, err, time.Now())
		timer := time.NewTimer(p.next(err))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// once is one poll: facts first, then the cursor. A crash between the two brings
// the facts again, which changes nothing; the other way round it would lose them.
func (p *sourcePoll) once(ctx context.Context) error {
	if !p.loaded {
		cursor, err := p.Cursors.Load(ctx, p.name)
		if err != nil {
			return fmt.Errorf("%w: cursor: %w", errStore, err)
		}
		p.cursor, p.loaded = cursor, true
	}
	facts, next, failure := p.source.Poll(ctx, p.since, p.cursor)
	if len(facts) > 0 {
		if err := p.Store.Apply(ctx, facts); err != nil {
			return errors.Join(fmt.Errorf("%w: %w", errStore, err), failure)
		}
		p.Metrics.stored(p.name, facts)
	}
	if next == "" || next == p.cursor {
		return failure
	}
	if err := p.Cursors.Save(ctx, p.name, next); err != nil {
		// not used either: what is remembered and what is used are the same
		return errors.Join(fmt.Errorf("%w: cursor: %w", errStore, err), failure)
	}
	p.cursor = next
	return failure
}

// next is how long to wait after a poll, and says what there is to say.
func (p *sourcePoll) next(err error) time.Duration {
	interval := cmp.Or(p.Interval, pollInterval)
	if err == nil {
		if p.failed > 0 {
			p.log().Info("the CI server answers again; what it did meanwhile is fetched", "source", p.name, "polls_failed", p.failed, "down", time.Since(p.down).Round(time.Second))
		}
		p.failed = 0
		return interval
	}
	if p.failed == 0 {
		p.down = time.Now()
	}
	p.failed++
	wait := min(interval<<min(p.failed, 8), max(maxBackoff, interval))
	if limit := new(LimitError); errors.As(err, &limit) && limit.After > 0 {
		wait = max(limit.After, interval)
	}
	level := slog.LevelWarn
	if errors.Is(err, ErrRefused) || errors.Is(err, ErrUnsupported) {
		level = slog.LevelError // a person has to mend it
	}
	p.log().Log(context.Background(), level, "the CI server was not polled to the end", "source", p.name, "again_in", wait, "error", err)
	return wait
}

func (p *Poller) log() *slog.Logger {
	if p.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Log
}
