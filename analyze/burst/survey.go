package burst

import (
	"cmp"
	"iter"
	"math"
	"slices"
)

// episode is how many seconds without excess are between two alarms at least.
const episode = 600

// excess is what a key did in an episode at most, above the gate.
type excess struct {
	nth   int // episode of its key on its day, from 1
	group string
	ratio PerWindow
	tail  float64 // log10
}

// add takes what was seen in a window.
func (x *excess) add(w int, ratio, tail float64) {
	x.ratio[w] = max(x.ratio[w], ratio)
	x.tail = min(x.tail, tail)
}

// beyond reports whether an excess is an alarm.
func (x *excess) beyond(t *Thresholds) bool {
	for w, r := range x.ratio {
		if r > t.Ratio[w] {
			return true
		}
	}
	return x.tail < t.Tail
}

// survey is a look at what a history has above the usual.
type survey struct {
	c     *Calibration
	d     *Detector
	keys  map[string]*surveyed
	seen  []excess
	learn int64
	out   Outcome
}

// surveyed is a key in a survey.
type surveyed struct {
	first, last int64
	current     excess
	latest      int64  // second of the current excess; 0: there was none yet
	most        excess // of all times, while it was learned too
	replayed    uint32 // by bit: the steps of the ladder that may tell of it
}

// survey replays with thresholds that nothing reaches.
func (c *Calibration) survey(history iter.Seq[Row]) (*survey, error) {
	const never = math.MaxFloat32
	s := &survey{c: c, keys: map[string]*surveyed{}, learn: int64(c.Learn.Seconds())}
	s.out = Outcome{Budget: c.Budget, Groups: map[string]*Share{}, Passes: 1, Needed: 1 / c.Budget}
	o := c.Options
	o.Thresholds.Ratio, o.Thresholds.Tail = PerWindow{never, never, never, never}, -never
	var err error
	if s.d, err = New(o); err != nil {
		return s, err
	}
	var k *surveyed
	s.d.observe = func(e *entry, w int, most float64) { s.observe(k, e, w, most) }
	for row := range history {
		at := row.Time.Unix()
		s.out.Rows++
		if k = s.keys[row.Key]; k == nil {
			k = &surveyed{first: at, current: excess{group: c.Group(row.Key)}}
			s.keys[row.Key] = k
		}
		k.last = max(k.last, at)
		if c.Skip != nil && c.Skip(row.Key, row.Time) {
			s.out.Skipped++
			s.d.skip(row.Key, at+1)
			continue
		}
		s.d.Step(row.Key, at, row.Count)
	}
	return s, s.finish()
}

// observe is told each count of a key that is not small.
func (s *survey) observe(k *surveyed, e *entry, w int, most float64) {
	r := ratio(e.sum[w], most)
	if r < s.c.Options.Thresholds.Gate {
		return
	}
	rare := tail(float64(e.sum[w]), e.first[w], e.variance(w)) / math.Ln10
	k.most.add(w, r, rare)
	if e.last < k.first+s.learn {
		return
	}
	if e.last-k.latest >= episode {
		if k.latest > 0 {
			s.seen = append(s.seen, k.current)
		}
		nth := 1
		if e.last/day == k.latest/day {
			nth = k.current.nth + 1
		}
		k.current = excess{group: k.current.group, nth: nth}
	}
	k.latest = e.last
	k.current.add(w, r, rare)
}

// finish is what was seen, and the days without their alarms.
func (s *survey) finish() error {
	out := &s.out
	for _, k := range s.keys {
		if k.latest > 0 {
			s.seen = append(s.seen, k.current)
		}
		group := out.Groups[k.current.group]
		if group == nil {
			group = &Share{}
			out.Groups[k.current.group] = group
		}
		days := max(0, float64(k.last-k.first-s.learn)) / day
		group.Days += days
		out.Days += days
		group.Keys++
		out.Keys++
	}
	s.seen = slices.DeleteFunc(s.seen, func(x excess) bool { return x.nth > s.c.most(out) })
	out.Short = math.Floor(s.c.Budget*out.Days) < 1
	if out.Days == 0 {
		return errNothing
	}
	return nil
}

// replayed marks the keys that each step of a ladder can tell of, or all: until the
// first alarm of a key a replay with thresholds is as the survey was.
func (s *survey) replayed(steps []*step, all bool) {
	for i, step := range steps {
		near := step.d.limits // a limit is found once a block, the survey's excess at once
		for w := range near.Ratio {
			near.Ratio[w] *= 0.95
		}
		near.Tail *= 0.9
		for _, k := range s.keys {
			if all || k.most.beyond(&near) {
				k.replayed |= 1 << i
			}
		}
	}
}

// choose is thresholds that together use a share of what the budget allows, by what
// a survey saw.
func (c *Calibration) choose(seen []excess, out *Outcome, share float64) Thresholds {
	given := c.Options.Thresholds
	t := given
	at := func(n float64) Thresholds {
		for w := range t.Ratio {
			t.Ratio[w] = max(c.least(seen, out, n, func(e excess) float64 { return e.ratio[w] }), leastRatio, t.Gate)
			if out.Short {
				t.Ratio[w] = min(max(t.Ratio[w], given.Ratio[w]), farthest*given.Ratio[w])
			}
		}
		t.Tail = min(-c.least(seen, out, n, func(e excess) float64 { return -e.tail }), leastTail)
		if out.Short {
			t.Tail = max(min(t.Tail, given.Tail), farthest*given.Tail)
		}
		return t
	}
	// An equal part each is always within the budget, and the more of their alarms
	// are the same ones, the more is left.
	low, high := share/float64(shapes+1), share
	for range 12 {
		mid := (low + high) / 2
		try := at(mid)
		out.clear()
		for _, e := range seen {
			if e.beyond(&try) {
				out.Counted++
				out.Groups[e.group].Counted++
			}
		}
		if c.kept(out, share) {
			low = mid
		} else {
			high = mid
		}
	}
	return at(low)
}

// least is the lowest value that no more episodes are above than a share of the
// budget allows, of all and of each group.
func (c *Calibration) least(seen []excess, out *Outcome, share float64, value func(excess) float64) float64 {
	values := map[string][]float64{}
	all := make([]float64, 0, len(seen))
	for _, e := range seen {
		values[e.group] = append(values[e.group], value(e))
		all = append(all, value(e))
	}
	above := func(values []float64, allowed float64) float64 {
		slices.SortFunc(values, func(a, b float64) int { return cmp.Compare(b, a) })
		n := int(allowed)
		if n >= len(values) {
			return 0
		}
		return values[n] * 1.000001
	}
	lowest := above(all, share*c.Budget*out.Days)
	for group, of := range values {
		lowest = max(lowest, above(of, share*worstGroup*c.Budget*out.Groups[group].Days))
	}
	return lowest
}

func (o *Outcome) clear() {
	o.Counted = 0
	for _, s := range o.Groups {
		s.Counted = 0
	}
}

// record tells a calibration of the counts that are not small.
func (d *Detector) record(e *entry) {
	prior := d.pool.of(e.prior)
	for w := d.finest; w < shapes; w++ {
		if e.sum[w] >= uint64(d.limits.Least) {
			most, _ := e.highWater(w, prior)
			d.observe(e, w, most)
		}
	}
}
