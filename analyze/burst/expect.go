package burst

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// maxLoads bounds the announcements, each of which costs a match at a start.
const maxLoads = 1_000

// load is an announcement.
type load struct {
	pattern string
	span
	factor float64
}

// Expect announces load: keys that match the pattern, in which * stands for any
// characters, may do factor times as much until the time until, from the time from
// on. A factor of math.Inf(1) silences them. Of several announcements the largest
// factor counts. What was announced is not learned as usual. It says whether a burst
// starts: one that goes on is not ended by it.
func (d *Detector) Expect(pattern string, from, until time.Time, factor float64) error {
	switch {
	case pattern == "":
		return errors.New(`burst: an announcement without a pattern: give a key, or "*" for all`)
	case !from.Before(until):
		return fmt.Errorf("burst: load announced from %s until %s: the end is not after the start", from.Format(time.RFC3339), until.Format(time.RFC3339))
	case !(factor >= 1):
		return fmt.Errorf("burst: load of factor %v announced: give a factor of 1 or more", factor)
	}
	// One that is over by the time of the newest announcement can go, but late rows
	// may still ask for it within the longest window.
	kept := d.loads[:0]
	for _, l := range d.loads {
		if l.until+block > from.Unix() {
			kept = append(kept, l)
		}
	}
	d.loads = kept
	if len(d.loads) >= maxLoads {
		return fmt.Errorf("burst: %d announcements at once: announce with * for several keys", maxLoads)
	}
	d.loads = append(d.loads, load{pattern, span{from.Unix(), until.Unix()}, factor})
	return nil
}

// announced is the factor that counts for a key; 0: none.
func (d *Detector) announced(key string, second int64) float64 {
	factor := 0.0
	for _, l := range d.loads {
		// Windows hold the load for a while after its end.
		if second >= l.from && second < l.until+block && match(l.pattern, key) {
			factor = math.Max(factor, l.factor)
		}
	}
	return factor
}

// match reports whether a key fits a pattern in which * stands for any characters.
func match(pattern, key string) bool {
	star, from := -1, 0 // the last * and where in the key it was tried to end
	p, k := 0, 0
	for k < len(key) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, k
			p++
		case p < len(pattern) && pattern[p] == key[k]:
			p++
			k++
		case star >= 0:
			from++
			p, k = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// Withdraw takes back what was announced for exactly this pattern.
func (d *Detector) Withdraw(pattern string) {
	d.loads = slices.DeleteFunc(d.loads, func(l load) bool { return l.pattern == pattern })
}

// Expected is the factor that is announced for a key at a time; 0: none.
func (d *Detector) Expected(key string, at time.Time) float64 { return d.announced(key, at.Unix()) }
