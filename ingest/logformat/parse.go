package logformat

// Parse reads one line, the message text without its syslog header, into rec.
// A trailing NUL, CR or LF and trailing blanks do not count. It allocates
// nothing once rec has served a few lines. On a Fault, what rec holds is
// meaningless.
//
// Where the last item is a text or a number without a literal behind it, a cut
// in its value cannot be seen.
//
// A line that ends before the format does is no fault when the client and the
// time were read: rec.Truncated is set then, and the value that was cut is kept
// when it is a text (rec.Cut names it) and dropped when it is a number.
func (f *Format) Parse(line []byte, rec *Record) Fault {
	line = trimEnd(line)
	rec.begin(f)
	if len(line) < len(f.lead) || string(line[:len(f.lead)]) != f.lead {
		return f.leadFault(line)
	}
	pos, at, why := f.exec(line, rec, 0, len(f.ops), len(f.lead))
	if why == OK && !onlyBlanks(line[pos:]) {
		why, at = Trailing, len(f.ops)-1
	}
	if why != OK || rec.loose {
		if fault := f.settle(line, rec, verdict{pos, at, why}); fault.Reason != OK {
			return fault
		}
	}
	rec.derive()
	return Fault{}
}

func (f *Format) leadFault(line []byte) Fault {
	n := 0
	for n < len(line) && line[n] == f.lead[n] {
		n++
	}
	if n == len(line) {
		return Fault{Reason: Short, Pos: n}
	}
	return Fault{Reason: Mismatch, Pos: n}
}

// verdict is what exec returned.
type verdict struct {
	pos, at int
	why     ParseReason
}

// settle judges a line that the first reading does not match, or that may have
// two readings.
func (f *Format) settle(line []byte, rec *Record, v verdict) Fault {
	if len(f.choices) > 0 && f.choices[0] <= v.at {
		switch f.resolve(line, rec) {
		case 1:
			return Fault{}
		case 2:
			return Fault{Reason: Ambiguous, Pos: v.pos, Item: f.itemOf(v.at)}
		}
		if v.why != OK && len(f.traps) > 0 && f.traps[0] <= v.at {
			return f.settleCut(line, rec)
		}
		rec.begin(f)
		f.exec(line, rec, 0, len(f.ops), len(f.lead))
	}
	if v.why == OK {
		return Fault{} // the first reading after all
	}
	if fault := f.cutFault(line, v); fault.Reason != OK {
		return fault
	}
	f.truncate(line, rec, v)
	return Fault{}
}

// cutFault is OK when v is a place where the line's end can have cut a line of
// f, and what was read until there is worth keeping.
func (f *Format) cutFault(line []byte, v verdict) Fault {
	switch {
	case v.why != Short && v.why != unfinished:
		return Fault{Reason: v.why, Pos: v.pos, Item: f.itemOf(v.at)}
	case v.at < f.truncatable:
		return Fault{Reason: Short, Pos: len(line), Item: f.itemOf(v.at)}
	case v.why == unfinished && !f.ops[v.at].mayEnd(line[v.pos:]):
		return Fault{Reason: BadValue, Pos: v.pos, Item: f.itemOf(v.at)}
	}
	return Fault{}
}

// mayEnd tells whether v can be the beginning of the value and of the literal
// behind it: else the line is not cut there, but of another format.
func (o *op) mayEnd(v []byte) bool {
	switch o.class {
	case classWord, className, classURLEnc, classDigits, classHexText, classBase64, classAddr, classTime:
	default:
		return true
	}
	n := 0
	for n < len(v) && o.class.may(v[n]) {
		n++
	}
	rest := v[n:]
	return len(rest) <= len(o.lit) && string(rest) == o.lit[:len(rest)]
}

func (f *Format) itemOf(at int) int { return int(f.ops[min(at, len(f.ops)-1)].item) }

// truncate keeps what can be kept of the value that the line's end cut.
func (f *Format) truncate(line []byte, rec *Record, v verdict) {
	rec.Truncated = true
	o := &f.ops[v.at]
	for at := v.at; o.code == opList && o.follows; at-- {
		o = &f.ops[at-1] // the words of both are its own
	}
	switch {
	case v.why == unfinished:
		f.keepCut(o, rec, line[v.pos:])
	case o.code == opList && o.field < NumFields && rec.Has(o.field):
		rec.Cut = o.field // words may be missing
	case v.pos < len(line) || o.fixedWidth():
		// The value is whole: it is the literal behind it that is not.
	case o.code == opName:
		rec.Cut = o.field
		if o.grammar == gTransport {
			rec.unmark(TLS)
		}
	case o.field < NumFields && o.field.Kind() != KindText:
		rec.unmark(o.field)
		if o.field == Retries {
			rec.unmark(Redispatched)
		}
	case o.extra >= 0:
		rec.Extra[o.extra].Value = nil
	}
}

// keepCut keeps the beginning of a text.
func (f *Format) keepCut(o *op, rec *Record, v []byte) {
	for n := len(o.lit) - 1; n > 0 && !o.escaped; n-- {
		if len(v) >= n && string(v[len(v)-n:]) == o.lit[:n] {
			rec.assign(o, v[:len(v)-n])
			return
		}
	}
	v = o.decode.whole(v)
	switch o.grammar {
	case gRequest:
		if o.decode != decodeNone {
			v = rec.decoded(o.decode, v)
		}
		rec.cutRequest(v)
	case gText, gHash, gName, gTransport, gHeaderList:
		if rec.assign(o, v) == OK && o.field < NumFields && rec.Has(o.field) {
			rec.Cut = o.field
		}
	case gHeaders:
		if len(v) > 0 {
			rec.setText(o.field, v)
			rec.Cut = o.field
		}
	}
}

func trimEnd(line []byte) []byte {
	for len(line) > 0 {
		switch line[len(line)-1] {
		case 0, '\r', '\n':
			line = line[:len(line)-1]
		default:
			return line
		}
	}
	return line
}

func onlyBlanks(b []byte) bool {
	for _, c := range b {
		if c != ' ' {
			return false
		}
	}
	return true
}
