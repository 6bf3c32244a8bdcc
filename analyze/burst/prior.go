package burst

// PerWindow is a number for each window: of 5, 10, 60 and 300 seconds.
type PerWindow [4]float64

// Prior is what a key is judged by before it has a history of its own.
type Prior struct {
	Mean, Variance PerWindow // of the requests in a window; they are worth an hour of own history
	HighWater      PerWindow // the most requests in a window; fades linearly in the first week
	Keys           int       // from how many keys it was learned; 0: it was not
}

const (
	maxRoles = 10_000  // priors that a pool learns; further roles share the default
	mature   = 3 * day // seconds after which a key teaches its role, once a day
	// A window of five minutes holds at most 30 cells of 32 bits; this is above the
	// square of that, and its own square is still a number.
	mostUsual = 1e23

	sinking = 0.99 // what a prior's high-water mark keeps at each lesson of a key below it
)

// pool is the priors by role.
type pool struct {
	priors []Prior // the first is the default
	names  []string
	places map[string]uint16
}

func newPool(first Prior, known map[string]Prior) *pool {
	p := &pool{priors: []Prior{first}, names: []string{""}, places: map[string]uint16{}}
	for role, prior := range known {
		if at := p.place(role); at > 0 {
			p.priors[at] = prior
		}
	}
	return p
}

// place is where the prior of a role is, or will be.
func (p *pool) place(role string) uint16 {
	at, ok := p.places[role]
	if !ok && role != "" && len(p.priors) < maxRoles {
		at = uint16(len(p.priors))
		p.places[role] = at
		p.priors = append(p.priors, Prior{})
		p.names = append(p.names, role)
	}
	return at
}

// of is the prior at a place: the default for as long as nobody has taught it.
func (p *pool) of(at uint16) *Prior {
	if p.priors[at].Keys == 0 {
		return &p.priors[0]
	}
	return &p.priors[at]
}

// teach adds what a key of the role has shown; fresh: for the first time. Means are
// those of the keys, slowly the later ones'. The high-water mark is near the highest
// key's: a new key is to be told apart from the whole role, not from its average.
func (p *pool) teach(at uint16, s *state, fresh bool) {
	if at == 0 {
		return
	}
	prior := &p.priors[at]
	if fresh || prior.Keys == 0 {
		prior.Keys++
	}
	share := 1 / float64(min(prior.Keys, 100))
	for w := range shapes {
		prior.Mean[w] += share * (s.first[w] - prior.Mean[w])
		prior.Variance[w] += share * (s.variance(w) - prior.Variance[w])
		prior.HighWater[w] = max(s.own(w), prior.HighWater[w]*sinking)
	}
}

// all are the learned priors by role.
func (p *pool) all() map[string]Prior {
	known := map[string]Prior{}
	for role, at := range p.places {
		if p.priors[at].Keys > 0 {
			known[role] = p.priors[at]
		}
	}
	return known
}

// check tells what is wrong with a prior's numbers; "" if nothing is.
func (p *Prior) check() string {
	for w := range shapes {
		for _, v := range []float64{p.Mean[w], p.Variance[w], p.HighWater[w]} {
			if !(v >= 0) {
				return "is negative or no number"
			}
			if v > mostUsual {
				return "is more than any count's can be"
			}
		}
	}
	return ""
}
