package peers

import (
	"slices"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// tracker remembers the counters of a table's keys from one update to the next. It is
// pure: what it knows is what it is shown. Times are of the monotonic clock.
//
// HAProxy sends each entry that is touched and none that goes. A lesson is all its
// entries, once: whoever is not in it is gone.
type tracker struct {
	max    int // keys
	shared bool
	expire time.Duration // of an entry that nobody touches; 0: never

	// The keys, each with a slot in the slices below; a freed slot has "" and is
	// taken again. first and last are the ends of the list of all slots in use, the
	// one that rests longest first.
	slots       map[string]int32
	names       []string
	seen        []sight
	counts      []uint64 // of slot s: [s*stride, (s+1)*stride)
	free        []int32
	first, last int32

	fields   []field
	order    []int // by field: which of the counters it is
	stride   int   // how many counters there are
	gauges   []int // indexes into fields
	measures []poll.Measure
	rates    []int    // by field: the rate that counts what a counter does; none
	young    []uint64 // by field: what a new key's counter has counted in s.Elapsed

	session uint32 // connections so far
	lesson  uint32 // lessons so far
	// connected is when this connection began, and began the first one since all was
	// forgotten.
	connected, began time.Duration
	dropped          bool // keys were removed because they rested
	live             bool // this connection's lesson has ended
	// known is when what every key had counted was known last; less than 0: never.
	// While a connection lives, that is now.
	known time.Duration
	// complete: at known, no key was there without a slot. One that is new now was not
	// there then.
	complete bool
	missed   bool // a key of this lesson found no slot

	// high are the counts of former connections above which a new worker began anew, by
	// slot, while it is open whether its old worker will teach it.
	high map[int32][]uint64
	// gap is the time since the former look at the key, here whether that was in this
	// connection, and open whether it was when an old worker could still teach.
	gap        time.Duration
	here, open bool

	untold uint64 // keys without a slot
	behind uint64 // counters of shared tables that went back
}

// sight is the former look at a key.
type sight struct {
	at              time.Duration
	expires         time.Duration // unless a stream tracks it
	session, lesson uint32
	id              uint32 // of the update
	prev, next      int32  // in the list
	active          bool
	held            bool // streams track the entry, as conn_cur says: it does not expire
}

// none is no slot.
const none = -1

// Bounds of time.
const (
	// justNow is the longest that a pushed change can be old, for its sample: HAProxy
	// sends at once what was touched, but a key may have rested for an hour before.
	justNow = time.Second
	// tick is the grain of HAProxy's clock; a delta's time is never less.
	tick = time.Millisecond
	// wrapMargin is how much a counter of 32 bits may grow from one look to the next
	// and be taken for one that began again at 0; as in poll.
	wrapMargin = 1 << 24
)

func newTracker(maxKeys int, shared bool) *tracker {
	t := &tracker{max: maxKeys, shared: shared}
	t.forget()
	return t
}

// forget makes the next look at every key the first one.
func (t *tracker) forget() {
	t.slots, t.high = map[string]int32{}, map[int32][]uint64{}
	t.names, t.seen, t.counts, t.free = nil, nil, nil, nil
	t.first, t.last = none, none
	t.known, t.complete, t.dropped = -1, false, false
	t.began, t.lesson = t.connected, min(t.lesson, 1)
}

// adopt takes a table's definition; what is remembered of another one is gone.
func (t *tracker) adopt(d *definition, same bool) {
	t.expire = d.expire
	if same {
		return
	}
	t.forget()
	t.fields, t.order, t.gauges, t.stride = d.fields, make([]int, len(d.fields)), nil, 0
	t.rates, t.young = slices.Repeat([]int{none}, len(d.fields)), make([]uint64, len(d.fields))
	for i, f := range d.fields {
		if f.counts >= 0 {
			t.rates[f.counts] = i
		}
		switch f.Kind {
		case runtimeapi.Counter:
			t.order[i] = t.stride
			t.stride++
		case runtimeapi.Gauge:
			t.gauges = append(t.gauges, i)
		}
	}
}

// connect begins a connection.
func (t *tracker) connect(now time.Duration) {
	t.session++
	t.connected, t.live = now, false
	if t.session == 1 {
		t.began = now
	}
}

// learn begins a lesson.
func (t *tracker) learn() {
	t.lesson++
	t.missed = false
}

// learned ends a lesson. A whole one showed every key there is; one of a HAProxy that
// is being taught itself did not.
func (t *tracker) learned(now time.Duration, whole bool) {
	if !whole {
		return
	}
	t.live, t.known, t.complete = true, now, !t.missed
	t.high = map[int32][]uint64{}
	for name, slot := range t.slots {
		if t.seen[slot].lesson != t.lesson {
			t.remove(name, slot)
		}
	}
}

// lost ends a connection that was heard last at a time.
func (t *tracker) lost(heard time.Duration) {
	if t.live {
		t.known = heard
	}
	t.live = false
}

// look is one update. s gets what it says; ok is whether there is anything to say.
// s.Measures is the tracker's own.
func (t *tracker) look(u *update, now time.Duration, s *poll.Sample) (ok bool) {
	slot, known := t.slots[string(u.key)]
	s.Elapsed, s.First, s.Restarted = 0, !known, false
	if !known {
		if slot, ok = t.add(u.key, now); !ok {
			t.untold++
			t.missed, t.complete = true, false
			s.Key, s.Measures = string(u.key), t.measure(u, none, s)
			return true
		}
	}
	s.Key = t.names[slot]
	before := t.seen[slot]
	t.gap, t.here, t.open = now-before.at, before.session == t.session, !t.live && before.at > t.known
	if known {
		s.Elapsed = t.since(&before, now)
		s.Restarted = t.reborn(u, slot, &before, now)
	} else {
		s.Elapsed = t.sinceBirth(u, now)
	}
	if s.Restarted {
		t.restart(slot)
	}
	s.Measures = t.measure(u, slot, s)
	active := busy(s)
	expires := now + t.expire
	if u.timed {
		expires = now + min(u.expire, t.expire)
	}
	t.touch(slot, sight{at: now, expires: expires, session: t.session, lesson: t.lesson, id: u.id, active: active, held: t.held(u)})
	// After a lesson HAProxy sends once more what it has counted itself.
	if again := known && before.session == t.session && before.id == u.id; again && quiet(s) {
		return false
	}
	return active || before.active
}

// of are the remembered counters of a slot.
func (t *tracker) of(slot int32) []uint64 {
	return t.counts[int(slot)*t.stride:][:t.stride]
}

// since is the time in which a known key's change happened: just now, or, while
// something of a break is still to be told, since what happened was known last.
func (t *tracker) since(before *sight, now time.Duration) time.Duration {
	switch {
	case !t.live && t.known >= 0:
		return max(now-t.known, tick)
	case t.here:
		return max(min(t.gap, justNow), tick)
	}
	return max(now-max(before.at, t.known), tick)
}

// sinceBirth is the same for a key that was not known; 0 if it may be an old one.
func (t *tracker) sinceBirth(u *update, now time.Duration) time.Duration {
	if t.shared {
		return 0
	}
	elapsed := max(now-t.known, tick)
	if t.live {
		elapsed = min(elapsed, justNow)
	}
	if t.complete && !t.contradicted(u, elapsed) {
		copy(t.young, u.values)
		return elapsed
	}
	if t.lesson <= 1 && u.timed {
		return 0 // what was there when the feed began
	}
	return t.youth(u, now)
}

// contradicted is whether an entry is older than a time: all that a young one has
// counted is still in its rates, and they began with it. Another one was tracked for
// longer than it was remembered here, or somebody wrote it.
func (t *tracker) contradicted(u *update, age time.Duration) bool {
	for i := range t.fields {
		f := &t.fields[i]
		if f.counts < 0 || u.values[f.counts] == 0 {
			continue
		}
		last := &u.recent[i]
		if last.within > age+tick || age <= f.Period && last.events < u.values[f.counts] {
			return true
		}
	}
	return false
}

// youth is what an entry of unknown age has counted lately, as its rates say, and the
// time of that; 0 for nothing. It does not go back to before the first connection, nor
// to what was told of a key that was removed.
func (t *tracker) youth(u *update, now time.Duration) (within time.Duration) {
	clear(t.young)
	limit := now - t.began
	if t.dropped {
		limit = min(limit, 2*t.expire)
	}
	for i := range t.fields {
		n, last := t.fields[i].counts, u.recent[i]
		if n < 0 || last.events == 0 || last.within > limit {
			continue
		}
		t.young[n] = min(last.events, u.values[n])
		within = max(within, last.within, tick)
	}
	return within
}

// reborn is whether a known key's entry expired since the former look and this is
// another one that has counted as much or more already. HAProxy does not tell. An
// entry that a stream tracks does not expire, so time alone proves nothing. That a
// rate holds all that its counter has counted, and all of it after the former look,
// proves it; that nobody tracked the entry does, too.
func (t *tracker) reborn(u *update, slot int32, before *sight, now time.Duration) bool {
	if t.shared || t.expire <= 0 || now <= before.expires {
		return false
	}
	last, proved := t.of(slot), false
	for i := range t.fields {
		n := t.fields[i].counts
		if n < 0 || last[t.order[n]] == 0 {
			continue
		}
		if u.recent[i].events < u.values[n] {
			return false
		}
		proved = proved || u.recent[i].within+tick < now-before.at
	}
	// While away, touches that kept it were not seen.
	return proved || len(t.gauges) > 0 && t.live && t.here && !before.held && now > before.expires+justNow
}

// held is whether streams track an entry.
func (t *tracker) held(u *update) bool {
	for _, i := range t.gauges {
		if u.values[i] > 0 {
			return true
		}
	}
	return false
}

// measure writes the measures, with deltas where the sample's time is known, and
// leaves the counters in the slot.
func (t *tracker) measure(u *update, slot int32, s *poll.Sample) []poll.Measure {
	t.measures = t.measures[:0]
	for i := range t.fields {
		m := poll.Measure{Column: t.fields[i].Column, Value: u.values[i]}
		switch m.Kind {
		case runtimeapi.Text:
			continue
		case runtimeapi.Counter:
			if slot == none {
				break
			}
			n := t.order[i]
			switch {
			case s.Elapsed <= 0:
			case s.First:
				m.Delta = t.young[i]
			default:
				m.Delta = t.delta(u, i, slot, s)
			}
			t.of(slot)[n] = m.Value
		}
		t.measures = append(t.measures, m)
	}
	return t.measures
}

// busy is whether anything goes on.
func busy(s *poll.Sample) bool {
	for i := range s.Measures {
		m := &s.Measures[i]
		if m.Delta > 0 || m.Value > 0 && (m.Kind == runtimeapi.Rate || m.Kind == runtimeapi.Gauge) {
			return true
		}
	}
	return false
}

// quiet is whether nothing was counted.
func quiet(s *poll.Sample) bool {
	for i := range s.Measures {
		if s.Measures[i].Delta > 0 {
			return false
		}
	}
	return true
}
