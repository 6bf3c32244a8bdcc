package keys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// staleAfter is the age at which a temporary file is nobody's: no write takes so
// long.
const staleAfter = time.Hour

// ours are the files that haptrail writes into an issuer's folder: keys by their
// thumbprint, and what a crash left of writing them.
var ours = regexp.MustCompile(`\A[A-Za-z0-9_-]{43}\.(pem|crt)\z`)

// Prune forgets the issuers that are not named, and removes the files below
// DIR/keys that no key needs any more, with the certificates beside them. It
// returns their slash paths below DIR, sorted, also beside an error. Files that
// haptrail did not write stay.
//
// Call it when HAProxy's configuration names none of these files: after keys.cfg
// was written anew. No name at all is an error, not an order to remove everything.
func (s *Store) Prune(ctx context.Context, issuers []string) (removed []string, err error) {
	if len(issuers) == 0 {
		return nil, errors.New("prune keys: name the issuers to keep")
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("prune keys: %w", err)
	}
	defer unlock()
	next, err := s.load()
	if err != nil {
		return nil, err
	}
	needed := make(map[string]bool) // slash paths without their extension
	for name, issuer := range next.Issuers {
		if !slices.Contains(issuers, name) {
			delete(next.Issuers, name)
			continue
		}
		// Also those past their overlap: the Refresh that drops them tells HAProxy.
		for _, key := range issuer.Keys {
			needed[strings.TrimSuffix(key.File, ".pem")] = true
		}
	}
	// The state first: a crash in between leaves files without a name, not names
	// without a file.
	if err := s.save(next); err != nil {
		return nil, err
	}
	removed, err = s.sweep(needed)
	slices.Sort(removed)
	return removed, err
}

// sweep removes what is not needed.
func (s *Store) sweep(needed map[string]bool) (removed []string, err error) {
	entries, err := os.ReadDir(s.path("keys"))
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			if stale(entry) && strings.HasPrefix(entry.Name(), "."+path.Base(stateFile)+".") {
				removed, err = s.remove(removed, err, "keys/"+entry.Name())
			}
			continue
		}
		if !issuerName.MatchString(entry.Name()) {
			continue
		}
		folder := "keys/" + entry.Name()
		files, failed := os.ReadDir(s.path(folder))
		err = errors.Join(err, failed)
		for _, file := range files {
			name := folder + "/" + file.Name()
			left := ours.MatchString(file.Name()) && !needed[strings.TrimSuffix(name, path.Ext(name))]
			if left || stale(file) && leftover(file.Name()) {
				removed, err = s.remove(removed, err, name)
			}
		}
		if len(files) == 0 || !slices.ContainsFunc(files, func(f fs.DirEntry) bool { return s.exists(folder + "/" + f.Name()) }) {
			_ = os.Remove(s.path(folder)) // which is refused when something is in it
		}
	}
	return removed, err
}

// remove removes a file and notes it, or why it could not.
func (s *Store) remove(removed []string, err error, name string) ([]string, error) {
	if failed := s.disk.step("remove", func() error { return os.Remove(s.path(name)) }); failed != nil {
		return removed, errors.Join(err, failed)
	}
	return append(removed, name), err
}

// leftover reports the name of a temporary file: ".NAME.NUMBER".
func leftover(name string) bool {
	hidden, ok := strings.CutPrefix(name, ".")
	end := strings.LastIndexByte(hidden, '.')
	return ok && end > 0 && ours.MatchString(hidden[:end])
}

func stale(entry fs.DirEntry) bool {
	info, err := entry.Info()
	return err == nil && time.Since(info.ModTime()) > staleAfter
}
