// Package haproxycfg reads haproxy.cfg files into sections and lines, with the
// words of each line as HAProxy sees them and the place that each came from.
//
// It knows what all sections share: quoting, the environment, sections and the
// defaults that they inherit from (HAProxy configuration manual, sections 2.2,
// 2.3 and 4). What a keyword means is left to who asks: logformat takes the
// log-formats out, edge/check judges the rest.
package haproxycfg

import (
	"fmt"
	"slices"
)

// Source is the text of one configuration file.
type Source struct {
	Name string // for messages, and of each line that comes from it
	Text []byte
}

// Config is what a list of configuration files says, in their order.
type Config struct {
	Sections []*Section
	Warnings []Warning // what was passed over, in order
}

// Section is one section: a line that opens it and the lines up to the next.
type Section struct {
	Kind string // the opening word: "global", "defaults", "frontend", "ring", ...
	Name string // the word behind it, "" when there is none
	From string // what a proxy's or defaults section's "from" names, "" when there is none
	File string
	Line int // of the opening line, 1 for the first of the file

	// Base is the defaults section that a frontend, backend, listen or defaults
	// section starts out with: the one that From names, and else, but not for a
	// defaults section, the last one before it. Nil when there is none.
	Base *Section

	Lines []Line // its own, without the opening line
}

// Where renders the place of the opening line as "file:line".
func (s *Section) Where() string { return where(s.File, s.Line) }

// String renders the section as "frontend www".
func (s *Section) String() string {
	if s.Name == "" {
		return s.Kind
	}
	return s.Kind + " " + s.Name
}

// Chain lists the section and the defaults sections that it inherits from, the
// section itself first.
func (s *Section) Chain() []*Section {
	var all []*Section
	for ; s != nil; s = s.Base {
		all = append(all, s)
	}
	return all
}

// Line is one line that is no comment, no section's opening and no condition.
type Line struct {
	File  string
	Line  int      // 1 for the first of the file
	Words []string // at least one; quotes, escapes and the environment resolved
}

// Where renders the place as "file:line".
func (l Line) Where() string { return where(l.File, l.Line) }

// Word returns the word at index i, "" when the line has fewer.
func (l Line) Word(i int) string {
	if i < len(l.Words) {
		return l.Words[i]
	}
	return ""
}

// Setting is a line that applies to a section, and the section that it stands
// in: the section itself or one of its defaults.
type Setting struct {
	Line
	In *Section
}

// Warning is a remark about something that was not read.
type Warning struct {
	File string
	Line int
	Text string

	// Section is the index in Config.Sections of the section in which it stands,
	// -1 before the first of the file.
	Section int
}

// String renders the warning as "file:line: text".
func (w Warning) String() string { return where(w.File, w.Line) + ": " + w.Text }

// SyntaxError says why a configuration cannot be read.
type SyntaxError struct {
	File string
	Line int // 0 when it is about the file as a whole
	Text string
}

// Error renders the error as "file:line: text".
func (e *SyntaxError) Error() string { return where(e.File, e.Line) + ": " + e.Text }

func where(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// Effective lists what applies to a section, in the order in which HAProxy
// applies it: the lines of its defaults, the most distant ones first, and then
// its own.
//
// A defaults section hands down what it holds as it is; which of its keywords a
// section of this kind takes over is for the reader to know. HAProxy refuses a
// listen or defaults section whose defaults hold http-request or tcp-request
// rules.
func (c *Config) Effective(s *Section) []Setting {
	chain := s.Chain()
	slices.Reverse(chain)
	var all []Setting
	for _, in := range chain {
		for _, l := range in.Lines {
			all = append(all, Setting{Line: l, In: in})
		}
	}
	return all
}

// Kinds lists the sections of the given kinds, in order.
func (c *Config) Kinds(kinds ...string) []*Section {
	var all []*Section
	for _, s := range c.Sections {
		if slices.Contains(kinds, s.Kind) {
			all = append(all, s)
		}
	}
	return all
}

// Find returns the first section of one of the kinds that has the name, nil
// when there is none. A frontend and a backend may have the same name.
func (c *Config) Find(name string, kinds ...string) *Section {
	for _, s := range c.Kinds(kinds...) {
		if s.Name == name {
			return s
		}
	}
	return nil
}
