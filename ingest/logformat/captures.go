package logformat

import "bytes"

// readCaptures reads captured headers and the literal behind them.
func (r *Record) readCaptures(o *op, line []byte, pos int) (int, ParseReason) {
	switch {
	case o.choice >= 0 && r.forced != nil && r.forced[o.choice] >= 0:
		return r.readCounted(o, line, pos, r.forced[o.choice])
	case o.choice >= 0 && o.opens(line, pos):
		r.loose = true // it may be the literal that begins here
	}
	if o.code == opList {
		return r.readList(o, line, pos, int(o.count))
	}
	return r.readHeaders(o, line, pos)
}

// readCounted reads captured headers of which it is settled how many groups
// (%hr) or words (%hrl) they are.
func (r *Record) readCounted(o *op, line []byte, pos, n int) (int, ParseReason) {
	switch {
	case n == 0:
		return o.absent(line, pos)
	case !o.opens(line, pos):
		if rest := line[pos:]; len(rest) < len(o.open()) && string(rest) == o.open()[:len(rest)] {
			return pos, Short
		}
		return pos, Mismatch
	case o.code == opList:
		return r.readList(o, line, pos, n)
	}
	return r.readHeaders(o, line, pos)
}

// open is what captured headers begin with when there are any.
func (o *op) open() string {
	switch {
	case o.code == opList:
		return `"`
	case o.quoted:
		return `"{`
	}
	return "{"
}

func (o *op) opens(line []byte, pos int) bool {
	open := o.open()
	return len(line)-pos >= len(open) && string(line[pos:pos+len(open)]) == open
}

// readHeaders reads the {a|b} of captured headers and the literal behind it.
// Without captures there is nothing, and of the two blanks around it one.
func (r *Record) readHeaders(o *op, line []byte, pos int) (int, ParseReason) {
	open, rest := o.open(), line[pos:]
	if len(rest) < len(open) || string(rest[:len(open)]) != open {
		if len(rest) > 0 && string(rest) == open[:min(len(rest), len(open))] {
			return pos, Short
		}
		return o.absent(line, pos)
	}
	start := pos + len(open)
	k := bytes.IndexByte(line[start:], '}')
	if k < 0 {
		return start, unfinished
	}
	r.setHeaders(o, line[start:start+k])
	pos = start + k + 1
	if o.quoted {
		if pos == len(line) {
			return pos, Short
		}
		if line[pos] != '"' {
			return pos, Mismatch
		}
		pos++
	}
	return o.literal(line, pos)
}

// absent steps over the literal behind captured headers that are not there.
func (o *op) absent(line []byte, pos int) (int, ParseReason) {
	if o.first == ' ' && (pos == 0 || line[pos-1] == ' ') {
		return o.match(line, pos, o.lit[1:])
	}
	return o.match(line, pos, o.lit)
}

// setHeaders stores captured headers, joined by "|" and #XX-encoded, and those
// of them that fill a field.
func (r *Record) setHeaders(o *op, v []byte) {
	if o.extra >= 0 {
		r.Extra[o.extra].Value = v
		return
	}
	if len(v) > 0 {
		r.setText(o.field, v)
	}
	if o.field != RequestHeaders {
		return
	}
	index := 0
	for _, s := range r.format.headerSlots {
		for index < s.index {
			k := bytes.IndexByte(v, '|')
			if k < 0 {
				return
			}
			v = v[k+1:]
			index++
		}
		one, _, _ := bytes.Cut(v, []byte{'|'})
		if len(one) > 0 && !r.Has(s.field) {
			r.setText(s.field, r.decoded(decodeHash, one))
		}
	}
}

// readList reads the quoted words of %{+Q}hrl, count of them or, when that is
// negative, all there are, and the literal behind them.
func (r *Record) readList(o *op, line []byte, pos, count int) (int, ParseReason) {
	begin := len(r.scratch)
	p := pos
	for n := 0; n != count && p < len(line) && line[p] == '"'; n++ {
		k := bytes.IndexByte(line[p+1:], '"')
		if k < 0 {
			return p, Short
		}
		if n > 0 {
			r.scratch = append(r.scratch, '|')
		}
		r.scratch = append(r.scratch, line[p+1:p+1+k]...)
		p += k + 2
		if n+1 != count && p+1 < len(line) && line[p] == ' ' && line[p+1] == '"' {
			p++
		}
	}
	if p == pos {
		return o.absent(line, pos)
	}
	r.setHeaders(o, r.scratch[begin:])
	return o.literal(line, p)
}

// quotedWords counts the words that readList would read, and one that the
// line's end cuts.
func quotedWords(line []byte, pos int) int {
	n := 0
	for pos < len(line) && line[pos] == '"' {
		n++
		k := bytes.IndexByte(line[pos+1:], '"')
		if k < 0 {
			break
		}
		if pos += k + 2; pos+1 < len(line) && line[pos] == ' ' && line[pos+1] == '"' {
			pos++
		}
	}
	return n
}
