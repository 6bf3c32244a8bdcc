package burst

// Replay runs a detector over a history as a daemon would have run it at the time:
// whatever is said at a row comes from that row and those before it.
type Replay struct {
	d    *Detector
	last int64
}

// NewReplay is a replay of a history whose rows are in order of time, but for the ten
// seconds that Detector.Observe allows.
func NewReplay(o Options) (*Replay, error) {
	d, err := New(o)
	return &Replay{d: d}, err
}

// Detector is the replay's detector: to announce load to, or a gap, or to ask for its
// counts.
func (r *Replay) Detector() *Detector { return r.d }

// Row replays a row, and returns what there is to tell by then, about this key and
// about others that went silent, and the row's score.
func (r *Replay) Row(row Row) (verdicts []Verdict, score float64) {
	at := row.Time.Unix()
	if at > r.last {
		// Of the second itself more may come.
		verdicts = r.d.Advance(at - 1)
		r.last = at
	}
	verdicts = append(verdicts, r.d.Step(row.Key, at, row.Count)...)
	return verdicts, r.d.Score(row.Key)
}

// Score is how much a key does now, by what is too much, in [0, 1]: below 0.5 it is
// within its limits or what comes at that time of day, at 2/3 it does twice as much as they are. A key that is not known
// scores 0.
func (d *Detector) Score(key string) float64 {
	i, ok := d.keys.places[key]
	if !ok {
		return 0
	}
	e := d.keys.at(i)
	_, level := d.level(e, max(1, d.announced(key, e.last)))
	return level / (1 + level)
}
