package demo

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/keys"
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
	s := edgetest.NewSink(t)
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
		var set jose.JSONWebKeySet
		getJSON(t, jwks, &set)
		signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		header := signed.Signatures[0].Header
		found := set.Key(header.KeyID)
		if len(found) != 1 || found[0].Algorithm != header.Algorithm || !found[0].IsPublic() {
			t.Fatalf("%s: kid %q: %+v", j.name, header.KeyID, found)
		}
		if _, err := signed.Verify(found[0]); err != nil {
			t.Errorf("%s: %v", j.name, err)
		}
		algorithms[header.Algorithm]++
		checkPEM(t, w, j.provider, found[0])
	}
	if algorithms["RS256"] == 0 || algorithms["ES256"] == 0 {
		t.Errorf("the cast signs with %v", algorithms)
	}
}

func checkPEM(t *testing.T, w *World, provider string, want jose.JSONWebKey) {
	t.Helper()
	stored := w.keys.Store.Keys()
	i := slices.IndexFunc(stored, func(k keys.Key) bool { return k.Issuer == provider && k.KID == want.KeyID })
	if i < 0 {
		t.Fatalf("the gate has no key %s of %s", want.KeyID, provider)
	}
	text, err := os.ReadFile(filepath.Join(w.options.Edge, stored[i].File))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		t.Fatalf("%s: %s", stored[i].File, text)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if equal, ok := public.(interface{ Equal(x crypto.PublicKey) bool }); !ok || !equal.Equal(want.Key) {
		t.Errorf("%s is not the published key", stored[i].File)
	}
}

// A provider's next key is nowhere to be seen before it is published; the old one
// signs until the provider changes over, and is gone when it is withdrawn.
func TestKeysOfOneIssuerChange(t *testing.T) {
	all, err := newKeyring()
	if err != nil {
		t.Fatal(err)
	}
	is := newIssuer("http://issuer.test/", all)
	check := func(step, signs string, published ...string) {
		t.Helper()
		var kids []string
		for _, k := range is.keys(github) {
			kids = append(kids, k.id)
		}
		if have := is.key(github, "").id; have != signs || !slices.Equal(kids, published) {
			t.Errorf("%s: signs with %s, want %s; publishes %q, want %q", step, have, signs, kids, published)
		}
	}
	check("before", "github-2026a", "github-2026a")
	old, next, ok := is.publishNext(github)
	if !ok || old.id != "github-2026a" || next.id != "github-2026b" {
		t.Fatalf("%+v, %+v, %t", old, next, ok)
	}
	check("published", "github-2026a", "github-2026a", "github-2026b")
	is.signWith(next)
	check("changed over", "github-2026b", "github-2026a", "github-2026b")
	is.withdraw(old)
	check("withdrawn", "github-2026b", "github-2026b")
	if _, _, ok := is.publishNext(github); ok {
		t.Error("there is a third key")
	}
	if _, _, ok := is.publishNext(space); ok {
		t.Error("space has a second key")
	}
	if is.key(github, "github-2026a") != nil || is.key(space, "github-2026b") != nil {
		t.Error("a key is found that its issuer does not publish")
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
