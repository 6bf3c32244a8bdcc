package policy

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/haptrail/haptrail/internal/strictyaml"
)

var (
	roleName    = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\z`)
	nodeName    = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9_.-]{0,252}\z`)
	proxyName   = regexp.MustCompile(`\A[A-Za-z0-9_.:-]{1,128}\z`) // HAProxy manual 4: of a section's name
	headerName  = regexp.MustCompile(`\A[A-Za-z][A-Za-z0-9-]{0,63}\z`)
	grantMethod = regexp.MustCompile(`\A[A-Z][A-Z-]{0,31}\z`)
	logHost     = regexp.MustCompile(`\A[A-Za-z0-9_.:-]+\z`)
)

// validate checks each field by itself and against the others, and compiles what
// Decide asks. It does not look at the world: that is "haptrail edge check".
func (p *Policy) validate(name string) error {
	f := &faults{name: name, places: p.places}
	switch {
	case !p.places.Has("version"):
		f.add("version", "is missing: begin the file with version: 1")
	case p.Version != 1:
		f.add("version", "%d is not known: write 1", p.Version)
	}
	p.validateGate(f)
	p.validateIssuers(f)
	p.validateRoles(f)
	p.validateGrants(f)
	p.validateProtect(f)
	return f.err()
}

func (p *Policy) validateGate(f *faults) {
	g := &p.Gate
	if g.Log == "" {
		f.add("gate.log", "is missing: write the address of haptrail's octet-counted TCP listener, such as 127.0.0.1:5514")
	} else if !isHostPort(g.Log) {
		f.add("gate.log", "%q must be host:port, such as 127.0.0.1:5514", g.Log)
	}
	if g.Feed && g.Peer == "" {
		f.add("gate.feed", "needs gate.peer: haptrail connects to it")
	}
	if g.Peer != "" && !isHostPort(g.Peer) {
		f.add("gate.peer", "%q must be host:port of this machine, such as 127.0.0.1:10024", g.Peer)
	}
	if g.Node != "" && !nodeName.MatchString(g.Node) {
		f.add("gate.node", `%q must be a host name: letters, digits, ".", "_" and "-"`, g.Node)
	}
	switch {
	case g.Defaults == "haptrail":
		f.add("gate.defaults", `"haptrail" is the gate's own section: name another defaults section, or leave it out`)
	case g.Defaults != "" && !proxyName.MatchString(g.Defaults):
		f.add("gate.defaults", "%q is no name of a section of haproxy.cfg", g.Defaults)
	}
	prefix := headerName.MatchString(g.IdentityHeaders) && strings.HasSuffix(g.IdentityHeaders, "-") && strings.Count(g.IdentityHeaders, "-") >= 2
	if !prefix {
		f.add("gate.identity_headers", `%q must be the beginning of a header's name, of two words or more, that ends in "-": such as X-Identity-`, g.IdentityHeaders)
	}
	if h := g.ClaimedRunHeader; h != "" {
		switch {
		case !headerName.MatchString(h):
			f.add("gate.claimed_run_header", `%q is no header name: write one such as X-CI-Run, or "" for none`, h)
		case prefix && strings.HasPrefix(strings.ToLower(h), strings.ToLower(g.IdentityHeaders)):
			f.add("gate.claimed_run_header", "%q begins with %s, and the gate removes such headers: write another name", h, g.IdentityHeaders)
		case strings.EqualFold(h, "Authorization"):
			f.add("gate.claimed_run_header", "Authorization holds the token, which is never logged: write another name")
		}
	}
	if g.StickSize < 1000 || g.StickSize > 16<<20 {
		f.add("gate.stick_size", "%d must be 1000 to 16m entries", g.StickSize)
	}
}

// isHostPort tells whether HAProxy can connect to it.
func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || !logHost.MatchString(host) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

func (p *Policy) validateRoles(f *faults) {
	names := map[string]bool{}
	for i := range p.Roles {
		role, field := &p.Roles[i], at("roles", i)
		switch {
		case role.Name == "":
			f.add(field+".name", "is missing: name the role, such as deployer")
		case !roleName.MatchString(role.Name):
			f.add(field+".name", `%q must be letters, digits, "_", "." and "-", at most 64, the first one a letter or digit`, role.Name)
		case names[role.Name]:
			f.add(field+".name", "%q is used twice: put all its selectors under one role", role.Name)
		}
		names[role.Name] = true
		if role.Rate.Period != p.Roles[0].Rate.Period {
			f.add(field+".rate", "%s has another period than %s of role %q, and the stick table has one: write it per %s",
				role.Rate, p.Roles[0].Rate, p.Roles[0].Name, p.RatePeriod())
		}
		if len(role.Match) == 0 {
			f.add(field+".match", "is empty: nobody would have the role; write a selector such as {issuer: NAME}")
		}
		for j := range role.Match {
			p.compileSelector(f, at(field+".match", j), role.Name, &role.Match[j])
		}
	}
}

func (p *Policy) compileSelector(f *faults, field, role string, s *Selector) {
	c := selector{role: role, line: s.Line}
	empty := true
	for i, pattern := range s.values() {
		key := field + "." + selectorFields[i]
		if pattern == "" && !p.places.Has(key) {
			continue
		}
		empty = false
		g, err := parseGlob(pattern)
		if err != nil {
			f.add(key, "%v", err)
			continue
		}
		c.globs[i] = g
	}
	if empty {
		f.add(field, "asks for nothing, and would give everybody the role: write {issuer: NAME}")
		return
	}
	if g := c.globs[0]; g != nil && g.plain != "" && !slices.Contains(p.issuerNames(), g.plain) {
		f.add(field+".issuer", "%s", strictyaml.Unknown("issuer", g.plain, p.issuerNames()))
	}
	if g := c.globs[1]; g != nil && g.plain != "" {
		checkProvider(f, field+".provider", g.plain)
	}
	line := c.render()
	if n := len(line.Pattern) + len(line.Value) + 1; n > MaxLine {
		f.add(field, "%d bytes as a line of HAProxy's map, at most %d: shorten its patterns", n, MaxLine)
	}
	p.compiled.selectors = append(p.compiled.selectors, c)
}

func (p *Policy) issuerNames() []string {
	names := make([]string, len(p.Issuers))
	for i := range p.Issuers {
		names[i] = p.Issuers[i].Name
	}
	return names
}

func (p *Policy) validateGrants(f *faults) {
	roles := make([]string, len(p.Roles))
	for i := range p.Roles {
		roles[i] = p.Roles[i].Name
	}
	for i := range p.Grants {
		g, field := &p.Grants[i], at("grants", i)
		if len(g.Roles) == 0 {
			f.add(field+".roles", "is empty: name who has the grant")
		}
		for j, role := range g.Roles {
			if !slices.Contains(roles, role) {
				f.add(at(field+".roles", j), "%s", strictyaml.Unknown("role", role, roles))
			} else if slices.Index(g.Roles, role) < j {
				f.add(at(field+".roles", j), "%q stands here twice: name it once", role)
			}
		}
		r := compileRule(f, field, Public{g.Methods, g.Hosts, g.Paths, g.Line}, true)
		r.roles = g.Roles
		p.compiled.grants = append(p.compiled.grants, r)
	}
	p.compiled.byRole = map[string][]*rule{}
	for i := range p.compiled.grants {
		for _, role := range p.compiled.grants[i].roles {
			p.compiled.byRole[role] = append(p.compiled.byRole[role], &p.compiled.grants[i])
		}
	}
}

// compileRule compiles what grants and public requests have in common.
func compileRule(f *faults, field string, from Public, bind bool) rule {
	r := rule{methods: from.Methods, line: from.Line}
	for i, method := range from.Methods {
		switch {
		case !grantMethod.MatchString(method):
			f.add(at(field+".methods", i), `%q must be capital letters and "-", at most 32, such as GET or M-SEARCH`, method)
		case slices.Index(from.Methods, method) < i:
			f.add(at(field+".methods", i), "%q stands here twice: name it once", method)
		}
	}
	if len(from.Methods) > maxMethods {
		f.add(field+".methods", "%d methods, at most %d: split it", len(from.Methods), maxMethods)
	}
	for i, host := range from.Hosts {
		g, err := parseHost(host)
		if err != nil {
			f.add(at(field+".hosts", i), "%q: %v", host, err)
			continue
		}
		r.hosts = append(r.hosts, g)
	}
	if len(from.Paths) == 0 {
		f.add(field+".paths", "is empty: write a path such as /artifacts/**, or /** for all")
	}
	for i, path := range from.Paths {
		t, err := parseTemplate(path, bind)
		if err != nil {
			f.add(at(field+".paths", i), "%q: %v", path, err)
			continue
		}
		r.paths = append(r.paths, t)
	}
	return r
}

// maxMethods keeps a map's line within MaxLine.
const maxMethods = 40

func (p *Policy) validateProtect(f *faults) {
	for _, list := range []struct {
		field string
		names []string
	}{{"protect.frontends", p.Protect.Frontends}, {"protect.backends", p.Protect.Backends}} {
		for i, name := range list.names {
			switch {
			case !proxyName.MatchString(name):
				f.add(at(list.field, i), "%q is no name of a section of haproxy.cfg", name)
			case slices.Index(list.names, name) < i:
				f.add(at(list.field, i), "%q stands here twice: name it once", name)
			}
		}
	}
	for i := range p.Protect.Public {
		g := &p.Protect.Public[i]
		p.compiled.public = append(p.compiled.public, compileRule(f, fmt.Sprintf("protect.public[%d]", i), *g, false))
	}
}
