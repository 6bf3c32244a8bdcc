package haproxycfg

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func noEnv(string) (string, bool) { return "", false }

func read(t *testing.T, texts ...string) *Config {
	t.Helper()
	var files []Source
	for i, text := range texts {
		files = append(files, Source{Name: fmt.Sprintf("%c.cfg", 'a'+i), Text: []byte(text)})
	}
	c, err := Read(files, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render writes a configuration down in one line a section.
func render(c *Config) string {
	var b strings.Builder
	for _, s := range c.Sections {
		fmt.Fprintf(&b, "%s %s", s.Where(), s)
		if s.Base != nil {
			fmt.Fprintf(&b, " <%s", s.Base)
		}
		for _, l := range s.Lines {
			fmt.Fprintf(&b, " | %s %s", l.Where(), strings.Join(l.Words, ","))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestReadSections(t *testing.T) {
	c := read(t, `# comment
stray line that belongs to nothing
global
    log ring@x len 8192  # comment
ring x
    server s 127.0.0.1:1
defaults
    mode http
frontend www
	bind :80`, `stray
defaults named
    mode tcp
[scope]
defaults from named
    timeout client 1s
backend www
    server a "10.0.0.1:80"
listen l from named
userlist u
    user x password y
healthcheck h
    type tcp
`)
	want := `a.cfg:3 global | a.cfg:4 log,ring@x,len,8192
a.cfg:5 ring x | a.cfg:6 server,s,127.0.0.1:1
a.cfg:7 defaults | a.cfg:8 mode,http
a.cfg:9 frontend www <defaults | a.cfg:10 bind,:80
b.cfg:2 defaults named | b.cfg:3 mode,tcp
b.cfg:5 defaults <defaults named | b.cfg:6 timeout,client,1s
b.cfg:7 backend www <defaults | b.cfg:8 server,a,10.0.0.1:80
b.cfg:9 listen l <defaults named
b.cfg:10 userlist u | b.cfg:11 user,x,password,y
b.cfg:12 healthcheck h | b.cfg:13 type,tcp
`
	if got := render(c); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if s := c.Find("www", "backend", "listen"); s == nil || s.Kind != "backend" {
		t.Errorf("Find: %v", s)
	}
	if s := c.Find("www", "listen"); s != nil {
		t.Errorf("Find: %v", s)
	}
	if len(c.Kinds("defaults")) != 3 {
		t.Errorf("Kinds: %v", c.Kinds("defaults"))
	}
}

// TestEffective: defaults reach from one file into the next, the most distant
// ones apply first, and each line says where it comes from.
func TestEffective(t *testing.T) {
	c := read(t, "defaults base\n mode http\n option httplog\ndefaults web from base\n no option httplog\n",
		"frontend implicit\n bind :80\nfrontend explicit from base\n bind :81\ndefaults\n mode tcp\nbackend last\n")
	for _, tc := range []struct{ name, want string }{
		{"implicit", "base:mode base:option web:no implicit:bind"},
		{"explicit", "base:mode base:option explicit:bind"},
		{"last", ":mode"},
	} {
		var got []string
		for _, s := range c.Effective(c.Find(tc.name, "frontend", "backend")) {
			got = append(got, s.In.Name+":"+s.Word(0))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, got, tc.want)
		}
	}
	web := c.Find("implicit", "frontend")
	if got := len(web.Chain()); got != 3 || web.Chain()[0] != web {
		t.Errorf("chain of %d", got)
	}
	if got := c.Effective(c.Find("last", "backend"))[0].Where(); got != "b.cfg:6" {
		t.Errorf("origin %s", got)
	}
	if (Line{Words: []string{"a"}}).Word(1) != "" {
		t.Error("a word that is not there")
	}
}

// TestEnvironment: each keyword of a global section that changes what "$NAME"
// means from there on, in the next file too.
func TestEnvironment(t *testing.T) {
	outer := map[string]string{"OUT": "out", "KEPT": "kept"}
	for _, tc := range []struct{ global, want string }{
		{"", "-|out|kept"},
		{"setenv A 1\nsetenv OUT 2", "1|2|kept"},
		{"presetenv A 1\npresetenv OUT 2", "1|out|kept"},
		{"setenv A 1\nunsetenv A OUT", "-|-|kept"},
		{"unsetenv OUT\nsetenv OUT 3", "-|3|kept"},
		{"setenv A 1\nresetenv KEPT", "-|-|kept"},
		{"setenv A 1\nresetenv A OUT", "1|out|-"},
		{"resetenv OUT KEPT\nresetenv KEPT", "-|-|kept"},
		{"resetenv KEPT\nresetenv OUT KEPT", "-|-|kept"},
		{"setenv\nsetenv A\npresetenv\nunsetenv", "-|out|kept"},
	} {
		c, err := Read([]Source{
			{Name: "a", Text: []byte("global\n" + tc.global + "\n")},
			{Name: "b", Text: []byte("global\n x \"${A--}|${OUT--}|${KEPT--}\"\n")},
		}, func(name string) (string, bool) { v, ok := outer[name]; return v, ok })
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Sections[1].Lines[0].Word(1); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.global, got, tc.want)
		}
	}
	// Only global sections are obeyed; nil is an environment without variables.
	c, err := Read([]Source{{Name: "a", Text: []byte("backend b\n setenv A 1\n x \"${A-none}\"")}}, nil)
	if err != nil || c.Sections[0].Lines[1].Word(1) != "none" {
		t.Errorf("%v %v", c, err)
	}
}

// TestConditions: nothing between .if and .endif is read, a section neither,
// and each .if is reported with the section in which it stands.
func TestConditions(t *testing.T) {
	c := read(t, `.notice "hello"
.if defined(A)
global
.else
  nbthread 2
.endif
frontend a
  .if streq(1,1)
  bind :80
  .if 1
  bind :81
  .endif
frontend hidden
  .endif
  bind :82
.endif
`)
	if got := render(c); got != "a.cfg:7 frontend a | a.cfg:15 bind,:82\n" {
		t.Error(got)
	}
	var got []string
	for _, w := range c.Warnings {
		got = append(got, fmt.Sprintf("%s in %d", w, w.Section))
	}
	const text = "what is between .if and .endif is not read"
	want := []string{"a.cfg:2: " + text + " in -1", "a.cfg:8: " + text + " in 0", "a.cfg:10: " + text + " in 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestReadErrors(t *testing.T) {
	for _, tc := range []struct {
		text, want string
		line       int
	}{
		{"frontend\n", "a.cfg:1: the frontend section has no name", 1},
		{"\nbackend\n", "a.cfg:2: the backend section has no name", 2},
		{"listen\n", "a.cfg:1: the listen section has no name", 1},
		{"backend b from x\n", `a.cfg:1: there is no defaults section "x" before this one`, 1},
		{"defaults x from x\n", `a.cfg:1: there is no defaults section "x" before this one`, 1},
		{"defaults from x\n", `a.cfg:1: there is no defaults section "x" before this one`, 1},
		{"backend b from\n", `a.cfg:1: "from" is not followed by the name of a defaults section`, 1},
		{"global\n.if x\n", "a.cfg: a .if has no .endif: the one of line 2", 0},
		{"global\n x \"y\n", `a.cfg:2: the quote " is not closed`, 2},
		{"global\n.if x\n 'y\n.endif", `a.cfg:3: the quote ' is not closed`, 3},
		{"global\n x\x00y\n", "a.cfg:2: a NUL character: HAProxy refuses the file, delete it", 2},
	} {
		_, err := Read([]Source{{Name: "a.cfg", Text: []byte(tc.text)}}, nil)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || err.Error() != tc.want || syntax.Line != tc.line {
			t.Errorf("%q:\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
}

// FuzzRead: nothing panics, every line knows its place and has a word, and no
// chain of defaults is endless.
func FuzzRead(f *testing.F) {
	f.Add("global\n setenv A 'b c'\n resetenv A\ndefaults d\n mode http\n.if 1\n", "frontend x from d\n bind \"${A[*]}\" \\x41 # c\n.endif\nlisten y\n")
	f.Add("defaults from\n", "[a]\n\x00")
	f.Fuzz(func(t *testing.T, a, b string) {
		c, err := Read([]Source{{"a", []byte(a)}, {"b", []byte(b)}}, func(name string) (string, bool) { return name + " " + name, name != "NO" })
		if err != nil {
			if c != nil || !errors.As(err, new(*SyntaxError)) {
				t.Fatalf("%v, %v", c, err)
			}
			return
		}
		lines := map[string]int{"a": strings.Count(a, "\n") + 1, "b": strings.Count(b, "\n") + 1}
		for _, s := range c.Sections {
			if len(s.Chain()) > len(c.Sections) {
				t.Fatalf("%s inherits from %d sections", s, len(s.Chain()))
			}
			for _, l := range c.Effective(s) {
				if len(l.Words) == 0 || l.Line.Line < 1 || l.Line.Line > lines[l.File] || l.In.Kind != "defaults" && l.In != s {
					t.Fatalf("%s: %+v", s, l)
				}
			}
		}
		for _, w := range c.Warnings {
			if w.Section < -1 || w.Section >= len(c.Sections) {
				t.Fatalf("%+v", w)
			}
		}
	})
}
