package logformat

import (
	"fmt"
	"strings"
)

// flags are the modifiers of %{...}, as they stand for one item.
type flags uint8

const (
	flagQuote     flags = 1 << iota // Q: value in double quotes
	flagEscape                      // E: backslash before `"`, `\` and `]`
	flagHex                         // X: hexadecimal
	flagMandatory                   // M: "-" for an empty value; on by default
	flagJSON                        // json: 3.0+
	flagCBOR                        // cbor: 3.0+
	flagBin                         // bin: 3.0+, only with cbor
)

var flagNames = map[string]flags{
	"Q": flagQuote, "E": flagEscape, "X": flagHex, "M": flagMandatory,
	"json": flagJSON, "cbor": flagCBOR, "bin": flagBin,
}

type nodeKind uint8

const (
	nodeText  nodeKind = iota
	nodeBlank          // one or more blanks
	nodeAlias
	nodeExpr
)

// node is one piece of a log-format string.
type node struct {
	kind  nodeKind
	pos   int    // offset of its first byte
	src   string // as written
	text  string // the literal, the alias's name or the expression
	name  string // of %(name)
	cast  string // of %(name:cast)
	flags flags  // those of its own %{} applied to those of the %{}o before it
}

// lexer splits a log-format string the way parse_logformat_string of HAProxy's
// src/log.c does (configuration manual 8.2.6).
type lexer struct {
	format string
	pos    int
	flags  flags // set by the last %{...}o
	nodes  []node
	diags  []Diagnostic
}

func lex(format string) (*lexer, error) {
	l := &lexer{format: format, flags: flagMandatory}
	for l.pos < len(format) {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *lexer) fail(pos int, text string, args ...any) error {
	return &CompileError{Format: l.format, Pos: pos + 1, Msg: fmt.Sprintf(text, args...)}
}

func (l *lexer) warn(pos int, text string, args ...any) {
	l.diags = append(l.diags, Diagnostic{Pos: pos + 1, Severity: Warning, Message: fmt.Sprintf(text, args...)})
}

func (l *lexer) next() error {
	start := l.pos
	switch l.format[start] {
	case '%':
		return l.percent()
	case ' ':
		for l.pos < len(l.format) && l.format[l.pos] == ' ' {
			l.pos++
		}
		l.nodes = append(l.nodes, node{kind: nodeBlank, pos: start, src: l.format[start:l.pos], text: " "})
	default:
		for l.pos < len(l.format) && l.format[l.pos] != ' ' && l.format[l.pos] != '%' {
			l.pos++
		}
		l.literal(start, l.format[start:l.pos])
	}
	return nil
}

func (l *lexer) literal(pos int, text string) {
	l.nodes = append(l.nodes, node{kind: nodeText, pos: pos, src: text, text: text})
}

// percent reads what begins with a "%".
func (l *lexer) percent() error {
	start := l.pos
	l.pos++
	n := node{pos: start, flags: l.flags}
	switch c := l.peek(); {
	case c == 0:
		return l.fail(start, `the format ends after "%%": write "%%%%" for a percent sign`)
	case c == '%':
		l.pos++
		l.literal(start, "%")
		return nil
	case c == ' ' || c == '\t' || c >= '0' && c <= '9':
		return l.fail(start, `no variable name after "%%": write "%%%%" for a percent sign`)
	case c == '(' || c == '{' || c == '[' || isAlpha(c):
	default:
		l.warn(start, `HAProxy drops the "%%" before %q: write "%%%%" for a percent sign`, c)
		return nil
	}
	if err := l.itemName(&n); err != nil {
		return err
	}
	own, err := l.itemFlags(&n)
	if err != nil {
		return err
	}
	if l.peek() == '[' {
		return l.expression(n)
	}
	return l.aliasName(n, own)
}

func (l *lexer) peek() byte {
	if l.pos < len(l.format) {
		return l.format[l.pos]
	}
	return 0
}

// itemName reads the %(name:cast) of HAProxy 3.0, if there is one.
func (l *lexer) itemName(n *node) error {
	if l.peek() != '(' {
		return nil
	}
	end := strings.IndexByte(l.format[l.pos:], ')')
	if end < 0 {
		return l.fail(n.pos, `the "(" has no ")" after it`)
	}
	n.name, n.cast, _ = strings.Cut(l.format[l.pos+1:l.pos+end], ":")
	l.pos += end + 1
	switch n.cast {
	case "", "str", "sint", "int", "bool":
		return nil
	}
	return l.fail(n.pos, "unknown type %q: HAProxy knows str, sint and bool", n.cast)
}

// itemFlags reads a %{flags} and applies it to n.flags. own tells that there
// was one.
func (l *lexer) itemFlags(n *node) (own bool, err error) {
	if l.peek() != '{' {
		return false, nil
	}
	end := strings.IndexByte(l.format[l.pos:], '}')
	if end < 0 {
		return false, l.fail(n.pos, `the "{" has no "}" after it`)
	}
	for word := range strings.SplitSeq(l.format[l.pos+1:l.pos+end], ",") {
		sign := strings.LastIndexAny(word, "+-")
		flag, known := flagNames[word[sign+1:]]
		switch {
		case word == "":
		case sign < 0 && known:
			l.warn(n.pos, "HAProxy ignores the flag %q without a sign: write \"+%s\"", word, word)
		case !known:
			l.warn(n.pos, "HAProxy ignores the unknown flag %q", word)
		case word[sign] == '+':
			n.flags |= flag
		default:
			n.flags &^= flag
		}
	}
	l.pos += end + 1
	return true, nil
}

// aliasName reads the longest run of letters and digits, as HAProxy does.
func (l *lexer) aliasName(n node, own bool) error {
	start := l.pos
	for l.pos < len(l.format) && (isAlpha(l.format[l.pos]) || isDigit(l.format[l.pos])) {
		l.pos++
	}
	n.text = l.format[start:l.pos]
	n.src = l.format[n.pos:l.pos]
	n.kind = nodeAlias
	switch {
	case n.text == "":
		return l.fail(n.pos, "%q is not followed by a variable name or by [expression]", n.src)
	case n.text == "o":
		if !own {
			l.warn(n.pos, "%%o without flags does nothing: write %%{+Q}o")
		}
		l.flags = n.flags
		return nil
	}
	l.nodes = append(l.nodes, n)
	return nil
}

// expression reads %[sample]: up to the first "]" outside the parentheses of
// an argument list, where quotes and a backslash protect what they hold.
func (l *lexer) expression(n node) error {
	start := l.pos + 1
	depth, quote := 0, byte(0)
	for i := start; i < len(l.format); i++ {
		c := l.format[i]
		switch {
		case quote == '\'' && c != '\'', quote == '"' && c != '"' && c != '\\':
		case c == '\\' && depth > 0:
			i++
		case quote != 0:
			quote = 0
		case depth > 0 && (c == '"' || c == '\''):
			quote = c
		case c == '(' && depth == 0:
			depth = 1
		case c == ')' && depth == 1:
			depth = 0
		case c == ']' && depth == 0:
			n.kind, n.text = nodeExpr, l.format[start:i]
			n.src = l.format[n.pos : i+1]
			l.pos = i + 1
			if strings.TrimSpace(n.text) == "" {
				return l.fail(n.pos, "%s holds no expression", n.src)
			}
			l.nodes = append(l.nodes, n)
			return nil
		}
	}
	switch {
	case quote != 0:
		return l.fail(n.pos, "the expression has no closing %c before the format ends", quote)
	case depth > 0:
		return l.fail(n.pos, `the expression has no closing ")" before the format ends`)
	}
	return l.fail(n.pos, `the expression has no closing "]" before the format ends`)
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
