package policy

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// checkForm tells whether the lines are what HAProxy's map reader takes.
func checkForm(t *testing.T, p *Policy) {
	t.Helper()
	for _, lines := range [][]Line{p.RoleLines(), p.GrantLines(), p.PublicLines()} {
		for _, l := range lines {
			if !strings.HasPrefix(l.Pattern, "^") || !strings.HasSuffix(l.Pattern, `\z`) || strings.Contains(l.Pattern, "$") {
				t.Errorf("%s: does not begin with ^ and end with \\z, or has a $", l.Pattern)
			}
			for _, text := range []string{l.Pattern, l.Value} {
				if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
					t.Errorf("%q: empty, or something else than visible ASCII", text)
				}
			}
			if n := len(l.Pattern) + len(l.Value) + 1; n > MaxLine {
				t.Errorf("%d bytes: %s", n, l.Pattern)
			}
		}
	}
}

// latin1 writes each byte as the character of that number, so that Go's regexp,
// which reads UTF-8, sees bytes as HAProxy's PCRE2 does.
func latin1(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// goPattern is a line's pattern for Go's regexp, which has neither atomic groups
// nor backreferences: the first are written without "atomic", so that this also
// shows that it loses nothing; for the second, the claims' own text is put in.
func goPattern(pattern string, claimed map[string]string) *regexp.Regexp {
	if re, ok := compiledPatterns.Load(pattern); ok {
		return re.(*regexp.Regexp)
	}
	own := pattern
	pattern = strings.ReplaceAll(pattern, "(?>", "(?:")
	for name, value := range claimed {
		pattern = strings.ReplaceAll(pattern, `\k<`+name+">", regexp.QuoteMeta(latin1(value)))
	}
	re := regexp.MustCompile(pattern)
	if !strings.Contains(own, `\k<`) {
		compiledPatterns.Store(own, re)
	}
	return re
}

// compiledPatterns spares most of these tests' time.
var compiledPatterns sync.Map

// firstLine is the value of the first line that fits a key.
func firstLine(lines []Line, key string, claimed map[string]string) (string, bool) {
	for _, l := range lines {
		if goPattern(l.Pattern, claimed).MatchString(latin1(key)) {
			return l.Value, true
		}
	}
	return "", false
}

func (id *Identity) claimed() map[string]string {
	return map[string]string{"tenant": id.Tenant, "project": id.Project, "job": id.Job, "run": id.Run, "ref": id.Ref, "sha": id.SHA,
		"actor": id.Actor, "subject": id.Subject}
}

func roleKey(id Identity) string {
	parts := id.roleParts()
	return strings.Join(parts[:], "|")
}

func grantKey(role string, id Identity, r request) string {
	return strings.Join([]string{role, r.method, r.host, id.Tenant, id.Project, id.Job, id.Run, id.Ref, id.SHA, id.Actor, id.Subject, r.path}, "|")
}

// byMaps decides as the gate does: by the lines of the maps alone.
func byMaps(p *Policy, id Identity, asked Request) Decision {
	r := readRequest(asked)
	if r.pathOK && r.methodOK {
		if group, ok := firstLine(p.PublicLines(), strings.Join([]string{r.method, r.host, r.path}, "|"), nil); ok {
			return Decision{true, "", group, ReasonPublic}
		}
	}
	role, ok := firstLine(p.RoleLines(), roleKey(id), nil)
	if !ok {
		return Decision{Reason: ReasonNoRole}
	}
	if !r.pathOK {
		return Decision{Role: role, Reason: ReasonPathUnsafe}
	}
	if !r.methodOK {
		return Decision{Role: role, Reason: ReasonMethodUnsafe}
	}
	if group, ok := firstLine(p.GrantLines(), grantKey(role, id, r), id.claimed()); ok {
		return Decision{true, role, group, ReasonOK}
	}
	return Decision{Role: role, Reason: ReasonGrantDenied}
}

// random builds policies and requests of few letters, so that they meet.
type random struct{ *rand.Rand }

func (r random) of(words ...string) string { return words[r.IntN(len(words))] }

func (r random) some(max int, words ...string) string {
	var b strings.Builder
	for range r.IntN(max + 1) {
		b.WriteString(r.of(words...))
	}
	return b.String()
}

// glob is a pattern of a selector, within the rules.
func (r random) glob() string {
	for {
		g := r.some(7, "a", "b", "/", "*", "**", "?", ".", `\*`, `\\`, "é", " ", "+")
		if g != "" && !strings.Contains(g, "***") {
			return g
		}
	}
}

func (r random) text() string {
	return r.some(7, "a", "b", "a", "b", "/", "*", ".", "é", " ", "+", `\`, "ab/", "b.a")
}

// template is a path of a grant, within the rules.
func (r random) template(bind bool) string {
	words := []string{"a", "b", "/", "/", "*", ".", "é", " ", "("}
	if bind {
		words = append(words, "{project}", "{ref}")
	}
	for {
		text := "/" + r.some(7, words...)
		if r.IntN(4) == 0 {
			text = strings.TrimSuffix(text, "/") + "/**"
		}
		if _, err := parseTemplate(text, bind); err == nil {
			return text
		}
	}
}

func (r random) path() string {
	return r.of("/", "/", "/", "") + r.some(8, "a", "b", "/", "a", "b", "/", ".", "%c3%a9", "é", "%20", "(", "%28", "|", "%2F", "%", ";", "b%61")
}

func (r random) host() string {
	return r.of("a.b", "a.b:80", "A.b", "x.a.b", "a|b", "", "[::1]:80", "a")
}

func (r random) policy() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\ngate: {log: 'a:1'}\nissuers: [{name: one, provider: github, audiences: [a]}]\nroles:\n")
	for _, name := range []string{"r1", "r2", "r-3"} {
		fmt.Fprintf(&b, "- name: %s\n  match:\n", name)
		for range 1 + r.IntN(2) {
			fmt.Fprintf(&b, "  - {project: '%s'", r.of("**", "*", "a/*", "a**", r.glob(), r.glob()))
			for _, field := range []string{"ref", "subject", "actor", "issuer"} {
				if r.IntN(4) == 0 {
					fmt.Fprintf(&b, ", %s: '%s'", field, r.of("**", "a**", "**a*", r.glob()))
				}
			}
			b.WriteString("}\n")
		}
	}
	b.WriteString("grants:\n")
	for range 4 {
		fmt.Fprintf(&b, "- roles: [%s]\n  methods: [%s]\n  hosts: [%s]\n  paths: ['%s', '%s']\n", r.of("r1", "r2", "r-3", "r2, r1"),
			r.of("GET", "GET, PUT"), r.of("", "", "a.b", `"*.b", "[::1]"`, `x.a.b, "*.a.b"`), r.template(true), r.template(true))
	}
	fmt.Fprintf(&b, "protect:\n  public: [{hosts: [%s], paths: ['%s']}]\n", r.of("", "a.b", `"*.b"`), r.template(false))
	return b.String()
}

func (r random) identity() Identity {
	return Identity{Issuer: "one", Provider: "github", Project: r.text(), Ref: r.text(), Actor: r.text(), Subject: "s" + r.text(), Run: "1"}
}

// onPath is a path that has a chance with a template of the policy.
func (r random) onPath(p *Policy, id Identity) string {
	g := p.Grants[r.IntN(len(p.Grants))]
	path := g.Paths[r.IntN(len(g.Paths))]
	path = strings.NewReplacer("{project}", id.Project, "{ref}", id.Ref, "**", r.of("", "a", "a/b"), "*", r.of("", "a", "ab", "/")).Replace(path)
	return strings.ReplaceAll(path, " ", "%20")
}

// TestLinesAgreeWithDecide: for random policies and requests, what the maps'
// patterns say and what Decide says is the same. Decide is written without them.
func TestLinesAgreeWithDecide(t *testing.T) {
	seed := rand.Uint64()
	r := random{rand.New(rand.NewPCG(1, seed))}
	counts := map[string]int{}
	for range 150 {
		text := r.policy()
		p, err := Parse([]byte(text), "p")
		if err != nil {
			if strings.Contains(err.Error(), "unknown issuer") {
				continue
			}
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		checkForm(t, p)
		for range 60 {
			id := r.identity()
			asked := Request{r.of("GET", "PUT", "HEAD", "get", "G_T"), r.host(), r.path()}
			if r.IntN(2) == 0 {
				asked.Path = r.onPath(p, id)
			}
			have, want := p.Decide(id, asked), byMaps(p, id, asked)
			if have != want {
				t.Fatalf("seed %d: %+v %+v:\n Decide %+v\n maps   %+v\n%s", seed, id, asked, have, want, text)
			}
			if have.Reason == ReasonPublic != p.Public(asked) {
				t.Fatalf("seed %d: %+v: Public and Decide differ: %+v", seed, asked, have)
			}
			counts[have.Reason]++
		}
	}
	for _, reason := range []string{ReasonPublic, ReasonNoRole, ReasonPathUnsafe, ReasonMethodUnsafe, ReasonGrantDenied, ReasonOK} {
		if counts[reason] < 20 {
			t.Errorf("seed %d: %s came up %d times only: %v", seed, reason, counts[reason], counts)
		}
	}
}

// FuzzGlob: the matcher and the pattern agree on any glob and text.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{{"**a*b", "x/ab/aab"}, {"*", ""}, {"**/x?*/**", "a/xyz/"}, {`\**`, "*a"}, {"*a/b*c**d", "aa/bc/cd"}, {"a*/*c", "ab/bc"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		g, err := parseGlob(pattern)
		if err != nil || strings.Contains(text, "|") || len(pattern) > 40 {
			return
		}
		re := goPattern("^"+g.pattern()+`\z`, nil)
		if have, want := g.match(text), re.MatchString(latin1(text)); have != want {
			t.Errorf("glob %q, text %q: match says %v, %s %v", pattern, text, have, re, want)
		}
	})
}

// FuzzTemplate: likewise of path templates, with the claims' text in them.
func FuzzTemplate(f *testing.F) {
	for _, seed := range [][3]string{{"/a/{project}/**", "a/b", "/a/a/b/c"}, {"/*{project}*b", "ab", "/xababb"}, {"/v*.zip", "", "/v1.zip"}, {"/*a/b*c/**", "", "/aaa/bxc/"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, text, project, path string) {
		tp, err := parseTemplate(text, true)
		if err != nil || strings.Contains(project, "|") || len(text) > 60 {
			return
		}
		id := Identity{Project: project, Ref: "r"}
		parts := []string{"", id.Project, "", "", id.Ref, "", "", ""}
		re := goPattern(joinParts(append(tp.claimPatterns(), tp.pattern())), id.claimed())
		if have, want := tp.match(path, &id), re.MatchString(latin1(strings.Join(append(parts, path), "|"))); have != want {
			t.Errorf("template %q, project %q, path %q: match says %v, %s %v", text, project, path, have, re, want)
		}
	})
}
