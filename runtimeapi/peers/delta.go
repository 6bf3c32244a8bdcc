package peers

import "github.com/haptrail/haptrail/runtimeapi/poll"

// delta is the growth of a slot's counter, a field.
func (t *tracker) delta(u *update, field int, slot int32, s *poll.Sample) uint64 {
	n, value := t.order[field], u.values[field]
	last := t.of(slot)[n]
	if value >= last {
		if t.taught(u, field, value-last) {
			return 0
		}
		return t.above(slot, n, value, value-last)
	}
	if wrapped := value + 1<<32 - last; !t.fields[field].Wide && last < 1<<32 && wrapped <= wrapMargin {
		return wrapped
	}
	if t.shared {
		t.behind++ // a peer wrote its own, perhaps older count over this one
		return 0
	}
	s.Restarted = true
	t.raise(slot, n, last)
	return t.anew(u, field)
}

// taught is whether a counter's growth in this connection, before the lesson's end,
// is an old worker's: more than its rate has seen.
func (t *tracker) taught(u *update, field int, growth uint64) bool {
	r := t.rates[field]
	return !t.live && t.known < 0 && r != none && t.gap <= t.fields[r].Period && growth > u.recent[r].events
}

// anew is what a counter has counted that was cleared, expired, or is a new worker's.
// While it may be an old worker's lesson that set it back, that is only what its rate
// has seen since.
func (t *tracker) anew(u *update, field int) uint64 {
	if !t.open {
		return u.values[field]
	}
	r := t.rates[field]
	if r == none || u.recent[r].within+tick >= t.gap {
		return 0
	}
	return min(u.recent[r].events, u.values[field])
}

// restart lets all counters of a slot begin anew.
func (t *tracker) restart(slot int32) {
	for n, count := range t.of(slot) {
		t.raise(slot, n, count)
	}
	clear(t.of(slot))
}

// raise remembers a count that may come back.
func (t *tracker) raise(slot int32, n int, count uint64) {
	if t.live {
		return
	}
	high := t.high[slot]
	if high == nil {
		high = make([]uint64, t.stride)
		t.high[slot] = high
	}
	high[n] = max(high[n], count)
}

// above is a delta without what was told before the counter began anew.
func (t *tracker) above(slot int32, n int, value, delta uint64) uint64 {
	high := t.high[slot]
	if high == nil || high[n] == 0 || value < high[n] {
		return delta
	}
	delta = min(delta, value-high[n])
	high[n] = 0
	return delta
}
