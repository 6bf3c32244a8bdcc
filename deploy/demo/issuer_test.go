package demo

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func getJSON(t *testing.T, url string, v any) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(v); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

// Whoever knows an issuer's URL can check its tokens: discovery leads to the
// keys, the keys verify the token, and they are those that the gate has.
func TestTokensVerifyByDiscovery(t *testing.T) {
	s := newSink(t)
	w := startWorld(t, s, nil)
	algorithms := make(map[string]int)
	for _, j := range cast {
		if j.token != genuine {
			continue
		}
		token, err := w.issuer.token(j, "id", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		jwks := w.issuer.url(j.provider) + jwksPaths[space] // Space has no discovery
		if j.provider != space {
			var document struct {
				Issuer  string `json:"issuer"`
				JWKSURI string `json:"jwks_uri"`
			}
			getJSON(t, w.issuer.url(j.provider)+"/.well-known/openid-configuration", &document)
			if document.Issuer != w.issuer.url(j.provider) {
				t.Errorf("%s: discovery names issuer %q", j.provider, document.Issuer)
			}
			jwks = document.JWKSURI
		}
		var keys jose.JSONWebKeySet
		getJSON(t, jwks, &keys)
		signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		header := signed.Signatures[0].Header
		found := keys.Key(header.KeyID)
		if len(found) != 1 || found[0].Algorithm != header.Algorithm || !found[0].IsPublic() {
			t.Fatalf("%s: kid %q: %+v", j.name, header.KeyID, found)
		}
		if _, err := signed.Verify(found[0]); err != nil {
			t.Errorf("%s: %v", j.name, err)
		}
		algorithms[header.Algorithm]++
		checkPEM(t, w, header.KeyID, found[0])
	}
	if algorithms["RS256"] == 0 || algorithms["ES256"] == 0 {
		t.Errorf("the cast signs with %v", algorithms)
	}
}

func checkPEM(t *testing.T, w *World, kid string, want jose.JSONWebKey) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(w.Config()), "keys", kid+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		t.Fatalf("%s.pem: %s", kid, text)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if equal, ok := public.(interface{ Equal(x any) bool }); ok && !equal.Equal(want.Key) {
		t.Errorf("%s.pem is not the published key", kid)
	}
}

func TestReadMapRefusesAKeyWithoutValue(t *testing.T) {
	if _, err := readMap("haproxy.cfg"); err == nil { // "global" stands alone on its line
		t.Error("read a file that is no map")
	}
}

func TestUUIDForm(t *testing.T) {
	if have, want := uuid(0, 0), "00000000-0000-4000-8000-000000000000"; have != want {
		t.Errorf("want %s, have %s", want, have)
	}
	if have, want := uuid(1<<64-1, 1<<64-1), "ffffffff-ffff-4fff-bfff-ffffffffffff"; have != want {
		t.Errorf("want %s, have %s", want, have)
	}
}
