package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// modulus is a number of so many bits that looks like an RSA key's.
func modulus(t testing.TB, bits int) string {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		t.Fatal(err)
	}
	n.SetBit(n, bits-1, 1).SetBit(n, 0, 1)
	return base64.RawURLEncoding.EncodeToString(n.Bytes())
}

// A key that can be used is not kept back by one that cannot, and each of those
// says why.
func TestKeysThatAreSkipped(t *testing.T) {
	rsa0, p256 := rsaKey()[0].Public(), ecKey()["P-256"].Public()
	p256of := ecKey()["P-256"].PublicKey
	long := strings.Repeat("k", 129)
	for _, c := range []struct {
		name   string
		key    map[string]any
		kid    string
		reason string
	}{
		{"no kid", jwk(t, "x", rsa0, map[string]any{"kid": nil}), "", "it has no kid"},
		{"null kid", jwk(t, "x", rsa0, map[string]any{"kid": json.RawMessage("null")}), "", "it has no kid"},
		{"empty kid", jwk(t, "x", rsa0, map[string]any{"kid": ""}), "", "its kid is not 1 to 128"},
		{"kid of a number", jwk(t, "x", rsa0, map[string]any{"kid": 7}), "", "its kid is not 1 to 128"},
		{"kid with a bar", jwk(t, "a|b", rsa0, nil), `"a|b"`, "its kid is not 1 to 128"},
		{"kid with a blank", jwk(t, "a b", rsa0, nil), `"a b"`, "its kid is not 1 to 128"},
		{"kid with a line feed", jwk(t, "a\n", rsa0, nil), `"a\n"`, "its kid is not 1 to 128"},
		{"kid of 129", jwk(t, long, rsa0, nil), `"` + long[:64] + `"`, "its kid is not 1 to 128"},
		{"use enc", jwk(t, "x", rsa0, map[string]any{"use": "enc"}), "x", "its use is enc"},
		{"use of a list", jwk(t, "x", rsa0, map[string]any{"use": []string{"sig"}}), "x", `its use is ""`},
		{"key_ops sign", jwk(t, "x", rsa0, map[string]any{"key_ops": []string{"sign"}}), "x", `do not have "verify"`},
		{"key_ops text", jwk(t, "x", rsa0, map[string]any{"key_ops": "verify"}), "x", `do not have "verify"`},
		{"alg not allowed", jwk(t, "x", rsa0, map[string]any{"alg": "RS512"}), "x", "RS512 is not among the issuer's [RS256 ES256]"},
		{"alg none", jwk(t, "x", rsa0, map[string]any{"alg": "none"}), "x", "none is not among"},
		{"alg HS256", jwk(t, "x", rsa0, map[string]any{"alg": "HS256"}), "x", "HS256 is not among"},
		{"alg of a number", jwk(t, "x", rsa0, map[string]any{"alg": 256}), "x", `"" is not among`},
		{"alg of another type", jwk(t, "x", rsa0, map[string]any{"alg": "ES256"}), "x", "does not fit its type, RSA"},
		{"alg of RSA on EC", jwk(t, "x", p256, map[string]any{"alg": "RS256"}), "x", "does not fit its type, P-256"},
		{"P-384 under ES256", jwk(t, "x", ecKey()["P-384"].Public(), map[string]any{"alg": "ES256"}), "x", "does not fit its type, P-384"},
		{"P-384 without alg", jwk(t, "x", ecKey()["P-384"].Public(), nil), "x", "none of the issuer's algorithms [RS256 ES256] fits its type, P-384"},
		{"oct", map[string]any{"kty": "oct", "kid": "x", "alg": "HS256", "k": "c2VjcmV0"}, "x", "shared secret"},
		{"Ed25519", map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "x", "x": "AA"}, "x", "its type OKP is none"},
		{"no kty", jwk(t, "x", rsa0, map[string]any{"kty": nil}), "x", `its type "" is none`},
		{"kty in small letters", jwk(t, "x", rsa0, map[string]any{"kty": "rsa"}), "x", "its type rsa is none"},
		{"RSA of 2047", jwk(t, "x", rsa0, map[string]any{"n": modulus(t, 2047)}), "x", "2047 bits; 2048 to 8192"},
		{"RSA of 1024 with zeros before", jwk(t, "x", rsa0, map[string]any{"n": base64.RawURLEncoding.EncodeToString(append(make([]byte, 200), 0xff))}), "x", "8 bits"},
		{"RSA of 8193", jwk(t, "x", rsa0, map[string]any{"n": modulus(t, 8193)}), "x", "8193 bits"},
		{"RSA of 80000", jwk(t, "x", rsa0, map[string]any{"n": modulus(t, 80000)}), "x", "more than 8192 bits"},
		{"RSA without n", jwk(t, "x", rsa0, map[string]any{"n": nil}), "x", "no base64url number"},
		{"RSA with a standard base64 n", jwk(t, "x", rsa0, map[string]any{"n": "+/+/"}), "x", "no base64url number"},
		{"RSA with a padded e", jwk(t, "x", rsa0, map[string]any{"e": "AQ=="}), "x", "no base64url number"},
		{"RSA with e 1", jwk(t, "x", rsa0, map[string]any{"e": "AQ"}), "x", "no RSA key's"},
		{"RSA with e 0", jwk(t, "x", rsa0, map[string]any{"e": "AA"}), "x", "no RSA key's"},
		{"RSA with an even e", jwk(t, "x", rsa0, map[string]any{"e": "AQAA"}), "x", "no RSA key's"},
		{"RSA with e of 32 bits", jwk(t, "x", rsa0, map[string]any{"e": "_____w"}), "x", "no RSA key's"},
		{"RSA with an even n", jwk(t, "x", rsa0, map[string]any{"n": base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, make([]byte, 255)...))}), "x", "no RSA key's"},
		{"a point off the curve", jwk(t, "x", p256, map[string]any{"y": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}), "x", "not on its curve"},
		{"a short x", jwk(t, "x", p256, map[string]any{"x": "AAAA"}), "x", "no base64url number of 32 bytes"},
		{"a curve's point on another", jwk(t, "x", p256, map[string]any{"crv": "P-384"}), "x", "of 48 bytes"},
		{"no curve", jwk(t, "x", p256, map[string]any{"crv": nil}), "x", `its curve "" is none`},
		{"P-224", map[string]any{"kty": "EC", "crv": "P-224", "kid": "x", "x": "AA", "y": "AA"}, "x", "its curve P-224 is none"},
		{"secp256k1", jwk(t, "x", &p256of, map[string]any{"crv": "secp256k1"}), "x", "its curve secp256k1 is none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := source("")
			found, skipped, err := parseSet(set(t, c.key, jwk(t, "good", rsaKey()[1].Public(), nil)), src)
			if err != nil || len(found) != 1 || found[0].kid != "good" {
				t.Fatalf("the good key: %+v, %v", found, err)
			}
			if len(skipped) != 1 || skipped[0].KID != c.kid || !strings.Contains(skipped[0].Reason, c.reason) {
				t.Errorf("want kid %s, %q; have %+v", c.kid, c.reason, skipped)
			}
			// Alone, it is a set without a key, which says the same.
			_, _, err = parseSet(set(t, c.key), src)
			if !errors.Is(err, errNoKey) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("alone: %v", err)
			}
		})
	}
}

func TestKeysThatAreTaken(t *testing.T) {
	all := []string{"RS256", "RS512", "PS256", "ES256", "ES384", "ES512"}
	rsa0 := rsaKey()[0].Public()
	for _, c := range []struct {
		name string
		key  map[string]any
		want []string
	}{
		{"RSA, no alg", jwk(t, "x", rsa0, nil), []string{"PS256", "RS256", "RS512"}},
		{"RSA, alg", jwk(t, "x", rsa0, map[string]any{"alg": "RS512"}), []string{"RS512"}},
		{"RSA, null alg and use", jwk(t, "x", rsa0, map[string]any{"alg": json.RawMessage("null"), "use": json.RawMessage("null")}), []string{"PS256", "RS256", "RS512"}},
		{"no use, key_ops", jwk(t, "x", rsa0, map[string]any{"use": nil, "key_ops": []string{"verify"}, "alg": "RS256"}), []string{"RS256"}},
		{"unknown members, a broken x5c", jwk(t, "x", rsa0, map[string]any{"x5c": []string{"?"}, "x5t": "?", "nbf": 1, "alg": "RS256"}), []string{"RS256"}},
		{"RSA of 2048, e of 3", jwk(t, "x", rsa0, map[string]any{"n": modulus(t, 2048), "e": "Aw", "alg": "RS256"}), []string{"RS256"}},
		{"RSA of 8192", jwk(t, "x", rsa0, map[string]any{"n": modulus(t, 8192), "alg": "RS256"}), []string{"RS256"}},
		{"P-256", jwk(t, "x", ecKey()["P-256"].Public(), nil), []string{"ES256"}},
		{"P-384", jwk(t, "x", ecKey()["P-384"].Public(), nil), []string{"ES384"}},
		{"P-521, alg", jwk(t, "x", ecKey()["P-521"].Public(), map[string]any{"alg": "ES512"}), []string{"ES512"}},
	} {
		found, skipped, err := parseSet(set(t, c.key), Source{Algorithms: all})
		if err != nil || len(found) != 1 || len(skipped) != 0 {
			t.Errorf("%s: %+v %+v %v", c.name, found, skipped, err)
			continue
		}
		if !slices.Equal(found[0].algorithms, c.want) {
			t.Errorf("%s: want %v, have %v", c.name, c.want, found[0].algorithms)
		}
		// go-jose reads the same key, of those sizes that it takes.
		if c.name == "RSA of 8192" || strings.Contains(c.name, "x5c") {
			continue
		}
		text, _ := json.Marshal(c.key)
		var other jose.JSONWebKey
		if err := json.Unmarshal(text, &other); err != nil {
			t.Errorf("%s: go-jose: %v", c.name, err)
		} else if print, _ := thumbprint(other.Key); print != found[0].thumbprint {
			t.Errorf("%s: go-jose reads key %s, we %s", c.name, print, found[0].thumbprint)
		}
	}
}

// The example of RFC 7638 section 3.1.
func TestThumbprint(t *testing.T) {
	key := map[string]any{
		"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
		"n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
			"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI" +
			"SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
	}
	found, _, err := parseSet(set(t, key), source(""))
	if err != nil || found[0].thumbprint != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestSetsThatAreRefused(t *testing.T) {
	good := jwk(t, "good", rsaKey()[1].Public(), nil)
	private, err := json.Marshal(jose.JSONWebKey{Key: rsaKey()[0], KeyID: "oops"})
	if err != nil {
		t.Fatal(err)
	}
	var leaked map[string]any
	if err := json.Unmarshal(private, &leaked); err != nil {
		t.Fatal(err)
	}
	whole := string(set(t, good))
	many := make([]map[string]any, maxSet+1)
	for i := range many {
		many[i] = jwk(t, fmt.Sprint("k", i), rsaKey()[0].Public(), nil)
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "no JSON object"},
		{"a page", "<html>sign in</html>", "no JSON object"},
		{"half a set", whole[:len(whole)/2], "no JSON object"},
		{"a list", "[" + whole + "]", "no JSON object"},
		{"null", "null", "no key set"},
		{"two sets", whole + whole, "something follows"},
		{"no keys", `{"key":[]}`, "no key set"},
		{"KEYS", `{"KEYS":[]}`, "no key set"},
		{"keys null", `{"keys":null}`, "no key set"},
		{"keys an object", `{"keys":{}}`, "no key set"},
		{"an empty set", `{"keys":[]}`, "it is empty"},
		{"not objects", `{"keys":[1,"a",null,[]]}`, "it is no JSON object"},
		{"a private key beside a good one", string(set(t, good, leaked)), "key oops is PRIVATE"},
		{"a private EC key", string(set(t, good, jwk(t, "e", ecKey()["P-256"].Public(), map[string]any{"d": "AA"}))), "key e is PRIVATE"},
		{"a secret of an unknown type", string(set(t, good, map[string]any{"kty": "AKP", "kid": "m", "priv": "AA"})), "key m is PRIVATE"},
		{"a strange kid of a private key", string(set(t, good, jwk(t, "a\x1b[2J", rsaKey()[0].Public(), map[string]any{"p": "AA"}))), `key "a\x1b[2J" is PRIVATE`},
		{"too many", string(set(t, many...)), "65 keys, more than 64"},
	} {
		found, _, err := parseSet([]byte(c.text), source(""))
		if err == nil || !strings.Contains(err.Error(), c.want) || len(found) != 0 {
			t.Errorf("%s: want an error with %q, have %v and %d keys", c.name, c.want, err, len(found))
		}
	}
}

func TestDuplicateKids(t *testing.T) {
	a, b := rsaKey()[0].Public(), rsaKey()[1].Public()
	found, skipped, err := parseSet(set(t,
		jwk(t, "twice", a, map[string]any{"alg": "RS256"}),
		jwk(t, "two", a, nil), jwk(t, "two", b, nil),
		jwk(t, "twice", a, map[string]any{"alg": "RS512"}),
		// A kid that is also an encryption key's is no ambiguity: that one is not used.
		jwk(t, "also", b, nil), jwk(t, "also", a, map[string]any{"use": "enc"}),
	), Source{Algorithms: []string{"RS512", "RS256"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].kid != "twice" || !slices.Equal(found[0].algorithms, []string{"RS256", "RS512"}) || found[1].kid != "also" {
		t.Errorf("found %+v", found)
	}
	refused := 0
	for _, s := range skipped {
		if s.KID == "two" && strings.Contains(s.Reason, "same kid") {
			refused++
		}
	}
	if refused != 2 || len(skipped) != 3 {
		t.Errorf("skipped %+v", skipped)
	}
}

// Whatever a server sends: no panic, an error or keys but not both, and each key
// is one that the rules allow, which this test asks in its own words.
func FuzzParseSet(f *testing.F) {
	f.Add(set(f, jwk(f, "a", rsaKey()[0].Public(), nil), jwk(f, "b", ecKey()["P-256"].Public(), map[string]any{"alg": "ES256"})))
	f.Add(set(f, jwk(f, "a", rsaKey()[0].Public(), nil), jwk(f, "a", rsaKey()[1].Public(), nil)))
	f.Add(set(f, jwk(f, "a", rsaKey()[0].Public(), map[string]any{"use": "enc", "key_ops": []string{"verify"}})))
	f.Add(set(f, jwk(f, "a", rsaKey()[0].Public(), map[string]any{"d": "AQ"})))
	f.Add([]byte(`{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","n":"____","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		src := source("")
		found, skipped, err := parseSet(text, src)
		if (err == nil) != (len(found) > 0) {
			t.Fatalf("%d keys and error %v", len(found), err)
		}
		for _, s := range skipped {
			if s.Reason == "" || strings.ContainsAny(s.KID+s.Reason, "\n\x1b\x00") {
				t.Fatalf("skipped %+v", s)
			}
		}
		seen := make(map[string]bool)
		for _, key := range found {
			if seen[key.kid] || len(key.kid) == 0 || len(key.kid) > 128 || strings.ContainsAny(key.kid, "| \t\n\"'\\\x00") {
				t.Fatalf("kid %q", key.kid)
			}
			seen[key.kid] = true
			if len(key.algorithms) != 1 {
				t.Fatalf("algorithms %v", key.algorithms)
			}
			switch public := key.public.(type) {
			case *rsa.PublicKey:
				if public.N.BitLen() < 2048 || public.N.BitLen() > 8192 || public.E < 3 || key.algorithms[0] != "RS256" {
					t.Fatalf("RSA of %d bits for %v", public.N.BitLen(), key.algorithms)
				}
			case *ecdsa.PublicKey:
				_, err := public.ECDH() // fails off the curve
				if public.Curve != elliptic.P256() || err != nil || key.algorithms[0] != "ES256" {
					t.Fatalf("EC on %v for %v", public.Curve, key.algorithms)
				}
			default:
				t.Fatalf("a key of type %T", public)
			}
			if _, err := encodePEM(key.public); err != nil {
				t.Fatal(err)
			}
			if !pemName.MatchString(pemFile("ci", key.thumbprint)) {
				t.Fatalf("thumbprint %q", key.thumbprint)
			}
		}
	})
}
