package embedded

import "strings"

// The lexer knows enough of ClickHouse's SQL to find the end of an INSERT's
// head, a trailing FORMAT clause, and the names in a statement. It is no
// authority on what a statement does: that is asked of the engine's parser.

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota // of the text
	tokenWord                    // keyword or plain identifier
	tokenName                    // identifier in backticks or double quotes
	tokenString                  // literal in single quotes or a heredoc
	tokenOther                   // number, operator, bracket
	tokenCut                     // a literal or comment that the text's end cuts off
)

// token is a piece of SQL. text is without quotes but with its escapes.
type token struct {
	kind       tokenKind
	text       string
	start, end int
}

// is tells whether the token is the keyword word, given in upper case.
func (t token) is(word string) bool {
	return t.kind == tokenWord && strings.EqualFold(t.text, word)
}

// punct tells whether the token is the one-byte operator c.
func (t token) punct(c byte) bool {
	return t.kind == tokenOther && len(t.text) == 1 && t.text[0] == c
}

// identifier tells whether the token can name something.
func (t token) identifier() bool { return t.kind == tokenWord || t.kind == tokenName }

type lexer struct {
	sql string
	pos int
}

// next gives the next token that is neither space nor comment.
func (l *lexer) next() token {
	if !l.skip() {
		return token{kind: tokenCut, start: l.pos, end: len(l.sql)}
	}
	start := l.pos
	if start == len(l.sql) {
		return token{kind: tokenEnd, start: start, end: start}
	}
	switch c := l.sql[start]; {
	case c == '\'':
		return l.quoted(tokenString, c)
	case c == '`' || c == '"':
		return l.quoted(tokenName, c)
	case c == '$':
		return l.heredoc()
	case isWordByte(c) && (c < '0' || c > '9'):
		return l.run(tokenWord, isWordByte)
	case c >= '0' && c <= '9':
		return l.run(tokenOther, func(c byte) bool { return isWordByte(c) || c == '.' })
	}
	l.pos++
	return token{tokenOther, l.sql[start:l.pos], start, l.pos}
}

func (l *lexer) run(kind tokenKind, in func(byte) bool) token {
	start := l.pos
	for l.pos < len(l.sql) && in(l.sql[l.pos]) {
		l.pos++
	}
	return token{kind, l.sql[start:l.pos], start, l.pos}
}

// skip passes space and comments; false if a comment is cut off.
func (l *lexer) skip() bool {
	for l.pos < len(l.sql) {
		rest := l.sql[l.pos:]
		switch {
		case strings.IndexByte(" \t\r\n\f\v", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "# "), strings.HasPrefix(rest, "#!"):
			line := strings.IndexByte(rest, '\n')
			if line < 0 {
				l.pos = len(l.sql)
				return true
			}
			l.pos += line + 1
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				return false
			}
			l.pos += end + 4
		default:
			return true
		}
	}
	return true
}

// quoted reads a literal in which a backslash or a doubled quote escapes.
func (l *lexer) quoted(kind tokenKind, quote byte) token {
	start := l.pos
	for i := start + 1; i < len(l.sql); i++ {
		switch l.sql[i] {
		case '\\':
			i++
		case quote:
			if i+1 < len(l.sql) && l.sql[i+1] == quote {
				i++
				continue
			}
			l.pos = i + 1
			return token{kind, l.sql[start+1 : i], start, l.pos}
		}
	}
	l.pos = len(l.sql)
	return token{tokenCut, l.sql[start:], start, l.pos}
}

// heredoc reads $tag$ … $tag$, or a lone dollar sign.
func (l *lexer) heredoc() token {
	start := l.pos
	i := start + 1
	for i < len(l.sql) && isWordByte(l.sql[i]) && l.sql[i] != '$' {
		i++
	}
	if i == len(l.sql) || l.sql[i] != '$' {
		l.pos++
		return token{tokenOther, "$", start, l.pos}
	}
	tag := l.sql[start : i+1]
	end := strings.Index(l.sql[i+1:], tag)
	if end < 0 {
		l.pos = len(l.sql)
		return token{tokenCut, l.sql[start:], start, l.pos}
	}
	l.pos = i + 1 + end + len(tag)
	return token{tokenString, l.sql[i+1 : i+1+end], start, l.pos}
}

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// firstWord is the first keyword of a statement, in upper case.
func firstWord(sql string) string {
	l := lexer{sql: sql}
	t := l.next()
	if t.kind != tokenWord {
		return ""
	}
	return strings.ToUpper(t.text)
}

// formatClause finds a statement's FORMAT clause: its name ("" if it has none)
// and where the statement's body ends, which is before FORMAT, a SETTINGS that
// follows it, and a closing semicolon. clear is false where the word FORMAT
// stands in a way that this lexer cannot judge.
func formatClause(sql string) (format string, body int, clear bool) {
	l := lexer{sql: sql}
	depth := 0
	body, clear = len(sql), true
	for t := l.next(); ; t = l.next() {
		switch {
		case t.kind == tokenCut:
			return format, body, false
		case t.kind == tokenEnd:
			return format, body, clear
		case t.punct('('), t.punct('['), t.punct('{'):
			depth++
		case t.punct(')'), t.punct(']'), t.punct('}'):
			depth--
		case depth == 0 && t.punct(';'):
			body = min(body, t.start)
		case depth == 0 && t.is("FORMAT"):
			name := l.next()
			after := l
			tail := after.next()
			if name.identifier() && (tail.kind == tokenEnd || tail.punct(';') || tail.is("SETTINGS")) {
				format, body, clear = name.text, min(body, t.start), true
				continue
			}
			clear = false
			l.pos = t.end
		}
	}
}
