package watch

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/haptrail/haptrail/schema"
)

// Many callers with a denial each are bursts of none of them: a botnet that tries
// forged tokens, a rollout after which every job is denied. So the callers that a
// frontend denies something are counted too: each once, however much it asks, until it
// was denied nothing for five minutes. One caller's flood is one caller, and its own
// alert; what knocks every minute all year is one as well. A frontend is that of all
// proxies: those behind one balancer share an attack.

// caller is one at a frontend: an identity, or, of nobody's requests, an address.
type caller struct {
	frontend, issuer, subject string
	client                    netip.Addr
}

// callers remember who was denied something lately: in two generations, so that
// forgetting costs nothing and a log's wrong time does no harm.
type callers struct {
	max         int
	now, former map[caller]int64 // the latest second
}

func newCallers(most int) *callers { return &callers{max: most, now: map[caller]int64{}} }

// fresh takes down a caller's denial, and reports whether it had none for a while.
func (c *callers) fresh(who caller, second int64) bool {
	last, known := c.now[who]
	if !known {
		if last, known = c.former[who]; len(c.now) >= c.max {
			c.turn()
		}
	}
	c.now[who] = max(second, last)
	return !known || second-last >= schema.CallerForgotten
}

// turn forgets who was denied nothing since the turn before.
func (c *callers) turn() { c.former, c.now = c.now, map[caller]int64{} }

// denied has the detector of frontends know of a denial. The caller holds mu.
func (w *Watch) denied(d *schema.Denial) {
	if fresh := w.callers.fresh(caller{d.Frontend, d.Issuer, d.Subject, d.Client}, d.Second); fresh && w.judging {
		w.step(callersOfFrontend, d.Frontend, d.Second, 1)
	}
}

// forgetCallers takes turns, so that who was denied nothing for ten minutes is not
// remembered.
func (w *Watch) forgetCallers(ctx context.Context) {
	tick := time.NewTicker(schema.CallerForgotten * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.mu.Lock()
			w.callers.turn()
			w.mu.Unlock()
		}
	}
}

// recallCallers has those known that were denied something before the daemon was away:
// a scanner that never rests is not new after a restart.
func (w *Watch) recallCallers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	now := time.Now()
	err := w.Store.DeniedLast(ctx, now.Add(-callersSince), func(d *schema.Denial) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		who := caller{strings.Clone(d.Frontend), d.Issuer, d.Subject, d.Client}
		w.callers.now[who] = max(w.callers.now[who], now.Unix())
		return nil
	})
	if err != nil {
		w.Log.Warn("who is denied something all the time is not known from the tables, and counts as new", "error", err)
	}
}

// callersSince is how long the daemon may have been away for that.
const callersSince = 3 * 24 * time.Hour
