package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/edge/policy"
	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/ingest/syslog"
	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/schema"
)

type checkCmd struct {
	where
	Format  string `placeholder:"FORMAT" help:"Check only this log-format string, or built-in format, and explain it."`
	Explain bool   `help:"Say of each format which item fills which field."`
}

// Run looks at one thing after another and says of each whether it is well,
// and else what mends it. It ends with exit code 1 when something is not.
func (c *checkCmd) Run(ctx context.Context, s streams) error {
	r := &report{w: s.out, explain: c.Explain || c.Format != ""}
	cfg, err := c.load()
	r.add("configuration", err, "")
	if err != nil {
		return r.result()
	}
	if c.Format != "" {
		cfg.Formats = []config.Format{{Name: c.Format}}
		if strings.Contains(c.Format, "%") {
			cfg.Formats = []config.Format{{Name: "--format", LogFormat: c.Format}}
		}
		checkFormats(r, cfg)
		return r.result()
	}
	checkFormats(r, cfg)
	checkListeners(r, cfg)
	checkEngineUsers(r, cfg)
	checkEdge(ctx, r, cfg.Edge)
	checkCI(ctx, r, cfg)
	checkBursts(ctx, r, cfg)
	checkAlerts(ctx, r, &cfg.Alerts)
	checkState(r, cfg)
	if dsn, err := schema.ParseDSN(cfg.DSN); err == nil && cfg.Retention > 0 && dsn.Server != nil {
		r.warn("retention", "is for embedded engines: on a server the owner of the tables sets their TTL")
	}
	checkTables(ctx, r, c)
	return r.result()
}

// report prints findings.
type report struct {
	w       io.Writer
	explain bool
	faults  int
}

// add prints that something is well, or how it fails.
func (r *report) add(what string, err error, detail string) {
	if err == nil {
		r.line("ok", what, detail)
		return
	}
	r.faults++
	r.line("FAULT", what, err.Error())
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		fmt.Fprintf(r.w, "       hint: %s\n", hinted.Hint())
	}
}

func (r *report) warn(what, detail string) { r.line("warn", what, detail) }

func (r *report) line(verdict, what, detail string) {
	if detail != "" {
		detail = ": " + strings.ReplaceAll(detail, "\n", "\n       ")
	}
	fmt.Fprintf(r.w, "%-5s  %s%s\n", verdict, what, detail)
}

func (r *report) result() error {
	if r.faults > 0 {
		return errFaults
	}
	return nil
}

// checkFormats compiles every format by itself and shows what the compiler
// warns of.
func checkFormats(r *report, cfg config.Config) {
	base, err := formatOptions(cfg, cfg.Zone)
	if err != nil {
		r.add("zone, vars", err, "")
		return
	}
	for i, f := range cfg.Formats {
		var list formatList
		what := fmt.Sprintf("formats[%d] %s", i, f.Name)
		if err := list.add(f, base); err != nil {
			r.add(what, err, "")
			continue
		}
		r.add(what, nil, "")
		for _, warning := range list.warnings {
			r.warn(what, warning)
		}
		for _, n := range list.named {
			if r.explain {
				r.line("", n.Name, "\n"+strings.TrimSpace(n.Format.Explain()))
			}
			builtIn := f.LogFormat == "" && f.HAProxyCfg == ""
			for _, d := range n.Format.Diagnostics() {
				if d.Severity >= lf.Warning && (!builtIn || r.explain) { // nobody can mend a built-in
					r.warn(n.Name, d.String())
				}
			}
		}
	}
}

// checkListeners binds what can be bound. An address in use is well when a
// daemon of this configuration runs, which answers on its operations endpoint.
func checkListeners(r *report, cfg config.Config) {
	if len(cfg.Listeners) == 0 {
		r.add("listeners", hint(errors.New("none are configured, so nothing could be received"),
			`listeners: [{name: edge, address: "tcp://127.0.0.1:5514"}]`), "")
	}
	running := answers(cfg.HTTP)
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		what := "listener " + l.Name
		sc, err := l.Syslog()
		if err != nil {
			r.add(what, err, "")
			continue
		}
		if running {
			r.add(what, nil, sc.Address+", held by the running daemon")
			continue
		}
		listener, err := syslog.Listen(sc, syslog.Deps{})
		r.add(what, err, sc.Address+" can be bound")
		if err == nil {
			_ = listener.Close() // nothing was received
		}
	}
}

// answers tells whether something listens on the operations endpoint.
func answers(address string) bool {
	if address == "off" {
		return false
	}
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func checkEngineUsers(r *report, cfg config.Config) {
	if cfg.Engine.HTTP == nil {
		return
	}
	for i := range cfg.Engine.HTTP.Users {
		_, err := cfg.Engine.HTTP.Users[i].Password()
		r.add("engine.http user "+cfg.Engine.HTTP.Users[i].Name, err, "")
	}
}

// checkEdge looks at the gate as far as the daemon needs it; the gate itself is
// the business of edge check.
func checkEdge(ctx context.Context, r *report, e *config.Edge) {
	if e == nil {
		return
	}
	p, err := policy.Load(e.Policy)
	r.add("edge.policy", err, e.Policy)
	if err == nil {
		for _, w := range p.Warnings() {
			r.warn("edge.policy", fmt.Sprintf("line %d: %s", w.Line, w.Text))
		}
	}
	for i, address := range e.Sockets {
		what := fmt.Sprintf("edge.sockets[%d]", i)
		client, err := runtimeapi.New(address, runtimeapi.Options{})
		if err != nil {
			r.add(what, err, "")
			continue
		}
		version, err := client.Version(ctx)
		r.add(what, err, "HAProxy "+version.String())
	}
	if e.Master == "" {
		r.warn("edge.master", "is not set: a new key waits for your reload of HAProxy")
		return
	}
	master, err := runtimeapi.NewMaster(e.Master, runtimeapi.Options{})
	if err == nil {
		_, err = master.Procs(ctx)
	}
	r.add("edge.master", err, e.Master)
}

// maxClockSkew is how far the engine's clock may be from ours.
const maxClockSkew = 2 * time.Second

func checkTables(ctx context.Context, r *report, c *checkCmd) {
	store, err := c.open(ctx, false)
	if errors.Is(err, fs.ErrNotExist) {
		r.warn("engine", err.Error()+"; serve and import make it")
		return
	}
	if errors.Is(err, schema.ErrNotMigrated) {
		r.add("tables", err, "")
		return
	}
	if err != nil {
		r.add("engine", err, "")
		return
	}
	defer store.Close()
	r.add("engine", nil, store.DSN().String())
	r.add("tables", nil, "up to date")
	asked := time.Now()
	var theirs time.Time
	if err := store.Conn().QueryRow(ctx, "SELECT now64(3, 'UTC')").Scan(&theirs); err != nil {
		r.add("clock", err, "")
		return
	}
	ours := asked.Add(time.Since(asked) / 2)
	if skew := theirs.Sub(ours).Abs(); skew > maxClockSkew {
		r.add("clock", hint(fmt.Errorf("the engine's clock is %s away from this machine's", skew), "synchronise both by NTP"), "")
		return
	}
	r.add("clock", nil, "the engine's agrees with this machine's")
}
