package check

import (
	"slices"
	"strings"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
	lf "github.com/haptrail/haptrail/ingest/logformat"
)

// need is something that a log line must tell, by any of the fields.
type need struct {
	what   string
	write  string // an item that tells it
	fields []lf.Field
}

// needed are what every line must tell, and then what one about a request that
// could be read must tell beyond that: of any other there is no more.
var needed = [...]need{
	{"the time", "%Ts%ms", []lf.Field{lf.AcceptTime, lf.RequestTime}},
	{"the client's address", "%ci", []lf.Field{lf.ClientAddr}},
	{"the frontend", "%ft", []lf.Field{lf.Frontend}},
	{"the status", "%ST", []lf.Field{lf.Status}},
	{"the process", "%pid", []lf.Field{lf.PID}},
	{"the request counter", "%rt", []lf.Field{lf.RequestCounter}},
	{"the unique id", "%[unique-id,json]", []lf.Field{lf.UniqueID}},
	{"the backend", "%b", []lf.Field{lf.Backend}},
	{"the method", "%[var(txn.method),json]", []lf.Field{lf.Method}},
	{"the path", "%[var(txn.path),json]", []lf.Field{lf.Path, lf.URI}},
	{"the decision", "%[var(txn.decision),json]", []lf.Field{lf.Decision}},
	{"the reason", "%[var(txn.reason),json]", []lf.Field{lf.Reason}},
	{"the role", "%[var(txn.role),json]", []lf.Field{lf.Role}},
	{"the subject", "%[var(txn.sub),json]", []lf.Field{lf.Subject}},
	{"the token's id", "%[var(txn.jti),json]", []lf.Field{lf.TokenID}},
}

// neededOfErrors is how many of them an error-log-format must tell.
const neededOfErrors = 7

// checkFormat compiles what a gated frontend writes, and looks for what haptrail
// needs in it.
func (c *checker) checkFormat(s *haproxycfg.Section) {
	i := slices.IndexFunc(c.formats, func(f lf.ConfigFormat) bool { return f.Frontend == s.Name && f.Section == s.Kind })
	if i < 0 {
		return // a format that could not be read has been reported
	}
	f := c.formats[i]
	all := c.cfg.Effective(s)
	switch l, ok := lastFormat(all); {
	case !ok || f.Format == "":
		c.add("format-lacks", head(s), "take the gate's defaults as they are rendered: they have haptrail's log-format",
			"%s has no log-format: its requests are logged as connections, without an identity", s)
	case l.In != c.gate: // the gate's own is haptrail's
		c.checkOneFormat(at(l.In, l.Line), f, "log-format", f.Format)
	}
	switch l, ok := last(all, "error-log-format"); {
	case ok && l.In != c.gate:
		c.checkOneFormat(at(l.In, l.Line), f, "error-log-format", f.ErrorFormat)
	case !ok:
		c.add("format-lacks", head(s), "take the gate's defaults as they are rendered: they have haptrail's error-log-format",
			"%s has no error-log-format: requests that break HTTP's rules are logged without time, status and id", s)
	}
}

// lastFormat is the line that decides the format of requests.
func lastFormat(all []haproxycfg.Setting) (haproxycfg.Setting, bool) {
	for _, l := range slices.Backward(all) {
		w := l.Words
		if w[0] == "no" && len(w) > 1 {
			w = w[1:]
		}
		name := ""
		if len(w) > 1 {
			name = w[1]
		}
		if w[0] == "log-format" || w[0] == "option" && (name == "httplog" || name == "httpslog" || name == "tcplog") {
			return l, true
		}
	}
	return haproxycfg.Setting{}, false
}

// checkOneFormat judges one log-format string of a frontend.
func (c *checker) checkOneFormat(p place, f lf.ConfigFormat, keyword, text string) {
	if text == lf.Haptrail {
		return
	}
	const mend = "take the line out: the gate's defaults have haptrail's own format"
	format, err := lf.Compile(text, f.Options(lf.Options{}))
	if err != nil {
		c.add("format-unreadable", p, mend, "%s: haptrail cannot read its lines: %s", keyword, err)
		return
	}
	var told []lf.Field
	for _, item := range format.Items() {
		told = append(told, item.Fields...)
	}
	var lacks, write []string
	all := needed[:]
	if keyword == "error-log-format" {
		all = needed[:neededOfErrors]
	}
	for _, n := range all {
		if !slices.ContainsFunc(n.fields, func(field lf.Field) bool { return slices.Contains(told, field) }) {
			lacks = append(lacks, n.what)
			write = append(write, n.write)
		}
	}
	if len(lacks) > 0 {
		c.add("format-lacks", p, mend+", or add to it: "+strings.Join(write, " "),
			"%s leaves out %s: haptrail's rows lack them", keyword, strings.Join(lacks, ", "))
	}
	for _, d := range format.Diagnostics() {
		if d.Severity >= lf.Warning {
			c.add("format-ambiguous", p, mend, "%s: position %d: %s", keyword, d.Pos, d.Message)
			return // one is enough to take it out
		}
	}
}
