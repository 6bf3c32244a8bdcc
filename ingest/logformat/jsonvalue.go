package logformat

import "bytes"

// readJSON reads one value that %{+json} wrote: a string in which only `"` and
// `\` are escaped, a number, true, false, null, or the array of %hr and %hrl.
func (r *Record) readJSON(o *op, line []byte, pos int) (int, ParseReason) {
	if pos >= len(line) {
		return pos, Short
	}
	switch line[pos] {
	case '"':
		end := findUnescaped(line, pos+1, '"')
		if end < 0 {
			return pos + 1, unfinished
		}
		v := r.decoded(decodeLenient, line[pos+1:end])
		if why := r.assignJSON(o, v); why != OK {
			return pos, why
		}
		return end + 1, OK
	case '[':
		return r.readArray(o, line, pos)
	}
	end := pos
	for end < len(line) && line[end] != ',' && line[end] != '}' && line[end] != ' ' {
		end++
	}
	switch v := line[pos:end]; string(v) {
	case "null":
	case "true":
		return end, r.assignBool(o, v, 1)
	case "false":
		return end, r.assignBool(o, v, 0)
	default:
		if len(v) == 0 || v[0] != '-' && !isDigit(v[0]) {
			if end == len(line) {
				return pos, Short
			}
			return pos, BadValue
		}
		if why := r.assignJSON(o, v); why != OK {
			return pos, why
		}
	}
	return end, OK
}

// assignJSON stores a scalar. Captured headers come as arrays only.
func (r *Record) assignJSON(o *op, v []byte) ParseReason {
	if o.mayBeAbsent() {
		r.setHeaders(o, v)
		return OK
	}
	switch o.grammar {
	case gDate, gDateZone, gState, gStateCk, gMillis:
		if want := o.scan(nil, 0); len(v) != want && len(v) > 0 {
			return o.grammar.fault()
		}
	}
	return r.assign(o, v)
}

func (r *Record) assignBool(o *op, v []byte, n int64) ParseReason {
	if o.field < NumFields && o.field.Kind() == KindInt {
		r.setInt(o.field, n)
		return OK
	}
	return r.assign(o, v)
}

// readArray reads ["a", null, "b"] as a||b.
func (r *Record) readArray(o *op, line []byte, pos int) (int, ParseReason) {
	begin := len(r.scratch)
	p := pos + 1
	for n := 0; ; n++ {
		for p < len(line) && (line[p] == ' ' || line[p] == ',') {
			p++
		}
		if p >= len(line) {
			return pos, Short
		}
		if line[p] == ']' {
			break
		}
		if n > 0 {
			r.scratch = append(r.scratch, '|')
		}
		switch {
		case line[p] == '"':
			end := findUnescaped(line, p+1, '"')
			if end < 0 {
				return pos, Short
			}
			r.scratch = appendLenient(r.scratch, line[p+1:end])
			p = end + 1
		case bytes.HasPrefix(line[p:], []byte("null")):
			p += len("null")
		default:
			return p, BadValue
		}
	}
	if v := r.scratch[begin:]; len(v) > 0 {
		r.setHeaders(o, v)
	}
	return p + 1, OK
}
