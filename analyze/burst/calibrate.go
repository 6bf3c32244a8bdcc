package burst

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"
)

// Row is a number of requests of a key, at a time.
type Row struct {
	Time  time.Time
	Key   string
	Count uint32
}

// Calibration is how thresholds are found.
type Calibration struct {
	// Budget is how many false alarms there may be for each identity and day; of the
	// worst group five times as many. Default 0.01.
	Budget float64
	// Learn is for how long each key is learned before its alarms count.
	// Default 7 days.
	Learn time.Duration
	// Group names a key's kind, for the worst one. Default: its role, if
	// Options.Role is given, else all are of one.
	Group func(key string) string
	// Options of the detector. Of its thresholds Gate and Least are kept.
	Options Options
}

// Outcome is what thresholds come to on the history they were found on. All of its
// alarms count as false: so it is to be a history without attacks, or the thresholds
// are too high rather than too low.
type Outcome struct {
	Days   float64 // identity-days that were judged, after learning
	Alarms int     // starts in them
	Groups map[string]*Share
	// Short: the history is too short for the budget to allow a single alarm. The
	// thresholds are then above all that it shows, and no lower than the default.
	Short bool
}

// Share is a group's part of an outcome.
type Share struct {
	Days   float64
	Alarms int
}

// Rate is the false alarms for each identity and day.
func (s Share) Rate() float64 {
	if s.Days == 0 {
		return 0
	}
	return float64(s.Alarms) / s.Days
}

// worstGroup is how many times the budget the worst group may have.
const worstGroup = 5

// episode is how many seconds of excess count as one alarm at most.
const episode = 600

// excess is what a key did in an episode at most, above the gate.
type excess struct {
	group string
	ratio PerWindow
	tail  float64 // log10
}

// beyond reports whether an excess is an alarm.
func (e *excess) beyond(t *Thresholds) bool {
	for w, r := range e.ratio {
		if r > t.Ratio[w] {
			return true
		}
	}
	return e.tail < t.Tail
}

// A calibration goes no lower than these, however regular its history is.
const (
	leastRatio = 1.2
	leastTail  = -4
)

// Calibrate finds the lowest thresholds that keep to a budget of false alarms on a
// history, in which each key's rows are in order. It replays the history several
// times: once to see what there is above the usual, then with thresholds until a
// replay has no more alarms than allowed. Both detectors get the same number of
// alarms, as many as the budget allows them together.
func Calibrate(history iter.Seq[Row], c Calibration) (Thresholds, Outcome, error) {
	if err := c.fill(); err != nil {
		return Thresholds{}, Outcome{}, err
	}
	seen, out, err := c.survey(history)
	if err != nil {
		return Thresholds{}, out, err
	}
	allowed := math.Floor(c.Budget * out.Days)
	out.Short = allowed < 1
	for share := 1.0; ; share *= 0.8 {
		t := c.choose(seen, &out, share)
		if err := c.count(history, t, &out); err != nil {
			return Thresholds{}, out, err
		}
		if c.kept(&out, 1) {
			return t, out, nil
		}
		if share < 0.05 { // nearly none of the survey's alarms are left: the replays' others are few
			return t, out, fmt.Errorf("burst: %d alarms in %.0f identity-days are above the budget of %v whatever the thresholds: give more history or a higher budget", out.Alarms, out.Days, c.Budget)
		}
	}
}

// fill puts the defaults in.
func (c *Calibration) fill() error {
	if c.Budget == 0 {
		c.Budget = 0.01
	}
	if !(c.Budget > 0) || math.IsInf(c.Budget, 0) {
		return fmt.Errorf("burst: a budget of %v false alarms: give a positive number for each identity and day, such as 0.01", c.Budget)
	}
	if c.Learn == 0 {
		c.Learn = 7 * 24 * time.Hour
	}
	if c.Learn < 0 {
		return fmt.Errorf("burst: Learn is %s: give the time after which a key's alarms count", c.Learn)
	}
	if c.Group == nil {
		c.Group = c.Options.Role
	}
	if c.Group == nil {
		c.Group = func(string) string { return "" }
	}
	if c.Options.Thresholds == (Thresholds{}) {
		c.Options.Thresholds = DefaultThresholds()
	}
	return nil
}

// survey is a look at what a history has above the usual.
type survey struct {
	c     *Calibration
	keys  map[string]*surveyed
	seen  []excess
	learn int64
}

// surveyed is a key in a survey.
type surveyed struct {
	first, last int64
	current     excess
	latest      int64 // second of the current excess; 0: there was none yet
}

// survey replays with thresholds that nothing reaches.
func (c *Calibration) survey(history iter.Seq[Row]) ([]excess, Outcome, error) {
	const never = math.MaxFloat32
	o := c.Options
	o.Thresholds.Ratio, o.Thresholds.Tail = PerWindow{never, never, never, never}, -never
	d, err := New(o)
	if err != nil {
		return nil, Outcome{}, err
	}
	s := survey{c: c, keys: map[string]*surveyed{}, learn: int64(c.Learn.Seconds())}
	d.observe = s.observe
	for row := range history {
		at := row.Time.Unix()
		k := s.keys[row.Key]
		if k == nil {
			k = &surveyed{first: at, current: excess{group: c.Group(row.Key)}}
			s.keys[row.Key] = k
		}
		k.last = max(k.last, at)
		d.Step(row.Key, at, row.Count)
	}
	return s.finish()
}

// observe is told each count of a key that is not small.
func (s *survey) observe(e *entry, w int, most float64) {
	k := s.keys[e.key]
	r := ratio(e.sum[w], most)
	if r < s.c.Options.Thresholds.Gate || e.last < k.first+s.learn {
		return
	}
	if e.last-k.latest >= episode {
		if k.latest > 0 {
			s.seen = append(s.seen, k.current)
		}
		k.current = excess{group: k.current.group}
	}
	k.latest = e.last
	k.current.ratio[w] = max(k.current.ratio[w], r)
	k.current.tail = min(k.current.tail, tail(float64(e.sum[w]), e.first[w], e.variance(w))/math.Ln10)
}

// finish is what was seen, and the days without their alarms.
func (s *survey) finish() ([]excess, Outcome, error) {
	out := Outcome{Groups: map[string]*Share{}}
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
	}
	if out.Days == 0 {
		return nil, out, errors.New("burst: no key has a longer history than Learn: give more history, or learn for a shorter time")
	}
	return s.seen, out, nil
}

// choose is thresholds that together use a share of what the budget allows, by what
// a survey saw.
func (c *Calibration) choose(seen []excess, out *Outcome, share float64) Thresholds {
	t := c.Options.Thresholds
	at := func(n float64) Thresholds {
		for w := range t.Ratio {
			t.Ratio[w] = max(c.least(seen, out, n, func(e excess) float64 { return e.ratio[w] }), leastRatio, t.Gate)
			if out.Short {
				t.Ratio[w] = max(t.Ratio[w], DefaultThresholds().Ratio[w])
			}
		}
		t.Tail = min(-c.least(seen, out, n, func(e excess) float64 { return -e.tail }), leastTail)
		if out.Short {
			t.Tail = min(t.Tail, DefaultThresholds().Tail)
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
				out.Alarms++
				out.Groups[e.group].Alarms++
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
	o.Alarms = 0
	for _, s := range o.Groups {
		s.Alarms = 0
	}
}

// kept reports whether an outcome keeps to a share of the budget.
func (c *Calibration) kept(out *Outcome, share float64) bool {
	if float64(out.Alarms) > share*c.Budget*out.Days {
		return false
	}
	for _, s := range out.Groups {
		if float64(s.Alarms) > share*worstGroup*c.Budget*s.Days {
			return false
		}
	}
	return true
}

// count replays with thresholds and counts the alarms.
func (c *Calibration) count(history iter.Seq[Row], t Thresholds, out *Outcome) error {
	o := c.Options
	o.Thresholds = t
	d, err := New(o)
	if err != nil {
		return err
	}
	out.clear()
	first := map[string]int64{}
	learn := int64(c.Learn.Seconds())
	for row := range history {
		at := row.Time.Unix()
		if _, ok := first[row.Key]; !ok {
			first[row.Key] = at
		}
		for _, v := range d.Step(row.Key, at, row.Count) {
			if v.Kind == Start && at >= first[row.Key]+learn {
				out.Alarms++
				out.Groups[c.Group(row.Key)].Alarms++
			}
		}
	}
	return nil
}
