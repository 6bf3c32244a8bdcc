package keys

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// PEM returns a key's file: its SubjectPublicKeyInfo (RFC 5280 section 4.1) under
// BEGIN PUBLIC KEY, as HAProxy's jwt_verify takes it. A file that is not this key
// is an error.
func (s *Store) PEM(key Key) ([]byte, error) {
	text, _, err := s.readPEM(key)
	return text, err
}

// Certificate wraps a key in an X.509 certificate, PEM: HAProxy from 3.3 on takes
// verification keys at run time ("new ssl cert", "add ssl jwt"), but certificates
// only. The same key gives the same bytes.
//
// The certificate proves nothing and need not: HAProxy takes the public key out
// of it and looks at neither signature, name nor time. It is trusted because it
// is where its PEM would be, in a folder that only haptrail writes. So that nobody
// mistakes it for more, it is signed with a key that everybody has.
func (s *Store) Certificate(key Key) ([]byte, error) {
	_, public, err := s.readPEM(key)
	if err != nil {
		return nil, err
	}
	signer := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "haptrail: proves nothing"}}
	thumbprint := strings.TrimSuffix(path.Base(key.File), ".pem")
	serial, err := base64.RawURLEncoding.DecodeString(thumbprint)
	if err != nil {
		return nil, fmt.Errorf("key %s of %s: %w", key.KID, key.Issuer, err)
	}
	template := &x509.Certificate{
		// Positive, and of 20 bytes at most (RFC 5280 section 4.1.2.2).
		SerialNumber: new(big.Int).SetBytes(append([]byte{1}, serial[:19]...)),
		Subject:      pkix.Name{CommonName: thumbprint},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // none (section 4.1.2.5)
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(nil, template, issuer, public, signer)
	if err != nil {
		return nil, fmt.Errorf("certificate of key %s of %s: %w", key.KID, key.Issuer, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// encodePEM is the content of a key's file.
func encodePEM(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// thumbprint names a key by its content (RFC 7638, SHA-256, base64url).
func thumbprint(public crypto.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// readPEM reads a key's file and compares it with its name.
func (s *Store) readPEM(key Key) ([]byte, crypto.PublicKey, error) {
	if err := key.check(); err != nil {
		return nil, nil, fmt.Errorf("issuer %q: %w", key.Issuer, err)
	}
	text, err := os.ReadFile(s.path(key.File))
	if err != nil {
		return nil, nil, err
	}
	public, err := decodePEM(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.path(key.File), err)
	}
	print, err := thumbprint(public)
	if err != nil || pemFile(key.Issuer, print) != key.File {
		return nil, nil, fmt.Errorf("%s holds another key than its name says: refresh the issuer's keys", s.path(key.File))
	}
	return text, public, nil
}

func decodePEM(text []byte) (crypto.PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errors.New("this is no single public key in PEM (BEGIN PUBLIC KEY): refresh the issuer's keys")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// writeFiles puts the keys of a set on the disk. What is there already stays.
func (s *Store) writeFiles(issuer string, found []published) error {
	if err := s.disk.makeDir(s.path("keys/" + issuer)); err != nil {
		return err
	}
	for _, key := range found {
		text, err := encodePEM(key.public)
		if err != nil {
			return err
		}
		if err := s.disk.write(s.path(pemFile(issuer, key.thumbprint)), text); err != nil {
			return err
		}
	}
	return nil
}

// intact reports whether the files of all keys that a set has are as they were
// written. If one is not, the set is asked for whole, and written again.
func (s *Store) intact(keys []Key) bool {
	for _, key := range keys {
		if !key.Retires.IsZero() {
			continue
		}
		if _, _, err := s.readPEM(key); err != nil {
			return false
		}
	}
	return true
}
