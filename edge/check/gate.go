package check

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
)

// gateName is the defaults section that holds the gate's rules.
const gateName = "haptrail"

// ownVariables are what the gate sets when its own section cannot be seen: the
// normal form, the judgement, and the facts of the request that are logged.
var ownVariables = [...]string{
	"decision", "reason", "method", "path", "host", "uri", "provider", "iss", "sub", "jti", "kid", "aud", "iat", "exp",
	"tenant", "project", "job", "run", "run_attempt", "ref", "sha", "actor", "runner", "role", "claimed_run",
}

// findGate finds the gate's section, the variables that it works with, and the
// frontends that go through it.
func (c *checker) findGate() {
	c.variables = make(map[string]bool)
	for _, name := range ownVariables {
		c.variables["txn."+name] = true
	}
	for _, s := range c.cfg.Kinds("defaults") {
		if s.Name != gateName {
			continue
		}
		if c.gate != nil {
			c.add("gate-twice", head(s), "start HAProxy with one rendered folder, once",
				"a second defaults section %s: the first one is at %s, and HAProxy refuses a name that could mean both", gateName, c.gate.Where())
			continue
		}
		c.gate = s
	}
	if c.gate == nil {
		c.add("gate-missing", place{}, `render the gate (haptrail edge render) and start HAProxy with its folder before your file: haproxy -f DIR -f FILE`,
			"no file has a defaults section %s: nothing judges a token", gateName)
		return
	}
	for _, l := range c.gate.Lines {
		if r, ok := parseRule(c.gate, l); ok && r.setsVariable() {
			c.variables[r.arg] = true
		}
	}
	c.findGated()
}

// findGated finds the sections that inherit from the gate, rightly or wrongly.
func (c *checker) findGated() {
	for _, s := range c.cfg.Sections {
		inherits := slices.ContainsFunc(s.Chain()[1:], func(base *haproxycfg.Section) bool { return base.Name == gateName })
		if !inherits {
			continue
		}
		switch {
		case s.Kind == "frontend" && s.From == "":
			c.gated = append(c.gated, s)
			c.add("gate-implicit", head(s), `write "from `+gateName+`" behind its name, or put a defaults section of your own before it`,
				"%s inherits from the gate only because defaults %s is the last one before it", s, gateName)
		case s.Kind == "frontend":
			c.gated = append(c.gated, s)
		case s.From == "":
			c.add("gate-inherited", head(s), "put a defaults section of your own before it",
				"%s inherits from the gate because defaults %s is the last one before it; HAProxy does not start, since only frontends can", s, gateName)
		case s.Kind == "listen":
			c.add("gate-inherited", head(s), gating(s),
				"%s is from %s: HAProxy does not start, since a listen section takes no rules from defaults", s, gateName)
		default:
			c.add("gate-inherited", head(s), "name another defaults section, or none; the policy's gate.defaults names one for the gate to inherit from",
				"%s is from %s: HAProxy does not start, since only frontends can be", s, gateName)
		}
	}
}

// checkProtected looks for what the policy protects.
func (c *checker) checkProtected() {
	for _, name := range c.Policy.Protect.Frontends {
		s := c.cfg.Find(name, "frontend", "listen")
		switch {
		case s == nil:
			c.add("frontend-unknown", place{file: c.PolicyFile}, "correct the name in protect.frontends, or give this command all files of the configuration",
				"protect.frontends names %s, and there is no such frontend", name)
		case slices.Contains(c.gated, s):
		default:
			c.add("frontend-ungated", head(s), gating(s),
				"%s is protected by the policy and not behind the gate: its requests need no token", s)
		}
	}
	for _, name := range c.Policy.Protect.Backends {
		if c.cfg.Find(name, "backend", "listen") == nil {
			c.add("backend-unknown", place{file: c.PolicyFile}, "correct the name in protect.backends, or give this command all files of the configuration",
				"protect.backends names %s, and there is no such backend", name)
		}
	}
}

// foreign lists the lines in effect in a section that are not the gate's own:
// of the defaults that it inherits from, and the section's.
func (c *checker) foreign(s *haproxycfg.Section) []haproxycfg.Setting {
	return slices.DeleteFunc(c.cfg.Effective(s), func(l haproxycfg.Setting) bool { return l.In == c.gate })
}

// behind lists the sections whose rules run on requests that passed the gate:
// the gated frontends, the protected backends, and the backends to which a gated
// frontend sends requests by name.
func (c *checker) behind() []*haproxycfg.Section {
	all := slices.Clone(c.gated)
	add := func(name string) {
		if s := c.cfg.Find(name, "backend", "listen"); s != nil && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, name := range c.Policy.Protect.Backends {
		add(name)
	}
	for _, s := range c.gated {
		for _, r := range c.routes(s) {
			add(r.to)
		}
	}
	return all
}

// enabled tells whether HAProxy opens the section at all.
func (c *checker) enabled(s *haproxycfg.Section) bool {
	on := true
	for _, l := range c.cfg.Effective(s) {
		switch l.Word(0) {
		case "disabled":
			on = false
		case "enabled":
			on = true
		}
	}
	return on
}

// splitPlace takes the "file:line: " off an error's text.
func splitPlace(err error) (file string, line int, rest error) {
	text := err.Error()
	head, tail, ok := strings.Cut(text, ": ")
	colon := strings.LastIndexByte(head, ':')
	if !ok || colon < 0 {
		return "", 0, err
	}
	n, bad := strconv.Atoi(head[colon+1:])
	if bad != nil {
		return "", 0, err
	}
	return head[:colon], n, errors.New(tail)
}

// last returns the last of the settings that begin with one of the words, as
// one that replaces those before it.
func last(all []haproxycfg.Setting, words ...string) (haproxycfg.Setting, bool) {
	for _, l := range slices.Backward(all) {
		if slices.Contains(words, l.Word(0)) {
			return l, true
		}
	}
	return haproxycfg.Setting{}, false
}

// option returns the last line that sets the option, unless it is taken back.
func option(all []haproxycfg.Setting, name string) (haproxycfg.Setting, bool) {
	var set haproxycfg.Setting
	on := false
	for _, l := range all {
		switch {
		case l.Word(0) == "option" && l.Word(1) == name:
			set, on = l, true
		case (l.Word(0) == "no" || l.Word(0) == "default") && l.Word(1) == "option" && l.Word(2) == name:
			on = false
		}
	}
	return set, on
}

// or returns the first text that is not empty.
func or(texts ...string) string { return cmp.Or(texts...) }
