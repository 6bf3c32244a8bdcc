package ingest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	lf "github.com/haptrail/haptrail/ingest/logformat"
)

// sensitivity says how an item that has no column of its own is stored.
type sensitivity uint8

const (
	harmless sensitivity = iota
	cookie               // only when cookies are kept
	secret               // never: it is a credential
)

// extraSensitivity classifies the extra items of all formats, by their names.
func extraSensitivity(formats Formats) map[string]sensitivity {
	of := map[string]sensitivity{}
	for i := range formats.Set.Names() {
		_, format := formats.Set.Format(i)
		for _, item := range format.Items() {
			if item.Extra != "" {
				of[item.Extra] = max(of[item.Extra], sensitivityOf(item, formats))
			}
		}
	}
	return of
}

var (
	// headerFetch is a fetch of a header by its name, or of a captured one by its
	// number (configuration manual, section 7.3.6).
	headerFetch  = regexp.MustCompile(`^(?:req\.f?hdr|res\.f?hdr|f?hdr|s?hdr|req\.hdrs|res\.hdrs)\(\s*["']?([A-Za-z0-9_-]+)`)
	captureFetch = regexp.MustCompile(`^capture\.(req|res)\.hdr\(\s*(\d+)`)
	cookieFetch  = regexp.MustCompile(`^(?:req\.|res\.|s)?cook(?:_val|ie)?\b|^(?:req|res)\.(?:cook|scook)`)
	// keeps are the converters behind which a credential is still one.
	keeps = regexp.MustCompile(`^(?:lower|upper|json|url_enc|url_dec|base64|ub64enc|b64dec|ub64dec|bytes|ltrim|rtrim|field|word|regsub|concat|hex)\b`)
)

// sensitivityOf looks at an item's expression: a header that holds a credential
// is one, unless a converter makes something else of it, such as a hash or a
// claim of the token.
func sensitivityOf(item lf.Item, formats Formats) sensitivity {
	open := strings.IndexByte(item.Source, '[')
	if open < 0 {
		return harmless
	}
	expr := strings.ToLower(strings.TrimSuffix(item.Source[open+1:], "]"))
	converters := strings.Split(expr, "),")
	for _, c := range converters[1:] {
		if !keeps.MatchString(c) {
			return harmless
		}
	}
	fetch := converters[0]
	if name, rest, found := strings.Cut(fetch, ","); found && !strings.Contains(name, "(") {
		if fetch = name; !keeps.MatchString(rest) {
			return harmless
		}
	}
	if m := headerFetch.FindStringSubmatch(fetch); m != nil && slices.Contains(secretHeaders, m[1]) {
		return secret
	}
	if strings.HasPrefix(fetch, "http_auth") {
		return secret
	}
	if m := captureFetch.FindStringSubmatch(fetch); m != nil {
		names := formats.RequestHeaders
		if m[1] == "res" {
			names = formats.ResponseHeaders
		}
		slot, _ := strconv.Atoi(m[2])
		if slots := secretSlots(names); slot < len(slots) && slots[slot] {
			return secret
		}
	}
	if cookieFetch.MatchString(fetch) {
		return cookie
	}
	return harmless
}
