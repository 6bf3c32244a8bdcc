package burst

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Noun is a thing in words, of one and of several: "denial", "denials". A unit has
// the same for both: "kB", "kB".
type Noun struct{ One, Many string }

// Words are what verdicts speak of. What is left out is as in "requests of an
// identity".
type Words struct {
	Counted Noun // what is counted. Default: request, requests
	Subject Noun // whose it is. Default: identity, identities
	// Where is what else a key names, said behind its maximum: "at this endpoint".
	// Default: nothing.
	Where string
}

// fill puts the defaults in.
func (w *Words) fill() {
	if w.Counted == (Noun{}) {
		w.Counted = Noun{"request", "requests"}
	}
	if w.Subject == (Noun{}) {
		w.Subject = Noun{"identity", "identities"}
	}
}

// check tells what is wrong with words; "" if nothing is.
func (w *Words) check() string {
	for _, n := range []Noun{w.Counted, w.Subject} {
		if n.One == "" || n.Many == "" {
			return fmt.Sprintf("Words has %q for one and %q for several: give both or none", n.One, n.Many)
		}
	}
	return ""
}

// Why is the verdict in words, such as "412 requests in 10 s; this identity's own
// maximum in 14 days is 38; expected <= 21".
func (v *Verdict) Why() string {
	speak := v.Words
	speak.fill()
	var b strings.Builder
	switch {
	case v.Kind == End && v.Forgotten:
		fmt.Fprintf(&b, "no longer watched, for there are too many %s; at worst ", speak.Subject.Many)
	case v.Kind == End:
		fmt.Fprintf(&b, "over after %s with %s; at worst ", lasting(v.At.Sub(v.Began)), speak.Counted.of(v.Total))
	}
	fmt.Fprintf(&b, "%s in %s; ", speak.Counted.of(v.Count), lasting(v.Window))
	where := ""
	if speak.Where != "" {
		where = " " + speak.Where
	}
	switch {
	case v.Cold:
		fmt.Fprintf(&b, "known%s for %s only, so judged by %s, at most %s", where, lasting(v.Known), v.prior(&speak), digits(fit64(v.HighWater+0.5)))
	case v.Own == 0:
		fmt.Fprintf(&b, "this %s never did more than wait%s in %s", speak.Subject.One, where, lasting(v.Known))
	default:
		fmt.Fprintf(&b, "this %s's own maximum%s in %s is %s", speak.Subject.One, where, lasting(v.OwnIn), digits(uint64(v.Own)))
		if v.Raised {
			b.WriteString(" (raised by an earlier burst)")
		}
	}
	fmt.Fprintf(&b, "; expected <= %s", digits(uint64(v.Expected)))
	switch {
	case v.Usual > 0:
		fmt.Fprintf(&b, "; %s at this time of day are usual", digits(uint64(v.Usual)))
	case v.Before == 1:
		b.WriteString("; the second one in a row at this time of day")
	case v.Before == 2:
		b.WriteString("; the third one in a row at this time of day, and the last that is told if it stays like that")
	}
	if v.Announced > 0 {
		fmt.Fprintf(&b, "; %s times that was announced", strconv.FormatFloat(v.Announced, 'g', 3, 64))
	}
	return b.String()
}

// prior names whose prior a key is measured by.
func (m *Measure) prior(speak *Words) string {
	switch {
	case m.Peers == 0:
		return "what is usual for " + speak.Subject.Many
	case m.Peers == 1:
		return fmt.Sprintf("the other %s of role %q", speak.Subject.One, m.Role)
	}
	return fmt.Sprintf("the %s other %s of role %q", digits(uint64(m.Peers)), speak.Subject.Many, m.Role)
}

// of is so many of a thing.
func (n Noun) of(count uint64) string {
	if count == 1 {
		return "1 " + n.One
	}
	return digits(count) + " " + n.Many
}

// digits is a number with its thousands apart: 1,204.
func digits(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// lasting is a duration in its largest unit of which there are at least two,
// rounded down; seconds up to ten minutes, for that is how windows are named.
func lasting(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return strconv.Itoa(int(d/day)) + " days"
	case d >= 2*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " hours"
	case d > 10*time.Minute:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return strconv.Itoa(int(d/time.Second)) + " s"
}
