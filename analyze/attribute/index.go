package attribute

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"time"
)

// Index finds the runs that matter to a use among many, however many its principal
// or its CI server has. It does not change, so many may ask it at once.
type Index struct {
	byID        []Run // by id, and by what names them; each attempt once
	byPrincipal principals
}

// NewIndex sorts the runs, once; it keeps a copy of its own.
func NewIndex(runs []Run) *Index {
	order := make([]*Run, len(runs)) // a Run is large to move about
	for i := range runs {
		order[i] = &runs[i]
	}
	slices.SortFunc(order, func(a, b *Run) int { return cmp.Or(strings.Compare(a.ID, b.ID), a.compare(b)) })
	x := &Index{byID: make([]Run, 0, len(runs))}
	for _, r := range order {
		if n := len(x.byID); n == 0 || x.byID[n-1].compare(r) != 0 {
			x.byID = append(x.byID, *r)
		} else {
			x.byID[n-1] = x.byID[n-1].merge(r)
		}
	}
	x.byPrincipal = newPrincipals(x.byID)
	return x
}

// For returns the runs that matter to a use: those that its claim or header names,
// and those of its principal that were going on, by clocks that are slack apart
// (as in Options: 0 means DefaultSlack). Attribute says the same by them as by all.
func (x *Index) For(use Use, slack time.Duration) []Run {
	if use.Subject == "" {
		return nil
	}
	found := x.named(&use)
	if use.Run != "" {
		return found
	}
	first, last := micros(use.First), micros(use.Last)
	slack = Options{Slack: slack}.slack()
	return x.byPrincipal.during(found, &use, span{first: first, last: max(first, last), slack: slack.Microseconds()})
}

// named are the runs that the use names.
func (x *Index) named(use *Use) []Run {
	id := use.id()
	if id == "" {
		return nil
	}
	from := sort.Search(len(x.byID), func(i int) bool { return x.byID[i].ID >= id })
	var found []Run
	for i := from; i < len(x.byID) && x.byID[i].ID == id; i++ {
		if use.names(&x.byID[i]) {
			found = append(found, x.byID[i])
		}
	}
	return found
}
