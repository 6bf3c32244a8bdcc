package attribute

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// principals are the runs that have started, by principal and start. Each principal's
// are an interval tree without pointers: the middle of a range is the root of what
// is left and right of it, and latest is the latest end in its range.
type principals struct {
	runs   []*Run
	starts []int64
	latest []int64
}

// span is a time of requests, and how far clocks may be apart, in microseconds.
type span struct{ first, last, slack int64 }

func newPrincipals(runs []Run) principals {
	p := principals{}
	for i := range runs {
		if r := &runs[i]; r.Principal != "" && !r.Started.IsZero() {
			p.runs = append(p.runs, r)
		}
	}
	slices.SortFunc(p.runs, func(a, b *Run) int {
		return cmp.Or(strings.Compare(a.Principal, b.Principal), a.Started.Compare(b.Started), a.compare(b))
	})
	p.starts, p.latest = make([]int64, len(p.runs)), make([]int64, len(p.runs))
	for i, r := range p.runs {
		p.starts[i] = micros(r.Started)
	}
	for from := 0; from < len(p.runs); {
		to := p.end(from, p.runs[from].Principal)
		p.grow(from, to)
		from = to
	}
	return p
}

// end is the end of a principal's runs.
func (p *principals) end(from int, principal string) int {
	return from + sort.Search(len(p.runs)-from, func(i int) bool { return p.runs[from+i].Principal > principal })
}

// grow fills in latest for a range, and returns its root's.
func (p *principals) grow(from, to int) int64 {
	if from >= to {
		return -never
	}
	middle := from + (to-from)/2
	end := never
	if finished := p.runs[middle].Finished; !finished.IsZero() {
		end = micros(finished)
	}
	p.latest[middle] = max(end, p.grow(from, middle), p.grow(middle+1, to))
	return p.latest[middle]
}

// during appends the runs of the use's principal that may have been going on in
// the span, if found has them not.
func (p *principals) during(found []Run, use *Use, in span) []Run {
	from := sort.Search(len(p.runs), func(i int) bool { return p.runs[i].Principal >= use.Subject })
	named := len(found)
	p.each(from, p.end(from, use.Subject), in, func(r *Run) {
		if use.mayBe(r) && !(named > 0 && use.names(r)) {
			found = append(found, *r)
		}
	})
	return found
}

// each visits the runs of a range that overlap the span.
func (p *principals) each(from, to int, in span, visit func(*Run)) {
	for from < to {
		middle := from + (to-from)/2
		if p.latest[middle] < in.first-in.slack {
			return
		}
		p.each(from, middle, in, visit)
		if p.starts[middle] > in.last+in.slack {
			return
		}
		if finished := p.runs[middle].Finished; finished.IsZero() || micros(finished) >= in.first-in.slack {
			visit(p.runs[middle])
		}
		from = middle + 1
	}
}
