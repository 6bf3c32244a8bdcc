package policy

import (
	"errors"
	"fmt"
	"strings"
)

// glob is a compiled pattern over text in which a separator bounds "*": "/" in
// claims, "." in host names. The empty text matches no glob.
type glob struct {
	sep    byte
	tokens []token
	plain  string // the text it stands for, when there is no wildcard
}

type token struct {
	kind tokenKind
	byte byte // of a literal
}

type tokenKind uint8

const (
	literal tokenKind = iota
	one               // one byte but the separator
	run               // any run of bytes but the separator
	anyRun            // any run of bytes
)

// maxGlob bounds a pattern's bytes: a map file's line must fit HAProxy's buffer.
const maxGlob = 512

// parseGlob reads a selector's pattern: "*", "**", "?" and "\".
func parseGlob(pattern string) (*glob, error) {
	if err := checkLiteral(pattern); err != nil {
		return nil, err
	}
	g := &glob{sep: '/'}
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			i++
			if i == len(pattern) {
				return nil, errors.New(`ends in a single "\": write "\\" for the character itself`)
			}
			g.literal(pattern[i])
		case '?':
			g.tokens = append(g.tokens, token{kind: one})
		case '*':
			stars := 1
			for i+1 < len(pattern) && pattern[i+1] == '*' {
				i++
				stars++
			}
			if stars > 2 {
				return nil, fmt.Errorf("%d stars in a row: write ** for any run of characters", stars)
			}
			g.tokens = append(g.tokens, token{kind: map[int]tokenKind{1: run, 2: anyRun}[stars]})
		default:
			g.literal(c)
		}
	}
	g.finish()
	return g, nil
}

// parseHost reads a host pattern: "*" is any run without a dot.
func parseHost(pattern string) (*glob, error) {
	switch pattern {
	case "":
		return nil, errors.New("is empty: leave hosts out for any host")
	case "*":
		return nil, errors.New(`"*" is a host without a dot: leave hosts out for any host`)
	}
	if len(pattern) > maxHost {
		return nil, fmt.Errorf("%d bytes, at most %d", len(pattern), maxHost)
	}
	g := &glob{sep: '.'}
	for i := range len(pattern) {
		switch c := lower(pattern[i]); {
		case c == '*' && i > 0 && pattern[i-1] == '*':
			return nil, errors.New(`"**" is none of a host's: "*" is any run without a dot, so write *.*.example.com for two levels`)
		case c == '*':
			g.tokens = append(g.tokens, token{kind: run})
		case isHostByte(c):
			g.literal(c)
		default:
			return nil, fmt.Errorf("%q in a host: write a name such as artifacts.example.com or *.example.com", c)
		}
	}
	g.finish()
	if stripPort(strings.ToLower(pattern)) != strings.ToLower(pattern) {
		return nil, errors.New("has a port, and a request's host is compared without: leave it out (an IPv6 address stands in brackets)")
	}
	return g, nil
}

// checkLiteral refuses what no claim that passes the gate can hold, and what
// would break a map's line.
func checkLiteral(pattern string) error {
	if pattern == "" {
		return errors.New("is empty: leave it out, or write ** for any text")
	}
	if len(pattern) > maxGlob {
		return fmt.Errorf("%d bytes, at most %d", len(pattern), maxGlob)
	}
	for i := range len(pattern) {
		if c := pattern[i]; c < 0x20 || c == 0x7f || c == '|' || c == '"' {
			return fmt.Errorf(`%q in it can never match: the gate accepts no claim with a control character, a quotation mark or "|"`, c)
		}
	}
	return nil
}

func (g *glob) literal(c byte) { g.tokens = append(g.tokens, token{literal, c}) }

// finish finds out whether there is any wildcard.
func (g *glob) finish() {
	plain := make([]byte, 0, len(g.tokens))
	for _, t := range g.tokens {
		if t.kind != literal {
			return
		}
		plain = append(plain, t.byte)
	}
	g.plain = string(plain)
}

// match tells whether the whole of s fits. A nil glob is a field that is not
// asked for: everything fits.
//
// It keeps two places to go back to. To give the last "*" one more byte is
// always enough, until that byte is the separator; then the last "**" takes one
// more. No earlier star needs another try: the first place where what follows it
// fits leaves the most room for the rest.
func (g *glob) match(s string) bool {
	if g == nil {
		return true
	}
	if g.plain != "" {
		return s == g.plain
	}
	if s == "" {
		return false
	}
	type place struct{ token, text int }
	t, i := 0, 0
	star, deep := place{token: -1}, place{token: -1}
	for {
		if t == len(g.tokens) {
			if i == len(s) {
				return true
			}
		} else {
			switch k := g.tokens[t]; k.kind {
			case run:
				t++
				star = place{t, i}
				continue
			case anyRun:
				t++
				deep, star = place{t, i}, place{token: -1}
				continue
			default:
				if i < len(s) && k.fits(s[i], g.sep) {
					t, i = t+1, i+1
					continue
				}
			}
		}
		switch {
		case star.token >= 0 && star.text < len(s) && s[star.text] != g.sep:
			star.text++
			t, i = star.token, star.text
		case deep.token >= 0 && deep.text < len(s):
			deep.text++
			t, i, star.token = deep.token, deep.text, -1
		default:
			return false
		}
	}
}

func (t token) fits(c, sep byte) bool {
	return t.kind == literal && t.byte == c || t.kind == one && c != sep
}
