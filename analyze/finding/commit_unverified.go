package finding

import (
	"fmt"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// commitUnverified: a commit of which nobody can tell who made it reaches a
// protected place.
//
// Git believes any name in a commit. A signature that the CI server has verified,
// or at least an author whom it knows, is what ties a deploy to a person; an
// attacker's commit has neither, or a signature that does not hold.
//
// What looks like it: a place where nobody signs (then every deploy is a case, of
// low severity: switch the kind off or begin to sign); a CI server that does not
// say whether a commit is signed (then only the author counts); one that tells no
// commits at all (then nothing is said); a commit whose news is still on its way
// (Settle).
var commitUnverified = detector{
	Kind: "commit_unverified", Severity: Medium, Title: "Unverified commit reached a protected place",
	Find: func(l *look, u *Use, is func(...string)) {
		commit := u.commit()
		if commit == "" || !u.allowed() || !l.policy.Protects(u) {
			return
		}
		if fault, _ := l.unverified(u, commit); fault != "" {
			is(u.Provider, u.project(), commit)
		}
	},
	Tell: func(l *look, c *found) {
		commit := c.newest.commit()
		fault, severity := l.unverified(c.newest, commit)
		c.Severity, c.Commit = severity, commit
		if c.newest.Verdict.Grade == attribute.Inferred {
			c.Severity = c.Severity.lower()
		}
		c.Text = fmt.Sprintf("Commit %s of %s %s. It reached %s%s: %s.", short(commit), name(c.newest.project()), fault, c.places(), c.ofRun(), c.doing())
		c.Action = fmt.Sprintf("Read the commit and find who made it: haptrail trail --commit %s shows all that it touched. "+
			"Then have the branch refuse commits that are not signed.", whole(commit))
	},
}

// unverified says what is wrong with a use's commit, and how bad that is.
func (l *look) unverified(u *Use, commit string) (fault string, s Severity) {
	c, told := l.Commits[commit]
	switch {
	case !told && l.TellsCommits[u.Provider] && l.settled(u):
		return "is unknown to the CI server", Medium
	case !told:
		return "", 0
	case c.Signature == "unverified":
		return "has a signature that the CI server could not verify" + by(c), High
	case c.Author == "":
		return "has no known author", Medium
	case c.Signature == "none":
		return "is not signed" + by(c), Low
	}
	return "", 0
}

// by names a commit's author, as it says itself.
func by(c Commit) string {
	if c.Author == "" {
		return " and no known author"
	}
	return ", and says that it is by " + name(c.Author)
}
