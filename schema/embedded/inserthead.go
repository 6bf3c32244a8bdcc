package embedded

import "strings"

// insertHead is an INSERT that brings its own data: what comes before the data,
// without FORMAT clause, the data's format, and where the data begins.
type insertHead struct {
	sql    string
	format string
	data   int // offset of the data in the text that was parsed
}

// headState says what became of looking for an INSERT's head.
type headState uint8

const (
	headNone headState = iota // no INSERT with data: an ordinary statement
	headMore                  // the text ends before this can be told
	headDone
)

// parseInsertHead reads "INSERT INTO t (…) [SETTINGS …] FORMAT F [SETTINGS …]"
// or "… VALUES" from the beginning of text. whole says that nothing follows
// text. INSERT … SELECT and FROM INFILE are ordinary statements.
func parseInsertHead(text string, whole bool) (insertHead, headState) {
	l := lexer{sql: text}
	t := l.next()
	if !t.is("INSERT") {
		return undecided(t, whole, text)
	}
	if t = l.next(); t.is("INTO") {
		t = l.next()
	}
	if t.is("TABLE") || t.is("FUNCTION") {
		t = l.next()
	}
	if t.kind == tokenEnd || t.kind == tokenCut {
		return undecided(t, whole, text)
	}
	for after := l; after.next().punct('.'); after = l { // t was the target's first name
		l.next()
		l.next()
	}
	depth := 0
	for t = l.next(); ; t = l.next() {
		switch {
		case t.kind == tokenCut, t.kind == tokenEnd:
			return undecided(t, whole, text)
		case t.punct('('):
			if after := l; depth == 0 && startsSelect(after.next()) {
				return insertHead{}, headNone
			}
			depth++
		case t.punct(')'):
			depth--
		case depth > 0:
		case startsSelect(t), t.is("FROM"), t.is("WATCH"):
			return insertHead{}, headNone
		case t.is("VALUES"):
			return insertHead{sql: strings.TrimSpace(text[:t.start]), format: "Values", data: t.end}, headDone
		case t.is("FORMAT"):
			return formatHead(l, text, t.start, whole)
		}
	}
}

func startsSelect(t token) bool { return t.is("SELECT") || t.is("WITH") }

// undecided is the answer at the end of the text or at another statement.
func undecided(t token, whole bool, text string) (insertHead, headState) {
	atEnd := t.kind == tokenEnd || t.kind == tokenCut || t.end == len(text)
	if atEnd && !whole {
		return insertHead{}, headMore
	}
	return insertHead{}, headNone
}

// formatHead reads from behind the word FORMAT to the beginning of the data.
func formatHead(l lexer, text string, formatAt int, whole bool) (insertHead, headState) {
	name := l.next()
	if name.kind == tokenEnd || name.end == len(text) && !whole {
		return undecided(name, whole, text)
	}
	head := insertHead{sql: strings.TrimSpace(text[:formatAt]), format: name.text, data: name.end}
	// What follows may be data: it is compared, not lexed.
	const settings = "SETTINGS"
	follows := strings.TrimLeft(text[head.data:], " \t\r\n\f\v")
	start := len(text) - len(follows)
	word := strings.ToUpper(follows[:min(len(follows), len(settings))])
	switch {
	case !whole && len(word) < len(settings) && strings.HasPrefix(settings, word):
		return insertHead{}, headMore
	case word == settings && (len(follows) == len(settings) || !isWordByte(follows[len(settings)])):
		end, ok := settingsEnd(lexer{sql: text, pos: start + len(settings)}, text, whole)
		if !ok {
			return insertHead{}, headMore
		}
		head.sql += " " + text[start:end]
		head.data = end
	}
	// The rest of the line belongs to the head: blanks, one semicolon, one line feed.
	rest := strings.TrimLeft(text[head.data:], " \t\f;")
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "\r"), "\n")
	head.data = len(text) - len(rest)
	return head, headDone
}

// settingsEnd reads "a = 1, b = 'x'" and gives its end.
func settingsEnd(l lexer, text string, whole bool) (end int, ok bool) {
	for {
		var t token
		for range 3 { // name, =, value
			t = l.next()
		}
		if t.punct('-') {
			t = l.next()
		}
		if !whole && (t.kind == tokenCut || t.end == len(text)) {
			return 0, false
		}
		end = t.end
		if after := l; !after.next().punct(',') {
			return end, true
		}
		l.next()
	}
}
