package burst

import "math"

// windows are the windows' lengths in seconds. The two short ones are counted to the
// second, the long ones in steps of cell, so that they hold the last 51 to 60 and 291
// to 300 seconds: learned and judged alike.
var windows = [...]int64{5, 10, 60, 300}

const (
	shapes = len(windows)
	cell   = 10  // seconds in a cell of the long windows; in each is one look at the counts
	block  = 300 // seconds that a count waits before it may become a high-water mark
	day    = 86_400
)

// counts is how many of a thing there are in each window.
type counts [shapes]uint64

// state is what is kept of a key: the counts of the last five minutes and what is
// usual for it. What each request touches comes first, to lie together.
type state struct {
	last  int64  // the second that the counts are of, seconds since 1970
	sum   counts // in each window until last
	limit [shapes]uint32
	cand  [shapes]uint32 // the most in this block, to become a mark
	one   [10]uint32     // requests by second mod 10

	mute     int64 // before this second nothing becomes a mark: a burst is among the counts
	late     uint8 // steps in a row that came too late
	open     bool  // a burst is going on
	disarmed uint8 // by bit: windows that still hold an ended burst, and may not find it again
	raised   uint8 // by bit: marks that a burst raised

	// What is usual, learned once a cell and once a block.
	ticks  uint32          // looks so far, the prior's weight among them
	wait   [shapes]uint32  // the most in the block before
	ten    [30]uint32      // requests by cell mod 30
	first  [shapes]float64 // mean of the counts
	second [shapes]float64 // mean of their squares
	top    [shapes]uint32  // the high-water marks, as they were counted
	at     [shapes]uint32  // when, in minutes since 1970
	reach  [shapes]uint32  // since when nothing was higher, in minutes since 1970
	rare   [shapes]uint32  // the least counts too rare for the negative binomial
	habits [2]habit        // the times of day at which bursts come
	born   int64           // the first second, later by what was lost to gaps
	prior  uint16          // its prior's place in the pool
	taught bool            // it has taught its role
}

// add takes n requests in the second sec, which is last or up to nine seconds before
// it, into the windows that reach back to it. Counts stop at 2^32-1 a cell.
func (s *state) add(sec int64, n uint32) {
	fit := min(n, math.MaxUint32-s.one[sec%10])
	s.one[sec%10] += fit
	age := s.last - sec
	if age < windows[0] {
		s.sum[0] += uint64(fit)
	}
	s.sum[1] += uint64(fit)
	at := &s.ten[sec/cell%30]
	fit = min(n, math.MaxUint32-*at)
	*at += fit
	s.sum[2] += uint64(fit)
	s.sum[3] += uint64(fit)
}

// tick moves the counts on by one second, and reports whether a cell began.
func (s *state) tick() bool {
	s.last++
	t := s.last
	s.sum[0] -= uint64(s.one[(t+5)%10])
	s.sum[1] -= uint64(s.one[t%10])
	s.one[t%10] = 0
	if t%cell != 0 {
		return false
	}
	c := t / cell
	s.sum[2] -= uint64(s.ten[(c+24)%30])
	s.sum[3] -= uint64(s.ten[c%30])
	s.ten[c%30] = 0
	return true
}

// total makes the windows' sums anew from the cells.
func (s *state) total() {
	s.sum = counts{}
	for age := range int64(len(s.one)) {
		n := uint64(s.one[(s.last%10+10-age)%10])
		s.sum[1] += n
		if age < windows[0] {
			s.sum[0] += n
		}
	}
	for age := range int64(len(s.ten)) {
		n := uint64(s.ten[(s.last/cell%30+30-age)%30])
		s.sum[3] += n
		if age < windows[2]/cell {
			s.sum[2] += n
		}
	}
}

// empty forgets the counts, not what is usual.
func (s *state) empty() {
	s.sum, s.cand, s.wait = counts{}, [shapes]uint32{}, [shapes]uint32{}
	s.one, s.ten = [10]uint32{}, [30]uint32{}
	s.disarmed = 0
}

// fit is a count that may be too large for 32 bits.
func fit(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
