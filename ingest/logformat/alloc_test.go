package logformat

import (
	"strings"
	"testing"
)

// TestNoAllocations: Parse allocates nothing once the record has grown, also on
// faults, on truncated lines and on those that need a second look.
func TestNoAllocations(t *testing.T) {
	const anyReason ParseReason = 0xff // the lines of one trap format are read by all
	raw := `%ci:%cp [%tr] %CC %[var(txn.subject_of_the_token)] %{+Q}[var(txn.role)] a-literal-that-is-longer-than-thirty-two-bytes=%{+Q}[var(txn.job)]`
	const rawLine = `1.2.3.4:5 [23/Nov/2026:11:10:03.499] A=b sub x "r" a-literal-that-is-longer-than-thirty-two-bytes="j"`
	cases := []struct {
		name, format, line string
		reason             ParseReason
	}{
		{"json, escaped", Haptrail, strings.Replace(benchLines[2].line, "acme", `a\u00e9\n`, 3), OK},
		{"fault", httplog, strings.Replace(benchLines[0].line, "200", "2x0", 1), Mismatch},
		{"truncated", httplog, benchLines[0].line[:180], OK},
		{"second look", raw, rawLine, Ambiguous},
		{"second look, one reading", httplog + ` %{+Q}[var(txn.sub)] %{+Q}[var(txn.job)]`, benchLines[0].line + ` "a"b" "c"`, OK},
		{"clf", clf, `127.0.0.1 - - [23/Nov/2026:11:10:10 +0000] "GET /clf?x=#221 HTTP/1.1" 200 122 "" "" 45236 995 "clf" "app" "app1" 0 0 0 0 0 ---- 1 1 0 0 0 0 0 "" "" "ua #22x#22" `, OK},
	}
	for _, format := range trapFormats {
		for _, line := range trapLines {
			cases = append(cases, struct {
				name, format, line string
				reason             ParseReason
			}{"trap", format, line, anyReason})
		}
	}
	for _, b := range benchLines {
		cases = append(cases, struct {
			name, format, line string
			reason             ParseReason
		}{b.name, b.format, b.line, OK})
	}
	for _, tc := range cases {
		f := mustCompile(t, tc.format, Options{})
		line := []byte(tc.line)
		var rec Record
		if fault := f.Parse(line, &rec); fault.Reason != tc.reason && tc.reason != anyReason {
			t.Errorf("%s: %s", tc.name, f.Describe(fault))
		}
		if n := testing.AllocsPerRun(100, func() { f.Parse(line, &rec) }); n != 0 {
			t.Errorf("%s: %v allocations for each line", tc.name, n)
		}
	}
}

// TestRecordIsReused: nothing of one line shows in the next.
func TestRecordIsReused(t *testing.T) {
	formats := fuzzFormats(t)
	var rec Record
	for range 2 {
		for _, f := range formats {
			for _, b := range benchLines {
				var fresh Record
				if fault := f.Parse([]byte(b.line), &fresh); f.Parse([]byte(b.line), &rec) != fault || fault.Reason != OK {
					continue
				}
				if d := diff(values(&rec), values(&fresh)); d != "" {
					t.Errorf("%s: %s", f, d)
				}
			}
		}
	}
}
