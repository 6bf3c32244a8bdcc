package policy

import (
	"fmt"
	"strings"
)

// Line is a map file's line: a PCRE2 pattern without blanks, and a value without
// blanks.
//
// A pattern begins with ^ and ends with \z ("$" also fits before a final line
// feed), and keeps to what HAProxy's compile options and the map file's reader
// leave: only named groups capture, and a blank would end it. It is searched in
// bytes, not in UTF-8. No line is longer than MaxLine.
//
// Who sends a request chooses most of what is searched, so a pattern must not
// take long to fail. A "*" or "**" with more wildcards behind it stands in an
// atomic group (?>…) that takes the first place where what follows it fits, which
// is enough (see glob.match): the time grows with the length of the key, by its
// square at worst, and not with a power of it for each wildcard.
type Line struct{ Pattern, Value string }

// MaxLine bounds a line's bytes, pattern and value: HAProxy's Runtime API takes
// commands of less than 16 kB, and a map file's line has the same bound.
const MaxLine = 8000

// The parts of the maps' keys in their order, joined by "|". No part holds a "|"
// but the path, which is the last.
var (
	// RoleKey is what RoleLines fit; the value is the role.
	RoleKey = selectorFields[:]
	// GrantKey is what GrantLines fit; the value is the template that grants.
	GrantKey = []string{"role", "method", "host", "tenant", "project", "job", "run", "ref", "sha", "actor", "subject", "path"}
	// PublicKey is what PublicLines fit; the value is the template.
	PublicKey = []string{"method", "host", "path"}
)

// anyPart fits any part of a key, also an empty one.
const anyPart = `[^|]*`

// RoleLines are the lines of the roles' map; the first that fits decides.
func (p *Policy) RoleLines() []Line {
	lines := make([]Line, len(p.compiled.selectors))
	for i := range p.compiled.selectors {
		lines[i] = p.compiled.selectors[i].render()
	}
	return lines
}

func (s *selector) render() Line {
	parts := make([]string, len(s.globs))
	for i, g := range s.globs {
		parts[i] = anyPart
		if g != nil {
			parts[i] = g.pattern()
		}
	}
	return Line{joinParts(parts), s.role}
}

// GrantLines are the lines of the grants' map; the first that fits grants.
func (p *Policy) GrantLines() []Line {
	var lines []Line
	for i := range p.compiled.grants {
		g := &p.compiled.grants[i]
		for _, role := range g.roles {
			for _, t := range g.paths {
				for _, hosts := range g.hostPatterns() {
					parts := []string{quote(role), g.methodPattern(), hosts}
					parts = append(parts, t.claimPatterns()...)
					lines = append(lines, Line{joinParts(append(parts, t.pattern())), t.group})
				}
			}
		}
	}
	return lines
}

// PublicLines are the lines of the map of what needs no token.
func (p *Policy) PublicLines() []Line {
	var lines []Line
	for i := range p.compiled.public {
		g := &p.compiled.public[i]
		for _, t := range g.paths {
			for _, hosts := range g.hostPatterns() {
				lines = append(lines, Line{joinParts([]string{g.methodPattern(), hosts, t.pattern()}), t.group})
			}
		}
	}
	return lines
}

// joinParts builds the pattern of a whole key. Parts in a row of which anything
// goes are counted.
func joinParts(parts []string) string {
	var b strings.Builder
	b.WriteByte('^')
	last := len(parts) - 1
	for i := 0; i < last; {
		n := 1
		for i+n < last && parts[i] == anyPart && parts[i+n] == anyPart {
			n++
		}
		if n > 1 {
			fmt.Fprintf(&b, `(?:%s\|){%d}`, anyPart, n)
		} else {
			b.WriteString(parts[i] + `\|`)
		}
		i += n
	}
	b.WriteString(parts[last] + `\z`)
	return b.String()
}

func (g *rule) methodPattern() string { return alternatives(g.methods) }

// maxHostsPattern bounds the hosts of one line; more go to further lines.
const maxHostsPattern = 2000

// hostPatterns are patterns that together fit the rule's hosts.
func (g *rule) hostPatterns() []string {
	if len(g.hosts) == 0 {
		return []string{anyPart}
	}
	var patterns, some []string
	size := 0
	for _, h := range g.hosts {
		pattern := h.pattern()
		if size += len(pattern) + 1; size > maxHostsPattern && len(some) > 0 {
			patterns = append(patterns, alternatives(some))
			some, size = nil, len(pattern)
		}
		some = append(some, pattern)
	}
	return append(patterns, alternatives(some))
}

func alternatives(patterns []string) string {
	if len(patterns) == 1 {
		return patterns[0]
	}
	return "(?:" + strings.Join(patterns, "|") + ")"
}

// pattern is the glob as a regular expression over one part of a key.
func (g *glob) pattern() string {
	deep := `[^|]`
	flat := `[^|` + string(g.sep) + `]`
	if len(g.tokens) == 1 { // the lack of a claim fits nothing
		switch g.tokens[0].kind {
		case run:
			return flat + "+"
		case anyRun:
			return deep + "+"
		}
	}
	out := ""
	pieces := splitTokens(g.tokens, anyRun)
	for i, piece := range pieces {
		lastPiece := i == len(pieces)-1
		text := ""
		fixed := splitTokens(piece, run)
		for j, f := range fixed {
			text += after(j, flat, "*", fixedPattern(f, flat), lastPiece && j == len(fixed)-1)
		}
		out += after(i, deep, "*", text, lastPiece)
	}
	return out
}

// after is what stands at place i of a row of texts with wildcards between them:
// the first text alone; others after the wildcard, in an atomic group that takes
// the first place that fits, except for the last one, which must fit the end.
func after(i int, class, quantifier, text string, last bool) string {
	switch {
	case i == 0:
		return text
	case last:
		return class + quantifier + text
	}
	return "(?>" + class + quantifier + "?" + text + ")"
}

// splitTokens cuts at each token of a kind.
func splitTokens(tokens []token, at tokenKind) [][]token {
	pieces := [][]token{nil}
	for _, t := range tokens {
		if t.kind == at {
			pieces = append(pieces, nil)
			continue
		}
		pieces[len(pieces)-1] = append(pieces[len(pieces)-1], t)
	}
	return pieces
}

func fixedPattern(tokens []token, flat string) string {
	var b strings.Builder
	for _, t := range tokens {
		if t.kind == one {
			b.WriteString(flat)
		} else {
			b.WriteString(quote(string([]byte{t.byte})))
		}
	}
	return b.String()
}

// claimPatterns fit the claims of a grant's key: those that the template is bound
// to are captured, and must be there.
func (t *template) claimPatterns() []string {
	patterns := make([]string, len(claims))
	for i := range patterns {
		patterns[i] = anyPart
	}
	for _, p := range t.parts {
		if p.kind == bound {
			patterns[p.claim] = "(?<" + claims[p.claim] + ">[^|]+)"
		}
	}
	return patterns
}

// pattern is the template as a regular expression over the path.
func (t *template) pattern() string {
	out, text := "", ""
	stars := 0
	for _, p := range t.parts {
		switch p.kind {
		case plain:
			text += quote(p.text)
		case bound:
			text += `\k<` + claims[p.claim] + ">"
		case segment:
			out += after(stars, "[^/]", "+", text, false)
			text = ""
			stars++
		case rest:
			return out + after(stars, "[^/]", "+", text, false) + "(?s:.*)"
		}
	}
	return out + after(stars, "[^/]", "+", text, true)
}

// quote makes every byte of a text stand for itself, in PCRE2 and in a map file:
// all but letters, digits and a few others become \xHH.
func quote(text string) string {
	const plain = "_/:@=,~-"
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= lower(c) && lower(c) <= 'z', '0' <= c && c <= '9', strings.IndexByte(plain, c) >= 0:
			b.WriteByte(c)
		case c == '.':
			b.WriteString(`\.`)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
