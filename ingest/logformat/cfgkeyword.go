package logformat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
)

// keyword reads one line of a defaults, frontend or listen section.
func (c *formatOf) keyword(l haproxycfg.Line) error {
	w := l.Words
	negated := w[0] == "no"
	if negated || w[0] == "default" {
		w = w[1:]
	}
	if len(w) < 2 {
		return nil
	}
	switch w[0] {
	case "mode":
		c.now.Mode = w[1]
	case "log-format":
		if len(w) > 2 {
			return fmt.Errorf("%s: log-format takes one word: put it in quotes, or a backslash before each blank", l.Where())
		}
		c.now.Format, c.now.Named, c.now.Source = w[1], "", l.Where()
	case "error-log-format":
		c.now.ErrorFormat = w[1]
	case "log-format-sd":
		c.now.StructuredData = w[1]
	case "unique-id-format":
		c.now.UniqueID = w[1]
	case "option":
		c.option(w, negated, l.Where())
	case "capture", "declare":
		c.capture(w)
	case "http-request", "tcp-request":
		c.captureRule(w)
	}
	return nil
}

// option reads the options that stand for a log-format. Taken back, the section
// has none.
func (c *formatOf) option(w []string, negated bool, source string) {
	name := w[1]
	switch {
	case name == "httplog" && slices.Contains(w[2:], "clf"):
		name = "clf"
	case name == "tcplog" && slices.Contains(w[2:], "clf"):
		name = "tcpclf"
	case name != "httplog" && name != "httpslog" && name != "tcplog":
		return
	}
	if !negated {
		c.now.Format, _ = Builtin(name)
		c.now.Named, c.now.Source = name, source
		return
	}
	if c.now.Named == name || c.now.Named == "clf" && name == "httplog" || c.now.Named == "tcpclf" && name == "tcplog" {
		c.now.Format, c.now.Named, c.now.Source = "", "", source
	}
}

// capture reads "capture request header NAME len N", "capture cookie NAME ..."
// and "declare capture request len N", which takes a place in %hr without a
// name.
func (c *formatOf) capture(w []string) {
	switch {
	case w[0] == "declare" && len(w) > 2 && w[1] == "capture":
		c.addCapture(w[2], "")
	case w[0] == "declare":
	case w[1] == "cookie" && len(w) > 2:
		c.now.Cookie = w[2]
	case len(w) > 3 && w[2] == "header":
		c.addCapture(w[1], w[3])
	}
}

// captureRule reads "http-request capture SAMPLE len N", which takes a place in
// %hr too.
func (c *formatOf) captureRule(w []string) {
	k := slices.Index(w, "capture")
	if k < 0 || k > 2 || k+3 >= len(w) {
		return
	}
	end := slices.Index(w[k:], "len")
	if end < 2 {
		return
	}
	s := parseSample(strings.Join(w[k+1:k+end], ""))
	name := ""
	switch s.fetch {
	case "req.hdr", "req.fhdr", "hdr", "fhdr":
		if len(s.args) > 0 && !s.transformed {
			name = s.args[0]
		}
	}
	c.addCapture("request", name)
}

func (c *formatOf) addCapture(side, name string) {
	switch side {
	case "request":
		c.now.RequestHeaders = append(c.now.RequestHeaders, name)
	case "response":
		c.now.ResponseHeaders = append(c.now.ResponseHeaders, name)
	}
}
