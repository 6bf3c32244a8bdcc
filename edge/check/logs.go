package check

import (
	"slices"
	"strconv"
	"strings"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
)

// longestLine is what the gate's log lines may take, header and all. What is cut
// off is the path first, but a long identity makes it the identity.
const longestLine = 8192

// target is one log line in effect: a frontend's own, or one of the global
// section behind its "log global".
type target struct {
	place
	address address
	word    string   // the address as written
	rest    []string // what stands behind the address
}

// option returns the word behind a keyword such as "len".
func (t target) option(name string) (string, bool) {
	if i := slices.Index(t.rest, name); i >= 0 && i+1 < len(t.rest) {
		return t.rest[i+1], true
	}
	return "", false
}

// level is the least urgent level that is still written.
func (t target) level() string {
	rest := t.rest
	for len(rest) > 1 && slices.Contains([]string{"len", "format", "sample", "profile"}, rest[0]) {
		rest = rest[2:]
	}
	if len(rest) > 1 { // behind the facility
		return rest[1]
	}
	return "debug"
}

// targets lists where a section's requests are logged. off is the line that took
// away all before it, when nothing came after.
func (c *checker) targets(s *haproxycfg.Section) (all []target, off *haproxycfg.Line) {
	for _, l := range c.cfg.Effective(s) {
		switch {
		case l.Word(0) == "no" && l.Word(1) == "log":
			all, off = nil, &l.Line
		case l.Word(0) != "log":
		case l.Word(1) == "global":
			for _, g := range c.cfg.Kinds("global") {
				for _, gl := range g.Lines {
					if gl.Word(0) == "log" && len(gl.Words) > 1 {
						all = append(all, newTarget(g, gl))
					}
				}
			}
		case len(l.Words) > 1:
			all = append(all, newTarget(l.In, l.Line))
		}
	}
	return all, off
}

func newTarget(s *haproxycfg.Section, l haproxycfg.Line) target {
	return target{place: at(s, l), address: parseAddress(l.Word(1)), word: l.Word(1), rest: l.Words[2:]}
}

// checkLogs: does haptrail hear of every request of a gated frontend, and whole?
func (c *checker) checkLogs(s *haproxycfg.Section) {
	c.checkHeard()
	all, off := c.targets(s)
	if len(all) == 0 {
		if off != nil {
			c.add("log-missing", at(s, *off), "take the line out", "%s logs nowhere: this line takes away all log lines before it", s)
			return
		}
		c.add("log-missing", head(s), "write: log global, and have the global section log to the gate's ring (the rendered folder has it)",
			"%s logs nowhere: neither it nor a global section has a log line in effect", s)
		return
	}
	var elsewhere []string
	for _, t := range all {
		if !c.leadsHere(t) {
			elsewhere = append(elsewhere, t.word)
		}
	}
	if len(elsewhere) == len(all) {
		c.add("log-elsewhere", head(s), "write: log global, and: log ring@"+gateName+" len 8192 format rfc5424 local0 info in the global section (the rendered folder has it)",
			"%s logs to %s, and not to haptrail at %s", s, strings.Join(elsewhere, ", "), strings.Join(c.listeners(), " or "))
	}
}

// checkHeard: the policy's address is one of haptrail's listeners.
func (c *checker) checkHeard() {
	log := parseAddress(c.Policy.Gate.Log)
	heard := slices.ContainsFunc(c.Listeners, func(l string) bool { return parseAddress(l).hears(log) })
	if len(c.Listeners) > 0 && !heard {
		c.add("log-unheard", place{file: c.PolicyFile}, "make gate.log the address of a tcp listener of haptrail.yaml, or add that listener",
			"gate.log is %s, where haptrail does not listen (%s)", c.Policy.Gate.Log, strings.Join(c.Listeners, ", "))
	}
}

// listeners are all addresses that lead to haptrail.
func (c *checker) listeners() []string {
	return append([]string{c.Policy.Gate.Log}, c.Listeners...)
}

func (c *checker) ours(a address) bool {
	return slices.ContainsFunc(c.listeners(), func(l string) bool { return parseAddress(l).hears(a) })
}

// leadsHere tells whether a log line leads to haptrail, and reports what is lost
// on the way.
func (c *checker) leadsHere(t target) bool {
	switch t.address.scheme {
	case "ring":
		return c.ringLeadsHere(t)
	case "backend": // of mode log, HAProxy 2.9
		return c.serversLeadHere(t, c.cfg.Find(t.address.path, "backend"))
	}
	if !c.ours(t.address) {
		return false
	}
	c.checkTarget(t)
	switch {
	case t.address.scheme == "tcp":
		c.add("log-framing", t.place, "log to a ring whose server has: log-proto octet-count",
			"log %s sends lines that end in a line feed: one in a logged value forges a message", t.word)
	case t.address.path == "":
		c.lossy(t.place, "log "+t.word)
	}
	return true
}

// toUs tells whether a server line leads to haptrail.
func (c *checker) toUs(l haproxycfg.Line) bool {
	return l.Word(0) == "server" && c.ours(parseAddress(l.Word(2)))
}

func (c *checker) lossy(p place, what string) {
	c.add("log-udp", p, "log to the gate's ring: log ring@"+gateName+" len 8192 format rfc5424 local0 info",
		"%s sends datagrams, which are lost without a trace when haptrail is busy or restarts", what)
}

// serversLeadHere tells whether one of a section's servers is haptrail, and how
// it is sent to.
func (c *checker) serversLeadHere(t target, s *haproxycfg.Section) bool {
	if s == nil {
		return false
	}
	i := slices.IndexFunc(s.Lines, c.toUs)
	if i < 0 {
		return false
	}
	c.checkTarget(t)
	server := s.Lines[i]
	switch {
	case parseAddress(server.Word(2)).scheme == "udp":
		c.lossy(at(s, server), "server "+server.Word(1))
	case after(server, "log-proto") != "octet-count":
		c.add("log-framing", at(s, server), "add to the line: log-proto octet-count",
			"server %s takes lines that end in a line feed: one in a logged value forges a message", server.Word(1))
	}
	return true
}

func (c *checker) ringLeadsHere(t target) bool {
	ring := c.cfg.Find(t.address.path, "ring")
	if ring == nil {
		c.add("log-ring-unknown", t.place, "write the name of a ring section", "log %s: there is no ring %s", t.word, t.address.path)
		return false
	}
	if !c.serversLeadHere(t, ring) {
		return false
	}
	length, p := "1024", head(ring)
	for _, l := range ring.Lines {
		if l.Word(0) == "maxlen" {
			length, p = l.Word(1), at(ring, l)
		}
	}
	if n, err := strconv.Atoi(length); err == nil && n < longestLine {
		c.add("log-cut", p, "write: maxlen 8192", "%s cuts messages at %s bytes: of long lines the path is lost, and then the identity", ring, length)
	}
	return true
}

// checkTarget looks at the parameters of a log line.
func (c *checker) checkTarget(t target) {
	length, ok := t.option("len")
	if !ok {
		length = "1024"
	}
	if n, err := strconv.Atoi(length); err == nil && n < longestLine {
		c.add("log-cut", t.place, "write: len 8192 behind the address", "log %s cuts lines at %s bytes: of long ones the path is lost, and then the identity", t.word, length)
	}
	if sample, ok := t.option("sample"); ok {
		c.add("log-filtered", t.place, "take the sample out: a trail with gaps proves nothing", "log %s writes only %s of the lines", t.word, sample)
	}
	switch level := t.level(); level {
	case "emerg", "alert", "crit", "err", "warning", "notice":
		c.add("log-filtered", t.place, "write info in the place of "+level, "log %s holds back what is less urgent than %s; requests are logged as info", t.word, level)
	}
}
