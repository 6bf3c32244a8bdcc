package demo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/errgroup"

	"github.com/haptrail/haptrail/deploy"
)

// teamcityBits is the size of TeamCity's own RSA keys; 2048 is usual elsewhere.
const teamcityBits = 3072

// signingKey is a key of an issuer: the private half stays in this process.
type signingKey struct {
	id        string // kid
	provider  string // whose key it is
	algorithm jose.SignatureAlgorithm
	file      string // the public half's name below the gate's directory
	private   crypto.Signer
}

// keyring holds the keys that deploy/maps/keys.map names, in its order.
type keyring []*signingKey

// newKeyring makes a fresh private key for each line of keys.map, so that the
// map alone says which issuer signs with what.
func newKeyring() (keyring, error) {
	lines, err := readMap("maps/keys.map")
	if err != nil {
		return nil, err
	}
	keys := make(keyring, len(lines))
	var group errgroup.Group
	for i, line := range lines {
		value := strings.Split(line[1], "|")
		if len(value) != 3 {
			return nil, fmt.Errorf("maps/keys.map: %s: want issuer|algorithm|file, have %q", line[0], line[1])
		}
		k := &signingKey{id: line[0], provider: value[0], algorithm: jose.SignatureAlgorithm(value[1]), file: value[2]}
		keys[i] = k
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
		bits := 2048
		if k.provider == teamcity {
			bits = teamcityBits
		}
		k.private, err = rsa.GenerateKey(rand.Reader, bits)
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

// of returns the public keys of one issuer as a JWKS (RFC 7517).
func (keys keyring) of(provider string) jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	for _, k := range keys {
		if k.provider == provider {
			set.Keys = append(set.Keys, jose.JSONWebKey{
				Key: k.private.Public(), KeyID: k.id, Algorithm: string(k.algorithm), Use: "sig",
			})
		}
	}
	return set
}

// write stores each public key below dir, as the PEM of a SubjectPublicKeyInfo:
// the only form that HAProxy's jwt_verify takes beside a certificate.
func (keys keyring) write(dir string) error {
	for _, k := range keys {
		path := filepath.Join(dir, filepath.FromSlash(k.file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		text, err := publicPEM(k.private.Public())
		if err != nil {
			return fmt.Errorf("key %s: %w", k.id, err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func publicPEM(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
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

// readMap reads one of the gate's map files as HAProxy does: a key up to the
// first blank, the rest of the line its value, "#" lines left out.
func readMap(name string) ([][2]string, error) {
	text, err := fs.ReadFile(deploy.Gate, name)
	if err != nil {
		return nil, err
	}
	var lines [][2]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, found := strings.Cut(line, " ")
		if !found {
			return nil, fmt.Errorf("%s: %q has no value", name, key)
		}
		lines = append(lines, [2]string{key, strings.TrimSpace(value)})
	}
	return lines, nil
}
