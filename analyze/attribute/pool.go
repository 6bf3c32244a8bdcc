package attribute

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// never is a time after all others.
const never int64 = math.MaxInt64

// micros is a time as requests have it, in microseconds.
func micros(t time.Time) int64 { return t.UnixMicro() }

// attempt is an attempt of a run with the time that it may have made requests in,
// by clocks that are slack apart: in [from, until), both in microseconds.
type attempt struct {
	*Run
	start, from, until int64
	run                int32 // its run's place among the pool's
}

func newAttempt(r *Run, slack time.Duration) attempt {
	a := attempt{Run: r, start: never, from: never, until: never}
	if r.Started.IsZero() {
		return a
	}
	a.start = micros(r.Started)
	a.from = a.start - slack.Microseconds()
	if !r.Finished.IsZero() {
		a.until = micros(r.Finished) + slack.Microseconds() + 1 // the end itself belongs to it
	}
	return a
}

// pool is attempts of which some are going on, at a time that only moves forward.
// Whatever is asked of it takes logarithmic time.
type pool struct {
	attempts               []attempt // by start
	ends                   []int32   // of attempts, by until
	started, opened, ended int       // how many are past

	open tree // of attempts
	// Of several runs; of one, both are empty.
	names   []string // "project/id", sorted
	going   []int32  // how many attempts of each are open
	running tree     // which of them have any
	runs    int      // how many have any
}

// newPool takes attempts in the order of Run.compare.
func newPool(list []*Run, slack time.Duration, name func(*Run) string) pool {
	p := pool{}
	if len(list) == 0 {
		return p
	}
	p.attempts = make([]attempt, len(list))
	for i, r := range list {
		p.attempts[i] = newAttempt(r, slack)
		if i > 0 {
			p.attempts[i].run = p.attempts[i-1].run
			if list[i-1].compareRun(r) != 0 {
				p.attempts[i].run++
			}
		}
	}
	if runs := p.attempts[len(list)-1].run + 1; runs > 1 {
		p.rank(int(runs), name)
	}
	if len(list) > 1 {
		slices.SortStableFunc(p.attempts, func(a, b attempt) int { return cmp.Compare(a.start, b.start) })
	}
	p.ends = make([]int32, 0, len(list))
	for i := range p.attempts {
		if a := &p.attempts[i]; a.from < a.until && a.until != never {
			p.ends = append(p.ends, int32(i))
		}
	}
	if len(p.ends) > 1 {
		slices.SortFunc(p.ends, func(a, b int32) int { return cmp.Compare(p.attempts[a].until, p.attempts[b].until) })
	}
	p.open = newTree(len(list))
	return p
}

// rank numbers the runs in the order of their names.
func (p *pool) rank(runs int, name func(*Run) string) {
	type named struct {
		name string
		run  int32
	}
	byName := make([]named, 0, runs)
	for i := range p.attempts {
		if a := &p.attempts[i]; int(a.run) == len(byName) {
			byName = append(byName, named{name(a.Run), a.run})
		}
	}
	slices.SortStableFunc(byName, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	p.names = make([]string, runs)
	place := make([]int32, runs)
	for i, n := range byName {
		p.names[i], place[n.run] = n.name, int32(i)
	}
	for i := range p.attempts {
		p.attempts[i].run = place[p.attempts[i].run]
	}
	p.going, p.running = make([]int32, runs), newTree(runs)
}

// advance moves the time on to now.
func (p *pool) advance(now int64) {
	for ; p.started < len(p.attempts) && p.attempts[p.started].start <= now; p.started++ {
	}
	for ; p.opened < len(p.attempts) && p.attempts[p.opened].from <= now; p.opened++ {
		if a := &p.attempts[p.opened]; a.from < a.until {
			p.count(int32(p.opened), 1)
		}
	}
	for ; p.ended < len(p.ends) && p.attempts[p.ends[p.ended]].until <= now; p.ended++ {
		p.count(p.ends[p.ended], -1)
	}
}

// count takes an attempt in, or out.
func (p *pool) count(i, by int32) {
	p.open.add(int(i), by)
	run := p.attempts[i].run
	if p.names == nil {
		return
	}
	before := p.going[run]
	p.going[run] += by
	if before == 0 || p.going[run] == 0 {
		p.running.add(int(run), by)
		p.runs += int(by)
	}
}

// next is the next time at which anything changes.
func (p *pool) next() int64 {
	next := never
	if p.started < len(p.attempts) {
		next = p.attempts[p.started].start
	}
	if p.opened < len(p.attempts) {
		next = min(next, p.attempts[p.opened].from)
	}
	if p.ended < len(p.ends) {
		next = min(next, p.attempts[p.ends[p.ended]].until)
	}
	return next
}

// several tells whether attempts of more than one run are going on.
func (p *pool) several() bool { return p.runs > 1 }

// pick is the attempt that is going on: of several, the one that started last and,
// where clocks alone let one be going on that has not started, rather one that has.
// nil: none.
func (p *pool) pick() *Run {
	if len(p.attempts) == 0 {
		return nil
	}
	k := max(p.open.sum(p.started), 1)
	if k > p.open.sum(len(p.attempts)) {
		return nil
	}
	return p.attempts[p.open.find(k)].Run
}

// nearest is the attempt that started last, going on or not, or else the first to
// start. nil: there is none at all.
func (p *pool) nearest() *Run {
	if len(p.attempts) == 0 {
		return nil
	}
	return p.attempts[max(p.started, 1)-1].Run
}

// maxCandidates bounds what an ambiguous verdict lists.
const maxCandidates = 10

// candidates are the names of the runs that are going on, the first of them.
func (p *pool) candidates() []string {
	names := make([]string, min(p.runs, maxCandidates))
	for i := range names {
		names[i] = p.names[p.running.find(int32(i+1))]
	}
	return names
}

// tree counts marks over places in a row (Fenwick's).
type tree []int32

func newTree(n int) tree { return make(tree, n+1) }

func (t tree) add(i int, by int32) {
	for i++; i < len(t); i += i & -i {
		t[i] += by
	}
}

// sum is the number of marks in the first n places.
func (t tree) sum(n int) (sum int32) {
	for ; n > 0; n -= n & -n {
		sum += t[n]
	}
	return sum
}

// find is the place of the k-th mark, from 1.
func (t tree) find(k int32) int {
	at := 0
	for step := 1 << bits.Len(uint(len(t))); step > 0; step >>= 1 {
		if to := at + step; to < len(t) && t[to] < k {
			at, k = to, k-t[to]
		}
	}
	return at
}
