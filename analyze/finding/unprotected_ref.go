package finding

import (
	"fmt"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// unprotectedRef: a run from a branch or tag that is not protected reaches a
// protected place, and the gate lets it.
//
// Whoever may push a branch may change what its runs do. An attacker with one
// developer's account pushes a branch, and its pipeline deploys what nobody has
// reviewed.
//
// What looks like it: hot fixes and previews that are meant to deploy from their
// branches, whose patterns belong into ProtectedRefs, or whose places are none to
// protect; TeamCity's word for the default branch, <default>. A ref that nobody
// tells is not judged: unattributedProtected is about those. A pull request's ref
// is never protected by a pattern for branches.
//
// The branch pushes again and again, so that the case is the branch at a backend,
// not the run. A ref that the token signs, or that a proven run has, is beyond
// doubt; an inferred run's is less severe.
var unprotectedRef = detector{
	Kind: "unprotected_ref", Severity: High, Title: "Run from an unprotected ref reached a protected place",
	Find: func(l *look, u *Use, is func(...string)) {
		if ref := u.ref(); ref != "" && u.allowed() && !l.policy.protectsRef(ref) && l.policy.Protects(u) {
			is(u.Provider, u.Subject, u.project(), ref, u.Backend)
		}
	},
	Tell: func(l *look, c *found) {
		u := c.newest
		if u.Ref == "" && u.Verdict.Grade < attribute.Corroborated {
			c.Severity = c.Severity.lower()
		}
		c.Text = fmt.Sprintf("%s reached %s from %s, which is no protected ref%s: %s, let through as role %s.",
			c.who(), c.places(), name(u.ref()), c.ofRun(), c.doing(), name(u.Role))
		c.Action = fmt.Sprintf("Give the role by ref in the gate's policy, as in {project: %s, ref: refs/heads/main}, so that this branch has none. "+
			"If it is meant to reach these places, name it in findings.protected_refs and protect it at the CI server.", name(u.project()))
	},
}

// ofRun names the newest use's run and how it is known, as a part of a sentence.
func (c *found) ofRun() string {
	run, ok := c.newest.run()
	if !ok {
		return ""
	}
	return fmt.Sprintf(", in run %s (%s)", run, c.newest.Verdict.Grade)
}
