package check

import (
	"slices"
	"strings"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
)

// rule is one line of a rule set: "http-request set-var(txn.a) str(b) if x".
type rule struct {
	haproxycfg.Line
	place
	set    string   // "http-request", "tcp-request content", ...
	action string   // "set-var"
	arg    string   // what stands in parentheses behind the action, up to a comma
	rest   []string // the words behind, without the condition
}

// ruleSets are the keywords of rules, and whether a second word parts them.
var ruleSets = map[string]bool{
	"http-request": false, "http-response": false, "http-after-response": false,
	"tcp-request": true, "tcp-response": true,
}

// parseRule reads a rule of a section; ok is false for every other line.
func parseRule(s *haproxycfg.Section, l haproxycfg.Line) (r rule, ok bool) {
	parted, ok := ruleSets[l.Word(0)]
	if !ok {
		return rule{}, false
	}
	words := l.Words[1:]
	r = rule{Line: l, place: at(s, l), set: l.Word(0)}
	if parted {
		if len(words) == 0 {
			return rule{}, false
		}
		r.set += " " + words[0]
		words = words[1:]
	}
	if len(words) == 0 {
		return rule{}, false
	}
	r.action, r.arg = words[0], ""
	if open := strings.IndexByte(words[0], '('); open >= 0 {
		r.action = words[0][:open]
		r.arg, _, _ = strings.Cut(strings.TrimSuffix(words[0][open+1:], ")"), ",")
	}
	words = words[1:]
	if i := slices.IndexFunc(words, func(w string) bool { return w == "if" || w == "unless" }); i >= 0 {
		words = words[:i]
	}
	r.rest = words
	return r, true
}

func (r rule) word(i int) string {
	if i < len(r.rest) {
		return r.rest[i]
	}
	return ""
}

// first tells whether the rule runs before all http-request rules.
func (r rule) first() bool { return strings.HasPrefix(r.set, "tcp-request") }

func (r rule) setsVariable() bool {
	return r.action == "set-var" || r.action == "set-var-fmt" || r.action == "unset-var"
}

// String is the rule without its condition, for messages.
func (r rule) String() string {
	text := r.set + " " + r.action
	if r.arg != "" {
		text += "(" + r.arg + ")"
	}
	return text
}

// clientSamples begin the samples by which a client says what it likes.
var clientSamples = [...]string{
	"req.hdr", "req.fhdr", "hdr(", "fhdr(", "url_param", "urlp", "req.cook", "cook(", "req.body", "query", "req.payload",
	"req.hdrs", "capture.req.hdr",
}

// fromClient tells whether a log-format argument holds such a sample.
func fromClient(words []string) bool {
	for _, w := range words {
		for _, part := range strings.Split(w, "%[")[1:] {
			if slices.ContainsFunc(clientSamples[:], func(s string) bool { return strings.HasPrefix(part, s) }) {
				return true
			}
		}
	}
	return false
}
