package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Three RSA keys and one of each curve, made once.
var (
	rsaKey = sync.OnceValue(func() []*rsa.PrivateKey {
		keys := make([]*rsa.PrivateKey, 3)
		for i := range keys {
			var err error
			if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
				panic(err)
			}
		}
		return keys
	})
	ecKey = sync.OnceValue(func() map[string]*ecdsa.PrivateKey {
		keys := make(map[string]*ecdsa.PrivateKey)
		for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521(), elliptic.P224()} {
			key, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				panic(err)
			}
			keys[curve.Params().Name] = key
		}
		return keys
	})
)

// jwk is a public key's JSON members, and changes to them; nil takes one away.
func jwk(t testing.TB, kid string, public crypto.PublicKey, changes map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: public, KeyID: kid, Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	for name, value := range changes {
		if m[name] = value; value == nil {
			delete(m, name)
		}
	}
	return m
}

// set is a key set's text.
func set(t testing.TB, keys ...map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": append([]map[string]any{}, keys...)})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// issuer is a JWKS server whose answer can be changed.
type issuer struct {
	*httptest.Server
	mu       sync.Mutex
	handler  http.HandlerFunc
	requests []*http.Request
}

func newIssuer(t *testing.T, tls bool) *issuer {
	t.Helper()
	i := &issuer{}
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.requests = append(i.requests, r)
		handler := i.handler
		i.mu.Unlock()
		handler(w, r)
	})
	if tls {
		i.Server = httptest.NewTLSServer(serve)
	} else {
		i.Server = httptest.NewServer(serve)
	}
	i.Server.Config.ErrorLog = nil
	t.Cleanup(func() { i.CloseClientConnections(); i.Close() })
	return i
}

func (i *issuer) answer(handler http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handler = handler
}

// publish answers with a set.
func (i *issuer) publish(text []byte) {
	i.answer(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) })
}

// last is the newest request's header.
func (i *issuer) last(name string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests[len(i.requests)-1].Header.Get(name)
}

// open opens a Store, which trusts the test servers' certificate.
func open(t *testing.T, dir string, servers ...*issuer) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	for _, server := range servers {
		if cert := server.Certificate(); cert != nil {
			s.roots.AddCert(cert)
		}
	}
	return s
}

func source(url string) Source {
	return Source{Issuer: "ci", URL: url, Algorithms: []string{"RS256", "ES256"}, Overlap: time.Hour}
}

func refresh(t *testing.T, s *Store, src Source) Result {
	t.Helper()
	result, err := s.Refresh(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	check(t, s)
	return result
}

// refuse refreshes, expects an error that says so, and the keys unchanged.
func refuse(t *testing.T, s *Store, src Source, want string) Result {
	t.Helper()
	before := kids(s.Keys())
	result, err := s.Refresh(t.Context(), src)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("want an error with %q, have %v", want, err)
	}
	if after := kids(s.Keys()); !slices.Equal(before, after) {
		t.Errorf("%s: the keys were %v and are %v", want, before, after)
	}
	check(t, s)
	return result
}

func kids(keys []Key) []string {
	names := []string{}
	for _, key := range keys {
		names = append(names, key.KID)
	}
	return names
}

// check is what holds after every step: whatever the Store says it has is on the
// disk, is what it says, and is what another process would find.
func check(t testing.TB, s *Store) {
	t.Helper()
	again, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if have, want := again.Keys(), s.Keys(); !slices.EqualFunc(have, want, sameKey) {
		t.Errorf("the disk has\n%+v, the Store\n%+v", have, want)
	}
	for _, key := range s.Keys() {
		if _, err := s.PEM(key); err != nil {
			t.Error(err)
		}
		info, err := os.Stat(filepath.Join(s.dir, key.File))
		if err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v %v", key.File, info.Mode(), err)
		}
		if err := key.check(); err != nil {
			t.Error(err)
		}
	}
}

func sameKey(a, b Key) bool {
	return a.Issuer == b.Issuer && a.KID == b.KID && a.File == b.File && slices.Equal(a.Algorithms, b.Algorithms) &&
		a.Added.Equal(b.Added) && a.Seen.Equal(b.Seen) && a.Retires.Equal(b.Retires)
}

func TestOpenOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	s := open(t, dir)
	if len(s.Keys()) != 0 || len(s.Status()) != 0 {
		t.Errorf("%v, %v", s.Keys(), s.Status())
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open wrote something: %v", err)
	}
	server := newIssuer(t, false)
	server.publish(set(t, jwk(t, "a", rsaKey()[0].Public(), nil)))
	refresh(t, s, source(server.URL)) // makes the folders
	if have := kids(s.Keys()); !slices.Equal(have, []string{"a"}) {
		t.Errorf("keys: %v", have)
	}
}

func TestSourceIsValidated(t *testing.T) {
	s := open(t, t.TempDir())
	good := source("https://127.0.0.1:1/")
	for want, change := range map[string]func(*Source){
		`issuer ""`:              func(src *Source) { src.Issuer = "" },
		`issuer "../x"`:          func(src *Source) { src.Issuer = "../x" },
		`issuer "CI"`:            func(src *Source) { src.Issuer = "CI" },
		"name at least one":      func(src *Source) { src.Algorithms = nil },
		`"HS256" is none`:        func(src *Source) { src.Algorithms = []string{"RS256", "HS256"} },
		`"none" is none`:         func(src *Source) { src.Algorithms = []string{"none"} },
		"overlap -1s":            func(src *Source) { src.Overlap = -time.Second },
		"this is no URL":         func(src *Source) { src.URL = "keys.json" },
		"use https":              func(src *Source) { src.URL = "ftp://issuer.example/keys" },
		"his own key":            func(src *Source) { src.URL = "http://issuer.example/keys" },
		"take the user name out": func(src *Source) { src.URL = "https://me:pass@issuer.example/keys" },
		"an absolute path":       func(src *Source) { src.URL = "file:keys.json" },
		"no such file":           func(src *Source) { src.URL = "file:/no/such/keys.json" },
		"is no regular file":     func(src *Source) { src.URL = "file:///dev/null" },
	} {
		src := good
		change(&src)
		_, err := s.Refresh(t.Context(), src)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, have %v", want, err)
		}
		if err != nil && strings.Contains(err.Error(), "pass@") {
			t.Errorf("a password in %v", err)
		}
	}
}

// What Refresh wrote is read; what it cannot have written is refused, and named.
func TestBrokenStateIsRefused(t *testing.T) {
	dir := t.TempDir()
	server := newIssuer(t, false)
	server.publish(set(t, jwk(t, "a", rsaKey()[0].Public(), nil)))
	refresh(t, open(t, dir), source(server.URL))
	name := filepath.Join(dir, "keys", "state.json")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"EOF":                       "",
		"unexpected EOF":            string(good[:len(good)/2]),
		"something follows":         string(good) + "{}",
		"version 2 is not one":      strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"unknown field":             strings.Replace(string(good), `"file"`, `"files"`, 1),
		`issuer ".." is none`:       strings.Replace(string(good), `"ci": {`, `"..": {`, 1),
		`issuer "x" is none`:        `{"version":1,"issuers":{"x":null}}`,
		`kid "a b" is none`:         strings.Replace(string(good), `"kid": "a"`, `"kid": "a b"`, 1),
		`algorithm "HS256" is none`: strings.Replace(string(good), `          "RS256"`, `"HS256"`, 1),
		"has no algorithm":          `{"version":1,"issuers":{"ci":{"url":"","algorithms":[],"keys":[{"kid":"a","file":"keys/ci/` + strings.Repeat("A", 43) + `.pem"}]}}}`,
		"two keys":                  `{"version":1,"issuers":{"ci":{"url":"","algorithms":[],"keys":[` + twice(`{"kid":"a","algorithms":["RS256"],"file":"keys/ci/`+strings.Repeat("A", 43)+`.pem"}`) + `]}}}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "remove it and refresh") {
			t.Errorf("want an error with %q, have %v", want, err)
		}
	}
	for _, file := range []string{"../a.pem", "keys/other/" + strings.Repeat("A", 43) + ".pem", "keys/ci/../../etc/passwd", "keys/ci/short.pem"} {
		text := `{"version":1,"issuers":{"ci":{"url":"","algorithms":[],"keys":[{"kid":"a","algorithms":["RS256"],"file":"` + file + `"}]}}}`
		if _, err := readState([]byte(text)); err == nil || !strings.Contains(err.Error(), "is no file of it") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func twice(text string) string { return text + "," + text }

func TestStateRoundTrip(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)
	want := state{Version: stateVersion, Issuers: map[string]*issuerState{"ci": {
		URL: "https://issuer.example/keys", Algorithms: []string{"RS256"}, ETag: `W/"x"`, LastModified: "Mon",
		LastSuccess: now, LastFailure: now.Add(time.Second), Failure: "no", Failures: 2,
		Keys: []Key{{Issuer: "ci", KID: "a", Algorithms: []string{"RS256"}, File: pemFile("ci", strings.Repeat("A", 43)), Added: now, Seen: now, Retires: now}},
	}}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	have, err := readState(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(have)
	if err != nil || string(again) != string(text) {
		t.Errorf("%v\n%s\n%s", err, text, again)
	}
	if !slices.EqualFunc(have.Issuers["ci"].Keys, want.Issuers["ci"].Keys, sameKey) || !slices.Equal(slices.Collect(maps.Keys(have.Issuers)), []string{"ci"}) {
		t.Errorf("%+v", have.Issuers["ci"])
	}
}
