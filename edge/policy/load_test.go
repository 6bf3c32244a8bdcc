package policy

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/provider"
)

// TestFaults loads files that are named after their fault; the first line says
// what the error must contain.
func TestFaults(t *testing.T) {
	for _, path := range files(t, false) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		want, ok := strings.CutPrefix(first, "# want: ")
		if !ok {
			t.Fatalf("%s: the first line is not # want: …", path)
		}
		p, err := Load(path)
		if err == nil {
			t.Errorf("%s: loads", path)
			continue
		}
		if have := err.Error(); !strings.HasPrefix(have, path+": ") || !strings.Contains(have, want) {
			t.Errorf("%s:\n have %s\n want %s", path, have, want)
		}
		if n := strings.Count(err.Error(), "\n"); n > 0 {
			t.Errorf("%s: one fault, %d lines of error:\n%s", path, n+1, err)
		}
		if strings.Contains(err.Error(), "SESAME") {
			t.Errorf("%s: the error shows a password: %v", path, err)
		}
		if p != nil {
			t.Errorf("%s: an error, and yet %+v", path, p)
		}
	}
}

// files are those of testdata that load, or those that do not.
func files(t testing.TB, good bool) (paths []string) {
	t.Helper()
	all, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if strings.HasPrefix(filepath.Base(path), "good.") == good {
			paths = append(paths, path)
		}
	}
	if len(paths) < 3 {
		t.Fatalf("only %d files in testdata", len(paths))
	}
	return paths
}

// TestAllFaultsAtOnce: in the order of the file, each with its place.
func TestAllFaultsAtOnce(t *testing.T) {
	_, err := Parse([]byte(`version: 1
protect: {frontends: [a b]}
gate: {log: x}
issuers:
- {name: github, provider: github, audiences: []}
roles:
- name: r
  match:
  - {issuer: gitlab}
  - {ref: 'a|b'}
grants:
- {roles: [s], paths: [a, /b]}
`), "p.yaml")
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{
		"p.yaml: line 2, column 23: protect.frontends[0]:", "p.yaml: line 3, column 13: gate.log:", "p.yaml: line 5, column 47: issuers[0].audiences:",
		"p.yaml: line 9, column 14: roles[0].match[0].issuer:", "p.yaml: line 10, column 11: roles[0].match[1].ref:",
		"p.yaml: line 12, column 12: grants[0].roles[0]:", "p.yaml: line 12, column 24: grants[0].paths[0]:",
	}
	if len(lines) != len(want) {
		t.Fatalf("have %d faults, want %d:\n%v", len(lines), len(want), err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("have %s\nwant %s", line, want[i])
		}
	}
}

func TestMissingFile(t *testing.T) {
	if p, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) || p != nil {
		t.Errorf("have %v, %v", p, err)
	}
}

func load(t testing.TB, path string) *Policy {
	t.Helper()
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func parse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestEverything reads a file that sets every field to something else than its
// default: each reaches its place.
func TestEverything(t *testing.T) {
	p := load(t, "testdata/good.everything.yaml")
	if want := (Gate{"127.0.0.1:5514", "edge1", "base", "X-Caller-", true, "X-Run", 50 << 10, "127.0.0.1:10024", true}); p.Gate != want {
		t.Errorf("gate: have %+v, want %+v", p.Gate, want)
	}
	i := p.Issuers[0]
	if i.Issuer != "https://ghe.example.com/_services/token" || i.JWKS != i.Issuer+"/.well-known/jwks" || i.KeyOverlap != Duration(12*time.Hour) ||
		i.MaxAge != Duration(time.Hour) || i.MaxLifetime.Seconds() != 2*86400 || i.Leeway.Seconds() != 60 || !slices.Equal(i.Algorithms, []string{"RS256", "PS512"}) {
		t.Errorf("issuer: %+v", i)
	}
	space := p.Issuers[1]
	if space.JWKS != "file:"+absolute(t, "testdata/keys/space.json") || space.MaxAge != 0 || space.MaxLifetime != 0 || space.Projects["payments-deploy-automation"] != "payments-api" {
		t.Errorf("issuer: %+v", space)
	}
	s := p.Roles[0].Match[0]
	if want := (Selector{"github", "", "acme", "acme/*", "**/deploy.yml@*", "refs/tags/v?.*", `a\*b`, "self-hosted", "repo:**", 35}); s != want {
		t.Errorf("selector: have %+v, want %+v", s, want)
	}
	if r := p.Roles[0].Rate; r != (Rate{500, Duration(time.Minute)}) || r.String() != "500/60s" || p.RatePeriod() != "60s" || p.Roles[1].Rate.Requests != 100 {
		t.Errorf("rates: %+v", p.Roles)
	}
	if g := p.Grants[1]; !slices.Equal(g.Methods, []string{"GET", "PUT", "M-SEARCH"}) || g.Hosts != nil || g.Line != 45 {
		t.Errorf("grant: %+v", g)
	}
	if !reflect.DeepEqual(p.Protect, Protect{[]string{"www"}, []string{"app"}, []Public{
		{[]string{"GET"}, []string{"status.example.com"}, []string{"/healthz", "/assets/**"}, 52},
		{[]string{"GET", "HEAD"}, nil, []string{"/"}, 53},
	}}) {
		t.Errorf("protect: %+v", p.Protect)
	}
}

// TestDefaults: of a file that says no more than it must.
func TestDefaults(t *testing.T) {
	p := load(t, "testdata/good.short.yaml")
	if want := (Gate{Log: "[::1]:5514", IdentityHeaders: "X-Identity-", ClaimedRunHeader: "X-CI-Run", StickSize: 102400}); p.Gate != want {
		t.Errorf("gate: have %+v, want %+v", p.Gate, want)
	}
	i := p.Issuers[0]
	from, _ := provider.Lookup("github")
	if i.Issuer != from.Issuer || i.JWKS != from.JWKS(from.Issuer) || !slices.Equal(i.Algorithms, from.Algorithms) ||
		i.MaxAge.Seconds() != 86400 || i.MaxLifetime.Seconds() != 86400 || i.Leeway.Seconds() != 30 || i.KeyOverlap.Seconds() != 86400 {
		t.Errorf("issuer: %+v", i)
	}
	if !reflect.DeepEqual(i.ClaimPaths(), from.Claims) {
		t.Errorf("claims: have %v, want %v", i.ClaimPaths(), from.Claims)
	}
	if p.RatePeriod() != "10s" {
		t.Errorf("period %s", p.RatePeriod())
	}
	if d := p.Decide(Identity{Issuer: "github"}, Request{"GET", "h", "/"}); d != (Decision{Reason: ReasonNoRole}) {
		t.Errorf("a policy without roles: %+v", d)
	}
}

// TestAliases: what stands behind aliases and merge keys counts as set, and null
// does not.
func TestAliases(t *testing.T) {
	p := load(t, "testdata/good.aliases.yaml")
	if p.Gate.ClaimedRunHeader != "" || p.Issuers[0].Leeway.Seconds() != 30 || p.Issuers[0].MaxAge.Seconds() != 300 {
		t.Errorf("%+v\n%+v", p.Gate, p.Issuers[0])
	}
	for _, i := range p.Issuers[1:] {
		if i.MaxAge.Seconds() != 600 || i.MaxLifetime.Seconds() != 600 || i.Leeway != 0 || i.KeyOverlap.Seconds() != 86400 || len(i.Audiences) != 1 {
			t.Errorf("merged: %+v", i)
		}
	}
	if p.Roles[1].Rate != defaultRate || p.Roles[1].Match[0].Issuer != "*" || p.Roles[1].Match[0].Line != p.Roles[0].Match[0].Line {
		t.Errorf("roles: %+v", p.Roles)
	}
	if !slices.Equal(p.Grants[0].Methods, []string{"GET", "HEAD"}) {
		t.Errorf("grant: %+v", p.Grants[0])
	}
}

// TestClaimPaths: an override takes the place of the provider's paths of that
// field alone, and who asks owns what is returned.
func TestClaimPaths(t *testing.T) {
	p := load(t, "testdata/good.everything.yaml")
	from, _ := provider.Lookup("github")
	paths := p.Issuers[0].ClaimPaths()
	if have := paths[provider.Job]; len(have) != 2 || have[0].String() != "$.job_workflow_ref" || have[1].String() != "$.workflow_ref" {
		t.Errorf("job: %v", have)
	}
	if _, ok := paths[provider.Actor]; ok {
		t.Errorf("actor: %v, want none", paths[provider.Actor])
	}
	if !reflect.DeepEqual(paths[provider.SHA], from.Claims[provider.SHA]) || len(paths[provider.SHA]) == 0 {
		t.Errorf("sha: %v", paths[provider.SHA])
	}
	paths[provider.Job][0] = provider.Path{}
	delete(paths, provider.SHA)
	if again := p.Issuers[0].ClaimPaths(); again[provider.Job][0].String() != "$.job_workflow_ref" || len(again[provider.SHA]) == 0 {
		t.Error("the caller's change is seen by the next one")
	}
}

// TestUnits: further forms of rates and counts.
func TestUnits(t *testing.T) {
	head := "version: 1\ngate: {log: 'a:1', stick_size: %s}\nissuers: [{name: github, provider: github, audiences: [a]}]\n"
	for text, want := range map[string]Count{"1000": 1000, "'5000'": 5000, "100k": 102400, "1m": 1 << 20, "16m": 16 << 20} {
		p, err := Parse([]byte(strings.Replace(head, "%s", text, 1)), "p")
		if err != nil || p.Gate.StickSize != want {
			t.Errorf("%s: have %v, error %v", text, p, err)
		}
	}
	for _, text := range []string{"0", "-1", "1.5k", "1g", "k", "999999999999k", "[1]"} {
		if _, err := Parse([]byte(strings.Replace(head, "%s", text, 1)), "p"); err == nil {
			t.Errorf("stick_size %s: no error", text)
		}
	}
}

// FuzzParse: never a panic; what is taken has lines that keep their form and
// decides.
func FuzzParse(f *testing.F) {
	for _, good := range []bool{true, false} {
		for _, path := range files(f, good) {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(text, "p")
		if err != nil {
			if p != nil {
				t.Errorf("error %v, and yet %+v", err, p)
			}
			return
		}
		checkForm(t, p)
		p.Warnings()
		p.Decide(Identity{Issuer: "a", Subject: "b"}, Request{"GET", "h", "/a"})
	})
}
