package finding

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// tokenTwoRuns: one token is used by two runs.
//
// The attacker who has got hold of another job's token uses it in a job of his own;
// or a job hands its token on, in a cache or an artifact, to jobs that never had to
// prove who they are.
//
// What looks like it: the attempts of one run, and the jobs of a matrix or a
// pipeline, all of which are one run by name; several jobs of one account at the
// same time, which have a token each, or are ambiguous and so attributed to none;
// a header that names the run in another form than its CI server does (a build
// number for an id), which is why a run by header is not held against one by
// attribution unless the CI server knows both names.
//
// A long-lived token of a service (Okta, AWS) has no run of its own: for it, the
// runs are those that its callers' headers name. One that is shared on purpose is
// told once, and with less severity where it lives longer than the policy likes:
// then tokenLifetime and credentialNotRotated are about what is really wrong.
var tokenTwoRuns = detector{
	Kind: "token_two_runs", Severity: High, Title: "One token used by two runs",
	Find: func(l *look, u *Use, is func(...string)) {
		if token, ok := u.token(); ok && len(l.users(u, token)) > 1 {
			is(token.Issuer, token.ID)
		}
	},
	Tell: func(l *look, c *found) {
		u := c.newest
		token, _ := u.token()
		var names []string
		for _, run := range l.users(u, token) {
			how := "named by a header"
			if run.Grade > attribute.None {
				how = run.Grade.String()
			}
			if run.Grade == attribute.Inferred || run.Grade == attribute.None {
				c.Severity = Medium
			}
			names = append(names, fmt.Sprintf("%s (%s, %s to %s)", run.Value, how, clock(run.First), clock(run.Last)))
		}
		if l.policy.longLived(u) {
			c.Severity = Low
		}
		c.Text = fmt.Sprintf("The token %s of %s was used by %s: %s.", short(token.ID), c.who(), many(uint64(len(names)), "run"), list(names))
		c.Action = "Give each run a token of its own, asked for by the run itself, and look for the cache, artifact or variable " +
			"in which this one travelled. If nobody handed it on, it was stolen: take the role from " + c.who() + " in the gate's policy."
	},
}

// users are the runs that used a token, in the order of time; those by header
// where they are several, else those by attribution.
func (l *look) users(u *Use, token Token) []Seen[RunID] {
	past := l.tokenUsers(token)
	attributed, claimed := past.attributed, past.claimed
	if len(attributed) > 1 {
		return attributed
	}
	if len(claimed) > 1 {
		return claimed
	}
	// A signed run, and a header that names another one of the CI server's.
	if u.Run != "" && len(claimed) == 1 && claimed[0].Value.ID != u.Run && len(l.attempts(u.Provider, RunID{"", claimed[0].Value.ID})) > 0 {
		own := Seen[RunID]{RunID{u.project(), u.Run}, u.First, u.Last, u.Requests, attribute.Proven}
		if len(attributed) == 1 {
			own = attributed[0]
		}
		return []Seen[RunID]{own, claimed[0]}
	}
	return nil
}

// tokenUsers are the different runs that used a token.
type tokenUsers struct{ attributed, claimed []Seen[RunID] }

func (l *look) tokenUsers(token Token) *tokenUsers {
	return remembered(l.usersOf, token, func() *tokenUsers {
		past := l.Tokens[token]
		return &tokenUsers{distinct(past.Attributed), distinct(past.Claimed)}
	})
}

// distinct are the runs that are not the same, in the order of time, each with its
// best grade. One without a project is the same as any of its id.
func distinct(runs []Seen[RunID]) []Seen[RunID] {
	runs = slices.Clone(runs)
	slices.SortFunc(runs, func(a, b Seen[RunID]) int {
		if c := a.First.Compare(b.First); c != 0 {
			return c
		}
		return compareRuns(a.Value, b.Value)
	})
	var out []Seen[RunID]
	byID := map[string][]int{} // places in out
	for _, run := range runs {
		same := func(i int) bool {
			project := out[i].Value.Project
			return project == run.Value.Project || project == "" || run.Value.Project == ""
		}
		id := run.Value.ID
		switch at := slices.IndexFunc(byID[id], same); {
		case id == "":
		case at < 0:
			byID[id] = append(byID[id], len(out))
			out = append(out, run)
		default:
			i := byID[id][at]
			out[i].Value.Project = cmp.Or(out[i].Value.Project, run.Value.Project)
			out[i].Grade = max(out[i].Grade, run.Grade)
			out[i].Requests += run.Requests
			if run.Last.After(out[i].Last) {
				out[i].Last = run.Last
			}
		}
	}
	return out
}
