package ci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gitlabMark is how far a list of pipelines is known.
type gitlabMark struct {
	// After is the newest updated_at that was dealt with.
	After time.Time `json:"after"`
	// Seen are the pipelines dealt with that the next poll lists again, as it begins
	// a little earlier, with their updated_at.
	Seen map[string]time.Time `json:"seen,omitempty"`
}

const (
	// gitlabOverlap is how long a change may take until the list shows it.
	gitlabOverlap = 30 * time.Second
	maxGitLabSeen = 200 // more are dealt with again
	gitlabPage    = 100 // the most that GitLab gives
	gitlabPages   = 10_000
	childSource   = "parent_pipeline"
)

// Poll lists the pipelines that changed, the oldest change first, and asks for each
// one's jobs, commit and signature. A project has two lists: that of its pipelines
// leaves out those that other pipelines start (source=parent_pipeline).
//
// The cursor moves on with each pipeline, so that a poll that breaks off is gone on
// with. A project that is gone or forbidden does not keep the others back.
func (g *GitLab) Poll(ctx context.Context, since time.Time, cursor string) ([]Fact, string, error) {
	at := make(map[string]gitlabMark)
	if cursor != "" {
		at = nil
		if err := json.Unmarshal([]byte(cursor), &at); err != nil || at == nil {
			return nil, cursor, errors.New("gitlab: the stored cursor cannot be read: take it away, and the poll begins anew")
		}
	}
	projects, err := g.projects(ctx)
	if err != nil {
		return nil, cursor, fmt.Errorf("gitlab: projects: %w", err)
	}
	poll := gitlabPoll{g: g, asked: make(map[string]bool)}
	var failed []error
	for _, project := range projects {
		if err := poll.project(ctx, project, since, at); err != nil {
			failed = append(failed, fmt.Errorf("gitlab: %s: %w", project, err))
			if !oneTargetOnly(err) {
				break
			}
		}
	}
	next, err := json.Marshal(at)
	if err != nil {
		return nil, cursor, err
	}
	return poll.facts, string(next), errors.Join(failed...)
}

// projects are those configured, or all that our account is a member of.
func (g *GitLab) projects(ctx context.Context) ([]string, error) {
	if len(g.config.Projects) > 0 {
		return g.config.Projects, nil
	}
	query := url.Values{
		"membership": {"true"}, "archived": {"false"}, "simple": {"true"},
		"pagination": {"keyset"}, "order_by": {"id"}, "sort": {"asc"}, "per_page": {strconv.Itoa(gitlabPage)},
	}
	var paths []string
	for range gitlabPages {
		var page []gitlabProject
		header, err := g.client.Get(ctx, "projects", query, &page)
		if err != nil {
			return nil, err
		}
		for _, project := range page {
			if isGitLabPath(project.Path) {
				paths = append(paths, project.Path)
			}
		}
		next := gitlabNext(header)
		if next == nil || len(page) == 0 {
			return paths, nil
		}
		query = next
	}
	return nil, fmt.Errorf("more than %d pages: name the projects", gitlabPages)
}

// gitlabNext is the query of the next page by the header Link (RFC 8288), or nil. Its
// host and path are not used: the server may know itself by another name, and our
// token goes nowhere else.
func gitlabNext(header http.Header) url.Values {
	for _, link := range strings.Split(strings.Join(header.Values("Link"), ","), ",") {
		target, parameters, _ := strings.Cut(strings.TrimSpace(link), ">")
		if !strings.Contains(parameters, `rel="next"`) {
			continue
		}
		next, err := url.Parse(strings.TrimPrefix(target, "<"))
		if err == nil && len(next.Query()) > 0 {
			return next.Query()
		}
	}
	return nil
}

// gitlabPoll is one call of Poll.
type gitlabPoll struct {
	g     *GitLab
	facts []Fact
	asked map[string]bool // commits, by project and sha
	// refused is why the last project's commits cannot be read. Its runs can.
	refused error
}

func (p *gitlabPoll) project(ctx context.Context, project string, since time.Time, at map[string]gitlabMark) error {
	p.refused = nil
	for _, source := range []string{"", childSource} {
		key := project
		if source != "" {
			key += "?source=" + source
		}
		mark, known := at[key]
		if !known {
			begin := latest(since.UTC().Add(-clockSlack), time.Date(2011, time.October, 1, 0, 0, 0, 0, time.UTC)) // GitLab 1.0
			mark = gitlabMark{After: begin}
		}
		err := p.list(ctx, project, source, &mark)
		mark.trim()
		at[key] = mark
		if err != nil {
			return err
		}
	}
	return p.refused
}

// list reads a list of pipelines in the order of their changes. One that changes
// meanwhile goes to the list's end, and all after it move up by one: with pages by
// number, one would slip through. So each page begins anew at the last change seen.
func (p *gitlabPoll) list(ctx context.Context, project, source string, mark *gitlabMark) error {
	from, number := mark.After.Add(-gitlabOverlap), 1
	for range gitlabPages {
		query := url.Values{
			"updated_after": {from.UTC().Format("2006-01-02T15:04:05.000Z07:00")}, "order_by": {"updated_at"}, "sort": {"asc"},
			"per_page": {strconv.Itoa(gitlabPage)}, "page": {strconv.Itoa(number)},
		}
		if source != "" {
			query.Set("source", source)
		}
		var page []struct {
			ID        wireID    `json:"id"`
			UpdatedAt time.Time `json:"updated_at"`
		}
		header, err := p.g.client.Get(ctx, projectPath(project, "pipelines"), query, &page)
		if err != nil {
			return err
		}
		for _, listed := range page {
			if err := p.pipeline(ctx, project, string(listed.ID), listed.UpdatedAt.UTC(), mark); err != nil {
				return err
			}
		}
		if len(page) == 0 || header.Get("X-Next-Page") == "" && len(page) < gitlabPage {
			return nil
		}
		// by a millisecond less: the list is of later ones only, and times are cut
		if last := page[len(page)-1].UpdatedAt.Add(-time.Millisecond); last.After(from) {
			from, number = last, 1
		} else {
			number++
		}
	}
	return fmt.Errorf("more than %d pages of pipelines", gitlabPages)
}

// pipeline deals with one of a list, if it has not before.
func (p *gitlabPoll) pipeline(ctx context.Context, project, id string, updated time.Time, mark *gitlabMark) error {
	if seen, ok := mark.Seen[id]; ok && seen.Equal(updated) || !isNumber(id) {
		return nil
	}
	run, err := p.g.pipeline(ctx, project, id)
	switch {
	case errors.Is(err, ErrNotFound): // deleted since
	case err != nil:
		return err
	default:
		p.facts = append(p.facts, Fact{Run: &run})
		if err := p.commit(ctx, project, run.Commit); err != nil {
			return err
		}
	}
	if mark.Seen == nil {
		mark.Seen = make(map[string]time.Time)
	}
	mark.Seen[id], mark.After = updated, latest(mark.After, updated)
	return nil
}

// commit asks for a commit once a poll. One that is gone, as that of a merge that
// was only tried, is left out.
func (p *gitlabPoll) commit(ctx context.Context, project, sha string) error {
	if p.asked[project+"@"+sha] {
		return nil
	}
	commit, err := p.g.Commit(ctx, project, sha)
	switch {
	case errors.Is(err, ErrRefused):
		p.refused = err
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	p.asked[project+"@"+sha] = true
	if err == nil {
		p.facts = append(p.facts, Fact{Commit: &commit})
	}
	return nil
}

// trim forgets what the next list does not begin with.
func (m *gitlabMark) trim() {
	from := m.After.Add(-gitlabOverlap)
	maps.DeleteFunc(m.Seen, func(_ string, updated time.Time) bool { return updated.Before(from) })
	if len(m.Seen) <= maxGitLabSeen {
		return
	}
	ids := slices.SortedFunc(maps.Keys(m.Seen), func(a, b string) int { return m.Seen[b].Compare(m.Seen[a]) })
	for _, id := range ids[maxGitLabSeen:] {
		delete(m.Seen, id)
	}
}

// pipeline asks for a pipeline and its jobs, those that were run again too.
func (g *GitLab) pipeline(ctx context.Context, project, id string) (Run, error) {
	var answer gitlabPipeline
	if _, err := g.client.Get(ctx, projectPath(project, "pipelines", id), nil, &answer); err != nil {
		return Run{}, err
	}
	if string(answer.ID) != id {
		return Run{}, fmt.Errorf("gitlab: pipeline %s: %w: the answer is of another", id, ErrMalformed)
	}
	origin := gitlabOrigin{project: project}
	if number := mergeRequest(answer.Ref); number != "" {
		var err error
		if origin, err = g.originOf(ctx, project, number); err != nil && oneTargetOnly(err) {
			origin = gitlabOrigin{project: project} // deleted or private: nothing is known of a fork
		} else if err != nil {
			return Run{}, err
		}
	}
	var jobs []gitlabJob
	query := url.Values{"include_retried": {"true"}, "per_page": {strconv.Itoa(gitlabPage)}}
	for next := "1"; next != ""; {
		query.Set("page", next)
		var page []gitlabJob
		header, err := g.client.Get(ctx, projectPath(project, "pipelines", id, "jobs"), query, &page)
		if err != nil {
			return Run{}, err
		}
		jobs = append(jobs, page...)
		if following := header.Get("X-Next-Page"); len(page) > 0 && following != next && isNumber(following) {
			next = following
		} else {
			next = ""
		}
	}
	return answer.run(origin, jobs), nil
}
