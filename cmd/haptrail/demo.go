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
	"github.com/haptrail/haptrail/schema"
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
//	                 | log ring (TCP)
//	                 v
//	      the daemon, in this process --> embedded engine in DIR
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
	steps.begin("starting the engine and the daemon")
	d, err := startDemoDaemon(ctx, data, c.Library)
	if err != nil {
		return err
	}
	world, err := demo.Start(ctx, demo.Options{
		Dir: scratch, LogAddress: d.listener(), Haproxy: binary, Seed: c.Seed, Rotate: true,
		Progress: steps.begin,
	})
	if err != nil {
		return d.end(interrupted(ctx, err))
	}
	err = c.play(ctx, s.out, d, world, steps)
	steps.begin("stopping")
	err = d.end(errors.Join(err, world.Close()))
	steps.end()
	if err == nil && c.Data != "" {
		fmt.Fprintf(s.out, "The data is in %s: haptrail trail --dsn '%s'\n", data, "embedded:"+data)
	}
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
	if err := d.importHistory(ctx, world); err != nil {
		return interrupted(ctx, err)
	}
	steps.end()
	showTraffic(out, summary, missing)
	if err := showTrail(ctx, out, d.server.store, began); err != nil {
		return interrupted(ctx, err)
	}
	if c.Once {
		return nil
	}
	fmt.Fprintf(out, demoHints, d.server.store.DSN())
	world.Idle(ctx)
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
Traffic goes on until Ctrl-C. In another terminal, try:

  export HAPTRAIL_DSN='%s'
  bin/haptrail trail --decision deny                       who was turned away, and why
  bin/haptrail trail --summary --path '/secrets'           who reached for the secrets
  bin/haptrail query "SELECT identity, count() FROM trail GROUP BY 1 ORDER BY 2 DESC"
`

// showTraffic says what the jobs did, and that a key's rotation disturbed none.
func showTraffic(out io.Writer, summary demo.Summary, missing uint64) {
	fmt.Fprintf(out, "\n%d requests of %d CI jobs reached HAProxy in %.0f s: %d allowed, %d denied.\n",
		summary.Requests, len(summary.Jobs), summary.Elapsed.Seconds(), summary.Allowed, summary.Denied)
	if r := summary.Rotation; r != nil {
		fmt.Fprintf(out, "%s rotated its key (%s, then %s): %d requests meanwhile, %d lost.\n", r.Issuer, r.Old, r.New, r.Requests, r.Lost)
	}
	if missing > 0 {
		fmt.Fprintf(out, "%d of them HAProxy answered and did not log: a reload closes its log at once (haproxy/haproxy issue 3436).\n", missing)
	}
}

func showTrail(ctx context.Context, out io.Writer, store *schema.Store, began time.Time) error {
	fmt.Fprint(out, "\nWho touched what, from which run and commit, allowed or denied, and why:\n\n")
	p := newPrinter[schema.TrailSummaryRow](out, "table", summaryColumns)
	query := schema.TrailQuery{Since: began, Until: farFuture}
	err := store.TrailSummary(ctx, query, func(row *schema.TrailSummaryRow) error {
		nameUnknown(row)
		return p.row(row)
	})
	if err != nil {
		return err
	}
	if err := p.close(); err != nil {
		return err
	}
	_, err = fmt.Fprint(out, demoLegend)
	return err
}

const demoLegend = `
identity  the token's subject, as HAProxy verified it
grade     how sure the run is. proven: a signed claim names it · corroborated: a header names it
          and the CI's own record agrees · inferred: the identity's only run at that time · none
`

// demoDaemon is the daemon, running in this process.
type demoDaemon struct {
	server *server
	cancel context.CancelFunc
	done   chan error
	log    *os.File
}

func startDemoDaemon(ctx context.Context, data, library string) (*demoDaemon, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	logFile, err := os.Create(filepath.Join(data, "haptrail.log"))
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.DSN = "embedded:" + data
	cfg.Engine.Library = library
	cfg.HTTP = "127.0.0.1:0"
	cfg.Listeners = []config.Listener{{Name: "demo", Address: "tcp://127.0.0.1:0", Framing: "octet-counted"}}
	log, level := newLogger(cfg.Log, logFile)
	ready := make(chan struct{})
	d := &demoDaemon{done: make(chan error, 1), log: logFile}
	d.server = &server{
		cfg: cfg, log: log, level: level, ready: func() { close(ready) },
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

// importHistory stores what the CI servers know of the jobs' runs and commits.
func (d *demoDaemon) importHistory(ctx context.Context, world *demo.World) error {
	if _, err := importRows(ctx, []string{world.RunsFile()}, checkRun, d.server.store.InsertRuns); err != nil {
		return err
	}
	_, err := importRows(ctx, []string{world.CommitsFile()}, checkCommit, d.server.store.InsertCommits)
	return err
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
