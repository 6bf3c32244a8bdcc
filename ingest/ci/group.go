package ci

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// group makes few inserts of many concurrent writes. One insert is on its way at a
// time; the facts of those who come meanwhile are the next one, which whoever of
// them is first begins when this one ends. Without others nobody waits.
//
//	caller, caller, caller --join--> forming --turn--> inserting --done--> each caller
//
// The goroutine of an insert ends before the last of its callers returns.
type group struct {
	insert func(ctx context.Context, facts []Fact) error
	limit  int           // facts of a batch: with so many it is full
	turn   chan struct{} // has an element while an insert is on its way

	mu      sync.Mutex
	forming *batch // nil while nobody waits
}

// batch is the facts of one insert.
type batch struct {
	begun chan struct{} // closed when no more may join: it is inserted, or given up
	done  chan struct{} // closed after err is set
	err   error

	// Of group.mu, until begun is closed; then facts are the insert's.
	facts   []Fact
	callers int // those who still wait for it
	cancel  context.CancelFunc
}

func newGroup(limit int, insert func(context.Context, []Fact) error) *group {
	return &group{insert: insert, limit: limit, turn: make(chan struct{}, 1)}
}

// apply returns when the facts are inserted, or ctx ends. More than a batch may
// hold are inserted one batch after another.
func (g *group) apply(ctx context.Context, facts []Fact) error {
	for part := range slices.Chunk(facts, g.limit) {
		b, err := g.join(ctx, part)
		if err == nil {
			err = g.wait(ctx, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// join adds facts to the batch that forms, once there is room in it.
func (g *group) join(ctx context.Context, facts []Fact) (*batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.mu.Lock()
		b := g.forming
		if b == nil {
			b = &batch{begun: make(chan struct{}), done: make(chan struct{})}
			g.forming = b
		}
		if len(b.facts) < g.limit { // no sum: those with many facts would wait for ever behind those with few
			b.facts = append(b.facts, facts...)
			b.callers++
			g.mu.Unlock()
			return b, nil
		}
		g.mu.Unlock()
		select {
		case <-b.begun:
		case <-ctx.Done():
		}
	}
}

// wait returns when a batch that was joined is inserted, and inserts it when its
// turn comes and nobody else did.
func (g *group) wait(ctx context.Context, b *batch) error {
	turn := g.turn
	for {
		select {
		case <-b.done:
			return b.err
		case turn <- struct{}{}:
			// Those who waited for the insert before are about to come with what they
			// have next. Without this it would be in the one after: half as many in each.
			runtime.Gosched()
			g.begin(ctx, b)
			turn = nil
		case <-ctx.Done():
			return g.leave(ctx, b)
		}
	}
}

// begin inserts a batch, unless that was done. The turn was taken for it. The insert
// is all callers': it goes on while one of them waits, with or without this one.
func (g *group) begin(ctx context.Context, b *batch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.forming != b {
		<-g.turn
		return
	}
	g.forming = nil
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	close(b.begun)
	go func() {
		b.err = g.insert(ctx, b.facts)
		b.cancel()
		<-g.turn
		close(b.done)
	}()
}

// leave is a caller's whose ctx has ended. The last one ends the insert, for whose
// outcome nobody waits, and sees it end.
func (g *group) leave(ctx context.Context, b *batch) error {
	g.mu.Lock()
	b.callers--
	last := b.callers == 0
	if last && g.forming == b {
		g.forming = nil
		close(b.begun) // those who waited for room form another
		g.mu.Unlock()
		return ctx.Err()
	}
	g.mu.Unlock()
	if last {
		b.cancel()
		<-b.done
		if b.err == nil {
			return nil
		}
	}
	return ctx.Err()
}
