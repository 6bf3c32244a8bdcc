package logformat

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// corpus returns the log lines of ../shared/corpus, beside the repository, as
// message texts by file. Without it the test is skipped.
func corpus(t testing.TB) map[string][][]byte {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Skip("no go.mod above the package")
		}
		root = filepath.Dir(root)
	}
	names, _ := filepath.Glob(filepath.Join(filepath.Dir(root), "shared", "corpus", "*", "*.log"))
	if len(names) == 0 {
		t.Skip("no corpus beside the repository (../shared/corpus)")
	}
	files := make(map[string][][]byte)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			line = withoutHeader(bytes.TrimRight(line, "\n"))
			files[filepath.Base(name)] = append(files[filepath.Base(name)], line)
		}
	}
	return files
}

// withoutHeader drops "... haproxy[123]: ".
func withoutHeader(line []byte) []byte {
	if k := bytes.Index(line, []byte("haproxy[")); k >= 0 {
		if end := bytes.Index(line[k:], []byte("]: ")); end >= 0 {
			return line[k+end+3:]
		}
	}
	return line
}

func builtinSet(t testing.TB) *Set {
	t.Helper()
	var all []Named
	for _, b := range builtins {
		all = append(all, Named{b.name, mustCompile(t, b.format, Options{})})
	}
	return NewSet(all...)
}

// TestCorpus: every line is parsed whole or recognised, but for the one that is
// broken (its date is "[]").
func TestCorpus(t *testing.T) {
	broken := map[string]int{"2_ok_1_invalid.log": 1}
	for name, lines := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			m := builtinSet(t).Matcher()
			var rec Record
			parsed, classified, bad := 0, 0, 0
			for _, line := range lines {
				format, fault := m.Parse(line, &rec)
				if fault.Reason == OK && !rec.Truncated {
					parsed++
				} else if _, ok := Classify(line); ok {
					classified++
				} else if bad++; bad > broken[name] {
					_, f := m.set.Format(format)
					t.Errorf("%s\n%s", line, f.Describe(fault))
				}
			}
			t.Logf("%d lines: %d parsed, %d recognised as no traffic, %d broken", len(lines), parsed, classified, bad)
			if bad != broken[name] {
				t.Errorf("%d broken lines, want %d", bad, broken[name])
			}
		})
	}
}

// TestTruncated cuts every line of the corpus at every length. What is read of
// the shorter line must be what the whole line holds; the text that was cut is
// a beginning of it.
func TestTruncated(t *testing.T) {
	lines := [][]byte{}
	for name, l := range corpus(t) {
		if len(l) > 200 {
			l = l[:200]
		}
		if testing.Short() && name != "2.6.log" {
			continue
		}
		lines = append(lines, l...)
	}
	for _, b := range benchLines {
		checkCuts(t, mustCompile(t, b.format, Options{}), []byte(b.line))
	}
	set := builtinSet(t)
	for _, line := range lines {
		var rec Record
		i, fault := set.Matcher().Parse(line, &rec)
		if fault.Reason != OK || rec.Truncated {
			continue
		}
		_, f := set.Format(i)
		checkCuts(t, f, line)
	}
}

func checkCuts(t *testing.T, f *Format, line []byte) {
	t.Helper()
	var rec Record
	if fault := f.Parse(line, &rec); fault.Reason != OK {
		t.Fatalf("%s: %s", line, f.Describe(fault))
	}
	whole := values(&rec)
	var cutRec Record
	enough := false
	openEnd := "" // the last value, when nothing marks its end
	if last := f.ops[len(f.ops)-1]; last.lit == "" {
		openEnd = last.field.String()
	}
	for n := range line {
		cut := bytes.Clone(line[:n])
		fault := f.Parse(cut, &cutRec)
		if fault.Reason != OK {
			if enough || fault.Reason != Short {
				t.Errorf("%q: %s", cut, f.Describe(fault))
			}
			continue
		}
		enough = true
		for k, v := range values(&cutRec) {
			switch {
			case k == "truncated" || whole[k] == v:
			case (cutValue(&cutRec, k) || k == openEnd) && bytes.HasPrefix([]byte(whole[k]), []byte(v)):
			default:
				t.Errorf("%q: %s is %q, in the whole line %q", cut, k, v, whole[k])
			}
		}
	}
	if !enough {
		t.Errorf("%s: no cut of it was kept", line)
	}
}

// cutValue tells whether the value k may be a mere beginning.
func cutValue(r *Record, k string) bool {
	if !r.Truncated {
		return false
	}
	cut := r.Cut.String()
	return k == cut || cut == "uri" && (k == "path" || k == "query") || cut == "none" && len(k) > 6 && k[:6] == "extra:"
}

// TestTruncatedPrefersWhole: a line of one format is not taken as a truncated
// line of another.
func TestTruncatedPrefersWhole(t *testing.T) {
	set := builtinSet(t)
	var rec Record
	for _, tc := range []struct{ line, want string }{
		{`127.0.0.1:40546 [23/Nov/2026:11:10:11.031] tcp tcp/s1 1/0/+0 +0 -- 2/1/1/1/0 0/0`, "tcplog"},
		{benchLines[0].line, "httplog"},
		{benchLines[0].line + ` 0/0000000000000000/0/0/0 h/TLSv1.3/X`, "httpslog"},
	} {
		for first := range set.formats {
			m := set.Matcher()
			m.last = first
			i, fault := m.Parse([]byte(tc.line), &rec)
			if name := set.names[i]; fault.Reason != OK || name != tc.want || rec.Truncated {
				t.Errorf("%s, %s tried first: %s %v truncated %v, want %s",
					tc.line, set.names[first], name, fault, rec.Truncated, tc.want)
			}
		}
	}
}

func TestMatcherReportsFurthest(t *testing.T) {
	set := builtinSet(t)
	var rec Record
	i, fault := set.Matcher().Parse([]byte(`127.0.0.1:40546 [23/Nov/2026:11:10:11.031] tcp tcp/s1 1/0/x`), &rec)
	name, f := set.Format(i)
	if got := fmt.Sprint(name, " ", f.Describe(fault)); got != "httplog bad_number at byte 58 of the line, in %Tc (position 33 of the format)" {
		t.Error(got)
	}
}
