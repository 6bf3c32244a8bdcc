package runtimeapi

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nasty keys and values: each must come out of HAProxy as it went in.
var nasty = []Entry{
	{"plain", "value"},
	{"two words", "three more words"},
	{" leading", " leading"},
	{"trailing ", "trailing "},
	{"tab\tin", "tab\tin\t"},
	{"\tx", "\ty"},
	{"a;b", "c;d"},
	{"show info;", ";show info"},
	{`back\slash`, `back\slash`},
	{`end\`, `end\`},
	{`\\\`, `\\ \`},
	{`\ `, `\ \`},
	{`a\;b`, `\;`},
	{"<<", "<<"},
	{"a<<", "b<<"},
	{"x <<END", "y <<END"},
	{"<", "a <<"},
	{`"quoted"`, `"quoted words"`},
	{`'single'`, `it's`},
	{"#comment", "#value"},
	{"#0x55d0c0ffee00", "an address"},
	{"@1", "@2"},
	{"$HOME", "${HOME}"},
	{`^(?<p>team-\d+)/[^ ;<]+\z`, `\k<p>|^/a/\k<p>(/.*)?\z`},
	{"é世界🙂", "é世界🙂"},
	{"\xff\xfe", "\x80"},
	{"\x01\x1b[31m\x7f", "\x02"},
	{"duplicate", "first"},
	{"duplicate", "second"},
	{"empty", ""},
	{"%[var(x)]%%", "%"},
	{"|", "role|GET|/path"},
	{strings.Repeat("k", 3000), strings.Repeat("v", 4000)},
	{strings.Repeat(" ", 1500), strings.Repeat(";", 1500)},
}

// TestNastyEntriesInAMap: written in one transaction and one by one, read back,
// and found by a look-up.
func TestNastyEntriesInAMap(t *testing.T) {
	_, c := startGate(t, "x y\n", "x y\n")
	maps, err := c.Maps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := mapNamed(t, maps, "str.map").File
	want := []string{}
	for _, e := range nasty {
		want = append(want, e.shown())
	}
	check := func(how string) {
		t.Helper()
		if have := texts(t, c, id, 0); !slices.Equal(have, want) {
			t.Fatalf("%s:\n have %q\n want %q", how, have, want)
		}
	}
	if err := c.ReplaceMap(t.Context(), id, nasty); err != nil {
		t.Fatal(err)
	}
	check("replaced")
	if err := c.ReplaceMap(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	for _, e := range nasty {
		if err := c.AddEntry(t.Context(), id, e); err != nil {
			t.Errorf("%.60q: %v", e, err)
		}
	}
	check("added")
	for _, e := range nasty {
		found, err := c.ask(t.Context(), of("get", "map", id, e.Key))
		if err != nil || !strings.Contains(found, "found=yes") {
			t.Errorf("%.60q is not found: %q, %v", e.Key, found, err)
		}
	}
}

// TestSetAndDelNastyEntries: each entry of the key, and no other.
func TestSetAndDelNastyEntries(t *testing.T) {
	dir, c := startGate(t, "x y\n", "x y\n")
	id := filepath.Join(dir, "str.map")
	expressible := slices.DeleteFunc(slices.Clone(nasty), func(e Entry) bool { return strings.Contains(e.Key, " ") })
	if err := c.ReplaceMap(t.Context(), id, expressible); err != nil {
		t.Fatal(err)
	}
	// A version that another program has prepared, with the same keys, is not ours.
	var version uint32
	if err := c.prepare(t.Context(), MapContent{id, expressible}, &version); err != nil {
		t.Fatal(err)
	}
	want, prepared := texts(t, c, id, 0), texts(t, c, id, version)
	for _, e := range expressible {
		if err := c.SetEntry(t.Context(), id, Entry{e.Key, "set " + e.Value}); err != nil {
			t.Fatalf("set %.60q: %v", e.Key, err)
		}
		for i := range expressible {
			if expressible[i].Key == e.Key {
				want[i] = e.Key + " set " + e.Value
			}
		}
		if have := texts(t, c, id, 0); !slices.Equal(have, want) {
			t.Fatalf("set %.60q:\n have %q\n want %q", e.Key, have, want)
		}
	}
	for _, e := range expressible {
		err := c.DelEntry(t.Context(), id, e.Key)
		if second := e == (Entry{"duplicate", "second"}); second != errors.Is(err, ErrNotFound) || !second && err != nil {
			t.Errorf("del %.60q: %v", e.Key, err)
		}
	}
	if have := texts(t, c, id, 0); len(have) > 0 {
		t.Errorf("not deleted: %q", have)
	}
	if have := texts(t, c, id, version); !slices.Equal(have, prepared) {
		t.Errorf("the prepared version is now %q, was %q", have, prepared)
	}
}

// texts are the entries of a version, as HAProxy shows them.
func texts(t *testing.T, c *Client, id string, version uint32) []string {
	t.Helper()
	entries, err := c.list(t.Context(), id, version)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{}
	for _, e := range entries {
		texts = append(texts, e.text)
	}
	return texts
}

func mapNamed(t *testing.T, maps []Map, suffix string) Map {
	t.Helper()
	for _, m := range maps {
		if strings.HasSuffix(m.File, "/"+suffix) {
			return m
		}
	}
	t.Fatalf("no %s in %+v", suffix, maps)
	return Map{}
}

// TestInexpressible: refused before anything is sent, so the socket need not be there.
func TestInexpressible(t *testing.T) {
	c, err := New("/nowhere/at/all", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []Entry{
		{"", "v"}, {"two words", ""}, {"a\nb", "v"}, {"a", "v\nshow info"}, {"a\x00", "v"}, {"a", "v\x00"}, {"a\r", "v"}, {"a", "v\r"}, {"#0x1", "v\n"},
	} {
		for how, err := range map[string]error{
			"add":     c.AddEntry(t.Context(), "/m", e),
			"set":     c.SetEntry(t.Context(), "/m", e),
			"replace": c.ReplaceMap(t.Context(), "/m", []Entry{{"good", "one"}, e}),
		} {
			if !errors.Is(err, ErrInexpressible) {
				t.Errorf("%s %q: %v", how, e, err)
			}
			if how == "replace" && !strings.Contains(err.Error(), "entry 2") {
				t.Errorf("which entry? %v", err)
			}
		}
	}
	for _, e := range []Entry{{strings.Repeat("k", 8000), "v"}, {"k", strings.Repeat("v", 8000)}, {"k", strings.Repeat(";", 4000)}} {
		if err := c.AddEntry(t.Context(), "/m", e); !errors.Is(err, ErrTooLarge) {
			t.Errorf("an entry of 8,000 bytes: %v", err)
		}
	}
	for _, id := range []string{"", "@1", "a\nb", "a\x00"} {
		if _, err := c.Map(t.Context(), id); !errors.Is(err, ErrInexpressible) {
			t.Errorf("map %q: %v", id, err)
		}
	}
	for _, key := range []string{"", "two words", "a\n"} {
		if err := c.DelEntry(t.Context(), "/m", key); !errors.Is(err, ErrInexpressible) {
			t.Errorf("del %q: %v", key, err)
		}
	}
	if err := c.ReplaceMaps(t.Context(), []MapContent{{"/m", nil}, {"/m", nil}}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same map twice: %v", err)
	}
}

// FuzzQuote: HAProxy's own way of cutting a line into words, written here after
// cli_parse_request (src/cli.c), gives back what was quoted.
func FuzzQuote(f *testing.F) {
	for _, e := range nasty {
		f.Add(e.Key, e.Value)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if checkArg("a", a) != nil || checkArg("b", b) != nil {
			return
		}
		line := of("add", "map", a, b).text()
		if i := strings.IndexByte(line, '\n'); i != len(line)-1 {
			t.Fatalf("%q is not one line", line)
		}
		line = strings.TrimSuffix(line, "\n")
		if strings.HasSuffix(line, "<<") || strings.Contains(line, " <<") {
			t.Fatalf("%q opens a payload", line)
		}
		if have := split(line); !slices.Equal(have, []string{"add", "map", a, b}) {
			t.Fatalf("%q is %q, want %q and %q", line, have, a, b)
		}
	})
}

// split cuts a command at its first semicolon and then into words, as HAProxy does.
func split(line string) []string {
	var words []string
	var word []byte
	in := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			word, in = append(word, line[i]), true
		case c == ';':
			i = len(line)
		case c == ' ' || c == '\t':
			if in {
				words = append(words, string(word))
			}
			word, in = nil, false
		default:
			word, in = append(word, c), true
		}
	}
	if in {
		words = append(words, string(word))
	}
	return words
}
