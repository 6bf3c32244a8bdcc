package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/cmd/haptrail/judge"
	"github.com/haptrail/haptrail/ingest"
	"github.com/haptrail/haptrail/ingest/syslog"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/embedded"
)

type serveCmd struct {
	where
}

func (c *serveCmd) Run(ctx context.Context, s streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log, level := newLogger(cfg.Log, s.err)
	d := &server{cfg: cfg, log: log, level: level, reload: c.load}
	return d.run(ctx)
}

// gcPercent keeps the daemon small: its heap is a few large blocks, so that
// collecting more often costs little (bench/run measures with it).
const gcPercent = 40

// server is the running daemon.
//
//	listeners --> pipeline --> store (engine) <-- engine endpoints: unix socket, loopback
//	    |             |           ^
//	    |             |           '--- ciFeed <-- CI servers: webhooks, polls
//	    |             |--> gatekeeper --> issuers' keys, HAProxy
//	    |             '--> bursts <-- HAProxys' stick tables; judge's findings
//	    |                    '--> Alertmanager, PagerDuty, Slack, webhooks
//	    +-------------+-----------+----------> operations: /healthz /readyz /metrics
//
// All ports are bound before anything runs; the first part to end stops all;
// then, in this order: listeners hand over what they had received and webhooks
// that have begun are answered, the pipeline stores what it has, the engine closes.
type server struct {
	cfg    config.Config
	log    *slog.Logger
	level  *slog.LevelVar
	reload func() (config.Config, error)

	registry  *prometheus.Registry
	store     *schema.Store
	pipeline  *ingest.Pipeline
	gate      *gatekeeper // nil where no gate is configured
	ci        *ciFeed     // nil where no CI server is configured
	judge     *judge.Judge
	bursts    *bursts
	listeners []*syslog.Listener
	endpoints []*embedded.Server
	ops       net.Listener // nil when off

	ready    func()          // called when everything runs; for tests and the demo
	ciCalls  config.Calls    // how CI servers are called; for tests
	proxied  <-chan struct{} // stick tables are read when it is closed; nil: at once. For the demo, whose HAProxy starts later
	cleanups []cleanup
}

type cleanup struct {
	name string
	stop func() error
}

func (d *server) onStop(name string, stop func() error) {
	d.cleanups = append(d.cleanups, cleanup{name, stop})
}

// stop runs the cleanups, last first, and joins their errors.
func (d *server) stop(err error) error {
	for i := len(d.cleanups) - 1; i >= 0; i-- {
		c := d.cleanups[i]
		start := time.Now()
		if stopErr := c.stop(); stopErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", c.name, stopErr))
		}
		d.log.Debug("stopped", "part", c.name, "seconds", time.Since(start).Seconds())
	}
	return err
}

func (d *server) run(ctx context.Context) error {
	if err := d.setup(ctx); err != nil {
		return d.stop(err)
	}
	return d.stop(d.serve(ctx))
}

// setup connects and binds, in one straight line; what it opened is closed by
// stop also when a later step fails.
func (d *server) setup(ctx context.Context) error {
	if len(d.cfg.Listeners) == 0 {
		return hint(errors.New("listeners: none are configured, so nothing could be received"),
			`add to the configuration: listeners: [{name: edge, address: "tcp://127.0.0.1:5514"}]`)
	}
	formats, err := configuredFormats(d.cfg)
	if err != nil {
		return err
	}
	d.registry = prometheus.NewRegistry()
	d.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := d.openStore(ctx); err != nil {
		return err
	}
	if err := d.setupEdge(ctx); err != nil {
		return err
	}
	if err := d.setupBursts(ctx); err != nil {
		return err
	}
	config := ingest.Config{
		Formats: formats, Keep: ingest.Keep{Query: d.cfg.Keep.Query, Cookies: d.cfg.Keep.Cookies},
		FlushRows: d.cfg.Flush.Rows, FlushBytes: int(d.cfg.Flush.Bytes), FlushAge: time.Duration(d.cfg.Flush.Age),
	}
	if d.gate != nil {
		config.Denied = d.gate.denied
	}
	if d.bursts.watch != nil {
		config.Stored = d.bursts.watch.Stored
	}
	d.pipeline = ingest.New(config, d.store, ingest.NewMetrics(d.registry), d.log)
	if err := d.listen(); err != nil {
		return err
	}
	if err := d.setupCI(); err != nil {
		return err
	}
	if err := d.bindEngine(); err != nil {
		return err
	}
	return d.bindOps()
}

func (d *server) openStore(ctx context.Context) error {
	options := storeOptions(d.cfg, d.log)
	options.Owner = true
	store, err := schema.Open(ctx, d.cfg.DSN, options)
	if err != nil {
		return err
	}
	d.store = store
	d.onStop("engine", store.Close)
	if err := prepare(ctx, store, true); err != nil {
		return err
	}
	return store.SetRetention(ctx, time.Duration(d.cfg.Retention))
}

func (d *server) listen() error {
	metrics := syslog.NewMetrics(d.registry)
	for i := range d.cfg.Listeners {
		sc, err := d.cfg.Listeners[i].Syslog()
		if err != nil {
			return err
		}
		l, err := syslog.Listen(sc, syslog.Deps{Logger: d.log, Metrics: metrics})
		if err != nil {
			return err
		}
		d.onStop("listener "+sc.Name, l.Close)
		d.listeners = append(d.listeners, l)
	}
	return nil
}

// bindEngine opens the endpoints on which others reach the engine in this
// process. A server needs none: it has its own.
func (d *server) bindEngine() error {
	if d.store.Engine() == nil {
		return nil
	}
	socket := d.cfg.Engine.Socket
	if socket == "" {
		socket = filepath.Join(d.store.DSN().Dir, schema.SocketName)
	}
	if socket != "off" {
		if err := d.bindEndpoint("engine.socket", embedded.Endpoint{Network: "unix", Address: socket}); err != nil {
			return err
		}
	}
	h := d.cfg.Engine.HTTP
	if h == nil {
		return nil
	}
	var access embedded.Access
	for i := range h.Users {
		password, err := h.Users[i].Password()
		if err != nil {
			return err
		}
		access.Users = append(access.Users, embedded.User{Name: h.Users[i].Name, Password: password, ReadOnly: !h.Users[i].Write})
	}
	return d.bindEndpoint("engine.http", embedded.Endpoint{Network: "tcp", Address: h.Address, Access: access})
}

func (d *server) bindEndpoint(field string, ep embedded.Endpoint) error {
	e, err := d.store.Engine().Listen(ep)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	d.onStop("engine endpoint "+ep.Address, e.Close)
	d.endpoints = append(d.endpoints, e)
	return nil
}

func (d *server) bindOps() (err error) {
	if d.cfg.HTTP == "off" {
		return nil
	}
	if d.ops, err = net.Listen("tcp", d.cfg.HTTP); err != nil {
		return hint(fmt.Errorf("http: %w", err), "choose another address for http in the configuration, or off")
	}
	d.onStop("operations endpoint", func() error { _ = d.ops.Close(); return nil }) // the server has closed it as a rule
	return nil
}

// serve runs everything until ctx ends or a part fails, then drains.
func (d *server) serve(ctx context.Context) error {
	var g run.Group
	stopping, stopNow := context.WithCancel(ctx)
	defer stopNow()
	g.Add(func() error { <-stopping.Done(); return nil }, func(error) { stopNow() })
	d.addReload(&g)
	receiving, stopReceiving := context.WithCancel(context.WithoutCancel(ctx))
	for _, l := range d.listeners {
		g.Add(func() error { return l.Serve(receiving, d.pipeline) }, func(error) { stopReceiving() })
	}
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	filling, stopFilling := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReceiving()
	defer stopServing()
	defer stopFilling()
	g.Add(func() error { return d.pipeline.Run(filling) }, func(error) { stopFilling() })
	for _, e := range d.endpoints {
		g.Add(func() error { return e.Serve(serving) }, func(error) { stopServing() })
	}
	d.addEdge(&g)
	d.addCI(&g)
	d.addJudge(&g)
	d.addBursts(&g)
	if d.ops != nil {
		srv := d.opsServer()
		g.Add(func() error { return ignoreClosed(srv.Serve(d.ops)) }, func(error) { _ = srv.Close() })
	}
	d.announce()
	err := g.Run()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	return errors.Join(err, d.drain())
}

func (d *server) announce() {
	for _, l := range d.listeners {
		d.log.Info("listening for syslog", "address", l.Addr())
	}
	if d.ci != nil && d.ci.webhooks != nil {
		d.log.Info("listening for webhooks", "address", d.ci.webhooks.Addr().String(), "tls", d.ci.tls != nil)
	}
	if d.ops != nil {
		d.log.Info("serving /healthz, /readyz and /metrics", "address", d.ops.Addr().String())
	}
	d.log.Info("ready", "version", versionText(), "tables", d.store.DSN().String())
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // no systemd: not an error
	if d.ready != nil {
		d.ready()
	}
}

// drain stores what was received. The listeners have ended.
func (d *server) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(d.cfg.Shutdown))
	defer cancel()
	err := d.pipeline.Drain(ctx)
	if err == nil {
		d.log.Info("everything that was read is stored")
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// addReload reloads on SIGHUP. The signal is taken from here on: one that came
// between the announcement and the group's start would end the process.
func (d *server) addReload(g *run.Group) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	done := make(chan struct{})
	g.Add(func() error {
		defer signal.Stop(hup)
		for {
			select {
			case <-hup:
				d.onHangup()
			case <-done:
				return nil
			}
		}
	}, func(error) { close(done) })
}

// onHangup takes from the configuration what can change while running: formats,
// variables, zone, what is kept, the log level, TLS certificates; and has the
// gate's keys refreshed, by the policy file as it is now. A faulty configuration
// changes nothing.
func (d *server) onHangup() {
	cfg, err := d.reload()
	if err != nil {
		d.log.Error("reload: the configuration is faulty, the old one stays", "error", err)
		return
	}
	formats, err := configuredFormats(cfg)
	if err != nil {
		d.log.Error("reload: a log format is faulty, the old ones stay", "error", err)
		return
	}
	d.pipeline.Reload(formats, ingest.Keep{Query: cfg.Keep.Query, Cookies: cfg.Keep.Cookies})
	d.level.Set(logLevel(cfg.Log.Level))
	for _, l := range d.listeners {
		if err := l.Reload(); err != nil {
			d.log.Error("reload: the listener's certificate stays", "error", err)
		}
	}
	if d.gate != nil {
		d.gate.refresh()
	}
	d.log.Info("reloaded: formats, vars, zone, keep, log.level and certificates; other changes need a restart")
}
