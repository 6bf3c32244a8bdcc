package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/ingest/ci/citest"
	"github.com/haptrail/haptrail/schema/schematest"
)

// TestStopDuringWebhook: a delivery that has begun when the daemon is told to stop
// is stored and answered whole, when the rest of it comes; else nothing of it is.
func TestStopDuringWebhook(t *testing.T) {
	for _, whole := range []bool{true, false} {
		t.Run(fmt.Sprintf("whole=%t", whole), func(t *testing.T) {
			w := newCIWorld(t)
			cfg := w.config(t.TempDir(), webhookOnly(w.sources["github"]))
			if !whole {
				cfg.Shutdown = config.Duration(time.Second) // nothing will come that is worth waiting for
			}
			d := startDaemon(t, cfg, nil)
			address := d.ci.webhooks.Addr().String()
			delivery := w.delivery(t, "github")
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			replies := bufio.NewReader(conn)
			request := begin(t, conn, replies, delivery)
			if _, err := conn.Write(delivery.Body[:100]); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- d.stop() }()
			eventually(t, "no new connection is taken", func() bool {
				another, err := net.DialTimeout("tcp", address, time.Second)
				if err == nil {
					another.Close()
				}
				return err != nil
			})
			want := uint64(0)
			if whole {
				want = 1
				if _, err := conn.Write(delivery.Body[100:]); err != nil {
					t.Fatal(err)
				}
				response, err := http.ReadResponse(replies, request)
				if err != nil {
					t.Fatalf("the delivery is not answered: %v", err)
				}
				if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusAccepted || string(body) != "taken\n" {
					t.Errorf("have %d %q, error %v, want 202", response.StatusCode, body, err)
				}
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("the daemon ended with: %v", err)
				}
			case <-time.After(patience):
				t.Fatal("the daemon does not end")
			}
			startDaemon(t, cfg, nil).wantRows("runs", "1", want)
		})
	}
}

// begin sends the header of a delivery, and waits until its body is wanted.
func begin(t *testing.T, conn net.Conn, replies *bufio.Reader, delivery citest.Delivery) *http.Request {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+conn.RemoteAddr().String()+"/webhooks/github", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	header := delivery.Header.Clone()
	header.Set("Host", request.Host)
	header.Set("Content-Length", strconv.Itoa(len(delivery.Body)))
	header.Set("Expect", "100-continue")
	var wire bytes.Buffer
	fmt.Fprintf(&wire, "POST %s HTTP/1.1\r\n", request.URL.Path)
	if err := header.Write(&wire); err != nil {
		t.Fatal(err)
	}
	wire.WriteString("\r\n")
	if _, err := wire.WriteTo(conn); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(replies, request); err != nil || response.StatusCode != http.StatusContinue {
		t.Fatalf("have %v, error %v, want 100 Continue", response, err)
	}
	return request
}

// TestWebhooksOverTLS: the certificate is read again when its files change, and a
// pair that does not fit changes nothing.
func TestWebhooksOverTLS(t *testing.T) {
	w := newCIWorld(t)
	cfg := w.config(t.TempDir(), webhookOnly(w.sources["gitlab"]))
	cfg.CI.TLS = config.WebhookTLS{Cert: w.path("cert.pem"), Key: w.path("key.pem")}
	writeCertificate(t, cfg.CI.TLS, 1)
	d := startDaemon(t, cfg, nil)
	send := func() (serial int64) {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, // it says for itself who it is
			VerifyConnection: func(s tls.ConnectionState) error {
				serial = s.PeerCertificates[0].SerialNumber.Int64()
				return nil
			},
		}}}
		defer client.CloseIdleConnections()
		status, err := w.delivery(t, "gitlab").Send(t.Context(), client, "https://"+d.ci.webhooks.Addr().String()+"/webhooks/gitlab")
		if err != nil || status != http.StatusAccepted {
			t.Fatalf("have status %d, error %v, want 202", status, err)
		}
		return serial
	}
	if serial := send(); serial != 1 {
		t.Errorf("have certificate %d, want the first", serial)
	}
	writeCertificate(t, cfg.CI.TLS, 2)
	if serial := send(); serial != 2 {
		t.Errorf("have certificate %d, want the second", serial)
	}
	if err := os.WriteFile(cfg.CI.TLS.Cert, []byte("half of"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if serial := send(); serial != 2 {
			t.Errorf("have certificate %d, want that the second stays", serial)
		}
	}
	if n := strings.Count(d.logs.String(), "the old certificate stays"); n != 1 {
		t.Errorf("the faulty files are logged %d times, want once", n)
	}
	d.wantRows("runs", "1", 1)
}

// writeCertificate writes a pair that signs itself.
func writeCertificate(t *testing.T, files config.WebhookTLS, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: cert}, files.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWebhooksThatCannotStart name the field and leave nothing open.
func TestWebhooksThatCannotStart(t *testing.T) {
	schematest.NeedEngine(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	w := newCIWorld(t)
	for want, change := range map[string]func(*config.CI){
		"ci.listen: ":             func(c *config.CI) { c.Listen = taken.Addr().String() },
		"ci.tls: cannot use cert": func(c *config.CI) { c.TLS = config.WebhookTLS{Cert: filepath.Join(w.dir, "none"), Key: "none"} },
		`ci.sources: "space": `:   func(c *config.CI) { c.Sources[0].URL = "http://space.example.com" },
	} {
		cfg := w.config(t.TempDir(), w.sources["space"])
		change(&cfg.CI)
		log, level := newLogger(cfg.Log, io.Discard)
		d := &server{cfg: cfg, log: log, level: level, ready: func() { t.Errorf("%s: the daemon became ready", want) }}
		if err := d.run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("have error %v, want %s…", err, want)
		}
	}
}
