package logformat

import "fmt"

// ParseReason says why a line does not match a format. Its String is stable: it
// labels metrics and rejected lines.
type ParseReason uint8

const (
	// OK: the line matched, perhaps truncated.
	OK ParseReason = iota
	// Mismatch: the literal text between two values is not there.
	Mismatch
	// Short: the line ends before the client and the time.
	Short
	// Trailing: text follows the last value.
	Trailing
	// BadNumber, BadAddress, BadTime, BadName, BadState and BadValue: what
	// stands in an item's place is not what HAProxy writes there.
	BadNumber
	BadAddress
	BadTime
	BadName
	BadState
	BadValue
	// Ambiguous: the line can be read in two ways, because a value that
	// HAProxy logs raw holds the text that ends it.
	Ambiguous
)

var reasonNames = [...]string{
	OK: "ok", Mismatch: "literal_mismatch", Short: "line_too_short", Trailing: "trailing_text",
	BadNumber: "bad_number", BadAddress: "bad_address", BadTime: "bad_time", BadName: "bad_name",
	BadState: "bad_state", BadValue: "bad_value", Ambiguous: "ambiguous",
}

// String returns the reason in snake_case, such as "bad_number".
func (r ParseReason) String() string { return reasonNames[r] }

// Fault says where and why a line did not match. The zero Fault means that it
// did.
type Fault struct {
	Reason ParseReason
	Pos    int // offset in the line
	Item   int // index into Format.Items
}

// Describe renders the fault for people, such as
// "bad_number at byte 88 of the line, in %ST (position 47 of the format)".
func (f *Format) Describe(fault Fault) string {
	if fault.Reason == OK {
		return fault.Reason.String()
	}
	it := f.items[min(max(fault.Item, 0), len(f.items)-1)]
	return fmt.Sprintf("%s at byte %d of the line, in %s (position %d of the format)",
		fault.Reason, fault.Pos, it.Source, it.Pos)
}
