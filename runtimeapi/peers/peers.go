package peers

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// Proxy is a HAProxy that is listened to as one of its peers.
type Proxy struct {
	// Name in samples, metrics and logs.
	Name string
	// Address of HAProxy's own line in its peers section: host:port, or unix:/PATH.
	Address string
	// Local is this feed's name: that of the other line there. No two feeds may use
	// one name at the same time: HAProxy ends the older connection.
	Local string
	// Remote is HAProxy's own name there: its "localpeer", its option -L, or its host
	// name.
	Remote string
	// Tables by name, as "show table" lists them. Others are acknowledged and dropped.
	// Default all; a table inside of the peers section is then "/table" in samples and
	// not "section/table", for HAProxy does not say its section.
	Tables []string
	// Shared are those of Tables, or of all, that another HAProxy fills, too: those of
	// a peers section with further lines. HAProxy does not tell; see poll.Sample.
	Shared []string
}

// Options of a Feed. The zero value has every default.
type Options struct {
	// MaxKeys bounds the keys of one table whose counters are remembered; beyond it a
	// sample has no delta. By estimate 180 bytes each, with 40 of key. Default
	// 1,000,000.
	MaxKeys int
	// Timeout is how long HAProxy may be silent, and a connection may take. HAProxy
	// sends a heartbeat every 3 s. Default 5s; at least 4s.
	Timeout time.Duration
	// MaxPause bounds the pauses between two connections, which grow from 50 ms.
	// Default 5s.
	MaxPause time.Duration
	// Change is told each new Status.State, in its order, from the goroutine that
	// calls sample. It may be nil.
	Change func(Status)

	// Log may be nil, and Metrics too.
	Log     *slog.Logger
	Metrics *Metrics
	// Now tells the time of samples. Default time.Now; that it jumps changes At alone.
	Now func() time.Time
}

// Bounds of the options.
const (
	minTimeout = 4 * time.Second
	minPause   = 50 * time.Millisecond
	// steady is how long a connection must have been well for the pauses to begin anew:
	// two feeds of one name would else end each other's connections without rest.
	steady = 5 * time.Second
	// maxTables of a HAProxy; its ids come from the other side.
	maxTables = 1024
)

// Feed is one HAProxy's changes as samples.
type Feed struct {
	proxy   Proxy
	options Options
	sample  func(poll.Sample)
	network string
	address string
	start   time.Time // the monotonic clock's zero
	types   []dataType

	// The goroutine of Run owns these.
	tables  map[string]*table // by HAProxy's name
	session uint32            // connections so far
	gone    uint64            // updates of tables that are no more
	logged  string            // how the last connection ended

	mu     sync.Mutex
	status Status
}

// New makes a feed. sample gets what changed, from the goroutine of Run. While it works
// nothing is read; HAProxy's own work does not wait for that, but when the buffers in
// between have been full for 5 s it ends the connection.
func New(p Proxy, o Options, sample func(poll.Sample)) (*Feed, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if sample == nil {
		return nil, fmt.Errorf("peers: there is nothing that takes the samples")
	}
	f := &Feed{proxy: p, options: o.withDefaults(), sample: sample, start: time.Now(), types: dataTypes(), tables: map[string]*table{}}
	f.network, f.address = "tcp", p.Address
	if path, ok := strings.CutPrefix(p.Address, "unix:"); ok {
		f.network, f.address = "unix", path
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	f.status = Status{Proxy: p.Name, Since: f.options.Now()}
	return f, nil
}

func (o Options) check() error {
	switch {
	case o.MaxKeys < 0 || o.MaxPause < 0:
		return fmt.Errorf("peers: max keys %d and max pause %v must not be negative", o.MaxKeys, o.MaxPause)
	case o.Timeout != 0 && o.Timeout < minTimeout:
		return fmt.Errorf("peers: timeout %v is below %v; HAProxy sends something only every 3s", o.Timeout, minTimeout)
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.MaxKeys = cmp.Or(o.MaxKeys, 1_000_000)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.MaxPause = max(cmp.Or(o.MaxPause, 5*time.Second), minPause)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Change == nil {
		o.Change = func(Status) {}
	}
	return o
}

// check refuses what HAProxy would, or would take for something else.
func (f *Feed) check() error {
	p := f.proxy
	if p.Name == "" {
		return fmt.Errorf("peers: a proxy needs a name")
	}
	for _, name := range []string{p.Local, p.Remote} {
		if name == "" || strings.ContainsAny(name, " \t\r\n\x00") {
			return fmt.Errorf("peers: proxy %s: %q is no name of a peer: local and remote are needed, without blanks", p.Name, name)
		}
	}
	if p.Local == p.Remote {
		return fmt.Errorf(`peers: proxy %s: local and remote are both %q; under its own name HAProxy takes a client for its old worker. Add a line "peer haptrail 127.0.0.1:1" to the peers section and set local to haptrail`, p.Name, p.Local)
	}
	if host, port, err := net.SplitHostPort(f.address); f.network == "tcp" && (err != nil || host == "" || port == "") {
		return fmt.Errorf("peers: proxy %s: address %q: want HOST:PORT or unix:/PATH, that of HAProxy's own line in its peers section", p.Name, p.Address)
	}
	if f.network == "unix" && !strings.HasPrefix(f.address, "/") {
		return fmt.Errorf("peers: proxy %s: address %q: want unix:/PATH, with the whole path", p.Name, p.Address)
	}
	for i, name := range p.Tables {
		if name == "" || slices.Contains(p.Tables[:i], name) {
			return fmt.Errorf("peers: proxy %s: table %q is empty or there twice", p.Name, name)
		}
	}
	for _, name := range p.Shared {
		if len(p.Tables) > 0 && !slices.Contains(p.Tables, name) {
			return fmt.Errorf("peers: proxy %s: shared table %q is not among its tables", p.Name, name)
		}
	}
	return nil
}

// Run listens until ctx ends, and connects again whenever the connection ends; then it
// returns nil. It is called once.
func (f *Feed) Run(ctx context.Context) error {
	pause := minPause
	for {
		began := time.Now()
		err := f.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if f.lost(err, began) {
			pause = minPause
		}
		// A half to one and a half of it, so that many feeds do not fall into step.
		timer := time.NewTimer(time.Duration((0.5 + rand.Float64()) * float64(pause)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		pause = min(2*pause, f.options.MaxPause)
	}
}

// once is one connection, from its beginning to its end.
func (f *Feed) once(ctx context.Context) error {
	dialer := net.Dialer{Timeout: f.options.Timeout}
	conn, err := dialer.DialContext(ctx, f.network, f.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	return newSession(f, conn).run()
}

// lost ends a connection, and is true if it had been well for a while.
func (f *Feed) lost(err error, began time.Time) (steadily bool) {
	former := f.Status()
	what := outcome(err)
	f.options.Metrics.ended(f.proxy.Name, what)
	text := problem(f, err)
	f.change(StateFailed, text)
	if former.State == StateOK || f.logged != what { // not every attempt
		f.options.Log.Warn("the peers feed is interrupted", "proxy", f.proxy.Name, "problem", text)
	}
	f.logged = what
	return former.State == StateOK && time.Since(began) > steady
}

// greeting is what a peer says first.
func (f *Feed) greeting() string {
	return fmt.Sprintf("HAProxyS 2.1\n%s\n%s %d 1\n", f.proxy.Remote, f.proxy.Local, os.Getpid())
}

// now is the monotonic clock.
func (f *Feed) now() time.Duration { return time.Since(f.start) }
