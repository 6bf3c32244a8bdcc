package edge

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
)

// Refresher keeps a gate's keys fresh: it asks the issuers for them on a schedule
// and when tokens name a kid that nobody knows, writes them, and tells HAProxy.
// Installation, Policy and Store are needed, and Schedule by Run.
type Refresher struct {
	Installation

	// Policy returns the policy as it is now: each refresh asks, so that an issuer
	// that somebody has just added does not lose its keys to an old policy.
	Policy func() (*policy.Policy, error)

	Store    *keys.Store
	Schedule cron.Schedule // when to ask the issuers anyway

	// AskInterval is how long after one refresh an unknown kid may cause another;
	// while they bring nothing, twice as long each time, up to 15 minutes. Default
	// 30 s.
	AskInterval time.Duration

	// Done is told what each round of Run came to, before the next one; not of one that
	// was broken off, or that had no policy. May be nil.
	Done func(Refreshed)

	Metrics *Metrics     // may be nil
	Log     *slog.Logger // may be nil
}

// Refreshed is what one Refresh did.
type Refreshed struct {
	Issuers []keys.Result  // of those that answered
	Health  []IssuerHealth // of all of the policy, in its order
	Applied
	Unapplied error // why HAProxy was not brought to the keys; nil: it was
}

// Refresh asks every issuer once and brings HAProxy to the keys that came of it.
// An issuer that cannot be asked, or answers nonsense, changes none of its keys
// and does not keep the others from being refreshed: it is among the errors.
func (r *Refresher) Refresh(ctx context.Context) (Refreshed, error) {
	var done Refreshed
	p, err := r.Policy()
	if err != nil {
		return done, err
	}
	faults := make([]error, 0, len(p.Issuers)) // by issuer, nil for one that answered
	for i := range p.Issuers {
		result, err := r.Store.Refresh(ctx, KeySource(&p.Issuers[i]))
		r.Metrics.refreshed(result.Issuer, err)
		faults = append(faults, err)
		if err == nil {
			done.Issuers = append(done.Issuers, result)
		}
	}
	r.Metrics.observe(r.Store.Status())
	done.Health = r.health(p, faults)
	files, err := RenderKeys(p, r.Store, r.Options)
	if err == nil {
		done.Applied, err = r.Apply(ctx, files)
	}
	r.Metrics.applied(err)
	if done.Unapplied = err; err != nil {
		return done, errors.Join(append(faults, err)...)
	}
	return done, errors.Join(append(faults, r.prune(ctx, p))...)
}

// prune removes the files of keys that keys.cfg does not name any more.
func (r *Refresher) prune(ctx context.Context, p *policy.Policy) error {
	names := make([]string, len(p.Issuers))
	for i := range p.Issuers {
		names[i] = p.Issuers[i].Name
	}
	_, err := r.Store.Prune(ctx, names)
	return err
}

// Run refreshes at once, then on the schedule, when now delivers, and when unknown
// does, until ctx ends. Each value of unknown stands for a token that was turned away because
// nobody knows its kid: of an issuer that changed keys without notice, or of an
// attacker, who must not have us ask an issuer more often than askLimit allows.
func (r *Refresher) Run(ctx context.Context, unknown, now <-chan struct{}) error {
	limit := askLimit{least: cmp.Or(r.AskInterval, askMin)}
	for {
		found := r.round(ctx)
		limit.asked(time.Now(), found)
		next := time.NewTimer(time.Until(r.Schedule.Next(time.Now())))
		var early <-chan time.Time
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				next.Stop()
				return nil
			case <-next.C:
				waiting = false
			case <-now:
				waiting = false
			case <-unknown:
				r.Metrics.unknownKid()
				if early == nil {
					early = time.After(time.Until(limit.next()))
				}
			case <-early:
				r.log().Info("asking the issuers for their keys: tokens name a kid that nobody knows")
				waiting = false
			}
		}
		next.Stop()
	}
}

// round is one refresh and what there is to say about it. found tells whether it
// brought a key that was not known.
func (r *Refresher) round(ctx context.Context) (found bool) {
	done, err := r.Refresh(ctx)
	if ctx.Err() != nil {
		return false
	}
	if r.Done != nil && len(done.Health) > 0 {
		r.Done(done)
	}
	for _, result := range done.Issuers {
		for _, key := range result.Added {
			found = true
			r.log().Info("new key", "issuer", key.Issuer, "kid", key.KID)
		}
		for _, key := range result.Retired {
			r.log().Info("key left its issuer's set, and verifies until its overlap ends", "issuer", key.Issuer, "kid", key.KID, "until", key.Retires)
		}
		for _, key := range append(result.Replaced, result.Dropped...) {
			r.log().Info("key gone", "issuer", key.Issuer, "kid", key.KID)
		}
		for _, skipped := range result.Skipped {
			r.log().Warn("key not used", "issuer", result.Issuer, "kid", skipped.KID, "reason", skipped.Reason)
		}
	}
	if done.Reloaded {
		r.log().Info("HAProxy reloaded for its keys")
	}
	if err != nil {
		r.log().Error("keys are not fresh; those that worked still do", "error", err)
	}
	return found
}

func (r *Refresher) log() *slog.Logger {
	if r.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return r.Log
}

// Bounds of how often unknown kids have the issuers asked.
const (
	askMin = 30 * time.Second // between two times, by default
	askMax = 15 * time.Minute // and after many that brought nothing
)

// askLimit spaces the refreshes that unknown kids cause. An attacker who sends
// nothing but made-up kids has each issuer asked four times an hour.
type askLimit struct {
	least time.Duration
	last  time.Time
	wait  time.Duration
}

// asked records a refresh, of whatever cause.
func (l *askLimit) asked(now time.Time, found bool) {
	l.last = now
	l.wait = min(max(2*l.wait, l.least), max(askMax, l.least))
	if found {
		l.wait = l.least
	}
}

// next is when unknown kids may cause another.
func (l *askLimit) next() time.Time { return l.last.Add(l.wait) }
