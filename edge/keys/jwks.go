package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
)

// Bounds of a key and of a set.
const (
	minRSA = 2048 // bits; RFC 7518 section 3.3
	maxRSA = 8192 // bits: verification time grows with their square
	maxSet = 64   // keys used of one issuer: each is a file and lines in a map
)

// families are the algorithms that a key may have, and what each needs: RSA, or
// a curve (RFC 7518 sections 3.3 to 3.5). HS* and none are not among them:
// nothing here is a secret.
var families = map[string]string{
	"RS256": "RSA", "RS384": "RSA", "RS512": "RSA",
	"PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
	"ES256": "P-256", "ES384": "P-384", "ES512": "P-521",
}

// published is a key that a set offers and that may be used.
type published struct {
	kid        string
	algorithms []string // sorted
	public     crypto.PublicKey
	thumbprint string // RFC 7638, SHA-256, base64url
}

// parseSet reads a JSON Web Key Set: the keys that the source allows, each kid
// once, and the rest with reasons. An error refuses the whole set.
func parseSet(text []byte, source Source) ([]published, []Skipped, error) {
	list, err := listed(text)
	if err != nil {
		return nil, nil, err
	}
	var found []published
	var skipped []Skipped
	for _, raw := range list {
		var m members
		if err := json.Unmarshal(raw, &m); err != nil || m == nil {
			skipped = append(skipped, Skipped{Reason: "it is no JSON object"})
			continue
		}
		kid := m.text("kid")
		if kid != "" {
			kid = show(kid)
		}
		if m.private() {
			return nil, nil, fmt.Errorf("key %s is PRIVATE, for everybody to read: whoever has it can sign as this issuer. Tell its operator at once. No key of the set is taken", kid)
		}
		key, err := m.key(source.Algorithms)
		if err != nil {
			skipped = append(skipped, Skipped{kid, err.Error()})
			continue
		}
		found = append(found, key)
	}
	found, ambiguous := unique(found)
	skipped = append(skipped, ambiguous...)
	if len(found) == 0 {
		return nil, skipped, noKey(skipped)
	}
	if len(found) > maxSet {
		return nil, skipped, fmt.Errorf("the key set has %d keys, more than %d: is this the right URL?", len(found), maxSet)
	}
	return found, skipped, nil
}

// listed reads the set as far as its list of keys.
func listed(text []byte) ([]json.RawMessage, error) {
	var set members
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&set); err != nil {
		return nil, fmt.Errorf("the key set is no JSON object that can be read: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the key set")
	}
	var list []json.RawMessage
	if err := json.Unmarshal(set["keys"], &list); err != nil || list == nil {
		return nil, errors.New(`this is no key set: it has no list "keys"`)
	}
	return list, nil
}

// noKey says why there is no key: the first reason of several.
func noKey(skipped []Skipped) error {
	if len(skipped) == 0 {
		return fmt.Errorf("%w: it is empty", errNoKey)
	}
	return fmt.Errorf("%w: key %s: %s", errNoKey, skipped[0].KID, skipped[0].Reason)
}

// unique merges a key that is listed twice, and refuses a kid of two keys: a
// token does not say which.
func unique(found []published) (keys []published, skipped []Skipped) {
	prints := make(map[string]map[string]bool)
	algorithms := make(map[string][]string)
	for _, key := range found {
		if prints[key.kid] == nil {
			prints[key.kid] = make(map[string]bool)
		}
		prints[key.kid][key.thumbprint] = true
		algorithms[key.kid] = append(algorithms[key.kid], key.algorithms...)
	}
	seen := make(map[string]bool)
	for _, key := range found {
		if len(prints[key.kid]) > 1 {
			skipped = append(skipped, Skipped{key.kid, "another key of the set has the same kid: the issuer must name them apart"})
			continue
		}
		if seen[key.kid] {
			continue
		}
		seen[key.kid] = true
		slices.Sort(algorithms[key.kid])
		key.algorithms = slices.Compact(algorithms[key.kid])
		keys = append(keys, key)
	}
	return keys, skipped
}

// members are a key's own, by exact name: a decoder of structs would take "KID".
type members map[string]json.RawMessage

// text is a member that is a JSON string, else "".
func (m members) text(name string) (s string) {
	_ = json.Unmarshal(m[name], &s)
	return s
}

// number is a member that is a base64url number (RFC 7518 section 2), else nil.
func (m members) number(name string) []byte {
	bytes, err := base64.RawURLEncoding.DecodeString(m.text(name))
	if err != nil {
		return nil
	}
	return bytes
}

func (m members) has(name string) bool {
	raw, ok := m[name]
	return ok && string(raw) != "null"
}

// private reports secret parameters of an asymmetric key (RFC 7518 sections 6.2.2
// and 6.3.2, RFC 8037 section 2, RFC 9964). A symmetric key, secret as it is, is
// only skipped: it signs HS*, which is allowed nowhere.
func (m members) private() bool {
	if m.text("kty") == "oct" {
		return false
	}
	return slices.ContainsFunc([]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}, m.has)
}

// key reads one key. The error is the reason to skip it.
func (m members) key(allowed []string) (published, error) {
	key := published{kid: m.text("kid")}
	switch {
	case !m.has("kid"):
		return key, errors.New("it has no kid, by which a token would name it")
	case !kidName.MatchString(key.kid):
		return key, errors.New("its kid is not 1 to 128 of A-Z, a-z, 0-9 and _.:=+/@-, which HAProxy's maps can hold")
	}
	if err := m.forSignatures(); err != nil {
		return key, err
	}
	family, err := key.material(m)
	if err != nil {
		return key, err
	}
	if key.algorithms, err = m.algorithms(family, allowed); err != nil {
		return key, err
	}
	key.thumbprint, err = thumbprint(key.public)
	return key, err
}

// forSignatures refuses a key that is published for something else (RFC 7517
// sections 4.2 and 4.3).
func (m members) forSignatures() error {
	if m.has("use") && m.text("use") != "sig" {
		return fmt.Errorf(`its use is %s, not "sig"`, show(m.text("use")))
	}
	if m.has("key_ops") {
		var operations []string
		if err := json.Unmarshal(m["key_ops"], &operations); err != nil || !slices.Contains(operations, "verify") {
			return errors.New(`its key_ops do not have "verify"`)
		}
	}
	return nil
}

// algorithms are what the key may verify: what it says itself, if that is
// allowed and fits, else all that is.
func (m members) algorithms(family string, allowed []string) ([]string, error) {
	if !m.has("alg") {
		fit := slices.DeleteFunc(slices.Clone(allowed), func(name string) bool { return families[name] != family })
		if len(fit) == 0 {
			return nil, fmt.Errorf("none of the issuer's algorithms %v fits its type, %s", allowed, family)
		}
		slices.Sort(fit)
		return slices.Compact(fit), nil
	}
	name := m.text("alg")
	switch {
	case !slices.Contains(allowed, name):
		return nil, fmt.Errorf("its algorithm %s is not among the issuer's %v", show(name), allowed)
	case families[name] != family:
		return nil, fmt.Errorf("its algorithm %s does not fit its type, %s", name, family)
	}
	return []string{name}, nil
}

// material reads the public key itself and says which family it is of.
func (p *published) material(m members) (family string, err error) {
	switch kty := m.text("kty"); kty {
	case "RSA":
		p.public, err = m.rsa()
		return "RSA", err
	case "EC":
		curve := m.text("crv")
		p.public, err = m.ec(curve)
		return curve, err
	case "oct":
		return "", errors.New("it is a shared secret (oct), and published: it proves nothing")
	default:
		return "", fmt.Errorf("its type %s is none that HAProxy verifies with (RSA, EC)", show(kty))
	}
}

// rsa reads an RSA key (RFC 7518 section 6.3.1). By hand: go-jose's own bound of
// 4096 bits is a variable of its package.
func (m members) rsa() (*rsa.PublicKey, error) {
	n, e := m.number("n"), m.number("e")
	if len(n) == 0 || len(e) == 0 {
		return nil, errors.New("its n or e is no base64url number")
	}
	if len(n) > maxRSA/8+1 {
		return nil, fmt.Errorf("it is an RSA key of more than %d bits", maxRSA)
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if bits := modulus.BitLen(); bits < minRSA || bits > maxRSA {
		return nil, fmt.Errorf("it is an RSA key of %d bits; %d to %d are taken", bits, minRSA, maxRSA)
	}
	// An exponent of 1 verifies anything; an even modulus or exponent is no RSA.
	if exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 || modulus.Bit(0) == 0 {
		return nil, errors.New("its n or e is no RSA key's")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

// ec reads a key on a NIST curve (RFC 7518 section 6.2.1) and sees to it that its
// point is on the curve.
func (m members) ec(name string) (*ecdsa.PublicKey, error) {
	var curve elliptic.Curve
	switch name {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, fmt.Errorf("its curve %s is none of P-256, P-384 and P-521", show(name))
	}
	x, y := m.number("x"), m.number("y")
	size := (curve.Params().BitSize + 7) / 8
	if len(x) != size || len(y) != size {
		return nil, fmt.Errorf("its x or y is no base64url number of %d bytes", size)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("its point is not on its curve")
	}
	return public, nil
}

// show makes a word of an issuer's fit for a log and a terminal.
func show(word string) string {
	if kidName.MatchString(word) {
		return word
	}
	return strconv.QuoteToASCII(word[:min(len(word), 64)])
}
