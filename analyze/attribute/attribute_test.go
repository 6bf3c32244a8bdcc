package attribute_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// at is a time of one day: "10:05" or "10:05:30.000001"; "" is the zero time.
func at(clock string) time.Time {
	if clock == "" {
		return time.Time{}
	}
	if len(clock) == len("10:05") {
		clock += ":00"
	}
	t, err := time.Parse("2006-01-02 15:04:05", "2026-11-03 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

const (
	built   = "9f31c04be6f14ad2bbbe2f5a7d1c90a1f2d34485"
	another = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
)

// run is one of payments, as Space tells it; change makes it another.
func run(id, from, to string, change ...func(*attribute.Run)) attribute.Run {
	r := attribute.Run{
		Provider: "space", Project: "payments", ID: id, Job: "Publish", Ref: "refs/heads/main", Commit: built, Actor: "kira", Agent: "vm-7", Approver: "lena",
		Principal: "app-1", Started: at(from), Finished: at(to),
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// of makes it a run of another CI server and project, which says no principal.
func of(provider, project string) func(*attribute.Run) {
	return func(r *attribute.Run) { r.Provider, r.Project, r.Principal = provider, project, "" }
}

func attempt(n uint32) func(*attribute.Run) { return func(r *attribute.Run) { r.Attempt = n } }

func principal(s string) func(*attribute.Run) { return func(r *attribute.Run) { r.Principal = s } }

func commit(s string) func(*attribute.Run) { return func(r *attribute.Run) { r.Commit = s } }

func ref(s string) func(*attribute.Run) { return func(r *attribute.Run) { r.Ref = s } }

func trigger(s string) func(*attribute.Run) { return func(r *attribute.Run) { r.Trigger = s } }

// use is of app-1 of Space, from 10:02 to 10:03.
func use(change ...func(*attribute.Use)) attribute.Use {
	u := attribute.Use{Provider: "space", Subject: "app-1", First: at("10:02"), Last: at("10:03")}
	for _, c := range change {
		c(&u)
	}
	return u
}

func during(first, last string) func(*attribute.Use) {
	return func(u *attribute.Use) { u.First, u.Last = at(first), at(last) }
}

func header(id string) func(*attribute.Use) { return func(u *attribute.Use) { u.ClaimedRun = id } }

func project(s string) func(*attribute.Use) { return func(u *attribute.Use) { u.Project = s } }

// signed makes it a token that names the run.
func signed(provider, project, id string) func(*attribute.Use) {
	return func(u *attribute.Use) { u.Provider, u.Project, u.Run = provider, project, id }
}

// claims sets the signed ref and commit.
func claims(ref, commit string) func(*attribute.Use) {
	return func(u *attribute.Use) { u.Ref, u.Commit = ref, commit }
}

func numbered(attempt string) func(*attribute.Use) {
	return func(u *attribute.Use) { u.Attempt = attempt }
}

// say writes verdicts as the tables below have them: from, grade, run, and what is
// in Why and Contradiction.
func say(verdicts []attribute.Verdict) string {
	var b strings.Builder
	for _, v := range verdicts {
		fmt.Fprintf(&b, "%s %s", v.From.Format("15:04:05.999999"), v.Grade)
		if v.Run != "" {
			fmt.Fprintf(&b, " %s/%s", v.Project, v.Run)
		}
		if v.Attempt > 0 {
			fmt.Fprintf(&b, "#%d", v.Attempt)
		}
		if len(v.Candidates) > 0 {
			fmt.Fprintf(&b, " %s", strings.Join(v.Candidates, " "))
		}
		fmt.Fprintf(&b, "\n  %s\n", v.Why)
		if v.Contradiction != "" {
			fmt.Fprintf(&b, "  DENIED: %s\n", v.Contradiction)
		}
	}
	return b.String()
}

type row struct {
	name string
	use  attribute.Use
	runs []attribute.Run
	want string // as say writes it
}

func check(t *testing.T, rows []row) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			have := say(attribute.Attribute(row.use, row.runs, attribute.Options{}))
			if want := strings.TrimPrefix(row.want, "\n"); have != want {
				t.Errorf("want\n%s\nhave\n%s", want, have)
			}
		})
	}
}

// TestFields: the claims hold whatever the run is; what they leave open is the record's.
func TestFields(t *testing.T) {
	from := at("10:02")
	record := run("118", "10:00", "", of("github", "shop"), attempt(2))
	for name, row := range map[string]struct {
		use  attribute.Use
		want attribute.Verdict
	}{
		"the record fills in all but the name": {
			use(signed("github", "shop", "118")),
			attribute.Verdict{Grade: attribute.Proven, Project: "shop", Run: "118", Attempt: 2, Job: "Publish", Ref: "refs/heads/main", Commit: built, Actor: "kira", Agent: "vm-7", Approver: "lena"},
		},
		"the claims come first": {
			use(signed("github", "shop", "118"), claims("refs/tags/v2", another), numbered("2"), func(u *attribute.Use) { u.Job, u.Actor, u.Runner = "deploy", "mia", "self-hosted" }),
			attribute.Verdict{Grade: attribute.Proven, Project: "shop", Run: "118", Attempt: 2, Job: "deploy", Ref: "refs/tags/v2", Commit: another, Actor: "mia", Agent: "self-hosted", Approver: "lena"},
		},
		"there is no run": {
			use(project("shop"), claims("refs/heads/x", strings.ToUpper(another))),
			attribute.Verdict{Grade: attribute.None, Project: "shop", Ref: "refs/heads/x", Commit: another},
		},
	} {
		have := attribute.Attribute(row.use, []attribute.Run{record}, attribute.Options{})[0]
		row.want.From, row.want.Why, row.want.Contradiction = from, have.Why, have.Contradiction
		if !reflect.DeepEqual(have, row.want) {
			t.Errorf("%s:\nwant %+v\nhave %+v", name, row.want, have)
		}
	}
}

func TestSlack(t *testing.T) {
	runs := []attribute.Run{run("1", "10:00", "10:10")}
	for _, row := range []struct {
		slack time.Duration
		clock string
		want  attribute.Grade
	}{
		{0, "09:55", attribute.Inferred}, {0, "09:54:59.999999", attribute.None}, {0, "10:15", attribute.Inferred}, {0, "10:15:00.000001", attribute.None},
		{10 * time.Minute, "10:20", attribute.Inferred}, {10 * time.Minute, "10:21", attribute.None},
		{-1, "10:00", attribute.Inferred}, {-1, "10:10", attribute.Inferred}, {-1, "09:59:59.999999", attribute.None}, {-1, "10:10:00.000001", attribute.None},
	} {
		for name, last := range map[string]string{"one request": row.clock, "no last": "", "a last before the first": "09:00"} {
			u := use(during(row.clock, last))
			v := attribute.Attribute(u, attribute.NewIndex(runs).For(u, row.slack), attribute.Options{Slack: row.slack})
			if len(v) != 1 || v[0].Grade != row.want || !v[0].From.Equal(at(row.clock)) {
				t.Errorf("slack %v, %s, %s: want %v, have %s", row.slack, row.clock, name, row.want, say(v))
			}
		}
	}
	// No time at all is a time like any other: long before every run.
	if v := attribute.Attribute(use(during("", "")), runs, attribute.Options{}); len(v) != 1 || v[0].Grade != attribute.None || !v[0].From.IsZero() {
		t.Errorf("at the zero time: have %s", say(v))
	}
}

func TestGrades(t *testing.T) {
	grades := []attribute.Grade{attribute.None, attribute.Ambiguous, attribute.Inferred, attribute.Corroborated, attribute.Proven}
	var words []string
	for _, g := range grades {
		words = append(words, g.String())
	}
	if have := strings.Join(words, " < "); have != "none < ambiguous < inferred < corroborated < proven" || !slices.IsSorted(grades) {
		t.Error(have)
	}
}
