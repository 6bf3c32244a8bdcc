package logformat

import "bytes"

// unfinished is exec's word for a text that the line's end cut off.
const unfinished ParseReason = 0xff

// exec runs the ops from..to on line, from pos on. It returns where it ended
// and, when that is not behind the last op, the op that failed and why. Short
// and unfinished mean that the line ended there.
func (f *Format) exec(line []byte, r *Record, from, to, pos int) (end, at int, why ParseReason) {
	ops := f.ops[from:to]
	for i := range ops {
		o := &ops[i]
		switch o.code {
		case opText:
			if pos+1 < len(line) && line[pos+1] == o.first && line[pos] == '-' && o.dash && r.forced == nil {
				pos += 2 // the usual %CC and %CS: absent
				continue
			}
			end, known := o.find(line, pos, r)
			if end < 0 {
				return pos, from + i, unfinished
			}
			if v := line[pos:end]; !o.plain {
				why = r.assign(o, v)
			} else if len(v) > 1 || len(v) == 1 && (o.quoted || v[0] != '-') {
				r.setText(o.field, v)
			}
			if why != OK {
				return pos, from + i, why
			}
			if pos = end; known {
				pos += len(o.lit)
				continue
			}
		case opInt:
			n, p := uint64(0), pos
			for p < len(line) {
				d := line[p] - '0'
				if d > 9 {
					break
				}
				n = n*10 + uint64(d)
				p++
			}
			if digits := p - pos; digits-1 > 17 || o.field == Retries {
				pos, why = r.readInt(o, line, pos) // signed, absent or wrong
			} else if digits > 0 {
				r.setInt(o.field, int64(n))
				pos = p
			} else {
				pos, why = r.readInt(o, line, pos)
			}
		case opQuoted:
			pos, why = r.readQuoted(o, line, pos)
		case opName:
			pos, why = r.readName(o, line, pos)
		case opDate:
			pos, why = r.readDate(o, line, pos)
		case opAddr:
			pos, why = r.readClient(o, line, pos)
		case opTyped:
			pos, why = r.readTyped(o, line, pos)
		case opJSON:
			pos, why = r.readJSON(o, line, pos)
		case opWord:
			pos, why = r.readWord(o, line, pos)
		default: // opHeaders, opList
			if pos, why = r.readCaptures(o, line, pos); why != OK {
				return pos, from + i, why
			}
			continue
		}
		if why != OK {
			return pos, from + i, why
		}
		if pos < len(line) && line[pos] == o.first && len(o.lit) == 1 {
			pos++
			continue
		}
		if pos, why = o.literal(line, pos); why != OK {
			return pos, from + i, why
		}
	}
	return pos, to, OK
}

// literal steps over the text behind o's value.
func (o *op) literal(line []byte, pos int) (int, ParseReason) {
	return o.match(line, pos, o.lit)
}

func (o *op) match(line []byte, pos int, lit string) (int, ParseReason) {
	rest := line[pos:]
	if len(rest) >= len(lit) {
		if string(rest[:len(lit)]) == lit {
			return pos + len(lit), OK
		}
		return pos, Mismatch
	}
	if string(rest) != lit[:len(rest)] {
		return pos, Mismatch
	}
	if o.tail && len(rest) >= len(o.closing()) {
		return len(line), OK
	}
	return pos, Short
}

// find returns where the text at pos ends, or -1 when the line ends first.
// known tells that the literal behind it was seen to be there.
func (o *op) find(line []byte, pos int, r *Record) (end int, known bool) {
	switch {
	case o.choice >= 0 && r.forced != nil && r.forced[o.choice] >= 0:
		return r.forced[o.choice], true
	case o.escaped:
		return findUnescaped(line, pos, o.first), false
	case o.lit == "" || o.suffix:
		end = len(line) - len(o.lit)
		if end < pos || string(line[end:]) != o.lit {
			return -1, false
		}
		if o.guarded && bytes.IndexByte(line[pos:end], o.guard) >= 0 {
			r.loose = true
		}
		return end, true
	}
	end = pos
	retried := false
	for {
		k := bytes.IndexByte(line[end:], o.first)
		if k < 0 {
			return o.findTail(line, pos), false
		}
		end += k
		if len(o.lit) == 1 || len(line)-end >= len(o.lit) && string(line[end:end+len(o.lit)]) == o.lit {
			break
		}
		end++
		retried = true
	}
	if o.guarded && (retried || o.guard != o.first) && bytes.IndexByte(line[pos:end], o.guard) >= 0 {
		r.loose = true
	}
	return end, true
}

// findTail finds the end of a text at the line's end when only items follow
// that may be absent, and the blank before them is gone too.
func (o *op) findTail(line []byte, pos int) int {
	if !o.tail {
		return -1
	}
	end := len(line) - len(o.closing())
	if end < pos || string(line[end:]) != o.closing() {
		return -1
	}
	return end
}

// findUnescaped finds the first stop at or behind pos that has no backslash, or
// an even number of them, in front of it. -1 when there is none.
func findUnescaped(line []byte, pos int, stop byte) int {
	for end := pos; ; end++ {
		k := bytes.IndexByte(line[end:], stop)
		if k < 0 {
			return -1
		}
		end += k
		run := end
		for run > pos && line[run-1] == '\\' {
			run--
		}
		if (end-run)&1 == 0 {
			return end
		}
	}
}

// readInt reads a decimal number: HAProxy writes "-" for "none", and a "+"
// before what option logasap logged too early and before the retries of a
// redispatched request.
func (r *Record) readInt(o *op, line []byte, pos int) (int, ParseReason) {
	if pos >= len(line) {
		return pos, Short
	}
	sign, p := line[pos], pos
	if sign == '-' || sign == '+' {
		p++
	}
	start, n := p, uint64(0)
	for p < len(line) {
		d := line[p] - '0'
		if d > 9 {
			break
		}
		n = n*10 + uint64(d)
		p++
	}
	if p == start {
		return noNumber(o, line, pos)
	}
	if p-start > 18 {
		return pos, BadNumber
	}
	v := int64(n)
	if sign == '-' {
		v = -v
	}
	r.setInt(o.field, v)
	if o.field == Retries {
		redispatched := int64(0)
		if sign == '+' {
			redispatched = 1
		}
		r.setInt(Redispatched, redispatched)
	}
	return p, OK
}

// noNumber reads what stands for an absent number: "-", or `""` under %{+Q}.
func noNumber(o *op, line []byte, pos int) (int, ParseReason) {
	rest := line[pos:]
	switch {
	case rest[0] == '-':
		return pos + 1, OK
	case o.empty:
		return pos, OK
	case o.quoted && len(rest) > 1 && rest[0] == '"' && rest[1] == '"':
		return pos + 2, OK
	case len(rest) == 1 && (rest[0] == '+' || rest[0] == '"' && o.quoted):
		return pos, Short
	}
	return pos, BadNumber
}

// readName reads the id of a proxy or a server, and the "~" of %ft.
func (r *Record) readName(o *op, line []byte, pos int) (int, ParseReason) {
	p := pos
	for p < len(line) && nameBytes[line[p]] {
		p++
	}
	if p == pos {
		switch {
		case p == len(line):
			return pos, Short
		case o.empty:
			return p, OK
		}
		return pos, BadName
	}
	v, tls := line[pos:p], int64(0)
	if o.grammar == gTransport {
		if p < len(line) && line[p] == '~' {
			tls = 1
			p++
		}
		r.setInt(TLS, tls)
	}
	if len(v) > 1 || v[0] != '-' {
		r.setText(o.field, v)
	}
	return p, OK
}

// nameBytes are those of proxy and server names, and the angle brackets of
// <NOSRV> and the applets.
var nameBytes = func() (t [256]bool) {
	for b := range 256 {
		c := byte(b)
		t[b] = isAlpha(c) || isDigit(c) || c == '_' || c == '.' || c == ':' || c == '-' || c == '<' || c == '>'
	}
	return t
}()

func isNameByte(b byte) bool { return nameBytes[b] }
