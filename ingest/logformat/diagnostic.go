package logformat

import "fmt"

// Severity grades a Diagnostic.
type Severity uint8

const (
	// Note says something true about the format that needs no action.
	Note Severity = iota
	// Warning names a place where lines can be lost: what the format writes
	// there can be read in two ways, and such lines are rejected as ambiguous.
	Warning
	// Error is what makes Compile fail.
	Error
)

// String returns "note", "warning" or "error".
func (s Severity) String() string { return [...]string{"note", "warning", "error"}[s] }

// Diagnostic is one remark about a log-format string.
type Diagnostic struct {
	Pos      int // 1 for the string's first byte
	Severity Severity
	Message  string // names the item and the mend
}

// String renders the remark as "warning: position 57: ...".
func (d Diagnostic) String() string {
	return fmt.Sprintf("%s: position %d: %s", d.Severity, d.Pos, d.Message)
}

// CompileError says why a log-format string has no parser.
type CompileError struct {
	Format string // the whole log-format string
	Pos    int    // 1 for its first byte
	Msg    string // names the item and the mend
}

// Error renders "log-format: position 57: ...".
func (e *CompileError) Error() string {
	return fmt.Sprintf("log-format: position %d: %s", e.Pos, e.Msg)
}
