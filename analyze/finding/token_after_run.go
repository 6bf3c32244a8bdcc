package finding

import (
	"fmt"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// tokenAfterRun: a token is used after the run that it was made for has finished.
//
// The attacker reads a job's token out of its environment, a log or an artifact,
// and uses it from elsewhere while it is still valid, which is often an hour longer
// than the job. He need not hurry, so that his requests mostly come after the run.
//
// What looks like it: a job's last words while the CI server already counts it as
// finished, and clocks that are apart (Slack); a retry that takes over what the
// attempt before it had (the run is over when no attempt that has begun is going
// on); a server that never told of the end (then nothing is said).
//
// A token that names its run by a signed claim is that run's beyond doubt. One
// that does not (Space's) belongs to the one run that its uses were ever attributed
// to, if it was issued while that run was going on: less sure, and so less severe.
// One that several runs have used is no run's; see tokenTwoRuns.
var tokenAfterRun = detector{
	Kind: "token_after_run", Severity: High, Title: "Token used after its run had finished",
	Find: func(l *look, u *Use, is func(...string)) {
		token, ok := u.token()
		if !ok {
			return
		}
		run, _, ok := l.madeFor(u, token)
		if !ok {
			return
		}
		if _, over := l.ended(u.Provider, run, u.Last); over {
			is(token.Issuer, token.ID, run.Project, run.ID)
		}
	},
	Tell: func(l *look, c *found) {
		token, _ := c.newest.token()
		run, signed, _ := l.madeFor(c.newest, token)
		end, _ := l.ended(c.newest.Provider, run, c.Last)
		whose := "names the run"
		if !signed {
			whose = "was used by no other run than"
			c.Severity = c.Severity.lower()
		}
		if !c.allowed {
			c.Severity = c.Severity.lower()
		}
		c.Project, c.Run = run.Project, run.ID
		c.Text = fmt.Sprintf("The token %s of %s %s %s, which finished at %s. It was used up to %s later: %s.",
			short(token.ID), c.who(), whose, run, clock(end), span(c.Last.Sub(end)), c.doing())
		c.Action = fmt.Sprintf("Find out what still ran at %s: a process that outlived the job, or somebody who has its token. "+
			"Until that is known, take the role from %s in the gate's policy, and shorten its tokens' lifetime to that of the job.",
			networks(c.networks), c.who())
	},
}

// madeFor is the run that a use's token was made for, and whether a signed claim
// says so.
func (l *look) madeFor(u *Use, token Token) (run RunID, signed, ok bool) {
	if u.Run != "" {
		return RunID{u.project(), u.Run}, true, true
	}
	if u.Verdict.Grade > attribute.Ambiguous {
		return RunID{}, false, false // attributed to a run that is going on
	}
	past := l.tokenUsers(token).attributed
	if len(past) != 1 {
		return RunID{}, false, false
	}
	run = past[0].Value
	return run, false, l.issuedIn(u, run)
}

// issuedIn reports whether a token was issued while a run was going on, as far as
// that is known.
func (l *look) issuedIn(u *Use, run RunID) bool {
	if !known(u.IssuedAt) {
		return true
	}
	for _, attempt := range l.attempts(u.Provider, run) {
		slack := time.Duration(l.policy.Slack)
		if !u.IssuedAt.Before(attempt.Started.Add(-slack)) && (attempt.Finished.IsZero() || !u.IssuedAt.After(attempt.Finished.Add(slack))) {
			return true
		}
	}
	return false
}
