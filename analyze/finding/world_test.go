package finding

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// noon is a time in the middle of an ordinary day.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// minute is a time so many minutes after noon.
func minute(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }

const day = 24 * time.Hour

// prod is a policy that protects the backends prod and prod-eu.
func prod() Policy { return Policy{Protected: []Place{{Backends: []string{"prod*"}}}} }

// deploy is an ordinary use: run r1 of shop, on the main branch, deploys at noon.
func deploy(change ...func(*Use)) Use {
	u := Use{
		KeyID: "k1", Audience: "gate", IssuedAt: minute(-10), ExpiresAt: minute(50),
		Verdict: attribute.Verdict{Grade: attribute.Proven, Project: "shop", Run: "r1", Ref: "refs/heads/main", Commit: "c0ffee01"},
		Backend: "prod", Role: "deployer", Method: "POST", Host: "deploy.example.test:443", Endpoint: "/deployments/{n}", Decision: "allow",
		Network: netip.MustParsePrefix("10.2.3.0/24"), Requests: 12,
	}
	u.Use = attribute.Use{
		Provider: "github", Issuer: "https://ci", Subject: "repo:shop", TokenID: "t1", Project: "shop", Run: "r1", Ref: "refs/heads/main",
		Commit: "C0FFEE01", First: minute(0), Last: minute(1),
	}
	for _, c := range change {
		c(&u)
	}
	return u
}

// unsigned makes a use one whose token names no run (Space), attributed as given.
func unsigned(grade attribute.Grade, run string) func(*Use) {
	return func(u *Use) {
		u.Provider, u.Subject = "space", "shop-sa"
		u.Project, u.Run, u.Ref, u.Commit = "", "", "", ""
		u.Verdict = attribute.Verdict{Grade: grade, Run: run}
		if run != "" {
			u.Verdict.Project = "shop"
		}
	}
}

// when moves a use in time.
func when(first, last int) func(*Use) {
	return func(u *Use) { u.First, u.Last = minute(first), minute(last) }
}

func denied(u *Use)   { u.Decision = "deny" }
func harmless(u *Use) { u.Backend = "docs" }

// testCase is one event and what is found in it.
type testCase struct {
	name   string
	uses   []Use
	know   func(*Input)
	policy func(*Policy)
	want   string // the severity; "" for nothing
	text   string // is in the finding's text
}

// checkCases runs one kind's cases; each has one finding of the kind, or none.
func checkCases(t *testing.T, kind string, all []testCase) {
	t.Helper()
	for _, c := range all {
		in, p := Input{Uses: c.uses}, prod()
		if c.know != nil {
			c.know(&in)
		}
		if c.policy != nil {
			c.policy(&p)
		}
		var have []Finding
		for _, f := range Look(in, p) {
			if f.Kind == kind {
				have = append(have, f)
			}
		}
		switch {
		case c.want == "" && len(have) > 0:
			t.Errorf("%s, %s: found, and there is nothing: %s", kind, c.name, have[0].Text)
		case c.want == "":
		case len(have) != 1:
			t.Errorf("%s, %s: %d findings, want 1", kind, c.name, len(have))
		case have[0].Severity.String() != c.want || !strings.Contains(have[0].Text, c.text):
			t.Errorf("%s, %s: %s: %s\nwant %s with %q", kind, c.name, have[0].Severity, have[0].Text, c.want, c.text)
		default:
			checkWhole(t, have[0])
		}
	}
}

// checkWhole holds what is true of every finding.
func checkWhole(t *testing.T, f Finding) {
	t.Helper()
	var wrong []string
	if len(f.Key) != 32 || strings.Trim(f.Key, "0123456789abcdef") != "" {
		wrong = append(wrong, "key "+f.Key)
	}
	if f.Title == "" || f.Action == "" || !strings.HasSuffix(f.Text, ".") || strings.Contains(f.Text+f.Action, "%!") {
		wrong = append(wrong, "words")
	}
	if len(f.Evidence) == 0 || len(f.Evidence) > MaxEvidence || f.Requests == 0 || f.First.After(f.Last) {
		wrong = append(wrong, fmt.Sprintf("%d rows of evidence, %d requests, %s to %s", len(f.Evidence), f.Requests, f.First, f.Last))
	}
	if f.Severity < Low || f.Severity > Critical || !slices.Contains(Kinds(), f.Kind) {
		wrong = append(wrong, "severity or kind")
	}
	if wrong != nil {
		t.Errorf("%s: %v in %+v", f.Kind, wrong, f)
	}
}

// history is everything that happened, from which the Input of any window is made
// as the tables would give it.
type history struct {
	uses   []Use
	policy Policy
	facts  Input // Runs, Commits, Principals, Tells...; the rest is made
	since  time.Time
}

// window is the Input of the uses with from <= Last < to.
func (h *history) window(from, to time.Time) Input {
	in := h.facts
	in.Since = h.since
	in.Identities, in.Endpoints = map[Identity]Past{}, map[Access]time.Time{}
	in.Tokens, in.Deploys = map[Token]TokenPast{}, map[Identity][]Deploy{}
	endpoints := map[Access]bool{}
	for i := range h.uses {
		u := &h.uses[i]
		if !u.Last.Before(to) {
			continue
		}
		keepFirst(in.Endpoints, u.access(), u.First)
		h.token(in.Tokens, u)
		if h.policy.Deploys(u) {
			run, _ := u.run()
			in.Deploys[u.identity()] = append(in.Deploys[u.identity()], Deploy{run, Token{u.Issuer, u.TokenID}, u.KeyID, u.First})
		}
		if !u.Last.Before(from) {
			in.Uses = append(in.Uses, *u)
			continue
		}
		past, known := in.Identities[u.identity()]
		if !known || u.First.Before(past.First) {
			past.First = u.First
		}
		if u.Last.After(past.Last) {
			past.Last = u.Last
		}
		if !endpoints[u.access()] {
			endpoints[u.access()] = true
			past.Endpoints++
		}
		in.Identities[u.identity()] = past
	}
	return in
}

func (h *history) token(tokens map[Token]TokenPast, u *Use) {
	token, ok := u.token()
	if !ok {
		return
	}
	past := tokens[token]
	past.Networks = seeAgain(past.Networks, Seen[netip.Prefix]{u.Network, u.First, u.Last, u.Requests, 0})
	if u.ClaimedRun != "" {
		past.Claimed = seeAgain(past.Claimed, Seen[RunID]{RunID{"", u.ClaimedRun}, u.First, u.Last, u.Requests, 0})
	}
	if run, ok := u.run(); ok {
		past.Attributed = seeAgain(past.Attributed, Seen[RunID]{run, u.First, u.Last, u.Requests, u.Verdict.Grade})
	}
	tokens[token] = past
}

func seeAgain[T comparable](all []Seen[T], one Seen[T]) []Seen[T] {
	for i := range all {
		if seen := &all[i]; seen.Value == one.Value {
			seen.Requests += one.Requests
			seen.Grade = max(seen.Grade, one.Grade)
			if one.First.Before(seen.First) {
				seen.First = one.First
			}
			if one.Last.After(seen.Last) {
				seen.Last = one.Last
			}
			return all
		}
	}
	return append(all, one)
}

// randomHistory is a small world in which names meet often, over sixty days and the
// day after them, which is the window.
func randomHistory(rng *rand.Rand) *history {
	pick := func(texts ...string) string { return texts[rng.IntN(len(texts))] }
	h := &history{since: noon.Add(-60 * day), policy: prod().withDefaults()}
	h.policy.RotateWithin = 3
	for range 5 + rng.IntN(60) {
		start := noon.Add(-time.Duration(rng.Int64N(int64(60 * day))))
		if rng.IntN(2) == 0 {
			start = noon.Add(time.Duration(rng.Int64N(int64(day))))
		}
		u := Use{
			KeyID: pick("", "k1", "k2"), IssuedAt: start.Add(-time.Duration(rng.Int64N(int64(40 * time.Hour)))),
			Verdict: attribute.Verdict{
				Grade: attribute.Grade(rng.IntN(5)), Project: pick("", "shop", "docs"), Run: pick("", "r1", "r2", "r3"), Ref: pick("", "main", "refs/heads/x", "<default>"),
				Commit: pick("", "c1", "c2", "c3"), Contradiction: pick("", "", "", "it says so, and it is not so."), Why: pick("", "a reason"),
			},
			Backend: pick("prod", "docs"), Method: pick("GET", "POST"), Endpoint: pick("/a", "/b", "/c"), Decision: pick("allow", "allow", "deny"),
			Network: netip.PrefixFrom(netip.MustParseAddr(pick("10.0.0.0", "10.0.1.0", "192.0.2.0", "::ffff:10.0.0.0")), 24), Requests: rng.Uint64N(20) + 1,
		}
		u.Endpoint = "/" + u.Backend + u.Endpoint // an endpoint is of one backend: see TestWindowsAddUp
		if u.Network.Addr().Is4In6() {
			u.Network = netip.PrefixFrom(u.Network.Addr(), 120)
		}
		if rng.IntN(9) == 0 {
			u.Network, u.IssuedAt = netip.Prefix{}, time.Unix(0, 0)
		}
		u.ExpiresAt = u.IssuedAt.Add(time.Duration(rng.Int64N(int64(30 * time.Hour))))
		u.Use = attribute.Use{
			Provider: pick("space", "github", "generic", ""), Issuer: pick("https://ci", ""), Subject: pick("ada", "bob", "cy", "", "evil\x1b\n"),
			TokenID: pick("", "t1", "t2", "t3"), Run: pick("", "", "r1"), Ref: pick("", "refs/heads/main"), Commit: pick("", "C4"),
			ClaimedRun: pick("", "", "r1", "r2"), First: start, Last: start.Add(time.Duration(rng.Int64N(int64(time.Hour)))),
		}
		h.uses = append(h.uses, u)
	}
	h.facts = Input{
		Commits:    map[string]Commit{"c1": {SHA: "c1", Author: "Ann", Signature: "verified"}, "c2": {SHA: "c2", Signature: pick("none", "unverified", "")}},
		Principals: map[Identity]Principal{}, TellsPrincipals: map[string]bool{"space": true}, TellsCommits: map[string]bool{"github": true},
	}
	for _, name := range []string{"ada", "bob"} {
		h.facts.Principals[Identity{"space", name}] = Principal{Owner: pick("", "team"), Archived: rng.IntN(3) == 0, Credentials: []Credential{
			{ID: "c", Kind: pick("client-secret", "permanent-token"), Created: noon.Add(-time.Duration(rng.Int64N(int64(90 * day))))},
		}}
	}
	for range rng.IntN(8) {
		run := attribute.Run{Provider: pick("space", "github"), Project: pick("shop", "docs"), ID: pick("r1", "r2"), Attempt: uint32(rng.IntN(3)), Started: noon.Add(time.Duration(rng.Int64N(int64(day))))}
		if rng.IntN(3) > 0 {
			run.Finished = run.Started.Add(time.Duration(rng.Int64N(int64(time.Hour))) - time.Minute)
		}
		h.facts.Runs = append(h.facts.Runs, run)
	}
	return h
}
