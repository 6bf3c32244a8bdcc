package finding

import (
	"fmt"
	"strings"
	"time"
)

// credentialNotRotated: the same credential is seen in deploy after deploy.
//
// A secret that outlives many deploys has been in as many jobs' memories, and
// whoever read it once deploys for as long as it lives. Four things count:
//
//	token             the same token, by its id, in the deploys of several runs:
//	                  a permanent one, or a service's
//	client-secret     an application's secret, and
//	permanent-token   its tokens, as its CI server tells them: those deploys of the
//	                  application that came after the credential was made
//	key               the key that signed the tokens, where the caller makes them
//	                  himself (provider generic): every other provider's key is
//	                  the issuer's own, and its rotation the issuer's business
//
// What looks like it: the retries and the jobs of one run, which are one deploy;
// short-lived tokens, which never see a second one. Deploys that are attributed to
// no run are counted by the hour, or a permanent token, which mostly has none,
// would never be found. A CI server's credential of which nobody knows when it was
// made may be new: less severe.
var credentialNotRotated = detector{
	Kind: "credential_not_rotated", Severity: Medium, Title: "Credential not rotated between deploys",
	Find: func(l *look, u *Use, is func(...string)) {
		if u.Subject == "" || !l.policy.Deploys(u) {
			return
		}
		for _, c := range l.credentials(u) {
			if l.deploys(u.identity(), c) >= l.policy.RotateWithin {
				is(append([]string{u.Provider, u.Subject, c.kind}, c.id...)...)
			}
		}
	},
	Tell: func(l *look, c *found) {
		for _, one := range l.credentials(c.newest) {
			if !c.is(one) {
				continue
			}
			since := ""
			switch {
			case known(one.created):
				since = ", made at " + clock(one.created) + ","
			case one.kind != "token" && one.kind != "key":
				since = ", made at a time that is not known,"
				c.Severity = c.Severity.lower()
			}
			what := one.kind + " " + short(one.id[len(one.id)-1])
			c.Text = fmt.Sprintf("The %s of %s%s was seen in %s to protected places, of which the newest is %s %s.", what, c.who(), since,
				many(uint64(l.deploys(c.newest.identity(), one)), "deploy"), c.places(), c.when())
			c.Action = fmt.Sprintf("Make a new %s for %s, and revoke this one. Better: have the job ask for a token of its own in each run, "+
				"so that there is nothing to rotate.", strings.ReplaceAll(one.kind, "-", " "), c.who())
		}
	},
}

// credential is one that a deploy may have used.
type credential struct {
	kind    string
	id      []string
	created time.Time
	in      func(Deploy) bool // whether it was seen in a deploy
}

// credentials are those that a use may have been made with.
func (l *look) credentials(u *Use) []credential {
	var all []credential
	if token, ok := u.token(); ok {
		all = append(all, credential{"token", []string{token.Issuer, token.ID}, time.Time{}, func(d Deploy) bool { return d.Token == token }})
	}
	if u.KeyID != "" && u.Provider == "generic" {
		all = append(all, credential{"key", []string{u.Issuer, u.KeyID}, time.Time{}, func(d Deploy) bool {
			return d.KeyID == u.KeyID && d.Token.Issuer == u.Issuer
		}})
	}
	slack := time.Duration(l.policy.Slack)
	for _, c := range l.Principals[u.identity()].Credentials {
		all = append(all, credential{c.Kind, []string{c.ID}, c.Created, func(d Deploy) bool {
			return (!known(c.Created) || !d.At.Before(c.Created)) && (!known(c.LastUsed) || !d.At.After(c.LastUsed.Add(slack)))
		}})
	}
	return all
}

// deploys counts an identity's deploys that a credential was seen in: its runs, and
// of those that are attributed to none the hours.
func (l *look) deploys(id Identity, c credential) int {
	name := key("", append([]string{id.Provider, id.Subject, c.kind}, c.id...))
	return remembered(l.deploysOf, name, func() int {
		type deploy struct {
			run  RunID
			hour int64
		}
		seen := map[deploy]bool{}
		for _, d := range l.Input.Deploys[id] {
			one := deploy{run: d.Run}
			if d.Run.ID == "" {
				one.hour = d.At.Unix() / 3600
			}
			if c.in(d) {
				seen[one] = true
			}
		}
		return len(seen)
	})
}
