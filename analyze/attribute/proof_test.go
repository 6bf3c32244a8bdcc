package attribute_test

import (
	"strings"
	"testing"

	"github.com/haptrail/haptrail/analyze/attribute"
)

func TestProven(t *testing.T) {
	shop := of("github", "acme/web-shop")
	github := signed("github", "acme/web-shop", "118")
	check(t, []row{
		{"the CI confirms it", use(github, numbered("1")), []attribute.Run{run("118", "10:00", "10:10", shop, attempt(1))}, `
10:02:00 proven acme/web-shop/118#1
  a signed claim names run 118 of acme/web-shop, attempt 1; github says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
`},
		{"the CI has not told of it", use(github), nil, `
10:02:00 proven acme/web-shop/118
  a signed claim names run 118 of acme/web-shop; github has not told of it yet
`},
		{"the CI has told of an earlier attempt only", use(github, numbered("2")), []attribute.Run{run("118", "10:00", "10:10", shop, attempt(1))}, `
10:02:00 proven acme/web-shop/118#2
  a signed claim names run 118 of acme/web-shop, attempt 2; github has not told of this attempt yet
`},
		{"no claim says which attempt, its time does", use(github, during("09:50", "11:30")), []attribute.Run{
			run("118", "11:00", "", shop, attempt(2)), run("118", "10:00", "10:10", shop, attempt(1)),
		}, `
09:50:00 proven acme/web-shop/118#1
  a signed claim names run 118 of acme/web-shop; github says that its attempt 1 ran from 2026-11-03 10:00:00 to 10:10:00 UTC, which is not the time of these requests
09:55:00 proven acme/web-shop/118#1
  a signed claim names run 118 of acme/web-shop; github says that its attempt 1 ran from 2026-11-03 10:00:00 to 10:10:00 UTC
10:15:00.000001 proven acme/web-shop/118#1
  a signed claim names run 118 of acme/web-shop; github says that its attempt 1 ran from 2026-11-03 10:00:00 to 10:10:00 UTC, which is not the time of these requests
10:55:00 proven acme/web-shop/118#2
  a signed claim names run 118 of acme/web-shop; github says that its attempt 2 has run since 2026-11-03 11:00:00 UTC
`},
		{"attempts that follow each other: the one that has started", use(github, during("10:08", "10:12")), []attribute.Run{
			run("118", "10:11", "10:20", shop, attempt(2)), run("118", "10:00", "10:10", shop, attempt(1)),
		}, `
10:08:00 proven acme/web-shop/118#1
  a signed claim names run 118 of acme/web-shop; github says that its attempt 1 ran from 2026-11-03 10:00:00 to 10:10:00 UTC
10:11:00 proven acme/web-shop/118#2
  a signed claim names run 118 of acme/web-shop; github says that its attempt 2 ran from 2026-11-03 10:11:00 to 10:20:00 UTC
`},
		{"a token that outlives its run by far", use(github, during("10:30", "10:31")), []attribute.Run{run("118", "10:00", "10:10", shop)}, `
10:30:00 proven acme/web-shop/118
  a signed claim names run 118 of acme/web-shop; github says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC, which is not the time of these requests
`},
		{"a run that has not started", use(github), []attribute.Run{run("118", "", "", shop)}, `
10:02:00 proven acme/web-shop/118
  a signed claim names run 118 of acme/web-shop; github says that it has not started
`},
		{"a run over midnight", use(github), []attribute.Run{run("118", "23:59", "", shop, func(r *attribute.Run) {
			r.Started, r.Finished = r.Started.AddDate(0, 0, -1), at("10:05")
		})}, `
10:02:00 proven acme/web-shop/118
  a signed claim names run 118 of acme/web-shop; github says that it ran from 2026-11-02 23:59:00 to 2026-11-03 10:05:00 UTC
`},
	})
}

// TestProvenWhose: whose record the claimed id means.
func TestProvenWhose(t *testing.T) {
	shop := of("github", "acme/web-shop")
	check(t, []row{
		{"no project claim, and one project has the run", use(signed("github", "", "118")), []attribute.Run{run("118", "10:00", "10:10", shop)}, `
10:02:00 proven acme/web-shop/118
  a signed claim names run 118; github says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
`},
		{"no project claim, and two projects have the run", use(signed("buildkite", "", "7")), []attribute.Run{
			run("7", "10:00", "10:10", of("buildkite", "a")), run("7", "10:00", "10:10", of("buildkite", "b")),
		}, `
10:02:00 proven /7
  a signed claim names run 7; several projects have a run of that id, and no claim says which it is
`},
		{"no provider, and one server has the run", use(signed("", "", "118")), []attribute.Run{run("118", "10:00", "10:10", shop)}, `
10:02:00 proven acme/web-shop/118
  a signed claim names run 118; github says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
`},
		{"no provider, and two servers have the run", use(signed("", "a", "7")), []attribute.Run{
			run("7", "10:00", "10:10", of("teamcity", "a")), run("7", "10:00", "10:10", of("gitlab", "a")),
		}, `
10:02:00 proven a/7
  a signed claim names run 7 of a; several CI servers have a run of that id, and no claim says which it is
`},
		{"a provider whose projects count on their own: another's number 7 is another run", use(signed("buildkite", "a", "7")), []attribute.Run{run("7", "10:00", "10:10", of("buildkite", "b"))}, `
10:02:00 proven a/7
  a signed claim names run 7 of a; buildkite has not told of it yet
`},
		{"ids that are the server's: the run is of another project", use(signed("gitlab", "acme/api", "574")), []attribute.Run{run("574", "10:00", "10:10", of("gitlab", "acme/other"))}, `
10:02:00 proven acme/api/574
  a signed claim names run 574 of acme/api; gitlab knows a run of that id in another project only
  DENIED: a signed claim names run 574, which by the record of gitlab is of project acme/other, but the token says project acme/api
`},
		{"a renamed project: one record has the token's name", use(signed("gitlab", "acme/api", "574")), []attribute.Run{
			run("574", "10:00", "10:10", of("gitlab", "acme/new-name")), run("574", "10:00", "10:10", of("gitlab", "acme/api")),
		}, `
10:02:00 proven acme/api/574
  a signed claim names run 574 of acme/api; gitlab says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
`},
		{"a fork that has been deleted: the record names the parent", use(signed("gitlab", "kira/api", "574")), []attribute.Run{
			run("574", "10:00", "10:10", of("gitlab", "acme/api"), trigger("merge_request_event"), ref("refs/merge-requests/5/head")),
		}, `
10:02:00 proven kira/api/574
  a signed claim names run 574 of kira/api; gitlab says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
`},
	})
}

// TestProvenDenied: the run is proven all the same.
func TestProvenDenied(t *testing.T) {
	shop := of("github", "acme/web-shop")
	github := signed("github", "acme/web-shop", "118")
	check(t, []row{
		{"the record has another commit", use(github, claims("", another)), []attribute.Run{run("118", "10:00", "10:10", shop)}, `
10:02:00 proven acme/web-shop/118
  a signed claim names run 118 of acme/web-shop; github says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
  DENIED: a signed claim names run 118 of acme/web-shop, which by the record of github is of commit ` + built + `, but the token says commit ` + another + `
`},
		{"the record has another ref", use(github, claims("refs/heads/main", "")), []attribute.Run{run("118", "10:00", "10:10", shop, ref("refs/heads/feature/main"))}, `
10:02:00 proven acme/web-shop/118
  a signed claim names run 118 of acme/web-shop; github says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
  DENIED: a signed claim names run 118 of acme/web-shop, which by the record of github is of ref refs/heads/feature/main, but the token says ref refs/heads/main
`},
	})
}

// TestNoContradiction: what token and record may write differently, and be right.
func TestNoContradiction(t *testing.T) {
	for name, row := range map[string]struct {
		use                 func(*attribute.Use)
		run                 func(*attribute.Run)
		provider            string
		wantRef, wantCommit string
	}{
		"a short hash, in capitals":           {use: claims("", "9F31C04"), wantRef: "refs/heads/main", wantCommit: built},
		"a record with a short hash":          {use: claims("", strings.ToUpper(built)), run: commit("9F31C04"), wantRef: "refs/heads/main", wantCommit: built},
		"a record without a commit":           {use: claims("", another), run: commit(""), wantRef: "refs/heads/main", wantCommit: another},
		"a merge commit of a pull request":    {use: claims("refs/pull/7/merge", another), wantRef: "refs/pull/7/merge", wantCommit: another},
		"a record of a pull request":          {use: claims("refs/heads/main", another), run: ref("refs/pull/7/merge"), wantRef: "refs/heads/main", wantCommit: another},
		"a record of a fork's pull request":   {use: claims("refs/heads/main", another), run: trigger("pull_request_target"), wantRef: "refs/heads/main", wantCommit: another},
		"a merged result of a merge request":  {use: claims("refs/merge-requests/3/merge", another), provider: "gitlab", wantRef: "refs/merge-requests/3/merge", wantCommit: another},
		"TeamCity's name of a default branch": {use: claims("<default>", ""), provider: "teamcity", wantRef: "refs/heads/main", wantCommit: built},
		"a record that says <default>":        {use: claims("refs/heads/main", ""), run: ref("<default>"), provider: "teamcity", wantRef: "refs/heads/main", wantCommit: built},
		"both say <default>":                  {use: claims("<default>", ""), run: ref("<default>"), provider: "teamcity", wantRef: "<default>", wantCommit: built},
		"a record without a ref":              {use: claims("<default>", ""), run: ref(""), provider: "teamcity", wantRef: "<default>", wantCommit: built},
		"a branch's short name":               {use: claims("main", ""), provider: "teamcity", wantRef: "main", wantCommit: built},
		"a specification cuts the name":       {use: claims("1.2", ""), run: ref("release/1.2"), provider: "teamcity", wantRef: "1.2", wantCommit: built},
		"a tag that was taken for a branch":   {use: claims("refs/tags/v1", ""), run: ref("refs/heads/v1"), wantRef: "refs/tags/v1", wantCommit: built},
	} {
		provider := row.provider
		if provider == "" {
			provider = "github"
		}
		r := run("118", "10:00", "10:10", of(provider, "shop"))
		if row.run != nil {
			row.run(&r)
		}
		v := attribute.Attribute(use(signed(provider, "shop", "118"), row.use), []attribute.Run{r}, attribute.Options{})
		if len(v) != 1 || v[0].Contradiction != "" || v[0].Ref != row.wantRef || v[0].Commit != row.wantCommit {
			t.Errorf("%s: want ref %q, commit %q, have %+v", name, row.wantRef, row.wantCommit, v)
		}
	}
}
