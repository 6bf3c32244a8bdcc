package poll

import (
	"slices"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// pace decides when a table is polled next, and whether with a filter. It is pure.
type pace struct {
	interval, max time.Duration
	budget        float64
	stall         time.Duration // that a thread of HAProxy may stand still

	full     time.Duration // what the last unfiltered dump took
	fullUsed int           // of so many entries
	fullAt   time.Duration // when it began, by the monotonic clock
	scan     time.Duration // what HAProxy needs to look at 1,000 entries and show none
	column   runtimeapi.Column
	refused  bool // HAProxy did not take the filter
	wasted   bool // the last filtered dump was not cheaper
}

// plan is the next poll.
type plan struct {
	wait   time.Duration // from the beginning of one poll to that of the next
	filter runtimeapi.Filter
	over   bool // even so the budget is exceeded
}

// What HAProxy needs to look at 1,000 entries, as long as that was not measured here.
// On HAProxy 2.6, with twelve counters, 100,000 entries took 0.11 us each, 400,000
// 0.15, 780,000 0.25 and 1.1 million, which no cache holds, 0.52.
const (
	scanSmall  = 250 * time.Microsecond // up to smallTable
	scanLarge  = 520 * time.Microsecond
	smallTable = 400_000
)

// filterTypes are the rates to filter on, the most telling first. An element of an
// array is none: before 3.2 it has no name in a filter, and gpc0_rate may be one.
var filterTypes = []string{"http_req_rate", "conn_rate", "sess_rate", "bytes_in_rate", "http_err_rate"}

// learn takes the columns to choose a filter from.
func (p *pace) learn(columns []runtimeapi.Column) {
	p.column = runtimeapi.Column{}
	for _, name := range filterTypes {
		if i := slices.IndexFunc(columns, func(c runtimeapi.Column) bool { return c.Name == name && c.Kind == runtimeapi.Rate }); i >= 0 {
			p.column = columns[i]
			return
		}
	}
}

// measured takes what a complete dump cost.
func (p *pace) measured(at, took time.Duration, filtered bool, used, entries int) {
	if !filtered {
		p.full, p.fullUsed, p.fullAt, p.wasted = took, used, at, false
		return
	}
	p.wasted = float64(took) > 0.8*float64(p.expected(used))
	// With few matches nearly all of it was the search.
	if used >= 10_000 && entries*10 <= used {
		p.scan = took * 1000 / time.Duration(used)
	}
}

// expected is what an unfiltered dump would take now.
func (p *pace) expected(used int) time.Duration {
	if p.fullUsed <= 0 {
		return p.full
	}
	return time.Duration(float64(p.full) * float64(used) / float64(p.fullUsed))
}

// next plans the poll after one that began at a time and found so many entries used.
// A full dump is the rule: it alone tells which keys are gone, and in it HAProxy yields
// all the time. A filter on a rate shows the keys that are active: it is taken where the
// full dump is over budget, the search would not stall HAProxy, and no activity can fall
// between two polls. (Filters within the budget did the 99th percentile of requests no
// good, and the 99.9th some harm: BenchmarkLatency.)
func (p *pace) next(at time.Duration, used int) plan {
	full := p.expected(used)
	need := time.Duration(float64(full) / p.budget)
	whole := plan{wait: max(p.interval, min(need, p.max)), over: need > max(p.interval, p.max)}
	if need <= p.interval || p.column.Name == "" || p.refused || p.wasted || at-p.fullAt >= max(need, p.max) {
		return whole
	}
	search := p.search(used)
	wait := max(p.interval, time.Duration(float64(search)/p.budget))
	if search > p.stall || wait > whole.wait || wait >= hides(p.column) {
		return whole
	}
	return plan{wait: wait, filter: runtimeapi.Filter{Where: []runtimeapi.Condition{{Data: p.column.Name, Op: runtimeapi.Greater}}}}
}

// search is what HAProxy needs to look through a table and show nothing.
func (p *pace) search(used int) time.Duration {
	scan := p.scan
	switch {
	case scan > 0:
	case used <= smallTable:
		scan = scanSmall
	default:
		scan = scanLarge
	}
	return scan * time.Duration(used) / 1000
}

// hides is for how long at least a rate is above 0 after an event. HAProxy counts in
// periods and adds to the current one what is left of the one before, rounded down: two
// events at the end of a period are 0 when half of the next one is over
// (read_freq_ctr_period, freq_ctr.h).
func hides(rate runtimeapi.Column) time.Duration { return rate.Period / 2 }

// failed plans the poll after one that took so long and came to no end. What costs
// HAProxy nothing is tried again soon.
func (p *pace) failed(took time.Duration) plan {
	return plan{wait: min(max(p.interval, time.Duration(float64(took)/p.budget)), p.max)}
}
