package finding

import "fmt"

// identityUnowned: an account that nobody answers for is used.
//
// Accounts outlive the people and projects they were made for, and nobody misses
// what an attacker does with one. Three cases, from bad to worse: the account has no
// owner; the CI server does not know it, though it tells its accounts; it is
// archived, and its tokens still open the gate.
//
// What looks like it: a project's own automation account, which belongs to the
// project; an account made a moment ago (Settle); use from before it was archived,
// where the time of that is known; providers that tell no accounts, of which
// nothing is said.
var identityUnowned = detector{
	Kind: "identity_unowned", Severity: Low, Title: "Identity that nobody owns",
	Find: func(l *look, u *Use, is func(...string)) {
		if state := l.orphan(u); state != owned {
			is(u.Provider, u.Subject, string(state))
		}
	},
	Tell: func(l *look, c *found) {
		c.Severity, c.Text, c.Action = c.orphanText(orphanState(c.fields[2]))
		for _, u := range c.uses {
			if u.allowed() && l.policy.Protects(u) {
				c.Severity = c.Severity.higher()
				c.Text += " It reached protected places."
				return
			}
		}
	},
}

// orphanState is what is wrong with an account.
type orphanState string

const (
	owned    orphanState = ""
	unowned  orphanState = "unowned"
	unknown  orphanState = "unknown"
	archived orphanState = "archived"
)

func (l *look) orphan(u *Use) orphanState {
	if u.Subject == "" {
		return owned
	}
	p, told := l.Principals[u.identity()]
	switch {
	case !told && l.TellsPrincipals[u.Provider] && l.settled(u):
		return unknown
	case !told:
		return owned
	case p.Archived && (p.ArchivedAt.IsZero() || u.Last.After(p.ArchivedAt)):
		return archived
	case p.Owner == "" && p.Project == "" && !p.OwnerNotTold:
		return unowned
	}
	return owned
}

func (c *found) orphanText(state orphanState) (s Severity, text, action string) {
	who := c.who()
	switch state {
	case archived:
		return High, fmt.Sprintf("The archived account %s was used: %s.", who, c.doing()),
			"Revoke its secrets and tokens at the CI server, and take its role in the gate's policy away: an archived account has no more work to do."
	case unknown:
		return Medium, fmt.Sprintf("The CI server does not know the account %s, which was used: %s.", who, c.doing()),
			"Find out who issued its tokens: the account was removed and its tokens live on, or the issuer is not the server that you think. " +
				"Until then, take its role in the gate's policy away."
	}
	return Low, fmt.Sprintf("Nobody owns the account %s, which was used: %s.", who, c.doing()),
		"Give it an owner at the CI server: a person or a team that knows what it is for and answers for what it does."
}
