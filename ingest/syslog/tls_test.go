package syslog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns a certificate and key for name, valid at 127.0.0.1, as PEM.
func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// pair is issue for a client.
func (a *authority) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.issue(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tlsFiles writes a server's files and returns their configuration.
func tlsFiles(t *testing.T, a *authority, clientAuth string) TLSConfig {
	dir := t.TempDir()
	cfg := TLSConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	cert, key := a.issue(t, "server")
	write(t, cfg.CertFile, cert)
	write(t, cfg.KeyFile, key)
	if clientAuth != "" {
		cfg.ClientCAFile, cfg.ClientAuth = filepath.Join(dir, "ca.pem"), clientAuth
		write(t, cfg.ClientCAFile, a.pem)
	}
	return cfg
}

func TestTLS(t *testing.T) {
	ca, stranger := newAuthority(t, "ours"), newAuthority(t, "theirs")
	for _, tt := range []struct {
		name, clientAuth string
		certs            []tls.Certificate
		welcome          bool
	}{
		{"no client certificates asked for", "", nil, true},
		{"required and given", "required", []tls.Certificate{ca.pair(t, "edge1")}, true},
		{"required and missing", "required", nil, false},
		{"required and of a stranger", "required", []tls.Certificate{stranger.pair(t, "edge1")}, false},
		{"optional and given", "optional", []tls.Certificate{ca.pair(t, "edge1")}, true},
		{"optional and missing", "optional", nil, true},
		{"optional and of a stranger", "optional", []tls.Certificate{stranger.pair(t, "edge1")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := newRecorder()
			r := start(t, Config{Address: "tls://127.0.0.1:0", TLS: tlsFiles(t, ca, tt.clientAuth)}, rec)
			config := &tls.Config{RootCAs: ca.pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(tt.certs) == 0 {
					return &tls.Certificate{}, nil
				}
				return &tt.certs[0], nil // also when the server did not name its authority
			}}
			conn, err := tls.Dial("tcp", r.Addr().String(), config)
			if err == nil {
				defer conn.Close()
				_, err = conn.Write([]byte(counted(haproxyHeaders[2]) + counted("<1>x")))
			}
			if tt.welcome {
				if err != nil {
					t.Fatal(err)
				}
				rec.wait(t, 2, 0)
				for src := range rec.bySrc {
					if src.Transport != "tls" || src.Peer != "127.0.0.1" {
						t.Errorf("source is %+v", src)
					}
				}
				return
			}
			eventually(t, "the client is refused", func() bool {
				return r.metric(t, "connections_refused_total", "tls_handshake") == 1 && r.metric(t, "connections") == 0
			})
			rec.check(t, 0, 0)
		})
	}
}

// TestTLSBadClients speaks no TLS, or begins and does not go on.
func TestTLSBadClients(t *testing.T) {
	ca := newAuthority(t, "ours")
	rec := newRecorder()
	r := start(t, Config{Address: "tls://127.0.0.1:0", TLS: tlsFiles(t, ca, ""), FrameTimeout: 200 * time.Millisecond}, rec)
	plain, silent := rawDial(t, r), rawDial(t, r)
	send(t, plain, "<134>Nov 23 10:56:39 edge1 haproxy[1]: plain text\n")
	for _, conn := range []net.Conn{plain, silent} {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 100)
		for {
			if _, err := conn.Read(buf); isTimeout(err) {
				t.Fatal("a client that does not shake hands is kept")
			} else if err != nil {
				break
			}
		}
	}
	eventually(t, "both are counted", func() bool { return r.metric(t, "connections_refused_total", "tls_handshake") == 2 })
}

func rawDial(t *testing.T, r *running) net.Conn {
	conn, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestTLSDrain(t *testing.T) {
	ca := newAuthority(t, "ours")
	rec := newRecorder()
	r := start(t, Config{Address: "tls://127.0.0.1:0", TLS: tlsFiles(t, ca, "")}, rec)
	conn, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{RootCAs: ca.pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 500
	for range n {
		send(t, conn, counted("<1>"+strings.Repeat("x", 400)))
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	rec.check(t, n, 0)
}

func TestTLSReload(t *testing.T) {
	ca := newAuthority(t, "ours")
	files := tlsFiles(t, ca, "")
	r := start(t, Config{Address: "tls://127.0.0.1:0", TLS: files}, newRecorder())
	serves := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{RootCAs: ca.pool()})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := serves(); got != "server" {
		t.Fatalf("serves %q", got)
	}
	cert, key := ca.issue(t, "renewed")
	write(t, files.CertFile, cert) // and not yet the key
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), files.CertFile) {
		t.Errorf("Reload of a pair that does not fit: %v", err)
	}
	if got := serves(); got != "server" {
		t.Errorf("after a failed reload it serves %q", got)
	}
	write(t, files.KeyFile, key)
	if err := r.Reload(); err != nil {
		t.Error(err)
	}
	if got := serves(); got != "renewed" {
		t.Errorf("after a reload it serves %q", got)
	}

	// Without Reload, when the files are next looked at.
	cert, key = ca.issue(t, "noticed")
	write(t, files.CertFile, cert)
	write(t, files.KeyFile, key)
	certs := r.receiver.(*streamListener).certs
	certs.mu.Lock()
	certs.checked = certs.checked.Add(-certCheck)
	certs.stamps[0].size++ // the new file may have the size and the time of the old
	certs.mu.Unlock()
	if got := serves(); got != "noticed" {
		t.Errorf("after a change it serves %q", got)
	}
}

func TestTLSFileFaults(t *testing.T) {
	ca := newAuthority(t, "ours")
	for _, tt := range []struct {
		change func(*TLSConfig)
		want   string
	}{
		{func(c *TLSConfig) { c.CertFile += "x" }, "cert"},
		{func(c *TLSConfig) { c.KeyFile = c.CertFile }, "key"},
		{func(c *TLSConfig) { c.ClientCAFile += "x" }, "client_ca"},
		{func(c *TLSConfig) { c.ClientCAFile = c.KeyFile }, "holds no certificate"},
	} {
		files := tlsFiles(t, ca, "required")
		tt.change(&files)
		if _, err := Listen(Config{Name: "edge", Address: "tls://127.0.0.1:0", TLS: files}, Deps{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error with %q", err, tt.want)
		}
	}
}
