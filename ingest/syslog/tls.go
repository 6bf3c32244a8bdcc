package syslog

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certCheck is how often the TLS files are looked at for a change.
const certCheck = 10 * time.Second

// certificates is the TLS identity of a listener, replaced as a whole.
type certificates struct {
	files   TLSConfig
	quiet   *throttle
	current atomic.Pointer[tls.Config]

	mu      sync.Mutex // for what follows
	checked time.Time
	stamps  [3]fileStamp
}

// fileStamp changes when a file does.
type fileStamp struct {
	modified time.Time
	size     int64
}

func loadCertificates(files TLSConfig, quiet *throttle) (*certificates, error) {
	c := &certificates{files: files, quiet: quiet}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// load reads the files. After an error the old ones stay in use.
func (c *certificates) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loadLocked()
}

func (c *certificates) loadLocked() error {
	// Stamps first: a file that changes meanwhile is then read once more.
	c.checked, c.stamps = time.Now(), c.stat()
	cert, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return fmt.Errorf("tls: cannot use cert %s with key %s: %w", c.files.CertFile, c.files.KeyFile, err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		// Connections last; a ticket would let a client in again without a
		// look at its certificate's authority.
		SessionTicketsDisabled: true,
	}
	if c.files.ClientCAFile != "" {
		pem, err := os.ReadFile(c.files.ClientCAFile)
		if err != nil {
			return fmt.Errorf("tls: cannot read client_ca: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("tls: client_ca %s holds no certificate in PEM form", c.files.ClientCAFile)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
		if c.files.ClientAuth == "optional" {
			config.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	c.current.Store(config)
	return nil
}

func (c *certificates) stat() (stamps [3]fileStamp) {
	for i, name := range []string{c.files.CertFile, c.files.KeyFile, c.files.ClientCAFile} {
		if info, err := os.Stat(name); err == nil {
			stamps[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

// serverConfig returns the configuration for a new connection. It looks for
// changed files every certCheck; a broken pair, perhaps half written, is
// logged and tried again, and the old one stays.
func (c *certificates) serverConfig() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) >= certCheck {
		old := c.stamps
		c.checked = time.Now()
		if c.stat() != old {
			if err := c.loadLocked(); err != nil {
				c.stamps = old
				c.quiet.warn("tls files", "kept the old TLS files", "error", err)
			}
		}
	}
	return c.current.Load()
}
