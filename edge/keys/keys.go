// Package keys keeps the token issuers' public keys fresh on the disk, where
// HAProxy reads them:
//
//	JWKS --fetch--> parse --> merge with what is known --> DIR/keys/ISSUER/THUMBPRINT.pem
//	                                                       DIR/keys/state.json   (last)
//
// Its one rule: a working key goes only because its issuer took it out of a key
// set that was fetched, whole and good, and then its overlap passed (or because
// the policy no longer allows its algorithm). A set that cannot be had, cannot be
// read, or has no key to offer changes nothing but the status.
//
// Files are named by their content and written before the state that names them,
// so the state is right at every moment. Files that nothing names any longer go
// by Prune, which is to be called when no HAProxy's configuration names them
// either: HAProxy 2.6 starts without a missing key, newer ones do not start.
package keys

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Source is where an issuer publishes its keys, and what the policy allows them.
type Source struct {
	// Issuer is the policy's name for the issuer: [a-z0-9][a-z0-9_-]{0,31}. It
	// names a folder.
	Issuer string
	// URL of the JSON Web Key Set (RFC 7517 section 5): https://, http:// to a
	// loopback host only, or file:PATH.
	URL string
	// Algorithms are those that the issuer's tokens may be signed with: RS, PS and
	// ES with 256, 384 and 512 (RFC 7518 section 3.1).
	Algorithms []string
	// Overlap is how long a key that left the set still verifies: at least as long
	// as the tokens live that it signed. 0 drops it at once.
	Overlap time.Duration
}

// Key is a public key that verifies an issuer's tokens.
type Key struct {
	Issuer string
	// KID is the key's name in a token's header: [A-Za-z0-9_.:=+/@-]{1,128}.
	KID string
	// Algorithms it may verify, sorted: what the set says, else all of the
	// Source's that fit the key.
	Algorithms []string
	// File is the slash path of its PEM (SubjectPublicKeyInfo) below DIR:
	// keys/ISSUER/THUMBPRINT.pem, by the key's RFC 7638 SHA-256 thumbprint. Two
	// kids of one key share it.
	File string
	// Added is when the set had it first, Seen when last.
	Added, Seen time.Time
	// Retires is when it stops verifying; zero while the set has it.
	Retires time.Time
}

// usable reports whether the key still verifies at that time.
func (k Key) usable(now time.Time) bool { return k.Retires.IsZero() || now.Before(k.Retires) }

// Skipped is a key of a set that is not used.
type Skipped struct {
	KID    string // quoted and cut where it is not one that a Key may have; "" if it has none
	Reason string // and what to do about it
}

// Result is what one Refresh found and did. Each list is sorted as Keys is.
type Result struct {
	Issuer string
	// NotModified: the server said that the set is the one of the last time.
	NotModified bool

	Added    []Key     // new to the set
	Updated  []Key     // the same key, for other algorithms
	Returned []Key     // back in the set before their overlap passed
	Retired  []Key     // left the set; they verify until Retires
	Replaced []Key     // their kid now names another key, which is among Added; gone at once
	Dropped  []Key     // gone: their overlap passed, or no algorithm is left to them
	Skipped  []Skipped // in the set, and not used
}

// Changed reports whether there are other keys, or other algorithms, than before:
// whether HAProxy has to be told.
func (r Result) Changed() bool {
	return len(r.Added)+len(r.Updated)+len(r.Replaced)+len(r.Dropped) > 0
}

// IssuerStatus is how an issuer's refreshing goes.
type IssuerStatus struct {
	Issuer, URL string
	LastSuccess time.Time // zero: never
	LastFailure time.Time // zero: never
	Failure     string    // what failed then, one line; "" if nothing ever did
	Failures    int       // in a row; 0 after a success
	Keys        int       // usable now
}

// Store is the keys below one DIR. Its methods may be called at the same time,
// and by several processes on the same DIR.
type Store struct {
	dir     string
	disk    disk
	roots   *x509.CertPool // for TLS; nil: the system's
	timeout time.Duration  // of one fetch

	mu    sync.Mutex // guards state, for no longer than it takes to copy
	state state      // as last read from or written to the disk; never changed, only replaced
}

// fetchTimeout bounds one fetch with all its redirects.
const fetchTimeout = 15 * time.Second

// Open reads what is known of the keys below dir, the folder of the rendered
// gate. A dir without any is fine; nothing is written.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, timeout: fetchTimeout}
	if _, err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// Keys returns the keys that verify now, sorted by issuer and kid: known, not
// past their overlap, and with their file in place. No kid of an issuer is in it
// twice. What another process did since the last Open or Refresh is not in it.
func (s *Store) Keys() []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var usable []Key
	for _, issuer := range s.state.Issuers {
		for _, key := range issuer.Keys {
			if key.usable(now) && s.exists(key.File) {
				key.Algorithms = slices.Clone(key.Algorithms)
				usable = append(usable, key)
			}
		}
	}
	sortKeys(usable)
	return usable
}

// Status returns how each issuer's refreshing goes, sorted by issuer: those that
// a Refresh was tried for and that Prune did not forget.
func (s *Store) Status() []IssuerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var all []IssuerStatus
	for name, issuer := range s.state.Issuers {
		status := IssuerStatus{
			Issuer: name, URL: issuer.URL,
			LastSuccess: issuer.LastSuccess, LastFailure: issuer.LastFailure,
			Failure: issuer.Failure, Failures: issuer.Failures,
		}
		for _, key := range issuer.Keys {
			if key.usable(now) && s.exists(key.File) {
				status.Keys++
			}
		}
		all = append(all, status)
	}
	slices.SortFunc(all, func(a, b IssuerStatus) int { return cmp.Compare(a.Issuer, b.Issuer) })
	return all
}

// path is where a file below DIR is.
func (s *Store) path(slash string) string { return filepath.Join(s.dir, filepath.FromSlash(slash)) }

func (s *Store) exists(slash string) bool {
	info, err := os.Stat(s.path(slash))
	return err == nil && info.Mode().IsRegular()
}

func sortKeys(keys []Key) {
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.KID, b.KID))
	})
}

// What names may be: an issuer's is a folder, a kid a part of a map's key.
var (
	issuerName = regexp.MustCompile(`\A[a-z0-9][a-z0-9_-]{0,31}\z`)
	kidName    = regexp.MustCompile(`\A[A-Za-z0-9_.:=+/@-]{1,128}\z`)
)

// validate refuses a Source that no fetch could make good. It names the field.
func (s Source) validate() error {
	if !issuerName.MatchString(s.Issuer) {
		return fmt.Errorf("issuer %q: a name is of a-z, 0-9, \"_\" and \"-\", at most 32 of them", s.Issuer)
	}
	if len(s.Algorithms) == 0 {
		return fmt.Errorf("issuer %s: algorithms: name at least one, as RS256", s.Issuer)
	}
	for _, name := range s.Algorithms {
		if _, ok := families[name]; !ok {
			return fmt.Errorf("issuer %s: algorithms: %q is none that verifies with a public key here: use RS256, ES256 or their like", s.Issuer, name)
		}
	}
	if s.Overlap < 0 {
		return fmt.Errorf("issuer %s: overlap %v: a key cannot leave before it left; use 0 or more", s.Issuer, s.Overlap)
	}
	return nil
}

// errNoKey is what a set that offers nothing comes to.
var errNoKey = errors.New("the key set has no key that can be used")
