package provider

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Path addresses one value in a token's claims, in the syntax of HAProxy's
// json_query and jwt_payload_query (its mjson library): "$", then ".NAME" for a
// member of an object and "[N]" for an element of an array. A dot or an opening
// bracket inside a name is written with a backslash before it:
//
//	$.project_path
//	$.vcs_roots[0].revision
//	$.oidc\.circleci\.com/project-id
//	$.https://sts\.amazonaws\.com/.aws_account
//
// The zero Path addresses nothing.
type Path struct {
	steps []step
}

// step is one member or, where name is "", one element.
type step struct {
	name  string
	index int
}

// maxIndex bounds [N]: no claim is meant by its hundredth place, and mjson reads
// the digits as a floating-point number.
const maxIndex = 99

// ParsePath reads a path. It refuses what HAProxy (2.6 to 3.4, tried on each)
// cannot be asked for or would answer differently; the error says what to do.
func ParsePath(text string) (Path, error) {
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return Path{}, fmt.Errorf("claim path %q: begin with $, as in $.project_id", text)
	}
	var steps []step
	for rest != "" {
		s, n, err := parseStep(rest)
		if err != nil {
			return Path{}, fmt.Errorf("claim path %q: %w", text, err)
		}
		steps = append(steps, s)
		rest = rest[n:]
	}
	if len(steps) == 0 || steps[0].name == "" {
		return Path{}, fmt.Errorf("claim path %q: name a claim, as in $.project_id", text)
	}
	return Path{steps}, nil
}

// parseStep reads the step that text begins with and says how long it is.
func parseStep(text string) (step, int, error) {
	switch text[0] {
	case '.':
		name, n, err := parseName(text[1:])
		return step{name: name}, n + 1, err
	case '[':
		digits, _, closed := strings.Cut(text[1:], "]")
		index, err := strconv.Atoi(digits)
		// Only the plain spelling: "[00]" and "[+1]" are numbers to mjson too, but
		// it steps over exactly three bytes for the first element.
		if !closed || err != nil || strconv.Itoa(index) != digits || index < 0 || index > maxIndex {
			return step{}, 0, fmt.Errorf(`after "[" comes a number of 0 to %d and "]"; write "\[" for a bracket in a name`, maxIndex)
		}
		return step{index: index}, len(digits) + 2, nil
	}
	return step{}, 0, fmt.Errorf(`%q begins neither with "." nor with "["`, text)
}

// parseName reads a member's name up to the next unescaped "." or "[".
func parseName(text string) (name string, n int, err error) {
	var b strings.Builder
	for n < len(text) && text[n] != '.' && text[n] != '[' {
		c := text[n]
		if c == '\\' {
			n++
			if n == len(text) || text[n] != '.' && text[n] != '[' {
				return "", 0, fmt.Errorf(`a backslash stands only before "." and "["; HAProxy cannot find a name with a backslash in it: have the issuer use another one`)
			}
			c = text[n]
		}
		if reason := unaddressable(c); reason != "" {
			return "", 0, fmt.Errorf("HAProxy cannot find a name with %s in it: have the issuer use another one", reason)
		}
		b.WriteByte(c)
		n++
	}
	if b.Len() == 0 {
		return "", 0, fmt.Errorf(`a name is empty: write one after each "."`)
	}
	return b.String(), n, nil
}

// unaddressable says what keeps a byte out of the name of a claim that HAProxy
// shall find, "" when nothing does. mjson compares names in their JSON spelling,
// escapes and all, so only those with a single spelling are safe to ask for; and
// a single quote cannot be written in the configuration's single quotes.
func unaddressable(c byte) string {
	switch {
	case c == '\'' || c == '"':
		return "a quote"
	case c < ' ' || c == 0x7f:
		return "a control character"
	case c > 0x7f:
		return "a letter outside ASCII (it can be spelt in two ways)"
	}
	return ""
}

// String returns the path as ParsePath reads it, "" for the zero Path.
func (p Path) String() string {
	return p.text(`\`)
}

// HAProxy returns the path as it is written between the single quotes of
// jwt_payload_query('...'): HAProxy takes one backslash of two away when it reads
// the converter's arguments, and ends an argument at a comma or a bracket unless
// it stands in quotes of its own.
func (p Path) HAProxy() string {
	text := p.text(`\\`)
	if strings.ContainsAny(text, ",()") {
		return `"` + text + `"`
	}
	return text
}

func (p Path) text(backslash string) string {
	if len(p.steps) == 0 {
		return ""
	}
	escape := strings.NewReplacer(".", backslash+".", "[", backslash+"[")
	var b strings.Builder
	b.WriteByte('$')
	for _, s := range p.steps {
		if s.name == "" {
			fmt.Fprintf(&b, "[%d]", s.index)
			continue
		}
		b.WriteByte('.')
		b.WriteString(escape.Replace(s.name))
	}
	return b.String()
}

// Within reports whether p addresses what outer does, or a part of it.
func (p Path) Within(outer Path) bool {
	n := len(outer.steps)
	return n > 0 && len(p.steps) >= n && slices.Equal(p.steps[:n], outer.steps)
}

// Lookup finds the path's value among decoded claims, as text, in the way of
// jwt_payload_query(PATH,'int'): a string as it is, also an empty one; a number
// cut to its whole part, as long as no double would round it (2^53-1 either way).
// Anything else is missing.
//
// Decode the claims with json.Decoder.UseNumber where digits matter. HAProxy
// itself differs where an issuer leaves the beaten track, and no caller should
// depend on either answer; TestHAProxyReadsPathsAsLookupDoes holds each case:
//   - it reads true as 1 and false as 0; from 3.0 on, an array as its JSON text
//   - it takes "\/" or a "\u" above 00ff in a string for no value at all
//   - it reads 1e3 as 1, which Lookup does for a json.Number only
//   - of a repeated name it takes the first, Go's decoder the last
//   - it looks on behind an array that "[0]" finds empty, into the next array,
//     and behind an object that "[0].NAME" finds without NAME, into the next one
func (p Path) Lookup(claims map[string]any) (string, bool) {
	if len(p.steps) == 0 {
		return "", false
	}
	var value any = claims
	for _, s := range p.steps {
		switch holder := value.(type) {
		case map[string]any:
			member, ok := holder[s.name]
			if !ok || s.name == "" {
				return "", false
			}
			value = member
		case []any:
			if s.name != "" || s.index >= len(holder) {
				return "", false
			}
			value = holder[s.index]
		default:
			return "", false
		}
	}
	return scalar(value)
}

// maxExact is the greatest whole number that a double holds exactly, and HAProxy
// delivers (JSON_INT_MAX in its sources).
const maxExact = 1<<53 - 1

// scalar is the text of a claim's value, if it has one.
func scalar(value any) (string, bool) {
	var n int64
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		whole := string(v)
		if end := strings.IndexAny(whole, ".eE"); end >= 0 {
			whole = whole[:end]
		}
		var err error
		if n, err = strconv.ParseInt(whole, 10, 64); err != nil {
			return "", false
		}
	case float64:
		if math.IsNaN(v) || math.Abs(v) > maxExact {
			return "", false
		}
		n = int64(v)
	case int:
		n = int64(v)
	case int64:
		n = v
	default:
		return "", false
	}
	if n < -maxExact || n > maxExact {
		return "", false
	}
	return strconv.FormatInt(n, 10), true
}
