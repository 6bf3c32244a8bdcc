package policy

import (
	"slices"
	"strings"
)

// Identity is the normal form of a verified token. A part that the token lacks is
// "".
type Identity struct {
	Issuer   string // its name in the policy, not the iss
	Provider string // the issuer's provider

	Tenant, Project, Job, Run, RunAttempt, Ref, SHA, Actor, Runner string

	Subject string
}

// Request is what the gate looks at.
type Request struct {
	Method string
	Host   string // as sent, with or without port
	Path   string // as sent: percent-encoded, without query
}

// Decision is the gate's answer to a request whose token was verified.
type Decision struct {
	Allow bool
	// Role is the identity's; "" when it has none, or on a public path, where
	// nobody is asked.
	Role string
	// Group is the template that granted, as the maps' values write it: what is no
	// visible ASCII character is percent-encoded. "" when nothing granted.
	Group string
	// Reason is one of the constants below.
	Reason string
}

// The reasons, in the order in which the gate asks: a request that is refused for
// several gets the first.
const (
	ReasonPublic       = "public"
	ReasonNoRole       = "no_role"
	ReasonPathUnsafe   = "path_unsafe"
	ReasonMethodUnsafe = "method_unsafe"
	ReasonGrantDenied  = "grant_denied"
	ReasonOK           = "ok"
)

// compiled is the policy as it is asked.
type compiled struct {
	selectors []selector // in the file's order
	grants    []rule     // likewise
	byRole    map[string][]*rule
	public    []rule
}

// selector is a role's selector; a nil glob is a claim that it does not ask for.
type selector struct {
	role  string
	globs [len(selectorFields)]*glob
	line  int
}

// selectorFields are a selector's fields in the order of RoleKey.
var selectorFields = [...]string{"issuer", "provider", "tenant", "project", "job", "ref", "actor", "runner", "subject"}

// values are a selector's patterns in the order of selectorFields.
func (s *Selector) values() [len(selectorFields)]string {
	return [...]string{s.Issuer, s.Provider, s.Tenant, s.Project, s.Job, s.Ref, s.Actor, s.Runner, s.Subject}
}

// roleParts are an identity's parts in the order of selectorFields.
func (id *Identity) roleParts() [len(selectorFields)]string {
	return [...]string{id.Issuer, id.Provider, id.Tenant, id.Project, id.Job, id.Ref, id.Actor, id.Runner, id.Subject}
}

// rule is a grant, or what is public.
type rule struct {
	roles   []string
	methods []string
	hosts   []*glob // none: any
	paths   []*template
	line    int
}

// Role is the role that the policy gives an identity: of the first selector from
// the top that fits. An identity with a "|" in it has none: the gate turns such
// tokens away, since "|" parts its maps' keys.
func (p *Policy) Role(id Identity) (role string, ok bool) { return p.role(&id) }

func (p *Policy) role(id *Identity) (string, bool) {
	parts := id.roleParts()
	if strings.IndexByte(id.Run, '|') >= 0 || strings.IndexByte(id.SHA, '|') >= 0 {
		return "", false
	}
	for _, part := range parts {
		if strings.IndexByte(part, '|') >= 0 {
			return "", false
		}
	}
	for i := range p.compiled.selectors {
		if s := &p.compiled.selectors[i]; s.fits(&parts) {
			return s.role, true
		}
	}
	return "", false
}

func (s *selector) fits(parts *[len(selectorFields)]string) bool {
	for i, g := range s.globs {
		if g != nil && !g.match(parts[i]) {
			return false
		}
	}
	return true
}

// Public tells whether a request needs no token. Its path and method are held to
// the same rules as everybody's.
func (p *Policy) Public(r Request) bool {
	_, ok := p.public(readRequest(r))
	return ok
}

func (p *Policy) public(r request) (group string, ok bool) {
	if !r.pathOK || !r.methodOK {
		return "", false
	}
	for i := range p.compiled.public {
		if group, ok := p.compiled.public[i].fits(r, nil); ok {
			return group, true
		}
	}
	return "", false
}

// Decide is the gate's answer: first whether the request is public, then the
// identity's role, then whether path and method can be judged, then the role's
// grants in the file's order.
func (p *Policy) Decide(id Identity, r Request) Decision {
	asked := readRequest(r)
	if group, ok := p.public(asked); ok {
		return Decision{Allow: true, Group: group, Reason: ReasonPublic}
	}
	role, ok := p.role(&id)
	switch {
	case !ok:
		return Decision{Reason: ReasonNoRole}
	case !asked.pathOK:
		return Decision{Role: role, Reason: ReasonPathUnsafe}
	case !asked.methodOK:
		return Decision{Role: role, Reason: ReasonMethodUnsafe}
	}
	for _, g := range p.compiled.byRole[role] {
		if group, ok := g.fits(asked, &id); ok {
			return Decision{Allow: true, Role: role, Group: group, Reason: ReasonOK}
		}
	}
	return Decision{Role: role, Reason: ReasonGrantDenied}
}

// request is a Request as rules ask it.
type request struct {
	method, host, path string
	pathOK, methodOK   bool
}

func readRequest(r Request) request {
	path, ok := safePath(r.Path)
	return request{r.Method, grantHost(r.Host), path, ok, safeMethod(r.Method)}
}

// fits returns the first of the rule's paths that fits, as a group.
func (g *rule) fits(r request, id *Identity) (group string, ok bool) {
	if !slices.Contains(g.methods, r.method) {
		return "", false
	}
	if len(g.hosts) > 0 && !slices.ContainsFunc(g.hosts, func(h *glob) bool { return h.match(r.host) }) {
		return "", false
	}
	for _, t := range g.paths {
		if t.match(r.path, id) {
			return t.group, true
		}
	}
	return "", false
}
