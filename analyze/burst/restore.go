package burst

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/haptrail/haptrail/analyze/burst/seal"
)

// ErrState is why Restore refuses a state: it was cut off or changed, is of something
// else, or of a later version. The way on is a new detector, which learns from the
// samples that were kept.
var ErrState = errors.New("burst: the saved state cannot be used: begin without it, the detector learns again from the samples")

// Restore is a detector that goes on as the one that was saved would have: with the
// same options and the same counts it says the same. Of what came since the state was
// saved it knows nothing: replay the samples, or tell of a [Detector.Gap].
//
// Options count as they are now. Other thresholds or another prior count at once, for
// bursts that go on too. Options.Priors are for roles that the state does not know. A
// key keeps the role that it had. Where MaxKeys is less than there were keys the least
// recently active leave, counted as evicted; the bursts of theirs that went on are
// returned as ends, Verdict.Forgotten set.
//
// A state of the former version is read too; its keys have no habits yet.
//
// An error of the state wraps ErrState; one of the options or of reading does not.
func Restore(from io.Reader, o Options) (d *Detector, left []Verdict, err error) {
	if d, err = New(o); err != nil {
		return nil, nil, err
	}
	r, version, err := seal.NewReader(from, stateName, stateVersion)
	if err == nil {
		left, err = d.restore(r, version)
	}
	switch {
	case errors.Is(err, seal.ErrDamaged):
		return nil, nil, fmt.Errorf("%w (%w)", ErrState, err)
	case err != nil:
		return nil, nil, fmt.Errorf("burst: reading the saved state: %w", err)
	}
	return d, left, nil
}

// odd is a state whose checksums are right and whose numbers are not.
func odd(what string) error {
	return fmt.Errorf("%w: %s that no detector writes", seal.ErrDamaged, what)
}

// restore reads what Save wrote into a detector that knows nothing yet.
func (d *Detector) restore(r *seal.Reader, version uint16) (left []Verdict, err error) {
	frame, err := r.Frame()
	if err != nil && err != io.EOF {
		return nil, err
	}
	f := seal.Of(frame)
	keys, anew := d.head(f, version)
	if f.Bad() || f.More() {
		return nil, odd("numbers of the whole")
	}
	for {
		switch frame, err = r.Frame(); {
		case err == io.EOF && keys == 0:
			return left, nil
		case err == io.EOF:
			return nil, odd("a number of keys")
		case err != nil:
			return nil, err
		}
		for f := seal.Of(frame); f.More(); keys-- {
			if left, err = d.key(f, version, anew, left); err != nil {
				return nil, err
			}
		}
	}
}

// head reads what is not of a single key, and returns how many keys follow and
// whether their limits are to be found anew.
func (d *Detector) head(f *seal.Fields, version uint16) (keys int64, anew bool) {
	keys = int64(f.Uint(math.MaxInt32))
	limits := readThresholds(f)
	s := &d.stats
	for _, n := range []*uint64{&s.Evicted, &s.Late, &s.Refused, &s.Jumps, &s.Announced} {
		*n = f.Uint(math.MaxUint64)
	}
	if version > 1 {
		s.Habitual = f.Uint(math.MaxUint64)
	}
	given := d.pool
	d.pool = newPool(given.priors[0], nil)
	for n := f.Uint(maxRoles); n > 0 && !f.Bad(); n-- {
		name, prior := f.Text(), readPrior(f)
		switch at := d.pool.place(name); {
		case name == "":
			anew = anew || prior != d.pool.priors[0]
		case at == 0 || d.pool.names[len(d.pool.names)-1] != name:
			f.Fail() // twice
		default:
			d.pool.priors[at] = prior
		}
	}
	for role, prior := range given.all() {
		_, known := d.pool.places[role]
		if at := d.pool.place(role); at > 0 && d.pool.priors[at].Keys == 0 {
			d.pool.priors[at] = prior
			anew = anew || known
		}
	}
	for n := f.Uint(maxGaps); n > 0 && !f.Bad(); n-- {
		from, until := f.Int(0, maxSecond), f.Int(0, maxSecond)
		if len(d.gaps) > 0 && from <= d.gaps[len(d.gaps)-1].until || from >= until {
			f.Fail()
		}
		d.gaps = append(d.gaps, span{from, until})
	}
	for n := f.Uint(maxLoads); n > 0 && !f.Bad(); n-- {
		l := load{f.Text(), span{f.Int(math.MinInt64, math.MaxInt64), f.Int(math.MinInt64, math.MaxInt64)}, f.Float(1, math.Inf(1))}
		d.loads = append(d.loads, l)
	}
	return keys, anew || limits != d.limits
}

func readThresholds(f *seal.Fields) (t Thresholds) {
	for w := range t.Ratio {
		t.Ratio[w] = f.Float(1, math.MaxFloat64)
	}
	t.Tail, t.Gate, t.Least = f.Float(-math.MaxFloat64, 0), f.Float(0, math.MaxFloat64), f.Uint32()
	return t
}

func readPrior(f *seal.Fields) (p Prior) {
	for _, of := range []*PerWindow{&p.Mean, &p.Variance, &p.HighWater} {
		for w := range of {
			of[w] = f.Float(0, math.MaxFloat64)
		}
	}
	p.Keys = int(f.Uint(math.MaxInt32))
	if p.check() != "" {
		f.Fail()
	}
	return p
}

// key reads a key, with its burst if one goes on.
func (d *Detector) key(f *seal.Fields, version uint16, anew bool, left []Verdict) ([]Verdict, error) {
	name := f.Text()
	s, bursting := readState(f, version, len(d.pool.priors))
	var g *going
	if bursting {
		g = readGoing(f, version, name, d.words)
	}
	if e, _ := d.keys.find(name); e != nil {
		f.Fail() // twice
	}
	if f.Bad() {
		return nil, odd("numbers of a key")
	}
	e, i, left := d.room(name, left)
	e.state = s
	if g != nil {
		d.going[i] = g
	}
	if anew {
		e.refresh(&d.limits, d.pool.of(e.prior))
	}
	return left, nil
}

// readState reads a key's state, but for the sums, which it makes of the cells.
func readState(f *seal.Fields, version uint16, priors int) (s state, open bool) {
	s.last = f.Int(0, maxSecond)
	s.born = s.last - f.Int(0, 2*maxSecond)
	s.mute = s.last + f.Int(-2*maxSecond, 2*maxSecond)
	s.late = uint8(f.Uint(strayed - 1))
	s.open = f.Uint(1) == 1
	s.disarmed, s.raised = uint8(f.Uint(1<<shapes-1)), uint8(f.Uint(1<<shapes-1))
	s.taught = f.Uint(1) == 1
	busy := f.Uint(1) == 1
	s.prior = uint16(f.Uint(uint64(priors - 1)))
	if s.ticks = uint32(f.Uint(fullTicks)); s.ticks == 0 {
		f.Fail()
	}
	if version == 1 {
		f.Uint32()
	}
	for i := range s.habits {
		if version > 1 {
			s.habits[i] = readHabit(f)
		}
	}
	minute := s.last / 60
	for w := range shapes {
		for _, n := range []*uint32{&s.limit[w], &s.cand[w], &s.wait[w], &s.rare[w], &s.top[w]} {
			*n = f.Uint32()
		}
		s.at[w] = uint32(minute - f.Int(minute-math.MaxUint32, minute))
		s.reach[w] = uint32(minute - f.Int(minute-math.MaxUint32, minute))
		s.first[w], s.second[w] = f.Float(0, math.MaxFloat64), f.Float(0, math.MaxFloat64)
	}
	if busy {
		for i := range s.one {
			s.one[i] = f.Uint32()
		}
		for i := range s.ten {
			s.ten[i] = f.Uint32()
		}
	}
	s.total()
	return s, s.open
}

// readHabit reads a habit.
func readHabit(f *seal.Fields) (h habit) {
	h.row = uint8(f.Uint(math.MaxUint8))
	if h.row == 0 {
		return habit{}
	}
	h.last, h.every, h.lasts = f.Uint32(), uint8(f.Uint(lapse)), uint8(f.Uint(math.MaxUint8))
	for w := range h.most {
		h.most[w] = f.Byte()
	}
	return h
}

// readGoing reads a burst that goes on.
func readGoing(f *seal.Fields, version uint16, key string, words Words) *going {
	second := func() int64 { return f.Int(0, maxSecond) }
	lasting := func() time.Duration { return time.Duration(f.Int(math.MinInt64, math.MaxInt64)) }
	g := &going{began: second()}
	v := &g.worst
	v.Key, v.Words = key, words
	v.Began, v.At = time.Unix(second(), 0).UTC(), time.Unix(second(), 0).UTC()
	v.Window, v.OwnIn, v.Known = lasting(), lasting(), lasting()
	most := uint64(math.MaxUint64)
	g.total, g.found, v.Count, v.Total, v.Limit = f.Uint(most), int(f.Uint(uint64(shapes-1))), f.Uint(most), f.Uint(most), f.Uint(most)
	v.Kind, v.Severity = Kind(f.Uint(uint64(End))), Severity(f.Uint(uint64(High)))
	v.Raised, v.Cold = f.Uint(1) == 1, f.Uint(1) == 1
	v.Expected, v.Own = f.Uint32(), f.Uint32()
	if version > 1 {
		v.Usual, v.Before = f.Uint32(), uint8(f.Uint(habitual-1))
	}
	v.Peers = int(f.Uint(math.MaxInt32))
	g.level, g.told = f.Float(0, math.MaxFloat64), f.Float(0, math.MaxFloat64)
	for _, x := range []*float64{&v.HighWater, &v.Ratio, &v.Tail, &v.Announced} {
		*x = f.Float(math.Inf(-1), math.Inf(1))
	}
	v.Role = f.Text()
	return g
}
