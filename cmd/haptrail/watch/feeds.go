package watch

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/runtimeapi/peers"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// Proxy is a HAProxy and its stick tables.
type Proxy struct {
	Name   string
	Socket string // of level operator
	Tables []string
	// Peers is how to listen to it as one of its peers; nil: its tables are polled.
	Peers *peers.Proxy
}

// FeedOptions are those of Feeds.
type FeedOptions struct {
	Proxies  []Proxy
	Interval time.Duration // of polls
	Load     float64       // poll.Options.Budget
	OnCall   OnCall
	// FaultAfter is how long a table may be unreadable before people are told. Default
	// a minute: a HAProxy that is started anew is none of their business.
	FaultAfter time.Duration

	Polls *poll.Metrics
	Peers *peers.Metrics
	Log   *slog.Logger
}

// Feeds bring a Watch what the stick tables of HAProxys count.
//
//	HAProxy --peers protocol--> feed --+--> Watch.Sample
//	HAProxy --show table------> poll --+
//	                 where there is no feed, or while it fails
type Feeds struct {
	FeedOptions
	watch  *Watch
	all    []*feed
	faults *oncall.Faults // owned by look
}

// feed is one HAProxy's.
type feed struct {
	Proxy
	client *runtimeapi.Client
	peers  *peers.Feed

	mu     sync.Mutex           // guards what follows
	polled map[string]time.Time // tables that polls stand in for, and until when they did; zero: they do
	poller *poll.Poller         // nil while nothing is polled
	joint  map[string]bool      // tables that other proxies fill, too; nil: not known
}

// The pauses of standing in, and of looking how it goes.
const (
	standInAfter = 3 * time.Second // that the peers do not tell of a table
	lookEvery    = 2 * time.Second
)

// NewFeeds makes them; nothing is read before Run.
func NewFeeds(o FeedOptions, w *Watch) (*Feeds, error) {
	o.FaultAfter = cmp.Or(o.FaultAfter, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Feeds{FeedOptions: o, watch: w, faults: oncall.NewFaults(o.OnCall, oncall.FaultStickTable, o.FaultAfter)}
	for _, p := range o.Proxies {
		// A poll rests in between for up to an interval.
		client, err := runtimeapi.New(p.Socket, runtimeapi.Options{Timeout: 10*time.Second + 2*o.Interval})
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", p.Name, err)
		}
		one := &feed{Proxy: p, client: client, polled: map[string]time.Time{}}
		if p.Peers != nil {
			one.peers, err = peers.New(*p.Peers, peers.Options{Metrics: o.Peers, Log: o.Log}, func(s poll.Sample) { f.push(one, s) })
			if err != nil {
				return nil, fmt.Errorf("proxy %s: %w", p.Name, err)
			}
		}
		if _, err := f.poller(one, one.Tables); err != nil {
			return nil, err
		}
		f.all = append(f.all, one)
	}
	return f, nil
}

// push takes a sample of the peers protocol. What happened while polls stood in they
// have told.
func (f *Feeds) push(one *feed, s poll.Sample) {
	if one.wasPolled(s.Table, s.At.Add(-s.Elapsed)) {
		return
	}
	s.Joint = one.isJoint(s.Table)
	f.watch.Sample(s)
}

// isJoint tells whether other proxies fill a table, too. As long as that is not known
// they may.
func (one *feed) isJoint(table string) bool {
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.joint == nil || one.joint[table]
}

// askJoint asks HAProxy who else fills its tables: the peers protocol does not say.
func (one *feed) askJoint(ctx context.Context) {
	shared, err := one.client.SharedTables(ctx)
	if err != nil {
		return // it is asked again
	}
	joint := map[string]bool{}
	for _, s := range shared {
		joint[s.Name] = slices.ContainsFunc(s.Others, func(peer string) bool { return peer != one.Peers.Local })
	}
	one.mu.Lock()
	one.joint = joint
	one.mu.Unlock()
}

func (f *Feeds) poller(one *feed, tables []string) (*poll.Poller, error) {
	proxy := poll.Proxy{Name: one.Name, Client: one.client, Tables: tables}
	if one.Peers != nil {
		proxy.Listeners = []string{one.Peers.Local}
	}
	return poll.New([]poll.Proxy{proxy}, poll.Options{
		Interval: f.Interval, MaxInterval: max(time.Minute, f.Interval), Budget: f.Load, Metrics: f.Polls, Log: f.Log,
	}, f.watch.Sample)
}

// Run reads until ctx ends.
func (f *Feeds) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, one := range f.all {
		if one.peers == nil {
			all.Go(func() { f.poll(ctx, one, one.Tables) })
			continue
		}
		all.Go(func() { _ = one.peers.Run(ctx) })
		all.Go(func() { f.standIn(ctx, one) })
	}
	all.Go(func() { f.look(ctx) })
	all.Wait()
	return nil
}

// poll polls tables of a HAProxy until ctx ends.
func (f *Feeds) poll(ctx context.Context, one *feed, tables []string) {
	poller, err := f.poller(one, tables)
	if err != nil {
		f.Log.Error("stick tables cannot be polled", "proxy", one.Name, "error", err) // NewFeeds made one before
		return
	}
	one.mu.Lock()
	one.poller = poller
	one.mu.Unlock()
	_ = poller.Run(ctx)
	one.mu.Lock()
	one.poller = nil
	one.mu.Unlock()
}

// standIn polls the tables that the peers protocol does not tell of: for a moment now
// and then, at a reload, or for good.
func (f *Feeds) standIn(ctx context.Context, one *feed) {
	var polls sync.WaitGroup
	defer polls.Wait()
	stop := func() {}
	defer func() { stop() }()
	polled, since, asked := []string{}, time.Now(), time.Time{}
	tick := time.NewTicker(standInAfter / 6)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if one.isJoint("") || time.Since(asked) > time.Minute { // not known yet, or a while ago
			asked = time.Now()
			one.askJoint(ctx)
		}
		status := one.peers.Status()
		untold := slices.DeleteFunc(slices.Clone(one.Tables), status.Covers)
		more := slices.ContainsFunc(untold, func(table string) bool { return !slices.Contains(polled, table) })
		switch {
		case slices.Equal(untold, polled):
			since = time.Now()
			continue
		case more && time.Since(since) < standInAfter:
			continue
		}
		stop()
		polls.Wait()
		f.Log.Info("stick tables that HAProxy does not tell of by the peers protocol are polled", "proxy", one.Name, "tables", untold, "problem", status.Problem)
		one.stands(untold)
		polled, since = untold, time.Now()
		polling, end := context.WithCancel(ctx)
		stop = end
		if len(untold) > 0 {
			polls.Go(func() { f.poll(polling, one, untold) })
		}
	}
}

// stands remembers which tables are polled, and until when others were.
func (one *feed) stands(tables []string) {
	one.mu.Lock()
	defer one.mu.Unlock()
	for table, until := range one.polled {
		if until.IsZero() {
			one.polled[table] = time.Now()
		}
	}
	for _, table := range tables {
		one.polled[table] = time.Time{}
	}
}

// wasPolled tells whether a table is polled, or was after a time.
func (one *feed) wasPolled(table string, after time.Time) bool {
	one.mu.Lock()
	defer one.mu.Unlock()
	until, known := one.polled[table]
	return known && (until.IsZero() || until.After(after))
}

// look tells the watch whether it sees, and people on call of tables that it does not
// see.
func (f *Feeds) look(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			f.lookOnce(now)
		}
	}
}

func (f *Feeds) lookOnce(now time.Time) {
	sees, identities := false, false
	var wrong []oncall.Fault
	for _, one := range f.all {
		problems := one.problems()
		for _, table := range one.Tables {
			problem, failed := problems[table]
			if f.watch.Tables[table].kind() == requestsOfIdentity {
				identities = true
				sees = sees || !failed
			}
			if failed {
				wrong = append(wrong, unreadable(one.Name, table, problem))
			}
		}
	}
	f.faults.Look(now, wrong)
	if identities {
		f.watch.Sees(sees, now)
	}
}

// problems are why tables cannot be read now, by table.
func (one *feed) problems() map[string]string {
	problems := map[string]string{}
	peered := ""
	if one.peers != nil {
		status := one.peers.Status()
		peered = cmp.Or(status.Problem, "HAProxy does not tell of it by the peers protocol")
		for _, table := range one.Tables {
			if !status.Covers(table) {
				problems[table] = peered
			}
		}
	}
	one.mu.Lock()
	poller := one.poller
	one.mu.Unlock()
	if poller == nil {
		return problems
	}
	for _, s := range poller.Status() {
		switch s.State {
		case poll.StateOK:
			delete(problems, s.Table)
		case poll.StateUnknown:
			problems[s.Table] = cmp.Or(problems[s.Table], "it was not read yet")
		default:
			problems[s.Table] = s.Problem
		}
	}
	return problems
}

// unreadable is that a table cannot be read.
func unreadable(proxy, table, problem string) oncall.Fault {
	return oncall.Fault{
		What: []string{proxy, table},
		Alert: alert.Alert{
			Severity: alert.Medium, Title: fmt.Sprintf("haptrail cannot read stick table %s of %s", table, proxy), Text: problem,
			Labels: map[string]string{"proxy": proxy, "table": table}, Command: "haptrail check",
		},
	}
}
