package finding

import (
	"testing"
	"time"
)

func TestIdentityUnowned(t *testing.T) {
	shop := Identity{"github", "repo:shop"}
	account := func(p Principal) func(*Input) {
		return func(in *Input) {
			in.Principals = map[Identity]Principal{shop: p}
			in.TellsPrincipals = map[string]bool{"github": true}
		}
	}
	untold := func(in *Input) { in.TellsPrincipals = map[string]bool{"github": true} }
	checkCases(t, "identity_unowned", []testCase{
		{"owned", []Use{deploy()}, account(Principal{Owner: "ada"}), nil, "", ""},
		{"its project's", []Use{deploy()}, account(Principal{Project: "shop"}), nil, "", ""},
		{"nobody's", []Use{deploy(harmless)}, account(Principal{}), nil, "low", "Nobody owns the account repo:shop (github)"},
		{"nobody's, in production", []Use{deploy(harmless), deploy()}, account(Principal{}), nil, "medium", "It reached protected places."},
		{"nobody's, refused in production", []Use{deploy(denied)}, account(Principal{}), nil, "low", ""},
		{"unknown", []Use{deploy(harmless)}, untold, nil, "medium", "does not know the account"},
		{"unknown, in production", []Use{deploy()}, untold, nil, "high", ""},
		{"just made", []Use{deploy()}, func(in *Input) { untold(in); in.Until = minute(3) }, nil, "", ""},
		{"the server tells no accounts", []Use{deploy()}, nil, nil, "", ""},
		{"archived", []Use{deploy(harmless)}, account(Principal{Owner: "ada", Archived: true}), nil, "high", "The archived account"},
		{"archived, in production", []Use{deploy()}, account(Principal{Owner: "ada", Archived: true}), nil, "critical", ""},
		{"archived before", []Use{deploy()}, account(Principal{Owner: "ada", Archived: true, ArchivedAt: minute(-5)}), nil, "critical", ""},
		{"archived since", []Use{deploy()}, account(Principal{Owner: "ada", Archived: true, ArchivedAt: minute(5)}), nil, "", ""},
		{"nobody verified", []Use{deploy(func(u *Use) { u.Subject = "" })}, untold, nil, "", ""},
	})
}

func TestFirstSeenEndpoint(t *testing.T) {
	u := deploy(harmless)
	shop := u.identity()
	// first is when the endpoint was first seen, past what the identity did before.
	first := func(at time.Time, past *Past) func(*Input) {
		return func(in *Input) {
			in.Since = noon.Add(-100 * day)
			in.Endpoints = map[Access]time.Time{u.access(): at}
			if past != nil {
				in.Identities = map[Identity]Past{shop: *past}
			}
		}
	}
	old := &Past{First: noon.Add(-30 * day), Last: noon.Add(-time.Hour), Endpoints: 7}
	with := func(change func(*Past)) *Past { p := *old; change(&p); return &p }
	young := with(func(p *Past) { p.First = noon.Add(-6 * day) })
	docs, inProd := []Use{u}, []Use{deploy()}
	checkCases(t, "first_seen_endpoint", []testCase{
		{"never before", docs, first(minute(0), old), nil, "low",
			"repo:shop (github) has been known since 2026-10-24 12:00:00Z, at 7 other endpoints, and is new at the place POST /deployments/{n}"},
		{"refused", []Use{deploy(harmless, denied)}, first(minute(0), old), nil, "low", "none of them allowed"},
		{"in production", inProd, first(minute(0), old), nil, "medium", "new at the protected place"},
		{"seen before", docs, first(minute(-1), old), nil, "", ""},
		{"twice in the window", []Use{u, deploy(harmless, when(30, 31))}, first(minute(0), old), nil, "low", "24 requests"},
		{"nothing known of it", docs, nil, nil, "", ""},
		{"a new identity", docs, first(minute(0), nil), nil, "", ""},
		{"a new identity in production", inProd, first(minute(0), nil), nil, "medium", "was never seen before"},
		{"a young identity", docs, first(minute(0), young), nil, "", ""},
		{"a young identity in production", inProd, first(minute(0), young), nil, "medium", ""},
		{"old enough by the policy", docs, first(minute(0), young), func(p *Policy) { p.LearnFor = Duration(5 * day) }, "low", ""},
		{"a young history", inProd, func(in *Input) { first(minute(0), old)(in); in.Since = noon.Add(-6 * day) }, nil, "", ""},
		{"no history's end", docs, func(in *Input) { first(minute(0), old)(in); in.Since = time.Time{} }, nil, "low", ""},
		{"always somewhere new", docs, first(minute(0), with(func(p *Past) { p.Endpoints = 201 })), nil, "", ""},
		{"not quite always", docs, first(minute(0), with(func(p *Past) { p.Endpoints = 200 })), nil, "low", ""},
	})
}

func TestDormantPrincipal(t *testing.T) {
	silent := func(since time.Time) func(*Input) {
		return func(in *Input) {
			in.Identities = map[Identity]Past{{"github", "repo:shop"}: {First: noon.Add(-300 * day), Last: since, Endpoints: 2}}
		}
	}
	checkCases(t, "dormant_principal", []testCase{
		{"47 days", []Use{deploy(harmless)}, silent(noon.Add(-47 * day)), nil, "medium", "repo:shop (github) was silent for 47 days, since 2026-10-07 12:00:00Z, and is back at POST /deployments/{n}"},
		{"in production", []Use{deploy()}, silent(noon.Add(-47 * day)), nil, "high", ""},
		{"refused", []Use{deploy(denied)}, silent(noon.Add(-47 * day)), nil, "medium", "none of them allowed"},
		{"thirty days", []Use{deploy()}, silent(noon.Add(-30 * day)), nil, "", ""},
		{"a little more", []Use{deploy()}, silent(noon.Add(-30*day - time.Microsecond)), nil, "high", "30 days"},
		{"by the policy", []Use{deploy()}, silent(noon.Add(-8 * day)), func(p *Policy) { p.DormantAfter = Duration(7 * day) }, "high", "8 days"},
		{"on a row of the window's own", []Use{deploy(), deploy(when(60*24*40, 60*24*40))}, silent(noon.Add(-day)), nil, "", ""},
		{"never seen before", []Use{deploy()}, nil, nil, "", ""},
	})
}
