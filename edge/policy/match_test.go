package policy

import (
	"strings"
	"testing"
	"time"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct{ pattern, fits, not string }{ // texts parted by blanks; _ is the empty one
		{"acme", "acme", "_ acm acmee Acme acme/"},
		{"acme/*", "acme/ acme/a acme/web-shop", "acme acme/a/b bacme/a"},
		{"acme/**", "acme/ acme/a acme/a/b acme//", "acme acmex/a"},
		{"*", "a a.b-c", "_ a/b /"},
		{"**", "a a/b / //", "_"},
		{"*/*", "a/b / a/", "ab a/b/c _"},
		{"**/main", "/main a/main a/b/main", "main a/main/ a/xmain"},
		{"?", "a * .", "_ / ab"},
		{"v?.*", "v1. v1.2.3", "v. v/.1 v11 v1.2/3"},
		{"a**b**c", "abc axbxc a/b/c abbcc", "acb ab bc"},
		{"**a*b", "ab xab x/ab xa.b a/ab aa/ab aab", "a/b xa/b abx"},
		{"**a*b**c*d", "abcd a/abcd a/ab/c/cd abdcd", "abc/d a/bcd"},
		{"*a*b*", "ab xaxbx aab", "ba a/b"},
		{"refs/heads/*", "refs/heads/main", "refs/heads/a/b refs/heads refs/tags/a"},
		{`a\*b`, "a*b", "ab axb"},
		{`\?\\`, `?\`, `a\ ?a`},
		{"a.b+c(d", "a.b+c(d", "aXb+c(d a.bbc(d"},
		{"é", "é", "e \xc3"},
	} {
		g, err := parseGlob(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		re := goPattern("^"+g.pattern()+`\z`, nil)
		for want, texts := range map[bool]string{true: c.fits, false: c.not} {
			for text := range strings.SplitSeq(texts, " ") {
				text = strings.ReplaceAll(text, "_", "")
				if g.match(text) != want || re.MatchString(latin1(text)) != want {
					t.Errorf("glob %s, text %q: match %v, pattern %s %v, want %v", c.pattern, text, g.match(text), re, re.MatchString(latin1(text)), want)
				}
			}
		}
	}
}

func TestHostGlob(t *testing.T) {
	for _, c := range []struct{ pattern, fits, not string }{
		{"artifacts.example.com", "artifacts.example.com", "_ artifactsXexample.com a.artifacts.example.com artifacts.example.com."},
		{"Artifacts.Example.com", "artifacts.example.com", "Artifacts.Example.com"}, // a request's host comes in lower case
		{"*.cdn.example.com", "a.cdn.example.com a-b.cdn.example.com", "cdn.example.com a.b.cdn.example.com acdn.example.com"},
		{"*.*.example.com", "a.b.example.com", "a.example.com a.b.c.example.com"},
		{"cdn-*.example.com", "cdn-.example.com cdn-1.example.com", "cdn.example.com cdn-1.a.example.com"},
		{"[::1]", "[::1]", "::1 1 :"},
	} {
		g, err := parseHost(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		re := goPattern("^"+g.pattern()+`\z`, nil)
		for want, texts := range map[bool]string{true: c.fits, false: c.not} {
			for text := range strings.SplitSeq(texts, " ") {
				text = strings.ReplaceAll(text, "_", "")
				if g.match(text) != want || re.MatchString(text) != want {
					t.Errorf("host %s, text %q: match %v, pattern %s %v, want %v", c.pattern, text, g.match(text), re, re.MatchString(text), want)
				}
			}
		}
	}
}

func TestTemplate(t *testing.T) {
	id := Identity{Tenant: "acme", Project: "acme/web.shop", Job: "j+1", Run: "42", Ref: "refs/heads/main", SHA: "0a1b", Actor: "jo", Subject: "s*"}
	for _, c := range []struct{ text, fits, not string }{
		{"/", "/", "_ /a //"},
		{"/a", "/a", "/ /a/ /ab /A"},
		{"/a/**", "/a/ /a/b /a/b/c /a//", "/a /ab /b/a/"},
		{"/**", "/ /a /a/b", "_"},
		{"/a/*", "/a/b", "/a/ /a/b/c /a /a/b/"},
		{"/*/b", "/a/b", "//b /a/c/b /b"},
		{"/v*.zip", "/v1.zip /v.zip.zip /v1.2.zip", "/v.zip /v1/2.zip /v1.zipx /v1zip"},
		{"/*a*b/c", "/xaxb/c /aaabb/c", "/ab/c /xab/c /aab/c"},
		{"/*a/b", "/xa/b /aa/b", "/a/b /xa/a/b"},
		{"/artifacts/{project}/**", "/artifacts/acme/web.shop/ /artifacts/acme/web.shop/x/y", "/artifacts/acme/web.shop /artifacts/acme/webXshop/x /artifacts/acme/web.shop2/x /artifacts/acme/"},
		{"/{run}/{run}", "/42/42", "/42/43 /42"},
		{"/{tenant}-{job}.{sha}/{ref}/{actor}/{subject}", "/acme-j+1.0a1b/refs/heads/main/jo/s*", "/acme-j1.0a1b/refs/heads/main/jo/s* /acme-j+1.0a1b/refs/heads/main/jo/sx"},
		{"/*{run}*", "/x42y /4242424", "/42y /x42 /x4y"},
		{"/a b", "/a_b", "/ab"}, // "_" is a blank in this row
	} {
		tp, err := parseTemplate(c.text, true)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		parts := []string{id.Tenant, id.Project, id.Job, id.Run, id.Ref, id.SHA, id.Actor, id.Subject}
		re := goPattern(joinParts(append(tp.claimPatterns(), tp.pattern())), id.claimed())
		for want, texts := range map[bool]string{true: c.fits, false: c.not} {
			for path := range strings.SplitSeq(texts, " ") {
				path = strings.ReplaceAll(path, "_", map[bool]string{true: " "}[strings.Contains(c.text, " ")])
				inMap := re.MatchString(latin1(strings.Join(append(parts, path), "|")))
				if tp.match(path, &id) != want || inMap != want {
					t.Errorf("template %s, path %q: match %v, pattern %s %v, want %v", c.text, path, tp.match(path, &id), re, inMap, want)
				}
			}
		}
	}
}

// TestTemplateWithoutTheClaim: who lacks the claim lacks the grant, also where an
// empty text would fit.
func TestTemplateWithoutTheClaim(t *testing.T) {
	for _, claim := range claims {
		tp, err := parseTemplate("/a/{"+claim+"}", true)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/a/", "/a/x", "/a/{" + claim + "}"} {
			if tp.match(path, &Identity{}) {
				t.Errorf("%s fits %s", tp.text, path)
			}
		}
		if re := goPattern(joinParts(append(tp.claimPatterns(), tp.pattern())), map[string]string{claim: ""}); re.MatchString("||||||||/a/") {
			t.Errorf("%s fits a key without the claim", re)
		}
	}
}

// TestGroup: what is no visible ASCII is percent-encoded, and no two templates
// become one.
func TestGroup(t *testing.T) {
	for text, want := range map[string]string{"/a/{project}/**": "/a/{project}/**", "/a b": "/a%20b", "/é": "/%C3%A9", `/"`: "/%22", "/*.x": "/*.x"} {
		tp, err := parseTemplate(text, true)
		if err != nil || tp.group != want {
			t.Errorf("%s: have %v, error %v, want %s", text, tp, err, want)
		}
	}
}

// TestMatchIsFast: a text made to mislead a matcher with many wildcards. Going
// back to every star would take longer than the test may.
func TestMatchIsFast(t *testing.T) {
	start := time.Now()
	g, err := parseGlob(strings.Repeat("**a", 20) + "b")
	if err != nil {
		t.Fatal(err)
	}
	tp, err := parseTemplate("/"+strings.Repeat("*a", 20)+"b", false)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if g.match(strings.Repeat("a", 2000)) || tp.match("/"+strings.Repeat("a", 1999), nil) {
			t.Fatal("fits")
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("200 matches took %s", took)
	}
}
