package logformat

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// docTables renders the tables of docs/log-format.md from the code.
func docTables(t *testing.T) map[string]string {
	t.Helper()
	tables := make(map[string]string)
	var b strings.Builder
	for _, a := range aliases {
		dest := strings.Join(destinations(t, "%"+a.name), ", ")
		if a.grammar == gMillis {
			dest = "added to accept_time behind %Ts, %T or %Tl; else an extra value"
		}
		if a.since != "" {
			dest += " (HAProxy " + a.since + ")"
		}
		fmt.Fprintf(&b, "| `%%%s` | %s |\n", a.name, dest)
	}
	tables["aliases"] = b.String()

	tables["variables"] = fieldTable(DefaultVars())
	tables["headers"] = fieldTable(DefaultHeaders())
	tables["fetches"] = fieldTable(fetchFields)
	tables["haptrail"] = "```\n" + Haptrail + "\n```\n"
	b.Reset()
	for i, name := range reasonNames {
		if ParseReason(i) != OK {
			fmt.Fprintf(&b, "`%s` ", name)
		}
	}
	tables["reasons"] = strings.TrimSpace(b.String()) + "\n"
	return tables
}

func destinations(t *testing.T, format string) []string {
	var names []string
	for _, f := range mustCompile(t, format, Options{}).Items()[0].Fields {
		names = append(names, f.String())
	}
	return names
}

// fieldTable has one row for each field, with the names that fill it.
func fieldTable(m map[string]Field) string {
	by := make(map[Field][]string)
	for name, f := range m {
		by[f] = append(by[f], "`"+name+"`")
	}
	var b strings.Builder
	for f := Field(0); f < NumFields; f++ {
		if names := by[f]; len(names) > 0 {
			slices.Sort(names)
			fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(names, " "), f)
		}
	}
	return b.String()
}

// TestDocumentation: the tables of docs/log-format.md are what the code does.
// Where one differs, the test prints what belongs there.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "log-format.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range docTables(t) {
		_, rest, ok := strings.Cut(string(text), "<!-- "+name+" -->\n")
		got, _, closed := strings.Cut(rest, "<!-- end -->")
		if !ok || !closed {
			t.Errorf("docs/log-format.md lacks <!-- %s --> ... <!-- end -->", name)
			continue
		}
		if !strings.HasSuffix(got, want) {
			t.Errorf("docs/log-format.md, %s: got\n%s\nwant, at its end\n%s", name, got, want)
		}
	}
}
