package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/internal/strictyaml"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// repositoryFile is the text of a file, by its path from the repository's root.
func repositoryFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", "..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tableIn are the rows of the table between <!-- name --> and <!-- end -->, each
// with so many cells, none of them empty; the first without its quotes.
func tableIn(t *testing.T, page, name string, cells int) [][]string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "<!-- "+name+" -->\n")
	table, _, closed := strings.Cut(rest, "<!-- end -->")
	if !ok || !closed {
		t.Fatalf("the page lacks <!-- %s --> ... <!-- end -->", name)
	}
	var rows [][]string
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if len(row) != cells || slices.Contains(row, "") {
			t.Errorf("%s: %q has %d cells, some perhaps empty, want %d", name, row, len(row), cells)
			continue
		}
		row[0] = strings.Trim(row[0], "`")
		rows = append(rows, row)
	}
	return rows
}

// TestFindingKindsPage: docs/findings.md has each kind of finding, in the code's
// order, with severities that there are, and what makes two findings one as package
// finding has it.
func TestFindingKindsPage(t *testing.T) {
	page := repositoryFile(t, "docs", "findings.md")
	var kinds []string
	for _, row := range tableIn(t, page, "kinds", 6) {
		kinds = append(kinds, row[0])
		first := regexp.MustCompile(`^\w+`).FindString(row[3])
		if _, ok := finding.ParseSeverity(first); !ok {
			t.Errorf("%s: the severity begins with %q, want low, medium, high or critical", row[0], first)
		}
	}
	if want := finding.Kinds(); !slices.Equal(kinds, want) {
		t.Errorf("kinds: have %v, want %v", kinds, want)
	}
	var have, want []string
	for _, row := range tableIn(t, page, "keys", 2) {
		have = append(have, row[0]+": "+row[1])
	}
	code := repositoryFile(t, "analyze", "finding", "finding.go")
	for _, m := range regexp.MustCompile(`(?m)^//\t(\w+) {2,}(\S.*)$`).FindAllStringSubmatch(code, -1) {
		if slices.Contains(finding.Kinds(), m[1]) {
			want = append(want, m[1]+": "+m[2])
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("keys: have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// TestFindingFieldsPage: docs/findings.md has each field of the section findings,
// in the code's order, with its default.
func TestFindingFieldsPage(t *testing.T) {
	var have []string
	for _, row := range tableIn(t, repositoryFile(t, "docs", "findings.md"), "fields", 3) {
		have = append(have, row[0]+" "+row[1])
	}
	var want []string
	defaults := reflect.ValueOf(finding.DefaultPolicy())
	for i := range defaults.NumField() {
		name := defaults.Type().Field(i).Tag.Get("yaml")
		want = append(want, name+" "+defaultText(defaults.Field(i)))
		if name == "protected" {
			for _, key := range strictyaml.Keys(reflect.TypeFor[finding.Place]()) {
				want = append(want, "protected[]."+key+" any")
			}
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("fields: have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// defaultText is a default as the page writes it: 12h, 30d, none.
func defaultText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Duration:
		hours := x.Seconds() / 3600
		switch {
		case hours >= 48:
			return fmt.Sprintf("`%dd`", hours/24)
		case hours > 0:
			return fmt.Sprintf("`%dh`", hours)
		}
		return fmt.Sprintf("`%dm`", x.Seconds()/60)
	case int:
		return fmt.Sprintf("`%d`", x)
	case []string:
		if len(x) > 0 {
			return "`" + strings.Join(x, "` `") + "`"
		}
	}
	return "none"
}

// TestPagesLoad: what the pages show of haptrail.yaml loads, and the example of
// findings sets something of each kind that it explains.
func TestPagesLoad(t *testing.T) {
	for path, atLeast := range map[string]int{"docs/findings.md": 1, "README.md": 2} {
		blocks := yamlBlock.FindAllStringSubmatch(repositoryFile(t, strings.Split(path, "/")...), -1)
		if len(blocks) < atLeast {
			t.Errorf("%s has %d examples, want %d", path, len(blocks), atLeast)
		}
		for _, m := range blocks {
			if _, err := Parse([]byte(m[1])); err != nil {
				t.Errorf("%s: %v\n%s", path, err, m[1])
			}
		}
	}
	example := yamlBlock.FindStringSubmatch(repositoryFile(t, "docs", "findings.md"))[1]
	c, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Findings; len(f.Protected) < 2 || len(f.ProtectedRefs) == 0 || len(f.RunnerNetworks) < 2 || len(f.Off) == 0 {
		t.Errorf("the example leaves something out: %+v", f)
	}
	for _, ref := range c.Findings.ProtectedRefs { // a bare name fits no ref
		if !strings.HasPrefix(ref, "refs/") {
			t.Errorf("the example's %q protects nothing", ref)
		}
	}
}

// pages are the README and all of docs, by their paths from the repository's root.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("..", "..", "..", "docs", "*.md"))
	if err != nil || len(all) < 3 {
		t.Fatalf("%d pages, error %v", len(all), err)
	}
	for i := range all {
		all[i] = "docs/" + filepath.Base(all[i])
	}
	return append(all, "README.md")
}

// TestConfigurationsOfPages: what any page shows of haptrail.yaml loads, and the page
// of bursts shows their section.
func TestConfigurationsOfPages(t *testing.T) {
	topLevel := map[string]bool{}
	for i := range reflect.TypeFor[Config]().NumField() {
		topLevel[reflect.TypeFor[Config]().Field(i).Tag.Get("yaml")] = true
	}
	loaded := 0
	for _, page := range pages(t) {
		bursts := 0
		for _, m := range yamlBlock.FindAllStringSubmatch(repositoryFile(t, strings.Split(page, "/")...), -1) {
			keys := regexp.MustCompile(`(?m)^([a-z_]+):`).FindAllStringSubmatch(m[1], -1)
			if len(keys) == 0 || slices.ContainsFunc(keys, func(key []string) bool { return !topLevel[key[1]] }) {
				continue // a policy, or another program's
			}
			if _, err := Parse([]byte(m[1])); err != nil {
				t.Errorf("%s: %v\n%s", page, err, m[1])
				continue
			}
			loaded++
			bursts += strings.Count("\n"+m[1], "\nbursts:")
		}
		if page == "docs/bursts.md" && bursts == 0 {
			t.Errorf("%s shows no section bursts", page)
		}
	}
	if loaded < 7 {
		t.Errorf("%d examples loaded", loaded)
	}
}

// TestFlagsOfPages: a command that a page shows has the flags that it shows.
func TestFlagsOfPages(t *testing.T) {
	code := ""
	files, err := filepath.Glob(filepath.Join("..", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no commands found: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code += string(text)
	}
	flags := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\t(\\w+) +[]\\w.]+ +`(.*)`$").FindAllStringSubmatch(code, -1) {
		tag := reflect.StructTag(m[2])
		name := tag.Get("name")
		if name == "" {
			name = strings.ToLower(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(m[1], "$1-$2"))
		}
		flags["--"+name] = true
	}
	shown := 0
	for _, path := range pages(t) {
		for _, line := range regexp.MustCompile(`(?m)(?:^\$ |\x60)haptrail (?:trail|findings|bursts|alerts|import|check|serve)\b[^\n\x60]*`).FindAllString(repositoryFile(t, strings.Split(path, "/")...), -1) {
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(line, -1) {
				if shown++; !flags[flag] {
					t.Errorf("%s: %s: no command has %s", path, line, flag)
				}
			}
		}
	}
	if shown < 8 {
		t.Errorf("%d flags found in the pages", shown)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noWord  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are those of a page's headings, as GitHub makes them.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		all[strings.ReplaceAll(noWord.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return all
}

// TestLinksOfPages: what a page links to is there, down to the heading.
func TestLinksOfPages(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	followed := 0
	for _, path := range append(pages, filepath.Join(root, "README.md")) {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			followed++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", path, m[1])
				continue
			}
			if anchor == "" {
				continue
			}
			if text, err := os.ReadFile(target); err != nil || !anchors(string(text))[anchor] {
				t.Errorf("%s: %s has no such heading (%v)", path, m[1], err)
			}
		}
	}
	if followed < 20 {
		t.Errorf("%d links followed", followed)
	}
}
