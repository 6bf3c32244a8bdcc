package logformat

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// ConfigFormat is what a haproxy.cfg says about the log lines of one frontend
// or listen section.
type ConfigFormat struct {
	Frontend string // the section's name
	Section  string // "frontend" or "listen"
	Mode     string // "http" or "tcp"

	// Format is the log-format string, "" when the section has none: HAProxy
	// writes "Connect from ..." lines then. Named is the name of the built-in
	// format when it comes from an option, and Source the line it comes from.
	Format string
	Named  string
	Source string

	ErrorFormat    string // error-log-format, "" for HAProxy's own
	StructuredData string // log-format-sd
	UniqueID       string // unique-id-format

	// RequestHeaders and ResponseHeaders are the captured headers in order,
	// never nil. A capture that is no header has the name "".
	RequestHeaders, ResponseHeaders []string
	Cookie                          string // capture cookie

	Warnings []string // what the reader passed over, as "file:line: text"
}

// Options is base with the captured headers of the section.
func (c ConfigFormat) Options(base Options) Options {
	base.RequestHeaders, base.ResponseHeaders = c.RequestHeaders, c.ResponseHeaders
	return base
}

// FromConfig takes the log-format of a frontend or listen section out of a
// haproxy.cfg. file is its name for messages. An empty frontend means the only
// one there is. env looks up environment variables; nil knows none. Variables
// that the configuration itself sets (setenv, presetenv) and HAPROXY_HTTP_LOG_FMT
// and its siblings are known in any case.
func FromConfig(r io.Reader, file, frontend string, env func(string) (string, bool)) (ConfigFormat, error) {
	all, err := ConfigFormats(r, file, env)
	if err != nil {
		return ConfigFormat{}, err
	}
	names := make([]string, 0, len(all))
	for _, c := range all {
		names = append(names, c.Frontend)
	}
	found := -1
	switch {
	case len(all) == 0:
		return ConfigFormat{}, fmt.Errorf("%s: no frontend or listen section", file)
	case frontend == "" && len(all) == 1:
		found = 0
	case frontend == "":
		return ConfigFormat{}, fmt.Errorf("%s: several frontends, name one of: %s", file, strings.Join(names, ", "))
	default:
		found = slices.Index(names, frontend)
	}
	if found < 0 {
		return ConfigFormat{}, fmt.Errorf("%s: no frontend %q, there are: %s", file, frontend, strings.Join(names, ", "))
	}
	c := all[found]
	if c.Format == "" {
		return c, fmt.Errorf("%s: %s %s has no log-format: add \"option %s\" or a log-format to it",
			c.Source, c.Section, c.Frontend, map[bool]string{true: "tcplog", false: "httplog"}[c.Mode == "tcp"])
	}
	return c, nil
}

// ConfigFormats lists all frontend and listen sections of a haproxy.cfg, in
// their order, with their log-formats. See FromConfig.
func ConfigFormats(r io.Reader, file string, env func(string) (string, bool)) ([]ConfigFormat, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c := config{file: file, outer: env, own: make(map[string]string), named: make(map[string]ConfigFormat)}
	for n, format := range map[string]string{
		"HAPROXY_HTTP_LOG_FMT": httplog, "HAPROXY_HTTP_CLF_LOG_FMT": clf, "HAPROXY_HTTPS_LOG_FMT": httpslog,
		"HAPROXY_TCP_LOG_FMT": tcplog, "HAPROXY_TCP_CLF_LOG_FMT": tcpclf,
	} {
		c.own[n] = format
	}
	c.open("", ConfigFormat{})
	for i, line := range strings.Split(string(text), "\n") {
		c.line = i + 1
		if err := c.read(line); err != nil {
			return nil, err
		}
	}
	c.close()
	if c.depth > 0 {
		return nil, fmt.Errorf("%s: a .if has no .endif", file)
	}
	return c.done, nil
}

// config reads a haproxy.cfg line by line.
type config struct {
	file  string
	line  int
	outer func(string) (string, bool)
	own   map[string]string // set by the configuration itself
	unset map[string]bool

	kind     string       // section that is being read: "frontend", "listen", "defaults", "global", or ""
	now      ConfigFormat // what it has so far
	defaults ConfigFormat // the last defaults section
	name     string       // of the defaults section that is being read
	named    map[string]ConfigFormat
	done     []ConfigFormat
	warnings []string // about what stands outside of the frontends
	depth    int      // of .if
}

func (c *config) where() string { return fmt.Sprintf("%s:%d", c.file, c.line) }

func (c *config) fail(text string, args ...any) error {
	return fmt.Errorf("%s: %s", c.where(), fmt.Sprintf(text, args...))
}

func (c *config) warn(text string, args ...any) {
	text = c.where() + ": " + fmt.Sprintf(text, args...)
	if c.kind == "frontend" || c.kind == "listen" {
		c.now.Warnings = append(c.now.Warnings, text)
		return
	}
	c.warnings = append(c.warnings, text)
}

func (c *config) env(name string) (string, bool) {
	if v, ok := c.own[name]; ok {
		return v, true
	}
	if c.outer == nil || c.unset[name] {
		return "", false
	}
	return c.outer(name)
}

func (c *config) read(line string) error {
	w, err := splitWords(line, c.env)
	if err != nil {
		return c.fail("%s", err)
	}
	if len(w) == 0 {
		return nil
	}
	if skip := c.condition(w[0]); skip {
		return nil
	}
	switch w[0] {
	case "frontend", "listen", "defaults":
		return c.section(w)
	case "global", "backend", "peers", "resolvers", "userlist", "ring", "program", "cache", "mailers", "http-errors",
		"fcgi-app", "log-forward", "log-profile", "crt-store", "traces", "acme":
		c.close()
		c.open(w[0], ConfigFormat{})
		return nil
	}
	switch c.kind {
	case "global":
		c.environment(w)
	case "frontend", "listen", "defaults":
		return c.keyword(w)
	}
	return nil
}

// condition passes over what stands between .if and .endif: whether it applies
// depends on the HAProxy that reads it.
func (c *config) condition(word string) (skip bool) {
	switch word {
	case ".if":
		c.depth++
		c.warn("what is between .if and .endif is not read")
		return true
	case ".endif":
		c.depth = max(c.depth-1, 0)
		return true
	}
	return c.depth > 0 || strings.HasPrefix(word, ".")
}

// environment reads setenv, presetenv, unsetenv and resetenv.
func (c *config) environment(w []string) {
	switch {
	case w[0] == "setenv" && len(w) > 2:
		c.own[w[1]] = w[2]
	case w[0] == "presetenv" && len(w) > 2:
		if _, ok := c.env(w[1]); !ok {
			c.own[w[1]] = w[2]
		}
	case w[0] == "unsetenv" || w[0] == "resetenv":
		if w[0] == "resetenv" {
			keep := w[1:]
			outer := c.outer
			c.outer = func(name string) (string, bool) {
				if outer == nil || !slices.Contains(keep, name) {
					return "", false
				}
				return outer(name)
			}
			return
		}
		for _, name := range w[1:] {
			delete(c.own, name)
			if c.unset == nil {
				c.unset = make(map[string]bool)
			}
			c.unset[name] = true
		}
	}
}

// section begins a defaults, frontend or listen section. It inherits from the
// named defaults section, or from the last one before it.
func (c *config) section(w []string) error {
	c.close()
	from := c.defaults
	name, rest := "", w[1:]
	if len(rest) > 0 && (w[0] != "defaults" || rest[0] != "from") {
		name, rest = rest[0], rest[1:]
	}
	if w[0] != "defaults" && name == "" {
		return c.fail("the %s section has no name", w[0])
	}
	if w[0] == "defaults" {
		from = ConfigFormat{}
	}
	if k := slices.Index(rest, "from"); k >= 0 {
		if k+1 == len(rest) {
			return c.fail(`"from" is not followed by the name of a defaults section`)
		}
		var ok bool
		if from, ok = c.named[rest[k+1]]; !ok {
			return c.fail("there is no defaults section %q before this one", rest[k+1])
		}
	}
	from.Frontend, from.Section, from.Warnings = name, w[0], nil
	from.RequestHeaders, from.ResponseHeaders = []string{}, []string{}
	if from.Format == "" {
		from.Source = c.where()
	}
	c.open(w[0], from)
	c.name = name
	return nil
}

func (c *config) open(kind string, from ConfigFormat) { c.kind, c.now = kind, from }

// close ends the section that is being read.
func (c *config) close() {
	switch c.kind {
	case "defaults":
		c.defaults = c.now
		if c.name != "" {
			c.named[c.name] = c.now
		}
	case "frontend", "listen":
		c.settle()
		c.now.Warnings = slices.Concat(c.warnings, c.now.Warnings)
		c.done = append(c.done, c.now)
	}
	c.kind = ""
}

// settle applies what HAProxy decides at a section's end: in mode tcp, HTTP
// formats give way to tcplog.
func (c *config) settle() {
	if c.now.Mode == "" {
		c.now.Mode = "tcp"
	}
	if c.now.Mode == "tcp" && (c.now.Named == "httplog" || c.now.Named == "httpslog" || c.now.Named == "clf") {
		c.warn("%s %s is in mode tcp, where HAProxy uses option tcplog instead of option %s",
			c.now.Section, c.now.Frontend, c.now.Named)
		c.now.Format, c.now.Named = tcplog, "tcplog"
	}
}
