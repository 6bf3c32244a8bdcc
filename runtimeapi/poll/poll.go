// Package poll reads stick tables again and again and says what happened to each
// key in between.
//
//	proxy --- one table at a time --> dump --> tracker --> Sample
//	              ^                    |  counters become deltas, per key
//	              +------ pace <-------+  what a dump costs sets the next interval
//
// A delta is never more than what was counted in the time that the sample names;
// where that cannot be known (the first look at a table, a key that came from a
// peer), there is none, and the next look has one. Two cases are beyond what a dump
// can tell: a counter that somebody sets ("set table") counts as traffic, and in a
// table that peers fill (Sample.Shared) so does what a peer counted. Rates and gauges
// are HAProxy's own and need no former look.
package poll

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// Client is what a poller asks; *runtimeapi.Client is one.
type Client interface {
	// Dump reads a table; see runtimeapi.Client.
	Dump(ctx context.Context, table string, f runtimeapi.Filter, v runtimeapi.Visitor) (runtimeapi.Dumped, error)
	// SharedTables tells the tables that peers fill, too.
	SharedTables(ctx context.Context) ([]runtimeapi.SharedTable, error)
}

// Proxy is a HAProxy and its tables.
type Proxy struct {
	// Name in samples, metrics and logs; unique.
	Name string
	// Client speaks to its stats socket, of level operator. Its timeout bounds a poll
	// with its rests: give it more than Options.Interval.
	Client Client
	// Tables by name, as "show table" lists them; each once.
	Tables []string
	// Listeners are the names in its peers section of those who fill no table, such as
	// package peers.
	Listeners []string
}

// Options of a Poller. The zero value has every default.
type Options struct {
	// Interval from the beginning of a poll to that of the next one. Each is up to a
	// tenth longer or shorter, so that tables and proxies do not fall into step.
	// Default 2s.
	Interval time.Duration
	// MaxInterval bounds what the budget makes of Interval. Default 60s; at least
	// Interval.
	MaxInterval time.Duration
	// Budget is the share of time that one table's dumps may take, above 0 and up to
	// 1: a dump is read with rests in between, which add up to at most Interval, and
	// one that takes longer than Budget x Interval without them makes the interval
	// longer. Default 0.2: 0.4 s of every 2 s.
	Budget float64
	// MaxStall is how long a thread of HAProxy may stand still for a filtered dump,
	// which does not yield while nothing matches; where a table is so large that it
	// would, there is no filter, only a longer interval. Default 50ms.
	MaxStall time.Duration
	// MaxKeys bounds the keys of one table whose counters are remembered; beyond it a
	// sample has no delta. By estimate 150 bytes each, with 40 of key. Default 1,000,000.
	MaxKeys int

	// Log may be nil, and Metrics too.
	Log     *slog.Logger
	Metrics *Metrics
	// Now tells the time of samples. Default time.Now; that it jumps changes At alone.
	Now func() time.Time
}

// Poller polls tables until it is told to end.
type Poller struct {
	options Options
	tables  []*tablePoll
	sample  func(Sample)
	start   time.Time // the monotonic clock's zero
}

// New makes a poller of these proxies; sample gets what it finds. Samples of one
// table come one after another, those of several at the same time; while sample
// works, HAProxy's dump waits.
func New(proxies []Proxy, o Options, sample func(Sample)) (*Poller, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	if sample == nil {
		return nil, fmt.Errorf("poll: there is nothing that takes the samples")
	}
	p := &Poller{options: o, sample: sample, start: time.Now()}
	seen := map[[2]string]bool{}
	for _, proxy := range proxies {
		if proxy.Name == "" || proxy.Client == nil || len(proxy.Tables) == 0 {
			return nil, fmt.Errorf("poll: proxy %q needs a name, a client and at least one table", proxy.Name)
		}
		turn := make(chan struct{}, 1)
		for _, name := range proxy.Tables {
			id := [2]string{proxy.Name, name}
			if seen[id] || name == "" {
				return nil, fmt.Errorf("poll: proxy %s: table %q is empty or there twice", proxy.Name, name)
			}
			seen[id] = true
			p.tables = append(p.tables, newTablePoll(p, proxy, name, turn))
		}
	}
	return p, nil
}

func (o Options) withDefaults() Options {
	o.Interval = cmp.Or(o.Interval, 2*time.Second)
	o.MaxInterval = cmp.Or(o.MaxInterval, max(time.Minute, o.Interval))
	o.Budget = cmp.Or(o.Budget, 0.2)
	o.MaxStall = cmp.Or(o.MaxStall, 50*time.Millisecond)
	o.MaxKeys = cmp.Or(o.MaxKeys, 1_000_000)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func (o Options) check() error {
	switch {
	case o.Interval < 0 || o.MaxStall < 0 || o.MaxKeys < 0:
		return fmt.Errorf("poll: interval %v, max stall %v and max keys %d must not be negative", o.Interval, o.MaxStall, o.MaxKeys)
	case o.MaxInterval < o.Interval:
		return fmt.Errorf("poll: max interval %v is below the interval %v", o.MaxInterval, o.Interval)
	case !(o.Budget > 0 && o.Budget <= 1):
		return fmt.Errorf("poll: budget %v is not above 0 and up to 1", o.Budget)
	}
	return nil
}

// Run polls every table until ctx ends, each by itself: one that cannot be read keeps
// none waiting but those of the same proxy, and these one poll at most. It returns
// nil when all have ended.
func (p *Poller) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, t := range p.tables {
		all.Go(func() { t.run(ctx) })
	}
	all.Wait()
	return nil
}

// Status is how a table's polling goes.
type Status struct {
	Proxy, Table string
	// State of the last poll; StateUnknown before the first one.
	State State
	// Problem in one line with its mend; "" where State is StateOK or StateUnknown.
	Problem string
	// Failures in a row.
	Failures int
	// Interval until the next poll, without jitter.
	Interval time.Duration
	// Filtered is whether the next poll asks only for the keys that are active.
	Filtered bool
	// Entries of the last poll, Used as the table's header said, and what it Took
	// without its rests.
	Entries, Used int
	Took          time.Duration
	// Tracked keys now.
	Tracked int
	// Shared is whether peers fill the table, too.
	Shared bool
}

// Status of every table, in the order of New.
func (p *Poller) Status() []Status {
	all := make([]Status, len(p.tables))
	for i, t := range p.tables {
		t.mu.Lock()
		all[i] = t.status
		t.mu.Unlock()
	}
	return all
}
