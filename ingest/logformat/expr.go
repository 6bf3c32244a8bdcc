package logformat

import (
	"slices"
	"strconv"
	"strings"
)

// class is a set of bytes that a value may hold: what tells whether the
// literal behind it can be part of it.
type class uint8

const (
	classRaw     class = iota // anything but NUL: HAProxy writes variables and cookies as they are
	classPrint                // no control byte, none above 0x7E, no `"`: the #XX encoding
	classHeader               // classPrint without { | }
	classJSON                 // no control byte, no bare `"`: the json converter
	classEscaped              // anything, but `"`, `\` and `]` come behind a backslash: %{+E}
	classWord                 // no blank, quote, slash, bracket or comma
	classURLEnc               // letters, digits and - _ . % ~ : the url_enc converter
	className                 // letters, digits, _ . : - < >
	classDigits               // digits and a sign
	classHexText              // hexadecimal digits
	classBase64               // letters, digits and + / - _ =
	classAddr                 // hexadecimal digits, ":" and "."
	classTime                 // letters, digits and / : . , + - _: a date without blanks
)

// may tells whether a value of class c can hold byte b.
func (c class) may(b byte) bool {
	switch c {
	case classPrint:
		return b >= 0x20 && b < 0x7f && b != '"'
	case classHeader:
		return b >= 0x20 && b < 0x7f && b != '"' && b != '{' && b != '|' && b != '}'
	case classJSON:
		return b >= 0x20 && b < 0x7f && b != '"'
	case classEscaped:
		return b != '"' && b != ']'
	case classWord:
		return b > 0x20 && !strings.ContainsRune(`"'/[]{},|`, rune(b))
	case classURLEnc:
		return isAlpha(b) || isDigit(b) || strings.IndexByte("-_.%~", b) >= 0
	case className:
		return isNameByte(b)
	case classDigits:
		return isDigit(b) || b == '-' || b == '+'
	case classHexText:
		return isDigit(b) || b|0x20 >= 'a' && b|0x20 <= 'f'
	case classBase64:
		return isAlpha(b) || isDigit(b) || strings.IndexByte("+/-_=", b) >= 0
	case classAddr:
		return isAddrByte(b)
	case classTime:
		return isAlpha(b) || isDigit(b) || strings.IndexByte("/:.,+-_", b) >= 0
	}
	return b != 0
}

// mayHold tells whether a value of class c can hold the whole of text.
func (c class) mayHold(text string) bool {
	for i := range len(text) {
		if !c.may(text[i]) {
			return false
		}
	}
	return true
}

// decoding is what turns the logged bytes of a text into its value.
type decoding uint8

const (
	decodeNone       decoding = iota
	decodeHash                // #XX
	decodeEscape              // %{+E}
	decodeJSON                // \uXXXX up to 00FF is a byte: json in its ascii mode
	decodeJSONUTF             // \uXXXX is a rune: json(utf8...)
	decodeLenient             // only \" and \\: %{+json}o
	decodeURL                 // %XX: url_enc
	decodeHashEscape          // %{+E} over #XX
)

// sample is what the text of a %[expression] tells about its value.
type sample struct {
	fetch string // lower-case name of the sample fetch
	args  []string
	// transformed is set when a converter changes what the value stands for,
	// such as map_str or sha2: it is no longer the field that the fetch names.
	transformed bool
	class       class
	decode      decoding
}

// parseSample takes an expression apart. HAProxy's own parser has accepted it,
// so nothing is checked.
func parseSample(expr string) sample {
	parts := splitOutside(expr, ',')
	name, args := callParts(parts[0])
	s := sample{fetch: strings.ToLower(name), args: args, class: fetchClass(strings.ToLower(name))}
	for _, conv := range parts[1:] {
		name, args := callParts(conv)
		s.convert(strings.ToLower(name), args)
	}
	return s
}

func (s *sample) convert(name string, args []string) {
	switch name {
	case "json":
		s.class, s.decode = classJSON, decodeJSON
		if len(args) > 0 && strings.HasPrefix(args[0], "utf8") {
			s.decode = decodeJSONUTF
		}
	case "url_enc":
		s.class, s.decode = classURLEnc, decodeURL
	case "hex":
		s.transformed = s.transformed || s.class == classRaw
		s.class, s.decode = classHexText, decodeNone
	case "lower", "upper", "ltrim", "rtrim", "bytes", "debug":
		if s.decode == decodeURL || s.decode == decodeJSON || s.decode == decodeJSONUTF {
			s.decode = decodeNone // "%c3" or a cut "\u00": no longer what decoding expects
		}
	case "url_dec":
		s.class, s.decode = classRaw, decodeNone
	case "base64", "ub64enc":
		s.class, s.decode, s.transformed = classBase64, decodeNone, true
	case "length", "bool", "not", "strcmp", "secure_memcmp", "add", "sub", "mul", "div", "mod", "neg", "and", "or",
		"xor", "cpl", "even", "odd", "crc32", "crc32c", "djb2", "sdbm", "wt6", "xxh32", "xxh64", "jwt_verify":
		s.class, s.decode, s.transformed = classDigits, decodeNone, true
	case "ltime", "utime", "ms_ltime", "ms_utime", "us_ltime", "us_utime":
		s.class, s.decode, s.transformed = classRaw, decodeNone, true
		if len(args) > 0 && plainDate(strings.Join(args, ",")) {
			s.class = classTime
		}
	default:
		s.class, s.decode, s.transformed = classRaw, decodeNone, true
	}
}

// plainDate tells whether what strftime(3) makes of layout, in the C locale, is
// of classTime: not where it holds a blank, such as that of "%c" or "%e".
func plainDate(layout string) bool {
	for i := 0; i < len(layout); i++ {
		switch b := layout[i]; {
		case b == '%' && i+1 < len(layout) && strings.IndexByte("AaBbdDFGghHIjmMpPRsSTuUVwWxXyYCzZ", layout[i+1]) >= 0:
			i++
		case b == '%' || !classTime.may(b):
			return false
		}
	}
	return true
}

// isVariable tells whether the sample is var(scope.name), and its name.
func (s *sample) isVariable() (name string, ok bool) {
	if s.fetch != "var" || len(s.args) == 0 {
		return "", false
	}
	scope, name, ok := strings.Cut(s.args[0], ".")
	return name, ok && slices.Contains([]string{"proc", "sess", "txn", "req", "res", "check"}, scope)
}

// field finds the field that the sample stands for.
func (s *sample) field(opts *Options) (Field, bool) {
	if s.transformed {
		return NumFields, false
	}
	if name, ok := s.isVariable(); ok {
		f, ok := lookup(name, opts.Vars, DefaultVars())
		return f, ok
	}
	switch s.fetch {
	case "req.hdr", "req.fhdr", "hdr", "fhdr":
		if len(s.args) > 0 {
			return lookup(strings.ToLower(s.args[0]), opts.Headers, DefaultHeaders())
		}
	case "capture.req.hdr":
		if n, err := strconv.Atoi(strings.Join(s.args, "")); err == nil && n >= 0 && n < len(opts.RequestHeaders) {
			return lookup(strings.ToLower(opts.RequestHeaders[n]), opts.Headers, DefaultHeaders())
		}
	case "accept_date", "request_date":
		if len(s.args) > 0 {
			return NumFields, false // another unit than seconds
		}
	}
	f, ok := fetchFields[s.fetch]
	return f, ok
}

// lookup prefers the configured table to the default one. A configured
// NumFields takes a default away.
func lookup(name string, configured, defaults map[string]Field) (Field, bool) {
	f, ok := configured[name]
	if !ok {
		f, ok = defaults[name]
	}
	return f, ok && f < NumFields
}

// fetchFields are the sample fetches that stand for a field without further
// ado (configuration manual, section 7.3).
var fetchFields = map[string]Field{
	"src": ClientAddr, "src_port": ClientPort, "dst": FrontendAddr, "dst_port": FrontendPort,
	"method": Method, "path": Path, "url": URI,
	"capture.req.method": Method, "capture.req.uri": URI, "capture.req.ver": HTTPVersion,
	"status": Status, "unique-id": UniqueID, "fe_name": Frontend, "be_name": Backend, "srv_name": Server,
	"ssl_fc": TLS, "ssl_fc_cipher": TLSCipher, "ssl_fc_protocol": TLSVersion, "hostname": Hostname, "pid": PID,
	"bc_src": BackendAddr, "bc_src_port": BackendPort, "bc_dst": ServerAddr, "bc_dst_port": ServerPort,
	"accept_date": AcceptTime, "request_date": RequestTime,
	"bc.timer.connect": TimerTc, "fc.timer.handshake": TimerTh, "fc.timer.total": TimerTt,
	"req.timer.hdr": TimerTR, "req.timer.idle": TimerTi, "req.timer.queue": TimerTw, "req.timer.tq": TimerTq,
	"res.timer.data": TimerTd, "res.timer.hdr": TimerTr, "txn.timer.total": TimerTa, "txn.timer.user": TimerTu,
}

// fetchClass is the class of the values of a sample fetch.
func fetchClass(fetch string) class {
	switch fetch {
	case "src", "dst", "bc_src", "bc_dst", "fc_src", "fc_dst":
		return classAddr
	case "method", "be_name", "fe_name", "srv_name", "so_name", "hostname", "uuid",
		"ssl_fc_cipher", "ssl_fc_protocol", "ssl_bc_cipher", "ssl_bc_protocol", "req.ver", "res.ver", "fc_err_str":
		return classWord
	case "status", "pid", "thread", "nbproc", "nbsrv", "connslots", "queue", "avg_queue", "rand", "date", "accept_date",
		"request_date", "src_port", "dst_port", "bc_src_port", "bc_dst_port", "fe_id", "be_id", "srv_id", "so_id",
		"fc_err", "bc_err", "ssl_fc", "ssl_bc", "ssl_fc_err", "ssl_bc_err", "ssl_c_err", "ssl_c_ca_err",
		"ssl_c_ca_err_depth", "ssl_c_used", "ssl_c_verify", "ssl_c_version", "ssl_fc_has_crt", "ssl_fc_has_sni",
		"ssl_fc_is_resumed", "ssl_bc_is_resumed", "ssl_fc_use_keysize", "ssl_fc_alg_keysize", "fc_rtt", "fc_rttvar",
		"fc_http_major", "bc_http_major", "bytes_in", "bytes_out", "txn.conn_retries", "txn.redispatched",
		"req.body_len", "req.body_size", "req.len", "res.len", "req.hdr_cnt", "res.hdr_cnt", "req.fhdr_cnt":
		return classDigits
	}
	if isCounterFetch(fetch) || strings.Contains(fetch, ".timer.") {
		return classDigits
	}
	return classRaw
}

// isCounterFetch tells whether the fetch is one of the families of counters:
// sc0_http_req_rate, src_conn_cur, be_sess_rate, table_cnt and so on.
func isCounterFetch(fetch string) bool {
	family, _, ok := strings.Cut(fetch, "_")
	switch family {
	case "sc", "sc0", "sc1", "sc2", "src", "table", "be", "fe", "srv":
		return ok && !strings.HasSuffix(fetch, "_name") && !strings.HasSuffix(fetch, "_key")
	}
	return false
}

// sampleName is the name under which an expression's value is kept when it has
// no field: a variable's own name, else the expression without the converters
// that only encode, each run of other bytes than letters and digits as "_".
func sampleName(expr string) string {
	parts := splitOutside(expr, ',')
	kept := parts[:1:1]
	for _, conv := range parts[1:] {
		if name, _ := callParts(conv); !slices.Contains([]string{"json", "url_enc", "hex"}, name) {
			kept = append(kept, conv)
		}
	}
	if s := parseSample(kept[0]); len(kept) == 1 {
		if name, ok := s.isVariable(); ok {
			return name
		}
	}
	words := strings.FieldsFunc(strings.Join(kept, ","), func(r rune) bool {
		return r > 0x7f || r != '_' && !isAlpha(byte(r)) && !isDigit(byte(r))
	})
	return strings.Join(words, "_")
}

// callParts splits "name(arg,arg)".
func callParts(call string) (name string, args []string) {
	name, rest, ok := strings.Cut(strings.TrimSpace(call), "(")
	if !ok {
		return name, nil
	}
	for _, a := range splitOutside(strings.TrimSuffix(rest, ")"), ',') {
		args = append(args, strings.Trim(strings.TrimSpace(a), `"'`))
	}
	return name, args
}

// splitOutside splits s at each sep that is not inside parentheses or quotes.
func splitOutside(s string, sep byte) []string {
	var parts []string
	depth, quote, start := 0, byte(0), 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '\\':
			i++
		case depth > 0 && (c == '"' || c == '\''):
			quote = c
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == sep && depth == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
