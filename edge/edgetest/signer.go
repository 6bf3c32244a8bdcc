package edgetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Signer is an issuer's key with its private half.
type Signer struct {
	KID       string
	Algorithm jose.SignatureAlgorithm
	Private   crypto.Signer
}

// rsaKeys are made once for a test binary: each takes a good part of a second
// under the race detector.
var rsaKeys = [...]func() (*rsa.PrivateKey, error){
	sync.OnceValues(newRSA), sync.OnceValues(newRSA), sync.OnceValues(newRSA),
}

func newRSA() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }

// NewSigner makes a key for the algorithm (RS*, PS* or ES*). Signers of RSA with
// different n, from 0 to 2, have different keys.
func NewSigner(t testing.TB, kid string, algorithm jose.SignatureAlgorithm, n int) Signer {
	t.Helper()
	s := Signer{KID: kid, Algorithm: algorithm}
	curves := map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()}
	var err error
	if curve := curves[algorithm]; curve != nil {
		s.Private, err = ecdsa.GenerateKey(curve, rand.Reader)
	} else {
		s.Private, err = rsaKeys[n]()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Token signs claims: a map, or raw JSON for what a map cannot say.
func (s Signer) Token(t testing.TB, claims any) string {
	t.Helper()
	payload, raw := claims.(json.RawMessage)
	if !raw {
		var err error
		if payload, err = json.Marshal(claims); err != nil {
			t.Fatal(err)
		}
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: s.Algorithm, Key: jose.JSONWebKey{Key: s.Private, KeyID: s.KID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Forge puts a token together from a header and claims; sign makes the
// signature over their encoding.
func Forge(t testing.TB, header, claims map[string]any, sign func(input string) []byte) string {
	t.Helper()
	var input string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		if input != "" {
			input += "."
		}
		input += base64.RawURLEncoding.EncodeToString(text)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
}

// WriteJWKS writes the public halves as a JWKS (RFC 7517) and returns its URL,
// file:PATH.
func WriteJWKS(t testing.TB, path string, signers ...Signer) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, JWKS(t, signers...), 0o644); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

// JWKS are the public halves of the signers' keys.
func JWKS(t testing.TB, signers ...Signer) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, s := range signers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.Private.Public(), KeyID: s.KID, Algorithm: string(s.Algorithm), Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// With is a copy of claims with some changed; a nil value takes the claim out.
func With(claims, changes map[string]any) map[string]any {
	changed := maps.Clone(claims)
	for name, value := range changes {
		if changed[name] = value; value == nil {
			delete(changed, name)
		}
	}
	return changed
}
