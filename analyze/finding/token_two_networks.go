package finding

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// tokenTwoNetworks: one token comes from two networks.
//
// The attacker has a job's token and uses it from his own machine, while the job
// still runs. Inside the token nothing tells the two apart; the address does.
//
// What looks like it: a NAT pool that gives each connection another address, and
// a runner that changes its address, both within a network of NetworkBits; several
// such networks, which the operator names (RunnerNetworks); a machine with an IPv4
// and an IPv6 address, which takes the faster one of the two for each connection
// (RFC 8305). That last one is why one network of each family is no finding where
// no RunnerNetworks are named: an attacker who happens to use the other family is
// missed there, and found where they are.
//
// Both networks at the same time is worse than one after the other, which may be a
// machine that moved.
var tokenTwoNetworks = detector{
	Kind: "token_two_networks", Severity: High, Title: "One token from two networks",
	Find: func(l *look, u *Use, is func(...string)) {
		if token, ok := u.token(); ok && len(l.apart(token)) > 1 {
			is(token.Issuer, token.ID)
		}
	},
	Tell: func(l *look, c *found) {
		token, _ := c.newest.token()
		places := l.apart(token)
		var names []string
		for _, place := range places {
			network := "your runners' networks"
			if place.Value.IsValid() {
				network = place.Value.String()
			}
			names = append(names, fmt.Sprintf("%s (%s, %s to %s)", network, many(place.Requests, "request"), clock(place.First), clock(place.Last)))
		}
		how := "at the same time"
		if !overlap(places) {
			how = "one after the other"
			c.Severity = c.Severity.lower()
		}
		c.Text = fmt.Sprintf("The token %s of %s was used from %s, %s: %s.",
			short(token.ID), c.who(), many(uint64(len(places)), "network"), how, list(names))
		c.Action = "Ask whose machines these are. If all of them are yours, name their networks in findings.runner_networks. " +
			"If one is not, the token was stolen: take the role from " + c.who() + " in the gate's policy, " +
			"and read what was done from there: haptrail trail --identity " + argument(c.newest.Subject) + " --since " + date(c.First) + "."
	},
}

// apart are the networks that a token came from, as far as the policy tells them
// apart, in the order of time; none or one when there is nothing to tell.
func (l *look) apart(token Token) []Seen[netip.Prefix] {
	return remembered(l.placesOf, token, func() []Seen[netip.Prefix] { return l.places(token) })
}

func (l *look) places(token Token) []Seen[netip.Prefix] {
	var places []Seen[netip.Prefix]
	at := map[netip.Prefix]int{}
	for _, seen := range l.Tokens[token].Networks {
		if !seen.Value.IsValid() {
			continue
		}
		seen.Value = l.policy.network(seen.Value)
		i, known := at[seen.Value]
		if !known {
			at[seen.Value] = len(places)
			places = append(places, seen)
			continue
		}
		places[i].Requests += seen.Requests
		if seen.First.Before(places[i].First) {
			places[i].First = seen.First
		}
		if seen.Last.After(places[i].Last) {
			places[i].Last = seen.Last
		}
	}
	slices.SortFunc(places, func(a, b Seen[netip.Prefix]) int {
		if c := a.First.Compare(b.First); c != 0 {
			return c
		}
		return a.Value.Compare(b.Value)
	})
	if len(l.policy.RunnerNetworks) == 0 && len(places) == 2 && places[0].Value.Addr().Is4() != places[1].Value.Addr().Is4() {
		return nil // one machine, two families
	}
	return places
}

// overlap reports whether two of the places, sorted by their first time, were used
// at the same time.
func overlap(places []Seen[netip.Prefix]) bool {
	var until time.Time
	for _, place := range places {
		if place.First.Before(until) {
			return true
		}
		until = place.Last // no earlier one reaches farther, or we had returned
	}
	return false
}
