package runtimeapi

import (
	"fmt"
	"strings"
)

// maxMessage bounds a command with its payload. HAProxy gathers both in one
// buffer of tune.bufsize (16,384 by default); beyond it 2.6 closes the
// connection without a word or waits for ever. Half of the default leaves room
// for somewhat smaller buffers.
const maxMessage = 8000

// quote writes one argument of a command line. HAProxy takes a word up to an
// unescaped blank, tab, semicolon or line feed; a backslash takes the next
// character as it is, and quotes mean nothing. "<<" at the start of the last
// word (up to 2.8: at the end of the line) opens a payload, so "<" is escaped too.
func quote(arg string) string {
	if !strings.ContainsAny(arg, " \t\\;<") {
		return arg
	}
	var b strings.Builder
	for i := range len(arg) {
		switch arg[i] {
		case ' ', '\t', '\\', ';', '<':
			b.WriteByte('\\')
		}
		b.WriteByte(arg[i])
	}
	return b.String()
}

// checkText refuses the bytes that no form of a command can carry: NUL ends
// HAProxy's strings, a line feed ends the command (also when escaped) and a
// carriage return before it vanishes.
func checkText(what, text string) error {
	if i := strings.IndexAny(text, "\x00\n\r"); i >= 0 {
		return fmt.Errorf("%s %.60q: %w: byte %d is %q; remove it", what, text, ErrInexpressible, i+1, text[i])
	}
	return nil
}

// checkArg is checkText for an argument that must not be empty either.
func checkArg(what, text string) error {
	if text == "" {
		return fmt.Errorf("%s: %w: it is empty", what, ErrInexpressible)
	}
	return checkText(what, text)
}
