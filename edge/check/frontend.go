package check

import (
	"slices"
	"strings"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
)

// checkFrontend looks at what a gated frontend does before the gate or in spite
// of it: its own lines, and those of the defaults that the gate inherits from.
func (c *checker) checkFrontend(s *haproxycfg.Section) {
	all := c.cfg.Effective(s)
	c.checkMode(s, all)
	c.checkSettings(all)
	for _, l := range c.foreign(s) {
		c.checkBind(l)
		c.checkStats(l)
		c.checkHeaderOption(l)
		if r, ok := parseRule(l.In, l.Line); ok && r.first() {
			c.checkEarly(r)
		}
	}
}

func (c *checker) checkMode(s *haproxycfg.Section, all []haproxycfg.Setting) {
	l, ok := last(all, "mode")
	switch {
	case !ok:
		c.add("mode-tcp", head(s), "write: mode http", "%s has no mode, which is tcp: no rule of the gate runs", s)
	case l.Word(1) != "http":
		c.add("mode-tcp", at(l.In, l.Line), "take the line out: the gate sets mode http", "%s is in mode %s: no rule of the gate runs", s, l.Word(1))
	}
}

// checkSettings looks at the keywords of which the last one counts.
func (c *checker) checkSettings(all []haproxycfg.Setting) {
	if l, ok := last(all, "monitor-uri"); ok && l.In != c.gate {
		c.add("monitor-before-gate", at(l.In, l.Line), "name the path under protect.public, and let the application or an http-request return answer it",
			"monitor-uri %s is answered to anybody, before the gate and without a log line", l.Word(1))
	}
	for _, name := range []string{"accept-invalid-http-request", "accept-unsafe-violations-in-http-request"} {
		if l, ok := option(all, name); ok {
			c.add("violations-accepted", at(l.In, l.Line), "take the line out, and mend the client that needed it",
				"option %s passes on requests that break HTTP's rules: the application may see another request than the gate judged", name)
		}
	}
	if l, ok := option(all, "dontlog-normal"); ok {
		c.add("log-silenced", at(l.In, l.Line), "take the line out", "option dontlog-normal: requests that succeed are not logged, so that haptrail sees only what failed")
	}
	if l, ok := last(all, "unique-id-format"); ok && l.In != c.gate {
		c.checkUniqueID(l)
	}
	if l, ok := last(all, "unique-id-header"); ok && l.In != c.gate && !c.gateSays(l) {
		c.add("id-renamed", at(l.In, l.Line), "have the application read this header, or take the line out",
			"the unique id goes to the application as %s, not under the gate's name", l.Word(1))
	}
}

// gateSays tells whether the gate has the same setting.
func (c *checker) gateSays(l haproxycfg.Setting) bool {
	return slices.ContainsFunc(c.gate.Lines, func(own haproxycfg.Line) bool { return slices.Equal(own.Words, l.Words) })
}

func (c *checker) checkUniqueID(l haproxycfg.Setting) {
	format := l.Word(1)
	if strings.Contains(format, "uuid(") || strings.Contains(format, "%rt") && strings.Contains(format, "%pid") {
		return
	}
	c.add("id-not-unique", at(l.In, l.Line), `take the line out, or add %rt and %pid to it`,
		"unique-id-format %s repeats: of HAProxy's items only %%rt with %%pid tells all requests apart", format)
}

// checkBind looks for tokens in clear.
func (c *checker) checkBind(l haproxycfg.Setting) {
	if l.Word(0) != "bind" || slices.Contains(l.Words[1:], "ssl") {
		return
	}
	for one := range strings.SplitSeq(l.Word(1), ",") {
		a := parseAddress(one)
		if a.local() || a.scheme == "quic" || a.scheme == "rhttp" {
			continue
		}
		// "ssl" inside the word comes from a variable that holds several.
		if strings.Contains(one, " ssl ") {
			continue
		}
		if slices.Contains(l.Words, "accept-proxy") {
			c.add("token-in-clear-proxied", at(l.In, l.Line), "let the proxy before this one connect over TLS, or over loopback or a unix socket",
				"bind %s takes tokens in clear from the proxy before it", one)
			continue
		}
		c.add("token-in-clear", at(l.In, l.Line), "add: ssl crt FILE; or bind to loopback or a unix socket, if TLS ends elsewhere on this machine or pod",
			"bind %s is neither TLS nor local: whoever reads the network can use the tokens", one)
	}
}

// checkStats looks for HAProxy's own pages.
func (c *checker) checkStats(l haproxycfg.Setting) {
	if l.Word(0) != "stats" || l.Word(1) != "enable" && l.Word(1) != "uri" && l.Word(1) != "admin" {
		return
	}
	c.add("stats-behind-gate", at(l.In, l.Line), "put the page into a frontend of its own, on loopback",
		"stats %s: HAProxy's statistics are shown, and with stats admin servers are switched, to any role that is granted the path", l.Word(1))
}

// gateCounters are the stick counters that the gate tracks with.
var gateCounters = [...]string{"track-sc0", "track-sc1", "track-sc2"}

// checkEarly looks at a rule that runs before all http-request rules.
func (c *checker) checkEarly(r rule) {
	switch {
	case r.action == "use-service":
		c.add("answer-before-gate", r.place, "take the line out, or make it an http-request rule: those of the frontend run after the gate",
			"%s %s answers the request before the gate judges it", r, r.word(0))
	case r.setsVariable() && c.variables[r.arg]:
		c.add("judgement-forged", r.place, "take the line out, or name the variable otherwise",
			"%s runs before the gate, which forgets the variable: the rule is in vain", r)
	case slices.Contains(gateCounters[:], r.action):
		c.add("counter-taken", r.place, "take the line out, or track in a http-request rule with sc3 or above (tune.stick-counters)",
			"%s runs before the gate and takes a counter of the gate: its rates count something else", r)
	case isLua(r.action):
		c.add("action-unread", r.place, "see to it that the script sets no variable that the gate reads",
			"%s runs before the gate", r)
	}
}

// isLua tells whether the action is a script's or an agent's.
func isLua(action string) bool {
	return strings.HasPrefix(action, "lua.") || action == "send-spoe-group"
}
