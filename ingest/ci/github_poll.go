package ci

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Bounds of a poll.
const (
	githubDetails  = 1000            // runs of one repository that are looked into in one poll; the rest in the next
	githubAttempts = 100             // of one run; GitHub allows 50 re-runs
	githubMargin   = 2 * time.Minute // by which a run may show up later than its updated_at
)

// githubBirth is when Actions began. The list takes no year 1 for "ever".
func githubBirth() time.Time { return time.Date(2018, 10, 1, 0, 0, 0, 0, time.UTC) }

// githubCursor is what Poll remembers, as JSON.
type githubCursor struct {
	Next         string                 `json:"next,omitempty"` // where the last poll broke off
	Repositories map[string]*githubMark `json:"repositories"`
}

// githubMark is how far a repository has been told.
type githubMark struct {
	// From is since when runs are listed, by their making: that is the only time
	// which GitHub's list can be asked by.
	From time.Time `json:"from"`
	// Seen is the newest updated_at that was told.
	Seen time.Time `json:"seen"`
	// Told are runs by id that may be met again: those that had not ended, and
	// those not older than Seen by more than githubMargin.
	Told map[uint64]githubTold `json:"told,omitempty"`
}

type githubTold struct {
	Updated time.Time `json:"updated"`
	Status  string    `json:"status"`
	Open    bool      `json:"open,omitempty"`
}

// due reports whether a run tells something new.
func (m *githubMark) due(run githubRun) bool {
	if told, ok := m.Told[run.ID]; ok {
		return !told.Updated.Equal(run.Updated.Time) || told.Status != run.Status
	}
	return !run.Updated.Before(m.Seen.Add(-githubMargin))
}

// told records that a run was told.
func (m *githubMark) told(run githubRun) {
	if m.Told == nil {
		m.Told = make(map[uint64]githubTold)
	}
	m.Told[run.ID] = githubTold{Updated: run.Updated.Time, Status: run.Status, Open: !run.completed()}
	m.Seen = latest(m.Seen, run.Updated.Time)
	maps.DeleteFunc(m.Told, func(_ uint64, told githubTold) bool {
		return !told.Open && told.Updated.Before(m.Seen.Add(-githubMargin))
	})
}

// Poll lists the runs of each repository and looks into those that are new or have
// changed: their attempts, jobs, approvals and commits. A repository that is gone
// or forbidden does not keep it from the others; the next poll begins with the one
// at which this one broke off.
func (g *GitHub) Poll(ctx context.Context, since time.Time, cursor string) ([]Fact, string, error) {
	if g.token == nil && g.app == nil {
		return nil, cursor, fmt.Errorf("github: %w: configure a token or an app for GitHub's API", ErrUnsupported)
	}
	var state githubCursor
	if json.Unmarshal([]byte(cursor), &state) != nil || state.Repositories == nil {
		state = githubCursor{Repositories: make(map[string]*githubMark)} // of another version: from since on, again
	}
	first := max(slices.Index(g.repositories, state.Next), 0)
	state.Next = ""
	var facts []Fact
	var faults []error
	for i := range g.repositories {
		repository := g.repositories[(first+i)%len(g.repositories)]
		mark := state.Repositories[repository]
		if mark == nil {
			mark = &githubMark{From: latest(since.Add(-clockSlack), githubBirth()).UTC()}
			state.Repositories[repository] = mark
		}
		told, err := g.pollRepository(ctx, repository, mark)
		facts = append(facts, told...)
		if err != nil {
			faults = append(faults, fmt.Errorf("github: %s: %w", repository, err))
			if !oneTargetOnly(err) {
				state.Next = repository
				break
			}
		}
	}
	maps.DeleteFunc(state.Repositories, func(name string, _ *githubMark) bool { return !slices.Contains(g.repositories, name) })
	next, err := json.Marshal(state)
	if err != nil {
		return facts, cursor, errors.Join(append(faults, err)...)
	}
	return facts, string(next), errors.Join(faults...)
}

// pollRepository tells what is new since the mark, and moves it, as far as it
// comes.
func (g *GitHub) pollRepository(ctx context.Context, repository string, mark *githubMark) ([]Fact, error) {
	listed := make(map[uint64]githubRun)
	if err := g.list(ctx, repository, mark.From, time.Time{}, listed); err != nil {
		return nil, err
	}
	newest := mark.From
	for _, run := range listed {
		newest = latest(newest, run.Created.Time)
	}
	for id, told := range mark.Told { // what goes on for longer than the list goes back
		if _, ok := listed[id]; ok || !told.Open {
			continue
		}
		var run githubRun
		_, err := g.client.Get(ctx, fmt.Sprintf("repos/%s/actions/runs/%d", repository, id), nil, &run)
		switch {
		case errors.Is(err, ErrNotFound): // deleted
			delete(mark.Told, id)
		case err != nil:
			return nil, err
		case run.ID == id:
			listed[id] = run
		}
	}
	// The oldest first: what follows a failure is then newer than the mark.
	due := slices.SortedFunc(maps.Values(listed), func(a, b githubRun) int {
		return cmp.Or(a.Updated.Compare(b.Updated.Time), cmp.Compare(a.ID, b.ID))
	})
	due = slices.DeleteFunc(due, func(run githubRun) bool { return !mark.due(run) })
	rest := len(due) > githubDetails
	var facts []Fact
	for _, run := range due[:min(len(due), githubDetails)] {
		told, err := g.detail(ctx, repository, run, true)
		facts = append(facts, told...)
		if err != nil {
			return facts, err
		}
		mark.told(run)
	}
	if !rest {
		mark.From = latest(mark.From, newest.Add(-g.reruns))
	}
	return facts, nil
}

// list collects the runs that were made between two times, both included; no
// second one is now. A filtered list stops at its 1,000th run, wherever that is:
// a longer one is asked for in halves.
func (g *GitHub) list(ctx context.Context, repository string, from, to time.Time, into map[uint64]githubRun) error {
	created := ">=" + from.UTC().Format(time.RFC3339)
	if !to.IsZero() {
		created = from.UTC().Format(time.RFC3339) + ".." + to.UTC().Format(time.RFC3339)
	}
	errHalve := errors.New("more than the list shows")
	var newest time.Time
	err := githubPages(ctx, g, "repos/"+repository+"/actions/runs", url.Values{"created": {created}}, func(page struct {
		Total int         `json:"total_count"`
		Runs  []githubRun `json:"workflow_runs"`
	}) error {
		for _, run := range page.Runs {
			newest = latest(newest, run.Created.Time)
			if run.ID != 0 {
				into[run.ID] = run
			}
		}
		if page.Total >= githubSearch && newest.Sub(from) >= 2*time.Second {
			return errHalve
		}
		return nil
	})
	if !errors.Is(err, errHalve) {
		return err
	}
	middle := from.Add(newest.Sub(from) / 2).Truncate(time.Second)
	if err := g.list(ctx, repository, middle, latest(newest, to), into); err != nil {
		return err
	}
	return g.list(ctx, repository, from, middle, into)
}

// detail is all there is to know of a run: its attempts, jobs and, if wanted, its
// commit. Facts before an error are good.
func (g *GitHub) detail(ctx context.Context, repository string, run githubRun, commit bool) ([]Fact, error) {
	project := cmp.Or(run.Repository.FullName, repository)
	base := fmt.Sprintf("repos/%s/actions/runs/%d", repository, run.ID)
	tag, err := g.tag(ctx, repository, run)
	if err != nil {
		return nil, err
	}
	run.tag = tag
	facts := run.facts(repository)
	for n := run.Attempt - min(run.Attempt, githubAttempts); commit && n+1 < run.Attempt; n++ {
		var earlier githubRun
		_, err := g.client.Get(ctx, fmt.Sprintf("%s/attempts/%d", base, n+1), nil, &earlier)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return facts, err
		}
		earlier.tag = tag
		facts = append(facts, earlier.facts(repository)...)
	}
	err = githubPages(ctx, g, base+"/jobs", url.Values{"filter": {"all"}}, func(page struct {
		Jobs []githubJob `json:"jobs"`
	}) error {
		for _, job := range page.Jobs {
			if run := job.run(project); run.ID != "" {
				facts = append(facts, Fact{Run: &run})
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return facts, err
	}
	if facts, err = g.reviews(ctx, base, run, facts); err != nil || !commit {
		return facts, err
	}
	return g.verification(ctx, repository, run, facts)
}

// reviews adds who approved a run's deployments. GitHub does not say for which
// attempt; of several, none is told.
func (g *GitHub) reviews(ctx context.Context, base string, run githubRun, facts []Fact) ([]Fact, error) {
	if !g.approvals || run.Attempt > 1 || len(facts) == 0 {
		return facts, nil
	}
	var reviews []githubReview
	if _, err := g.client.Get(ctx, base+"/approvals", nil, &reviews); err != nil {
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return facts, err
	}
	approved := *facts[0].Run
	for _, review := range reviews {
		if review.State == "approved" {
			approved.Approver = max(approved.Approver, review.User.Login)
		}
	}
	return append(facts, Fact{Run: &approved}), nil
}

// verification adds what GitHub says of the commit's signature, or said not long
// ago. A commit that does not exist is no fault.
func (g *GitHub) verification(ctx context.Context, repository string, run githubRun, facts []Fact) ([]Fact, error) {
	if run.HeadSHA == "" {
		return facts, nil
	}
	key := repository + "\x00" + run.HeadSHA
	commit, known := g.commits.get(key)
	if !known {
		var err error
		if commit, err = g.Commit(ctx, repository, run.HeadSHA); err != nil && !errors.Is(err, ErrNotFound) {
			return facts, err
		}
		g.commits.put(key, commit)
	}
	if commit.SHA != "" {
		// told again though it was told before: who has asked may have lost it
		commit.Repository = cmp.Or(run.Repository.FullName, repository)
		facts = append(facts, Fact{Commit: &commit})
	}
	return facts, nil
}

// tag asks whether a run's head_branch is a tag ("Get a reference"). Where a tag
// and a branch share the name, it is the one that is at the run's commit.
func (g *GitHub) tag(ctx context.Context, repository string, run githubRun) (bool, error) {
	if !run.mayBeTag() || strings.Contains(run.HeadBranch, "..") {
		return false, nil
	}
	key := repository + "\x00" + run.HeadBranch + "\x00" + run.HeadSHA
	if kind, known := g.refs.get(key); known {
		return kind == "tag", nil
	}
	segments := strings.Split(run.HeadBranch, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	var found struct {
		Object struct {
			Type string `json:"type"`
			SHA  string `json:"sha"`
		} `json:"object"`
	}
	_, err := g.client.Get(ctx, "repos/"+repository+"/git/ref/tags/"+strings.Join(segments, "/"), nil, &found)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, err
	}
	kind := "branch"
	if found.Object.Type == "tag" || found.Object.SHA != "" && found.Object.SHA == run.HeadSHA {
		kind = "tag"
	}
	g.refs.put(key, kind)
	return kind == "tag", nil
}
