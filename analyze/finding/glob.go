package finding

import (
	"errors"
	"strings"
)

// A glob is matched as the gate's policy matches one: see package policy's
// Selector. Patterns are few and short and compared with every use of a window,
// so that they are walked as they are written.

// anyGlob reports whether one of the patterns fits the whole text. No patterns ask
// for nothing, so that everything fits; no text fits none.
func anyGlob(patterns []string, text string) bool {
	for _, pattern := range patterns {
		if text != "" && globFits(pattern, text) {
			return true
		}
	}
	return len(patterns) == 0
}

// globFits keeps two places to go back to: the last "*" may take one more byte
// until that is a "/", then the last "**" takes one more. No earlier star needs
// another try: the first place where what follows it fits leaves the most room.
func globFits(pattern, text string) bool {
	type place struct{ pattern, text int }
	p, t := 0, 0
	star, deep := place{pattern: -1}, place{pattern: -1}
	for {
		switch {
		case p == len(pattern) && t == len(text):
			return true
		case strings.HasPrefix(pattern[p:], "**"):
			p += 2
			deep, star = place{p, t}, place{pattern: -1}
			continue
		case strings.HasPrefix(pattern[p:], "*"):
			p++
			star = place{p, t}
			continue
		case p < len(pattern) && t < len(text):
			if width := oneFits(pattern[p:], text[t]); width > 0 {
				p, t = p+width, t+1
				continue
			}
		}
		switch {
		case star.pattern >= 0 && star.text < len(text) && text[star.text] != '/':
			star.text++
			p, t = star.pattern, star.text
		case deep.pattern >= 0 && deep.text < len(text):
			deep.text++
			p, t, star.pattern = deep.pattern, deep.text, -1
		default:
			return false
		}
	}
}

// oneFits is how many bytes of the pattern stand for the byte; 0: they do not.
func oneFits(pattern string, b byte) int {
	switch {
	case pattern[0] == '\\' && len(pattern) > 1:
		if pattern[1] == b {
			return 2
		}
		return 0
	case pattern[0] == '?' && b != '/', pattern[0] == b:
		return 1
	}
	return 0
}

// checkGlob refuses patterns that cannot be meant.
func checkGlob(pattern string) error {
	rest := strings.ReplaceAll(pattern, `\\`, "")
	switch {
	case pattern == "":
		return errors.New(`is empty: leave it out, or write ** for any text`)
	case strings.Contains(strings.ReplaceAll(rest, `\*`, ""), "***"):
		return errors.New("three stars in a row: write ** for any run of characters")
	case strings.HasSuffix(rest, `\`):
		return errors.New(`ends in a single "\": write "\\" for the character itself`)
	}
	return nil
}
