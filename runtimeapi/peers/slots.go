package peers

import "time"

// add gives a key a slot, if there is one: a table's dead keys leave it first.
func (t *tracker) add(key []byte, now time.Duration) (slot int32, ok bool) {
	// Two for each new one, so that the dead become fewer and no call takes long.
	for range 2 {
		t.dropOldest(now)
	}
	if len(t.slots) >= t.max {
		return none, false
	}
	name := string(key)
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
		t.names[slot] = name
		clear(t.of(slot))
	} else {
		slot = int32(len(t.names))
		t.names = append(t.names, name)
		t.seen = append(t.seen, sight{})
		for range t.stride {
			t.counts = append(t.counts, 0)
		}
	}
	t.seen[slot] = sight{prev: none, next: none}
	t.slots[name] = slot
	t.link(slot)
	return slot, true
}

// restless is how long beyond its time a key is kept in a table that does not say
// whether streams track the entry: while one does it does not expire, and HAProxy
// tells nothing of it.
const restless = time.Hour

// dropOldest removes the key that rests longest if its entry has surely expired; after
// a break only a lesson says that, for touches were not seen.
func (t *tracker) dropOldest(now time.Duration) {
	slot := t.first
	if slot == none || t.expire <= 0 || !t.live {
		return
	}
	rest := 2 * t.expire
	if len(t.gauges) == 0 {
		rest += restless
	}
	switch {
	case now-t.seen[slot].at <= rest:
	case t.seen[slot].held: // let the next one be the oldest
		t.unlink(slot)
		t.link(slot)
	default:
		t.remove(t.names[slot], slot)
		t.dropped = true
	}
}

// remove frees a slot.
func (t *tracker) remove(name string, slot int32) {
	t.unlink(slot)
	delete(t.slots, name)
	delete(t.high, slot)
	t.names[slot] = ""
	t.free = append(t.free, slot)
}

// touch keeps a look, and moves the slot to the end of the list.
func (t *tracker) touch(slot int32, s sight) {
	t.unlink(slot)
	t.seen[slot] = s
	t.link(slot)
}

// link appends a slot to the list.
func (t *tracker) link(slot int32) {
	t.seen[slot].prev, t.seen[slot].next = t.last, none
	if t.last == none {
		t.first = slot
	} else {
		t.seen[t.last].next = slot
	}
	t.last = slot
}

// unlink takes a slot out of the list.
func (t *tracker) unlink(slot int32) {
	prev, next := t.seen[slot].prev, t.seen[slot].next
	if prev == none {
		t.first = next
	} else {
		t.seen[prev].next = next
	}
	if next == none {
		t.last = prev
	} else {
		t.seen[next].prev = prev
	}
}

// tracked is the number of keys.
func (t *tracker) tracked() int { return len(t.slots) }
