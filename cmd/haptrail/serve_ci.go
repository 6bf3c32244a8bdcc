package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/oklog/run"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/ingest/ci"
)

// Bounds of the webhooks' listener, beside those of ci.Receiver: whoever connects
// is not known yet.
const (
	webhookHeaderTimeout = 5 * time.Second
	webhookReadTimeout   = 15 * time.Second // what no Receiver reads; longer than its own
	webhookWriteTimeout  = 30 * time.Second // from the header's end to the answer's
	webhookIdleTimeout   = time.Minute
	webhookHeaderBytes   = 16 << 10
)

// ciFeed tells the tables of runs and commits.
//
//	CI servers --webhooks--> Receiver --+
//	                                    +--> Tables
//	CI servers <---polls---- Poller ----+
type ciFeed struct {
	receiver *ci.Receiver
	poller   *ci.Poller   // of the sources with credentials
	webhooks net.Listener // nil when off
	tls      *certificate // nil for plain HTTP
}

// setupCI makes the feed and binds its address; none where no source is configured.
// A server that cannot be reached is the poller's to wait for.
func (d *server) setupCI() error {
	section := d.cfg.CI
	if len(section.Sources) == 0 {
		return nil
	}
	all, polled := map[string]ci.Source{}, map[string]ci.Source{}
	for i := range section.Sources {
		s := &section.Sources[i]
		source, err := s.Source(d.ciCalls)
		if err != nil {
			return fmt.Errorf("ci.sources: %q: %w", s.Name, err)
		}
		all[s.Name] = source
		if s.Polled() {
			polled[s.Name] = source
		}
		d.log.Info("taking runs and commits", "source", s.Name, "server", fmt.Sprint(source), "webhooks", s.Hears() && section.Listen != "off", "polls", s.Polled())
	}
	tables, metrics := ci.NewTables(d.store), ci.NewMetrics(d.registry)
	f := &ciFeed{
		receiver: &ci.Receiver{Sources: all, Store: tables, Metrics: metrics, Log: d.log},
		poller: &ci.Poller{
			Sources: polled, Store: tables, Cursors: tables, Interval: time.Duration(section.PollInterval), Back: time.Duration(section.Back),
			Metrics: metrics, Log: d.log,
		},
	}
	d.ci = f
	if section.Listen == "off" {
		return nil
	}
	if section.TLS.Cert != "" {
		cert, err := loadCertificate(section.TLS, d.log)
		if err != nil {
			return fmt.Errorf("ci.tls: %w", err)
		}
		f.tls = cert
	}
	listener, err := net.Listen("tcp", section.Listen)
	if err != nil {
		return hint(fmt.Errorf("ci.listen: %w", err), "choose another address for ci.listen in the configuration, or off")
	}
	f.webhooks = listener
	d.onStop("webhooks", func() error { _ = listener.Close(); return nil }) // the server has closed it as a rule
	return nil
}

// addCI runs the feed beside the other parts. Both its halves have ended, and let
// go of the store, when the group has.
func (d *server) addCI(g *run.Group) {
	if d.ci == nil {
		return
	}
	polling, stopPolling := context.WithCancel(context.Background())
	g.Add(func() error {
		if err := d.ci.poller.Run(polling); err != nil {
			return err
		}
		<-polling.Done() // without sources to poll it ends at once
		return nil
	}, func(error) { stopPolling() })
	if d.ci.webhooks == nil {
		return
	}
	taking, stopTaking := context.WithCancel(context.Background())
	g.Add(func() error { return d.ci.takeWebhooks(taking, time.Duration(d.cfg.Shutdown), d.log) }, func(error) { stopTaking() })
}

// takeWebhooks serves until ctx ends. Deliveries that have begun then are answered,
// for at most so long; what comes later is refused, and the provider's to send
// again or the poller's to find.
func (f *ciFeed) takeWebhooks(ctx context.Context, patience time.Duration, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("/webhooks/{name}", f.receiver)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: webhookHeaderTimeout, ReadTimeout: webhookReadTimeout, WriteTimeout: webhookWriteTimeout,
		IdleTimeout: webhookIdleTimeout, MaxHeaderBytes: webhookHeaderBytes,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // of anybody's handshakes
	}
	ended := make(chan error, 1)
	go func() {
		if f.tls == nil {
			ended <- server.Serve(f.webhooks)
			return
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.tls.get}
		ended <- server.ServeTLS(f.webhooks, "", "")
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("webhooks: %w", err)
	case <-ctx.Done():
	}
	bound, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(bound); err != nil {
		log.Warn("webhooks that were being taken are broken off", "after", patience)
		_ = server.Close()
	}
	return ignoreClosed(<-ended)
}

// certificate is the identity of the webhooks' listener. It is safe for concurrent
// use.
type certificate struct {
	files config.WebhookTLS
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	current *tls.Certificate
	stamps  [2]fileStamp // of the files that were tried last
}

// fileStamp changes when a file does.
type fileStamp struct {
	modified time.Time
	size     int64
}

func loadCertificate(files config.WebhookTLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log}
	return c, c.load()
}

// get is the certificate for a handshake. Files that have changed are read again; a
// pair that does not fit, perhaps half written, is said, and the old one stays.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stat() != c.stamps {
		if err := c.load(); err != nil {
			c.log.Warn("ci.tls: the old certificate stays", "error", err)
		}
	}
	return c.current, nil
}

// load reads the files. Stamps first: a file that changes meanwhile is then read
// once more.
func (c *certificate) load() error {
	c.stamps = c.stat()
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("cannot use cert %s with key %s: %w", c.files.Cert, c.files.Key, err)
	}
	c.current = &pair
	return nil
}

func (c *certificate) stat() (stamps [2]fileStamp) {
	for i, name := range []string{c.files.Cert, c.files.Key} {
		if info, err := os.Stat(name); err == nil {
			stamps[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}
