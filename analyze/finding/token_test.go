package finding

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// attempt is one of run shop/r1's, from and to so many minutes after noon; to 0: it
// is still going on.
func attempt(n uint32, from, to int) attribute.Run {
	r := attribute.Run{Provider: "github", Project: "shop", ID: "r1", Attempt: n, Started: minute(from)}
	if to != 0 {
		r.Finished = minute(to)
	}
	return r
}

func runs(all ...attribute.Run) func(*Input) { return func(in *Input) { in.Runs = all } }

func TestTokenAfterRun(t *testing.T) {
	space := func(run attribute.Run) attribute.Run { run.Provider = "space"; return run }
	// knownAs says which runs token t1 was attributed to, and shop/r1 from 0 to 10.
	knownAs := func(ids ...string) func(*Input) {
		return func(in *Input) {
			in.Runs = []attribute.Run{space(attempt(0, 0, 10))}
			var past TokenPast
			for _, id := range ids {
				past.Attributed = append(past.Attributed, Seen[RunID]{Value: RunID{"shop", id}, First: minute(1), Last: minute(2), Grade: attribute.Inferred})
			}
			in.Tokens = map[Token]TokenPast{{"https://ci", "t1"}: past}
		}
	}
	issuedAt := func(m int) func(*Use) { return func(u *Use) { u.IssuedAt = minute(m) } }
	none := func(u *Use) { unsigned(attribute.None, "")(u); issuedAt(1)(u) }
	checkCases(t, "token_after_run", []testCase{
		{"37 minutes later", []Use{deploy(when(40, 47))}, runs(attempt(1, 0, 10)), nil, "high",
			"The token t1 of repo:shop (github) names the run shop/r1, which finished at 2026-11-23 12:10:00Z. It was used up to 37 minutes later: 12 requests from 10.2.3.0/24"},
		{"refused", []Use{deploy(when(40, 47), denied)}, runs(attempt(1, 0, 10)), nil, "medium", "none of them allowed"},
		{"one of two was refused", []Use{deploy(when(40, 47), denied), deploy(when(50, 50))}, runs(attempt(1, 0, 10)), nil, "high", "24 requests"},
		{"begun before the end", []Use{deploy(when(5, 16))}, runs(attempt(1, 0, 10)), nil, "high", "6 minutes later"},
		{"while it runs", []Use{deploy(when(5, 6))}, runs(attempt(1, 0, 10)), nil, "", ""},
		{"within the slack", []Use{deploy(when(15, 15))}, runs(attempt(1, 0, 10)), nil, "", ""},
		{"just beyond it", []Use{deploy(when(15, 15), func(u *Use) { u.Last = u.Last.Add(time.Microsecond) })}, runs(attempt(1, 0, 10)), nil, "high", ""},
		{"within more slack", []Use{deploy(when(40, 47))}, runs(attempt(1, 0, 10)), func(p *Policy) { p.Slack = Duration(time.Hour) }, "", ""},
		{"still going on", []Use{deploy(when(500, 500))}, runs(attempt(1, 0, 0)), nil, "", ""},
		{"the run is unknown", []Use{deploy(when(500, 500))}, nil, nil, "", ""},
		{"the next attempt is going on", []Use{deploy(when(40, 47))}, runs(attempt(1, 0, 10), attempt(2, 30, 60)), nil, "", ""},
		{"the next attempt is not told to have ended", []Use{deploy(when(90, 90))}, runs(attempt(1, 0, 10), attempt(2, 30, 0)), nil, "", ""},
		{"between two attempts", []Use{deploy(when(60, 60))}, runs(attempt(1, 0, 10), attempt(2, 600, 700)), nil, "high", "finished at 2026-11-23 12:10"},
		{"after both", []Use{deploy(when(800, 800))}, runs(attempt(2, 600, 700), attempt(1, 0, 10)), nil, "high", "finished at 2026-11-23 23:40"},
		{"finished before it started", []Use{deploy(when(12, 12))}, runs(attempt(1, 10, 5)), nil, "", ""},
		{"another project's run of that name", []Use{deploy(when(40, 47))}, func(in *Input) {
			in.Runs = []attribute.Run{{Provider: "github", Project: "docs", ID: "r1", Started: minute(0), Finished: minute(10)}}
		}, nil, "", ""},
		{"the log does not know the provider", []Use{deploy(when(40, 47), func(u *Use) { u.Provider = "" })}, runs(attempt(1, 0, 10)), nil, "high", ""},
		{"nor which of two providers", []Use{deploy(when(40, 47), func(u *Use) { u.Provider = "" })}, runs(attempt(1, 0, 10), space(attempt(1, 0, 10))), nil, "", ""},
		{"no token id", []Use{deploy(when(40, 47), func(u *Use) { u.TokenID = "" })}, runs(attempt(1, 0, 10)), nil, "", ""},

		{"unsigned, the only run that used it", []Use{deploy(none, when(40, 47))}, knownAs("r1"), nil, "medium", "was used by no other run than shop/r1"},
		{"unsigned, one run by two grades", []Use{deploy(none, when(40, 47))}, knownAs("r1", "r1"), nil, "medium", "no other run than shop/r1"},
		{"unsigned and refused", []Use{deploy(none, when(40, 47), denied)}, knownAs("r1"), nil, "low", ""},
		{"unsigned, ambiguous by now", []Use{deploy(unsigned(attribute.Ambiguous, ""), when(40, 47), issuedAt(1))}, knownAs("r1"), nil, "medium", ""},
		{"unsigned, another run by now", []Use{deploy(unsigned(attribute.Inferred, "r2"), when(40, 47))}, knownAs("r1", "r2"), nil, "", ""},
		{"unsigned, no run's", []Use{deploy(none, when(40, 47))}, knownAs("r1", "r2"), nil, "", ""},
		{"unsigned, never attributed", []Use{deploy(none, when(40, 47))}, knownAs(), nil, "", ""},
		{"unsigned, issued in the run", []Use{deploy(none, when(40, 47), issuedAt(3))}, knownAs("r1"), nil, "medium", ""},
		{"unsigned, issued when nobody knows", []Use{deploy(none, when(40, 47), func(u *Use) { u.IssuedAt = time.Unix(0, 0) })}, knownAs("r1"), nil, "medium", ""},
		{"unsigned, issued long before the run", []Use{deploy(none, when(40, 47), issuedAt(-60))}, knownAs("r1"), nil, "", ""},
		{"unsigned, issued after the run", []Use{deploy(none, when(40, 47), issuedAt(30))}, knownAs("r1"), nil, "", ""},
	})
}

// from is a network that token t1 was seen from.
func from(network string, first, last int) Seen[netip.Prefix] {
	return Seen[netip.Prefix]{Value: netip.MustParsePrefix(network), First: minute(first), Last: minute(last), Requests: 3}
}

func TestTokenTwoNetworks(t *testing.T) {
	seen := func(all ...Seen[netip.Prefix]) func(*Input) {
		return func(in *Input) { in.Tokens = map[Token]TokenPast{{"https://ci", "t1"}: {Networks: all}} }
	}
	house := func(networks ...string) func(*Policy) {
		return func(p *Policy) {
			for _, n := range networks {
				p.RunnerNetworks = append(p.RunnerNetworks, Network(netip.MustParsePrefix(n)))
			}
		}
	}
	uses := []Use{deploy()}
	checkCases(t, "token_two_networks", []testCase{
		{"at the same time", uses, seen(from("10.2.3.0/24", 0, 10), from("192.0.2.0/24", 5, 20)), nil, "high",
			"was used from 2 networks, at the same time: 10.2.3.0/24 (3 requests, 2026-11-23 12:00:00Z to 2026-11-23 12:10:00Z), 192.0.2.0/24 (3 requests"},
		{"one after the other", uses, seen(from("192.0.2.0/24", 11, 20), from("10.2.3.0/24", 0, 10)), nil, "medium", "one after the other: 10.2.3.0/24"},
		{"one network", uses, seen(from("10.2.3.0/24", 0, 10)), nil, "", ""},
		{"nothing known", uses, nil, nil, "", ""},
		{"within a wider network", uses, seen(from("10.2.3.0/24", 0, 10), from("10.2.9.0/24", 5, 20)), func(p *Policy) { p.NetworkBits4 = 16 }, "", ""},
		{"beyond it", uses, seen(from("10.2.3.0/24", 0, 10), from("10.3.9.0/24", 5, 20)), func(p *Policy) { p.NetworkBits4 = 16 }, "high", "10.2.0.0/16"},
		{"IPv4 and IPv6", uses, seen(from("10.2.3.0/24", 0, 10), from("2001:db8::/56", 5, 20)), nil, "", ""},
		{"IPv4 as IPv6 has it", uses, seen(from("10.2.3.0/24", 0, 10), from("::ffff:10.2.3.0/120", 5, 20)), nil, "", ""},
		{"two of IPv6", uses, seen(from("2001:db8:1::/56", 0, 10), from("2001:db8:2::/56", 5, 20)), nil, "high", "2001:db8:2::/56"},
		{"two of IPv4 and one of IPv6", uses, seen(from("10.2.3.0/24", 0, 10), from("2001:db8::/56", 5, 20), from("192.0.2.0/24", 30, 40)), nil, "high", "3 networks"},
		{"within the house", uses, seen(from("10.2.3.0/24", 0, 10), from("10.9.3.0/24", 5, 20), from("2001:db8::/56", 5, 20)), house("10.0.0.0/8", "2001:db8::/32"), "", ""},
		{"out of the house", uses, seen(from("10.2.3.0/24", 0, 10), from("192.0.2.0/24", 5, 20)), house("10.0.0.0/8"), "high", "your runners' networks (3 requests"},
		{"out of the house by the other family", uses, seen(from("10.2.3.0/24", 0, 10), from("2001:db8::/56", 5, 20)), house("10.0.0.0/8"), "high", "2001:db8::/56"},
		{"an unknown network", uses, seen(from("10.2.3.0/24", 0, 10), Seen[netip.Prefix]{}), nil, "", ""},
		{"no token id", []Use{deploy(func(u *Use) { u.TokenID = "" })}, func(in *Input) {
			in.Tokens = map[Token]TokenPast{{"https://ci", ""}: {Networks: []Seen[netip.Prefix]{from("10.2.3.0/24", 0, 10), from("192.0.2.0/24", 5, 20)}}}
		}, nil, "", ""},
	})
}

func TestTokenTwoRuns(t *testing.T) {
	by := func(project, id string, grade attribute.Grade, m int) Seen[RunID] {
		return Seen[RunID]{RunID{project, id}, minute(m), minute(m + 1), 1, grade}
	}
	claimed := func(id string, m int) Seen[RunID] { return by("", id, attribute.None, m) }
	past := func(p TokenPast, more ...func(*Input)) func(*Input) {
		return func(in *Input) {
			in.Tokens = map[Token]TokenPast{{"https://ci", "t1"}: p}
			for _, m := range more {
				m(in)
			}
		}
	}
	none := []Use{deploy(unsigned(attribute.None, ""))}
	signed := []Use{deploy()}
	long := []Use{deploy(unsigned(attribute.None, ""), func(u *Use) { u.ExpiresAt = u.IssuedAt.Add(1000 * time.Hour) })}
	list := func(runs ...Seen[RunID]) []Seen[RunID] { return runs }
	checkCases(t, "token_two_runs", []testCase{
		{"confirmed by the CI server", none, past(TokenPast{Attributed: list(by("shop", "r2", attribute.Corroborated, 5), by("shop", "r1", attribute.Corroborated, 1))}), nil, "high",
			"was used by 2 runs: shop/r1 (corroborated, 2026-11-23 12:01:00Z to 2026-11-23 12:02:00Z), shop/r2"},
		{"one of them inferred", none, past(TokenPast{Attributed: list(by("shop", "r1", attribute.Corroborated, 1), by("shop", "r2", attribute.Inferred, 5))}), nil, "medium", "r2 (inferred"},
		{"one run by two grades", none, past(TokenPast{Attributed: list(by("shop", "r1", attribute.Inferred, 1), by("shop", "r1", attribute.Corroborated, 5))}), nil, "", ""},
		{"two runs, one by two grades", none, past(TokenPast{Attributed: list(by("shop", "r1", attribute.Inferred, 1), by("shop", "r1", attribute.Corroborated, 5), by("shop", "r2", attribute.Corroborated, 7))}), nil, "high",
			"shop/r1 (corroborated, 2026-11-23 12:01:00Z to 2026-11-23 12:06:00Z)"},
		{"by headers, of a service's token", none, past(TokenPast{Claimed: list(claimed("r1", 1), claimed("r2", 3))}), nil, "medium", "r1 (named by a header"},
		{"of a long-lived token", long, past(TokenPast{Claimed: list(claimed("r1", 1), claimed("r2", 3))}), nil, "low", ""},
		{"attempts of one run", none, past(TokenPast{Attributed: list(by("shop", "r1", attribute.Inferred, 1)), Claimed: list(claimed("r1", 1))}), nil, "", ""},
		{"one name in two projects", none, past(TokenPast{Attributed: list(by("shop", "7", attribute.Corroborated, 1), by("docs", "7", attribute.Corroborated, 1))}), nil, "high", "docs/7"},
		{"one name, once without its project", none, past(TokenPast{Attributed: list(by("shop", "7", attribute.Corroborated, 1), by("", "7", attribute.Corroborated, 1))}), nil, "", ""},
		{"by header in another form", none, past(TokenPast{Attributed: list(by("shop", "r1", attribute.Inferred, 1)), Claimed: list(claimed("#118", 1))}), nil, "", ""},
		{"signed, and a header in another form", signed, past(TokenPast{Attributed: list(by("shop", "r1", attribute.Proven, 1)), Claimed: list(claimed("#118", 1))}), nil, "", ""},
		{"signed, and a header names another run", signed, past(TokenPast{Attributed: list(by("shop", "r1", attribute.Proven, 1)), Claimed: list(claimed("r2", 1))},
			func(in *Input) { in.Runs = []attribute.Run{{Provider: "github", Project: "docs", ID: "r2"}} }), nil, "medium", "shop/r1 (proven"},
		{"signed, and a header names its own", signed, past(TokenPast{Claimed: list(claimed("r1", 1))}, runs(attempt(1, 0, 10))), nil, "", ""},
		{"one run", none, past(TokenPast{Claimed: list(claimed("r1", 1))}), nil, "", ""},
		{"nothing known", none, nil, nil, "", ""},
	})
}

func TestTokenLifetime(t *testing.T) {
	lives := func(issued, expires time.Duration) func(*Use) {
		return func(u *Use) { u.IssuedAt, u.ExpiresAt = minute(0).Add(issued), minute(0).Add(expires) }
	}
	checkCases(t, "token_lifetime", []testCase{
		{"an hour", []Use{deploy()}, nil, nil, "", ""},
		{"as long as may be", []Use{deploy(lives(-time.Hour, 11*time.Hour))}, nil, nil, "", ""},
		{"a second more", []Use{deploy(lives(-time.Hour, 11*time.Hour+time.Second))}, nil, nil, "medium", "live up to 12 hours (at most 12 hours by the policy)"},
		{"thirty days", []Use{deploy(lives(-time.Hour, 30*day))}, nil, nil, "medium", "Tokens of repo:shop (github) from the issuer https://ci live up to 30 days"},
		{"used late", []Use{deploy(lives(-13*time.Hour, -2*time.Hour))}, nil, nil, "medium", "used up to 13 hours 1 minute after their issue (at most 12 hours"},
		{"late within the slack", []Use{deploy(lives(-12*time.Hour, -12*time.Hour), when(0, 5))}, nil, nil, "", ""},
		{"both, of two tokens", []Use{deploy(lives(-time.Hour, 20*time.Hour)), deploy(lives(-20*time.Hour, -19*time.Hour), func(u *Use) { u.TokenID = "t2" })}, nil, nil, "medium", "live up to 21 hours (at most 12 hours by the policy), and are used up to 20 hours 1 minute after their issue (at most 12 hours by the policy): 24 requests from 10.2.3.0/24, from 2026-11-23 12:00:00Z to 2026-11-23 12:01:00Z, with 2 such tokens"},
		{"the gate refused it", []Use{deploy(lives(-time.Hour, 30*day), denied)}, nil, nil, "", ""},
		{"the log does not say", []Use{deploy(func(u *Use) { u.IssuedAt, u.ExpiresAt = time.Time{}, time.Time{} })}, nil, nil, "", ""},
		{"the column is empty", []Use{deploy(func(u *Use) { u.IssuedAt, u.ExpiresAt = time.Unix(0, 0), time.Unix(0, 0) })}, nil, nil, "", ""},
		{"only the expiry is known", []Use{deploy(func(u *Use) { u.IssuedAt = time.Unix(0, 0) })}, nil, nil, "", ""},
		{"by a tighter policy", []Use{deploy()}, nil, func(p *Policy) { p.MaxTokenLifetime = Duration(30 * time.Minute) }, "medium", "live up to 60 minutes (at most 30 minutes"},
		{"of any place", []Use{deploy(harmless, lives(-time.Hour, 30*day))}, nil, nil, "medium", ""},
	})
}

func TestCredentialNotRotated(t *testing.T) {
	// deploys are n runs of shop-sa, one an hour, the last one now; with what each used.
	deploys := func(n int, each func(int) Deploy) func(*Input) {
		return func(in *Input) {
			in.Deploys = map[Identity][]Deploy{}
			for i := range n {
				d := each(i)
				d.At = minute(0).Add(-time.Duration(n-1-i) * time.Hour)
				for _, id := range []Identity{{"space", "shop-sa"}, {"generic", "shop-sa"}} {
					in.Deploys[id] = append(in.Deploys[id], d)
				}
			}
		}
	}
	own := func(i int) Deploy {
		return Deploy{Run: RunID{"shop", fmt.Sprint(i)}, Token: Token{"https://ci", fmt.Sprint("own", i)}}
	}
	same := func(i int) Deploy {
		return Deploy{Run: RunID{"shop", fmt.Sprint(i)}, Token: Token{"https://ci", "t1"}, KeyID: "k1"}
	}
	secret := func(n int, c Credential) func(*Input) {
		return func(in *Input) {
			deploys(n, own)(in)
			in.Principals = map[Identity]Principal{{"space", "shop-sa"}: {Owner: "ada", Credentials: []Credential{c}}}
		}
	}
	use := []Use{deploy(unsigned(attribute.Inferred, "r1"))}
	generic := []Use{deploy(unsigned(attribute.None, ""), func(u *Use) { u.Provider, u.TokenID = "generic", "now" })}
	checkCases(t, "credential_not_rotated", []testCase{
		{"one token in ten deploys", use, deploys(10, same), nil, "medium", "The token t1 of shop-sa (space) was seen in 10 deploys to protected places, of which the newest is POST /deployments/{n}"},
		{"in nine", use, deploys(9, same), nil, "", ""},
		{"by the policy in three", use, deploys(3, same), func(p *Policy) { p.RotateWithin = 3 }, "medium", "3 deploys"},
		{"a token each", use, deploys(40, own), nil, "", ""},
		{"ten jobs of one run", use, deploys(10, func(int) Deploy { return Deploy{Run: RunID{"shop", "r1"}, Token: Token{"https://ci", "t1"}} }), nil, "", ""},
		{"of no run, hour by hour", use, deploys(10, func(int) Deploy { return Deploy{Token: Token{"https://ci", "t1"}} }), nil, "medium", "10 deploys"},
		{"a token of the same name by another issuer", use, deploys(10, func(i int) Deploy { d := same(i); d.Token.Issuer = "https://other"; return d }), nil, "", ""},
		{"a read", []Use{deploy(unsigned(attribute.Inferred, "r1"), func(u *Use) { u.Method = "GET" })}, deploys(10, same), nil, "", ""},
		{"refused", []Use{deploy(unsigned(attribute.Inferred, "r1"), denied)}, deploys(10, same), nil, "", ""},
		{"elsewhere", []Use{deploy(unsigned(attribute.Inferred, "r1"), harmless)}, deploys(10, same), nil, "", ""},
		{"an application's secret", use, secret(10, Credential{ID: "app", Kind: "client-secret", Created: minute(-6000)}), nil, "medium",
			"The client-secret app of shop-sa (space), made at 2026-11-19 08:00:00Z, was seen in 10 deploys"},
		{"made since", use, secret(30, Credential{ID: "app", Kind: "client-secret", Created: minute(-8*60 - 1)}), nil, "", ""},
		{"made when nobody knows", use, secret(10, Credential{ID: "app", Kind: "client-secret"}), nil, "low", "made at a time that is not known"},
		{"a permanent token that is not used any more", use, secret(30, Credential{ID: "p", Kind: "permanent-token", Created: minute(-6000), LastUsed: minute(-25 * 60)}), nil, "", ""},
		{"a permanent token that is", use, secret(30, Credential{ID: "p", Kind: "permanent-token", Created: minute(-6000), LastUsed: minute(0)}), nil, "medium", "permanent-token p"},
		{"a key of one's own", generic, deploys(10, func(i int) Deploy { d := own(i); d.KeyID = "k1"; return d }), nil, "medium", "The key k1 of shop-sa (generic) was seen in 10 deploys"},
		{"the issuer's key", use, deploys(10, func(i int) Deploy { d := own(i); d.KeyID = "k1"; return d }), nil, "", ""},
	})
}

// Whoever has a token can name as many runs beside it as he likes: what is worked
// out of them is worked out once, or a look would not end.
func TestTokenOfVeryManyRuns(t *testing.T) {
	const n = 10_000 // minutes, if each use were compared with all runs
	in := Input{Tokens: map[Token]TokenPast{}}
	var past TokenPast
	for i := range n {
		claimed := fmt.Sprint("made-up-", i)
		in.Uses = append(in.Uses, deploy(unsigned(attribute.None, ""), func(u *Use) { u.ClaimedRun = claimed }))
		past.Claimed = append(past.Claimed, Seen[RunID]{Value: RunID{ID: claimed}, First: minute(0), Last: minute(1), Requests: 1})
		past.Networks = append(past.Networks, Seen[netip.Prefix]{
			Value: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24), First: minute(0), Last: minute(1), Requests: 1,
		})
	}
	in.Tokens[Token{"https://ci", "t1"}] = past
	kinds := map[string]Finding{}
	began := time.Now()
	for _, f := range Look(in, prod()) {
		kinds[f.Kind] = f
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("a look at one token took %s", took)
	}
	for _, kind := range []string{"token_two_runs", "token_two_networks"} {
		if f, ok := kinds[kind]; !ok || len(f.Text) > 10_000 || len(f.Evidence) > MaxEvidence {
			t.Errorf("%s: %v, %d bytes, %d rows of evidence", kind, ok, len(f.Text), len(f.Evidence))
		}
	}
}

// A command in an action is pasted into a shell.
func TestArgument(t *testing.T) {
	for in, want := range map[string]string{
		"repo:acme/web:ref:refs/heads/main": "repo:acme/web:ref:refs/heads/main",
		"refs/heads/$(reboot)":              "'refs/heads/$(reboot)'",
		"it's; `id`":                        `'it'\''s; ` + "`id`'",
		"two words":                         "'two words'",
		"a\nb\x1b":                          "'a*b*'",
		"":                                  "''",
		"-n":                                "'-n'",
	} {
		if have := argument(in); have != want {
			t.Errorf("%q: %s, want %s", in, have, want)
		}
	}
}
