package check

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// haproxyTimeout is for one run of haproxy -vv or -c, which take milliseconds
// but resolve the names of servers.
const haproxyTimeout = 20 * time.Second

// checkHAProxy asks the binary what it is, and what it says to the files.
func (c *checker) checkHAProxy(ctx context.Context) {
	text, err := c.run(ctx, "-vv")
	if err != nil {
		c.add("haproxy-unknown", place{}, "name the binary that runs in production", "%s -vv: %s", c.HAProxy, err)
		return
	}
	first, _, _ := strings.Cut(text, "\n")
	version, err := runtimeapi.ParseVersion(first)
	if err != nil {
		c.add("haproxy-unknown", place{}, "name the binary that runs in production", "%s says %q: %s", c.HAProxy, first, err)
		return
	}
	c.checkBuild(text)
	c.checkVersion(version)
	args := []string{"-c"}
	for _, path := range c.paths {
		args = append(args, "-f", path)
	}
	if text, err := c.run(ctx, args...); err != nil {
		c.refusals(text, err)
	}
}

// run returns what the binary prints. The error is about the run alone.
func (c *checker) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, haproxyTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, c.HAProxy, args...)
	command.WaitDelay = time.Second
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	return out.String(), err
}

// alert is one of HAProxy's error messages, with its place when it has one.
var alert = regexp.MustCompile(`^\[ALERT\][^:]*: (?:config : )?(?:[Pp]arsing \[(.+):(\d+)\] ?: ?)?(.*)$`)

// refusals reports what HAProxy does not take.
func (c *checker) refusals(text string, err error) {
	const mend = "mend what HAProxy says; it does not start, and a reload keeps the old configuration"
	said := false
	for line := range strings.Lines(text) {
		m := alert.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || summary(m[3]) {
			continue
		}
		n, _ := strconv.Atoi(m[2]) // digits, or nothing
		c.add("haproxy-refuses", place{file: m[1], line: n}, mend, "%s", m[3])
		said = true
	}
	if !said {
		text = strings.TrimSpace(text)
		c.add("haproxy-refuses", place{}, mend, "%s", shorten(or(text, err.Error())))
	}
}

// summary tells whether the message only says that there were others.
func summary(text string) bool {
	return strings.HasPrefix(text, "Error(s) found in configuration file") ||
		strings.HasPrefix(text, "Fatal errors found in configuration") || strings.TrimSpace(text) == ""
}

// checkBuild looks at the feature list of haproxy -vv.
func (c *checker) checkBuild(text string) {
	features := make(map[string]bool)
	for line := range strings.Lines(text) {
		if list, ok := strings.CutPrefix(line, "Feature list :"); ok {
			for _, f := range strings.Fields(list) {
				features[f] = true
			}
		}
	}
	if len(features) == 0 {
		return // printed since 2.2: what has none is reported as too old
	}
	if !features["+PCRE"] && !features["+PCRE2"] && !features["+PCRE_JIT"] && !features["+PCRE2_JIT"] &&
		!features["+STATIC_PCRE"] && !features["+STATIC_PCRE2"] {
		c.add("haproxy-without-pcre", place{}, "install one that is built with USE_PCRE2=1, as those of the distributions are",
			`built without PCRE: \z, named groups and look-ahead of the gate's expressions have no meaning to it`)
	}
	if !features["+OPENSSL"] && !features["+OPENSSL_AWSLC"] && !features["+OPENSSL_WOLFSSL"] {
		c.add("haproxy-without-tls", place{}, "install one that is built with USE_OPENSSL=1, as those of the distributions are",
			"built without OpenSSL: there is no jwt_verify")
	}
}

// checkVersion knows the versions that do worse than others at a gate.
func (c *checker) checkVersion(v runtimeapi.Version) {
	if !v.AtLeast(2, 6) {
		c.add("haproxy-old", place{}, "install 2.6 or newer", "HAProxy %s: the gate needs 2.6 (rules in a named defaults section, jwt_verify)", v)
		return
	}
	exactly := func(major, minor, patch int) bool {
		return v.Compare(runtimeapi.Version{Major: major, Minor: minor, Patch: patch}) == 0
	}
	if exactly(3, 3, 0) {
		c.add("haproxy-miscounts", place{}, "install a later 3.3", "HAProxy %s logs the bytes of the request as those of the answer, and the reverse (HAProxy issue 3208)", v)
	}
	if exactly(3, 0, 0) {
		c.add("haproxy-ring-stalls", place{}, "install a later 3.0", "HAProxy %s: after haptrail was restarted, the ring was seen not to connect again, and to lose all that came", v)
	}
	if !v.AtLeast(3, 4) && c.usesES256() {
		c.add("haproxy-es256", place{}, "install a release that has HAProxy's commit 648b0e7be; until then, keep the gate's rule sig_length",
			"HAProxy %s may write beyond a buffer when it verifies an ES256 signature of some 21,800 characters; the gate refuses such tokens before", v)
	}
}

func (c *checker) usesES256() bool {
	for i := range c.Policy.Issuers {
		for _, algorithm := range c.Policy.Issuers[i].Algorithms {
			if strings.HasPrefix(algorithm, "ES") {
				return true
			}
		}
	}
	return false
}
