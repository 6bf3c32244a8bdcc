package policy

import "strings"

// The gate's own conditions on a request, as PCRE2 patterns for HAProxy's
// "-m reg". Decide does the same by hand; a test compares them.
const (
	// EncodedPattern finds, in a path as sent, the encodings that are refused
	// whatever they would decode to: of "/", "\", "." and NUL.
	EncodedPattern = `%(2[eEfF]|5[cC]|00)`
	// UnsafePattern finds, in a path that was decoded once, what origins read in
	// different ways: empty, "." and ".." segments, a "%" that survived, path
	// parameters, backslashes, control characters.
	UnsafePattern = `(//|/[.][.]?(/|\z)|[%;?#\\]|[^ -~\x80-\xff])`
	// MethodPattern fits a method that can be granted.
	MethodPattern = `^[A-Za-z-]{1,32}\z`
	// HostPattern fits a lower-case host without port that can be granted by
	// name. Any other counts as none: a "|" in it would shift a key's parts.
	HostPattern = `^[]a-z0-9._:[-]{1,253}\z`
	// MaxPath bounds a path as sent, in bytes.
	MaxPath = 2000

	maxHost = 253
)

// safePath decodes a path once (RFC 3986 section 2.1) and tells whether it can be
// judged. HAProxy's url_dec fails on a "%" without two hex digits, and so does it.
func safePath(raw string) (decoded string, ok bool) {
	if len(raw) > MaxPath || raw == "" || raw[0] != '/' {
		return "", false
	}
	decoded = raw
	if strings.IndexByte(raw, '%') >= 0 {
		if decoded, ok = unescape(raw); !ok {
			return "", false
		}
	}
	return decoded, plainPath(decoded)
}

func unescape(raw string) (string, bool) {
	var buffer [MaxPath]byte
	out := buffer[:0]
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			out = append(out, raw[i])
			continue
		}
		if i+2 >= len(raw) {
			return "", false
		}
		high, low := unhex(raw[i+1]), unhex(raw[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		c := byte(high<<4 | low)
		if c == '/' || c == '\\' || c == '.' || c == 0 {
			return "", false
		}
		out = append(out, c)
		i += 2
	}
	return string(out), true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// plainPath tells whether a decoded path is free of what UnsafePattern finds.
func plainPath(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case c < 0x20 || c == 0x7f:
			return false
		case c == '%' || c == ';' || c == '\\' || c == '?' || c == '#':
			return false
		case c == '/' && badSegment(path[i+1:]):
			return false
		}
	}
	return true
}

// badSegment tells whether what follows a "/" begins with an empty segment that
// is not the last one, or is "." or "..".
func badSegment(rest string) bool {
	if strings.HasPrefix(rest, "/") {
		return true
	}
	if !strings.HasPrefix(rest, ".") {
		return false
	}
	rest = strings.TrimPrefix(rest[1:], ".")
	return rest == "" || rest[0] == '/'
}

func safeMethod(method string) bool {
	if method == "" || len(method) > 32 {
		return false
	}
	for i := range len(method) {
		if c := method[i]; c != '-' && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// grantHost is the host that grants are asked for: lower case, without port, and
// "" for one that cannot be asked for.
func grantHost(host string) string {
	host = stripPort(host)
	upper := false
	for i := range len(host) {
		c := host[i]
		upper = upper || 'A' <= c && c <= 'Z'
		if !isHostByte(lower(c)) {
			return ""
		}
	}
	if len(host) > maxHost {
		return ""
	}
	if upper {
		return strings.ToLower(host)
	}
	return host
}

// stripPort does what HAProxy's host_only does: it cuts at the last colon, unless
// a bracket comes after it.
func stripPort(host string) string {
	if i := strings.LastIndexAny(host, ":]"); i >= 0 && host[i] == ':' {
		return host[:i]
	}
	return host
}

func isHostByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("._:-[]", c) >= 0
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
