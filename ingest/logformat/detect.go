package logformat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Detect finds the built-in formats of the given lines (message texts, without
// syslog header). The set that it returns begins with the formats that match,
// the most frequent first, and goes on with the other built-in ones: the
// frontends of one HAProxy often log in different formats. matched is the
// number of those that did match.
//
// Lines that are no traffic (see Classify) do not count. The error says what
// was tried and how far the best format got.
func Detect(lines [][]byte, opts Options) (set *Set, matched int, err error) {
	all := make([]Named, len(builtins))
	for i, b := range builtins {
		f, err := Compile(b.format, opts)
		if err != nil {
			return nil, 0, fmt.Errorf("built-in format %s: %w", b.name, err)
		}
		all[i] = Named{b.name, f}
	}
	d := detection{matcher: NewSet(all...).Matcher(), hits: make([]int, len(all))}
	for _, line := range lines {
		d.look(line)
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
		if d.hits[i] > 0 {
			matched++
		}
	}
	if matched == 0 {
		return nil, 0, d.failure()
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(d.hits[b], d.hits[a]) })
	ranked := make([]Named, len(all))
	for to, from := range order {
		ranked[to] = all[from]
	}
	return NewSet(ranked...), matched, nil
}

// detection counts which format matches how many lines. A whole match weighs
// more than any number of truncated ones.
type detection struct {
	matcher *Matcher
	rec     Record
	hits    []int
	lines   int // traffic lines that were looked at
	nearest Fault
	format  int
	line    []byte
}

func (d *detection) look(line []byte) {
	if len(trimEnd(line)) == 0 {
		return
	}
	if _, ok := Classify(line); ok {
		return
	}
	d.lines++
	i, fault := d.matcher.Parse(line, &d.rec)
	switch {
	case fault.Reason != OK:
		if d.line == nil || fault.Pos > d.nearest.Pos {
			d.nearest, d.format, d.line = fault, i, line
		}
	case d.rec.Truncated:
		d.hits[i]++
	default:
		d.hits[i] += 1 << 20
	}
}

func (d *detection) failure() error {
	if d.lines == 0 {
		return errors.New("no format detected: there are no log lines of requests or connections")
	}
	name, f := d.matcher.set.Format(d.format)
	shown := d.line
	if len(shown) > 200 {
		shown = shown[:200]
	}
	return fmt.Errorf("no format detected: tried %s on %d lines; %s came nearest: %s; the line was %q: "+
		"name the format, or the haproxy.cfg that it is in",
		strings.Join(d.matcher.set.Names(), ", "), d.lines, name, f.Describe(d.nearest), shown)
}
