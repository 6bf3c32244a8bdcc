package config

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestProvidersPage: each section of docs/providers.md has a configuration that
// loads, and that for a provider is one of it; each key that the text names is one.
func TestProvidersPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "providers.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for section := range strings.SplitSeq(string(text), "\n## ") {
		title, body, _ := strings.Cut(section, "\n")
		for _, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(body, -1) {
			c, err := Parse([]byte(m[1]))
			if err != nil {
				t.Errorf("%s: %v", title, err)
				continue
			}
			for i := range c.CI.Sources {
				s := &c.CI.Sources[i]
				shown[title] = s.Provider
				if !s.Polled() || !s.Hears() {
					t.Errorf("%s: the example shows webhooks %t, polls %t, want both", title, s.Hears(), s.Polled())
				}
			}
			if len(c.CI.Sources) == 0 && (c.CI.Listen == Default().CI.Listen || c.CI.TLS.Cert == "") {
				t.Errorf("%s: an example without sources shows the rest of the section, have %+v", title, c.CI)
			}
		}
		for _, m := range regexp.MustCompile("`webhook: ({[^`]*})`").FindAllStringSubmatch(body, -1) {
			if _, err := Parse([]byte("ci: {sources: [{name: a, provider: " + shown[title] + ", url: https://ci.example.com, webhook: " + m[1] + "}]}\n")); err != nil {
				t.Errorf("%s: %s: %v", title, m[0], err)
			}
		}
	}
	want := map[string]string{"TeamCity": teamcity, "GitHub": github, "GitLab": gitlab, "JetBrains Space": space}
	if !maps.Equal(shown, want) {
		t.Errorf("have examples %v, want %v", shown, want)
	}
	for _, provider := range []string{"Okta", "AWS"} {
		if !slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
			return strings.HasPrefix(line, "## ") && strings.Contains(line, provider)
		}) {
			t.Errorf("no section says what %s has not", provider)
		}
	}
	for _, permission := range []string{
		"Automation.Execution.View", "VcsRepository.Read", "Applications.View", "Project viewer", "*Actions* read", "*Contents* read", "*Reporter*", "*read_api*",
	} { // as "haptrail check" names them, too
		if !strings.Contains(string(text), permission) {
			t.Errorf("the page does not name the permission %s", permission)
		}
	}
}
