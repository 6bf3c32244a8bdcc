package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Refresh fetches an issuer's key set and brings the files and the state to it.
// It returns when the files are on the disk; the Result says whether HAProxy has
// to be told, also beside an error.
//
// An error of the fetch or of the set is kept in the state (see Status), and
// every key that was in use stays in use. Of several processes one works at a
// time; the others wait as long as ctx lasts.
func (s *Store) Refresh(ctx context.Context, source Source) (Result, error) {
	result := Result{Issuer: source.Issuer}
	if err := source.validate(); err != nil {
		return result, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return result, fmt.Errorf("issuer %s: %w", source.Issuer, err)
	}
	defer unlock()
	next, err := s.load()
	if err != nil {
		return result, err
	}
	issuer := next.issuer(source.Issuer)
	issuer.adopt(source)
	now := time.Now().UTC().Round(0)
	result.Dropped, result.Updated = issuer.tidy(source, now)
	err = s.renew(ctx, source, issuer, &result)
	switch {
	case err == nil:
		issuer.LastSuccess, issuer.Failures = now, 0
	case ctx.Err() != nil:
		// We were told to stop: that says nothing of the issuer.
		return Result{Issuer: source.Issuer}, fmt.Errorf("issuer %s: %w", source.Issuer, err)
	default:
		err = fmt.Errorf("issuer %s: %w", source.Issuer, err)
		issuer.LastFailure, issuer.Failure = now, oneLine(err.Error())
		issuer.Failures++
	}
	result.sort()
	// The state comes last: what it names is on the disk.
	if failed := s.save(next); failed != nil {
		return Result{Issuer: source.Issuer}, errors.Join(err, failed)
	}
	return result, err
}

// adopt takes the source's URL and algorithms. What a server named its answer
// elsewhere, or for other algorithms, is no ground to leave the answer out.
func (i *issuerState) adopt(source Source) {
	if i.URL == source.URL && slices.Equal(i.Algorithms, source.Algorithms) {
		return
	}
	i.URL, i.Algorithms = source.URL, slices.Clone(source.Algorithms)
	i.ETag, i.LastModified = "", ""
}

// tidy does what the clock and the policy alone decide: it drops the keys whose
// overlap has passed and takes away algorithms that are no longer allowed.
func (i *issuerState) tidy(source Source, now time.Time) (dropped, updated []Key) {
	var kept []Key
	for _, key := range i.Keys {
		if latest := now.Add(source.Overlap); !key.Retires.IsZero() && key.Retires.After(latest) {
			key.Retires = latest // the overlap was shortened
		}
		had := len(key.Algorithms)
		key.Algorithms = slices.DeleteFunc(slices.Clone(key.Algorithms), func(name string) bool {
			return !slices.Contains(source.Algorithms, name)
		})
		switch {
		case !key.usable(now), len(key.Algorithms) == 0:
			dropped = append(dropped, key)
			continue
		case len(key.Algorithms) < had:
			updated = append(updated, key)
		}
		kept = append(kept, key)
	}
	i.Keys = kept
	return dropped, updated
}

// renew fetches the set, merges it into the issuer's keys and writes the files
// of new ones. The issuer is changed only if all of it succeeds.
func (s *Store) renew(ctx context.Context, source Source, issuer *issuerState, result *Result) error {
	var known answer
	if s.intact(issuer.Keys) {
		known.etag, known.lastModified = issuer.ETag, issuer.LastModified
	}
	got, err := s.fetch(ctx, source.URL, known)
	if err != nil {
		return err
	}
	var found []published
	if !got.notModified {
		if found, result.Skipped, err = parseSet(got.body, source); err != nil {
			return fmt.Errorf("%s: %w", source.URL, err)
		}
		if err := s.writeFiles(source.Issuer, found); err != nil {
			return fmt.Errorf("write the keys' files: %w", err)
		}
	}
	now := time.Now().UTC().Round(0)
	if got.notModified {
		result.NotModified = true
		for n := range issuer.Keys {
			if issuer.Keys[n].Retires.IsZero() {
				issuer.Keys[n].Seen = now
			}
		}
		return nil
	}
	issuer.ETag, issuer.LastModified = got.etag, got.lastModified
	issuer.merge(found, source, now, result)
	return nil
}

// merge brings the issuer's keys to what the set has.
func (i *issuerState) merge(found []published, source Source, now time.Time, result *Result) {
	var keys []Key
	for _, p := range found {
		key := Key{
			Issuer: source.Issuer, KID: p.kid, Algorithms: p.algorithms,
			File: pemFile(source.Issuer, p.thumbprint), Added: now, Seen: now,
		}
		n := slices.IndexFunc(i.Keys, func(old Key) bool { return old.KID == p.kid })
		switch {
		case n < 0:
			result.Added = append(result.Added, key)
		case i.Keys[n].File != key.File:
			result.Added = append(result.Added, key)
			result.Replaced = append(result.Replaced, i.Keys[n])
		default:
			old := i.Keys[n]
			key.Added = old.Added
			if !old.Retires.IsZero() {
				result.Returned = append(result.Returned, key)
			}
			result.update(old, key)
		}
		keys = append(keys, key)
	}
	for _, key := range i.Keys {
		if slices.ContainsFunc(found, func(p published) bool { return p.kid == key.KID }) {
			continue
		}
		if key.Retires.IsZero() {
			key.Retires = now.Add(source.Overlap)
			if source.Overlap > 0 {
				result.Retired = append(result.Retired, key)
			}
		}
		if !key.usable(now) {
			result.Dropped = append(result.Dropped, key)
			continue
		}
		keys = append(keys, key)
	}
	i.Keys = keys
	sortKeys(i.Keys)
	result.Updated = slices.DeleteFunc(result.Updated, func(key Key) bool {
		return !slices.ContainsFunc(keys, func(k Key) bool { return k.KID == key.KID && k.File == key.File })
	})
}

// update notes a key whose algorithms are others than before. What tidy noted of
// it is overtaken.
func (r *Result) update(old, key Key) {
	tidied := slices.ContainsFunc(r.Updated, func(k Key) bool { return k.KID == key.KID })
	r.Updated = slices.DeleteFunc(r.Updated, func(k Key) bool { return k.KID == key.KID })
	if tidied || !slices.Equal(old.Algorithms, key.Algorithms) {
		r.Updated = append(r.Updated, key)
	}
}

func (r *Result) sort() {
	for _, list := range [][]Key{r.Added, r.Updated, r.Returned, r.Retired, r.Replaced, r.Dropped} {
		sortKeys(list)
	}
}

// oneLine makes an error fit for a table and for the state.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "..."
	}
	return text
}
