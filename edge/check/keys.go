package check

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/runtimeapi"
)

// loadedKey is a file that the configuration has HAProxy load for verification.
type loadedKey struct {
	place
	name        string // as keys.map calls it
	file        string
	certificate bool // in a crt-store (HAProxy 3.3), not a bare public key
}

// keyArgument finds the files that jwt_verify names; a variable is none.
var keyArgument = regexp.MustCompile(`\bjwt_verify(?:_cert)?\([^,()]*,"?([^,()"]+)"?\)`)

var variableName = regexp.MustCompile(`^(?:proc|sess|txn|req|res|check)\.`)

// loadedKeys lists them, in order.
func (c *checker) loadedKeys() []loadedKey {
	if c.cfg == nil {
		return nil
	}
	var all []loadedKey
	for _, s := range c.cfg.Sections {
		base := ""
		for _, l := range s.Lines {
			switch {
			case s.Kind == "crt-store" && l.Word(0) == "crt-base":
				base = l.Word(1)
			case s.Kind == "crt-store" && l.Word(0) == "load" && after(l, "jwt") == "on":
				crt := after(l, "crt")
				k := loadedKey{place: at(s, l), name: "@" + s.Name + "/" + crt, file: crt, certificate: true}
				if alias := after(l, "alias"); alias != "" {
					k.name = "@" + s.Name + "/" + alias
				}
				if !filepath.IsAbs(crt) {
					k.file = filepath.Join(base, crt)
				}
				all = append(all, k)
			}
			for _, w := range l.Words {
				for _, m := range keyArgument.FindAllStringSubmatch(w, -1) {
					if !variableName.MatchString(m[1]) {
						all = append(all, loadedKey{place: at(s, l), name: m[1], file: m[1]})
					}
				}
			}
		}
	}
	return all
}

// checkKeyFiles looks at the keys that HAProxy loads and at those that the map
// gives to issuers.
func (c *checker) checkKeyFiles() {
	if c.cfg == nil {
		return
	}
	loaded := c.loadedKeys()
	var names, judged []string
	for _, k := range loaded {
		names = append(names, k.name)
		if !slices.Contains(judged, k.file) {
			judged = append(judged, k.file)
			c.checkKeyFile(k)
		}
	}
	c.checkPrivateKeys()
	name := c.keysMap()
	text, err := os.ReadFile(name)
	if err != nil {
		return // reported as missing
	}
	issuers := make(map[string]bool)
	for i, e := range mapLines(text) {
		issuer, rest, ok := strings.Cut(e.Key, "|")
		if !ok || strings.Contains(rest, "|") {
			continue // "issuer|kid|algorithm" only says that the key may be used so
		}
		if slices.Contains(names, e.Value) {
			issuers[issuer] = true
			continue
		}
		c.add("key-unloaded", place{file: name, line: i + 1}, "write the keys again (haptrail edge keys) and reload HAProxy",
			"the key %s is in %s, which the configuration does not load: its tokens are denied (sig_bad)", e.Key, e.Value)
	}
	for i := range c.Policy.Issuers {
		if issuer := &c.Policy.Issuers[i]; !issuers[issuer.Name] {
			c.add("issuer-without-key", place{file: c.PolicyFile, line: issuer.Line}, "fetch its keys (haptrail edge keys), and see what that says",
				"issuer %s has no key in %s: none of its tokens passes", issuer.Name, name)
		}
	}
}

// keysMap is the file that gives keys to issuers.
func (c *checker) keysMap() string {
	for _, name := range c.gateMaps() {
		if filepath.Base(name) == "keys.map" {
			return c.file(name)
		}
	}
	return filepath.Join(c.Dir, "maps", "keys.map")
}

// checkKeyFile: HAProxy 2.6 starts without a word when a key is missing or none.
func (c *checker) checkKeyFile(k loadedKey) {
	const mend = "write the keys again (haptrail edge keys)"
	text, err := os.ReadFile(c.file(k.file))
	if err != nil {
		c.add("key-missing", k.place, mend, "the key's file cannot be read, and its tokens are denied (sig_bad): %s", err)
		return
	}
	if k.certificate {
		if certificate := block(text, "CERTIFICATE"); certificate == nil {
			c.add("key-invalid", k.place, mend, "%s holds no certificate, and a crt-store takes no bare key", k.file)
		} else if _, err := x509.ParseCertificate(certificate); err != nil {
			c.add("key-invalid", k.place, mend, "%s is no certificate: %s", k.file, err)
		}
		return
	}
	public := block(text, "PUBLIC KEY")
	if public == nil {
		kind := "no PEM"
		if b, _ := pem.Decode(text); b != nil {
			kind = "a " + b.Type
		}
		c.add("key-invalid", k.place, mend, "%s is %s; HAProxy verifies only with a PUBLIC KEY (SubjectPublicKeyInfo), and denies its tokens (sig_bad)", k.file, kind)
		return
	}
	if _, err := x509.ParsePKIXPublicKey(public); err != nil {
		c.add("key-invalid", k.place, mend, "%s is no public key, and its tokens are denied (sig_bad): %s", k.file, err)
	}
}

// block is the content of the first PEM block of a type, nil when there is none.
func block(text []byte, kind string) []byte {
	for {
		b, rest := pem.Decode(text)
		if b == nil {
			return nil
		}
		if b.Type == kind {
			return b.Bytes
		}
		text = rest
	}
}

// checkPrivateKeys: a gate verifies and never signs.
func (c *checker) checkPrivateKeys() {
	files, _ := filepath.Glob(filepath.Join(c.Dir, "keys", "*", "*")) // the pattern is well-formed
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
			if strings.HasSuffix(b.Type, "PRIVATE KEY") {
				c.add("key-private", place{file: file}, "delete it, and replace the key at its issuer: whoever read it can sign any identity",
					"a private key: the gate needs none, and nobody but the issuer should have it")
				break
			}
		}
	}
}

// checkKeyStatus: keys that are not refreshed end one day, with all tokens.
func (c *checker) checkKeyStatus() {
	if c.Keys == nil {
		return
	}
	all := c.Keys.Status()
	for i := range c.Policy.Issuers {
		issuer := &c.Policy.Issuers[i]
		status := keys.IssuerStatus{Issuer: issuer.Name}
		if k := slices.IndexFunc(all, func(s keys.IssuerStatus) bool { return s.Issuer == issuer.Name }); k >= 0 {
			status = all[k]
		}
		c.checkIssuer(place{file: c.PolicyFile, line: issuer.Line}, status)
	}
}

func (c *checker) checkIssuer(p place, s keys.IssuerStatus) {
	const mend = "see that haptrail serve runs and reaches the issuer, or fetch them by hand (haptrail edge keys)"
	said := slices.ContainsFunc(c.found, func(f Finding) bool {
		return f.Code == "issuer-without-key" && f.File == p.file && f.Line == p.line
	})
	if s.Keys == 0 && !said {
		c.add("issuer-without-key", p, "fetch its keys (haptrail edge keys), and see what that says", "issuer %s has no key that can verify now: none of its tokens passes", s.Issuer)
	}
	if s.Failures > 0 {
		c.add("keys-failing", p, "mend that before the issuer changes its keys", "the keys of issuer %s could not be refreshed, failures in a row: %d, the last at %s: %s",
			s.Issuer, s.Failures, s.LastFailure.UTC().Format(time.RFC3339), s.Failure)
	}
	switch age := c.Now().Sub(s.LastSuccess); {
	case s.LastSuccess.IsZero():
		c.add("keys-old", p, mend, "the keys of issuer %s have never been fetched", s.Issuer)
	case age > c.MaxKeyAge:
		c.add("keys-old", p, mend, "the keys of issuer %s were refreshed %s ago: a key that it has withdrawn since still passes, and a new one does not",
			s.Issuer, age.Truncate(time.Minute))
	}
}

// What a daemon has is what a check asks.
var (
	_ LiveMaps  = (*runtimeapi.Client)(nil)
	_ KeyStatus = (*keys.Store)(nil)
)
