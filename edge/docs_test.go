package edge_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/edge/provider"
)

// The gate's pages, beside the code.
const (
	gatePage   = "edge.md"
	policyPage = "policy.md"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section is what stands in a page between <!-- name --> and <!-- end -->.
func section(t *testing.T, pageName, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page(t, pageName), "<!-- "+name+" -->\n")
	text, _, closed := strings.Cut(rest, "<!-- end -->")
	if !ok || !closed {
		t.Fatalf("docs/%s lacks <!-- %s --> ... <!-- end -->", pageName, name)
	}
	return text
}

// rows are a table's rows: their cells, without the head.
func rows(table string) [][]string {
	var all [][]string
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if strings.HasPrefix(line, "| `") {
			all = append(all, cells)
		}
	}
	return all
}

// yamlBlocks are a page's blocks of YAML.
func yamlBlocks(text string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// firstPolicy is the page's example of a whole policy.
func firstPolicy(t *testing.T) string {
	t.Helper()
	for _, block := range yamlBlocks(page(t, gatePage)) {
		if strings.Contains(block, "\nversion: 1\n") {
			return block
		}
	}
	t.Fatalf("docs/%s has no policy to begin with", gatePage)
	return ""
}

// renderedExample is the gate of the page's policy, for the oldest HAProxy.
func renderedExample(t *testing.T) string {
	t.Helper()
	p, err := policy.Parse([]byte(firstPolicy(t)), gatePage)
	if err != nil {
		t.Fatal(err)
	}
	store, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := edge.Render(p, store, edge.Options{Version: edge.Oldest, Base: "/etc/haproxy/haptrail", Source: "policy.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	return string(files[edge.GateFile])
}

var (
	setsReason = regexp.MustCompile(`http-request set-var\(txn\.reason\) str\((\w+)\)(?:[^\n]*\n\s*http-request deny deny_status (\d+))?`)
	logsReason = regexp.MustCompile(`"why":"%\{-M\}\[str\((\w+)\),json\]"`)
)

// The table of reasons has each reason that the gate gives, with its status, in
// the order in which the gate asks. bad_request is HAProxy's own answer, of
// several statuses; a request that is let through has the application's.
func TestReasonsAreDocumented(t *testing.T) {
	text := renderedExample(t)
	var want []string
	for _, m := range setsReason.FindAllStringSubmatch(text, -1) {
		status := m[2]
		if status == "" {
			status = "the application's"
		}
		want = append(want, m[1]+" "+status)
	}
	bad := logsReason.FindStringSubmatch(text)
	if len(want) < 25 || bad == nil {
		t.Fatalf("%d reasons and %q found in the rendered gate: has its form changed?", len(want), bad)
	}
	want = append(want, bad[1]+" 400, 408 or 0")
	var have []string
	for _, row := range rows(section(t, gatePage, "reasons")) {
		if len(row) != 4 || row[2] == "" || row[3] == "" {
			t.Errorf("the row %q lacks a cell", row)
			continue
		}
		have = append(have, strings.Trim(row[0], "`")+" "+row[1])
	}
	if !slices.Equal(have, want) {
		t.Errorf("docs/%s, reasons: have\n%s\nwant\n%s", gatePage, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	for _, reason := range []string{
		policy.ReasonPublic, policy.ReasonNoRole, policy.ReasonPathUnsafe, policy.ReasonMethodUnsafe,
		policy.ReasonGrantDenied, policy.ReasonOK, edge.ReasonUnknownKID,
	} {
		if !slices.ContainsFunc(have, func(row string) bool { return strings.HasPrefix(row, reason+" ") }) {
			t.Errorf("docs/%s, reasons: %s is missing", gatePage, reason)
		}
	}
}

// The table of headers has each header that the gate sets.
func TestHeadersAreDocumented(t *testing.T) {
	var want, have []string
	for _, m := range regexp.MustCompile(`http-request set-header (\S+) `).FindAllStringSubmatch(renderedExample(t), -1) {
		want = append(want, m[1])
	}
	for _, row := range rows(section(t, gatePage, "headers")) {
		have = append(have, strings.Trim(row[0], "`"))
	}
	if len(want) == 0 || !slices.Equal(have, want) {
		t.Errorf("docs/%s, headers: have %q, want %q", gatePage, have, want)
	}
}

// fields are the policy file's fields as its errors call them, lists marked by
// [].
func fields(of reflect.Type, prefix string) []string {
	var names []string
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		kind := of.Field(i).Type
		name = prefix + name
		inner := kind
		if kind.Kind() == reflect.Slice {
			inner = kind.Elem()
		}
		if inner.Kind() != reflect.Struct || inner == reflect.TypeFor[policy.Rate]() {
			names = append(names, name)
			continue
		}
		if kind.Kind() == reflect.Slice {
			name += "[]"
		}
		names = append(names, fields(inner, name+".")...)
	}
	return names
}

// The reference has a row for each field of the policy file, and no other.
func TestPolicyFieldsAreDocumented(t *testing.T) {
	want := fields(reflect.TypeFor[policy.Policy](), "")
	var have []string
	for _, row := range rows(section(t, policyPage, "fields")) {
		for name := range strings.FieldsSeq(row[0]) {
			have = append(have, strings.Trim(name, "`"))
		}
		if len(row) != 3 || row[1] == "" || row[2] == "" {
			t.Errorf("the row %q lacks a cell", row)
		}
	}
	if len(want) < 40 || !slices.Equal(have, want) {
		t.Errorf("docs/%s, fields: have\n%s\nwant\n%s", policyPage, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// Every piece of a policy in the pages loads and brings no warning. One without a
// version is put in the place of the same sections of the first policy. The
// daemon's configuration loads too; what is left is for a CI system.
func TestExamplesLoad(t *testing.T) {
	whole := sections(firstPolicy(t))
	policies, configurations := 0, 0
	for _, name := range []string{gatePage, policyPage} {
		for _, block := range yamlBlocks(page(t, name)) {
			text := sections(block)
			switch {
			case text["listeners:"] != "":
				configurations++
				if _, err := config.Parse([]byte(block)); err != nil {
					t.Errorf("%s\n%v", block, err)
				}
				continue
			case text["permissions:"] != "":
				continue
			case text["version:"] == "":
				merged := maps.Clone(whole)
				maps.Copy(merged, text)
				text = merged
			}
			policies++
			p, err := policy.Parse([]byte(join(text)), name)
			if err != nil {
				t.Errorf("%s\n%v", block, err)
				continue
			}
			for _, w := range p.Warnings() {
				t.Errorf("%s\n%s", block, w)
			}
		}
	}
	if policies < 5 || configurations != 1 {
		t.Errorf("%d policies and %d configurations found", policies, configurations)
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// The table of path templates says what fits.
func TestTemplatesAreDocumented(t *testing.T) {
	id := policy.Identity{Issuer: "github", Provider: "github", Tenant: "acme", Project: "acme/web-shop"}
	table := rows(section(t, policyPage, "templates"))
	if len(table) < 3 {
		t.Fatalf("%d templates found", len(table))
	}
	for _, row := range table {
		template := strings.Trim(row[0], "`")
		text := sections(firstPolicy(t))
		text["roles:"] = "roles: [{name: anybody, match: [{tenant: acme}]}]\n"
		text["grants:"] = fmt.Sprintf("grants: [{roles: [anybody], paths: [%q]}]\n", template)
		p, err := policy.Parse([]byte(join(text)), policyPage)
		if err != nil {
			t.Fatal(err)
		}
		for column, want := range map[int]bool{1: true, 2: false} {
			// the condition behind a comma names no path
			paths, _, _ := strings.Cut(row[column], ", if ")
			for _, m := range quoted.FindAllStringSubmatch(paths, -1) {
				if d := p.Decide(id, policy.Request{Method: "GET", Path: m[1]}); d.Allow != want {
					t.Errorf("%s and %s: %+v", template, m[1], d)
				}
			}
		}
	}
}

var topLevel = regexp.MustCompile(`(?m)^[a-z]+:`)

// sections parts a policy's text at its top level, by key.
func sections(text string) map[string]string {
	parts := map[string]string{}
	starts := topLevel.FindAllStringIndex(text, -1)
	for i, start := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		parts[text[start[0]:start[1]]] = text[start[0]:end]
	}
	return parts
}

func join(parts map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		b.WriteString(parts[key])
		b.WriteString("\n")
	}
	return b.String()
}

// cell makes a text fit into a table.
func cell(text string) string {
	return strings.NewReplacer("|", "&#124;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// providerTables renders what the pages say of the providers.
func providerTables() (defaults, claims, notes string) {
	var a, b, c strings.Builder
	for _, name := range provider.Names() {
		p, _ := provider.Lookup(name)
		jwks := "to be written"
		if p.JWKS != nil {
			jwks = "`" + p.JWKS("https://ISS") + "`"
			if p.Issuer != "" {
				jwks = "`" + p.JWKS(p.Issuer) + "`"
			}
		}
		iss := "to be written"
		if p.Issuer != "" {
			iss = "`" + p.Issuer + "`"
		}
		fmt.Fprintf(&a, "| `%s` | %s | %s | %s | %s |\n", name, p.Title, iss, jwks, strings.Join(p.Algorithms, " "))
		var found []string
		for _, field := range provider.Fields() {
			var paths []string
			for _, path := range p.Claims[field] {
				paths = append(paths, "`"+path.String()+"`")
			}
			if len(paths) > 0 {
				found = append(found, string(field)+" "+strings.Join(paths, " else "))
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, cmp.Or(strings.Join(found, ", "), "nothing"))
		for _, text := range p.Unconfirmed {
			fmt.Fprintf(&c, "| `%s` | not confirmed | %s |\n", name, cell(text))
		}
		for _, text := range p.Caveats {
			fmt.Fprintf(&c, "| `%s` | mind | %s |\n", name, cell(text))
		}
	}
	return a.String(), b.String(), c.String()
}

// What the pages say of the providers is what package provider says. Where one
// differs, the test prints what belongs there.
func TestProvidersAreDocumented(t *testing.T) {
	defaults, claims, notes := providerTables()
	for _, part := range []struct{ page, name, want string }{
		{policyPage, "providers", defaults}, {policyPage, "claims", claims}, {gatePage, "notes", notes},
	} {
		if have := section(t, part.page, part.name); !strings.HasSuffix(have, part.want) {
			t.Errorf("docs/%s, %s: got\n%s\nwant, at its end\n%s", part.page, part.name, have, part.want)
		}
	}
}

// The line that editors read names a file that is there.
func TestEditorsFindTheSchema(t *testing.T) {
	line := regexp.MustCompile(`# yaml-language-server: \$schema=(\S+)`).FindStringSubmatch(firstPolicy(t))
	if line == nil {
		t.Fatalf("the policy in docs/%s has no line for editors", gatePage)
	}
	if _, err := os.Stat(filepath.Join("policy", filepath.Base(line[1]))); err != nil {
		t.Error(err)
	}
}
