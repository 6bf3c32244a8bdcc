package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge/haproxy"
)

// pairs are keys of every type, and an algorithm of each.
func pairs() map[string]struct {
	private   crypto.Signer
	algorithm string
} {
	return map[string]struct {
		private   crypto.Signer
		algorithm string
	}{
		"rsa":  {rsaKey()[0], "RS256"},
		"p256": {ecKey()["P-256"], "ES256"},
		"p384": {ecKey()["P-384"], "ES384"},
		"p521": {ecKey()["P-521"], "ES512"},
	}
}

// stored is a Store with a key of every type.
func stored(t *testing.T) *Store {
	t.Helper()
	var keys []map[string]any
	for kid, pair := range pairs() {
		keys = append(keys, jwk(t, kid, pair.private.Public(), map[string]any{"alg": pair.algorithm}))
	}
	l := newTimeline(t)
	l.src.Algorithms = []string{"RS256", "ES256", "ES384", "ES512"}
	l.publish(keys...)
	if len(l.Keys()) != len(keys) {
		t.Fatalf("%v", l.Keys())
	}
	return l.Store
}

func TestPEM(t *testing.T) {
	s := stored(t)
	for _, key := range s.Keys() {
		text, err := s.PEM(key)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(text, []byte("-----BEGIN PUBLIC KEY-----\n")) {
			t.Errorf("%s", text)
		}
		block, _ := pem.Decode(text)
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !equalKeys(public, pairs()[key.KID].private.Public()) {
			t.Errorf("%s is another key", key.KID)
		}
	}
	key := s.Keys()[0]
	other, err := s.PEM(s.Keys()[1])
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(rsaKey()[0])
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string][]byte{
		"another key than its name says": other,
		"no single public key":           pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"no single public key in PEM":    append(bytes.Clone(other), other...),
		"this is no single":              nil,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, key.File), text, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, read := range []func(Key) ([]byte, error){s.PEM, s.Certificate} {
			if _, err := read(key); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "refresh") {
				t.Errorf("want an error with %q, have %v", want, err)
			}
		}
	}
	for _, strange := range []Key{{}, {Issuer: "ci", KID: "a", Algorithms: []string{"RS256"}, File: "keys/ci/../../../etc/passwd"}} {
		if _, err := s.PEM(strange); err == nil {
			t.Errorf("%+v was read", strange)
		}
	}
}

func equalKeys(a, b crypto.PublicKey) bool {
	equal, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && equal.Equal(b)
}

func TestCertificate(t *testing.T) {
	s := stored(t)
	serials := make(map[string]bool)
	for _, key := range s.Keys() {
		text, err := s.Certificate(key)
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.Certificate(key)
		if err != nil || !bytes.Equal(text, again) {
			t.Errorf("%s: the second time it is another one, %v", key.KID, err)
		}
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
			t.Fatalf("%s", text)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !equalKeys(cert.PublicKey, pairs()[key.KID].private.Public()) {
			t.Errorf("%s wraps another key", key.KID)
		}
		if cert.IsCA || cert.SerialNumber.Sign() <= 0 || len(cert.SerialNumber.Bytes()) > 20 || cert.NotAfter.Year() != 9999 {
			t.Errorf("%s: CA %t, serial %v, until %v", key.KID, cert.IsCA, cert.SerialNumber, cert.NotAfter)
		}
		serials[cert.SerialNumber.String()] = true
	}
	if len(serials) != len(pairs()) {
		t.Errorf("%d serial numbers", len(serials))
	}
}

// sign makes a token, as the issuer of the key would.
func sign(t *testing.T, kid, algorithm string, private crypto.Signer) string {
	t.Helper()
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: jose.JSONWebKey{Key: private, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(`{"sub":"job"}`))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// verifier starts a HAProxy that answers 200 to a token that one of the rules
// verifies, else 403.
func verifier(t *testing.T, binary, extra string, rules []string) func(token string) int {
	t.Helper()
	dir, err := os.MkdirTemp("", "h") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var b strings.Builder
	fmt.Fprintf(&b, "global\n  stats socket %s/stats mode 600\n%s", dir, extra)
	b.WriteString("defaults\n  mode http\n  timeout client 10s\n  timeout connect 10s\n  timeout server 10s\n")
	fmt.Fprintf(&b, "frontend f\n  bind unix@%s/http\n  http-request set-var(txn.token) http_auth_bearer\n", dir)
	for _, rule := range rules {
		fmt.Fprintf(&b, "  http-request return status 200 if { var(txn.token),%s -m int 1 }\n", rule)
	}
	b.WriteString("  http-request deny\n")
	config := filepath.Join(dir, "c.cfg")
	if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	child, err := haproxy.Start(t.Context(), haproxy.Options{
		Binary: binary, Configs: []string{config}, Socket: filepath.Join(dir, "stats"), Output: filepath.Join(dir, "out"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := child.Stop(); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "http"))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	return func(token string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gate/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
}

// expectVerified asks HAProxy about good tokens, and about a stranger's.
func expectVerified(t *testing.T, ask func(string) int) {
	t.Helper()
	for kid, pair := range pairs() {
		token := sign(t, kid, pair.algorithm, pair.private)
		if have := ask(token); have != http.StatusOK {
			t.Errorf("%s: HAProxy answers %d", pair.algorithm, have)
		}
		parts := strings.Split(token, ".")
		if have := ask(parts[0] + ".eyJzdWIiOiJyb290In0." + parts[2]); have != http.StatusForbidden {
			t.Errorf("%s over other claims: HAProxy answers %d", pair.algorithm, have)
		}
	}
	if have := ask(sign(t, "rsa", "RS256", rsaKey()[2])); have != http.StatusForbidden {
		t.Errorf("a stranger's key: HAProxy answers %d", have)
	}
}

func TestHAProxyVerifiesWithTheFiles(t *testing.T) {
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	s := stored(t)
	var rules []string
	for _, key := range s.Keys() {
		rules = append(rules, fmt.Sprintf("jwt_verify(%s,%q)", key.Algorithms[0], filepath.Join(s.dir, key.File)))
	}
	expectVerified(t, verifier(t, binary, "", rules))
}

// From 3.3 on HAProxy takes certificates, which can be swapped at run time, and
// reads nothing but the key in ours.
func TestHAProxyVerifiesWithTheCertificates(t *testing.T) {
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	if major, minor := version(t, binary); major < 3 || major == 3 && minor < 3 {
		t.Skipf("%s is HAProxy %d.%d; certificates are for 3.3 and newer: name one in HAPTRAIL_HAPROXY", binary, major, minor)
	}
	s := stored(t)
	extra := "crt-store keys\n"
	var rules []string
	for _, key := range s.Keys() {
		text, err := s.Certificate(key)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(s.dir, strings.TrimSuffix(key.File, ".pem")+".crt")
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
		extra += fmt.Sprintf("  load crt %s alias %s jwt on\n", name, key.KID)
		rules = append(rules, fmt.Sprintf("jwt_verify_cert(%s,%q)", key.Algorithms[0], "@keys/"+key.KID))
	}
	expectVerified(t, verifier(t, binary, extra, rules))
}

func version(t *testing.T, binary string) (major, minor int) {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), binary, "-v").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`version (\d+)\.(\d+)`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s", text)
	}
	major, _ = strconv.Atoi(string(found[1]))
	minor, _ = strconv.Atoi(string(found[2]))
	return major, minor
}
