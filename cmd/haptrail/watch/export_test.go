package watch

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

// Judging tells whether what is counted is judged by now.
func (w *Watch) Judging() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.judging
}

// Expects tells whether load of a key is announced, so that its next burst is none.
func (w *Watch) Expects(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[requestsOfIdentity].detector.Expected(key, time.Now()) == math.Inf(1)
}

// Limits are the thresholds of a kind that were calibrated; "" for the built-in ones.
func (w *Watch) Limits(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		if s.kind.name() == name && s.limits != (burst.Thresholds{}) {
			text, _ := json.Marshal(s.limits)
			return string(text)
		}
	}
	return ""
}

// Save saves what the detectors have learned.
func (w *Watch) Save() error { return w.save() }

// Bursting is how many bursts of identities' requests go on, as the detector has it.
func (w *Watch) Bursting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all[requestsOfIdentity].detector.Open())
}

// NewCallers is what is remembered of so many callers, by their numbers, and how many
// there are.
func NewCallers(most int) (fresh func(who int, second int64) bool, size func() int) {
	c := newCallers(most)
	fresh = func(who int, second int64) bool {
		return c.fresh(caller{frontend: "www", subject: strconv.Itoa(who)}, second)
	}
	return fresh, func() int { return len(c.now) + len(c.former) }
}
