package embedded

import (
	"fmt"
	"strings"
	"testing"
)

func lexAll(sql string) string {
	l := lexer{sql: sql}
	var out []string
	for {
		t := l.next()
		switch t.kind {
		case tokenEnd:
			return strings.Join(out, " ")
		case tokenCut:
			return strings.Join(append(out, "CUT"), " ")
		}
		out = append(out, fmt.Sprintf("%c%s", "?wns."[t.kind], t.text))
	}
}

func TestLexer(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{"", ""},
		{"SELECT a.b+1", "wSELECT wa .. wb .+ .1"},
		{"'a''b\\'c' `x\\`y` \"z\"", "sa''b\\'c nx\\`y nz"},
		{"a -- b\nc # d\n#!e\nf /* g\n*/ h#i", "wa wc wf wh .# wi"},
		{"$$a'b$$ $t$ $$ $t$ $1", "sa'b s $$  .$ .1"},
		{"1.5e3 0xFF täst", ".1.5e3 .0xFF wtäst"},
		{"'a", "CUT"}, {"a /* b", "wa CUT"}, {"`a\\`", "CUT"}, {"$t$ x", "CUT"}, {"'a\\", "CUT"},
	} {
		if got := lexAll(c.sql); got != c.want {
			t.Errorf("%q: %q, want %q", c.sql, got, c.want)
		}
	}
}

func TestFormatClause(t *testing.T) {
	for _, c := range []struct {
		sql, format, body string
		clear             bool
	}{
		{"SELECT 1", "", "SELECT 1", true},
		{"SELECT 1 FORMAT JSON", "JSON", "SELECT 1 ", true},
		{"SELECT 1 format JSON;", "JSON", "SELECT 1 ", true},
		{"SELECT 1 FORMAT JSON SETTINGS a = 1", "JSON", "SELECT 1 ", true},
		{"SELECT 1 SETTINGS a = 1 FORMAT `CSV` -- end", "CSV", "SELECT 1 SETTINGS a = 1 ", true},
		{"SELECT 1;", "", "SELECT 1", true},
		{"SELECT 'FORMAT JSON'", "", "SELECT 'FORMAT JSON'", true},
		{"SELECT (SELECT 1 FORMAT JSON)", "", "SELECT (SELECT 1 FORMAT JSON)", true},
		{"SELECT format('{}', 1) FROM t", "", "SELECT format('{}', 1) FROM t", false},
		{"SELECT format FROM t", "", "SELECT format FROM t", false},
		{"SELECT a AS format FROM t FORMAT TSV", "TSV", "SELECT a AS format FROM t ", true},
		{"SELECT 'open", "", "SELECT 'open", false},
	} {
		format, body, clear := formatClause(c.sql)
		if format != c.format || c.sql[:body] != c.body || clear != c.clear {
			t.Errorf("%q: %q %q %v", c.sql, format, c.sql[:body], clear)
		}
	}
}

func TestInsertHead(t *testing.T) {
	for _, c := range []struct{ text, sql, format, data string }{
		{"INSERT INTO t (a, b) FORMAT Native\nDATA", "INSERT INTO t (a, b)", "Native", "DATA"},
		{"insert into t format CSV  \r\n1,2\n", "insert into t", "CSV", "1,2\n"},
		{"INSERT INTO t FORMAT CSV;\n;x", "INSERT INTO t", "CSV", ";x"},
		{"INSERT INTO values VALUES (1)", "INSERT INTO values", "Values", " (1)"},
		{"INSERT INTO db.format (format) FORMAT TSV\nx", "INSERT INTO db.format (format)", "TSV", "x"},
		{"INSERT INTO t (`a)b`, \"FORMAT\") VALUES(1)", "INSERT INTO t (`a)b`, \"FORMAT\")", "Values", "(1)"},
		{"INSERT INTO FUNCTION file('x', CSV, 'a Int8') FORMAT CSV\n1", "INSERT INTO FUNCTION file('x', CSV, 'a Int8')", "CSV", "1"},
		{"INSERT INTO t SETTINGS a = 1, b = 'FORMAT' FORMAT CSV\n1", "INSERT INTO t SETTINGS a = 1, b = 'FORMAT'", "CSV", "1"},
		{"INSERT INTO t FORMAT CSV SETTINGS a = -1, b='x'\n1", "INSERT INTO t SETTINGS a = -1, b='x'", "CSV", "1"},
	} {
		head, state := parseInsertHead(c.text, true)
		if state != headDone || head.sql != c.sql || head.format != c.format || c.text[head.data:] != c.data {
			t.Errorf("%q: %v %+v", c.text, state, head)
			continue
		}
		// A part of it must not be taken for the whole: the head is found where
		// the data begins, or one byte later, and is the same from there on.
		for n := range len(c.text) {
			part, state := parseInsertHead(c.text[:n], false)
			if state == headNone || state == headDone && (part.sql != c.sql || part.format != c.format) {
				t.Errorf("%q: %v %+v", c.text[:n], state, part)
			}
		}
	}
	for _, text := range []string{
		"", "SELECT 1", "INSERT INTO t SELECT 1", "INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x", "INSERT INTO t (SELECT 1)",
		"INSERT INTO t FROM INFILE 'x' FORMAT CSV", "INSERT", "INSERT INTO", "INSERT INTO t", "INSERT INTO t (a", "INSERT INTO t FORMAT", "/* INSERT", "EXPLAIN INSERT INTO t VALUES (1)",
	} {
		if head, state := parseInsertHead(text, true); state != headNone {
			t.Errorf("%q: %v %+v", text, state, head)
		}
	}
}

// FuzzLexer checks that tokens and what is between them are the text, in order,
// and that the parsers on top of it stay inside the text.
func FuzzLexer(f *testing.F) {
	for _, seed := range []string{"SELECT 'a' FORMAT JSON", "INSERT INTO t (a) FORMAT CSV SETTINGS a=1\n1", "$t$x$t$ -- c\n`a\\``", "/*", "INSERT INTO t SETTINGS a = -1 VALUES"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		l := lexer{sql: sql}
		at := 0
		for {
			tok := l.next()
			if tok.start < at || tok.end < tok.start || tok.end > len(sql) {
				t.Fatalf("token %+v behind %d of %d", tok, at, len(sql))
			}
			if tok.kind == tokenEnd || tok.kind == tokenCut {
				break
			}
			if tok.end == tok.start || !strings.Contains(sql[tok.start:tok.end], tok.text) {
				t.Fatalf("token %+v", tok)
			}
			at = tok.end
		}
		if _, body, _ := formatClause(sql); body < 0 || body > len(sql) {
			t.Fatalf("body %d of %d", body, len(sql))
		}
		for _, whole := range []bool{false, true} {
			head, state := parseInsertHead(sql, whole)
			if state == headDone && (head.data < 0 || head.data > len(sql)) || state == headMore && whole {
				t.Fatalf("whole=%v: %v %+v", whole, state, head)
			}
		}
	})
}
