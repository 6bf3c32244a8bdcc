package peers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// State is how a feed's connection is.
type State string

// The states.
const (
	StateUnknown  State = ""         // not connected yet
	StateLearning State = "learning" // connected; HAProxy tells what is there already
	StateOK       State = "ok"       // what is touched arrives
	StateFailed   State = "failed"   // no connection, and soon another attempt
)

// Status is how a feed goes.
type Status struct {
	Proxy string
	State State
	// Problem in one line with its mend: why State is StateFailed, or which tables do
	// not arrive though it is StateOK. Else "".
	Problem string
	// Since is when State became what it is, by Options.Now.
	Since time.Time
	// Entries are the keys that are remembered, of all tables, and Updates how many
	// came since the feed began.
	Entries int
	Updates uint64
	// Reconnects are the connections after the first one.
	Reconnects int
	// Tables that HAProxy announced and that were asked for, by name.
	Tables []TableStatus
}

// TableStatus is one table of a feed.
type TableStatus struct {
	// Name as in samples.
	Name string
	// Type of its keys, as runtimeapi.Table has it.
	Type string
	// Columns are its data types in the order of Sample.Measures, with texts.
	Columns []runtimeapi.Column
	// Expire is how long an entry stays that nobody touches; 0 for ever.
	Expire time.Duration
	// Shared is Proxy.Shared.
	Shared bool
	// Entries are its remembered keys, Updates how many came.
	Entries int
	Updates uint64
	// Problem says why no samples of it come; "" if they do.
	Problem string
}

// Covers is whether the samples of a table, by its name in samples, come now.
func (s Status) Covers(table string) bool {
	i := slices.IndexFunc(s.Tables, func(t TableStatus) bool { return t.Name == table && t.Problem == "" })
	return s.State == StateOK && i >= 0
}

// Status of the feed now. It may be called at any time.
func (f *Feed) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Tables = slices.Clone(s.Tables)
	return s
}

// change keeps a state with its problem, and tells of a new one.
func (f *Feed) change(state State, problem string) {
	tables := f.sorted()
	f.mu.Lock()
	other := f.status.State != state
	if other {
		f.status.State, f.status.Since = state, f.options.Now()
	}
	f.status.Problem = problem
	f.status.Reconnects = max(int(f.session)-1, 0)
	f.status.Tables = make([]TableStatus, len(tables))
	for i, t := range tables {
		f.status.Tables[i] = TableStatus{
			Name: t.name, Type: t.define.keyType, Columns: t.define.columns(), Expire: t.define.expire,
			Shared: t.shared, Problem: t.define.unread,
		}
	}
	f.mu.Unlock()
	f.tally()
	f.options.Metrics.state(f.proxy.Name, state)
	if !other {
		return
	}
	if state == StateOK {
		f.options.Log.Info("the peers feed is in step", "proxy", f.proxy.Name, "entries", f.Status().Entries, "problem", problem)
	}
	f.options.Change(f.Status())
}

// tally brings the numbers of the status and the metrics up to date.
func (f *Feed) tally() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Entries, f.status.Updates = 0, f.gone
	for _, t := range f.tables {
		f.status.Entries += t.keys.tracked()
		f.status.Updates += t.updates
		i, ok := slices.BinarySearchFunc(f.status.Tables, t.name, func(s TableStatus, name string) int { return strings.Compare(s.Name, name) })
		if ok {
			f.status.Tables[i].Entries, f.status.Tables[i].Updates = t.keys.tracked(), t.updates
		}
		f.options.Metrics.counted(f.proxy.Name, t)
	}
}

// complaint is what is to say of tables that do not arrive, and whether none does.
func (f *Feed) complaint() (text string, all bool) {
	var parts []string
	arrive := 0
	for _, t := range f.sorted() {
		if t.define.unread != "" {
			parts = append(parts, fmt.Sprintf("table %s cannot be read: %s", t.name, t.define.unread))
		} else {
			arrive++
		}
	}
	if names := f.missing(); len(names) > 0 {
		parts = append(parts, fmt.Sprintf(`HAProxy does not send table %s to its peers; add "peers SECTION" to the table's stick-table line, or correct the name`, strings.Join(names, ", ")))
	}
	if arrive == 0 && len(parts) == 0 {
		parts = append(parts, `HAProxy sends no table at all to its peers; add "peers SECTION" to the stick-table lines`)
	}
	return strings.Join(parts, "; "), arrive == 0
}

// statusSucceeded answers a greeting that is accepted; refusals are below.
const statusSucceeded = 200

// refusedError is a greeting that HAProxy did not accept (doc/peers-v2.0.txt,
// section II.2).
type refusedError struct{ code int }

func (e *refusedError) Error() string {
	return fmt.Sprintf("HAProxy refused the greeting with status %d", e.code)
}

// greetingError is a connection that ended before its status.
type greetingError struct{ err error }

func (e *greetingError) Error() string {
	if ended(e.err) {
		return "no status came: the connection was ended"
	}
	return "no status came: " + e.err.Error()
}

func (e *greetingError) Unwrap() error { return e.err }

// brokenError is HAProxy's own word that it did not understand.
type brokenError struct{ kind byte }

func (e *brokenError) Error() string {
	switch e.kind {
	case errorProtocol:
		return "HAProxy says that there was a protocol error"
	case errorSize:
		return "HAProxy says that a message was too long"
	}
	return fmt.Sprintf("HAProxy says that there was an error of type %d", e.kind)
}

// tablesError is a connection over which no table arrives.
type tablesError struct{ complaint string }

func (e *tablesError) Error() string { return e.complaint }

// errUntaught ends a connection that lives and tells nothing.
var errUntaught = errors.New("HAProxy does not tell what its tables hold, though it was asked to; reload it")

// outcome is the label of a connection's end.
func outcome(err error) string {
	var (
		refused  *refusedError
		greeting *greetingError
		broken   *brokenError
		tables   *tablesError
		op       *net.OpError
	)
	switch {
	case errors.As(err, &refused):
		return "refused"
	case errors.As(err, &tables):
		return "tables"
	case errors.As(err, &op) && op.Op == "dial":
		return "unreachable"
	case errors.Is(err, errMalformed), errors.Is(err, errUnheard), errors.As(err, &broken):
		return "malformed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errUntaught):
		return "silent"
	case errors.As(err, &greeting):
		return "refused"
	}
	return "closed"
}

// problem is the error with its mend, in one line.
func problem(f *Feed, err error) string {
	p := f.proxy
	var refused *refusedError
	var greeting *greetingError
	switch {
	case errors.As(err, &refused):
		return refused.mend(p)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("user %d may not open %s: %v", os.Geteuid(), p.Address, err)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf(`nobody listens on %s; start HAProxy with the line "peer %s %s" in its peers section, or correct the address`, p.Address, p.Remote, strings.Replace(p.Address, "unix:", "unix@", 1))
	case errors.Is(err, errMalformed) && !errors.As(err, &greeting):
		return fmt.Sprintf("what HAProxy sends is not understood: %v; is it newer than 3.4?", err)
	case errors.As(err, &greeting):
		return fmt.Sprintf("%v; is %s the address of HAProxy's own line in its peers section, without TLS?", err, p.Address)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("HAProxy was silent for %v, and it sends a heartbeat every 3s; is it stopped, or the network cut?", f.options.Timeout)
	case ended(err):
		return fmt.Sprintf("HAProxy ended the connection: it is reloaded or ends, or another client calls itself %s; give each its own line and name", p.Local)
	}
	return err.Error()
}

// ended is whether the other side ended the connection.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// mend says what a refusal means and what to do.
func (e *refusedError) mend(p Proxy) string {
	switch e.code {
	case 300:
		return fmt.Sprintf("%v: it is busy with another connection of %s; it is tried again", e, p.Local)
	case 501:
		return fmt.Sprintf("%v: it does not take this for the peers protocol; is %s the address of its own line in its peers section?", e, p.Address)
	case 502:
		return fmt.Sprintf("%v: it does not speak version 2.1 of the peers protocol; take HAProxy 2.6 or later", e)
	case 503:
		return fmt.Sprintf(`%v: its own name is not %q; set remote to the name in its "localpeer" line, of its option -L, or of its host`, e, p.Remote)
	case 504:
		return fmt.Sprintf(`%v: its peers section has no %q; add the line "peer %s 127.0.0.1:1" there, and reload it`, e, p.Local, p.Local)
	}
	return fmt.Sprintf("%v, which haptrail does not know; is it newer than 3.4?", e)
}
