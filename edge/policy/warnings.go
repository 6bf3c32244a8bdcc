package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/edge/provider"
)

// Warning is something that a policy may say, and that its author probably did
// not mean.
type Warning struct {
	Line int    // in the policy file, from 1
	Text string // what it is, and what to do
}

// String is the warning with its line.
func (w Warning) String() string { return fmt.Sprintf("line %d: %s", w.Line, w.Text) }

// Warnings are in the order of the file. That something is covered by something
// else is only said when it is certain.
func (p *Policy) Warnings() []Warning {
	var w warnings
	p.warnIssuers(&w)
	p.warnSelectors(&w)
	p.warnGrants(&w)
	p.warnPublic(&w)
	if len(p.Protect.Frontends) == 0 {
		w.add(p.places.Find("protect").Line, `protect.frontends names none: "edge check" cannot tell whether anything stands behind the gate; name each frontend that is "from haptrail"`)
	}
	slices.SortStableFunc(w, func(a, b Warning) int { return cmp.Compare(a.Line, b.Line) })
	return w
}

type warnings []Warning

func (w *warnings) add(line int, format string, args ...any) {
	*w = append(*w, Warning{line, fmt.Sprintf(format, args...)})
}

func (p *Policy) warnIssuers(w *warnings) {
	for i := range p.Issuers {
		issuer, field := &p.Issuers[i], at("issuers", i)
		for _, from := range []struct{ key, url string }{{"issuer", issuer.Issuer}, {"jwks", issuer.JWKS}} {
			if strings.HasPrefix(from.url, "http://") && (from.key == "issuer" || p.places.Has(field+".jwks")) { // not also the default that the iss led to
				w.add(p.places.Find(field+"."+from.key).Line, "issuer %s: its %s %s is not encrypted: good for a trial on one machine; use https", issuer.Name, from.key, from.url)
			}
		}
		if issuer.MaxLifetime == 0 {
			w.add(p.places.Find(field+".max_lifetime").Line, "issuer %s: max_lifetime 0: a token that is valid for years is accepted; write how long its tokens live", issuer.Name)
		}
	}
}

func (p *Policy) warnSelectors(w *warnings) {
	all := p.compiled.selectors
	dead := map[string]int{}
	for i := range all {
		s := &all[i]
		if text := p.neverFits(s); text != "" {
			w.add(s.line, "role %s: this selector fits no identity: %s", s.role, text)
			dead[s.role]++
			continue
		}
		p.warnSelector(w, s)
		for j := range all[:i] {
			if all[j].covers(s, p.Issuers) {
				w.add(s.line, "role %s: this selector is never reached: what it fits, the one of role %s in line %d takes first; put it above, or delete it", s.role, all[j].role, all[j].line)
				dead[s.role]++
				break
			}
		}
	}
	for i := range p.Roles {
		role := &p.Roles[i]
		if dead[role.Name] == len(role.Match) {
			w.add(role.Line, "role %s is never given: see its selectors", role.Name)
		}
		if len(p.compiled.byRole[role.Name]) == 0 {
			w.add(role.Line, "role %s has no grant: all its requests are denied; add it to a grant, or delete it", role.Name)
		}
	}
}

// warnSelector says what a selector lets in that its author may not have thought
// of.
func (p *Policy) warnSelector(w *warnings, s *selector) {
	narrow := false
	for f, g := range s.globs {
		if g == nil {
			continue
		}
		switch selectorFields[f] {
		case "tenant", "project", "job", "subject":
			narrow = narrow || g.tokens[0].kind == literal
		}
		if slices.ContainsFunc(g.tokens, func(t token) bool { return t.kind == literal && t.byte == ',' }) {
			w.add(s.line, "role %s: a comma in %s is a comma of the claim: write one selector for each pattern", s.role, selectorFields[f])
		}
	}
	if narrow {
		return
	}
	for i := range p.Issuers {
		issuer := &p.Issuers[i]
		if from, ok := provider.Lookup(issuer.Provider); ok && from.Issuer != "" && from.Issuer == issuer.Issuer && s.fitsIssuer(issuer) {
			w.add(s.line, "role %s: everybody in the world who uses %s has this role: all its customers share the issuer %s, and anybody may ask for your audience; add tenant or project",
				s.role, from.Title, issuer.Issuer)
		}
	}
}

// neverFits says why no identity of the policy's issuers can fit a selector, ""
// when one can.
func (p *Policy) neverFits(s *selector) string {
	text := "no issuer of this file is so"
	for i := range p.Issuers {
		issuer := &p.Issuers[i]
		if !s.fitsIssuer(issuer) {
			continue
		}
		lacks := ""
		for f := firstClaim; f < len(s.globs) && lacks == ""; f++ {
			if s.globs[f] != nil && !issuer.yields(selectorFields[f]) {
				lacks = selectorFields[f]
			}
		}
		if lacks == "" {
			return ""
		}
		text = fmt.Sprintf("tokens of issuer %s name no %s", issuer.Name, lacks)
	}
	return text
}

// yields tells whether the issuer's tokens can fill a part of the normal form.
func (i *Issuer) yields(part string) bool {
	return part == "subject" || len(i.paths[provider.Field(part)]) > 0 || part == string(provider.Project) && len(i.Projects) > 0
}

func (p *Policy) warnGrants(w *warnings) {
	gone := map[*rule]bool{}
	// From the end: of two that are the same, the later one can go.
	for i := len(p.compiled.grants) - 1; i >= 0; i-- {
		g := &p.compiled.grants[i]
		covered := true
		for _, role := range g.roles {
			others := slices.DeleteFunc(slices.Clone(p.compiled.byRole[role]), func(o *rule) bool { return o == g || gone[o] })
			covered = covered && g.covered(others)
		}
		if covered {
			gone[g] = true
			w.add(g.line, "this grant adds nothing: other grants let all of it through; delete it, or narrow the others")
		}
		p.warnTemplates(w, g)
	}
}

func (p *Policy) warnTemplates(w *warnings, g *rule) {
	for _, t := range g.paths {
		for _, part := range t.parts {
			yielded := func(i Issuer) bool { return i.yields(claims[part.claim]) }
			if part.kind == bound && !slices.ContainsFunc(p.Issuers, yielded) {
				w.add(g.line, "%s: tokens of no issuer of this file name a %s, so nobody has this grant", t.text, claims[part.claim])
			}
		}
		for s := range strings.SplitSeq(t.text, "/") {
			if strings.Contains(s, "{") && strings.Contains(s, "*") && s != "**" {
				w.add(g.line, `%s: a claim and "*" in one segment: the claim "a" also fits what is of "a-b"; put a "/" between them`, t.text)
			}
		}
	}
}

func (p *Policy) warnPublic(w *warnings) {
	var before []*rule
	for i := range p.compiled.public {
		g := &p.compiled.public[i]
		if g.covered(before) {
			w.add(g.line, "this adds nothing to what is public above it: delete it")
		}
		before = append(before, g)
	}
}
