package check

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
)

// route is one way from a frontend to a backend.
type route struct {
	haproxycfg.Setting
	to    string // the backend's name, "" when a request's values decide
	maybe bool
	via   string // what decides: a sample, or a line of a map file
}

// routes lists where a frontend or listen section sends requests.
func (c *checker) routes(s *haproxycfg.Section) []route {
	var all []route
	lines := c.cfg.Effective(s)
	for _, l := range lines {
		if l.Word(0) == "use_backend" {
			all = append(all, c.resolve(l)...)
		}
	}
	if l, ok := last(lines, "default_backend"); ok {
		all = append(all, c.resolve(l)...)
	}
	return all
}

// lookup is a sample that ends in a map: its file and the value for no match.
var lookup = regexp.MustCompile(`,map(?:_[a-z]+)*\(([^,()]+)(?:,([^()]*))?\)\]$`)

// resolve names the backends of one line. A name that is made of samples may be
// any backend, unless a map makes it: then it is what the map's file holds now,
// and what is added at run time.
func (c *checker) resolve(l haproxycfg.Setting) []route {
	name := l.Word(1)
	if !strings.Contains(name, "%[") {
		return []route{{Setting: l, to: name}}
	}
	dynamic := route{Setting: l, maybe: true, via: name}
	m := lookup.FindStringSubmatch(name)
	// what stands before the sample is part of the backend's name: bk_%[...,map(...)]
	prefix, _, _ := strings.Cut(name, "%[")
	if m == nil || strings.Count(name, "%[") > 1 {
		return []route{dynamic}
	}
	file := strings.TrimPrefix(strings.TrimPrefix(m[1], "opt@"), "virt@")
	text, err := os.ReadFile(c.file(file))
	if err != nil {
		dynamic.via = fmt.Sprintf("the map %s, which cannot be read (%v)", file, err)
		return []route{dynamic}
	}
	var all []route
	for i, e := range mapLines(text) {
		if e.Key != "" {
			all = append(all, route{Setting: l, to: prefix + e.Value, via: fmt.Sprintf("line %d of the map %s", i+1, file)})
		}
	}
	if m[2] != "" {
		all = append(all, route{Setting: l, to: prefix + m[2], via: "what the map " + file + " gives for no match"})
	}
	return all
}

// file is where a path of the configuration is found: below Dir what it writes
// as below Base, and relative ones; else in the working directory, as by a
// HAProxy without default-path.
func (c *checker) file(name string) string {
	if rest, ok := strings.CutPrefix(name, c.Base+"/"); ok && c.Base != "" && c.Dir != "" {
		return filepath.Join(c.Dir, filepath.FromSlash(rest))
	}
	if !filepath.IsAbs(name) && c.Dir != "" {
		if below := filepath.Join(c.Dir, name); exists(below) {
			return below
		}
	}
	return name
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// checkReach looks for ways around the gate: from each section that takes
// connections without it.
func (c *checker) checkReach() {
	servers := c.protectedServers()
	reached := make(map[string]route) // what no policy protects, by the best way in
	for _, s := range c.cfg.Kinds("frontend", "listen") {
		if slices.Contains(c.gated, s) || !c.enabled(s) || !c.takesConnections(s) {
			continue
		}
		if s.Kind == "listen" {
			c.checkListen(s)
			reached[s.Name] = route{}
		}
		for _, r := range c.routes(s) {
			c.checkRoute(s, r)
			if old, ok := reached[r.to]; !ok || old.maybe && !r.maybe {
				reached[r.to] = r
			}
		}
	}
	for _, s := range c.cfg.Kinds("backend", "listen") {
		r, ok := reached[s.Name]
		if !ok {
			r, ok = reached[""] // a dynamic name may be this one
		}
		if ok && !c.protected(s.Name) {
			c.checkServers(s, servers, r.maybe)
		}
	}
}

func (c *checker) protected(backend string) bool {
	return slices.Contains(c.Policy.Protect.Backends, backend)
}

func (c *checker) takesConnections(s *haproxycfg.Section) bool {
	return slices.ContainsFunc(s.Lines, func(l haproxycfg.Line) bool { return l.Word(0) == "bind" })
}

// checkListen reports a protected listen section: it is its own frontend.
func (c *checker) checkListen(s *haproxycfg.Section) {
	if c.protected(s.Name) {
		c.add("backend-exposed", head(s), gating(s),
			"%s is protected by the policy and takes connections itself, without the gate", s)
	}
}

// gating is what puts a section behind the gate.
func gating(s *haproxycfg.Section) string {
	if s.Kind == "listen" {
		return "part it into a frontend from " + gateName + " and a backend"
	}
	return "write: frontend " + s.Name + " from " + gateName
}

// checkRoute reports a way from an ungated section to a protected backend.
func (c *checker) checkRoute(s *haproxycfg.Section, r route) {
	p := at(r.In, r.Line)
	switch {
	case r.maybe:
		var may []string
		for _, name := range c.Policy.Protect.Backends {
			if c.cfg.Find(name, "backend", "listen") != nil {
				may = append(may, name)
			}
		}
		if len(may) > 0 {
			c.add("backend-may-be-exposed", p, "write the backends' names here, or "+gating(s),
				"%s may reach the protected backend %s without the gate: %s decides", s, strings.Join(may, ", "), r.via)
		}
	case !c.protected(r.to):
	case r.via != "":
		c.add("backend-exposed", p, "take the backend out of the map, or "+gating(s),
			"%s reaches the protected backend %s without the gate, by %s", s, r.to, r.via)
	default:
		c.add("backend-exposed", p, "send its requests elsewhere, or "+gating(s),
			"%s reaches the protected backend %s without the gate", s, r.to)
	}
}

// protectedServers are the servers of the protected backends, by address.
func (c *checker) protectedServers() map[string]string {
	all := make(map[string]string)
	for _, s := range c.cfg.Kinds("backend", "listen") {
		if !c.protected(s.Name) {
			continue
		}
		for _, l := range s.Lines {
			if address := serverAddress(l); address != "" {
				all[address] = s.Name
			}
		}
	}
	return all
}

// checkServers reports the servers of an exposed section that a protected
// backend has too.
func (c *checker) checkServers(s *haproxycfg.Section, servers map[string]string, maybe bool) {
	for _, l := range s.Lines {
		address := serverAddress(l)
		backend, shared := servers[address]
		if !shared || address == "" {
			continue
		}
		if maybe {
			c.add("server-may-be-exposed", at(s, l), "give the two backends servers of their own, or send requests here by name only",
				"%s is also a server of the protected backend %s, and %s may be reached without the gate", address, backend, s)
			continue
		}
		c.add("server-exposed", at(s, l), "take the server out, or gate the frontends that lead to "+s.String(),
			"%s is also a server of the protected backend %s, and %s is reached without the gate", address, backend, s)
	}
}

// serverAddress is where a server, server-template or dispatch line leads, in
// one notation; "" for other lines and for addresses that are not fixed.
func serverAddress(l haproxycfg.Line) string {
	address := ""
	switch l.Word(0) {
	case "server":
		address = l.Word(2)
	case "server-template":
		address = l.Word(3)
	case "dispatch":
		address = l.Word(1)
	}
	a := parseAddress(address)
	if a.any() && a.path == "" {
		return ""
	}
	return a.String()
}
