package finding

import (
	"fmt"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// unattributedProtected: a protected place is reached, and nobody can say from which
// run.
//
// Somebody uses a service's secret by hand, or from a machine that is no runner.
// The token is good and the role is right; what is missing is a run that was going
// on.
//
// What looks like it: a run whose webhook is late (Settle; it is attributed when it
// comes); several runs of one account at the same time, which is ambiguous and less
// severe; workload tokens that never belong to a run (Okta, AWS), of which each
// account is told once for a backend. Requests that were refused have reached
// nothing.
var unattributedProtected = detector{
	Kind: "unattributed_protected", Severity: Medium, Title: "Unattributed traffic to a protected place",
	Find: func(l *look, u *Use, is func(...string)) {
		if u.Verdict.Grade > attribute.Ambiguous || !u.allowed() || !l.policy.Protects(u) || !l.settled(u) {
			return
		}
		is(u.Provider, u.Subject, u.Backend, u.Verdict.Grade.String())
	},
	Tell: func(_ *look, c *found) {
		why := sentence(c.newest.Verdict.Why)
		if why == "" {
			why = "no run of it is known"
		}
		if c.newest.Verdict.Grade == attribute.Ambiguous {
			c.Severity = c.Severity.lower()
			if candidates := c.newest.Verdict.Candidates; len(candidates) > 0 {
				why += ": one of " + list(named(candidates))
			}
		}
		if c.newest.Subject == "" {
			c.Severity = High
		}
		c.Text = fmt.Sprintf("%s reached %s, and it is not known from which run (%s): %s.", c.who(), c.places(), why, c.doing())
		c.Action = "Find out what made these requests: a person with the account's secret, a machine that is no runner, or a CI server that tells " +
			"haptrail nothing (ci.sources). Have jobs name their run in a signed claim, or in the header that the gate takes it from."
	},
}

func named(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = name(text)
	}
	return out
}
