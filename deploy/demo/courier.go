package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Webhooks tells what came of the webhooks of the runs.
type Webhooks struct {
	Sent  int // deliveries that haptrail took
	Again int // of them, sent a second time
	Late  int // of them, sent by TellLate
	Lost  int // never sent
}

// hookKind says what becomes of the webhooks of a job's run.
type hookKind int

const (
	onTime hookKind = iota
	late            // they wait until TellLate: the job's requests are long over
	twice           // somebody presses "redeliver"
	lost            // they get nowhere: only a poll finds the run
)

// courier delivers the webhooks of one job's run, beside the job.
type courier struct {
	ci     *CI
	kind   hookKind
	source string // URL of haptrail's receiver for the job's provider
	held   []webhook

	going  sync.WaitGroup
	mu     sync.Mutex
	result Webhooks // guarded by mu
	told   bool     // likewise: haptrail has heard of the run
	faults []error  // likewise
}

// tell puts the run, and sends what its server has to say of it.
func (c *courier) tell(ctx context.Context, r ciRun) {
	hooks := c.ci.servers[r.provider].put(r)
	switch {
	case c.source == "":
	case c.kind == lost:
		c.mu.Lock()
		c.result.Lost += len(hooks)
		c.mu.Unlock()
	case c.kind == late:
		c.held = append(c.held, hooks...)
	default:
		c.send(ctx, hooks)
	}
}

// release sends what was held back.
func (c *courier) release(ctx context.Context) {
	hooks := c.held
	c.held = nil
	c.send(ctx, hooks)
}

// send delivers each webhook once, or twice, in the background: they may overtake
// each other, as webhooks do.
func (c *courier) send(ctx context.Context, hooks []webhook) {
	times := 1
	if c.kind == twice {
		times = 2
	}
	for _, hook := range hooks {
		c.going.Go(func() {
			for n := range times {
				c.note(ctx, n)(hook(ctx, c.ci.client, c.source))
			}
		})
	}
}

// note counts one delivery by its answer.
func (c *courier) note(ctx context.Context, n int) func(status int, err error) {
	return func(status int, err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case ctx.Err() != nil: // the demo is over: what was under way does not count
		case err != nil:
			c.faults = append(c.faults, fmt.Errorf("webhook to %s: %w", c.source, err))
		case status/100 != 2:
			c.faults = append(c.faults, fmt.Errorf("webhook to %s: want status 2xx, have %d", c.source, status))
		default:
			c.told = true
			c.result.Sent++
			if n > 0 {
				c.result.Again++
			}
			if c.kind == late {
				c.result.Late++
			}
		}
	}
}

// wait returns when every delivery was answered or given up, with what went wrong.
func (c *courier) wait() (result Webhooks, told bool, err error) {
	c.going.Wait()
	return c.result, c.told, errors.Join(c.faults...)
}

// add sums up.
func (w *Webhooks) add(other Webhooks) {
	w.Sent += other.Sent
	w.Again += other.Again
	w.Late += other.Late
	w.Lost += other.Lost
}
