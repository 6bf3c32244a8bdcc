package ci

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

// Bounds of the public keys of Space's webhooks.
const (
	spaceKeysAge   = time.Hour        // after that they are fetched again
	spaceKeysStale = 24 * time.Hour   // so long they serve while the server is down
	spaceKeysPause = time.Minute      // between two fetches, whoever sends us what
	spaceKeysWait  = 10 * time.Second // for one fetch; Space waits for our answer
	maxSpaceKeys   = 64
)

// errSpaceKeys: whether a delivery is genuine cannot be said for want of keys. It
// is not ErrUnverified: the sender did nothing wrong, and should send it again.
var errSpaceKeys = errors.New("the server's public keys cannot be had")

// spaceKeys holds the public keys that deliveries are signed with.
type spaceKeys struct {
	fetch  func(context.Context) ([]*rsa.PublicKey, error)
	now    func() time.Time
	flight singleflight.Group

	mu      sync.Mutex // guards what follows
	keys    []*rsa.PublicKey
	fetched time.Time // when keys came
	tried   time.Time // when the last fetch began
	failure error     // of the last fetch
}

func newSpaceKeys(fetch func(context.Context) ([]*rsa.PublicKey, error), now func() time.Time) *spaceKeys {
	return &spaceKeys{fetch: fetch, now: now}
}

// verify tries every key, and for a signature that none fits new ones: they are
// rotated without notice. Fetches are bounded: a stranger who sends nonsense costs
// one a minute.
func (k *spaceKeys) verify(ctx context.Context, fits func(*rsa.PublicKey) bool) error {
	keys, fresh, _ := k.known()
	if fresh && spaceAnyKey(keys, fits) {
		return nil
	}
	done := k.flight.DoChan("", func() (any, error) {
		k.refetch(context.WithoutCancel(ctx))
		return nil, nil
	})
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errSpaceKeys, ctx.Err())
	case <-done:
	}
	keys, _, failure := k.known()
	switch {
	case spaceAnyKey(keys, fits):
		return nil
	case len(keys) == 0 && failure != nil:
		return fmt.Errorf("%w: %w", errSpaceKeys, failure)
	}
	return errors.New(spaceRSAHeader + " fits the body by none of the server's keys")
}

func spaceAnyKey(keys []*rsa.PublicKey, fits func(*rsa.PublicKey) bool) bool {
	for _, key := range keys {
		if fits(key) {
			return true
		}
	}
	return false
}

// known are the keys that may be used, whether they are new enough not to ask for
// others, and why the last fetch failed.
func (k *spaceKeys) known() (keys []*rsa.PublicKey, fresh bool, failure error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.now().Sub(k.fetched)
	if age > spaceKeysStale {
		return nil, false, k.failure
	}
	return k.keys, age <= spaceKeysAge, k.failure
}

// refetch gets the keys, unless that was tried just now.
func (k *spaceKeys) refetch(ctx context.Context) {
	k.mu.Lock()
	now := k.now()
	if !k.tried.IsZero() && now.Sub(k.tried) < spaceKeysPause {
		k.mu.Unlock()
		return
	}
	k.tried = now
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, spaceKeysWait)
	defer cancel()
	keys, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failure = err; err == nil {
		k.keys, k.fetched = keys, now
	}
}

// fetchKeys asks for our application's keys: a JSON string that holds a key set.
func (s *Space) fetchKeys(ctx context.Context) ([]*rsa.PublicKey, error) {
	var reply json.RawMessage
	path := "applications/clientId:" + url.PathEscape(s.config.ClientID) + "/public-keys"
	if _, err := s.get(ctx, path, nil, &reply); err != nil {
		return nil, err
	}
	keys, err := spaceKeySet(reply)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// spaceKeySet reads a JWKS (RFC 7517) out of a JSON string, or as it is. What is no
// RSA key for signatures, of 2048 to 8192 bits, is passed over.
func spaceKeySet(reply []byte) ([]*rsa.PublicKey, error) {
	var text string
	if json.Unmarshal(reply, &text) == nil {
		reply = []byte(text)
	}
	var set struct {
		Keys spaceList[json.RawMessage] `json:"keys"`
	}
	if err := spaceDecode(reply, &set); err != nil {
		return nil, err
	}
	var keys []*rsa.PublicKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); err != nil || key.Use != "" && key.Use != "sig" {
			continue
		}
		public, ok := key.Key.(*rsa.PublicKey)
		if ok && public.N.BitLen() >= 2048 && public.N.BitLen() <= 8192 && len(keys) < maxSpaceKeys {
			keys = append(keys, public)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: there is no RSA key of 2048 bits or more among %d", ErrMalformed, len(set.Keys))
	}
	return keys, nil
}
