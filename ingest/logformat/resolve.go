package logformat

import "bytes"

// searchBudget bounds the work that one line can cause in resolve. A line that
// needs more has so many possible ends that it is ambiguous anyway.
const searchBudget = 256

// search looks for readings of a line, in the order of their ends.
type search struct {
	f      *Format
	line   []byte
	rec    *Record
	steps  []int // the ops that there is a choice at: choices, or only traps
	ends   []int // of the reading that is being tried
	first  []int // of the first reading that was found
	found  int
	budget int

	named bool // go by the names of the captured headers
	cut   bool // look for readings that the line's end cuts
	// Of a search for cut readings: where the first one ends, the index of the
	// trap where they part, and the fault of what got furthest.
	v     verdict
	agree int
	fault Fault
}

func (f *Format) newSearch(line []byte, rec *Record) search {
	n := len(f.choices)
	for len(rec.ends) < 2*n {
		rec.ends = append(rec.ends, 0)
	}
	s := search{f: f, line: line, rec: rec, steps: f.choices, ends: rec.ends[:n], first: rec.ends[n : 2*n]}
	for i := range s.ends {
		s.ends[i] = -1
	}
	return s
}

// run goes by the names of the captured headers first, where they are known
// and matter. They may be outdated: what does not fit them is tried without.
func (s *search) run() {
	s.rec.begin(s.f)
	if len(s.f.traps) > 0 && s.f.ops[s.f.traps[0]].count >= 0 {
		s.named, s.budget = true, searchBudget
		s.try(0, 0, len(s.f.lead))
		s.named = false
	}
	if s.found == 0 {
		s.budget = searchBudget
		s.try(0, 0, len(s.f.lead))
	}
}

// resolve counts the readings of a line: 0, 1, or 2 for "several". When there
// is one, the record holds it.
func (f *Format) resolve(line []byte, rec *Record) int {
	s := f.newSearch(line, rec)
	s.run()
	if s.found != 1 {
		return s.found
	}
	rec.begin(f)
	rec.forced = s.first
	_, _, why := f.exec(line, rec, 0, len(f.ops), len(f.lead))
	rec.forced = nil
	if why != OK {
		return 0
	}
	return 1
}

// try reads on from op at pos, with the choices before step settled. It returns
// true when the search is over.
func (s *search) try(step, op, pos int) bool {
	if s.budget--; s.budget < 0 {
		s.found, s.agree = 2, 0
		return true
	}
	if step == len(s.steps) {
		end, at, why := s.f.exec(s.line, s.rec, op, len(s.f.ops), pos)
		if why == OK && !onlyBlanks(s.line[end:]) {
			at, why = len(s.f.ops)-1, Trailing
		}
		if why != OK {
			return s.stop(verdict{end, at, why})
		}
		return s.whole()
	}
	next := s.steps[step]
	start, at, why := s.f.exec(s.line, s.rec, op, next, pos)
	if why != OK {
		return s.stop(verdict{start, at, why})
	}
	o := &s.f.ops[next]
	if o.code == opHeaders || o.code == opList {
		return s.groups(step, start)
	}
	for end := start; ; end++ {
		k := indexString(s.line[end:], o.lit)
		if k < 0 {
			return false
		}
		end += k
		s.ends[o.choice] = end
		if !o.plausible(s.line[start:end]) {
			continue
		}
		if s.try(step+1, next+1, end+len(o.lit)) {
			return true
		}
	}
}

// whole counts a reading of the whole line.
func (s *search) whole() bool {
	if s.cut || !s.likely() {
		return false
	}
	if s.found++; s.found == 1 {
		copy(s.first, s.ends)
	}
	return s.found == 2
}

// plausible tells whether a choice may end there: a captured cookie that is
// there is NAME=value.
func (o *op) plausible(v []byte) bool {
	if o.field != RequestCookie && o.field != ResponseCookie {
		return true
	}
	return len(v) == 0 || len(v) == 1 && v[0] == '-' || bytes.IndexByte(v, '=') >= 0
}

// indexString is bytes.Index for a needle that is a string: a conversion would
// allocate.
func indexString(b []byte, s string) int {
	for from := 0; ; from++ {
		k := bytes.IndexByte(b[from:], s[0])
		if k < 0 || len(b)-from-k < len(s) {
			return -1
		}
		if from += k; string(b[from:from+len(s)]) == s {
			return from
		}
	}
}
