package finding

import (
	"cmp"
	"fmt"
)

// claimContradicted: a token or a header says of its run what the CI server's own
// record denies.
//
// A header is free to lie: the attacker names a run that is going on, so that his
// requests look like its. A signed claim that the record denies is worse: the
// issuer signs what is not so, or somebody else has its key.
//
// What looks like it: clocks that are apart, forks and pull requests, whose commit
// and project are others in the claim than in the record; package attribute knows
// those and contradicts none. A job that names itself by another id is told once
// for that id.
var claimContradicted = detector{
	Kind: "claim_contradicted", Severity: Medium, Title: "The CI server denies what a token or header claims",
	Find: func(_ *look, u *Use, is func(...string)) {
		if u.Verdict.Contradiction != "" {
			is(u.Provider, u.Subject, cmp.Or(u.Run, u.ClaimedRun), signedOrNot(u))
		}
	},
	Tell: func(l *look, c *found) {
		u := c.newest
		source := "A header beside the token of"
		if signedOrNot(u) == "signed" {
			c.Severity, source = High, "A token signed for"
		}
		for _, u := range c.uses {
			if u.allowed() && l.policy.Protects(u) {
				c.Severity = High
			}
		}
		c.Text = fmt.Sprintf("%s %s claims run %s, and the CI server's record denies it: %s. It was used for %s.",
			source, c.who(), name(cmp.Or(u.Run, u.ClaimedRun)), sentence(u.Verdict.Contradiction), c.doing())
		c.Action = "Look the run up at the CI server. If the record is right, whoever made these requests lies about who he is: " +
			"take the role from " + c.who() + " in the gate's policy until it is known. If the job names itself wrongly, mend the job."
	},
}

// signedOrNot is whose statement a contradiction is about: the token's or a
// header's.
func signedOrNot(u *Use) string {
	if u.Run != "" {
		return "signed"
	}
	return "header"
}
