package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/deploy/demo"
	"github.com/haptrail/haptrail/edge/haproxy"
)

type demoCmd struct {
	Once    bool   `help:"Stop after the traffic, instead of going on until Ctrl-C."`
	Data    string `placeholder:"DIR" help:"Keep the data in DIR, for --dsn embedded:DIR. Default: a folder that is removed at the end."`
	Library string `placeholder:"FILE" help:"libchdb, where it is not found by itself."`
	Seed    uint64 `default:"1" help:"Another seed, another traffic."`
}

// Run plays the demo:
//
//	issuers --keys--+ policy.yaml, rendered
//	   | token      v
//	jobs -------> HAProxy --allowed--> backend
//	   | runs        | log ring (TCP), stick tables
//	   v             v
//	CI servers --> the daemon, in this process --> embedded engine in DIR
//	      webhooks, polls                     '--> Alertmanager
func (c *demoCmd) Run(ctx context.Context, s streams) error {
	steps := newSteps(s.err)
	binary, err := haproxy.Find()
	if err != nil {
		return err
	}
	data, scratch, remove, err := c.folders()
	if err != nil {
		return err
	}
	defer remove()
	steps.begin("starting the CI servers: Space, TeamCity, GitHub and GitLab")
	servers, err := demo.StartCI(demo.CIOptions{Dir: scratch})
	if err != nil {
		return err
	}
	steps.begin("starting Alertmanager")
	on, err := startDemoOnCall(ctx, scratch, steps)
	if err != nil {
		return errors.Join(err, servers.Close())
	}
	defer on.close()
	steps.begin("starting the engine and the daemon")
	d, err := startDemoDaemon(ctx, demoPlaces{data: data, library: c.Library, gate: demo.StatsSocketIn(scratch)}, servers, on)
	if err != nil {
		return errors.Join(err, servers.Close())
	}
	world, err := demo.Start(ctx, demo.Options{
		Dir: scratch, LogAddress: d.listener(), Haproxy: binary, Seed: c.Seed, Rotate: true,
		CI: servers, Webhooks: d.webhooks(), Progress: steps.begin,
	})
	if err != nil {
		return errors.Join(d.end(interrupted(ctx, err)), servers.Close())
	}
	close(d.gateRuns)
	err = c.play(ctx, s.out, d, world, steps)
	steps.begin("stopping")
	// The daemon before the servers that it polls, or its log would end in errors.
	err = errors.Join(d.end(errors.Join(err, world.Close())), servers.Close(), violations(servers))
	steps.end()
	return err
}

// folders makes the folder of the data and one for everything else.
func (c *demoCmd) folders() (data, scratch string, remove func(), err error) {
	scratch, err = os.MkdirTemp("", "haptrail-demo-")
	if err != nil {
		return "", "", nil, err
	}
	remove = func() { _ = os.RemoveAll(scratch) }
	data = filepath.Join(scratch, "data")
	if c.Data != "" {
		if data, err = filepath.Abs(c.Data); err != nil {
			remove()
			return "", "", nil, err
		}
	}
	return data, scratch, remove, nil
}

// play runs the traffic, waits until it is stored and shows it.
func (c *demoCmd) play(ctx context.Context, out io.Writer, d *demoDaemon, world *demo.World, steps *steps) error {
	began := time.Now().Add(-time.Second)
	summary, err := world.Run(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	steps.begin("waiting until every request is stored")
	missing, err := d.stored(ctx, summary, began)
	if err != nil {
		return interrupted(ctx, err)
	}
	polled, err := d.judge(ctx, world, &summary, steps)
	if err != nil {
		return interrupted(ctx, err)
	}
	steps.begin("waiting until people are told of the burst")
	burst, err := d.burst(ctx, summary)
	if err != nil {
		return interrupted(ctx, err)
	}
	steps.end()
	showTraffic(out, summary, missing)
	if err := d.show(ctx, out, summary, polled, began); err != nil {
		return interrupted(ctx, err)
	}
	if err := d.showBurst(ctx, out, burst, steps); err != nil {
		return interrupted(ctx, err)
	}
	switch {
	case !c.Once:
		fmt.Fprint(out, "\nTraffic goes on until Ctrl-C. In another terminal, try:\n")
	case c.Data != "":
		fmt.Fprint(out, "\nThe data is kept. Try:\n")
	default:
		return nil
	}
	fmt.Fprintf(out, demoHints, d.server.store.DSN(), sharedCommit(summary)[:shortSHA])
	if !c.Once {
		world.Idle(ctx)
	}
	return nil
}

// interrupted drops the errors that Ctrl-C causes.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

const demoHints = `
  export HAPTRAIL_DSN='%s'
  bin/haptrail trail --commit %s                   what one commit touched, in its three runs
  bin/haptrail findings --long                             what is wrong, and what to do about it
  bin/haptrail trail --summary --path '/secrets'           who reached for the secrets
  bin/haptrail bursts --long                               who suddenly did far more than usual, and why that is too much
  bin/haptrail query "SELECT * FROM reattributions"        what a run that was told late has changed
`

// demoDaemon is the daemon, running in this process.
type demoDaemon struct {
	server *server
	cancel context.CancelFunc
	done   chan error
	log    *os.File

	onCall   *demoOnCall
	gateRuns chan struct{} // to be closed when HAProxy runs
}

// demoPlaces are where the demo's things are.
type demoPlaces struct {
	data    string // of the engine
	library string // libchdb
	gate    string // HAProxy's stats socket
}

func startDemoDaemon(ctx context.Context, places demoPlaces, servers *demo.CI, on *demoOnCall) (*demoDaemon, error) {
	if err := os.MkdirAll(places.data, 0o700); err != nil {
		return nil, err
	}
	logFile, err := os.Create(filepath.Join(places.data, "haptrail.log"))
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.DSN = "embedded:" + places.data
	cfg.Engine.Library = places.library
	cfg.Bursts, cfg.Alerts = demoBursts(places.gate), on.section()
	cfg.HTTP = "127.0.0.1:0"
	cfg.Listeners = []config.Listener{{Name: "demo", Address: "tcp://127.0.0.1:0", Framing: "octet-counted"}}
	cfg.CI = demoSection(servers)
	cfg.Findings.Protected = demoProtected()
	log, level := newLogger(cfg.Log, logFile)
	ready := make(chan struct{})
	d := &demoDaemon{done: make(chan error, 1), log: logFile, onCall: on, gateRuns: make(chan struct{})}
	d.server = &server{
		cfg: cfg, log: log, level: level, ready: func() { close(ready) }, proxied: d.gateRuns,
		reload: func() (config.Config, error) { return cfg, nil },
	}
	ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() { d.done <- d.server.run(ctx) }()
	select {
	case <-ready:
		return d, nil
	case err := <-d.done:
		d.cancel()
		return nil, errors.Join(err, logFile.Close())
	}
}

func (d *demoDaemon) listener() string { return d.server.listeners[0].Addr().String() }

// end stops the daemon, which stores what it has received.
func (d *demoDaemon) end(err error) error {
	d.cancel()
	return errors.Join(err, <-d.done, d.log.Close())
}

// Bounds of the wait for the demo's requests to be stored.
const (
	storeTimeout = 30 * time.Second
	storeQuiet   = 3 * time.Second // without another one: what HAProxy did not log does not come
)

// stored waits until all requests are in the table, and returns how many are not.
// After a reload that may be a few: HAProxy closes its log rings at once, and does
// not log what the old process was answering then, at most one request of each job
// (haproxy/haproxy issue 3436).
func (d *demoDaemon) stored(ctx context.Context, summary demo.Summary, since time.Time) (missing uint64, err error) {
	want, unlogged := uint64(summary.Requests), uint64(0)
	if summary.Rotation != nil {
		unlogged = uint64(len(summary.Jobs))
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	last, changed := uint64(0), time.Now()
	for {
		have, err := d.server.store.CountRequests(ctx, since)
		if err == nil && have != last {
			last, changed = have, time.Now()
		}
		switch {
		case err == nil && have >= want:
			return 0, nil
		case err == nil && have+unlogged >= want && time.Since(changed) > storeQuiet:
			return want - have, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return 0, hint(fmt.Errorf("%d of %d requests were stored within %s: %w", have, want, storeTimeout, errors.Join(err, ctx.Err())),
				"see "+d.log.Name())
		}
	}
}

// steps tells a person what takes time: each step as it begins, a dot for each
// second from the second one on, and how long it took.
type steps struct {
	w    io.Writer
	stop func() // ends the step that is going on
}

func newSteps(w io.Writer) *steps { return &steps{w: w, stop: func() {}} }

func (s *steps) begin(name string) {
	s.end()
	began := time.Now()
	fmt.Fprintf(s.w, "· %s ", name)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if time.Since(began) > 1500*time.Millisecond {
					fmt.Fprint(s.w, ".")
				}
			case <-done:
				return
			}
		}
	}()
	s.stop = func() {
		close(done)
		<-ended
		fmt.Fprintf(s.w, " %.1f s\n", time.Since(began).Seconds())
		s.stop = func() {}
	}
}

func (s *steps) end() { s.stop() }
