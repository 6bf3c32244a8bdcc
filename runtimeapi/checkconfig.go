package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// CheckConfig runs "haproxy -c" on files and folders, in the order given, as a
// reload would read them. binary is HAProxy's path; "" searches PATH. An error
// carries HAProxy's alerts, with file and line; warnings are no error. The
// environment is this process's: a configuration that uses variables must find
// the same ones here as in HAProxy's service. HAProxy 2.6 does not notice the
// missing file of a public key that only a variable names.
func CheckConfig(ctx context.Context, binary string, files ...string) error {
	if len(files) == 0 {
		return errors.New("haproxy -c: no configuration file is given")
	}
	if binary == "" {
		binary = "haproxy"
	}
	args := []string{"-c"}
	for _, f := range files {
		args = append(args, "-f", f)
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("haproxy -c -f %s: %w", strings.Join(files, " -f "), ctx.Err())
	case !errors.As(err, &exit):
		return fmt.Errorf("haproxy -c: %w; install HAProxy, or name its binary", err)
	}
	why := alerts(string(out))
	if why == "" {
		why = words(string(out))
	}
	return fmt.Errorf("haproxy -c -f %s: the configuration is refused (%v): %s", strings.Join(files, " -f "), exit, why)
}

// alertLine is a message of HAProxy's start-up: level, time of day or process, text.
var alertLine = regexp.MustCompile(`(?m)^\[ALERT\] *(?:[0-9/]+ )?\([0-9]+\) : (.*)$`)

// alerts are the messages of level ALERT, on one line. The others repeat the
// version and the path at each start.
func alerts(output string) string {
	var texts []string
	for _, m := range alertLine.FindAllStringSubmatch(output, -1) {
		texts = append(texts, strings.TrimSpace(m[1]))
	}
	return words(strings.Join(texts, "; "))
}
