package poll

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// tablePoll is the polling of one table; its goroutine owns all but status.
type tablePoll struct {
	*Poller
	proxy string
	name  string
	deaf  []string // Proxy.Listeners
	ask   Client
	turn  chan struct{} // held while a table of this proxy is read
	keys  *tracker
	pace  pace
	plan  plan

	// The worker that answered last; zero before the first one.
	worker runtimeapi.Info
	shared bool // peers fill the table, or may
	joint  bool // other proxies are among them, or may be
	unsure bool // whether they do
	// The clocks at the last poll.
	wall time.Time
	mono time.Duration

	mu     sync.Mutex
	status Status
}

func newTablePoll(p *Poller, proxy Proxy, name string, turn chan struct{}) *tablePoll {
	o := p.options
	return &tablePoll{
		Poller: p, proxy: proxy.Name, name: name, deaf: proxy.Listeners, ask: proxy.Client, turn: turn,
		keys:   newTracker(o.MaxKeys),
		pace:   pace{interval: o.Interval, max: o.MaxInterval, budget: o.Budget, stall: o.MaxStall},
		plan:   plan{wait: o.Interval},
		status: Status{Proxy: proxy.Name, Table: name, Interval: o.Interval},
	}
}

// run polls until ctx ends. The first polls of all tables spread over an interval.
func (t *tablePoll) run(ctx context.Context) {
	wait := time.Duration(rand.Float64() * float64(t.options.Interval))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begin := time.Now()
		select {
		case <-ctx.Done():
			return
		case t.turn <- struct{}{}:
		}
		t.once(ctx)
		<-t.turn
		wait = time.Duration((0.9 + 0.2*rand.Float64()) * float64(t.plan.wait))
		// Never without a pause, however long the poll took or waited for its turn.
		timer.Reset(max(wait-time.Since(begin), t.options.Interval/10))
	}
}

// once polls, and plans the next poll.
func (t *tablePoll) once(ctx context.Context) {
	o := outcome{proxy: t.proxy, table: t.name, at: t.options.Now()}
	at := time.Since(t.start)
	o.jumped = t.jumped(o.at, at)
	filtered := len(t.plan.filter.Where) > 0
	behind := t.keys.behind
	begun := false // a round of the tracker
	rest := breaks{budget: t.options.Budget, left: t.options.Interval}
	s := Sample{Proxy: t.proxy, Table: t.name, At: o.at}
	dumped, err := t.ask.Dump(ctx, t.name, t.plan.filter, runtimeapi.Visitor{
		Head: func(worker runtimeapi.Info, _ runtimeapi.Table) error {
			if worker.Stopping {
				return errStopping
			}
			fresh := t.meet(ctx, worker, &o)
			t.keys.begin(round{at: at, fresh: fresh, shared: t.shared, filtered: filtered, shows: hides(t.pace.column)})
			begun, s.Shared, s.Joint = true, t.shared, t.joint
			rest.since = time.Now()
			return nil
		},
		Entry: func(e *runtimeapi.TableEntry) error {
			if t.keys.look(e, &s) {
				o.samples++
				t.sample(s)
			}
			return rest.entry(ctx)
		},
	})
	if ctx.Err() != nil {
		return // told to end, which is no failure
	}
	dumped.Took = max(dumped.Took-rest.rested, 0)
	o.took, o.entries, o.state = dumped.Took, dumped.Entries, stateOf(err)
	if begun {
		o.untold = t.keys.unknown
	}
	t.next(dumped, err, at, filtered, begun)
	o.behind, o.plan, o.tracked = t.keys.behind-behind, t.plan, t.keys.tracked()
	t.options.Metrics.polled(o)
	t.tell(o, dumped, err)
}

// next ends the round and plans the poll after it.
func (t *tablePoll) next(dumped runtimeapi.Dumped, err error, at time.Duration, filtered, begun bool) {
	switch {
	case err == nil && begun:
		t.keys.end()
		t.pace.measured(at, dumped.Took, filtered, dumped.Table.Used, dumped.Entries)
		if !filtered {
			t.pace.learn(t.keys.columns)
		}
		t.plan = t.pace.next(at, dumped.Table.Used)
	case filtered && (errors.Is(err, runtimeapi.ErrNotStored) || errors.Is(err, runtimeapi.ErrUnsupported) || errors.Is(err, runtimeapi.ErrRejected)):
		t.pace.refused = true // until another worker answers
		t.plan = t.pace.failed(dumped.Took)
	default:
		t.plan = t.pace.failed(dumped.Took)
	}
}

// meet looks at who answers, and returns whether the table began empty since the
// last poll.
func (t *tablePoll) meet(ctx context.Context, worker runtimeapi.Info, o *outcome) (fresh bool) {
	other := !same(t.worker, worker)
	o.reloaded = other && t.worker.PID != 0
	t.worker = worker
	if !other && !t.unsure {
		return false
	}
	shared, err := t.ask.SharedTables(ctx)
	// A worker that does not say it is asked again at the next poll; until then its
	// counters are taken for shared ones, which tells less and nothing false.
	t.unsure = err != nil
	t.shared, t.joint = t.unsure, t.unsure
	for _, s := range shared {
		if s.Name == t.name {
			t.shared = true
			t.joint = slices.ContainsFunc(s.Others, func(peer string) bool { return !slices.Contains(t.deaf, peer) })
		}
	}
	t.pace.refused = false
	return o.reloaded && !t.shared
}

// same is whether one worker gave both answers. In a container each new HAProxy may
// have the same PID.
func same(a, b runtimeapi.Info) bool {
	const started = "Start_time_sec"
	return a.PID == b.PID && a.Uptime <= b.Uptime && a.Fields[started] == b.Fields[started]
}

// jumped is whether the clock that people read went another way than time since
// the last poll.
func (t *tablePoll) jumped(wall time.Time, mono time.Duration) bool {
	// Without its own monotonic reading, which would hide the jump.
	wall = wall.Round(0)
	former, elapsed := t.wall, mono-t.mono
	t.wall, t.mono = wall, mono
	if former.IsZero() {
		return false
	}
	off := wall.Sub(former) - elapsed
	if off.Abs() <= time.Second {
		return false
	}
	t.options.Log.Warn("the clock jumped between two polls of a stick table; samples have the new time, and deltas the true elapsed one",
		"proxy", t.proxy, "table", t.name, "by", off)
	return true
}

// tell keeps the status, and logs what changed: a problem when it begins and when it
// is over.
func (t *tablePoll) tell(o outcome, dumped runtimeapi.Dumped, err error) {
	t.mu.Lock()
	former := t.status
	s := &t.status
	s.State, s.Problem = o.state, problem(o.state, err)
	s.Interval, s.Filtered = t.plan.wait, len(t.plan.filter.Where) > 0
	s.Entries, s.Used, s.Took, s.Tracked, s.Shared = dumped.Entries, dumped.Table.Used, dumped.Took, o.tracked, t.shared
	s.Failures++
	if o.state == StateOK {
		s.Failures = 0
	}
	now := *s
	t.mu.Unlock()

	log := t.options.Log.With("proxy", t.proxy, "table", t.name)
	switch {
	case now.State == StateOK && former.Failures > 0:
		log.Info("the stick table is read again", "failures", former.Failures)
	case now.State != StateOK && now.State != former.State:
		log.Warn("the stick table cannot be read", "state", string(now.State), "problem", now.Problem)
	}
	if o.reloaded {
		log.Info("another HAProxy worker answers", "pid", t.worker.PID, "shared", t.shared)
	}
	if now.Interval != former.Interval && now.State == StateOK && (now.Interval > 2*former.Interval || former.Interval > 2*now.Interval) {
		log.Info("the stick table is polled at another interval", "interval", now.Interval, "dump", now.Took, "entries", now.Entries)
	}
	if o.plan.over && former.Interval != now.Interval {
		log.Warn("the stick table costs more than its budget at the longest interval; make it smaller, raise the budget, or use the peers feed",
			"dump", now.Took, "entries", now.Entries, "interval", now.Interval)
	}
}
