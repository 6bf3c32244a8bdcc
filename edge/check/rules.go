package check

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
)

// checkRules looks at the rules that run on a request that the gate let through:
// those of a frontend behind the gate's, and those of the backends.
func (c *checker) checkRules(s *haproxycfg.Section) {
	for _, l := range c.foreign(s) {
		if l.Word(0) == "filter" && (strings.HasPrefix(l.Word(1), "lua.") || l.Word(1) == "spoe") {
			c.add("action-unread", at(l.In, l.Line), "see to it that it changes neither path, method, identity headers nor the variables of the gate",
				"filter %s acts on requests behind the gate", l.Word(1))
		}
		if s.Kind != "frontend" { // of a gated frontend, checkStats has been asked
			c.checkStats(l)
			c.checkHeaderOption(l)
		}
		r, ok := parseRule(l.In, l.Line)
		if !ok {
			continue
		}
		c.checkLogLevel(r)
		if r.first() {
			if s.Kind != "frontend" && r.setsVariable() {
				c.checkVariable(r)
			}
			continue
		}
		c.checkVariable(r)
		c.checkRewrite(r)
		c.checkHeader(r)
		c.checkAction(s, r)
	}
}

// checkLogLevel: what is below the level of the log line is not written.
func (c *checker) checkLogLevel(r rule) {
	if r.action == "set-log-level" && (r.word(0) == "silent" || r.word(0) == "debug") {
		c.add("log-silenced", r.place, "take the line out; leave such requests out of a query, not out of the trail",
			"%s %s: the requests are not logged, or below the level of the log line", r, r.word(0))
	}
}

// checkVariable: what is logged, and sent to the application, is what stands in
// the variable at the end.
func (c *checker) checkVariable(r rule) {
	if r.setsVariable() && strings.HasPrefix(r.arg, "txn.") && c.variables[r.arg] {
		c.add("identity-changed", r.place, "take the line out, or name the variable otherwise",
			"%s changes what the gate found: the log says something else than was judged", r)
	}
}

// rewrites are the actions that change what the gate judged, and the place of
// their new value among the action's words.
var rewrites = map[string]int{
	"set-path": 0, "set-pathq": 0, "set-uri": 0, "set-method": 0,
	"replace-path": 1, "replace-pathq": 1, "replace-uri": 1, "normalize-uri": 0,
}

// checkRewrite: grants are given for a path, a method and a host.
func (c *checker) checkRewrite(r rule) {
	value, ok := rewrites[r.action]
	what := "path"
	switch {
	case r.action == "set-method":
		what = "method"
	case !ok && strings.EqualFold(r.word(0), "host") && changesHeader(r.action):
		value, ok, what = 1, true, "host"
	}
	if !ok || r.set != "http-request" {
		return
	}
	if value < len(r.rest) && fromClient(r.rest[value:]) {
		c.add("request-from-client", r.place, "take the line out: the client must not choose after the judgement",
			"%s takes the %s that the application sees from the client, after the gate judged another one", r, what)
		return
	}
	c.add("request-rewritten", r.place, "make sure that it turns no granted request into one that is not; or have clients ask for the new one, and grant that",
		"%s: the application gets another %s than the one that the gate judged and that is logged", r, what)
}

func changesHeader(action string) bool {
	return action == "set-header" || action == "add-header" || action == "replace-header" || action == "replace-value"
}

// checkHeader: the application believes the identity headers.
func (c *checker) checkHeader(r rule) {
	prefix := c.Policy.Gate.IdentityHeaders
	if r.set != "http-request" || prefix == "" {
		return
	}
	name := headerName(r.word(0))
	switch {
	case changesHeader(r.action) && strings.HasPrefix(name, headerName(prefix)):
		c.add("identity-header-set", r.place, "take the line out: the gate sets these headers from the checked token",
			"%s %s: the application takes it for what the gate found", r, r.word(0))
	case r.action == "del-header" && c.deletes(r, headerName(prefix)):
		c.add("identity-header-lost", r.place, "take the line out: the gate has removed what clients sent under these names",
			"%s %s removes what the gate tells the application", r, r.word(0))
	}
}

// checkHeaderOption: two settings write a header of any name, after all rules.
func (c *checker) checkHeaderOption(l haproxycfg.Setting) {
	name := ""
	switch {
	case l.Word(0) == "http-send-name-header":
		name = l.Word(1)
	case l.Word(0) == "option" && (l.Word(1) == "forwardfor" || l.Word(1) == "originalto"):
		name = after(l.Line, "header")
	}
	if name != "" && strings.HasPrefix(headerName(name), headerName(c.Policy.Gate.IdentityHeaders)) {
		c.add("identity-header-set", at(l.In, l.Line), "name another header",
			"%s writes %s: the application takes it for what the gate found", strings.Join(l.Words[:min(len(l.Words), 2)], " "), name)
	}
}

// minBuffer is HAProxy's own tune.bufsize, which the gate's rules are made for.
const minBuffer = 16384

// checkTuning looks at the limits of what rules can hold.
func (c *checker) checkTuning() {
	for _, g := range c.cfg.Kinds("global") {
		for _, l := range g.Lines {
			switch size, err := strconv.Atoi(l.Word(1)); {
			case l.Word(0) == "tune.bufsize" && err == nil && size < minBuffer:
				c.add("buffer-small", at(g, l), "take the line out, or write 16384 or more",
					"tune.bufsize %d: long tokens are denied, long claims are missing in the log, and maps cannot be swapped at run time", size)
			case strings.HasPrefix(l.Word(0), "tune.vars.") && err == nil && size > 0:
				c.add("variables-limited", at(g, l), "take the line out, or write 0",
					"%s %d: a variable beyond it is not set, and the gate denies the request under whatever reason comes next", l.Word(0), size)
			}
		}
	}
}

// headerName is a header's name as the gate compares it: CGI takes "_" for "-".
func headerName(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

// deletes tells whether a del-header takes away one of the headers that the
// gate sets (manual: "http-request del-header").
func (c *checker) deletes(r rule, prefix string) bool {
	name := strings.ToLower(r.word(0))
	method := "str"
	if i := slices.Index(r.rest, "-m"); i >= 0 {
		method = r.word(i + 1)
	}
	matches := map[string]func(header, name string) bool{
		"str": func(header, name string) bool { return header == name },
		"beg": strings.HasPrefix, "end": strings.HasSuffix, "sub": strings.Contains,
		"reg": func(header, name string) bool {
			expression, err := regexp.Compile("(?i)" + name)
			return err == nil && expression.MatchString(header)
		},
	}[method]
	return matches != nil && slices.ContainsFunc(c.identityHeaders(prefix), func(header string) bool { return matches(header, name) })
}

// identityHeaders are the headers that the gate sets, in lower case.
func (c *checker) identityHeaders(prefix string) []string {
	all := []string{prefix + "sub", prefix + "role"} // whatever else it sets
	if c.gate == nil {
		return all
	}
	for _, l := range c.gate.Lines {
		if r, ok := parseRule(c.gate, l); ok && r.action == "set-header" && strings.HasPrefix(headerName(r.word(0)), prefix) {
			all = append(all, headerName(r.word(0)))
		}
	}
	return all
}

// checkAction looks at the other actions that matter behind a gate.
func (c *checker) checkAction(s *haproxycfg.Section, r rule) {
	switch {
	case r.action == "cache-use" && r.set == "http-request":
		c.add("cache-shared", r.place, "cache only what is public, or have the application answer Cache-Control: private",
			"%s %s: the cache knows no identities, and an answer to one is given to all who are granted the path", r, r.word(0))
	case r.action == "set-src":
		c.add("client-address-set", r.place, "let only trusted proxies say so: if { src -f FILE }, or accept-proxy on the bind line",
			"%s: the client's address in the log is what the request says", r)
	case isLua(r.action):
		c.add("action-unread", r.place, "see to it that it changes neither path, method, identity headers nor the variables of the gate",
			"%s acts on requests behind the gate", r)
	case s.Kind == "frontend" && slices.ContainsFunc(r.Words, func(w string) bool {
		return strings.Contains(w, "jwt_verify") || strings.Contains(w, "http_auth_bearer")
	}):
		c.add("gate-second", r.place, "take the old rules out once the gate is in place",
			"%s judges tokens a second time, after the gate; with forward_token off there is none any more", r)
	}
}

// checkMapWrites: any rule of any section can change a map of the process.
func (c *checker) checkMapWrites() {
	for _, s := range c.cfg.Sections {
		if s == c.gate {
			continue
		}
		for _, l := range s.Lines {
			r, ok := parseRule(s, l)
			if ok && (r.action == "set-map" || r.action == "del-map") && c.ourMap(r.arg) {
				c.add("maps-written", r.place, "keep such values in a map of your own",
					"%s lets requests change a map of the gate, and so who may do what", r)
			}
		}
	}
}

// ourMap tells whether the gate reads the file: it names it, or it is below Dir.
func (c *checker) ourMap(file string) bool {
	if c.Dir != "" {
		if rel, err := filepath.Rel(c.Dir, file); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return slices.Contains(c.gateMaps(), file)
}

// gateMaps are the files that the gate's rules look up, in order.
func (c *checker) gateMaps() []string {
	var all []string
	if c.gate == nil {
		return nil
	}
	for _, l := range c.gate.Lines {
		for _, w := range l.Words {
			for _, m := range mapFile.FindAllStringSubmatch(w, -1) {
				if !slices.Contains(all, m[2]) {
					all = append(all, m[2])
				}
			}
		}
	}
	return all
}
