package finding

import (
	"fmt"
	"time"
)

// dormantPrincipal: an identity that was silent for long is back.
//
// The secret of a project that has ended lies in somebody's backup. Nobody looks at
// its account any more, which is what makes it a good one to use.
//
// What looks like it: a yearly job; a history that is shorter than the silence, in
// which the identity is new and not back. That the gate refused it does not make it
// less of a finding: somebody has the secret.
var dormantPrincipal = detector{
	Kind: "dormant_principal", Severity: Medium, Title: "Dormant identity is back",
	Find: func(l *look, u *Use, is func(...string)) {
		past, old := l.Identities[u.identity()]
		if old && u.Subject != "" && l.since[u.identity()].Sub(past.Last) > time.Duration(l.policy.DormantAfter) {
			is(u.Provider, u.Subject)
		}
	},
	Tell: func(l *look, c *found) {
		past := l.Identities[c.newest.identity()]
		for _, u := range c.uses {
			if u.allowed() && l.policy.Protects(u) {
				c.Severity = High
			}
		}
		c.Text = fmt.Sprintf("%s was silent for %s, since %s, and is back at %s: %s.",
			c.who(), span(c.First.Sub(past.Last)), clock(past.Last), c.places(), c.doing())
		c.Action = "Ask its owner whether this was meant. If nobody knows, revoke its secrets and take its role in the gate's policy away."
	},
}
