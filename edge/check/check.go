// Package check compares a haproxy.cfg and a policy with reality: is everything
// that the policy protects behind the gate, does something bypass or undo it,
// does haptrail hear of every request, and are files, keys and the running
// HAProxy what they should be.
//
//	haproxy.cfg --ingest/haproxycfg--> sections --+
//	policy ---------------------------------------+-> findings
//	DIR, live maps, keys' state, haproxy -c ------+
//
// It reads and reports; it changes nothing. It does not run the rules: it knows
// which keywords can open the gate, and says of what it cannot read (.if, Lua)
// that it did not.
package check

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/ingest/haproxycfg"
	"github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/runtimeapi"
)

// Input is what Check looks at. Files and Policy are needed; each other field
// adds the checks that it makes possible.
type Input struct {
	// Files are the files and folders that HAProxy is started with, in the order
	// of its -f options. Dir need not be among them: it is put before them.
	Files []string

	// Env looks up the environment variables of HAProxy; nil knows none.
	Env func(string) (string, bool)

	// Policy is what should be so, and PolicyFile its file's name for messages.
	Policy     *policy.Policy
	PolicyFile string

	// Dir is the folder of the rendered gate; "" when there is none to look at.
	// Base is its path as the configuration writes it, where that is another one
	// (a container's); "" is Dir itself.
	Dir, Base string

	// Render returns what Dir's files should hold: slash paths below Dir, and
	// their content. Nil: not compared.
	Render func() (map[string][]byte, error)

	// Listeners are the addresses at which haptrail receives logs, in its own
	// notation (tcp://127.0.0.1:5514, unixgram:///run/haptrail/log.sock). Empty:
	// only the policy's gate.log is known to lead to haptrail.
	Listeners []string

	// Live reads the running HAProxy's maps; nil: not compared.
	Live LiveMaps

	// Keys tells how the refreshing of each issuer's keys goes; nil: not checked.
	// MaxKeyAge is how long ago the last success may be, 24 hours by default.
	Keys      KeyStatus
	MaxKeyAge time.Duration

	// MasterSocket is the master CLI's address (HAProxy's -S), which no
	// configuration file names. "": unknown.
	MasterSocket string

	// HAProxy is the binary to ask; "" asks none.
	HAProxy string

	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// LiveMaps reads the maps of a running HAProxy; *runtimeapi.Client does.
type LiveMaps interface {
	// Map returns a map's entries in their order. id is the name of its file as
	// the configuration writes it.
	Map(ctx context.Context, id string) ([]runtimeapi.Entry, error)
}

// KeyStatus tells how the refreshing of keys goes; *keys.Store does.
type KeyStatus interface {
	// Status returns one entry for each issuer that was ever asked for keys.
	Status() []keys.IssuerStatus
}

// Check looks at everything that in allows and returns its findings: those about
// the configuration in the order of its files and lines, then the others. An
// error means that it could not look: a file is unreadable, or ctx ended.
//
// Files are opened by the names that the configuration gives them, relative
// ones below Dir: run it where HAProxy runs.
func Check(ctx context.Context, in Input) ([]Finding, error) {
	if in.Policy == nil || len(in.Files) == 0 && in.Dir == "" {
		return nil, errors.New("edge check needs a policy and at least one configuration file")
	}
	if in.Now == nil {
		in.Now = time.Now
	}
	if in.MaxKeyAge == 0 {
		in.MaxKeyAge = 24 * time.Hour
	}
	paths := in.Files
	if in.Dir != "" && !containsDir(paths, in.Dir) {
		paths = append([]string{in.Dir}, paths...)
	}
	sources, err := haproxycfg.Load(paths...)
	if err != nil {
		return nil, err
	}
	c := &checker{Input: in, paths: paths}
	c.policyWarnings()
	if c.readConfig(sources) {
		c.checkConfig()
	}
	if in.Dir != "" {
		c.checkDir(ctx)
	}
	c.checkKeyStatus()
	if in.HAProxy != "" {
		c.checkHAProxy(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("edge check: %w", err)
	}
	names := make([]string, 0, len(sources))
	for _, s := range sources {
		names = append(names, s.Name)
	}
	return sortFindings(c.found, names), nil
}

// containsDir tells whether HAProxy reads the folder already.
func containsDir(paths []string, dir string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		p = filepath.Clean(p)
		return p == filepath.Clean(dir) || filepath.Dir(p) == filepath.Clean(dir)
	})
}

// checker gathers findings.
type checker struct {
	Input
	paths []string // what HAProxy is started with
	found []Finding

	// Of the configuration; all empty when it cannot be read.
	cfg       *haproxycfg.Config
	formats   []logformat.ConfigFormat
	gate      *haproxycfg.Section
	variables map[string]bool // "txn.role": those that the gate sets
	gated     []*haproxycfg.Section
}

// place is where something stands; the zero place is HAProxy as a whole.
type place struct {
	file    string
	line    int
	section string
}

// at is the place of a section's line.
func at(s *haproxycfg.Section, l haproxycfg.Line) place {
	return place{file: l.File, line: l.Line, section: s.String()}
}

// head is the place of a section's opening.
func head(s *haproxycfg.Section) place {
	return place{file: s.File, line: s.Line, section: s.String()}
}

// add reports a finding. text may hold verbs of fmt, mend not.
func (c *checker) add(code string, p place, mend, text string, args ...any) {
	c.found = append(c.found, Finding{
		Severity: severityOf(code), Code: code, File: p.file, Line: p.line, Section: p.section,
		Text: fmt.Sprintf(text, args...), Mend: mend,
	})
}

func (c *checker) policyWarnings() {
	for _, w := range c.Policy.Warnings() {
		c.add("policy-warning", place{file: c.PolicyFile, line: w.Line}, "change the policy file", "%s", w.Text)
	}
}

// readConfig reads the configuration and finds the gate in it.
func (c *checker) readConfig(sources []haproxycfg.Source) bool {
	cfg, err := haproxycfg.Read(sources, logformat.KnownEnv(c.Env))
	var syntax *haproxycfg.SyntaxError
	if errors.As(err, &syntax) {
		mend := "mend the line; nothing of the configuration was checked"
		if strings.Contains(syntax.Text, `"`+gateName+`"`) {
			mend = "start HAProxy with the rendered folder before this file (haproxy -f DIR -f FILE), and give this command both"
		}
		c.add("config-unreadable", place{file: syntax.File, line: syntax.Line}, mend, "%s", syntax.Text)
		return false
	}
	for _, w := range cfg.Warnings {
		c.add("config-skipped", place{file: w.File, line: w.Line},
			"check by eye that what stands there goes through the gate, or write it without a condition", "%s", w.Text)
	}
	c.cfg = cfg
	c.formats, err = logformat.SectionFormats(cfg)
	if err != nil {
		p := place{}
		p.file, p.line, err = splitPlace(err)
		c.add("format-unreadable", p, "write the log-format as one word", "%s", err)
	}
	return true
}

// checkConfig looks at what the configuration's files say.
func (c *checker) checkConfig() {
	c.findGate()
	c.checkProtected()
	c.checkReach()
	for _, s := range c.gated {
		c.checkFrontend(s)
		c.checkLogs(s)
		c.checkFormat(s)
	}
	for _, s := range c.behind() {
		c.checkRules(s)
	}
	c.checkMapWrites()
	c.checkTuning()
	c.checkSockets()
}
