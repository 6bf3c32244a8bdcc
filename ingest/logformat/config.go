package logformat

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
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
	cfg, err := haproxycfg.Read([]haproxycfg.Source{{Name: file, Text: text}}, KnownEnv(env))
	if err != nil {
		return nil, err
	}
	return SectionFormats(cfg)
}

// KnownEnv adds to an environment (nil knows nothing) the variables that
// HAProxy sets itself while it reads its configuration: HAPROXY_HTTP_LOG_FMT
// and its siblings (configuration manual, section 2.3).
func KnownEnv(env func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch name {
		case "HAPROXY_HTTP_LOG_FMT":
			return httplog, true
		case "HAPROXY_HTTP_CLF_LOG_FMT":
			return clf, true
		case "HAPROXY_HTTPS_LOG_FMT":
			return httpslog, true
		case "HAPROXY_TCP_LOG_FMT":
			return tcplog, true
		case "HAPROXY_TCP_CLF_LOG_FMT":
			return tcpclf, true
		}
		if env == nil {
			return "", false
		}
		return env(name)
	}
}

// SectionFormats is ConfigFormats for a configuration that has been read, of
// one file or of several.
func SectionFormats(cfg *haproxycfg.Config) ([]ConfigFormat, error) {
	var all []ConfigFormat
	known := make(map[*haproxycfg.Section]ConfigFormat)
	for i, s := range cfg.Sections {
		if s.Kind != "defaults" && s.Kind != "frontend" && s.Kind != "listen" {
			continue
		}
		b := formatOf{section: s, now: known[s.Base]}
		if err := b.read(); err != nil {
			return nil, err
		}
		if s.Kind == "defaults" {
			known[s] = b.now
			continue
		}
		b.now.Warnings = append(warningsFor(cfg, i), b.settle()...)
		all = append(all, b.now)
	}
	return all, nil
}

// warningsFor lists what was passed over in the section at index i, and before
// it in what is neither frontend nor listen, which may reach into it.
func warningsFor(cfg *haproxycfg.Config, i int) []string {
	var outside, inside []string
	for _, w := range cfg.Warnings {
		switch {
		case w.Section == i:
			inside = append(inside, w.String())
		case w.Section > i:
		case w.Section >= 0 && (cfg.Sections[w.Section].Kind == "frontend" || cfg.Sections[w.Section].Kind == "listen"):
		default:
			outside = append(outside, w.String())
		}
	}
	return append(outside, inside...)
}

// formatOf gathers what one section says about its log lines.
type formatOf struct {
	section *haproxycfg.Section
	now     ConfigFormat // at first what its defaults say
}

func (c *formatOf) read() error {
	c.now.Frontend, c.now.Section, c.now.Warnings = c.section.Name, c.section.Kind, nil
	c.now.RequestHeaders, c.now.ResponseHeaders = []string{}, []string{}
	if c.now.Format == "" {
		c.now.Source = c.section.Where()
	}
	for _, l := range c.section.Lines {
		if err := c.keyword(l); err != nil {
			return err
		}
	}
	return nil
}

// settle applies what HAProxy decides at a section's end: in mode tcp, HTTP
// formats give way to tcplog.
func (c *formatOf) settle() (warnings []string) {
	if c.now.Mode == "" {
		c.now.Mode = "tcp"
	}
	if c.now.Mode == "tcp" && (c.now.Named == "httplog" || c.now.Named == "httpslog" || c.now.Named == "clf") {
		warnings = append(warnings, fmt.Sprintf("%s: %s is in mode tcp, where HAProxy uses option tcplog instead of option %s",
			c.now.Source, c.section, c.now.Named))
		c.now.Format, c.now.Named = tcplog, "tcplog"
	}
	return warnings
}
