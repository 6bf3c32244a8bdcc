package attribute

import (
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The words of a verdict. Names in them are as short as can be and stay one
// sentence: what an unsigned header says is quoted if it is more than a name.

// maxText bounds a name in a sentence; a header may be as long as it likes.
const maxText = 128

func text(name string) string {
	odd := func(c rune) bool {
		return !unicode.IsGraphic(c) || unicode.IsSpace(c) || strings.ContainsRune("\"`;,\ufffd", c)
	}
	switch {
	case len(name) > maxText:
		return strconv.Quote(name[:maxText]) + "..."
	case name == "" || strings.ContainsFunc(name, odd):
		return strconv.Quote(name)
	}
	return name
}

// server is who tells of the use's runs.
func (u *Use) server(r *Run) string {
	switch {
	case u.Provider != "":
		return text(u.Provider)
	case r != nil && r.Provider != "":
		return text(r.Provider)
	}
	return "the CI server"
}

// candidate is a run's name in an ambiguous verdict.
func (u *Use) candidate(r *Run) string {
	if u.Provider == "" && r.Provider != "" {
		return r.Provider + ":" + r.Project + "/" + r.ID
	}
	return r.Project + "/" + r.ID
}

// title is "run 118 of acme/web-shop".
func (r *Run) title() string {
	if r.Project == "" {
		return "run " + text(r.ID)
	}
	return "run " + text(r.ID) + " of " + text(r.Project)
}

// ran is "ran from 2026-11-03 10:00:00 to 10:10:00 UTC".
func (r *Run) ran() string {
	const day, second = "2006-01-02 ", "15:04:05"
	from, to := r.Started.UTC(), r.Finished.UTC()
	var few [96]byte
	b := append(few[:0], "ran"...)
	switch {
	case r.Started.IsZero():
		return "has not started"
	case r.Finished.IsZero():
		b = append(few[:0], "has run since "...)
		b = from.AppendFormat(b, day+second)
		return string(append(b, " UTC"...))
	case to.Before(from):
		b = append(few[:0], "finished before it started,"...)
	}
	b = append(b, " from "...)
	b = from.AppendFormat(b, day+second)
	b = append(b, " to "...)
	if !sameDay(from, to) {
		b = to.AppendFormat(b, day)
	}
	b = to.AppendFormat(b, second)
	return string(append(b, " UTC"...))
}

// ranNotThen is ran, of requests at another time.
func (r *Run) ranNotThen() string {
	if r.Started.IsZero() {
		return r.ran()
	}
	return r.ran() + ", which is not the time of these requests"
}

func sameDay(a, b time.Time) bool {
	return a.YearDay() == b.YearDay() && a.Year() == b.Year()
}

// signed is "a signed claim names run 118 of acme/web-shop, attempt 2".
func (u *Use) signed(attempt uint32) string {
	named := Run{Project: u.Project, ID: u.Run}
	if attempt > 0 {
		return "a signed claim names " + named.title() + ", attempt " + strconv.FormatUint(uint64(attempt), 10)
	}
	return "a signed claim names " + named.title()
}

func (u *Use) whyProven(attempt uint32, r *Run, inside bool) string {
	which := "it "
	if attempt == 0 && r.Attempt > 0 {
		which = "its attempt " + strconv.FormatUint(uint64(r.Attempt), 10) + " "
	}
	ran := r.ran()
	if !inside {
		ran = r.ranNotThen()
	}
	return u.signed(attempt) + "; " + u.server(r) + " says that " + which + ran
}

func (u *Use) whyCorroborated(r *Run) string {
	confirmed := ""
	if r.Principal != "" {
		confirmed = "its principal is " + text(r.Principal) + ", "
	}
	if u.Project != "" {
		confirmed += "its project " + text(r.Project) + ", "
	}
	if u.Commit != "" && r.Commit != "" {
		confirmed += "its commit " + text(r.Commit) + ", "
	}
	return "the header names " + r.title() + ", and " + u.server(r) + " confirms it: " + confirmed + "it " + r.ran()
}

func (u *Use) whyUntied(r *Run) string {
	return "the header names " + r.title() + ", which nothing ties to this identity: " + u.server(r) +
		" does not say its principal, and the token not its project; "
}

func (u *Use) whyInferred(r *Run) string {
	return "the only known run of " + u.who() + " at the time is " + r.title() + ": " + u.server(r) + " says that it " + r.ran()
}

func (u *Use) whyNone() string {
	return u.server(nil) + " has told of no run of " + u.who() + " at the time"
}

func (u *Use) whySeveral(names []string, more bool) string {
	return several(names, more) + " of " + u.who() + " were going on: " + list(names, more)
}

func (u *Use) whySeveralNamed(names []string, more bool) string {
	return "the header names run " + text(u.ClaimedRun) + ", and " + several(names, more) + " of that id fit: " + list(names, more)
}

func several(names []string, more bool) string {
	if more {
		return "more than " + strconv.Itoa(len(names)) + " runs"
	}
	return strconv.Itoa(len(names)) + " runs"
}

func list(names []string, more bool) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(text(name))
	}
	if more {
		b.WriteString(" and others")
	}
	return b.String()
}

// who is whose runs are looked for.
func (u *Use) who() string {
	if u.Project != "" {
		return "principal " + text(u.Subject) + " in project " + text(u.Project)
	}
	return "principal " + text(u.Subject)
}

// notThen is the contradiction that the run which the header names was not going on.
func (u *Use) notThen(r *Run) string {
	return "the header names " + r.title() + ", but " + u.server(r) + " says that it " + r.ranNotThen()
}

// contradiction puts what a run's record denies in words.
func (u *Use) contradiction(r *Run, says statement) string {
	run, told, token := r.title(), "", ""
	switch says {
	case itsCommit:
		told, token = "is of commit "+text(strings.ToLower(r.Commit)), "says commit "+text(u.Commit)
	case itsRef:
		told, token = "is of ref "+text(r.Ref), "says ref "+text(u.Ref)
	case itsPrincipal:
		told, token = "belongs to "+text(r.Principal), "is of "+text(u.Subject)
	case itsProject:
		run = "run " + text(r.ID)
		told, token = "is of project "+text(r.Project), "says project "+text(u.Project)
	}
	names := "the header names "
	if u.Run != "" {
		names = "a signed claim names "
	}
	return names + run + ", which by the record of " + u.server(r) + " " + told + ", but the token " + token
}
