package ingest

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// Redacted stands where a credential was.
const Redacted = "[redacted]"

// What must never be stored:
var (
	// A JSON Web Token, wherever it stands (RFC 7519: its header is the
	// base64url of `{"`, which begins "eyJ"). The second and third part may be
	// missing, since lines are cut.
	jsonWebToken = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{12,}(?:\.[A-Za-z0-9_-]*){0,4}`)
	// What follows the name of an authorization scheme (RFC 9110, section 11.4):
	// in a captured header up to the slot's end, elsewhere up to the word's.
	headerScheme = regexp.MustCompile(`(?i:(^|[^A-Za-z0-9_-])(` + schemeNames + `)(?:[ \t+:]|%20|%09|#20|#09|\\u0020)+)[^|}]+`)
	wordScheme   = regexp.MustCompile(`(?i:(^|[^A-Za-z0-9_-])(` + schemeNames + `)(?:[ \t+:]|%20|%09|#20|#09|\\u0020)+)[^\s|{}"/]+`)
	// A parameter of a query string, form or path.
	parameter = regexp.MustCompile(`(?i:\b(access_token|id_token|refresh_token|client_secret|client_assertion|private_token|job_token|token|password|passwd|secret|api_key|apikey|signature|x-amz-signature|x-amz-security-token)=)[^&;/\s"|}]+`)
	// The value behind the name of a header that holds a credential.
	namedHeader = regexp.MustCompile(`(?i:\b(` + strings.Join(secretHeaders, "|") + `)("?\s*[:=]\s*"?))[^"|}\s][^"|}]*`)
	// User and password in a URL.
	userinfo = regexp.MustCompile(`(://)[^/@\s"|}]+@`)
	// A group of captured headers.
	captured = regexp.MustCompile(`\{[^{}]*\}`)
)

const schemeNames = `bearer|basic|negotiate|ntlm|digest|dpop|jwt|token|apikey|aws4-hmac-sha256`

var schemes = strings.Split(schemeNames, "|")

// secretHeaders are headers whose whole value is a credential.
var secretHeaders = []string{
	"proxy-authorization", "authorization", "set-cookie", "cookie", "x-api-key", "private-token", "job-token",
	"x-vault-token", "x-gitlab-token", "x-amz-security-token", "x-auth-token", "x-access-token", "dpop",
}

// mayHoldToken tells whether "eyJ" is in v. It looks for the J first, which is
// rare in log lines.
func mayHoldToken(v []byte) bool {
	for {
		i := bytes.IndexByte(v, 'J')
		if i < 0 {
			return false
		}
		if i >= 2 && v[i-1] == 'y' && v[i-2] == 'e' {
			return true
		}
		v = v[i+1:]
	}
}

// hasScheme tells whether the name of an authorization scheme is in v, with a
// blank, a colon or an encoded blank behind it.
func hasScheme(v []byte) bool {
	for i, b := range v {
		if !endsScheme[b] || i < 3 {
			continue
		}
		begin := i
		for begin > 0 && wordByte[v[begin-1]] {
			begin--
		}
		if isScheme(v[begin:i]) {
			return true
		}
	}
	return false
}

// endsScheme are the bytes that can follow a scheme, wordByte those of its name.
var endsScheme, wordByte = func() (ends, word [256]bool) {
	for _, b := range " \t+:%#\\" {
		ends[b] = true
	}
	for b := range 256 {
		c := byte(b) | 0x20
		word[b] = c >= 'a' && c <= 'z' || b >= '0' && b <= '9' || b == '-' || b == '_'
	}
	return ends, word
}()

func isScheme(word []byte) bool {
	for _, name := range schemes {
		if len(word) == len(name) && strings.EqualFold(string(word), name) {
			return true
		}
	}
	return false
}

// redactToken removes tokens from a value that holds none as a rule.
func redactToken(dst *[]byte, v []byte) []byte {
	if !mayHoldToken(v) {
		return v
	}
	*dst = append((*dst)[:0], jsonWebToken.ReplaceAll(v, []byte(Redacted))...)
	return *dst
}

// redactWord removes tokens, what follows a scheme, and the values of telling
// parameters: for paths, query strings and other text that a client writes.
func redactWord(dst *[]byte, v []byte) []byte {
	if !mayHoldToken(v) && bytes.IndexByte(v, '=') < 0 && !hasScheme(v) {
		return v
	}
	clean := wordScheme.ReplaceAll(v, []byte("${1}${2} "+Redacted))
	clean = parameter.ReplaceAll(clean, []byte("${1}="+Redacted))
	*dst = append((*dst)[:0], jsonWebToken.ReplaceAll(clean, []byte(Redacted))...)
	return *dst
}

// redactHeaders removes credentials from captured headers "a|b|c": the slots
// that hold a secret by the header's name, and what looks like one in any slot.
func redactHeaders(dst *[]byte, v []byte, secrets []bool) []byte {
	clean := redactSlots((*dst)[:0], v, secrets)
	clean = headerScheme.ReplaceAll(clean, []byte("${1}${2} "+Redacted))
	*dst = jsonWebToken.ReplaceAll(clean, []byte(Redacted))
	return *dst
}

func redactSlots(dst, v []byte, secrets []bool) []byte {
	for slot := 0; ; slot++ {
		value, rest, more := bytes.Cut(v, []byte{'|'})
		if slot < len(secrets) && secrets[slot] && len(value) > 0 {
			value = []byte(Redacted)
		}
		dst = append(dst, value...)
		if !more {
			return dst
		}
		dst = append(dst, '|')
		v = rest
	}
}

// redactRaw removes everything that may be a credential from a line that could
// not be understood; secrets are the slots of captured headers that hold one.
func redactRaw(v []byte, secrets []bool) []byte {
	if len(secrets) > 0 {
		v = captured.ReplaceAllFunc(v, func(group []byte) []byte {
			return append(redactSlots([]byte{'{'}, group[1:len(group)-1], secrets), '}')
		})
	}
	v = namedHeader.ReplaceAll(v, []byte("${1}${2}"+Redacted))
	v = wordScheme.ReplaceAll(v, []byte("${1}${2} "+Redacted))
	v = parameter.ReplaceAll(v, []byte("${1}="+Redacted))
	v = userinfo.ReplaceAll(v, []byte("${1}"+Redacted+"@"))
	return jsonWebToken.ReplaceAll(v, []byte(Redacted))
}

// secretSlots says which of the captured headers hold a credential; nil: none.
// A slot that formats use differently has several names, comma-separated.
func secretSlots(names []string) []bool {
	slots := make([]bool, len(names))
	for i, name := range names {
		for one := range strings.SplitSeq(name, ",") {
			slots[i] = slots[i] || slices.Contains(secretHeaders, strings.ToLower(one))
		}
	}
	if !slices.Contains(slots, true) {
		return nil
	}
	return slots
}

// either joins the slots of requests and responses, for a group of which one
// does not know what it is.
func either(a, b []bool) []bool {
	joined := slices.Clone(a)
	for i, secret := range b {
		if i < len(joined) {
			joined[i] = joined[i] || secret
		} else {
			joined = append(joined, secret)
		}
	}
	return joined
}
