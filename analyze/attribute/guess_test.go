package attribute_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/analyze/attribute"
)

func TestCorroborated(t *testing.T) {
	check(t, []row{
		{"its principal and its time", use(header("2bQ")), []attribute.Run{run("2bQ", "10:00", "10:10")}, `
10:02:00 corroborated payments/2bQ
  the header names run 2bQ of payments, and space confirms it: its principal is app-1, it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
`},
		{"its principal, project and commit, still running", use(header("2bQ"), project("payments"), claims("", "9f31c04")), []attribute.Run{run("2bQ", "10:00", "")}, `
10:02:00 corroborated payments/2bQ
  the header names run 2bQ of payments, and space confirms it: its principal is app-1, its project payments, its commit ` + built + `, it has run since 2026-11-03 10:00:00 UTC
`},
		{"its project, as the CI does not say the principal", use(header("2bQ"), project("payments")), []attribute.Run{run("2bQ", "10:00", "10:10", principal(""))}, `
10:02:00 corroborated payments/2bQ
  the header names run 2bQ of payments, and space confirms it: its project payments, it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
`},
		{"only while it ran, give or take five minutes", use(header("2bQ"), during("09:54", "10:16")), []attribute.Run{run("2bQ", "10:00", "10:10")}, `
09:54:00 none
  the header names run 2bQ, which the CI's record denies; space has told of no run of principal app-1 at the time
  DENIED: the header names run 2bQ of payments, but space says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC, which is not the time of these requests
09:55:00 corroborated payments/2bQ
  the header names run 2bQ of payments, and space confirms it: its principal is app-1, it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
10:15:00.000001 none
  the header names run 2bQ, which the CI's record denies; space has told of no run of principal app-1 at the time
  DENIED: the header names run 2bQ of payments, but space says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC, which is not the time of these requests
`},
	})
}

// TestClaimContradicted: what the record says against the header, and what is left.
func TestClaimContradicted(t *testing.T) {
	check(t, []row{
		{"clocks 10 minutes apart", use(header("2bQ"), during("10:20", "10:20")), []attribute.Run{run("2bQ", "10:00", "10:10")}, `
10:20:00 none
  the header names run 2bQ, which the CI's record denies; space has told of no run of principal app-1 at the time
  DENIED: the header names run 2bQ of payments, but space says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC, which is not the time of these requests
`},
		{"a run of somebody else, while one of one's own was going on", use(header("2bQ")), []attribute.Run{run("2bQ", "10:00", "10:10", principal("app-2")), run("3cR", "10:00", "10:10")}, `
10:02:00 inferred payments/3cR
  the header names run 2bQ, which the CI's record denies; the only known run of principal app-1 at the time is run 3cR of payments: space says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
  DENIED: the header names run 2bQ of payments, which by the record of space belongs to app-2, but the token is of app-1
`},
		{"a run of another project", use(header("2bQ"), project("billing")), []attribute.Run{run("2bQ", "10:00", "10:10")}, `
10:02:00 none
  the header names run 2bQ, which the CI's record denies; space has told of no run of principal app-1 in project billing at the time
  DENIED: the header names run 2bQ, which by the record of space is of project payments, but the token says project billing
`},
		{"a run of another commit than the token's", use(header("2bQ"), claims("", another)), []attribute.Run{run("2bQ", "10:00", "10:10")}, `
10:02:00 none
  the header names run 2bQ, which the CI's record denies; space has told of no run of principal app-1 at the time
  DENIED: the header names run 2bQ of payments, which by the record of space is of commit ` + built + `, but the token says commit ` + another + `
`},
		{"a run that has not started", use(header("2bQ")), []attribute.Run{run("2bQ", "", "")}, `
10:02:00 none
  the header names run 2bQ, which the CI's record denies; space has told of no run of principal app-1 at the time
  DENIED: the header names run 2bQ of payments, but space says that it has not started
`},
		{"a run that finished long before it started", use(header("2bQ")), []attribute.Run{run("2bQ", "10:10", "09:50")}, `
10:02:00 none
  the header names run 2bQ, which the CI's record denies; space has told of no run of principal app-1 at the time
  DENIED: the header names run 2bQ of payments, but space says that it finished before it started, from 2026-11-03 10:10:00 to 09:50:00 UTC, which is not the time of these requests
`},
	})
}

// TestClaimUnconfirmed: nothing is said against the header, nor for it.
func TestClaimUnconfirmed(t *testing.T) {
	check(t, []row{
		{"a run that nothing ties to the caller", use(header("2bQ")), []attribute.Run{run("2bQ", "10:00", "10:10", principal(""))}, `
10:02:00 none
  the header names run 2bQ of payments, which nothing ties to this identity: space does not say its principal, and the token not its project; space has told of no run of principal app-1 at the time
`},
		{"a run that the CI has not told of", use(header("2bQ")), []attribute.Run{run("3cR", "10:00", "10:10")}, `
10:02:00 inferred payments/3cR
  the header names run 2bQ, which space has not told of; the only known run of principal app-1 at the time is run 3cR of payments: space says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
`},
		{"attempts of others, for two reasons: the nearer to the truth is told", use(header("2bQ"), claims("", another)), []attribute.Run{
			run("2bQ", "10:00", "10:10", attempt(1), principal("app-2")), run("2bQ", "10:00", "10:10", attempt(2)), run("2bQ", "10:00", "10:10", attempt(3), principal("app-3")),
		}, `
10:02:00 none
  the header names run 2bQ, which the CI's record denies; space has told of no run of principal app-1 at the time
  DENIED: the header names run 2bQ of payments, which by the record of space is of commit ` + built + `, but the token says commit ` + another + `
`},
		{"a header as long as a page", use(header(strings.Repeat("x", 4096))), nil, `
10:02:00 none
  the header names run "` + strings.Repeat("x", 128) + `"..., which space has not told of; space has told of no run of principal app-1 at the time
`},
		{"a header that would forge a sentence", use(header("1, which space confirms;\n\x1b[2J")), nil, `
10:02:00 none
  the header names run "1, which space confirms;\n\x1b[2J", which space has not told of; space has told of no run of principal app-1 at the time
`},
		{"runs of that number on another CI server", use(header("7")), []attribute.Run{
			run("7", "10:00", "10:10", of("buildkite", "b"), principal("app-1")), run("7", "10:00", "10:10", of("buildkite", "a"), principal("app-1")),
		}, `
10:02:00 none
  the header names run 7, which space has not told of; space has told of no run of principal app-1 at the time
`},
	})
}

// TestSameNumber: ids that are not one run's alone.
func TestSameNumber(t *testing.T) {
	check(t, []row{
		{"two projects with a run of that number, both of this principal", use(header("7"), during("10:02", "10:30"), func(u *attribute.Use) { u.Provider = "buildkite" }), []attribute.Run{
			run("7", "10:00", "10:10", of("buildkite", "b"), principal("app-1")), run("7", "10:00", "10:20", of("buildkite", "a"), principal("app-1")),
		}, `
10:02:00 ambiguous a/7 b/7
  the header names run 7, and 2 runs of that id fit: a/7, b/7
10:15:00.000001 corroborated a/7
  the header names run 7 of a, and buildkite confirms it: its principal is app-1, it ran from 2026-11-03 10:00:00 to 10:20:00 UTC
10:25:00.000001 none
  the header names run 7, which the CI's record denies; buildkite has told of no run of principal app-1 at the time
  DENIED: the header names run 7 of b, but buildkite says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC, which is not the time of these requests
`},
		{"two CI servers with a run of that id", use(header("7"), func(u *attribute.Use) { u.Provider = "" }), []attribute.Run{
			run("7", "10:00", "10:10"), run("7", "10:00", "10:10", of("teamcity", "Shop")),
		}, `
10:02:00 inferred payments/7
  the header names run 7, an id that several CI servers have; the only known run of principal app-1 at the time is run 7 of payments: space says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
`},
	})
}

func TestInferred(t *testing.T) {
	twelve := make([]attribute.Run, 12)
	for i := range twelve {
		twelve[i] = run(fmt.Sprintf("%02d", i), "10:00", "10:10")
	}
	check(t, []row{
		{"no verified identity", use(func(u *attribute.Use) { u.Subject = "" }, signed("github", "a", "1")), []attribute.Run{run("1", "10:00", "", of("github", "a"))}, `
10:02:00 none
  no verified identity
`},
		{"nothing is known", use(), nil, `
10:02:00 none
  space has told of no run of principal app-1 at the time
`},
		{"no principal is no principal's", use(), []attribute.Run{run("1", "10:00", "", principal(""))}, `
10:02:00 none
  space has told of no run of principal app-1 at the time
`},
		{"the runs of an hour", use(during("09:50", "10:50")), []attribute.Run{run("1", "10:00", "10:10"), run("2", "10:18", "10:30"), run("3", "", ""), run("4", "10:31", "10:20")}, `
09:50:00 none
  space has told of no run of principal app-1 at the time
09:55:00 inferred payments/1
  the only known run of principal app-1 at the time is run 1 of payments: space says that it ran from 2026-11-03 10:00:00 to 10:10:00 UTC
10:13:00 ambiguous payments/1 payments/2
  2 runs of principal app-1 were going on: payments/1, payments/2
10:15:00.000001 inferred payments/2
  the only known run of principal app-1 at the time is run 2 of payments: space says that it ran from 2026-11-03 10:18:00 to 10:30:00 UTC
10:35:00.000001 none
  space has told of no run of principal app-1 at the time
`},
		{"attempts of one run are one run", use(), []attribute.Run{run("1", "10:00", "10:01", attempt(1)), run("1", "10:02", "", attempt(2))}, `
10:02:00 inferred payments/1#2
  the only known run of principal app-1 at the time is run 1 of payments: space says that it has run since 2026-11-03 10:02:00 UTC
`},
		{"two projects with one name, on two servers", use(func(u *attribute.Use) { u.Provider = "" }), []attribute.Run{run("1", "10:00", ""), run("1", "10:00", "", func(r *attribute.Run) { r.Provider = "teamcity" })}, `
10:02:00 ambiguous space:payments/1 teamcity:payments/1
  2 runs of principal app-1 were going on: space:payments/1, teamcity:payments/1
`},
		{"another project's run is not looked at", use(project("payments")), []attribute.Run{run("1", "10:00", ""), run("2", "10:00", "", func(r *attribute.Run) { r.Project = "billing" })}, `
10:02:00 inferred payments/1
  the only known run of principal app-1 in project payments at the time is run 1 of payments: space says that it has run since 2026-11-03 10:00:00 UTC
`},
		{"a dozen at a time", use(), twelve, `
10:02:00 ambiguous payments/00 payments/01 payments/02 payments/03 payments/04 payments/05 payments/06 payments/07 payments/08 payments/09
  more than 10 runs of principal app-1 were going on: payments/00, payments/01, payments/02, payments/03, payments/04, payments/05, payments/06, payments/07, payments/08, payments/09 and others
`},
	})
}
