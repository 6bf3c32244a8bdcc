package burst

import "math"

// What is usual is learned in three steps, each slower than the one before, so that a
// burst is not learned while it is being judged:
//
//   - each cell (10 s) the counts enter a mean and a mean square that remember a
//     week, cut off at the limit they would be a burst beyond;
//   - each block (300 s) the most of the block before last, if no burst was near it,
//     may become the high-water mark, which fades by half in a fortnight;
//   - a burst raises the mark by a tenth at most, once, and by a quarter for each hour
//     that it lasts. What stays is usual after some hours; what comes at any time is
//     told for weeks, or an attack a day would be usual within one. What comes back
//     every night is told three times and then is expected, then (see habit).
const (
	fullTicks  = 7 * day / cell // looks after which the mean no longer slows down
	priorTicks = 3600 / cell    // looks that a prior's mean and variance are worth
	fading     = 7 * day        // seconds in which a prior's high-water mark loses its say
	halfLife   = 14 * day       // seconds in which a high-water mark does
	growth     = 1.25           // what a burst that lasts raises a mark by at most
	grown      = 3600           // seconds of a burst after which it does so again
	single     = 1.1            // what its end does
)

// looks is how many seconds before a moment are looked at: one in each cell, and in
// every ten cells each of their seconds once. At one fixed second a job of each
// minute's beginning, or rows of ten seconds, would always be seen whole, or never.
func looks(at int64) int64 {
	c := at / cell
	if at%cell > c*7%cell {
		c++
	}
	return c
}

// look learns the counts of a moment.
func (s *state) look() {
	s.ticks = min(s.ticks+1, fullTicks)
	share := 1 / float64(s.ticks)
	for w, n := range s.sum {
		x := float64(min(n, uint64(s.limit[w])))
		s.first[w] += share * (x - s.first[w])
		s.second[w] += share * (x*x - s.second[w])
		// Not as soon as it is below its limit: on the way down it may cross it twice.
		if s.last >= s.mute-block+windows[w] {
			s.disarmed &^= 1 << w
		}
	}
}

// rest learns n looks at nothing, at once. A silence of more than a week is learned
// as one of a week: the time of a single line that is wrong by years does not make
// a key forget what it is.
func (s *state) rest(n int64) {
	n = min(n, fullTicks)
	slowing := min(n, fullTicks-int64(s.ticks)) // the looks i of the share 1/i: a product that telescopes
	keep := float64(s.ticks) / float64(int64(s.ticks)+slowing)
	s.ticks += uint32(slowing)
	if n -= slowing; n > 0 {
		keep *= math.Pow(1-1./fullTicks, float64(n))
	}
	for w := range shapes {
		s.first[w] *= keep
		s.second[w] *= keep
	}
	s.disarmed = 0
}

// own is the key's high-water mark as far as it has not faded.
func (s *state) own(w int) float64 {
	age := s.last - 60*int64(s.at[w])
	if s.top[w] == 0 || age <= 0 {
		return float64(s.top[w])
	}
	return float64(s.top[w]) * math.Exp2(-float64(age)/halfLife)
}

// highWater is what counts are measured by, and whether it is the prior's.
func (s *state) highWater(w int, p *Prior) (most float64, cold bool) {
	most = s.own(w)
	if known := s.last - s.born; known < fading {
		if prior := p.HighWater[w] * (1 - float64(max(known, 0))/fading); prior > most {
			return prior, true
		}
	}
	return most, false
}

// mark makes n the high-water mark.
func (s *state) mark(w int, n uint32) {
	now := uint32(s.last / 60)
	switch {
	case s.top[w] == 0:
		s.reach[w] = uint32(max(s.born, 0) / 60)
	case n < s.top[w]:
		s.reach[w] = s.at[w] + 1 // there was a higher one until then
	}
	s.top[w], s.at[w] = n, now
	s.raised &^= 1 << w
}

// turn ends a block: what waited becomes the mark if it is higher.
func (s *state) turn() {
	if s.open {
		return // cand is the burst's peak
	}
	for w, n := range s.wait {
		if n > 0 && float64(n) > s.own(w) {
			s.mark(w, n)
		}
		s.wait[w], s.cand[w] = s.cand[w], 0
	}
}

// grow learns a burst whose peak is in cand: marks rise to it, by a factor at most.
func (s *state) grow(p *Prior, factor float64) {
	for w, n := range s.cand {
		most, _ := s.highWater(w, p)
		if n > 0 && float64(n) > most {
			s.mark(w, uint32(min(float64(n), math.Ceil(factor*max(most, 1)))))
			s.raised |= 1 << w
		}
	}
}

// variance of the counts of a window.
func (s *state) variance(w int) float64 {
	return max(0, s.second[w]-s.first[w]*s.first[w])
}

// refresh says anew what is too much.
func (s *state) refresh(t *Thresholds, p *Prior) {
	tail := t.Tail * math.Ln10
	for w := range shapes {
		most, _ := s.highWater(w, p)
		s.rare[w] = quantile(tail, s.first[w], s.variance(w), s.rare[w])
		high := t.Ratio[w]*(most+few) - few
		rare := max(float64(s.rare[w])-1, t.Gate*(most+few)-few)
		limit := max(min(high, rare), float64(t.Least)-1)
		s.limit[w] = uint32(min(limit, math.MaxUint32-1))
	}
}

// calm reports whether a burst that window w found is over: not a second of quiet,
// but the last five and ten seconds and the last minute back at what is usual, well
// below what began it.
func (s *state) calm(w int, p *Prior) bool {
	level := func(w int) float64 {
		most, _ := s.highWater(w, p)
		return min(max(most, calmer*float64(s.limit[w])), float64(s.limit[w]))
	}
	for shorter := range 3 {
		if float64(s.sum[shorter]) > level(shorter) {
			return false
		}
	}
	// The five minutes themselves hold the burst long after it: would they be too
	// much if all of them were like the last?
	return windows[w] <= 60 || float64(s.sum[2])*5 <= level(3)
}

// calmer is the share of the limit below which there is calm.
const calmer = 0.7
