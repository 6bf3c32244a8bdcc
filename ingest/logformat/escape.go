package logformat

import "bytes"

// decoded returns the value that v encodes: v itself when nothing in it is
// escaped, else a copy in the record's scratch memory. What is no valid escape
// stays as it is.
func (r *Record) decoded(d decoding, v []byte) []byte {
	mark := d.mark()
	first := bytes.IndexByte(v, mark)
	if first < 0 && d != decodeHashEscape {
		return v
	}
	begin := len(r.scratch)
	switch d {
	case decodeHash, decodeURL:
		r.scratch = appendHex(r.scratch, v, mark)
	case decodeEscape:
		r.scratch = appendUnescaped(r.scratch, v)
	case decodeHashEscape:
		r.scratch = appendUnescaped(r.scratch, v)
		inner := r.scratch[begin:]
		begin = len(r.scratch)
		r.scratch = appendHex(r.scratch, inner, '#')
	case decodeLenient:
		r.scratch = appendLenient(r.scratch, v)
	case decodeJSON, decodeJSONUTF:
		r.scratch, _ = appendJSON(r.scratch, v, 0, d == decodeJSON)
	default:
		return v
	}
	return r.scratch[begin:len(r.scratch):len(r.scratch)]
}

// mark is the byte that begins an escape.
func (d decoding) mark() byte {
	switch d {
	case decodeHash:
		return '#'
	case decodeURL:
		return '%'
	}
	return '\\'
}

// whole drops the part of an escape at the end of a value that was cut.
func (d decoding) whole(v []byte) []byte {
	switch d {
	case decodeHash, decodeURL:
		if k := bytes.LastIndexByte(v, d.mark()); k >= 0 && k > len(v)-3 {
			return v[:k]
		}
	case decodeEscape, decodeHashEscape, decodeLenient, decodeJSON, decodeJSONUTF:
		for i := 0; i < len(v); i++ {
			if v[i] != '\\' {
				continue
			}
			need := 2
			if i+1 < len(v) && v[i+1] == 'u' && (d == decodeJSON || d == decodeJSONUTF) {
				need = 6
			}
			if len(v)-i < need {
				return v[:i]
			}
			i += need - 1
		}
	}
	return v
}

// appendHex decodes the mark and two hexadecimal digits: HAProxy's #XX in
// requests and captured headers, and the %XX of url_enc.
func appendHex(dst, v []byte, mark byte) []byte {
	for {
		k := bytes.IndexByte(v, mark)
		if k < 0 {
			return append(dst, v...)
		}
		dst = append(dst, v[:k]...)
		if len(v)-k < 3 || unhex[v[k+1]] > 15 || unhex[v[k+2]] > 15 {
			dst = append(dst, mark)
			v = v[k+1:]
			continue
		}
		dst = append(dst, unhex[v[k+1]]<<4|unhex[v[k+2]])
		v = v[k+3:]
	}
}

// appendUnescaped undoes %{+E}: a backslash before `"`, `\` and `]` (RFC 5424,
// section 6.3.3).
func appendUnescaped(dst, v []byte) []byte {
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) && (v[i+1] == '"' || v[i+1] == '\\' || v[i+1] == ']') {
			i++
		}
		dst = append(dst, v[i])
	}
	return dst
}

// appendLenient undoes what %{+json} does: a backslash before `"` and `\`.
func appendLenient(dst, v []byte) []byte {
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) && (v[i+1] == '"' || v[i+1] == '\\') {
			i++
		}
		dst = append(dst, v[i])
	}
	return dst
}
