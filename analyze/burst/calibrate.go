package burst

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
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
	// Skip tells which rows to leave out: those of bursts that are known. They are a
	// gap for their key, neither learned nor an alarm. Default: none.
	Skip func(key string, at time.Time) bool
	// Options of the detector. Of its thresholds Gate and Least are kept; the others
	// are what is compared with (Outcome.Given).
	Options Options
}

// Outcome is what thresholds come to on the history they were found on. All of its
// alarms count as false.
type Outcome struct {
	Thresholds Thresholds
	Budget     float64
	Share                        // of all keys
	Groups     map[string]*Share // of each group's
	Given      Share             // of all keys, by the thresholds that the options came with
	Passes     int               // of the history
	Rows       uint64            // in a pass, those that were left out among them
	Skipped    uint64            // rows left out (Calibration.Skip)
	// Short: the history is too short for the budget to allow a single alarm. The
	// thresholds are then those of the options (default: DefaultThresholds), raised
	// above what the history shows, but to twice that at most: the alarms that are left
	// may be attacks.
	Short bool
	// Needed is how many identity-days it takes for the budget to allow an alarm.
	Needed float64
}

// Share is a group's part of an outcome.
type Share struct {
	Keys   int
	Days   float64 // identity-days that were judged, after learning
	Alarms int     // starts in them
	// Counted is how many of them the budget is about: of one key on one day (UTC) at
	// most three, and at most half of what the budget allows in all. More than that
	// of one key is an attack that pauses, not chance.
	Counted int
}

// Rate is the false alarms for each identity and day.
func (s Share) Rate() float64 {
	if s.Days == 0 {
		return 0
	}
	return float64(s.Alarms) / s.Days
}

// String is the outcome in a sentence, such as "14 alarms in 7,000 identity-days of
// 1,000 identities: 0.0020 a day of 0.01; 23 with the thresholds before".
func (o *Outcome) String() string {
	days := func(n float64) string { return digits(uint64(math.Ceil(n))) }
	var b strings.Builder
	if o.Short {
		fmt.Fprintf(&b, "too short a history for this budget: %s identity-days, %s needed; ", days(o.Days), days(o.Needed))
	}
	counted := ""
	if o.Counted < o.Alarms {
		counted = fmt.Sprintf(", %s of which count,", digits(uint64(o.Counted)))
	}
	fmt.Fprintf(&b, "%s%s in %s identity-days of %s: %.4f a day of %v; %s with the thresholds before",
		Noun{"alarm", "alarms"}.of(uint64(o.Alarms)), counted, days(o.Days), Noun{"key", "keys"}.of(uint64(o.Keys)), o.Rate(), o.Budget, digits(uint64(o.Given.Alarms)))
	return b.String()
}

// worstGroup is how many times the budget the worst group may have.
const worstGroup = 5

// A calibration goes no lower than these, however regular its history is.
const (
	leastRatio = 1.2
	leastTail  = -4
)

// farthest is how many times the thresholds it began with a calibration may reach on
// too short a history.
const farthest = 2

// Calibrate finds the lowest thresholds that keep to a budget of false alarms on a
// history, in which each key's rows are in order. Both detectors get the same number
// of alarms, as many as the budget allows them together.
//
// It goes through the history twice, whatever it finds. The first pass sees what there
// is above the usual. The second replays a ladder of thresholds at once, from what the
// first pass allows upwards, each for the keys that it would tell of: the lowest that
// keeps to the budget is taken. (The keys left out teach their roles nothing in that
// pass; what a role knows counts in a key's first week, which is learned.)
//
// An attack in the history counts as one alarm, however large it was, or as three if it
// paused (Share.Counted). Where the budget allows n alarms it takes so many places:
// thresholds become those of a budget of n-1 or n-3, not the attack's. Attacks on more
// identities than that do raise them: leave them out by Calibration.Skip.
func Calibrate(history iter.Seq[Row], c Calibration) (Thresholds, Outcome, error) {
	if err := c.fill(); err != nil {
		return Thresholds{}, Outcome{}, err
	}
	s, err := c.survey(history)
	if err != nil {
		return Thresholds{}, s.out, err
	}
	steps, err := c.ladder(s)
	if err != nil {
		return Thresholds{}, s.out, err
	}
	c.climb(history, s, steps)
	out := s.out
	given, steps := steps[0], steps[1:]
	out.Given = given.share
	for _, step := range steps {
		out.Thresholds, out.Share = step.d.limits, step.share
		for group, n := range out.Groups {
			n.Alarms, n.Counted = 0, 0
			if of := step.groups[group]; of != nil {
				n.Alarms, n.Counted = of.Alarms, of.Counted
			}
		}
		if out.Short || c.kept(&out, 1) {
			return out.Thresholds, out, nil
		}
	}
	return out.Thresholds, out, fmt.Errorf("burst: %d alarms in %.0f identity-days are above the budget of %v whatever the thresholds: leave known attacks out, give more history or a higher budget", out.Counted, out.Days, c.Budget)
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
	// Gate and Least alone are enough: the others are to be found.
	if t := &c.Options.Thresholds; t.Ratio == (PerWindow{}) && t.Tail == 0 {
		t.Ratio, t.Tail = DefaultThresholds().Ratio, DefaultThresholds().Tail
	}
	return c.Options.Thresholds.check()
}

// kept reports whether an outcome keeps to a share of the budget.
func (c *Calibration) kept(out *Outcome, share float64) bool {
	if float64(out.Counted) > share*c.Budget*out.Days {
		return false
	}
	for _, s := range out.Groups {
		if float64(s.Counted) > share*worstGroup*c.Budget*s.Days {
			return false
		}
	}
	return true
}

// most is how many alarms of a key on a day count.
func (c *Calibration) most(out *Outcome) int {
	return min(max(int(c.Budget*out.Days/2), 1), 3)
}

// step is thresholds being replayed.
type step struct {
	d      *Detector
	share  Share
	groups map[string]*Share
	last   map[string]today
	most   int // how many alarms of a key on a day count
}

// today is the latest day on which a key had alarms, and how many.
type today struct{ day, n int64 }

// alarm counts a start.
func (s *step) alarm(key, group string, at int64) {
	of := s.groups[group]
	if of == nil {
		of = &Share{}
		s.groups[group] = of
	}
	last := s.last[key]
	if last.day != at/day {
		last = today{day: at / day}
	}
	last.n++
	s.last[key] = last
	for _, n := range []*Share{of, &s.share} {
		n.Alarms++
		if last.n <= int64(s.most) {
			n.Counted++
		}
	}
}

// ladder is the thresholds to replay: those of the options, then those that use less
// and less of the budget, by what the survey saw. A replay has more alarms than a
// survey, whose marks rise to whatever there was; but not twenty times as many.
func (c *Calibration) ladder(s *survey) ([]*step, error) {
	tries := []Thresholds{c.Options.Thresholds}
	for _, share := range []float64{1, 0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05} {
		// Of few alarms many shares are the same number.
		if t := c.choose(s.seen, &s.out, share); len(tries) == 1 || t != tries[len(tries)-1] {
			tries = append(tries, t)
		}
	}
	var steps []*step
	for _, t := range tries {
		o := c.Options
		o.Thresholds = t
		d, err := New(o)
		if err != nil {
			return nil, err
		}
		steps = append(steps, &step{d, Share{Keys: s.out.Keys, Days: s.out.Days}, map[string]*Share{}, map[string]today{}, c.most(&s.out)})
	}
	return steps, nil
}

// climb replays the history with all thresholds of a ladder and counts their alarms.
func (c *Calibration) climb(history iter.Seq[Row], s *survey, steps []*step) {
	s.out.Passes++
	s.replayed(steps, int64(c.Learn.Seconds()) < fading && c.Options.Role != nil)
	for row := range history {
		k := s.keys[row.Key]
		if k == nil || k.replayed == 0 { // a history that became longer has new keys
			continue
		}
		at := row.Time.Unix()
		skip := c.Skip != nil && c.Skip(row.Key, row.Time)
		for i, step := range steps {
			if k.replayed>>i&1 == 0 {
				continue
			}
			if skip {
				step.d.skip(row.Key, at+1)
				continue
			}
			for _, v := range step.d.Step(row.Key, at, row.Count) {
				if v.Kind == Start && at >= k.first+s.learn {
					step.alarm(row.Key, k.current.group, at)
				}
			}
		}
	}
}

// errNothing is that there is nothing to judge in a history.
var errNothing = errors.New("burst: no key has a longer history than Learn: give more history, or learn for a shorter time")
