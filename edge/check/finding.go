package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity grades a Finding.
type Severity uint8

const (
	// Note says something true that needs no action now.
	Note Severity = iota
	// Warning names what may go wrong, or what is less than it should be.
	Warning
	// Error names a hole in the gate, or a loss of what it should tell.
	Error
)

// String returns "note", "warning" or "error".
func (s Severity) String() string { return [...]string{"note", "warning", "error"}[s] }

// MarshalText writes the severity as String does, for JSON and the like.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that is not as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"` // of Codes: stable, for filters and exceptions
	File     string   `json:"file"` // "" when it is about no file
	Line     int      `json:"line"` // 1 for the first of the file, 0 for the file as a whole
	Section  string   `json:"section"`
	Text     string   `json:"text"` // what is so, and what follows from it
	Mend     string   `json:"mend"` // what to do
}

// Where renders the place as "file:line", or as much of it as there is.
func (f Finding) Where() string {
	switch {
	case f.File == "":
		return "haproxy"
	case f.Line == 0:
		return f.File
	}
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}

// String renders the finding as
//
//	file:line: severity: text [code]
//	    mend
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: %s [%s]\n    %s", f.Where(), f.Severity, indent(f.Text), f.Code, indent(f.Mend))
}

func indent(text string) string { return strings.ReplaceAll(text, "\n", "\n    ") }

// Worst returns the highest severity among the findings; ok is false when there
// are none.
func Worst(all []Finding) (worst Severity, ok bool) {
	for _, f := range all {
		worst = max(worst, f.Severity)
	}
	return worst, len(all) > 0
}

// sortFindings puts the findings in the order of the files, as they were given,
// and of the lines in them; what is about no given file comes last. Findings
// that are alike become one.
func sortFindings(all []Finding, files []string) []Finding {
	place := func(f Finding) int {
		if i := slices.Index(files, f.File); i >= 0 {
			return i
		}
		return len(files)
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(place(a), place(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			-cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Section, b.Section), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(all)
}
