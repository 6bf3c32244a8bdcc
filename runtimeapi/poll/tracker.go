package poll

import (
	"slices"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// tracker remembers the counters of a table's keys from one look to the next. It is
// pure: what it knows is what it is shown. Times are of the monotonic clock.
type tracker struct {
	max int // keys

	// The keys, each with a slot in the slices below; a freed slot has "" and is
	// taken again.
	slots map[string]int32
	names []string
	seen  []sight
	last  []uint64 // of slot s: [s*stride, (s+1)*stride)
	free  []int32

	columns  []runtimeapi.Column
	counters []int // indexes into columns
	measures []Measure

	now   round
	count uint32 // rounds
	born  uint32 // the round that first saw this worker's table
	// told is up to when all that happened was told, by rounds that showed every key
	// or every active one, and had a slot for each; less than 0: no such time is known.
	// A key that is not known now was not there then, and of one that was not shown
	// since nothing had happened.
	told    time.Duration
	behind  uint64 // counters of shared tables that went back
	unknown uint64 // keys without a slot, in this round
}

// sight is the former look at a key.
type sight struct {
	at      time.Duration
	address uint64
	round   uint32
	active  bool
}

// round is one look at the table.
type round struct {
	at time.Duration
	// fresh: the worker is another one than at the last round, and its table began
	// empty.
	fresh bool
	// shared: peers fill the table, too. A counter may then stand for what happened
	// elsewhere or before.
	shared bool
	// filtered: keys that are not shown may be there.
	filtered bool
	// shows is for how long, in a filtered round, keys that did something are shown.
	shows time.Duration
}

func newTracker(maxKeys int) *tracker {
	return &tracker{max: maxKeys, slots: map[string]int32{}, told: -1}
}

// begin begins a round.
func (t *tracker) begin(r round) {
	if r.shared && !t.now.shared {
		t.forget() // what peers bring has nothing to do with what was here
	}
	t.now, t.unknown = r, 0
	t.count++
	if r.fresh {
		t.born = t.count
	}
}

// forget makes the next look at every key the first one.
func (t *tracker) forget() {
	t.slots, t.names, t.seen, t.last, t.free = map[string]int32{}, nil, nil, nil, nil
	t.told = -1
}

// look is one entry of the round. s gets what it says; ok is whether there is
// anything to say. s.Measures is the tracker's own.
func (t *tracker) look(e *runtimeapi.TableEntry, s *Sample) (ok bool) {
	t.adopt(e.Columns)
	slot, known := t.slots[string(e.Key)]
	if known && t.seen[slot].round == t.count {
		return false // removed and made anew during the dump: the next look has it all
	}
	s.Elapsed, s.First, s.Restarted = 0, !known, false
	if !known {
		if slot, ok = t.add(e.Key); !ok {
			t.unknown++
			s.Key, s.Measures = string(e.Key), t.measure(e, nil, s)
			return true
		}
	}
	s.Key = t.names[slot]
	last, before := t.last[int(slot)*len(t.counters):][:len(t.counters)], t.seen[slot]
	if known {
		s.Elapsed = t.now.at - max(before.at, t.told)
		s.Restarted = !t.now.shared && (before.round < t.born || before.address != e.Address)
	} else if t.told >= 0 && !t.now.shared {
		s.Elapsed = t.now.at - t.told
	}
	if s.Restarted {
		clear(last)
	}
	s.Measures = t.measure(e, last, s)
	active := busy(s)
	t.seen[slot] = sight{t.now.at, e.Address, t.count, active}
	return active || before.active
}

// measure writes the measures, with deltas from last where the sample's time is
// known, and leaves the counters in last.
func (t *tracker) measure(e *runtimeapi.TableEntry, last []uint64, s *Sample) []Measure {
	t.measures = t.measures[:0]
	n := 0
	for i := range e.Columns {
		m := Measure{Column: e.Columns[i], Value: e.Values[i]}
		switch m.Kind {
		case runtimeapi.Text:
			continue
		case runtimeapi.Counter:
			if last != nil {
				if s.Elapsed > 0 {
					m.Delta = t.delta(&m, last[n], s)
				}
				last[n] = m.Value
			}
			n++
		}
		t.measures = append(t.measures, m)
	}
	return t.measures
}

// wrapMargin is how much a counter of 32 bits may grow from one look to the next and
// be taken for one that began again at 0.
const wrapMargin = 1 << 24

// delta is the growth of one counter.
func (t *tracker) delta(m *Measure, last uint64, s *Sample) uint64 {
	if m.Value >= last {
		return m.Value - last
	}
	if wrapped := m.Value + 1<<32 - last; !m.Wide && last < 1<<32 && wrapped <= wrapMargin {
		return wrapped
	}
	// Peers write their own, perhaps older count over this one.
	if t.now.shared {
		t.behind++
		return 0
	}
	// Cleared or set back. That the others were not is possible: each is by itself.
	s.Restarted = true
	return m.Value
}

// busy is whether anything goes on.
func busy(s *Sample) bool {
	for i := range s.Measures {
		m := &s.Measures[i]
		if m.Delta > 0 || m.Value > 0 && (m.Kind == runtimeapi.Rate || m.Kind == runtimeapi.Gauge) {
			return true
		}
	}
	return false
}

// adopt takes other columns: what is remembered is not of them.
func (t *tracker) adopt(columns []runtimeapi.Column) {
	if len(columns) == len(t.columns) && (len(columns) == 0 || &columns[0] == &t.columns[0]) {
		return
	}
	if same := slices.Equal(columns, t.columns); same {
		t.columns = columns
		return
	}
	former := t.columns != nil
	t.columns, t.counters = columns, nil
	for i, c := range columns {
		if c.Kind == runtimeapi.Counter {
			t.counters = append(t.counters, i)
		}
	}
	if former {
		t.forget()
	}
}

// add gives a key a slot, if there is one.
func (t *tracker) add(key []byte) (slot int32, ok bool) {
	if len(t.slots) >= t.max {
		return 0, false
	}
	name := string(key)
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
		t.names[slot] = name
		clear(t.last[int(slot)*len(t.counters):][:len(t.counters)])
		t.seen[slot] = sight{}
	} else {
		slot = int32(len(t.names))
		t.names = append(t.names, name)
		t.seen = append(t.seen, sight{})
		for range t.counters {
			t.last = append(t.last, 0)
		}
	}
	t.slots[name] = slot
	return slot, true
}

// end ends a round that was read to its end: of an unfiltered one, what it did not
// show is gone. A round that was cut off is not ended; the next one goes on from it.
func (t *tracker) end() {
	if !t.now.filtered {
		for name, slot := range t.slots {
			if t.seen[slot].round != t.count {
				delete(t.slots, name)
				t.names[slot] = ""
				t.free = append(t.free, slot)
			}
		}
	}
	switch {
	case t.unknown > 0:
		t.told = -1
	case !t.now.filtered || t.told >= 0 && t.now.at-t.told < t.now.shows:
		t.told = t.now.at
	}
}

// tracked is the number of keys.
func (t *tracker) tracked() int { return len(t.slots) }
