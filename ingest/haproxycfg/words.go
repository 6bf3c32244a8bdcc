package haproxycfg

import (
	"errors"
	"strconv"
	"strings"
)

// words splits one line of a haproxy.cfg the way parse_line of HAProxy's
// src/tools.c does (configuration manual, sections 2.2 and 2.3): words are
// separated by blanks; a backslash protects one character; within "..." also
// the environment is expanded; within '...' nothing is special; an unprotected
// "#" ends the line.
type words struct {
	in    string
	pos   int
	env   func(string) (string, bool)
	out   []string
	word  strings.Builder
	began bool // the word exists even when it is empty: "" was written
	err   error
}

func splitWords(line string, env func(string) (string, bool)) ([]string, error) {
	w := words{in: line, env: env}
	for w.pos < len(line) && w.err == nil {
		switch c := line[w.pos]; c {
		case ' ', '\t', '\r':
			w.end()
			w.pos++
		case '#':
			w.pos = len(line)
		case '\'':
			w.single()
		case '"':
			w.double()
		case '\\':
			w.escape(false)
		default:
			w.put(c)
			w.pos++
		}
	}
	w.end()
	return w.out, w.err
}

func (w *words) put(c byte) {
	w.word.WriteByte(c)
	w.began = true
}

func (w *words) end() {
	if w.began {
		w.out = append(w.out, w.word.String())
	}
	w.word.Reset()
	w.began = false
}

func (w *words) single() {
	end := strings.IndexByte(w.in[w.pos+1:], '\'')
	if end < 0 {
		w.err = errors.New("the quote ' is not closed")
		return
	}
	w.began = true
	w.word.WriteString(w.in[w.pos+1 : w.pos+1+end])
	w.pos += end + 2
}

func (w *words) double() {
	w.began = true
	w.pos++
	for w.pos < len(w.in) && w.err == nil {
		switch c := w.in[w.pos]; c {
		case '"':
			w.pos++
			return
		case '\\':
			w.escape(true)
		case '$':
			w.variable()
		default:
			w.put(c)
			w.pos++
		}
	}
	if w.err == nil {
		w.err = errors.New(`the quote " is not closed`)
	}
}

// escape reads a backslash. Before a character that needs no protection it
// stands for itself.
func (w *words) escape(quoted bool) {
	next := byte(0)
	if w.pos+1 < len(w.in) {
		next = w.in[w.pos+1]
	}
	w.pos += 2
	switch next {
	case ' ', '\\', '#', '"', '\'':
		w.put(next)
	case '$':
		if !quoted {
			w.put('\\')
		}
		w.put('$')
	case 'n':
		w.put('\n')
	case 'r':
		w.put('\r')
	case 't':
		w.put('\t')
	case 'x':
		code, err := strconv.ParseUint(w.in[min(w.pos, len(w.in)):min(w.pos+2, len(w.in))], 16, 8)
		if err != nil || w.pos+2 > len(w.in) {
			w.err = errors.New(`\x needs two hexadecimal digits`)
			return
		}
		w.put(byte(code))
		w.pos += 2
	default:
		w.put('\\')
		w.pos--
	}
}

// variable reads $NAME, ${NAME}, ${NAME-default} or ${NAME[*]}, whose value
// becomes several words.
func (w *words) variable() {
	braces := w.pos+1 < len(w.in) && w.in[w.pos+1] == '{'
	start := w.pos + 1
	if braces {
		start++
	}
	end := start
	for end < len(w.in) && inName(w.in[end], end == start) {
		end++
	}
	name, fallback, list := w.in[start:end], "", false
	if braces {
		if strings.HasPrefix(w.in[end:], "[*]") {
			list = true
			end += len("[*]")
		}
		close := strings.IndexByte(w.in[end:], '}')
		if close < 0 {
			w.err = errors.New("the ${ is not closed with }")
			return
		}
		rest := w.in[end : end+close]
		if rest != "" && rest[0] != '-' {
			w.err = errors.New("${" + name + rest + "}: a variable's name holds letters, digits and _ only")
			return
		}
		fallback = strings.TrimPrefix(rest, "-")
		end += close + 1
	}
	if name == "" {
		w.err = errors.New("no variable name after the $: write \\$ for a dollar sign")
		return
	}
	w.pos = end
	value, ok := w.env(name)
	if !ok || value == "" {
		value = fallback
	}
	if !list {
		w.word.WriteString(value)
		return
	}
	for i, part := range strings.Fields(value) {
		if i > 0 {
			w.end()
		}
		w.word.WriteString(part)
		w.began = true
	}
}

// inName tells whether c can stand in a variable's name.
func inName(c byte, first bool) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || !first && c >= '0' && c <= '9'
}
