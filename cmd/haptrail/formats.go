package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/ingest"
	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/ingest/syslog"
)

// configuredFormats compiles the configuration's formats.
func configuredFormats(c config.Config) (ingest.Formats, error) {
	base, err := formatOptions(c, c.Zone)
	if err != nil {
		return ingest.Formats{}, err
	}
	var all formatList
	for i, f := range c.Formats {
		if err := all.add(f, base); err != nil {
			return ingest.Formats{}, fmt.Errorf("formats[%d]: %w", i, err)
		}
	}
	return all.formats(base.Zone), nil
}

// formatOptions are the settings that all formats share.
func formatOptions(c config.Config, zone string) (lf.Options, error) {
	if zone == "" {
		zone = c.Zone
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return lf.Options{}, fmt.Errorf("zone: %q is no time zone: write an IANA name such as UTC or Europe/Berlin", zone)
	}
	options := lf.Options{Zone: location, Vars: map[string]lf.Field{}}
	for name, field := range c.Vars {
		f, ok := lf.FieldByName(field)
		if !ok {
			return lf.Options{}, fmt.Errorf("vars.%s: %q is no field: see docs/log-format.md for their names", name, field)
		}
		options.Vars[name] = f
	}
	return options, nil
}

// formatList gathers compiled formats.
type formatList struct {
	named             []lf.Named
	request, response []string // captured headers, of the formats that know theirs
	warnings          []string // about a haproxy.cfg
}

// add compiles one format of the configuration, and its error format.
func (l *formatList) add(f config.Format, base lf.Options) error {
	if len(f.RequestHeaders)+len(f.ResponseHeaders) > 0 {
		base.RequestHeaders, base.ResponseHeaders = f.RequestHeaders, f.ResponseHeaders
	}
	switch {
	case f.HAProxyCfg != "":
		return l.addConfig(f, base)
	case f.LogFormat != "":
		name := f.Name
		if name == "" {
			name = "log_format"
		}
		return l.compile(name, f.LogFormat, base)
	}
	text, ok := lf.Builtin(f.Name)
	if !ok {
		return fmt.Errorf("%q is no built-in format: use haptrail, httplog, httpslog, tcplog, clf or tcpclf, or give log_format", f.Name)
	}
	return l.compile(f.Name, text, base)
}

func (l *formatList) compile(name, text string, options lf.Options) error {
	format, err := lf.Compile(text, options)
	if err != nil {
		return fmt.Errorf("format %s: %w", name, err)
	}
	l.named = append(l.named, lf.Named{Name: name, Format: format})
	l.request = longer(l.request, options.RequestHeaders)
	l.response = longer(l.response, options.ResponseHeaders)
	return nil
}

// longer joins what two formats know about captured headers: a slot that holds
// a credential in either must not be stored.
func longer(a, b []string) []string {
	joined := slices.Clone(a)
	for i, name := range b {
		if i >= len(joined) {
			joined = append(joined, name)
		} else if joined[i] != name {
			joined[i] += "," + name
		}
	}
	return joined
}

// addConfig takes the formats of a frontend out of a haproxy.cfg: of its
// requests, its errors, and its structured data.
func (l *formatList) addConfig(f config.Format, base lf.Options) error {
	file, err := os.Open(f.HAProxyCfg)
	if err != nil {
		return err
	}
	defer file.Close()
	c, err := lf.FromConfig(file, f.HAProxyCfg, f.Frontend, os.LookupEnv)
	if err != nil {
		return err
	}
	name := f.Name
	if name == "" {
		name = c.Frontend
	}
	l.warnings = append(l.warnings, c.Warnings...)
	options := c.Options(base)
	for _, part := range []struct{ suffix, text string }{
		{"", c.Format}, {"-error", c.ErrorFormat}, {"-sd", c.StructuredData},
	} {
		if part.text == "" || (part.suffix != "" && part.text == c.Format) {
			continue
		}
		if err := l.compile(name+part.suffix, part.text, options); err != nil {
			return fmt.Errorf("%s: %w", c.Source, err)
		}
	}
	return nil
}

func (l *formatList) formats(zone *time.Location) ingest.Formats {
	return ingest.Formats{Set: lf.NewSet(l.named...), Zone: zone, RequestHeaders: l.request, ResponseHeaders: l.response}
}

// importFormats are the formats of an import.
type importFormats struct {
	ingest.Formats
	names []string
}

// headLines is how many first lines of each file a format is recognised by.
const headLines = 200

// formats are those that the flags name, else those of the first lines.
func (c *importCmd) formats(cfg config.Config, files []*ingest.LogFile) (importFormats, error) {
	base, err := formatOptions(cfg, c.Zone)
	if err != nil {
		return importFormats{}, usageError{err}
	}
	var list formatList
	switch {
	case c.Format != "" && c.HAProxyCfg != "":
		return importFormats{}, usageError{errors.New("--format and --haproxy-cfg exclude each other")}
	case c.Frontend != "" && c.HAProxyCfg == "":
		return importFormats{}, usageError{errors.New("--frontend needs --haproxy-cfg")}
	case c.HAProxyCfg != "":
		err = list.add(config.Format{HAProxyCfg: c.HAProxyCfg, Frontend: c.Frontend}, base)
	case strings.Contains(c.Format, "%"):
		err = list.add(config.Format{Name: "--format", LogFormat: c.Format}, base)
	case c.Format != "":
		err = list.add(config.Format{Name: c.Format}, base)
	default:
		return c.detect(base, files)
	}
	if err != nil {
		return importFormats{}, err
	}
	f := importFormats{Formats: list.formats(base.Zone)}
	f.names = f.Set.Names()
	return f, nil
}

func (c *importCmd) detect(base lf.Options, files []*ingest.LogFile) (importFormats, error) {
	var heads [][]byte
	var m syslog.Message
	for _, file := range files {
		for _, line := range file.Head(headLines) {
			syslog.ParseHeader(line, time.Now(), base.Zone, &m)
			heads = append(heads, slices.Clone(m.Text))
		}
	}
	if len(heads) == 0 {
		list := formatList{}
		err := list.add(config.Format{Name: "httplog"}, base)
		return importFormats{Formats: list.formats(base.Zone)}, err
	}
	set, matched, err := lf.Detect(heads, base)
	if err != nil {
		return importFormats{}, hint(err, "name the format: --format 'LOG-FORMAT STRING', or --haproxy-cfg FILE --frontend NAME")
	}
	f := importFormats{Formats: ingest.Formats{Set: set, Zone: base.Zone}}
	f.names = set.Names()[:matched]
	return f, nil
}
