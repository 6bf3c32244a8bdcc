package runtimeapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// signer is a key, the certificate around it, and a token signed by it.
func signer(t *testing.T) (certificate []byte, key *ecdsa.PrivateKey, token string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "issuer"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sign, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := sign.Sign([]byte(`{"sub":"repo:acme/app"}`))
	if err != nil {
		t.Fatal(err)
	}
	if token, err = signed.CompactSerialize(); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, token
}

// verifier answers with what jwt_verify_cert says of a bearer token, the
// certificate's name being the header X-Cert.
const verifier = `
global
    stats socket DIR/s mode 600 level admin
    stats socket DIR/u mode 600 level user
crt-store jwtkeys
    crt-base DIR
    load crt loaded.pem jwt on
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend www
    bind unix@DIR/f
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) str(ES256)
    http-request set-var(txn.cert) req.fhdr(x-cert)
    http-request return status 200 content-type text/plain lf-string "%[var(txn.bearer),jwt_verify_cert(txn.alg,txn.cert)]"
`

// TestJWTCerts: a new key is used without a reload, replaced, and taken away.
func TestJWTCerts(t *testing.T) {
	if v := haproxyVersion(t); !v.AtLeast(3, 3) {
		t.Skipf("HAProxy is %v, and JWT certificates need 3.3: name one by HAPTRAIL_HAPROXY", v)
	}
	dir := shortDir(t)
	loaded, _, loadedToken := signer(t)
	first, _, firstToken := signer(t)
	second, _, secondToken := signer(t)
	write(t, filepath.Join(dir, "loaded.pem"), string(loaded))
	start(t, dir, verifier)
	c := client(t, dir)
	verify := func(name, token string) string { return verdict(t, dir, name, token) }
	const stored, name = "@jwtkeys/loaded.pem", "keys/runtime; with blank.pem"
	if have := verify(stored, loadedToken); have != "1" {
		t.Fatalf("the loaded certificate: %s", have)
	}
	if err := c.PutJWTCert(t.Context(), name, append([]byte("a comment\n\n"), first...)); err != nil {
		t.Fatal(err)
	}
	names, err := c.JWTCerts(t.Context())
	if slices.Sort(names); err != nil || !slices.Equal(names, []string{stored, name}) {
		t.Errorf("%q, %v", names, err)
	}
	if a, b := verify(name, firstToken), verify(name, secondToken); a != "1" || b != "0" {
		t.Errorf("first certificate: %s, and %s for another's token", a, b)
	}
	if err := c.PutJWTCert(t.Context(), name, second); err != nil {
		t.Fatal(err)
	}
	if a, b := verify(name, firstToken), verify(name, secondToken); a != "0" || b != "1" {
		t.Errorf("second certificate: %s for its token, %s for the first's", b, a)
	}
	if err := c.DelJWTCert(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if have := verify(name, secondToken); have == "1" {
		t.Error("a removed certificate still verifies")
	}
	if err := c.DelJWTCert(t.Context(), name); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	user, err := New(filepath.Join(dir, "u"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := user.PutJWTCert(t.Context(), name, first); !errors.Is(err, ErrPermission) {
		t.Errorf("level user: %v", err)
	}
	if _, err := user.JWTCerts(t.Context()); !errors.Is(err, ErrPermission) {
		t.Errorf("level user: %v", err)
	}
	// Another program's transaction: ours must fail, undo itself, and leave its alone.
	if err := c.expect(t.Context(), of("new", "ssl", "cert", "other"), "New empty"); err != nil {
		t.Fatal(err)
	}
	payload, _, err := certPayload(first)
	if err != nil {
		t.Fatal(err)
	}
	set := of("set", "ssl", "cert", "other")
	set.payload = payload
	if err := c.expect(t.Context(), set, "Transaction created"); err != nil {
		t.Fatal(err)
	}
	if err := c.PutJWTCert(t.Context(), name, first); !errors.Is(err, ErrBusy) {
		t.Errorf("in another's transaction: %v", err)
	}
	if err := c.expect(t.Context(), of("commit", "ssl", "cert", "other"), "Success!"); err != nil {
		t.Errorf("the other's transaction: %v", err)
	}
	if names, err := c.JWTCerts(t.Context()); err != nil || !slices.Equal(names, []string{stored}) {
		t.Errorf("left behind: %q, %v", names, err)
	}
	if err := c.PutJWTCert(t.Context(), name, first); err != nil {
		t.Error(err)
	}
}

func verdict(t *testing.T, dir, name, token string) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "f"))
	}}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://gate/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("X-Cert", name)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestJWTCertsNeed33(t *testing.T) {
	certificate, _, _ := signer(t)
	c, err := New(fakeSocket(t, says(info26+"\n")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, listErr := c.JWTCerts(t.Context())
	for what, err := range map[string]error{
		"list": listErr,
		"put":  c.PutJWTCert(t.Context(), "n", certificate),
		"del":  c.DelJWTCert(t.Context(), "n"),
	} {
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "2.6.12-1+deb12u4") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestCertPayload: certificates only, without the blank lines that end a payload.
func TestCertPayload(t *testing.T) {
	certificate, key, _ := signer(t)
	payload, fingerprint, err := certPayload([]byte("Bag attributes\r\n\r\n" + strings.ReplaceAll(string(certificate), "\n", "\r\n") + "\r\n\n" + string(certificate)))
	if err != nil || payload != string(certificate)+string(certificate) || len(fingerprint) != 40 {
		t.Errorf("%q, %q, %v", payload, fingerprint, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	c, err := New("/nowhere/at/all", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string][]byte{
		"no private key":      append(slices.Clone(certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...),
		`"PUBLIC KEY"`:        pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		"x509":                pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"no PEM block":        nil,
		"has no PEM block CE": []byte("-----BEGIN CERTIFICATE-----\n"),
	} {
		err := c.PutJWTCert(t.Context(), "n", text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), string(private[:8])) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, name := range []string{"", "*n", "a\nb"} {
		if err := c.PutJWTCert(t.Context(), name, certificate); !errors.Is(err, ErrInexpressible) {
			t.Errorf("name %q: %v", name, err)
		}
		if err := c.DelJWTCert(t.Context(), name); !errors.Is(err, ErrInexpressible) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}
