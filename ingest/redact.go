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
	// The value of an authorization header, by its scheme (RFC 9110, section 11.4).
	headerScheme = regexp.MustCompile(`(?i:(^|[|{])(bearer|basic|negotiate|ntlm|digest|token|apikey|dpop) +)[^|}]+`)
	anyScheme    = regexp.MustCompile(`(?i:\b(bearer|basic|negotiate|ntlm|digest|dpop)(?: |%20|\+|#20)+)[A-Za-z0-9._~+/=-]+`)
	// A parameter of a query string or form.
	parameter = regexp.MustCompile(`(?i:\b(access_token|id_token|refresh_token|client_secret|client_assertion|private_token|job_token|password|passwd|secret|api_key|apikey|signature|x-amz-signature|x-amz-security-token)=)[^&\s"|}]+`)
)

var equals = []byte("=")

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

// redactToken removes tokens from a value that holds none as a rule.
func redactToken(dst *[]byte, v []byte) []byte {
	if !mayHoldToken(v) {
		return v
	}
	*dst = append((*dst)[:0], jsonWebToken.ReplaceAll(v, []byte(Redacted))...)
	return *dst
}

// redactQuery removes tokens and the values of telling parameters.
func redactQuery(dst *[]byte, v []byte) []byte {
	if !bytes.Contains(v, equals) {
		return redactToken(dst, v)
	}
	clean := parameter.ReplaceAll(v, []byte("${1}="+Redacted))
	*dst = append((*dst)[:0], jsonWebToken.ReplaceAll(clean, []byte(Redacted))...)
	return *dst
}

// redactHeaders removes credentials from captured headers "a|b|c": the slots
// that hold a secret by the header's name, and what looks like one in any slot.
func redactHeaders(dst *[]byte, v []byte, secrets []bool) []byte {
	clean := (*dst)[:0]
	for slot := 0; ; slot++ {
		value, rest, more := bytes.Cut(v, []byte{'|'})
		if slot < len(secrets) && secrets[slot] && len(value) > 0 {
			value = []byte(Redacted)
		}
		clean = append(clean, value...)
		if !more {
			break
		}
		clean = append(clean, '|')
		v = rest
	}
	clean = headerScheme.ReplaceAll(clean, []byte("${1}${2} "+Redacted))
	*dst = jsonWebToken.ReplaceAll(clean, []byte(Redacted))
	return *dst
}

// beginsScheme tells whether a slot begins with a scheme's name and a blank.
func beginsScheme(v []byte) bool {
	for {
		if len(v) > 0 && isSchemeLetter[v[0]] {
			if blank := bytes.IndexByte(v[:min(len(v), longestScheme+1)], ' '); blank > 0 && isScheme(v[:blank]) {
				return true
			}
		}
		next := bytes.IndexByte(v, '|')
		if next < 0 {
			return false
		}
		v = v[next+1:]
	}
}

// schemes are the names in headerScheme.
var schemes = [...]string{"bearer", "basic", "negotiate", "ntlm", "digest", "token", "apikey", "dpop"}

const longestScheme = len("negotiate")

var isSchemeLetter = func() (set [256]bool) {
	for _, name := range schemes {
		set[name[0]], set[name[0]-'a'+'A'] = true, true
	}
	return set
}()

func isScheme(word []byte) bool {
	for _, name := range schemes {
		if len(word) == len(name) && strings.EqualFold(string(word), name) {
			return true
		}
	}
	return false
}

// redactRaw removes everything that may be a credential from a line that could
// not be understood.
func redactRaw(v []byte) []byte {
	v = anyScheme.ReplaceAll(v, []byte("${1} "+Redacted))
	v = parameter.ReplaceAll(v, []byte("${1}="+Redacted))
	return jsonWebToken.ReplaceAll(v, []byte(Redacted))
}

// secretHeaders are headers whose whole value is a credential.
var secretHeaders = map[string]bool{
	"authorization": true, "proxy-authorization": true, "cookie": true, "set-cookie": true,
	"x-api-key": true, "private-token": true, "job-token": true, "x-vault-token": true,
	"x-gitlab-token": true, "x-amz-security-token": true, "dpop": true,
}

// secretSlots says which of the captured headers hold a credential; nil: none.
// A slot that formats use differently has several names, comma-separated.
func secretSlots(names []string) []bool {
	slots := make([]bool, len(names))
	for i, name := range names {
		for one := range strings.SplitSeq(name, ",") {
			slots[i] = slots[i] || secretHeaders[strings.ToLower(one)]
		}
	}
	if !slices.Contains(slots, true) {
		return nil
	}
	return slots
}
