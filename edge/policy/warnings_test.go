package policy

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestWarnings: each with its line and what it must say; nothing else is said.
func TestWarnings(t *testing.T) {
	const head = "version: 1\ngate: {log: 'a:1'}\nprotect: {frontends: [www]}\n"
	const issuers = "issuers:\n- {name: github, provider: github, issuer: 'https://ghe.example.com/_services/token', audiences: [a]}\n- {name: tc, provider: teamcity, issuer: 'https://tc.example.com', audiences: [a]}\n"
	const roles = head + issuers + "roles:\n"                                                                                                    // line 7
	const readers = roles + "- {name: r, match: [{issuer: github}]}\n- {name: s, match: [{issuer: tc}]}\ngrants:\n- {roles: [s], paths: [/s]}\n" // line 11
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"nothing":       {readers + "- {roles: [r], paths: ['/{project}/**']}\n", nil},
		"no frontend":   {"version: 1\ngate: {log: 'a:1'}\n" + issuers + "protect: {backends: [b]}\n", []string{"line 6: protect.frontends names none"}},
		"http":          {head + "issuers:\n- name: x\n  provider: gitlab\n  issuer: http://127.0.0.1:8\n  audiences: [a]\n", []string{"line 7: issuer x: its issuer http://127.0.0.1:8 is not encrypted"}},
		"http keys":     {head + "issuers:\n- name: x\n  provider: gitlab\n  issuer: https://127.0.0.1:8\n  jwks: http://127.0.0.1:8\n  audiences: [a]\n", []string{"line 8: issuer x: its jwks http://127.0.0.1:8 is not encrypted"}},
		"lifetime":      {head + "issuers: [{name: x, provider: github, audiences: [a], max_lifetime: 0}]\n", []string{"line 4: issuer x: max_lifetime 0"}},
		"same selector": {readers[:len(roles)] + "- {name: r, match: [{ref: a}, {ref: a}]}\ngrants: [{roles: [r], paths: [/]}]\n", []string{"line 8: role r: this selector is never reached: what it fits, the one of role r in line 8"}},
		"covered": {roles + "- name: r\n  match: [{ref: 'refs/heads/*'}]\n- name: s\n  match:\n  - {ref: refs/heads/main, project: p}\n  - {issuer: tc}\ngrants: [{roles: [r, s], paths: [/]}]\n",
			[]string{"line 12: role s: this selector is never reached: what it fits, the one of role r in line 9 takes first"}},
		"covered role": {roles + "- name: r\n  match: [{provider: '*'}]\n- name: s\n  match:\n  - {issuer: tc}\ngrants: [{roles: [r, s], paths: [/]}]\n",
			[]string{"line 12: role s: this selector is never reached", "line 10: role s is never given"}},
		"covered by provider": {roles + "- name: r\n  match: [{provider: teamcity, ref: '**'}]\n- name: s\n  match:\n  - {issuer: tc, ref: x}\n  - {issuer: github, ref: x}\n  - {issuer: tc}\ngrants: [{roles: [r, s], paths: [/]}]\n",
			[]string{"line 12: role s: this selector is never reached"}},
		"not covered": {roles + "- name: r\n  match: [{ref: '*'}, {ref: 'a?'}, {issuer: tc, project: x}]\n- name: s\n  match: [{ref: 'a/*'}, {ref: 'a**'}, {project: x}]\ngrants: [{roles: [r, s], paths: [/]}]\n",
			[]string{"line 9: role r: this selector is never reached"}}, // a? by *, on the same line
		"no such issuer": {roles + "- name: r\n  match:\n  - {issuer: tc, provider: github}\n  - {provider: space}\n  - {issuer: git*}\ngrants: [{roles: [r], paths: [/]}]\n",
			[]string{"line 10: role r: this selector fits no identity: no issuer of this file is so", "line 11: role r: this selector fits no identity"}},
		"no such claim": {roles + "- name: r\n  match:\n  - {issuer: tc, tenant: x}\n  - {issuer: tc}\ngrants: [{roles: [r], paths: ['/{project}']}]\n",
			[]string{"line 10: role r: this selector fits no identity: tokens of issuer tc name no tenant"}},
		"everybody": {head + "issuers: [{name: hub, provider: github, audiences: [a]}, {name: bk, provider: buildkite, audiences: [a]}]\nroles:\n- name: r\n  match:\n  - {issuer: hub, project: 'acme/*'}\n" +
			"  - {issuer: hub, ref: refs/heads/main}\n  - {subject: '**', ref: x}\n  - {issuer: bk, project: '*'}\n  - {issuer: bk, tenant: acme}\ngrants: [{roles: [r], paths: [/]}]\n",
			[]string{"line 9: role r: everybody in the world who uses GitHub Actions", "line 10: role r: everybody in the world who uses GitHub Actions",
				"line 10: role r: everybody in the world who uses Buildkite", "line 11: role r: everybody in the world who uses Buildkite"}},
		"comma":          {roles + "- {name: r, match: [{issuer: tc, project: 'a,b'}]}\ngrants: [{roles: [r], paths: [/]}]\n", []string{"line 8: role r: a comma in project is a comma of the claim"}},
		"no grant":       {roles + "- {name: r, match: [{issuer: tc}]}\n", []string{"line 8: role r has no grant"}},
		"same grant":     {readers + "- {roles: [r], paths: [/a]}\n- {roles: [r], paths: [/a]}\n", []string{"line 13: this grant adds nothing"}},
		"wide grant":     {readers + "- {roles: [r], methods: [GET], hosts: [a.b.c], paths: [/a/b, '/a/{project}/*', '/a/x*']}\n- {roles: [r], hosts: ['*.b.c'], paths: ['/a/**']}\n", []string{"line 12: this grant adds nothing"}},
		"two grants":     {readers + "- {roles: [r], methods: [GET, PUT], paths: [/a]}\n- {roles: [r], paths: [/a]}\n- {roles: [r], methods: [PUT], paths: [/a]}\n", []string{"line 14: this grant adds nothing"}},
		"other method":   {readers + "- {roles: [r], methods: [PUT], paths: [/a]}\n- {roles: [r], paths: [/**]}\n", nil},
		"other host":     {readers + "- {roles: [r], paths: [/a]}\n- {roles: [r], hosts: [a], paths: [/a]}\n- {roles: [s], hosts: [a], paths: [/b]}\n- {roles: [s], hosts: ['b*'], paths: [/b]}\n", []string{"line 13: this grant adds nothing"}},
		"other role":     {readers + "- {roles: [r], paths: [/a]}\n- {roles: [r, s], paths: [/a]}\n", []string{"line 12: this grant adds nothing"}},
		"star no claim":  {readers + "- {roles: [r], paths: ['/a/{project}']}\n- {roles: [r], paths: ['/a/*']}\n", nil}, // a claim may hold "/"
		"claim and star": {readers + "- {roles: [r], paths: ['/a/{project}-*/x', '/b/{project}/*/**']}\n", []string{"line 12: /a/{project}-*/x: a claim and \"*\" in one segment"}},
		"no such claim in a path": {strings.Replace(readers, "token', audiences: [a]", "token', audiences: [a], claims: {tenant: []}", 1) + "- {roles: [r], paths: ['/{tenant}']}\n",
			[]string{"line 12: /{tenant}: tokens of no issuer of this file name a tenant"}},
		"public": {head[:strings.Index(head, "]}")] + "], public: [{paths: [/a/**]}, {methods: [GET], paths: [/a/b]}]}\n" + issuers, []string{"line 3: this adds nothing to what is public above it"}},
	} {
		p, err := Parse([]byte(c.text), "p")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		have := p.Warnings()
		for _, want := range c.want {
			found := false
			for _, w := range have {
				found = found || strings.HasPrefix(w.String(), want)
			}
			if !found {
				t.Errorf("%s: no %q", name, want)
			}
		}
		if len(have) != len(c.want) {
			t.Errorf("%s: have %d warnings, want %d:\n%v", name, len(have), len(c.want), have)
		}
		for i := 1; i < len(have); i++ {
			if have[i].Line < have[i-1].Line {
				t.Errorf("%s: not in the order of the file: %v", name, have)
			}
		}
	}
}

// TestCoversIsTrue: what covers says of two random patterns, no random text
// refutes.
func TestCoversIsTrue(t *testing.T) {
	seed := rand.Uint64()
	r := random{rand.New(rand.NewPCG(4, seed))}
	covered, tried := 0, 0
	for range 10_000 {
		outer, inner := r.of("**", "*", "a**", "*/**", r.glob(), r.glob()), r.glob()
		o, err1 := parseGlob(outer)
		i, err2 := parseGlob(inner)
		if err1 != nil || err2 != nil || !o.covers(i) {
			continue
		}
		covered++
		for range 20 {
			text := r.text()
			if r.IntN(2) == 0 { // one that has a chance with the inner one
				text = strings.NewReplacer("**", r.text(), "*", r.some(2, "a", "b", "."), "?", r.of("a", "b"), `\`, "").Replace(inner)
			}
			if i.match(text) {
				tried++
				if !o.match(text) {
					t.Fatalf("seed %d: %q is said to cover %q, and does not fit %q", seed, outer, inner, text)
				}
			}
		}
	}
	if covered < 200 || tried < 1500 {
		t.Errorf("%d covers, %d texts: this tries too little", covered, tried)
	}
}

// TestRuleCoversIsTrue: a grant that is said to add nothing can be taken away with
// no change of any decision but the template that granted, and the same of
// selectors.
func TestRuleCoversIsTrue(t *testing.T) {
	seed := rand.Uint64()
	r := random{rand.New(rand.NewPCG(5, seed))}
	grants, selectors := 0, 0
	for range 250 {
		text := r.policy()
		p, err := Parse([]byte(text), "p")
		if err != nil {
			continue
		}
		idle := map[int]bool{}
		for _, w := range p.Warnings() {
			if strings.Contains(w.Text, "grant adds nothing") || strings.Contains(w.Text, "selector is never reached") {
				idle[w.Line] = true
			}
		}
		less := *p
		less.compiled = compiled{public: p.compiled.public, byRole: map[string][]*rule{}}
		for i := range p.compiled.grants {
			g := &p.compiled.grants[i]
			if idle[g.line] {
				grants++
				continue
			}
			for _, role := range g.roles {
				less.compiled.byRole[role] = append(less.compiled.byRole[role], g)
			}
		}
		for _, s := range p.compiled.selectors {
			if idle[s.line] {
				selectors++
				continue
			}
			less.compiled.selectors = append(less.compiled.selectors, s)
		}
		for range 40 {
			id := r.identity()
			asked := Request{r.of("GET", "PUT", "HEAD"), r.of("a.b", "x.a.b", "[::1]"), r.onPath(p, id)}
			have, want := less.Decide(id, asked), p.Decide(id, asked)
			have.Group, want.Group = "", ""
			if have != want {
				t.Fatalf("seed %d: %+v %+v:\n without what is covered %+v\n with it %+v\n%s", seed, id, asked, have, want, text)
			}
		}
	}
	if grants < 10 || selectors < 10 {
		t.Errorf("%d grants and %d selectors covered: this tries too little", grants, selectors)
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		outer, inner string
		want         bool
	}{
		{"**", "*", true}, {"**", "a/b", true}, {"*", "a?b*", true}, {"*", "a/b", false}, {"*", "**", false}, {"a*", "ab*", true}, {"a*", "a", true},
		{"a*", "*a", false}, {"*a", "*ba", true}, {"?", "a", true}, {"?", "/", false}, {"?", "*", false}, {"**/main", "refs/heads/main", true},
		{"**/main", "main", false}, {"refs/**", "refs/heads/*", true}, {"refs/*/*", "refs/heads/**", false}, {`\*`, "*", false}, {"*", `\*`, true}, {"a", "a", true}, {"a", "ab", false},
	} {
		o, err1 := parseGlob(c.outer)
		i, err2 := parseGlob(c.inner)
		if err1 != nil || err2 != nil || o.covers(i) != c.want {
			t.Errorf("%s covers %s: want %v (%v, %v)", c.outer, c.inner, c.want, err1, err2)
		}
	}
}
