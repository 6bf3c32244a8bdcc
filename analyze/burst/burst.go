// Package burst finds identities that suddenly do far more than they are used to.
//
// A [Detector] counts each key's requests in windows of 5, 10, 60 and 300 seconds and
// measures them in two ways:
//
//   - by what is the most that the key has done: the ratio to a high-water mark that
//     fades by half in a fortnight. Slow to be exceeded, hard to argue with.
//   - by how rare such a count is: the upper tail of a negative binomial with the
//     window's own mean and variance. It finds a burst sooner where a key is regular.
//     Below a gate, which is near the high-water mark, it has no say.
//
// Counts of requests are small and come in clumps, so neither a Gaussian nor a Poisson
// law will do: at the same false alarms EARS (Gaussian) finds 27 to 47 % and negative-
// binomial methods 80 to 93 % of outbreaks in Watkins et al., BMC Medical Informatics
// and Decision Making 8:37 (2008), table 2.
//
// Time is the events' own, in seconds. Nothing here reads a clock.
//
// There is no profile by hour or by weekday, which would take 168 numbers a window (24
// without weekdays) of the 512 bytes a key may have, nearly all of which are used. It would
// gain little: of identities with a day's curve all bursts of five times their peak
// are found without one, half of them within 5 s (TestFigures). What it alone could
// tell is daytime's traffic at night. But two times of day at which bursts come are
// remembered, so that a nightly job is not told for ever, and hides nothing at noon.
//
// The baselines live in memory and outlast a restart by [Detector.Save] and [Restore].
// Without a saved state they are learned again by replaying the samples that were kept
// ([Detector.Step]) before the first live one.
package burst

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// few is added to a count and to what it is measured by, so that 2 requests after 1
// are not twice as many.
const few = 2

// maxSecond is the last second of the year 9999: no event is later.
const maxSecond = 253_402_300_799

// lateness is how many seconds late a count may be.
const lateness = 10

// strayed is how many counts of a key in a row have to be too late for its clock to
// have gone back.
const strayed = 60

// Options of a detector. The zero value is a detector with the default thresholds.
type Options struct {
	// Thresholds are what is too much. Default: DefaultThresholds().
	Thresholds Thresholds
	// MaxKeys bounds the keys, of 512 bytes each and their names. The least recently
	// active one leaves first. Default 100,000.
	MaxKeys int
	// Resolution is for how long a count stands, where that is more than a second:
	// shorter windows are not judged, and if all are shorter, the longest is. At most
	// a day. Default: a second.
	Resolution time.Duration
	// Role names the role that a key shares its prior with. "": none. Default: none
	// for all. It is asked once for each new key.
	Role func(key string) string
	// Priors are what Detector.Priors said, to begin with where there is no saved state.
	Priors map[string]Prior
	// Prior is for keys whose role has none. Default: DefaultPrior().
	Prior *Prior
	// Words are what verdicts speak of. Default: requests of an identity.
	Words Words
}

// Detector judges keys. It is not safe for concurrent use.
type Detector struct {
	limits     Thresholds
	role       func(string) string
	keys       *keys
	pool       *pool
	going      map[int32]*going
	gaps       []span
	loads      []load
	stats      Stats
	finest     int // the first window that is judged
	resolution time.Duration
	words      Words

	// Set while thresholds are being calibrated: told each count that is not small.
	observe func(e *entry, w int, highWater float64)
}

// Stats are what a detector counted.
type Stats struct {
	Keys      int    // that it has now
	Open      int    // bursts that go on
	Evicted   uint64 // keys that left to make room
	Late      uint64 // counts left out: ten seconds behind the key's newest, or more
	Refused   uint64 // counts left out: before 1970 or after 9999
	Jumps     uint64 // times a key's clock went back for good
	Announced uint64 // counts that were too much but announced
	Habitual  uint64 // counts that were too much but come at that time of day
}

// span is seconds: from the first until before the second.
type span struct{ from, until int64 }

// going is a burst that goes on.
type going struct {
	worst Verdict // as of the count that was farthest over its limit
	level float64 // how far that was
	told  float64 // how far it was at the last verdict
	began int64
	found int // the window that found it
	total uint64
}

// New is a detector that knows no key.
func New(o Options) (*Detector, error) {
	if o.Thresholds == (Thresholds{}) {
		o.Thresholds = DefaultThresholds()
	}
	if err := o.Thresholds.check(); err != nil {
		return nil, err
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = 100_000
	}
	if o.MaxKeys < 0 || o.MaxKeys > math.MaxInt32 {
		return nil, fmt.Errorf("burst: MaxKeys is %d: give a number from 1 to %d", o.MaxKeys, math.MaxInt32)
	}
	if o.Resolution < 0 || o.Resolution > day*time.Second {
		return nil, fmt.Errorf("burst: Resolution is %s: give the step of the counts, at most a day", o.Resolution)
	}
	if o.Prior == nil {
		prior := DefaultPrior()
		o.Prior = &prior
	}
	if what := o.Prior.check(); what != "" {
		return nil, fmt.Errorf("burst: a number of Prior %s: leave it out for the default", what)
	}
	for role, prior := range o.Priors {
		if what := prior.check(); what != "" {
			return nil, fmt.Errorf("burst: a number of the prior of role %q %s: leave it out to learn it anew", role, what)
		}
	}
	o.Words.fill()
	if what := o.Words.check(); what != "" {
		return nil, fmt.Errorf("burst: %s", what)
	}
	d := &Detector{
		limits: o.Thresholds, role: o.Role, keys: newKeys(o.MaxKeys),
		pool: newPool(*o.Prior, o.Priors), going: map[int32]*going{}, resolution: o.Resolution, words: o.Words,
	}
	for d.finest < shapes-1 && time.Duration(windows[d.finest])*time.Second < o.Resolution {
		d.finest++
	}
	return d, nil
}

// Stats are the counts until now.
func (d *Detector) Stats() Stats {
	s := d.stats
	s.Keys, s.Open = int(d.keys.used), len(d.going)
	return s
}

// Priors are what the roles have learned, to be kept over a restart.
func (d *Detector) Priors() map[string]Prior { return d.pool.all() }

// Observe counts n requests of a key at a time, as a log tells them. They may be late
// by less than ten seconds; what is later is left out and counted.
func (d *Detector) Observe(key string, at time.Time, n uint32) []Verdict {
	return d.Step(key, at.Unix(), n)
}

// Sample counts n requests of a key that a counter went up by in the time before at:
// since the last sample. They are spread evenly over that time, for nobody knows
// better. A sample of more than five minutes says too little about any window: the
// time before its last five minutes is taken for a gap of this key, with its share of
// the requests left out.
func (d *Detector) Sample(key string, at time.Time, since time.Duration, n uint32) []Verdict {
	to := at.Unix()
	seconds := int64(math.Ceil(since.Seconds()))
	if seconds <= 1 {
		return d.Step(key, to, n)
	}
	first, rest := to-min(seconds, block)+1, uint64(n)
	if seconds > block {
		rest = uint64(float64(n) * block / float64(seconds))
		d.skip(key, first)
	}
	var out []Verdict
	for t := first; t <= to; t++ {
		share := rest / uint64(to-t+1)
		rest -= share
		out = append(out, d.Step(key, t, fit(share))...)
	}
	return out
}

// Step counts n requests of a key in a second since 1970, and returns what there is
// to tell: mostly nothing, at most an end and a start. Seconds of a key that are left
// out had no requests (see Gap for those of which nothing is known). A second may
// come again; its counts add up.
func (d *Detector) Step(key string, second int64, n uint32) (out []Verdict) {
	if second < 0 || second > maxSecond {
		d.stats.Refused++
		return nil
	}
	e, i := d.keys.find(key)
	if e == nil {
		e, i, out = d.admit(key, second)
	}
	switch {
	case second > e.last:
		out = d.roll(e, i, second, out)
		e.late = 0
	case second <= e.last-lateness:
		if e.late++; e.late < strayed {
			d.stats.Late++
			return out
		}
		out = d.back(e, i, second, out)
	default:
		e.late = 0
	}
	e.add(second, n)
	return d.judge(e, i, n, out)
}

// admit makes room for a new key.
func (d *Detector) admit(key string, second int64) (*entry, int32, []Verdict) {
	// A view of a large text is not to keep all of it.
	e, i, out := d.room(strings.Clone(key), nil)
	e.last, e.born = second, second
	if d.role != nil {
		e.prior = d.pool.place(d.role(key))
	}
	prior := d.pool.of(e.prior)
	e.ticks = priorTicks
	for w := range shapes {
		e.first[w] = prior.Mean[w]
		e.second[w] = prior.Variance[w] + prior.Mean[w]*prior.Mean[w]
	}
	e.refresh(&d.limits, prior)
	return e, i, out
}

// room is a cleared entry for a new key. If there is no more room the least recently
// active key leaves.
func (d *Detector) room(key string, out []Verdict) (*entry, int32, []Verdict) {
	if d.keys.full() {
		i := d.keys.oldest()
		if d.going[i] != nil {
			out = append(out, d.end(d.keys.at(i), i, true))
		}
		d.stats.Evicted++
	}
	e, i := d.keys.take(key)
	return e, i, out
}

// Advance tells that it is second, with whatever came before already counted, and
// returns the ends of the bursts whose keys went silent, by key. It costs what the
// bursts cost that go on.
func (d *Detector) Advance(second int64) (out []Verdict) {
	if second < 0 || second > maxSecond {
		return nil
	}
	behind := make([]int32, 0, len(d.going))
	for i := range d.going {
		if d.keys.at(i).last < second {
			behind = append(behind, i)
		}
	}
	// Not as the map has them: keys of a role teach its prior on the way.
	slices.SortFunc(behind, func(a, b int32) int { return strings.Compare(d.keys.at(a).key, d.keys.at(b).key) })
	for _, i := range behind {
		out = d.roll(d.keys.at(i), i, second, out)
	}
	return out
}

// back follows a key's clock that went back. The counts are of a time that is now to
// come: they go; what is usual stays.
func (d *Detector) back(e *entry, i int32, second int64, out []Verdict) []Verdict {
	if d.going[i] != nil {
		out = append(out, d.end(e, i, false))
	}
	known := e.last - e.born
	e.empty()
	e.last, e.born, e.mute, e.late = second, second-known, 0, 0
	d.stats.Jumps++
	return out
}
