package logformat

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// readQuoted reads the inside of a JSON string that the json converter wrote.
// Most strings hold no escape: their end is found eight bytes at a time.
func (r *Record) readQuoted(o *op, line []byte, pos int) (int, ParseReason) {
	end := jsonSpan(line, pos)
	var v []byte
	switch {
	case end == len(line):
		return pos, unfinished
	case line[end] == '"':
		v = line[pos:end]
	default:
		begin := len(r.scratch)
		r.scratch = append(r.scratch, line[pos:end]...)
		if r.scratch, end = appendJSON(r.scratch, line, end, o.decode == decodeJSON); end == len(line) {
			return pos, unfinished
		}
		v = r.scratch[begin:len(r.scratch):len(r.scratch)]
	}
	if len(v) == 0 || len(v) == 1 && v[0] == '-' && !o.quoted {
		return end, OK
	}
	if o.field < NumFields {
		r.setText(o.field, v)
	} else if o.extra >= 0 {
		r.Extra[o.extra].Value = v
	}
	return end, OK
}

// jsonSpan returns the position of the first quote or backslash at or behind
// pos, len(line) when there is none.
func jsonSpan(line []byte, pos int) int {
	const (
		ones        = 0x0101010101010101
		highs       = 0x8080808080808080
		quotes      = ones * '"'
		backslashes = ones * '\\'
	)
	for pos+8 <= len(line) {
		w := binary.LittleEndian.Uint64(line[pos:])
		q, b := w^quotes, w^backslashes
		if hit := ((q-ones)&^q | (b-ones)&^b) & highs; hit != 0 {
			return pos + bits.TrailingZeros64(hit)>>3
		}
		pos += 8
	}
	for pos < len(line) && line[pos] != '"' && line[pos] != '\\' {
		pos++
	}
	return pos
}

// appendJSON decodes the inside of a JSON string (RFC 8259, section 7) up to
// its closing quote, whose position it returns: len(line) when there is none.
// In the ascii mode of HAProxy's json converter each byte of the value is
// written as one character, so \u00c3 stands for the byte 0xC3 (configuration
// manual 7.3.1).
func appendJSON(dst, line []byte, pos int, ascii bool) (decoded []byte, end int) {
	for pos < len(line) {
		c := line[pos]
		if c == '"' {
			return dst, pos
		}
		if c != '\\' {
			next := jsonSpan(line, pos)
			dst = append(dst, line[pos:next]...)
			pos = next
			continue
		}
		if pos+1 == len(line) {
			break
		}
		e := line[pos+1]
		pos += 2
		if e == 'u' {
			var used int
			dst, used = appendUnicode(dst, line[pos:], ascii)
			pos += used
			continue
		}
		dst = append(dst, jsonEscape(e))
	}
	return dst, len(line)
}

// jsonEscape is the byte that a backslash and e stand for.
func jsonEscape(e byte) byte {
	switch e {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return e // `"`, `\` and `/`
}

// appendUnicode decodes the four digits behind \u, and the second half of a
// surrogate pair. Without four digits the two bytes stay as they are.
func appendUnicode(dst, v []byte, ascii bool) (decoded []byte, used int) {
	r, ok := fourHex(v)
	switch {
	case !ok:
		return append(dst, '\\', 'u'), 0
	case ascii && r <= 0xff:
		return append(dst, byte(r)), 4
	}
	if utf16.IsSurrogate(r) && len(v) >= 10 && v[4] == '\\' && v[5] == 'u' {
		if second, ok := fourHex(v[6:]); ok {
			if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
				return utf8.AppendRune(dst, pair), 10
			}
		}
	}
	return utf8.AppendRune(dst, r), 4
}

func fourHex(v []byte) (rune, bool) {
	if len(v) < 4 {
		return 0, false
	}
	n, ok := hexNumber(v[:4])
	return rune(n), ok
}
