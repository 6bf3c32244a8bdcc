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
	ends   []int // of the reading that is being tried
	first  []int // of the first reading that was found
	found  int
	budget int
}

// resolve counts the readings of a line: 0, 1, or 2 for "several". When there
// is one, the record holds it.
func (f *Format) resolve(line []byte, rec *Record) int {
	n := len(f.choices)
	for len(rec.ends) < 2*n {
		rec.ends = append(rec.ends, 0)
	}
	s := search{f: f, line: line, rec: rec, ends: rec.ends[:n], first: rec.ends[n : 2*n], budget: searchBudget}
	s.try(0, 0, len(f.lead))
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

// try reads on from op at pos, with the ends of the choices before choice
// settled. It returns true when the search is over.
func (s *search) try(choice, op, pos int) bool {
	if s.budget--; s.budget < 0 {
		s.found = 2
		return true
	}
	if choice == len(s.f.choices) {
		end, _, why := s.f.exec(s.line, s.rec, op, len(s.f.ops), pos)
		if why != OK || !onlyBlanks(s.line[end:]) {
			return false
		}
		if s.found++; s.found == 1 {
			copy(s.first, s.ends)
		}
		return s.found == 2
	}
	next := s.f.choices[choice]
	start, _, why := s.f.exec(s.line, s.rec, op, next, pos)
	if why != OK {
		return false
	}
	lit := s.f.ops[next].lit
	for end := start; ; end++ {
		k := indexString(s.line[end:], lit)
		if k < 0 {
			return false
		}
		end += k
		s.ends[choice] = end
		if !s.f.ops[next].plausible(s.line[start:end]) {
			continue
		}
		if s.try(choice+1, next+1, end+len(lit)) {
			return true
		}
	}
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
