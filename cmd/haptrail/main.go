// Command haptrail keeps the audit trail of an identity-aware HAProxy: which
// build agent touched which endpoint, on whose commit, and was it allowed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli are the commands. Each has a file of its own.
type cli struct {
	Serve    serveCmd    `cmd:"" help:"Run the daemon: receive logs and CI webhooks, store them, judge them, answer queries."`
	Demo     demoCmd     `cmd:"" help:"Play the whole thing on this machine: HAProxy, CI jobs, haptrail."`
	Import   importCmd   `cmd:"" help:"Read log files (or - for stdin), CI runs and commits into the tables."`
	Trail    trailCmd    `cmd:"" help:"Show who touched what, from which run and commit, allowed or denied."`
	Bursts   burstsCmd   `cmd:"" help:"Show who suddenly did far more than usual, and why that is too much; follow, explain, announce load, calibrate."`
	Alerts   alertsCmd   `cmd:"" help:"Show of what people on call were told; silence alerts, try the channels."`
	Findings findingsCmd `cmd:"" help:"Show what a person should look at: stolen tokens, unreviewed deploys, unowned accounts."`
	Edge     edgeCmd     `cmd:"" help:"Make HAProxy's gate from a policy, keep its keys fresh, check it."`
	Query    queryCmd    `cmd:"" help:"Run a read-only SQL query over the tables."`
	Schema   schemaCmd   `cmd:"" help:"Print or apply the tables' statements."`
	Check    checkCmd    `cmd:"" help:"Compare the configuration with the world around it: ports, secrets, HAProxys, CI servers, receivers of alerts, clocks, tables."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// Exit codes: 0 all is well, 1 the command failed or found faults, 2 it was
// called wrongly.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func execute(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	exited := -1
	parser, err := kong.New(&cli{},
		kong.Name("haptrail"),
		kong.Description("The audit trail of an identity-aware HAProxy."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(out, errOut),
		kong.Exit(func(code int) { exited = code }),
		kong.Vars{"default_config": defaultConfig},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(streams{in, out, errOut}),
	)
	if err != nil {
		return fail(errOut, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintf(errOut, "error: %s\n", err)
		fmt.Fprintf(errOut, "hint: %s\n", usageHint(err))
		return exitUsage
	}
	if err := command.Run(); err != nil {
		return fail(errOut, err)
	}
	return 0
}

func usageHint(err error) string {
	name := "haptrail"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		name = parse.Context.Selected().FullPath()
	}
	return name + " --help"
}

// errFaults ends a command whose findings are already printed.
var errFaults = errors.New("faults were found")

// usageError is a wrong use that the parser could not see.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func fail(w io.Writer, err error) int {
	if errors.Is(err, errFaults) {
		return exitFailed
	}
	if errors.Is(err, syscall.EPIPE) { // the reader, such as head, has seen enough
		return 0
	}
	fmt.Fprintf(w, "error: %s\n", err)
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		fmt.Fprintf(w, "hint: %s\n", hinted.Hint())
	}
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}
