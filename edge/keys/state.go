package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"time"
)

// stateFile is the slash path of the state below DIR.
const stateFile = "keys/state.json"

// stateVersion is the form of the state that this program writes and reads.
const stateVersion = 1

// state is DIR/keys/state.json.
type state struct {
	Version int                     `json:"version"`
	Issuers map[string]*issuerState `json:"issuers"`
}

// issuerState is what is known of one issuer.
type issuerState struct {
	URL        string   `json:"url"`
	Algorithms []string `json:"algorithms"` // that the set was read for
	// What the server named its answer's version (RFC 9110 section 8.8), to ask
	// for a newer one only.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`

	LastSuccess time.Time `json:"last_success,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	Failure     string    `json:"failure,omitempty"`
	Failures    int       `json:"failures,omitempty"`

	Keys []Key `json:"-"` // as storedKey
}

// storedKey is a Key in the state, without the issuer that it stands under.
type storedKey struct {
	KID        string    `json:"kid"`
	Algorithms []string  `json:"algorithms"`
	File       string    `json:"file"`
	Added      time.Time `json:"added"`
	Seen       time.Time `json:"seen"`
	Retires    time.Time `json:"retires,omitzero"`
}

// MarshalJSON writes the keys in their stored form.
func (i *issuerState) MarshalJSON() ([]byte, error) {
	type plain issuerState
	stored := make([]storedKey, len(i.Keys))
	for n, k := range i.Keys {
		stored[n] = storedKey{k.KID, k.Algorithms, k.File, k.Added, k.Seen, k.Retires}
	}
	return json.Marshal(struct {
		*plain
		Stored []storedKey `json:"keys"`
	}{(*plain)(i), stored})
}

// UnmarshalJSON reads them; readState fills in the issuer.
func (i *issuerState) UnmarshalJSON(text []byte) error {
	type plain issuerState
	var stored struct {
		*plain
		Stored []storedKey `json:"keys"`
	}
	stored.plain = (*plain)(i)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&stored); err != nil {
		return err
	}
	for _, k := range stored.Stored {
		i.Keys = append(i.Keys, Key{KID: k.KID, Algorithms: k.Algorithms, File: k.File, Added: k.Added, Seen: k.Seen, Retires: k.Retires})
	}
	return nil
}

// clone copies the state as deep as a Refresh changes it: a state that could not
// be written is thrown away whole.
func (s state) clone() state {
	issuers := make(map[string]*issuerState, len(s.Issuers))
	for name, issuer := range s.Issuers {
		c := *issuer
		c.Keys = slices.Clone(issuer.Keys)
		issuers[name] = &c
	}
	return state{Version: stateVersion, Issuers: issuers}
}

// issuer finds or makes an issuer's part.
func (s state) issuer(name string) *issuerState {
	if s.Issuers[name] == nil {
		s.Issuers[name] = &issuerState{}
	}
	return s.Issuers[name]
}

// load reads the state from the disk. The caller owns what is returned.
func (s *Store) load() (state, error) {
	text, err := os.ReadFile(s.path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s.keep(state{}), nil
	}
	if err != nil {
		return state{}, fmt.Errorf("read the keys' state: %w", err)
	}
	read, err := readState(text)
	if err != nil {
		return state{}, fmt.Errorf("%s: %w: mend it, or remove it and refresh all keys", s.path(stateFile), err)
	}
	return s.keep(read), nil
}

// keep makes a state the Store's, and returns a copy to work on.
func (s *Store) keep(current state) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = current
	return current.clone()
}

// save writes the state to the disk; only then is it the Store's. The caller
// holds the lock.
func (s *Store) save(next state) error {
	text, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return fmt.Errorf("write the keys' state: %w", err)
	}
	if err := s.disk.write(s.path(stateFile), append(text, '\n')); err != nil {
		return fmt.Errorf("write the keys' state: %w", err)
	}
	s.keep(next)
	return nil
}

// pemFile is the slash path of a key's PEM below DIR.
func pemFile(issuer, thumbprint string) string { return "keys/" + issuer + "/" + thumbprint + ".pem" }

// pemName is what a key's file is called below DIR.
var pemName = regexp.MustCompile(`\Akeys/([a-z0-9][a-z0-9_-]{0,31})/[A-Za-z0-9_-]{43}\.pem\z`)

// readState reads a state and refuses one that this package would not write:
// what it names is put into HAProxy's configuration.
func readState(text []byte) (state, error) {
	var read state
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&read); err != nil {
		return state{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return state{}, errors.New("something follows the state")
	}
	if read.Version != stateVersion {
		return state{}, fmt.Errorf("version %d is not one that this haptrail reads (%d)", read.Version, stateVersion)
	}
	for _, name := range slices.Sorted(maps.Keys(read.Issuers)) {
		issuer := read.Issuers[name]
		if issuer == nil || !issuerName.MatchString(name) {
			return state{}, fmt.Errorf("issuer %q is none", name)
		}
		kids := make(map[string]bool)
		for n := range issuer.Keys {
			key := &issuer.Keys[n]
			key.Issuer = name
			if err := key.check(); err != nil {
				return state{}, fmt.Errorf("issuer %s: %w", name, err)
			}
			if kids[key.KID] {
				return state{}, fmt.Errorf("issuer %s: two keys are %q", name, key.KID)
			}
			kids[key.KID] = true
		}
	}
	return read, nil
}

// check refuses a key that no set can have given.
func (k Key) check() error {
	parts := pemName.FindStringSubmatch(k.File)
	switch {
	case !kidName.MatchString(k.KID):
		return fmt.Errorf("kid %q is none", k.KID)
	case parts == nil || parts[1] != k.Issuer:
		return fmt.Errorf("key %s: %q is no file of it", k.KID, k.File)
	case len(k.Algorithms) == 0:
		return fmt.Errorf("key %s has no algorithm", k.KID)
	}
	for _, name := range k.Algorithms {
		if _, ok := families[name]; !ok {
			return fmt.Errorf("key %s: algorithm %q is none", k.KID, name)
		}
	}
	return nil
}
