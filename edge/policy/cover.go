package policy

import "slices"

// These tell whether one pattern fits everything that another fits. They are
// conservative: a yes is certain, a no may only mean that it was not seen.

// covers tells it of two rows of tokens over the same separator. Each token of
// inner must be taken up by a token of outer that can stand for all it stands
// for.
func covers(outer, inner []token, sep byte) bool {
	// fits[o] says whether outer[o:] takes inner[i:] up; i runs from the end.
	fits := make([]bool, len(outer)+1)
	fits[len(outer)] = true
	for o := len(outer) - 1; o >= 0 && isRun(outer[o]); o-- {
		fits[o] = true
	}
	next := make([]bool, len(outer)+1)
	for i := len(inner) - 1; i >= 0; i-- {
		fits, next = next, fits
		fits[len(outer)] = false
		for o := len(outer) - 1; o >= 0; o-- {
			switch outer[o].kind {
			case anyRun:
				fits[o] = fits[o+1] || next[o]
			case run:
				fits[o] = fits[o+1] || within(inner[i], sep) && next[o]
			case one:
				fits[o] = (inner[i].kind == one || inner[i].kind == literal && inner[i].byte != sep) && next[o+1]
			default:
				fits[o] = inner[i] == outer[o] && next[o+1]
			}
		}
	}
	return fits[0]
}

func isRun(t token) bool { return t.kind == run || t.kind == anyRun }

// within tells whether a token stands for nothing with a separator in it.
func within(t token, sep byte) bool {
	return t.kind == run || t.kind == one || t.kind == literal && t.byte != sep
}

// covers tells it of two globs; nil asks for nothing.
func (g *glob) covers(inner *glob) bool {
	if g == nil {
		return true
	}
	if inner == nil {
		return false
	}
	return covers(g.tokens, inner.tokens, g.sep)
}

// claimed is a token that stands for the caller's claim, whose number is its byte.
const claimed tokenKind = 255

// tokens are a template's, with "*" as one byte and a run.
func (t *template) tokens() []token {
	var tokens []token
	for _, p := range t.parts {
		switch p.kind {
		case plain:
			for i := range len(p.text) {
				tokens = append(tokens, token{literal, p.text[i]})
			}
		case segment:
			tokens = append(tokens, token{kind: one}, token{kind: run})
		case bound:
			tokens = append(tokens, token{claimed, byte(p.claim)})
		case rest:
			tokens = append(tokens, token{kind: anyRun})
		}
	}
	return tokens
}

// covers tells it of two selectors of one policy: every identity of its issuers
// that fits inner fits s.
func (s *selector) covers(inner *selector, issuers []Issuer) bool {
	for i := range issuers {
		if inner.fitsIssuer(&issuers[i]) && !s.fitsIssuer(&issuers[i]) {
			return false
		}
	}
	for i := firstClaim; i < len(s.globs); i++ {
		if !s.globs[i].covers(inner.globs[i]) {
			return false
		}
	}
	return true
}

// firstClaim is the first of selectorFields that comes from the token, after
// issuer and provider.
const firstClaim = 2

func (s *selector) fitsIssuer(i *Issuer) bool {
	return s.globs[0].match(i.Name) && s.globs[1].match(i.Provider)
}

// covered tells whether each request that a rule lets through for a role is let
// through by one of the others: every method, host and path by itself.
func (g *rule) covered(others []*rule) bool {
	for _, method := range g.methods {
		for _, t := range g.paths {
			inner := t.tokens()
			for _, host := range g.anyHosts() {
				if !slices.ContainsFunc(others, func(o *rule) bool { return o.lets(method, host, inner) }) {
					return false
				}
			}
		}
	}
	return true
}

// lets tells whether the rule lets a method on a host through, on all paths that
// the tokens stand for.
func (g *rule) lets(method string, host *glob, path []token) bool {
	if !slices.Contains(g.methods, method) {
		return false
	}
	if !slices.ContainsFunc(g.anyHosts(), func(h *glob) bool { return h.covers(host) }) {
		return false
	}
	return slices.ContainsFunc(g.paths, func(t *template) bool { return covers(t.tokens(), path, '/') })
}

// anyHosts are the rule's hosts, with nil for any.
func (g *rule) anyHosts() []*glob {
	if len(g.hosts) == 0 {
		return []*glob{nil}
	}
	return g.hosts
}
