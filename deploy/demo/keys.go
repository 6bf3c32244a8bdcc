package demo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/errgroup"
)

// signingKey is a key of an issuer: the private half stays in this process.
type signingKey struct {
	id        string // kid
	provider  string // whose key it is
	algorithm jose.SignatureAlgorithm
	bits      int  // of RSA
	later     bool // kept back: for the issuer to change to
	private   crypto.Signer
}

// keyring holds keys; of each provider the first one signs first.
type keyring []*signingKey

// newKeyring makes the issuers' keys anew, each time that a world starts.
// TeamCity's own RSA keys have 3072 bits; 2048 is usual elsewhere.
func newKeyring() (keyring, error) {
	keys := keyring{
		{id: "space-2026a", provider: space, algorithm: jose.RS256, bits: 2048},
		{id: "teamcity-2026a", provider: teamcity, algorithm: jose.ES256},
		{id: "teamcity-2025b", provider: teamcity, algorithm: jose.RS256, bits: 3072},
		{id: "github-2026a", provider: github, algorithm: jose.RS256, bits: 2048},
		{id: "github-2026b", provider: github, algorithm: jose.RS256, bits: 2048, later: true},
		{id: "gitlab-2026a", provider: gitlab, algorithm: jose.RS256, bits: 2048},
	}
	var group errgroup.Group
	for _, k := range keys {
		group.Go(k.generate)
	}
	return keys, group.Wait()
}

// generate makes the private half.
func (k *signingKey) generate() (err error) {
	switch k.algorithm {
	case jose.ES256:
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.RS256:
		k.private, err = rsa.GenerateKey(rand.Reader, k.bits)
	default:
		err = fmt.Errorf("algorithm %s: the demo signs with RS256 and ES256", k.algorithm)
	}
	if err != nil {
		return fmt.Errorf("key %s: %w", k.id, err)
	}
	return nil
}

// find returns the key with that kid, or nil.
func (keys keyring) find(kid string) *signingKey {
	for _, k := range keys {
		if k.id == kid {
			return k
		}
	}
	return nil
}

// of returns the keys of one issuer.
func (keys keyring) of(provider string) keyring {
	var own keyring
	for _, k := range keys {
		if k.provider == provider {
			own = append(own, k)
		}
	}
	return own
}

// public returns the public halves as a JWKS (RFC 7517).
func (keys keyring) public() jose.JSONWebKeySet {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key: k.private.Public(), KeyID: k.id, Algorithm: string(k.algorithm), Use: "sig",
		})
	}
	return set
}

// sign returns the claims as a JWS in compact form (RFC 7515), kid in its header.
func (k *signingKey) sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: k.algorithm, Key: jose.JSONWebKey{Key: k.private, KeyID: k.id}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("key %s: %w", k.id, err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("key %s: %w", k.id, err)
	}
	return signed.CompactSerialize()
}
