package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/haptrail/haptrail/edge/keys"
)

// Rotation tells how an issuer changed its signing key while jobs went on. It
// publishes the new key, signs with it when the gate has it, and later takes the
// old one out of its key set.
type Rotation struct {
	Issuer   string
	Old, New string        // kids
	Took     time.Duration // from the new key's publication to the old one's end
	Reload   time.Duration // of it, until HAProxy verified with the new key
	Requests int           // that were under way in that time, of all issuers' jobs
	Lost     int           // of them: no answer, or another than the policy's

	began, ended time.Time
}

// count adds a request, if it was under way meanwhile.
func (r *Rotation) count(q Request) {
	if q.began.After(r.ended) || q.ended.Before(r.began) {
		return
	}
	r.Requests++
	if q.lost {
		r.Lost++
	}
}

// rotate has GitHub change its key, a quarter of the script after its beginning.
// It returns nil where nobody wants that, or no other key is left.
func (w *World) rotate(ctx context.Context) (*Rotation, error) {
	defer w.release() // whatever happens, nobody waits for ever
	if !w.options.Rotate {
		return nil, nil
	}
	if err := pause(ctx, w.options.Duration/4); err != nil {
		return nil, err
	}
	old, next, ok := w.issuer.publishNext(github)
	if !ok {
		return nil, nil
	}
	w.say("%s publishes a second key: fetched, checked, HAProxy reloaded with it", github)
	r := &Rotation{Issuer: github, Old: old.id, New: next.id, began: time.Now()}
	done, err := w.keys.Refresh(ctx)
	if err != nil {
		return nil, fmt.Errorf("bring %s's new key to the gate: %w", github, err)
	}
	if !slices.ContainsFunc(w.keys.Store.Keys(), func(k keys.Key) bool { return k.Issuer == github && k.KID == next.id }) || !done.Reloaded {
		return nil, fmt.Errorf("the gate did not get %s's key %s", github, next.id)
	}
	r.Reload = time.Since(r.began)
	w.issuer.signWith(next)
	w.release()
	w.say("%s signs with %s, and takes %s back", github, next.id, old.id)
	if err := pause(ctx, w.options.Duration/4); err != nil {
		return nil, err
	}
	w.issuer.withdraw(old)
	if _, err := w.keys.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("take %s's old key back: %w", github, err)
	}
	r.ended = time.Now()
	r.Took = r.ended.Sub(r.began)
	w.say("traffic goes on")
	return r, nil
}
