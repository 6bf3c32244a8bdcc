package burst

import (
	"math"
	"time"
)

// roll moves a key's time on, learns on the way, and ends its burst where it ends.
func (d *Detector) roll(e *entry, i int32, to int64, out []Verdict) []Verdict {
	if n := len(d.gaps); n > 0 && e.last < d.gaps[n-1].until {
		for _, g := range d.gaps {
			if e.last < g.until-1 && g.from <= to {
				out = d.pass(e, i, max(g.from-1, e.last), out)
				d.leap(e, min(g.until-1, to))
			}
		}
	}
	return d.pass(e, i, to, out)
}

// pass is roll where there is no gap.
func (d *Detector) pass(e *entry, i int32, to int64, out []Verdict) []Verdict {
	for e.last < to {
		if e.sum == (counts{}) && !e.open {
			d.sleep(e, to)
			return out
		}
		if looks(e.last+1) > looks(e.last) {
			e.look() // with all that came in that second
		}
		if e.tick() && e.last%block == 0 {
			d.turn(e, i)
		}
		if e.open && e.calm(d.going[i].found, d.pool.of(e.prior)) {
			out = append(out, d.end(e, i, false))
		}
	}
	return out
}

// sleep is pass for a key that has nothing in its windows.
func (d *Detector) sleep(e *entry, to int64) {
	e.rest(looks(to) - looks(e.last))
	blocks := to/block - e.last/block
	lessons := to/day > e.last/day
	if blocks > 0 {
		e.turn() // at the time it was, or its mark would seem younger
		e.turn()
	}
	e.last = to
	if blocks > 0 {
		e.refresh(&d.limits, d.pool.of(e.prior))
	}
	if lessons {
		d.teach(e)
	}
}

// turn ends a block of a key that is awake.
func (d *Detector) turn(e *entry, i int32) {
	prior := d.pool.of(e.prior)
	e.turn()
	if e.open && (e.last-d.going[i].began)/grown > (e.last-block-d.going[i].began)/grown {
		e.grow(prior, growth)
	}
	e.refresh(&d.limits, prior)
	if e.last%day == 0 {
		d.teach(e)
	}
}

// teach lets a key that is old enough teach its role, once a day.
func (d *Detector) teach(e *entry) {
	if e.last-e.born >= mature {
		d.pool.teach(e.prior, &e.state, !e.taught)
		e.taught = true
	}
}

// leap takes a key over time of which nothing is known.
func (d *Detector) leap(e *entry, to int64) {
	if to <= e.last {
		return
	}
	e.born += to - e.last
	e.empty()
	e.last = to
}

// maxGaps bounds the gaps that are remembered.
const maxGaps = 64

// Gap tells that nothing is known of the seconds from the first until before the
// second one: the feed was down, or the log was lost. Silence then is not learned.
// Tell it before the first count that is later; the latest 64 are remembered, so a
// key that sleeps through more takes the oldest for silence.
func (d *Detector) Gap(from, until time.Time) {
	g := span{max(from.Unix(), 0), min(until.Unix(), maxSecond)}
	if g.from >= g.until {
		return
	}
	at := len(d.gaps)
	for at > 0 && d.gaps[at-1].from > g.from {
		at--
	}
	d.gaps = append(d.gaps, span{})
	copy(d.gaps[at+1:], d.gaps[at:])
	d.gaps[at] = g
	merged := d.gaps[:1]
	for _, next := range d.gaps[1:] {
		if last := &merged[len(merged)-1]; next.from <= last.until {
			last.until = max(last.until, next.until)
		} else {
			merged = append(merged, next)
		}
	}
	if len(merged) > maxGaps {
		merged = append(merged[:0], merged[len(merged)-maxGaps:]...)
	}
	d.gaps = merged
}

// skip takes one key over time of which nothing is known of it.
func (d *Detector) skip(key string, to int64) {
	if e, i := d.keys.find(key); e != nil && to-1 > e.last && d.going[i] == nil {
		d.leap(e, to-1)
	}
}

// judge looks at a key that was just counted n more requests of.
func (d *Detector) judge(e *entry, i int32, n uint32, out []Verdict) []Verdict {
	s := &e.state
	if s.last >= s.mute || s.open {
		for w := range shapes {
			if s.sum[w] > uint64(s.cand[w]) {
				s.cand[w] = fit(s.sum[w])
			}
		}
	}
	if s.open {
		g := d.going[i]
		g.total += uint64(n)
		return d.worse(e, g, out)
	}
	if d.observe != nil {
		d.record(e)
	}
	if d.over(e) {
		return d.start(e, i, out)
	}
	return out
}

// over reports whether a key is over a limit.
func (d *Detector) over(e *entry) bool {
	for w := d.finest; w < shapes; w++ {
		if e.sum[w] > uint64(e.limit[w]) && e.disarmed>>w&1 == 0 {
			return true
		}
	}
	return false
}

// beyond is the shortest window of which a key is over all that it may do, for the
// fewer seconds the words are about the better they are understood; -1: there is none.
func (d *Detector) beyond(e *entry, factor float64) int {
	for w := d.finest; w < shapes; w++ {
		if e.sum[w] > uint64(e.limit[w]) && e.disarmed>>w&1 == 0 && float64(e.sum[w]) > e.allowed(w, factor) {
			return w
		}
	}
	return -1
}

// level is how far a key is over what it may do, at most, and in which window. Windows
// that hold an ended burst are not looked at.
func (d *Detector) level(e *entry, factor float64) (window int, most float64) {
	for w := d.finest; w < shapes; w++ {
		if e.sum[w] == 0 || e.disarmed>>w&1 == 1 {
			continue
		}
		if level := float64(e.sum[w]) / max(e.allowed(w, factor), 1); level > most {
			window, most = w, level
		}
	}
	return window, most
}

// start begins a burst, unless so much was announced, or comes at this time of day.
func (d *Detector) start(e *entry, i int32, out []Verdict) []Verdict {
	s := &e.state
	announced := d.announced(e.key, s.last)
	w := d.beyond(e, max(announced, 1))
	if w < 0 {
		d.excuse(s, announced > 0)
		return out
	}
	v := d.verdict(e, w)
	v.Kind, v.Total = Start, v.Count
	level := float64(v.Count) / max(s.allowed(w, 1), 1)
	g := &going{worst: v, level: level, told: level, began: s.last, found: w, total: v.Count}
	d.going[i] = g
	s.open = true
	for w := range shapes {
		s.cand[w], s.wait[w] = fit(s.sum[w]), 0 // from here on the peak
	}
	return append(out, v)
}

// excuse takes down that so much was to come. None of it becomes a mark.
func (d *Detector) excuse(s *state, announced bool) {
	if announced {
		d.stats.Announced++
	} else {
		d.stats.Habitual++
	}
	for i := range s.habits {
		if h := &s.habits[i]; h.covers(s.last) {
			h.pass(s.last)
		}
	}
	s.mute = s.last + block
	s.cand, s.wait = [shapes]uint32{}, [shapes]uint32{}
}

// worse tells of a burst that became twice as large, or more severe.
func (d *Detector) worse(e *entry, g *going, out []Verdict) []Verdict {
	found, over := d.level(e, 1)
	if over <= g.level {
		return out
	}
	v := d.verdict(e, found)
	severe := v.Severity > g.worst.Severity
	v.Severity = max(v.Severity, g.worst.Severity)
	v.Began, v.Kind, v.Total, v.Before = g.worst.Began, Update, g.total, g.worst.Before
	g.worst, g.level = v, over
	if !severe && over < 2*g.told {
		return out
	}
	g.told = over
	return append(out, v)
}

// end closes a burst and learns from it.
func (d *Detector) end(e *entry, i int32, forgotten bool) Verdict {
	g := d.going[i]
	delete(d.going, i)
	v := g.worst
	v.Kind, v.At, v.Total, v.Forgotten = End, time.Unix(e.last, 0).UTC(), g.total, forgotten
	s, prior := &e.state, d.pool.of(e.prior)
	s.open = false
	s.came(g.began, &s.cand)
	s.grow(prior, single)
	s.cand, s.wait = [shapes]uint32{}, [shapes]uint32{}
	s.mute = s.last + block
	s.refresh(&d.limits, prior)
	for w := 2; w < shapes; w++ {
		if float64(s.sum[w]) > calmer*float64(s.limit[w]) {
			s.disarmed |= 1 << w
		}
	}
	return v
}

// verdict measures the count of a window.
func (d *Detector) verdict(e *entry, w int) Verdict {
	s := &e.state
	prior := d.pool.of(e.prior)
	most, cold := s.highWater(w, prior)
	now := time.Unix(s.last, 0).UTC()
	v := Verdict{Key: e.key, Began: now, At: now, Window: max(time.Duration(windows[w])*time.Second, d.resolution), Count: s.sum[w], Words: d.words}
	v.Measure = Measure{
		HighWater: most, Cold: cold, Expected: max(s.rare[w], 1) - 1,
		Ratio: ratio(s.sum[w], most),
		Tail:  tail(float64(s.sum[w]), s.first[w], s.variance(w)) / math.Ln10,
		Own:   s.top[w], Raised: s.raised>>w&1 == 1,
		OwnIn: time.Duration(s.last-60*int64(s.reach[w])) * time.Second,
		Known: time.Duration(s.last-s.born) * time.Second,
		Role:  d.pool.names[e.prior], Peers: prior.Keys,
	}
	v.Announced = d.announced(e.key, s.last)
	v.Limit, v.Before = fit64(s.allowed(w, max(v.Announced, 1))), s.nth()
	_, usual := s.habit(w)
	v.Usual = fit(fit64(usual))
	v.Severity = Low
	if v.Ratio >= d.limits.Ratio[w] && v.Tail <= d.limits.Tail {
		v.Severity = Medium
		if v.Ratio >= highRatio {
			v.Severity = High
		}
	}
	return v
}

// ratio of a count to a high-water mark.
func ratio(n uint64, most float64) float64 { return (float64(n) + few) / (most + few) }

// fit64 is a positive number that may be too large for 64 bits.
func fit64(x float64) uint64 {
	if x >= math.MaxUint64 {
		return math.MaxUint64
	}
	return uint64(x)
}
