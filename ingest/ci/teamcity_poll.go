package ci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// teamcityCursor is how far polls have come, by project; "" is all projects.
type teamcityCursor struct {
	Builds  map[string]time.Time `json:"builds"`  // finished builds are known up to here
	Changes map[string]wireID    `json:"changes"` // the newest change that is known
}

// Poll reads each project's running and queued builds, those that finished since,
// and the changes that were collected since. One project that is gone or forbidden
// does not keep the others back: its error comes beside their facts.
func (t *TeamCity) Poll(ctx context.Context, since time.Time, cursor string) ([]Fact, string, error) {
	at := teamcityCursor{Builds: map[string]time.Time{}, Changes: map[string]wireID{}}
	if cursor != "" {
		at = teamcityCursor{}
		if err := json.Unmarshal([]byte(cursor), &at); err != nil || at.Builds == nil || at.Changes == nil {
			return nil, cursor, errors.New("teamcity: the stored cursor cannot be read: take it away, and the poll begins anew")
		}
	}
	projects := t.config.Projects
	if len(projects) == 0 {
		projects = []string{""}
	}
	var facts []Fact
	var failed []error
	for _, project := range projects {
		got, err := t.pollProject(ctx, project, since, &at)
		facts = append(facts, got...)
		if err != nil {
			failed = append(failed, err)
			if !oneTargetOnly(err) {
				break
			}
		}
	}
	next, err := json.Marshal(at)
	if err != nil {
		return facts, cursor, err
	}
	return facts, string(next), errors.Join(failed...)
}

func (t *TeamCity) pollProject(ctx context.Context, project string, since time.Time, at *teamcityCursor) ([]Fact, error) {
	mark, known := at.Builds[project]
	if !known {
		mark = latest(since.UTC(), time.Date(2006, time.October, 1, 0, 0, 0, 0, time.UTC)) // TeamCity 1.0
	}
	facts, mark, err := t.pollBuilds(ctx, project, mark)
	at.Builds[project] = mark
	if err != nil && !oneTargetOnly(err) {
		return facts, fmt.Errorf("teamcity: builds: %w", err)
	}
	changes, newest, changesErr := t.pollChanges(ctx, project, since, at.Changes[project])
	if newest != "" {
		at.Changes[project] = newest
	}
	if err != nil {
		err = fmt.Errorf("teamcity: builds: %w", err)
	}
	if changesErr != nil {
		changesErr = fmt.Errorf("teamcity: changes: %w", changesErr)
	}
	return append(facts, changes...), errors.Join(err, changesErr)
}

// pollBuilds reads the builds since a mark and says how far it came, which is less
// than all beside an error.
//
// The mark only moves to a time that the server had before it was asked for its
// finished builds, so that one that finishes between two pages is seen by the next poll.
func (t *TeamCity) pollBuilds(ctx context.Context, project string, mark time.Time) ([]Fact, time.Time, error) {
	unfinished, header, err := t.listBuilds(ctx, "state:(queued:true,running:true)"+inProject(project))
	facts := buildFacts(unfinished)
	if err != nil {
		return facts, mark, err
	}
	now, window := serverTime(header), teamcityWindow
	if !now.IsZero() && mark.After(now) {
		mark = now // it came from our clock
	}
	for {
		from, end := mark.Add(-teamcityOverlap), mark.Add(window)
		last := !end.Before(now) // also where the server does not tell the time
		locator := "state:finished" + dated("finishDate", from, "after") + dated("startDate", from.Add(-t.config.LongestBuild), "after")
		if !last {
			locator += dated("finishDate", end, "before")
		}
		finished, _, err := t.listBuilds(ctx, locator+inProject(project))
		facts = append(facts, buildFacts(finished)...)
		if err != nil {
			return facts, mark, err
		}
		if last {
			return facts, latest(mark, newestSaid(unfinished, finished, now)), nil
		}
		mark = end
		if len(finished) < teamcityPage {
			window *= 2 // years without a build are soon passed
		} else {
			window = teamcityWindow
		}
	}
}

// newestSaid is the newest time in some builds, or the server's own where that is
// earlier: an agent's clock may be ahead. From a server that does not tell the time
// it is the zero time: the next poll reads the same again, and nothing is lost.
func newestSaid(unfinished, finished []teamcityBuild, now time.Time) time.Time {
	if now.IsZero() {
		return time.Time{}
	}
	var newest time.Time
	for _, builds := range [][]teamcityBuild{unfinished, finished} {
		for _, build := range builds {
			newest = latest(newest, build.said())
		}
	}
	if newest.After(now) {
		return now
	}
	return newest
}

func inProject(project string) string {
	if project == "" {
		return ""
	}
	return ",affectedProject:(id:" + project + ")"
}

// dated is a locator's condition on one of a build's dates.
func dated(dimension string, at time.Time, condition string) string {
	return "," + dimension + ":(date:" + at.UTC().Format(teamcityLayout) + ",condition:" + condition + ")"
}

// serverTime is the Date of an answer, or the zero time.
func serverTime(header http.Header) time.Time {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

func buildFacts(builds []teamcityBuild) []Fact {
	var facts []Fact
	for _, build := range builds {
		facts = append(facts, build.facts("", true)...)
	}
	return facts
}

// listBuilds reads all pages of a list, and gives those it has beside an error. The
// header is the first answer's.
func (t *TeamCity) listBuilds(ctx context.Context, locator string) ([]teamcityBuild, http.Header, error) {
	var builds []teamcityBuild
	var first http.Header
	// Without defaultFilter:false, canceled and personal builds and those of other
	// branches than the default one are left out.
	locator = fmt.Sprintf("defaultFilter:false,%s,lookupLimit:%d,count:%d", locator, teamcityLookup, teamcityPage)
	err := t.pages("app/rest/builds", locator, teamcityBuildsFields, func(query url.Values) (string, bool, error) {
		var page teamcityBuilds
		header, err := t.client.Get(ctx, "app/rest/builds", query, &page)
		if first == nil {
			first = header
		}
		builds = append(builds, page.Build...)
		return page.NextHref, true, err
	})
	return builds, first, err
}

// pages asks for a list's pages until there is no next one, or get wants no more.
// Of the link to the next page only the locator is taken: the server may know
// itself by another name, and our token goes nowhere else.
func (t *TeamCity) pages(path, locator, fields string, get func(url.Values) (next string, more bool, err error)) error {
	for range teamcityPages {
		next, more, err := get(url.Values{"locator": {locator}, "fields": {fields}})
		if err != nil || next == "" || !more {
			return err
		}
		link, err := url.Parse(next)
		if err != nil {
			return fmt.Errorf("%s: %w: nextHref is no link", path, ErrMalformed)
		}
		following := link.Query().Get("locator")
		if following == "" || following == locator {
			return fmt.Errorf("%s: %w: nextHref leads nowhere", path, ErrMalformed)
		}
		locator = following
	}
	return fmt.Errorf("%s: more than %d pages: poll projects of their own", path, teamcityPages)
}

// pollChanges reads the changes that were collected after the one that is known, or
// without one those since a time; newest first. It says which is the newest only
// when it has read them all.
func (t *TeamCity) pollChanges(ctx context.Context, project string, since time.Time, known wireID) ([]Fact, wireID, error) {
	locator := fmt.Sprintf("count:%d", teamcityPage)
	if known != "" {
		locator += ",sinceChange:(id:" + string(known) + ")"
	}
	locator += inProject(project)
	var facts []Fact
	newest, from := known, since.Add(-clockSlack)
	err := t.pages("app/rest/changes", locator, teamcityChangeFields, func(query url.Values) (string, bool, error) {
		var page teamcityChanges
		_, err := t.client.Get(ctx, "app/rest/changes", query, &page)
		recent := known != ""
		for _, change := range page.Change {
			newest = laterID(newest, change.ID)
			recent = recent || !change.Date.Before(from)
		}
		if recent {
			facts = append(facts, page.facts()...)
		}
		return page.NextHref, recent, err
	})
	if err != nil {
		return facts, known, err
	}
	return facts, newest, nil
}

// laterID is the greater of two numbers in digits.
func laterID(a, b wireID) wireID {
	left, right := strings.TrimLeft(string(a), "0"), strings.TrimLeft(string(b), "0")
	if len(left) > len(right) || len(left) == len(right) && left >= right {
		return a
	}
	return b
}
