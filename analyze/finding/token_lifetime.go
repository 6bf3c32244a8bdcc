package finding

import (
	"fmt"
	"strings"
	"time"
)

// tokenLifetime: tokens live longer than the policy likes, or are used later after
// their issue than it likes.
//
// A stolen token is worth as much as it has left to live. This is no attack but
// what makes one pay.
//
// What looks like it: clocks that are apart (Slack); a log that does not say when
// tokens were issued or expire (then nothing is said); requests that the gate
// refused for just this reason (they are not counted). An issuer that is set up
// with long lifetimes makes every token a case, so that the case is the identity.
var tokenLifetime = detector{
	Kind: "token_lifetime", Severity: Medium, Title: "Token lives longer than the policy allows",
	Find: func(l *look, u *Use, is func(...string)) {
		if !u.allowed() || u.Subject == "" {
			return
		}
		if l.policy.longLived(u) || l.policy.old(u) {
			is(u.Provider, u.Issuer, u.Subject)
		}
	},
	Tell: func(l *look, c *found) {
		var longest, oldest time.Duration
		tokens := map[string]bool{}
		for _, u := range c.uses {
			tokens[u.TokenID] = true
			if l.policy.longLived(u) {
				longest = max(longest, u.ExpiresAt.Sub(u.IssuedAt))
			}
			if l.policy.old(u) {
				oldest = max(oldest, u.Last.Sub(u.IssuedAt))
			}
		}
		var wrong []string
		if longest > 0 {
			wrong = append(wrong, fmt.Sprintf("live up to %s (at most %s by the policy)", span(longest), span(time.Duration(l.policy.MaxTokenLifetime))))
		}
		if oldest > 0 {
			wrong = append(wrong, fmt.Sprintf("are used up to %s after their issue (at most %s by the policy)", span(oldest), span(time.Duration(l.policy.MaxTokenAge))))
		}
		c.Text = fmt.Sprintf("Tokens of %s from the issuer %s %s: %s, with %s.",
			c.who(), name(c.newest.Issuer), strings.Join(wrong, ", and "), c.doing(), many(uint64(len(tokens)), "such token"))
		c.Action = "Shorten the lifetime at the issuer to that of the job, and let the gate refuse the rest: " +
			"max_lifetime and max_age of the issuer in its policy."
	},
}

// longLived reports whether a use's token lives longer than the policy likes, as
// far as the log tells.
func (p *Policy) longLived(u *Use) bool {
	return known(u.IssuedAt) && known(u.ExpiresAt) && u.ExpiresAt.Sub(u.IssuedAt) > time.Duration(p.MaxTokenLifetime)
}

// old reports whether a use's token was used later than the policy likes.
func (p *Policy) old(u *Use) bool {
	return known(u.IssuedAt) && u.Last.Sub(u.IssuedAt) > time.Duration(p.MaxTokenAge)+time.Duration(p.Slack)
}

// known reports whether a log told a time of a token: a column that it did not fill
// holds 1970.
func known(t time.Time) bool { return t.Unix() > 0 }
