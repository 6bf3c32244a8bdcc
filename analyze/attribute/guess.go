package attribute

import "time"

// guess judges a use whose token names no run: by its header, as far as the CI's
// record confirms it, and else by what its principal ran at the time.
type guess struct {
	use *Use

	// Attempts of the run that the header names.
	confirmed pool // by all but the time
	untied    pool // nothing says whose they are
	// Where there are none.
	unknown string    // in words
	denied  *Run      // the record that denies it
	says    statement // what that record denies

	going pool // attempts of this principal's runs
}

func newGuess(use *Use, named, going []*Run, slack time.Duration) guess {
	g := guess{use: use, going: newPool(going, slack, use.candidate)}
	if use.ClaimedRun == "" {
		return g
	}
	meant, elsewhere, several := use.resolve(named)
	switch {
	case several != "":
		g.unknown = "an id that several " + several + " have"
	case elsewhere != nil:
		g.denied, g.says = elsewhere, itsProject
	case len(meant) == 0:
		g.unknown = "which " + use.server(nil) + " has not told of"
	}
	var few, more [2]*Run
	confirmed, untied := few[:0], more[:0]
	for _, r := range meant {
		says := use.denial(r)
		if r.Principal != "" && r.Principal != use.Subject {
			says = itsPrincipal
		}
		switch {
		case says != nothing:
			if g.denied == nil || says < g.says { // rather what is nearer to the truth
				g.denied, g.says = r, says
			}
		case r.Principal == "" && (use.Project == "" || r.Project != use.Project):
			untied = append(untied, r)
		default:
			confirmed = append(confirmed, r)
		}
	}
	g.confirmed = newPool(confirmed, slack, use.candidate)
	g.untied = newPool(untied, slack, use.candidate)
	return g
}

// at is the verdict at the time that the pools have come to.
func (g *guess) at() Verdict {
	why, contradiction := "", ""
	if g.use.ClaimedRun != "" {
		if r := g.confirmed.pick(); r != nil {
			return g.byName(r)
		}
		why, contradiction = g.header()
	}
	v := g.byPrincipal()
	v.Why, v.Contradiction = why+v.Why, contradiction
	return v
}

// byName is the verdict where the record confirms the header.
func (g *guess) byName(r *Run) Verdict {
	if g.confirmed.several() {
		return g.ambiguous(&g.confirmed, g.use.whySeveralNamed)
	}
	v := g.use.claims(Corroborated)
	v.record(r)
	v.Why = g.use.whyCorroborated(r)
	return v
}

// header says why the record does not confirm the header, and how it denies it.
func (g *guess) header() (why, contradiction string) {
	if r := g.untied.pick(); r != nil {
		return g.use.whyUntied(r), ""
	}
	r := g.confirmed.nearest()
	if r == nil {
		r = g.untied.nearest()
	}
	switch {
	case r != nil:
		contradiction = g.use.notThen(r)
	case g.denied != nil:
		contradiction = g.use.contradiction(g.denied, g.says)
	default:
		return "the header names run " + text(g.use.ClaimedRun) + ", " + g.unknown + "; ", ""
	}
	return "the header names run " + text(g.use.ClaimedRun) + ", which the CI's record denies; ", contradiction
}

// byPrincipal is the verdict by what the principal ran.
func (g *guess) byPrincipal() Verdict {
	r := g.going.pick()
	switch {
	case r == nil:
		v := g.use.claims(None)
		v.Why = g.use.whyNone()
		return v
	case g.going.several():
		return g.ambiguous(&g.going, g.use.whySeveral)
	}
	v := g.use.claims(Inferred)
	v.record(r)
	v.Why = g.use.whyInferred(r)
	return v
}

func (g *guess) ambiguous(p *pool, why func([]string, bool) string) Verdict {
	v := g.use.claims(Ambiguous)
	v.Candidates = p.candidates()
	v.Why = why(v.Candidates, p.runs > maxCandidates)
	return v
}
