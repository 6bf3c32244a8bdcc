// Package demo runs the world that "haptrail demo" plays in: four CI providers
// with their servers and their tokens, an application, and a real HAProxy between
// them.
//
//	cast (cast.go): 18 jobs           issuer (issuer.go): discovery, JWKS
//	  |  |  bearer token <---------- signed in this process (keys.go, claims.go)
//	  |  v                             |  public keys, by package edge
//	  | gate: HAProxy, rendered from <-+
//	  |  |  ../policy.yaml (gate.go)   '-- one of them changes meanwhile (rotation.go)
//	  |  |  allowed         \
//	  |  v                   \  one log line a request, ring over TCP
//	  | backend (backend.go)  +-------> Options.LogAddress: haptrail
//	  |  their runs                                           ^  ^
//	  '-> CI servers (ci.go) ---------- webhooks (courier.go) ---'  '-- polls
//
// Everything listens on loopback and ends with Close.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/runtimeapi"
)

// Defaults of Options.
const (
	DefaultDuration = 8 * time.Second
	DefaultBurst    = 450
)

// Options says how to set the world up. Dir is required, and without Gate also
// LogAddress and Haproxy.
type Options struct {
	// Dir is a scratch directory, made when it is missing. Start writes
	// policy.yaml, edge/ (the rendered gate), haproxy.cfg, haproxy.log, two
	// sockets, and the file ready there. Its path must leave room for a unix
	// socket, some 75 bytes, and consist of letters, digits, "/", "_", "." and "-"
	// alone.
	Dir string

	// LogAddress is haptrail's TCP syslog listener, as host:port. Default: the
	// one that deploy/policy.yaml names.
	LogAddress string

	// Haproxy is the path of the binary; see haproxy.Find.
	Haproxy string

	// CI are the servers in which the jobs' runs happen, from StartCI; the caller
	// closes them. nil: no CI server knows of the jobs.
	CI *CI

	// Webhooks is the URL of haptrail's webhooks, as http://HOST:PORT/webhooks: a
	// provider's go to the source of its name. Default: CI sends none.
	Webhooks string

	// Rotate has one issuer change its signing key in the middle of Run. Needs a
	// HAProxy of our own: it is reloaded for its keys.
	Rotate bool

	// Listen is where the gate listens. Default "127.0.0.1:0": any free port.
	Listen string

	// Gate is the URL of a HAProxy that is run by somebody else with the files in
	// Edge (docker-compose.yml). Start then starts none.
	Gate string

	// Edge is the folder of the gate's files. Default Dir/edge.
	Edge string

	// EdgeBase is that folder's path as the HAProxy behind Gate sees it. Default
	// Edge.
	EdgeBase string

	// Version is that HAProxy's. Default 2.6: newer ones take its files too.
	Version runtimeapi.Version

	// IssuerListen and BackendListen are the addresses of the issuers and the
	// application. Default "127.0.0.1:0".
	IssuerListen, BackendListen string

	// IssuerURL is the issuers' base URL as tokens name it. Default: the address
	// that IssuerListen came to.
	IssuerURL string

	// Duration is about how long Run takes; negative: no pauses. Default DefaultDuration.
	Duration time.Duration

	// Burst is the number of requests in the burst. Default DefaultBurst.
	Burst int

	// Seed decides pauses, ages and token ids: the same seed, the same script.
	Seed uint64

	// Logger gets what goes wrong in the background. Default: discarded.
	Logger *slog.Logger

	// Progress is told each step as it begins, in words for a person. May be nil.
	Progress func(step string)
}

func (o *Options) setDefaults() error {
	if o.Dir == "" {
		return errors.New("demo: Dir is not set")
	}
	if o.Gate == "" && (o.LogAddress == "" || o.Haproxy == "") {
		return errors.New("demo: LogAddress and Haproxy are both needed to start a gate")
	}
	if o.Gate != "" && o.Rotate {
		return errors.New("demo: Rotate needs a HAProxy of our own, so Gate must be empty")
	}
	if err := o.setFolders(); err != nil {
		return err
	}
	for _, address := range []*string{&o.Listen, &o.IssuerListen, &o.BackendListen} {
		if *address == "" {
			*address = "127.0.0.1:0"
		}
	}
	if o.Duration == 0 {
		o.Duration = DefaultDuration
	}
	if o.Burst <= 0 {
		o.Burst = DefaultBurst
	}
	o.Webhooks = strings.TrimRight(o.Webhooks, "/")
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// setFolders makes paths absolute, as HAProxy's arguments want them.
func (o *Options) setFolders() (err error) {
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if o.Edge == "" {
		o.Edge = filepath.Join(o.Dir, "edge")
	}
	if o.Edge, err = filepath.Abs(o.Edge); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if o.EdgeBase == "" {
		o.EdgeBase = o.Edge
	}
	if o.Version == (runtimeapi.Version{}) {
		o.Version = edge.Oldest
	}
	return nil
}

// World is a running world. Close ends it.
type World struct {
	options Options
	issuer  *issuer
	policy  *policy.Policy
	keys    *edge.Refresher // keeps the gate's keys
	gateURL string
	gate    *haproxy.Process // nil where somebody else runs it

	couriers []*courier // of the cast's jobs, once Run is over; nil for those without

	rotated chan struct{} // closed by release: no rotation is to be waited for
	release func()

	servers []*http.Server // issuers and application
	closing sync.Once
	closed  error
}

// Start sets the world up and returns when the gate answers. ctx bounds the
// starting alone. After an error nothing is left running.
func Start(ctx context.Context, options Options) (*World, error) {
	if err := options.setDefaults(); err != nil {
		return nil, err
	}
	w := &World{options: options, rotated: make(chan struct{})}
	w.release = sync.OnceFunc(func() { close(w.rotated) })
	if !options.Rotate {
		w.release()
	}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) start(ctx context.Context) error {
	// It tells docker-compose.yml that the gate's files are there.
	if err := os.Remove(w.ReadyFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w.say("making the issuers' signing keys (RS256 and ES256)")
	keys, err := newKeyring()
	if err != nil {
		return err
	}
	issuers, err := listen("issuers", w.options.IssuerListen)
	if err != nil {
		return err
	}
	base := w.options.IssuerURL
	if base == "" {
		base = "http://" + issuers.Addr().String()
	}
	w.issuer = newIssuer(base, keys)
	w.servers = append(w.servers, serve(w.options.Logger, issuers, w.issuer.handler()))
	app, err := listen("application", w.options.BackendListen)
	if err != nil {
		return err
	}
	w.servers = append(w.servers, serve(w.options.Logger, app, backend()))
	w.say("rendering HAProxy's configuration from policy.yaml, with the issuers' public keys")
	if err := w.render(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(w.ReadyFile(), []byte("the gate's files are rendered\n"), 0o644); err != nil {
		return err
	}
	if w.options.Gate != "" {
		w.gateURL = w.options.Gate
		return w.await(ctx)
	}
	return w.startGate(ctx, app.Addr().String())
}

// ReadyFile is where Start says that the gate's files are there.
func (w *World) ReadyFile() string { return filepath.Join(w.options.Dir, "ready") }

// courier delivers the webhooks of a job's run; nil where no CI server plays it.
func (w *World) courier(j job) *courier {
	if w.options.CI == nil || j.run == "" || j.before > 0 {
		return nil
	}
	c := &courier{ci: w.options.CI, kind: j.hooks}
	if w.options.Webhooks != "" {
		c.source = w.options.Webhooks + "/" + j.provider
	}
	return c
}

// Gate is the URL that jobs send their requests to.
func (w *World) Gate() string { return w.gateURL }

// Issuers are the issuers' URLs. Below each but Space's is
// /.well-known/openid-configuration.
func (w *World) Issuers() []string {
	var urls []string
	for _, provider := range providers {
		urls = append(urls, w.issuer.url(provider))
	}
	return urls
}

// Close ends the gate, the application and the issuers, within seconds. Files
// stay, but for the sockets. It may be called again, and from several goroutines.
func (w *World) Close() error {
	w.closing.Do(func() {
		var faults []error
		if w.gate != nil {
			faults = append(faults, w.gate.Stop())
		}
		for _, server := range w.servers {
			faults = append(faults, server.Close())
		}
		w.closed = errors.Join(faults...)
	})
	return w.closed
}

func (w *World) say(format string, args ...any) {
	if w.options.Progress != nil {
		w.options.Progress(fmt.Sprintf(format, args...))
	}
}

func listen(what, address string) (*net.TCPListener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; choose another address, or port 0 for any free one", what, err)
	}
	return listener.(*net.TCPListener), nil
}

// await waits until somebody accepts connections where requests and webhooks go.
func (w *World) await(ctx context.Context) error {
	if err := w.awaitURL(ctx, "gate", w.options.Gate); err != nil || w.options.Webhooks == "" {
		return err
	}
	return w.awaitURL(ctx, "haptrail", w.options.Webhooks)
}

func (w *World) awaitURL(ctx context.Context, what, url string) error {
	w.say("waiting for %s at %s", what, url)
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	host := request.URL.Host
	for {
		conn, err := net.DialTimeout("tcp", host, time.Second)
		if err == nil {
			return conn.Close()
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return fmt.Errorf("%s %s does not answer: %w", what, url, err)
		}
	}
}
