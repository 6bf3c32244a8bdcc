// Command world is the demo's traffic for docker-compose.yml: it renders the gate
// with the issuers' public keys into a shared folder, serves the issuers and the
// application, plays the CI jobs once the gate is there, has their CI servers send
// webhooks, and keeps a light trickle going. On one machine "haptrail demo" does all
// of it, HAProxy included.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/haptrail/haptrail/deploy/demo"
	"github.com/haptrail/haptrail/runtimeapi"
)

// gateTimeout is how long the gate may take to come up.
const gateTimeout = 2 * time.Minute

func main() {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	options := demo.Options{
		Logger:   logger,
		Progress: func(step string) { logger.Info(step) },
	}
	flag.StringVar(&options.Dir, "dir", "/world", "`directory` for policy.yaml, the webhooks' secrets, and the file ready")
	flag.StringVar(&options.Edge, "edge", "/edge", "`directory` for the gate's files, which HAProxy reads")
	flag.StringVar(&options.EdgeBase, "base", "", "that directory's `path` as HAProxy sees it (default: the same)")
	flag.Func("haproxy", "the HAProxy `version` to render for (default 2.6, which newer ones take too)", func(text string) (err error) {
		options.Version, err = runtimeapi.ParseVersion(text)
		return err
	})
	flag.StringVar(&options.Gate, "gate", "http://haproxy:8080", "`URL` of the gate")
	flag.StringVar(&options.Webhooks, "webhooks", "", "`URL` of haptrail's webhooks (default: none are sent)")
	flag.StringVar(&options.IssuerURL, "issuer", "https://ci.example.test", "base `URL` of the issuers, as in policy.yaml")
	flag.StringVar(&options.IssuerListen, "listen-issuer", ":9000", "`address` of the issuers")
	flag.StringVar(&options.BackendListen, "listen-app", ":9001", "`address` of the application")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, options, logger)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, options demo.Options, logger *slog.Logger) error {
	starting, cancel := context.WithTimeout(ctx, gateTimeout)
	defer cancel()
	// Its API is for this container's loopback alone: without a certificate nobody
	// else should send credentials there. haptrail reads the webhooks' secrets as
	// another user.
	servers, err := demo.StartCI(demo.CIOptions{Dir: options.Dir, SecretMode: 0o644, Logger: logger})
	if err != nil {
		return err
	}
	options.CI = servers
	w, err := demo.Start(starting, options)
	if err != nil {
		return errors.Join(err, servers.Close())
	}
	defer servers.Close() // nothing is written there
	summary, err := w.Run(ctx)
	err = errors.Join(err, w.TellLate(ctx, &summary))
	switch {
	case ctx.Err() != nil:
		return w.Close() // asked to stop: what is missing is no fault
	case err != nil: // shown, and no reason to stop: the rest can still be explored
		logger.Error("some answers were not the expected ones", "error", err)
	}
	logger.Info("the script is over", "requests", summary.Requests, "allowed", summary.Allowed, "denied", summary.Denied)
	w.Idle(ctx)
	return w.Close()
}
