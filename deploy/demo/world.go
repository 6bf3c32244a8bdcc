// Package demo runs the world that "haptrail demo" plays in: four CI providers
// and their tokens, an application, and a real HAProxy between them.
//
//	cast (cast.go): 15 jobs           issuer (issuer.go): discovery, JWKS
//	  |  bearer token <------------- signed in this process (keys.go, claims.go)
//	  v                                |  public keys, as PEM
//	gate: HAProxy, ../haproxy.cfg <----+
//	  |  allowed         \
//	  v                   \  one log line a request, ring over TCP
//	backend (backend.go)   +------> Options.LogAddress: haptrail
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
	"sync"
	"time"

	"github.com/haptrail/haptrail/deploy"
)

// Defaults of Options.
const (
	DefaultDuration = 8 * time.Second
	DefaultBurst    = 450
)

// Options says how to set the world up. Dir is required, and without Gate also
// LogAddress and Haproxy.
type Options struct {
	// Dir is a scratch directory, made when it is missing. Start writes edge/
	// (configuration, maps and public keys of the gate), haproxy.log,
	// haproxy.sock, runs.json and commits.json there. Its path must leave room
	// for a unix socket: some 75 bytes.
	Dir string

	// LogAddress is haptrail's TCP syslog listener, as host:port.
	LogAddress string

	// Haproxy is the path of the binary; see FindHaproxy.
	Haproxy string

	// Listen is where the gate listens. Default "127.0.0.1:0": any free port.
	Listen string

	// Gate is the URL of a HAProxy that is run by somebody else with Dir/edge as
	// its configuration (docker-compose.yml). Start then starts none.
	Gate string

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
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// World is a running world. Close ends it.
type World struct {
	options Options
	began   time.Time
	issuer  *issuer
	gateURL string
	gate    *gate // nil where somebody else runs it

	servers []*http.Server // issuers and application
	closing sync.Once
	closed  error

	mu    sync.Mutex
	ended time.Time // when Run ended; zero before. Guarded by mu.
}

// Start sets the world up and returns when the gate answers. ctx bounds the
// starting alone. After an error nothing is left running.
func Start(ctx context.Context, options Options) (*World, error) {
	if err := options.setDefaults(); err != nil {
		return nil, err
	}
	w := &World{options: options, began: time.Now()}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) start(ctx context.Context) error {
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
	if w.issuer, err = newIssuer(base, keys); err != nil {
		return errors.Join(err, issuers.Close())
	}
	w.serve(issuers, w.issuer.handler())
	app, err := listen("application", w.options.BackendListen)
	if err != nil {
		return err
	}
	w.serve(app, backend())
	if err := w.writeEdge(keys); err != nil {
		return err
	}
	if err := w.writeHistory(); err != nil {
		return err
	}
	if w.options.Gate != "" {
		w.gateURL = w.options.Gate
		w.say("waiting for the gate at %s", w.gateURL)
		return waitForGate(ctx, w.gateURL)
	}
	return w.startGate(ctx, app.Addr().String())
}

func (w *World) startGate(ctx context.Context, app string) error {
	w.say("starting HAProxy (%s)", w.options.Haproxy)
	listener, err := listen("gate", w.options.Listen)
	if err != nil {
		return err
	}
	defer listener.Close() // the child has a copy of its own
	w.gateURL = "http://" + listener.Addr().String()
	w.gate, err = startGate(ctx, gateOptions{
		binary: w.options.Haproxy, dir: w.options.Dir, listen: listener, app: app, log: w.options.LogAddress,
	})
	return err
}

// writeEdge writes the gate's directory: the example configuration as it is,
// its maps with the issuers' real URLs, and the public keys.
func (w *World) writeEdge(keys keyring) error {
	edge := filepath.Join(w.options.Dir, "edge")
	err := fs.WalkDir(deploy.Gate, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := filepath.Join(edge, filepath.FromSlash(name))
		if entry.IsDir() {
			return os.MkdirAll(path, 0o755)
		}
		text, err := fs.ReadFile(deploy.Gate, name)
		if err != nil {
			return err
		}
		if name == "maps/issuers.map" {
			text = w.issuer.issuersMap()
		}
		return os.WriteFile(path, text, 0o644)
	})
	if err != nil {
		return fmt.Errorf("write the gate's configuration: %w", err)
	}
	return keys.write(edge)
}

// Gate is the URL that jobs send their requests to.
func (w *World) Gate() string { return w.gateURL }

// StatsSocket is the path of the gate's stats socket; empty where somebody else
// runs the gate.
func (w *World) StatsSocket() string {
	if w.gate == nil {
		return ""
	}
	return w.gate.socket
}

// Config is the path of the gate's configuration.
func (w *World) Config() string { return filepath.Join(w.options.Dir, "edge", "haproxy.cfg") }

// Issuers are the issuers' URLs. Below each but Space's is
// /.well-known/openid-configuration.
func (w *World) Issuers() []string {
	return []string{w.issuer.url(space), w.issuer.url(teamcity), w.issuer.url(github), w.issuer.url(gitlab)}
}

// Close ends the gate, the application and the issuers, within seconds. Files
// stay, but for the socket. It may be called again, and from several goroutines.
func (w *World) Close() error {
	w.closing.Do(func() {
		var faults []error
		if w.gate != nil {
			faults = append(faults, w.gate.stop())
			if err := os.Remove(w.gate.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, err)
			}
		}
		for _, server := range w.servers {
			faults = append(faults, server.Close())
		}
		w.closed = errors.Join(faults...)
	})
	return w.closed
}

// serve answers on the listener until Close.
func (w *World) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(w.options.Logger.Handler(), slog.LevelWarn),
	}
	w.servers = append(w.servers, server)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			w.options.Logger.Error("demo server stopped", "address", listener.Addr().String(), "error", err)
		}
	}()
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

// waitForGate waits until somebody accepts connections at the gate's URL.
func waitForGate(ctx context.Context, gate string) error {
	request, err := http.NewRequest(http.MethodGet, gate, nil)
	if err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	host := request.URL.Host
	for {
		conn, err := net.DialTimeout("tcp", host, time.Second)
		if err == nil {
			return conn.Close()
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return fmt.Errorf("gate %s does not answer: %w", gate, err)
		}
	}
}
