package haproxycfg

import (
	"strings"
	"testing"
)

// TestSplitWords: what HAProxy 2.6 was seen to make of the same words.
func TestSplitWords(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{`a b  c`, `a|b|c`},
		{`"a\"b\ c\$d\\e\zf"`, `a"b c$d\e\zf`},
		{`a\ b\"c\'d\$e#comment`, `a b"c'd\$e`},
		{`'a"b$HOME\ c#d'`, `a"b$HOME\ c#d`},
		{`"x${FROM_OUTSIDE}y$X ${NOPE-def} ${NOPE}z"`, `xoutsidey1 def z`},
		{`"a"b'c d'"e"`, `abc de`},
		{`x$X`, `x$X`},
		{`"" ''`, `|`},
		{`\x41\n\t`, "A\n\t"},
		{`"${LIST[*]}" z`, `a|b|z`},
		{"a\tb\r", `a|b`},
		{`#only a comment`, ``},
		{`a#b`, `a`},
		{`\x4a\x4B`, `JK`},
	} {
		got, err := splitWords(tc.in, func(name string) (string, bool) {
			if name == "LIST" {
				return "a b", true
			}
			v, ok := map[string]string{"FROM_OUTSIDE": "outside", "X": "1"}[name]
			return v, ok
		})
		if err != nil || strings.Join(got, "|") != tc.want {
			t.Errorf("%s: %q %v, want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestSplitWordsErrors(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{`a "b`, `the quote " is not closed`},
		{`a 'b`, `the quote ' is not closed`},
		{`a "b\`, `the quote " is not closed`},
		{`"${A"`, `the ${ is not closed with }`},
		{`"$"`, `no variable name after the $: write \$ for a dollar sign`},
		{`"${}"`, `no variable name after the $: write \$ for a dollar sign`},
		{`"${A.B}"`, `${A.B}: a variable's name holds letters, digits and _ only`},
		{`\x4`, `\x needs two hexadecimal digits`},
		{`\x`, `\x needs two hexadecimal digits`},
		{`\x+1`, `\x needs two hexadecimal digits`},
	} {
		if got, err := splitWords(tc.in, func(string) (string, bool) { return "", false }); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %q, error %v, want %s", tc.in, got, err, tc.want)
		}
	}
}
