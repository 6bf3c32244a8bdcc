package logformat

// assign stores v, the whole of a logged value without its quotes, where o
// says.
func (r *Record) assign(o *op, v []byte) ParseReason {
	if len(v) == 0 || len(v) == 1 && v[0] == '-' && !o.quoted {
		return OK
	}
	if o.decode != decodeNone {
		if v = r.decoded(o.decode, v); len(v) == 0 {
			return OK
		}
	}
	if o.field == NumFields && o.grammar != gMillis && o.grammar != gHexMillis {
		if o.extra >= 0 {
			r.Extra[o.extra].Value = v
		}
		if o.grammar == gRequest {
			r.setRequest(v)
		}
		return OK
	}
	why := OK
	switch o.grammar {
	case gText, gHeaderList:
		r.setText(o.field, v)
	case gHash:
		if string(v) != badRequest {
			r.setText(o.field, v)
		}
	case gRequest:
		r.setRequest(v)
	case gName, gTransport:
		if end, _ := r.readName(o, v, 0); end != len(v) {
			why = BadName
		}
	default:
		why = r.assignTyped(o, v)
	}
	if o.lenient {
		return OK
	}
	return why
}

// assignTyped stores a value that has a grammar of its own. r.unmark takes back
// what did not fit.
func (r *Record) assignTyped(o *op, v []byte) ParseReason {
	switch o.grammar {
	case gInt:
		if o.field.Kind() != KindInt {
			break
		}
		if end, why := r.readInt(o, v, 0); why != OK || end != len(v) {
			r.unmark(o.field)
			return BadNumber
		}
	case gHexInt:
		n, ok := hexNumber(v)
		if !ok {
			return BadNumber
		}
		r.setInt(o.field, n)
	case gAddr, gHexAddr:
		return r.setAddr(o, v)
	case gState, gStateCk:
		for _, c := range v {
			if !isAlpha(c) && c != '-' {
				return BadState
			}
		}
		r.setText(o.field, v)
	default:
		return r.assignTime(o, v)
	}
	return OK
}

// setAddr stores an address: the client's as 16 bytes, others as text. "unix"
// is not one.
func (r *Record) setAddr(o *op, v []byte) ParseReason {
	if o.field != ClientAddr {
		if string(v) != "unix" {
			r.setText(o.field, v)
		}
		return OK
	}
	var ok bool
	switch {
	case string(v) == "unix":
		return OK
	case o.grammar == gHexAddr:
		r.Addr, ok = hexAddr(v)
	default:
		r.Addr, ok = parseAddr(v)
	}
	if !ok {
		return BadAddress
	}
	r.mark(ClientAddr)
	return OK
}

// readTyped reads a value whose end its grammar tells.
func (r *Record) readTyped(o *op, line []byte, pos int) (int, ParseReason) {
	end := o.scan(line, pos)
	switch {
	case end > len(line):
		return pos, Short
	case end > pos:
		why := r.assign(o, line[pos:end])
		if why != OK && end == len(line) && !o.last {
			why = Short
		}
		if why != OK {
			return pos, why
		}
		return end, OK
	case pos == len(line) && !o.tail:
		return pos, Short
	case pos < len(line) && line[pos] == '-':
		return pos + 1, OK
	case o.empty:
		return pos, OK
	case o.quoted && len(line)-pos > 1 && line[pos] == '"' && line[pos+1] == '"':
		return pos + 2, OK
	}
	return pos, o.grammar.fault()
}

// scan returns where the value at pos ends, beyond the line's end when the line
// is too short for it.
func (o *op) scan(line []byte, pos int) int {
	switch o.grammar {
	case gDate:
		return pos + dateLen
	case gDateZone:
		return pos + dateZoneLen
	case gState:
		return pos + 2
	case gStateCk:
		return pos + 4
	case gMillis:
		return pos + 3
	case gAddr:
		return addrEnd(line, pos, o.first)
	}
	end := pos
	switch o.grammar {
	case gName, gTransport:
		for end < len(line) && (nameBytes[line[end]] || line[end] == '~' && o.grammar == gTransport) {
			end++
		}
	case gInt:
		for end < len(line) && classDigits.may(line[end]) {
			end++
		}
	case gEpoch, gEpochMs:
		for end < len(line) && isDigit(line[end]) {
			end++
		}
	default:
		for end < len(line) && classHexText.may(line[end]) {
			end++
		}
	}
	return end
}

// fault is the reason for rejecting what is not of this grammar.
func (g grammar) fault() ParseReason {
	switch g {
	case gAddr, gHexAddr:
		return BadAddress
	case gDate, gDateZone, gEpoch, gHexEpoch, gEpochMs:
		return BadTime
	case gName, gTransport:
		return BadName
	case gState, gStateCk:
		return BadState
	case gInt, gHexInt, gMillis, gHexMillis:
		return BadNumber
	}
	return BadValue
}

// hexNumber reads the digits that %{+X} writes.
func hexNumber(v []byte) (int64, bool) {
	n := int64(0)
	if len(v) == 0 || len(v) > 15 {
		return 0, false
	}
	for _, c := range v {
		d := unhex[c]
		if d > 15 {
			return 0, false
		}
		n = n<<4 | int64(d)
	}
	return n, true
}

// unhex is the value of a hexadecimal digit, 0xff for other bytes.
var unhex = func() (t [256]byte) {
	for i := range t {
		switch c := byte(i); {
		case isDigit(c):
			t[i] = c - '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			t[i] = c | 0x20 - 'a' + 10
		default:
			t[i] = 0xff
		}
	}
	return t
}()
