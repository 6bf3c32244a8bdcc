package burst

import "math"

// A habit is a time of day at which a key has bursts, such as the hour of a backup.
//
// What came three times in a row at the same time of day, equally many days apart, is
// told those three times and is expected from then on: at that time, for as long as it
// lasted, and up to one and a half times what it was. It is learned nowhere else: not
// in the high-water marks, which would excuse as much at any other hour, and not in the
// habit itself, which would follow what grows a little each night. What is larger is
// told, and is a habit of its own when it has come three times.
//
// Whoever wants to hide in a habit has to have been told of three times before, and
// has that hour and that amount then. Bursts at random hours would have to meet the
// hour of the one before twice, each time on one certain day.
type habit struct {
	last  uint32        // when the last one began, in minutes since 1970; 0: there is no habit
	most  [shapes]uint8 // the most that there was in each window, by its loudness
	row   uint8         // how many there were in a row
	every uint8         // days between the last two
	lasts uint8         // how long the longest of them was, in blocks
}

const (
	punctual = 1800 // seconds that the same time of day may be apart
	habitual = 3    // bursts in a row that make a habit
	lapse    = 35   // days without any after which it is none: those of once a month stay
	swing    = 1.5  // what it excuses, of the most that there was
)

// loudness is a count in eighths of doublings, rounded up: with 9 % more at most, what
// is usual at an hour takes a byte a window.
func loudness(n uint32) uint8 { return uint8(min(math.Ceil(8*math.Log2(float64(max(n, 1)))), 255)) }

// counted is what is as loud.
func counted(loudness uint8) float64 { return math.Exp2(float64(loudness) / 8) }

// since is how many days a moment is after a habit's last burst, and how many seconds
// it is after the earliest that the next one may begin on that day.
func (h *habit) since(at int64) (days, seconds int64) {
	apart := at - 60*int64(h.last) + punctual
	if h.last == 0 || apart < 0 {
		return -1, 0
	}
	return apart / day, apart % day
}

// due reports whether a burst that begins at a time is the next one of a habit.
func (h *habit) due(at int64) bool {
	days, seconds := h.since(at)
	return days >= 1 && days <= lapse && seconds <= 2*punctual
}

// covers reports whether a moment is in the time of what is one by now.
func (h *habit) covers(at int64) bool {
	days, seconds := h.since(at)
	return h.row >= habitual && days >= 0 && days <= lapse && seconds <= 2*punctual+block*int64(h.lasts)
}

// excuses is the most that a habit excuses in a window.
func (h *habit) excuses(w int) float64 { return swing*(counted(h.most[w])+few) - few }

// holds reports whether counts that are over their limits are such as it excuses.
func (h *habit) holds(counts, limits *[shapes]uint32) bool {
	for w, n := range counts {
		if n > limits[w] && float64(n) > h.excuses(w) {
			return false
		}
	}
	return true
}

// again takes down that there was one, larger or smaller but excused by the last ones.
func (h *habit) again(began int64, lasted uint8, counts *[shapes]uint32) {
	days, _ := h.since(began)
	if h.row == 1 || h.row >= habitual || days == int64(h.every) {
		h.row = min(h.row, math.MaxUint8-1) + 1
	}
	h.last, h.every, h.lasts = uint32(began/60), uint8(days), max(h.lasts, lasted)
	for w, n := range counts {
		h.most[w] = max(h.most[w], loudness(n))
	}
}

// pass takes down that one was excused. Its hour stays what it was.
func (h *habit) pass(at int64) {
	if days, _ := h.since(at); days > 0 {
		h.last += uint32(days * day / 60)
		h.row = min(h.row, math.MaxUint8-1) + 1
	}
}

// worth is how much there is to a habit: nothing, a burst whose successor did not
// come, one whose successor may come yet, a habit.
func (h *habit) worth(at int64) int {
	days, seconds := h.since(at)
	switch next := int64(max(h.every, 1)); {
	case days < 0 || days > lapse:
		return 0
	case h.row >= habitual:
		return 3
	case days < next || days == next && seconds <= 2*punctual:
		return 2
	}
	return 1
}

// came remembers a burst. Of a third one that comes at a time of its own there is
// nothing kept while both others may still become habits.
func (s *state) came(began int64, counts *[shapes]uint32) {
	lasted := uint8(min((s.last-began)/block+1, math.MaxUint8))
	least := &s.habits[0]
	for i := range s.habits {
		h := &s.habits[i]
		if h.due(began) && h.holds(counts, &s.limit) {
			h.again(began, lasted, counts)
			return
		}
		if a, b := h.worth(began), least.worth(began); a < b || a == b && h.last < least.last {
			least = h
		}
	}
	if least.worth(began) >= 2 {
		return
	}
	*least = habit{last: uint32(began / 60), row: 1, lasts: lasted}
	for w, n := range counts {
		least.most[w] = loudness(n)
	}
}

// habit is how much of a window's count is excused at this time of day, and what is
// usual then; 0: there is no habit.
func (s *state) habit(w int) (excused, usual float64) {
	for i := range s.habits {
		if h := &s.habits[i]; h.covers(s.last) {
			excused, usual = max(excused, h.excuses(w)), max(usual, counted(h.most[w]))
		}
	}
	return excused, usual
}

// nth is how many bursts in a row there were at this time of day that are no habit yet.
func (s *state) nth() (row uint8) {
	for i := range s.habits {
		if h := &s.habits[i]; h.row < habitual && h.due(s.last) {
			row = max(row, h.row)
		}
	}
	return row
}

// allowed is what a count may come to: its limit, times a factor that was announced, or
// what is expected at this time of day.
func (s *state) allowed(w int, factor float64) float64 {
	excused, _ := s.habit(w)
	return max(factor*float64(s.limit[w]), excused)
}
