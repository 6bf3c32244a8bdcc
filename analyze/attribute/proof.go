package attribute

import (
	"slices"
	"strconv"
	"time"
)

// proof judges a use whose run a signed claim names: proven, whatever the CI says.
// Its record fills in what the claims leave open, or denies some of them.
type proof struct {
	use      *Use
	attempt  uint32 // that a claim names; 0: none does
	attempts pool   // that the claims may mean

	// Where there is no attempt.
	unknown string
	denied  string // the Contradiction
}

func newProof(use *Use, named []*Run, slack time.Duration) proof {
	p := proof{use: use}
	if n, err := strconv.ParseUint(use.Attempt, 10, 32); err == nil {
		p.attempt = uint32(n)
	}
	meant, elsewhere, several := use.resolve(named)
	if len(meant) > 0 && meant[0].Project != meant[len(meant)-1].Project {
		several = "projects"
	}
	switch {
	case several != "":
		p.unknown = "several " + several + " have a run of that id, and no claim says which it is"
		return p
	case elsewhere != nil:
		p.unknown = use.server(elsewhere) + " knows a run of that id in another project only"
		p.denied = use.contradiction(elsewhere, itsProject)
		return p
	case len(meant) == 0:
		p.unknown = use.server(nil) + " has not told of it yet"
		return p
	}
	if p.attempt > 0 {
		if meant = ofAttempt(meant, p.attempt); len(meant) == 0 {
			p.unknown = use.server(named[0]) + " has not told of this attempt yet"
			return p
		}
	}
	p.attempts = newPool(meant, slack, use.candidate)
	return p
}

// ofAttempt are the records of an attempt, or of a CI server that does not count them.
func ofAttempt(meant []*Run, n uint32) []*Run {
	for _, number := range [...]uint32{n, 0} {
		if i := slices.IndexFunc(meant, func(r *Run) bool { return r.Attempt == number }); i >= 0 {
			return meant[i : i+1]
		}
	}
	return nil
}

// at is the verdict at the time that the pool has come to.
func (p *proof) at() Verdict {
	v := p.use.claims(Proven)
	v.Run, v.Attempt = p.use.Run, p.attempt
	r := p.attempts.pick()
	inside := r != nil
	if !inside {
		r = p.attempts.nearest()
	}
	if r == nil {
		v.Why, v.Contradiction = p.use.signed(p.attempt)+"; "+p.unknown, p.denied
		return v
	}
	v.record(r)
	if p.attempt > 0 {
		v.Attempt = p.attempt
	}
	v.Why = p.use.whyProven(p.attempt, r, inside)
	if said := p.use.denial(r); said != nothing {
		v.Contradiction = p.use.contradiction(r, said)
	}
	return v
}
