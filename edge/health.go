package edge

import (
	"time"

	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
)

// IssuerHealth is how it stands with an issuer's keys after a refresh.
type IssuerHealth struct {
	// IssuerStatus is the state's. Where the state could not be written it may be that
	// of an earlier refresh, or have the issuer's name and URL alone.
	keys.IssuerStatus
	// Err is why its keys could not be fetched this time; nil: they were.
	Err error
	// LastKey is when the last of its usable keys stops verifying; zero: not by itself,
	// or there is none.
	LastKey time.Time
}

// health is that of all issuers of a policy, in its order. failed are the errors of
// the refresh, likewise.
func (r *Refresher) health(p *policy.Policy, failed []error) []IssuerHealth {
	byName := make(map[string]keys.IssuerStatus)
	for _, status := range r.Store.Status() {
		byName[status.Issuer] = status
	}
	stays := make(map[string]bool) // an issuer with a key that does not retire
	last := make(map[string]time.Time)
	for _, key := range r.Store.Keys() {
		stays[key.Issuer] = stays[key.Issuer] || key.Retires.IsZero()
		if key.Retires.After(last[key.Issuer]) {
			last[key.Issuer] = key.Retires
		}
	}
	all := make([]IssuerHealth, len(p.Issuers))
	for i := range p.Issuers {
		source := KeySource(&p.Issuers[i])
		h := &all[i]
		h.IssuerStatus, h.Err = byName[source.Issuer], failed[i]
		h.Issuer, h.URL = source.Issuer, source.URL
		if !stays[source.Issuer] {
			h.LastKey = last[source.Issuer]
		}
	}
	return all
}
