package haproxycfg

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// sections are the words that open a section (HAProxy 2.6 to 3.4).
var sections = []string{
	"global", "defaults", "frontend", "backend", "listen",
	"acme", "cache", "crt-store", "fcgi-app", "healthcheck", "http-errors", "log-forward", "log-profile", "mailers",
	"namespace_list", "peers", "program", "resolvers", "ring", "traces", "userlist",
}

// Read reads configuration files as HAProxy reads them when each is given with
// -f: defaults, and variables that one file sets, reach into the next ones.
//
// env looks up environment variables; nil knows none. setenv, presetenv,
// unsetenv and resetenv of global sections are obeyed. What stands between .if
// and .endif is not read, since whether it applies depends on the HAProxy that
// reads it; there is a warning for each.
//
// An error is a *SyntaxError.
func Read(files []Source, env func(string) (string, bool)) (*Config, error) {
	r := reader{env: environment{outer: env, own: map[string]string{}}, named: map[string]*Section{}}
	for _, f := range files {
		if err := r.read(f); err != nil {
			return nil, err
		}
	}
	return &r.Config, nil
}

// reader goes through the files line by line.
type reader struct {
	Config
	env environment

	// Of the file that is being read.
	file string
	line int
	open *Section // that the lines belong to, nil before the first
	ifs  []int    // lines of the .if that are open

	// Of all files so far.
	last  *Section // the last defaults section
	named map[string]*Section
}

func (r *reader) fail(text string, args ...any) error {
	return &SyntaxError{File: r.file, Line: r.line, Text: fmt.Sprintf(text, args...)}
}

func (r *reader) read(f Source) error {
	r.file, r.line, r.open, r.ifs = f.Name, 0, nil, nil
	for line := range bytes.Lines(f.Text) {
		r.line++
		if err := r.take(strings.TrimSuffix(string(line), "\n")); err != nil {
			return err
		}
	}
	if len(r.ifs) > 0 {
		return &SyntaxError{File: r.file, Text: fmt.Sprintf("a .if has no .endif: the one of line %d", r.ifs[len(r.ifs)-1])}
	}
	return nil
}

func (r *reader) take(line string) error {
	// "[NAME]" parts a file for filters; such a line has no words for us.
	if strings.HasPrefix(strings.TrimLeft(line, " \t\r"), "[") {
		return nil
	}
	if strings.IndexByte(line, 0) >= 0 {
		return r.fail("a NUL character: HAProxy refuses the file, delete it")
	}
	words, err := splitWords(line, r.env.get)
	switch {
	case err != nil:
		return r.fail("%s", err)
	case len(words) == 0 || r.condition(words[0]):
		return nil
	case slices.Contains(sections, words[0]):
		return r.section(words)
	case r.open == nil:
		return nil // HAProxy refuses it; it belongs to nothing that could be asked for
	}
	if r.open.Kind == "global" {
		r.env.take(words)
	}
	r.open.Lines = append(r.open.Lines, Line{File: r.file, Line: r.line, Words: words})
	return nil
}

// condition tells whether the line is a directive or stands between .if and
// .endif.
func (r *reader) condition(word string) bool {
	switch word {
	case ".if":
		r.ifs = append(r.ifs, r.line)
		r.Warnings = append(r.Warnings, Warning{
			File: r.file, Line: r.line, Text: "what is between .if and .endif is not read", Section: r.index(),
		})
		return true
	case ".endif":
		r.ifs = r.ifs[:max(len(r.ifs)-1, 0)]
		return true
	}
	return len(r.ifs) > 0 || strings.HasPrefix(word, ".")
}

func (r *reader) index() int {
	if r.open == nil {
		return -1
	}
	return len(r.Sections) - 1
}

// section opens a section. The proxies among them inherit from defaults.
func (r *reader) section(w []string) error {
	s := &Section{Kind: w[0], File: r.file, Line: r.line}
	rest := w[1:]
	// "defaults from x" has no name
	if len(rest) > 0 && (s.Kind != "defaults" || rest[0] != "from") {
		s.Name, rest = rest[0], rest[1:]
	}
	switch s.Kind {
	case "defaults", "frontend", "backend", "listen":
		if err := r.inherit(s, rest); err != nil {
			return err
		}
	}
	if s.Kind == "defaults" {
		r.last = s
		if s.Name != "" {
			r.named[s.Name] = s
		}
	}
	r.open = s
	r.Sections = append(r.Sections, s)
	return nil
}

func (r *reader) inherit(s *Section, rest []string) error {
	if s.Kind != "defaults" {
		if s.Name == "" {
			return r.fail("the %s section has no name", s.Kind)
		}
		s.Base = r.last
	}
	k := slices.Index(rest, "from")
	if k < 0 {
		return nil
	}
	if k+1 == len(rest) {
		return r.fail(`"from" is not followed by the name of a defaults section`)
	}
	s.From = rest[k+1]
	base, ok := r.named[s.From]
	if !ok {
		return r.fail("there is no defaults section %q before this one", s.From)
	}
	s.Base = base
	return nil
}
