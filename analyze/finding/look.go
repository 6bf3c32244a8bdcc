package finding

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// detector finds one kind of finding. It sees one use at a time, and says under
// which key it is a case of the kind; once all uses are seen, it tells each case.
type detector struct {
	Kind     string
	Severity Severity // of a case, unless Tell says otherwise
	Title    string

	// Find calls is for each case that the use is part of, with the fields that make
	// the case's key.
	Find func(l *look, u *Use, is func(fields ...string))
	// Tell sets the case's text and action, and may change its severity.
	Tell func(l *look, c *found)
}

// detectors are all kinds, in the order of the package's table.
func detectors() []detector {
	return []detector{
		tokenAfterRun, tokenTwoNetworks, tokenTwoRuns, tokenLifetime, credentialNotRotated,
		unprotectedRef, commitUnverified, identityUnowned, unattributedProtected,
		firstSeenEndpoint, dormantPrincipal, claimContradicted,
	}
}

// Kinds are the kinds of findings, as Policy.Off names them.
func Kinds() []string {
	var kinds []string
	for _, d := range detectors() {
		kinds = append(kinds, d.Kind)
	}
	return kinds
}

// look is an Input that is prepared for the detectors.
type look struct {
	Input
	policy Policy
	uses   []*Use // in the order of time, so that any order of the input is the same

	runs  map[runName][]attribute.Run // attempts; by name with and without project and provider
	since map[Identity]time.Time      // the first use of each in the window
	began map[Access]time.Time        // likewise

	// What was worked out of a token or a credential: it is asked for with each of its
	// uses, and whoever has a token can make it seem to be of as many runs as he likes.
	usersOf   map[Token]*tokenUsers
	placesOf  map[Token][]Seen[netip.Prefix]
	deploysOf map[string]int
}

// runName finds a run; a part that is "" stands for any.
type runName struct{ provider, project, id string }

func newLook(in Input, p Policy) *look {
	l := &look{Input: in, policy: p, runs: map[runName][]attribute.Run{}, since: map[Identity]time.Time{}, began: map[Access]time.Time{},
		usersOf: map[Token]*tokenUsers{}, placesOf: map[Token][]Seen[netip.Prefix]{}, deploysOf: map[string]int{}}
	for i := range in.Uses {
		l.uses = append(l.uses, &in.Uses[i])
	}
	slices.SortFunc(l.uses, compareUses)
	for _, u := range l.uses {
		keepFirst(l.since, u.identity(), u.First)
		keepFirst(l.began, u.access(), u.First)
	}
	for _, run := range in.Runs {
		names := map[runName]bool{} // what is "" already has one name less
		for _, provider := range []string{run.Provider, ""} {
			names[runName{provider, run.Project, run.ID}] = true
			names[runName{provider, "", run.ID}] = true
		}
		for name := range names {
			l.runs[name] = append(l.runs[name], run)
		}
	}
	return l
}

func keepFirst[K comparable](m map[K]time.Time, key K, t time.Time) {
	if known, ok := m[key]; !ok || t.Before(known) {
		m[key] = t
	}
}

// compareUses orders uses by time, then by all that may tell two apart.
func compareUses(a, b *Use) int {
	if c := cmp.Or(a.Last.Compare(b.Last), a.First.Compare(b.First), cmp.Compare(a.Requests, b.Requests), cmp.Compare(a.Verdict.Grade, b.Verdict.Grade)); c != 0 {
		return c
	}
	texts := func(u *Use) []string {
		return []string{
			u.Provider, u.Issuer, u.Subject, u.TokenID, u.KeyID, u.Project, u.Run, u.Attempt, u.Ref, u.Commit, u.ClaimedRun,
			u.Backend, u.Role, u.Method, u.Host, u.Endpoint, u.Decision, u.Network.String(),
			u.Verdict.Project, u.Verdict.Run, u.Verdict.Ref, u.Verdict.Commit, u.Verdict.Contradiction,
		}
	}
	return slices.Compare(texts(a), texts(b))
}

// attempts are a run's, as the CI server tells them; none where the name stands for
// runs of several projects or providers.
func (l *look) attempts(provider string, id RunID) []attribute.Run {
	runs := l.runs[runName{provider, id.Project, id.ID}]
	for _, run := range runs {
		if run.Provider != runs[0].Provider || run.Project != runs[0].Project {
			return nil
		}
	}
	return runs
}

// ended is when a run was over, as seen at a time. It is not while an attempt that
// has begun by then has not ended, or nobody told of its end: a webhook may be
// lost. Clocks may be apart by Slack both ways, and within it a job clears up.
func (l *look) ended(provider string, id RunID, at time.Time) (end time.Time, ok bool) {
	slack := time.Duration(l.policy.Slack)
	for _, run := range l.attempts(provider, id) {
		began := run.Started
		if began.IsZero() {
			began = run.Queued
		}
		switch {
		case began.Add(-slack).After(at):
			continue // the next attempt has not begun
		case run.Finished.IsZero():
			return time.Time{}, false
		}
		over := run.Finished
		if began.After(over) { // bad data: it counts for the run
			over = began
		}
		if !at.After(over.Add(slack)) {
			return time.Time{}, false
		}
		if over.After(end) {
			end = over
		}
	}
	return end, !end.IsZero()
}

// remembered is what of says, asked once for each key.
func remembered[K comparable, V any](known map[K]V, key K, of func() V) V {
	v, ok := known[key]
	if !ok {
		v = of()
		known[key] = v
	}
	return v
}

// settled reports whether the CI servers would have told by now of what belongs
// to the use.
func (l *look) settled(u *Use) bool {
	last := u.Last
	if known(u.Received) && u.Received.Before(last) {
		last = u.Received // or a clock that is ahead would keep it from ever being looked at
	}
	return l.Until.IsZero() || !last.After(l.Until.Add(-time.Duration(l.policy.Settle)))
}

// access is the use's identity at its endpoint.
func (u *Use) access() Access { return Access{u.identity(), u.Method, u.Endpoint} }

// ref is the use's branch or tag, and commit its commit: the verdict's, or what the
// token says itself where it came to no run.
func (u *Use) ref() string    { return cmp.Or(u.Verdict.Ref, u.Ref) }
func (u *Use) commit() string { return strings.ToLower(cmp.Or(u.Verdict.Commit, u.Commit)) }

// project is the use's project, likewise.
func (u *Use) project() string { return cmp.Or(u.Verdict.Project, u.Project) }

// found is one case of a kind: what becomes a finding.
type found struct {
	Finding
	fields   []string // of the key
	uses     []*Use   // in the order of time
	newest   *Use
	allowed  bool // one of them was let through
	networks []netip.Prefix
}

// cases collects one detector's, by key.
type cases struct {
	detector detector
	byKey    map[string]*found
}

func newCases(d detector) *cases { return &cases{d, map[string]*found{}} }

// add puts a use into the case of the fields.
func (c *cases) add(u *Use, fields []string) {
	k := key(c.detector.Kind, fields)
	one := c.byKey[k]
	if one == nil {
		one = &found{fields: slices.Clone(fields), Finding: Finding{
			Kind: c.detector.Kind, Severity: c.detector.Severity, Key: k, Title: c.detector.Title, First: u.First, Last: u.Last,
		}}
		c.byKey[k] = one
	}
	one.uses, one.newest = append(one.uses, u), u
	if u.First.Before(one.First) {
		one.First = u.First
	}
	if u.Last.After(one.Last) {
		one.Last = u.Last
	}
	one.Requests += u.Requests
	one.allowed = one.allowed || u.allowed()
	if u.Network.IsValid() && !slices.Contains(one.networks, u.Network) {
		one.networks = append(one.networks, u.Network)
	}
}

// findings tells the cases, the ones with the smaller key first.
func (c *cases) findings(l *look) []Finding {
	var out []Finding
	for _, k := range slices.Sorted(maps.Keys(c.byKey)) {
		one := c.byKey[k]
		u := one.newest
		one.Provider, one.Issuer, one.Subject = u.Provider, u.Issuer, u.Subject
		one.Project, one.Run, one.Commit = u.project(), cmp.Or(u.Verdict.Run, u.Run), u.commit()
		one.Token, one.Backend = u.TokenID, u.Backend
		one.Evidence = evidence(one.uses)
		c.detector.Tell(l, one)
		out = append(out, one.Finding)
	}
	return out
}

// evidence are the uses, the first and the last ones where they are many.
func evidence(uses []*Use) []Evidence {
	uses = slices.Clone(uses)
	slices.SortStableFunc(uses, func(a, b *Use) int { return a.First.Compare(b.First) })
	if len(uses) > MaxEvidence {
		uses = slices.Concat(uses[:MaxEvidence/2], uses[len(uses)-MaxEvidence/2:])
	}
	rows := make([]Evidence, len(uses))
	for i, u := range uses {
		rows[i] = Evidence{
			Time: u.First, Identity: u.Subject, Method: u.Method, Endpoint: u.Endpoint, Backend: u.Backend, Decision: u.Decision,
			Requests: u.Requests, Run: cmp.Or(u.Verdict.Run, u.Run), Grade: u.Verdict.Grade.String(), TokenID: u.TokenID,
		}
		if u.Network.IsValid() {
			rows[i].Network = unmapped(u.Network).String()
		}
	}
	return rows
}

// is reports whether the case is about the credential.
func (c *found) is(one credential) bool {
	return slices.Equal(c.fields[2:], append([]string{one.kind}, one.id...))
}

func compareRuns(a, b RunID) int {
	return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.ID, b.ID))
}
