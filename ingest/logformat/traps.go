package logformat

import (
	"bytes"
	"strings"
)

// HAProxy writes nothing for %hr, %hs, %hrl and %hsl where nothing was
// captured: on frontends without captures, and on any frontend for a request
// that failed before there was a stream (400, 408). In a format such as
// "%hr %hs {%sslv/%sslc}" the "{" that a line has there may thus begin either
// of them or be the literal. Such an op is a trap. Parse notices when its
// opening stands in a line, and resolve then tries every number of groups.
//
// A reading with too few groups would hide the others in the values behind
// them. That is why these values are opWord: each byte must be one that HAProxy
// writes there. Two readings are left only where a raw value (%[var(txn.x)])
// could hold the groups, which has a Warning of its own.

// trap marks op i as a trap if the text behind it can begin as it does.
func (c *compiler) trap(i int) {
	o := &c.ops[i]
	if !c.opensBehind(i, o.open()) {
		return
	}
	if i > 0 {
		before := &c.ops[i-1]
		o.follows = before.choice >= 0 && before.code == o.code && before.quoted == o.quoted && strings.Trim(before.lit, " ") == ""
	}
	o.choice = int16(len(c.choices))
	c.choices = append(c.choices, i)
	c.traps = append(c.traps, i)
	it := c.items[o.item]
	c.note(&node{pos: it.Pos - 1}, Note, "HAProxy writes nothing for %s where nothing was captured, and a literal behind it begins with %q too: "+
		"lines are tried with it and without, which takes longer; another literal there (such as \"<\") avoids it", it.Source, o.open())
}

// opensBehind tells whether the literal behind op i, or behind captured headers
// that follow it and may be absent too, begins with open.
func (c *compiler) opensBehind(i int, open string) bool {
	for ; i < len(c.ops) && (c.ops[i].code == opHeaders || c.ops[i].code == opList); i++ {
		lit := strings.TrimPrefix(c.ops[i].lit, " ")
		if lit != "" {
			return strings.HasPrefix(lit, open)
		}
	}
	return false
}

// markWords sets the texts behind a trap to be checked.
func (c *compiler) markWords() {
	if len(c.traps) == 0 {
		return
	}
	quoted := false
	for i := c.traps[0]; i < len(c.ops); i++ {
		o := &c.ops[i]
		quoted = quoted || o.choice >= 0 && (o.code == opHeaders || o.code == opList) && o.quoted
		o.shaped = quoted && o.grammar == gRequest
		if o.code == opText && !o.escaped && o.class != classRaw {
			o.code = opWord
		}
	}
}

// readWord reads a text up to its literal, and refuses bytes that HAProxy does
// not write in it.
func (r *Record) readWord(o *op, line []byte, pos int) (int, ParseReason) {
	end, _ := o.find(line, pos, r)
	if end < 0 {
		return pos, unfinished
	}
	v := line[pos:end]
	if len(v) != 1 || v[0] != '-' {
		for _, b := range v {
			// A method is a token of RFC 9110, which may hold these two.
			if !o.class.may(b) && (o.class != classWord || b != '\'' && b != '|') {
				return pos, BadValue
			}
		}
	}
	if o.shaped && !isRequest(v) {
		return pos, BadValue
	}
	if why := r.assign(o, v); why != OK {
		return pos, why
	}
	return end, OK
}

// isRequest tells whether v looks like what %r writes: a request line, perhaps
// cut at tune.http.logurilen (1024 unless configured). A captured header in the
// quotes of %{+Q}hrl is not taken for one then, even where the line's end cuts
// the request itself off.
func isRequest(v []byte) bool {
	k := bytes.LastIndexByte(v, ' ')
	return string(v) == badRequest || k > 0 && isVersion(v[k+1:]) || len(v) >= 1000
}

// groups tries the numbers of groups or words that the trap at step may have.
func (s *search) groups(step, pos int) bool {
	next := s.steps[step]
	o := &s.f.ops[next]
	has, scratch := s.rec.has, len(s.rec.scratch)
	for n := s.most(o, pos); n >= 0; n-- {
		if s.named && !s.agrees(o, pos, n) {
			continue
		}
		s.ends[o.choice] = n
		end, why := s.rec.readCounted(o, s.line, pos, n)
		over := false
		if why == OK {
			over = s.try(step+1, next+1, end)
		} else {
			over = s.stop(verdict{end, next, why})
		}
		if over {
			return true
		}
		s.rec.has, s.rec.scratch = has, s.rec.scratch[:scratch]
	}
	return false
}

// most is the largest number that is worth trying for the trap o at pos. Which
// of %hr and %hs a lone group belongs to cannot be seen: it is %hr's.
func (s *search) most(o *op, pos int) int {
	switch {
	case s.named && o.code == opList:
		return int(o.count)
	case o.code == opHeaders && (s.named || !o.follows || s.ends[o.choice-1] > 0):
		return 1
	case o.code == opList && !o.follows:
		return quotedWords(s.line, pos)
	}
	return 0
}

// agrees tells whether n groups or words at pos agree with the names of the
// captured headers: HAProxy writes all of them, of requests and responses, or
// none.
func (s *search) agrees(o *op, pos, n int) bool {
	if first := &s.f.ops[s.f.traps[0]]; o != first && (n > 0) != (s.ends[first.choice] > 0) {
		return false
	}
	if n == 0 {
		return true
	}
	if o.code == opList {
		return n == int(o.count) && (s.cut || quotedWords(s.line, pos) >= n)
	}
	bars := int16(0)
	for _, b := range s.line[min(len(s.line), pos+len(o.open())):] {
		if b == '}' {
			return bars == o.count-1
		}
		if b == '|' {
			bars++
		}
	}
	return s.cut && bars < o.count
}

// likely tells whether the names of the captured headers allow the reading that
// is in the record: only a request without a stream, which has no method
// either, has no captures.
func (s *search) likely() bool {
	return !s.named || s.ends[s.f.ops[s.f.traps[0]].choice] > 0 || !s.rec.Has(Method)
}

// settleCut judges a line of a format with traps that no reading matches whole.
// When it can be a cut line in several ways, what stands in front of the trap
// where they part is kept.
func (f *Format) settleCut(line []byte, rec *Record) Fault {
	s := f.newSearch(line, rec)
	s.steps, s.cut, s.agree = f.traps, true, len(f.traps)
	s.run()
	to, v := len(f.ops), s.v
	switch {
	case s.found == 0:
		return s.fault
	case s.found > 1:
		to = f.traps[s.agree]
		if v = (verdict{len(line), to, Short}); to < f.truncatable {
			return Fault{Reason: Short, Pos: len(line), Item: f.itemOf(to)}
		}
	}
	rec.begin(f)
	rec.forced = s.first
	f.exec(line, rec, 0, to, len(f.lead))
	rec.forced = nil
	if s.found > 1 {
		rec.Truncated = true
	} else {
		f.truncate(line, rec, v)
	}
	return Fault{}
}

// stop takes note of a reading that ends at v.
func (s *search) stop(v verdict) bool {
	if !s.cut {
		return false
	}
	if fault := s.f.cutFault(s.line, v); fault.Reason != OK {
		if s.fault.Reason == OK || fault.Pos > s.fault.Pos {
			s.fault = fault
		}
		return false
	}
	// The traps behind the place of the cut were not decided on.
	for _, t := range s.f.traps {
		if t > v.at {
			s.ends[s.f.ops[t].choice] = -1
		}
	}
	if s.found++; s.found == 1 {
		copy(s.first, s.ends)
		s.v = v
		return false
	}
	for i, t := range s.f.traps {
		if c := s.f.ops[t].choice; s.ends[c] != s.first[c] {
			s.agree = min(s.agree, i)
			break
		}
	}
	return false
}
