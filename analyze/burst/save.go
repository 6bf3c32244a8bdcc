package burst

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/burst/seal"
)

// A saved state: a frame of the detector's own, then keys, the least recently active
// first, each with its burst behind it if one goes on. Counts of windows are sums of
// the cells and not among it.
const (
	stateName    = "haptrail bursts\n"
	stateVersion = 2 // 1 had no habits, and in their place when the last burst began
)

// Save writes all that the detector knows: keys, what is usual for them, their counts
// and bursts, priors, gaps and announcements; about 200 bytes a key. Options are not
// among it. The caller makes it durable: a new file, synced, then renamed.
func (d *Detector) Save(to io.Writer) error {
	w := seal.NewWriter(to, stateName, stateVersion)
	w.Append(d.append)
	w.Flush()
	if d.keys.used > 0 {
		last := d.keys.newest
		for i := d.keys.oldest(); ; i = d.keys.at(i).prev {
			e := d.keys.at(i)
			w.Append(func(to []byte) []byte {
				to = e.append(seal.Text(to, e.key))
				if g := d.going[i]; g != nil {
					to = g.append(to)
				}
				return to
			})
			if i == last {
				break
			}
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("burst: saving the state: %w", err)
	}
	return nil
}

// Open are the bursts that go on, by key, each as an update would tell it now: the
// worst of it until now, with what was counted in all.
func (d *Detector) Open() []Verdict {
	open := make([]Verdict, 0, len(d.going))
	for i, g := range d.going {
		v := g.worst
		v.Kind, v.At, v.Total = Update, time.Unix(d.keys.at(i).last, 0).UTC(), g.total
		open = append(open, v)
	}
	slices.SortFunc(open, func(a, b Verdict) int { return strings.Compare(a.Key, b.Key) })
	return open
}

// numbers appends several counts.
func numbers[T uint8 | uint16 | uint32 | uint64](to []byte, of ...T) []byte {
	for _, n := range of {
		to = binary.AppendUvarint(to, uint64(n))
	}
	return to
}

// floats appends several numbers.
func floats(to []byte, of ...float64) []byte {
	for _, x := range of {
		to = seal.Float(to, x)
	}
	return to
}

// times appends seconds or differences of them.
func times(to []byte, of ...int64) []byte {
	for _, t := range of {
		to = binary.AppendVarint(to, t)
	}
	return to
}

func bit(set bool) uint8 {
	if set {
		return 1
	}
	return 0
}

func (t *Thresholds) append(to []byte) []byte {
	return numbers(floats(floats(to, t.Ratio[:]...), t.Tail, t.Gate), t.Least)
}

func (p *Prior) append(to []byte) []byte {
	to = floats(floats(floats(to, p.Mean[:]...), p.Variance[:]...), p.HighWater[:]...)
	return numbers(to, uint64(p.Keys))
}

// append adds what is not of a single key.
func (d *Detector) append(to []byte) []byte {
	to = d.limits.append(numbers(to, uint64(d.keys.used)))
	s := &d.stats
	to = numbers(to, s.Evicted, s.Late, s.Refused, s.Jumps, s.Announced, s.Habitual)
	to = numbers(to, uint64(len(d.pool.priors)))
	for i := range d.pool.priors {
		to = d.pool.priors[i].append(seal.Text(to, d.pool.names[i]))
	}
	to = numbers(to, uint64(len(d.gaps)))
	for _, g := range d.gaps {
		to = times(to, g.from, g.until)
	}
	to = numbers(to, uint64(len(d.loads)))
	for _, l := range d.loads {
		to = floats(times(seal.Text(to, l.pattern), l.from, l.until), l.factor)
	}
	return to
}

// append adds a key's state. Most keys are idle, and the times of one are near each
// other: so it takes cells only where there are any, and times by their difference.
func (s *state) append(to []byte) []byte {
	busy := s.sum != counts{}
	to = times(to, s.last, s.last-s.born, s.mute-s.last)
	to = numbers(to, s.late, bit(s.open), s.disarmed, s.raised, bit(s.taught), bit(busy))
	to = numbers(numbers(to, s.prior), s.ticks)
	for i := range s.habits {
		to = s.habits[i].append(to)
	}
	minute := s.last / 60
	for w := range shapes {
		to = numbers(to, s.limit[w], s.cand[w], s.wait[w], s.rare[w], s.top[w])
		to = times(to, minute-int64(s.at[w]), minute-int64(s.reach[w]))
		to = floats(to, s.first[w], s.second[w])
	}
	if busy {
		to = numbers(numbers(to, s.one[:]...), s.ten[:]...)
	}
	return to
}

// append adds a habit; one that is none is a byte.
func (h *habit) append(to []byte) []byte {
	if to = numbers(to, h.row); h.row > 0 {
		to = numbers(numbers(to, h.last), h.every, h.lasts)
		to = append(to, h.most[:]...)
	}
	return to
}

// append adds a burst that goes on.
func (g *going) append(to []byte) []byte {
	v := &g.worst
	to = times(to, g.began, v.Began.Unix(), v.At.Unix(), int64(v.Window), int64(v.OwnIn), int64(v.Known))
	to = numbers(to, g.total, uint64(g.found), v.Count, v.Total, v.Limit)
	to = numbers(to, uint8(v.Kind), uint8(v.Severity), bit(v.Raised), bit(v.Cold))
	to = numbers(numbers(to, v.Expected, v.Own, v.Usual), uint64(v.Before), uint64(v.Peers))
	to = floats(to, g.level, g.told, v.HighWater, v.Ratio, v.Tail, v.Announced)
	return seal.Text(to, v.Role)
}
