package burst

import "time"

// Kind is what happened to a burst.
type Kind uint8

// A burst starts once, is told again when it has become worse, and ends once.
const (
	Start Kind = iota + 1
	Update
	End
)

// String is "start", "update" or "end".
func (k Kind) String() string { return [...]string{"", "start", "update", "end"}[k&3] }

// Severity of a burst, by both detectors.
type Severity uint8

// Low: one of the two detectors finds it. Medium: both. High: both, and the count is
// four times the high-water mark or more.
const (
	Low Severity = iota + 1
	Medium
	High
)

// highRatio is where High begins.
const highRatio = 4

// String is "low", "medium" or "high".
func (s Severity) String() string { return [...]string{"", "low", "medium", "high"}[s&3] }

// Verdict is what the detector has to tell about a key. All of its times are event
// time: UTC, whole seconds.
type Verdict struct {
	Kind     Kind
	Severity Severity // the highest so far
	Key      string
	Began    time.Time // when the burst was found: with the key its name
	At       time.Time // of this verdict

	// What was seen; of an end: the worst of the burst.
	Window time.Duration // how long is counted; of replayed rows that stand for longer, their step
	Count  uint64        // requests in it
	Total  uint64        // requests of the burst until now, the first window among them

	// What it is measured by.
	Measure

	// Forgotten marks the end of a burst that may go on: the key had to leave to
	// make room (Options.MaxKeys).
	Forgotten bool

	// Words are what Why speaks of: the detector's (Options.Words).
	Words Words
}

// Measure is what a count is measured by.
type Measure struct {
	HighWater float64 // the most in such a window, decayed: the key's own or, if higher, what is left of its prior
	Expected  uint32  // the least count too rare for the negative binomial, less one
	Ratio     float64 // the count by HighWater, both with a few requests added (see Thresholds.Ratio)
	Tail      float64 // log10 of the probability of such a count or more by the negative binomial
	Limit     uint64  // what the count went over
	Announced float64 // the factor that was announced (Detector.Expect), and that Limit has; 0: none
	Usual     uint32  // what comes at this time of day; Limit is half as much again, or more; 0: nothing does
	Before    uint8   // bursts in a row before it at this time of day, where they are no habit yet

	Own    uint32        // the highest count of the key itself; 0: none yet
	OwnIn  time.Duration // for how long back it is the highest
	Raised bool          // Own was not counted but raised by an earlier burst

	Known time.Duration // for how long the key is watched
	Cold  bool          // HighWater is the prior's: the key is too new
	Role  string        // whose prior it is
	Peers int           // from how many keys' that prior was learned; 0: it is Options.Prior
}
