package finding

import (
	"strings"
	"testing"

	"github.com/haptrail/haptrail/analyze/attribute"
)

func TestUnprotectedRef(t *testing.T) {
	// ref is what a signed claim says.
	ref := func(name string) func(*Use) { return func(u *Use) { u.Ref, u.Verdict.Ref = name, name } }
	of := func(grade attribute.Grade, name string) func(*Use) {
		return func(u *Use) { unsigned(grade, "r1")(u); u.Verdict.Ref = name }
	}
	only := func(patterns ...string) func(*Policy) { return func(p *Policy) { p.ProtectedRefs = patterns } }
	var all []testCase
	for _, name := range []string{"refs/heads/main", "refs/heads/master", "refs/heads/release/1.8", "refs/tags/v1", "main", "<default>", "release/1.8", ""} {
		all = append(all, testCase{"protected " + name, []Use{deploy(ref(name))}, nil, nil, "", ""})
	}
	for _, name := range []string{"refs/heads/x", "refs/heads/main2", "refs/heads/release", "refs/heads/release/1/x", "refs/pull/12/merge", "refs/merge-requests/3/head", "x", "heads/main", "refs/heads/Main", "refs/heads/feature/refs/heads/main"} {
		all = append(all, testCase{"unprotected " + name, []Use{deploy(ref(name))}, nil, nil, "high", "from " + name + ", which is no protected ref, in run shop/r1 (proven)"})
	}
	x := ref("refs/heads/x")
	checkCases(t, "unprotected_ref", append(all, []testCase{
		{"refused", []Use{deploy(x, denied)}, nil, nil, "", ""},
		{"elsewhere", []Use{deploy(x, harmless)}, nil, nil, "", ""},
		{"nothing is protected", []Use{deploy(x)}, nil, func(p *Policy) { p.Protected = nil }, "", ""},
		{"named by the operator", []Use{deploy(x)}, nil, only("refs/heads/x"), "", ""},
		{"tags are anybody's", []Use{deploy(ref("refs/tags/v1"))}, nil, only("refs/heads/main"), "high", "refs/tags/v1"},
		{"no list is the default list", []Use{deploy(ref("refs/heads/main"))}, nil, only(), "", ""},
		{"an empty list protects none", []Use{deploy(ref("refs/heads/main"))}, nil, only([]string{}...), "high", ""},
		{"corroborated", []Use{deploy(of(attribute.Corroborated, "refs/heads/x"))}, nil, nil, "high", "(corroborated)"},
		{"inferred", []Use{deploy(of(attribute.Inferred, "refs/heads/x"))}, nil, nil, "medium", "(inferred)"},
		{"of no run, and signed", []Use{deploy(unsigned(attribute.None, ""), func(u *Use) { u.Ref = "refs/heads/x" })}, nil, nil, "high", "from refs/heads/x, which is no protected ref: 12 requests"},
		{"two runs of a branch", []Use{deploy(x), deploy(x, func(u *Use) { u.Run, u.Verdict.Run = "r2", "r2" }, when(9, 9))}, nil, nil, "high", "24 requests"},
	}...))
}

func TestCommitUnverified(t *testing.T) {
	commits := func(c Commit) func(*Input) {
		return func(in *Input) {
			in.Commits = map[string]Commit{"c0ffee01": c}
			in.TellsCommits = map[string]bool{"github": true}
		}
	}
	untold := func(in *Input) { in.TellsCommits = map[string]bool{"github": true} }
	checkCases(t, "commit_unverified", []testCase{
		{"verified", []Use{deploy()}, commits(Commit{Author: "Ann", Signature: "verified"}), nil, "", ""},
		{"not signed", []Use{deploy()}, commits(Commit{Author: "Ann", Signature: "none"}), nil, "low", "Commit c0ffee01 of shop is not signed, and says that it is by Ann."},
		{"a signature that does not hold", []Use{deploy()}, commits(Commit{Author: "Ann", Signature: "unverified"}), nil, "high", "could not verify"},
		{"nobody's", []Use{deploy()}, commits(Commit{Signature: "none"}), nil, "medium", "has no known author"},
		{"signed by nobody known", []Use{deploy()}, commits(Commit{Signature: "verified"}), nil, "medium", "has no known author"},
		{"the server does not say whether it is signed", []Use{deploy()}, commits(Commit{Author: "Ann"}), nil, "", ""},
		{"unknown", []Use{deploy()}, untold, nil, "medium", "is unknown to the CI server"},
		{"the server tells no commits", []Use{deploy()}, nil, nil, "", ""},
		{"its news may be on its way", []Use{deploy()}, func(in *Input) { untold(in); in.Until = minute(5) }, nil, "", ""},
		{"its news would have come", []Use{deploy()}, func(in *Input) { untold(in); in.Until = minute(6) }, nil, "medium", "is unknown"},
		{"of an inferred run", []Use{deploy(unsigned(attribute.Inferred, "r1"), func(u *Use) { u.Verdict.Commit = "c0ffee01" })}, commits(Commit{Author: "Ann", Signature: "unverified"}), nil, "medium", "in run shop/r1 (inferred)"},
		{"no commit", []Use{deploy(unsigned(attribute.None, ""))}, untold, nil, "", ""},
		{"refused", []Use{deploy(denied)}, untold, nil, "", ""},
		{"elsewhere", []Use{deploy(harmless)}, untold, nil, "", ""},
	})
}

func TestUnattributedProtected(t *testing.T) {
	none, several := unsigned(attribute.None, ""), unsigned(attribute.Ambiguous, "")
	why := func(text string) func(*Use) { return func(u *Use) { u.Verdict.Why = text } }
	checkCases(t, "unattributed_protected", []testCase{
		{"of no run", []Use{deploy(none, why("no run of shop-sa was going on."))}, nil, nil, "medium", "shop-sa (space) reached POST /deployments/{n}, and it is not known from which run (no run of shop-sa was going on): 12 requests"},
		{"no reason given", []Use{deploy(none)}, nil, nil, "medium", "no run of it is known"},
		{"of one of several", []Use{deploy(several, func(u *Use) { u.Verdict.Candidates = []string{"shop/r1", "shop/r2"} })}, nil, nil, "low", "one of shop/r1, shop/r2"},
		{"a service's token", []Use{deploy(none, func(u *Use) { u.Provider, u.Subject = "aws", "arn:aws:iam::1:role/x" })}, nil, nil, "medium", "arn:aws:iam::1:role/x (aws)"},
		{"nobody's", []Use{deploy(none, func(u *Use) { u.Subject = "" })}, nil, nil, "high", "Somebody without a verified identity"},
		{"inferred", []Use{deploy(unsigned(attribute.Inferred, "r1"))}, nil, nil, "", ""},
		{"refused", []Use{deploy(none, denied)}, nil, nil, "", ""},
		{"elsewhere", []Use{deploy(none, harmless)}, nil, nil, "", ""},
		{"its run may be told yet", []Use{deploy(none)}, func(in *Input) { in.Until = minute(5) }, nil, "", ""},
		{"it would have been told", []Use{deploy(none)}, func(in *Input) { in.Until = minute(6) }, nil, "medium", ""},
		{"at a host that is protected", []Use{deploy(none, harmless)}, nil, func(p *Policy) { p.Protected = []Place{{Hosts: []string{"deploy.example.*"}}} }, "medium", ""},
		{"by a method that is not", []Use{deploy(none)}, nil, func(p *Policy) { p.Protected = []Place{{Methods: []string{"DELETE"}}} }, "", ""},
	})
}

// TestClaimContradicted: the judgement is package attribute's; the finding is about
// whose word it was.
func TestClaimContradicted(t *testing.T) {
	denies := func(u *Use) { u.Verdict.Contradiction = "run r1 is of project docs.\n" }
	header := func(u *Use) { unsigned(attribute.None, "")(u); u.ClaimedRun = "r1" }
	checkCases(t, "claim_contradicted", []testCase{
		{"a signed claim", []Use{deploy(denies)}, nil, nil, "high", "A token signed for repo:shop (github) claims run r1, and the CI server's record denies it: run r1 is of project docs"},
		{"a header", []Use{deploy(header, harmless, denies)}, nil, nil, "medium", "A header beside the token of shop-sa (space) claims run r1"},
		{"a header, in production", []Use{deploy(header, denies)}, nil, nil, "high", ""},
		{"a header, refused", []Use{deploy(header, denied, denies)}, nil, nil, "medium", "none of them allowed"},
		{"no contradiction", []Use{deploy(header)}, nil, nil, "", ""},
	})
}

// TestNamesAreSafe: what comes from a log reaches no terminal as it is, and makes no
// text longer than somebody reads.
func TestNamesAreSafe(t *testing.T) {
	evil := "evil\x1b[2J\n" + strings.Repeat("x", 5000)
	u := deploy(unsigned(attribute.None, ""), func(u *Use) {
		u.Subject, u.Endpoint, u.Method, u.TokenID, u.Role, u.Ref, u.Commit, u.ClaimedRun = evil, evil, evil, evil, evil, evil, evil, evil
		u.Verdict.Why, u.Verdict.Contradiction = evil, evil
	})
	all := Look(Input{Uses: []Use{u}, TellsCommits: map[string]bool{"space": true}, TellsPrincipals: map[string]bool{"space": true}}, prod())
	if len(all) != 5 {
		t.Fatalf("%d findings, want 5", len(all))
	}
	for _, f := range all {
		if text := f.Title + f.Text + f.Action; strings.ContainsAny(text, "\x1b\n") || len(text) > 3000 {
			t.Errorf("%s: %d bytes: %q", f.Kind, len(text), text)
		}
	}
}
