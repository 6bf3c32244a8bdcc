package poll

import (
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// Sample is what one look at a key found. A key that does nothing, and did nothing
// when it was looked at before, has none.
type Sample struct {
	Proxy, Table string
	// Key unescaped; see runtimeapi.TableEntry.
	Key string
	// At is the beginning of the poll, by this machine's clock.
	At time.Time
	// Elapsed is the time in which the deltas were counted, by the monotonic clock;
	// 0: there are none.
	Elapsed time.Duration
	// First is true for a key that was not known.
	First bool
	// Restarted is true for an entry that was made anew since the former look (it
	// expired, was cleared, or HAProxy was reloaded), or a counter of which was set
	// back: such a counter's delta is what it has counted since, which may be less
	// than all that happened.
	Restarted bool
	// Shared is true where peers fill the table, too. A peer's count replaces the own
	// one, so that a delta may have happened elsewhere or, once, earlier; rates are
	// better judged there.
	Shared bool
	// Joint is true where other proxies are among those peers: each of them has all
	// that is counted. Without them, Shared means that a reload keeps what was counted.
	Joint bool
	// Measures are the data types in the table's order, texts left out. The slice is
	// overwritten by the next sample.
	Measures []Measure
}

// Measure is one data type.
type Measure struct {
	runtimeapi.Column
	// Value as HAProxy holds it: of a rate the events in the last Period.
	Value uint64
	// Delta of a counter: how much it grew in Sample.Elapsed.
	Delta uint64
}

// Measure of that name; ok is false if the table does not store it.
func (s *Sample) Measure(name string) (m Measure, ok bool) {
	for i := range s.Measures {
		if s.Measures[i].Name == name {
			return s.Measures[i], true
		}
	}
	return Measure{}, false
}
