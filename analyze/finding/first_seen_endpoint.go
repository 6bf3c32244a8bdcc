package finding

import (
	"fmt"
	"time"
)

// firstSeenEndpoint: an identity does what it has never done before.
//
// Jobs do the same thing every day. An attacker who has a job's token does not know
// what that is, and looks around: what he is refused tells of him as much as what
// he gets.
//
// What looks like it: everything, at first, which is why the history and the
// identity must have been known for LearnFor; a new identity, of which everything
// is new (GitHub's subjects name the branch, so that each branch is one): it is
// told only at a protected place; an identity that always meets new
// endpoints, because its paths hold names that are no ids (MaxEndpoints).
//
// An endpoint is a path, whatever backend serves it: one that an identity knows from
// a harmless backend is no news at a protected one. unattributedProtected and
// unprotectedRef look at that.
var firstSeenEndpoint = detector{
	Kind: "first_seen_endpoint", Severity: Low, Title: "Identity seen at an endpoint for the first time",
	Find: func(l *look, u *Use, is func(...string)) {
		seen, judged := l.Endpoints[u.access()]
		if !judged || u.Subject == "" || seen.Before(l.began[u.access()]) || l.learning(u, seen) {
			return
		}
		is(u.Provider, u.Subject, u.Method, u.Endpoint)
	},
	Tell: func(l *look, c *found) {
		u := c.newest
		past, old := l.Identities[u.identity()]
		history := "was never seen before"
		if old {
			history = fmt.Sprintf("has been known since %s, at %s", clock(past.First), many(uint64(past.Endpoints), "other endpoint"))
		}
		protected := ""
		if c.allowed && l.policy.Protects(u) {
			c.Severity, protected = Medium, "protected "
		}
		c.Text = fmt.Sprintf("%s %s, and is new at the %splace %s: %s.", c.who(), history, protected, c.places(), c.doing())
		c.Action = "Compare with what changed in the job: haptrail trail --identity " + argument(u.Subject) + " --since " + date(c.First) + " shows the run and the commit. " +
			"If it does not need this, take it out of the role's grants."
	},
}

// learning reports whether too little is known for a first time to be news.
func (l *look) learning(u *Use, seen time.Time) bool {
	learn := time.Duration(l.policy.LearnFor)
	if !l.Since.IsZero() && seen.Sub(l.Since) < learn {
		return true
	}
	past, old := l.Identities[u.identity()]
	if !old || seen.Sub(past.First) < learn {
		return !l.policy.Protects(u)
	}
	return past.Endpoints > l.policy.MaxEndpoints
}
