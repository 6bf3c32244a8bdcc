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
	"time"
)

// Bounds of a poll.
const (
	spacePageSize = "100"
	maxSpacePages = 10_000           // of one list
	maxSpaceOpen  = 500              // runs of one job that are asked for until they end
	spaceSkew     = 15 * time.Minute // between our clock, which since is by, and the server's
	spaceOverlap  = time.Minute      // what the server saw last is read again: it may list late
)

// spaceCursor is how far a poll has come, by the server's own times.
type spaceCursor struct {
	Jobs         map[string]spaceJobMark  `json:"jobs,omitempty"`         // by job id
	Repositories map[string]spaceRepoMark `json:"repositories,omitempty"` // by KEY/NAME
	Principals   time.Time                `json:"principals,omitzero"`    // by our clock
}

type spaceJobMark struct {
	At   time.Time `json:"at,omitzero"`    // the newest time that was seen
	Open []string  `json:"open,omitempty"` // runs that had not ended
}

type spaceRepoMark struct {
	At   time.Time `json:"at,omitzero"`
	Head string    `json:"head,omitempty"` // the first commit of the list
}

// spacePoll is one poll.
type spacePoll struct {
	space    *Space
	since    time.Time
	mark     spaceCursor
	facts    []Fact
	problems []error
	refused  map[string]bool // kinds of calls that were, for principals
}

// Poll reads the configured jobs' executions, the repositories' commits and, each
// PrincipalsEvery, the applications. A job, repository or call that is refused,
// gone or unreadable is an error beside the facts of the others. A run that began
// before since and is hidden behind a page of older ones is found by its webhook or
// by Run.
func (s *Space) Poll(ctx context.Context, since time.Time, cursor string) ([]Fact, string, error) {
	if s.tokens == nil {
		return nil, cursor, fmt.Errorf("space: %w without credentials: configure ClientSecret or PermanentToken", ErrUnsupported)
	}
	p := spacePoll{space: s, since: since.Add(-spaceSkew), refused: make(map[string]bool)}
	if cursor != "" {
		if err := json.Unmarshal([]byte(cursor), &p.mark); err != nil {
			return nil, cursor, fmt.Errorf("space: the cursor %w: forget it, and poll from a time", ErrMalformed)
		}
	}
	p.forget()
	err := p.run(ctx)
	next, encoding := json.Marshal(p.mark)
	if encoding != nil {
		return nil, cursor, fmt.Errorf("space: the cursor: %w", encoding)
	}
	return p.facts, string(next), errors.Join(append(p.problems, err)...)
}

// forget drops the marks of what is no longer configured, lest they pile up.
func (p *spacePoll) forget() {
	jobs, repositories := make(map[string]spaceJobMark), make(map[string]spaceRepoMark)
	for _, project := range p.space.config.Projects {
		for _, job := range project.Jobs {
			jobs[job] = p.mark.Jobs[job]
		}
		for _, name := range project.Repositories {
			repositories[project.Key+"/"+name] = p.mark.Repositories[project.Key+"/"+name]
		}
	}
	p.mark.Jobs, p.mark.Repositories = jobs, repositories
}

// run reads everything. Its error is one after which further calls make no sense.
func (p *spacePoll) run(ctx context.Context) error {
	for _, project := range p.space.config.Projects {
		for _, job := range project.Jobs {
			if err := p.one("job "+job, p.job(ctx, project, job)); err != nil {
				return err
			}
		}
		for _, name := range project.Repositories {
			if err := p.one("repository "+name, p.repository(ctx, project, name)); err != nil {
				return err
			}
		}
	}
	now := p.space.config.Now()
	if now.Sub(p.mark.Principals) < p.space.config.PrincipalsEvery {
		return nil
	}
	err := p.principals(ctx)
	if err == nil {
		p.mark.Principals = now.UTC()
	}
	return p.one("applications", err)
}

// one keeps an error that concerns one thing only, and returns one that would meet
// every further call as well.
func (p *spacePoll) one(what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", what, err)
	local := errors.Is(err, ErrNotFound) || errors.Is(err, ErrRefused) || errors.Is(err, ErrMalformed)
	if !local || errors.Is(err, errSpaceCredentials) {
		return err
	}
	p.problems = append(p.problems, err)
	return nil
}

// get asks the API, and notes what it says in place of values.
func (p *spacePoll) get(ctx context.Context, path string, query url.Values, into any) error {
	reply, err := p.space.get(ctx, path, query, into)
	if reply.inline != nil {
		p.problems = append(p.problems, fmt.Errorf("%s: %w", path, reply.inline))
	}
	return err
}

// spacePages reads a list page by page until each says that it has enough: next goes
// back as $skip, and a page without data is the last whatever next says.
func spacePages[T any](ctx context.Context, p *spacePoll, path string, query url.Values, each func([]T, http.Header) (more bool, err error)) error {
	query = maps.Clone(query)
	query.Set("$top", spacePageSize)
	seen := make(map[spaceText]bool)
	for range maxSpacePages {
		var page spaceBatch[T]
		reply, err := p.space.get(ctx, path, query, &page)
		if err != nil {
			return err
		}
		if reply.inline != nil {
			p.problems = append(p.problems, fmt.Errorf("%s: %w", path, reply.inline))
		}
		if len(page.Data) == 0 {
			return nil
		}
		if more, err := each(page.Data, reply.header); err != nil || !more {
			return err
		}
		if page.Next == "" {
			return nil
		}
		if seen[page.Next] {
			return fmt.Errorf("%s: %w: next is %.40q for the second time", path, ErrMalformed, page.Next)
		}
		seen[page.Next] = true
		query.Set("$skip", string(page.Next))
	}
	return fmt.Errorf("%s: %w: more than %d pages", path, ErrMalformed, maxSpacePages)
}

// from is the time from which on a list is read.
func (p *spacePoll) from(mark time.Time) time.Time {
	if mark.IsZero() {
		return p.since
	}
	return mark.Add(-spaceOverlap)
}

// seenUntil moves a mark on. A time in the future does not: a commit's is its
// author's to choose, and would hide all that come after it.
func (p *spacePoll) seenUntil(mark, at time.Time) time.Time {
	if at.After(p.space.config.Now().Add(spaceSkew)) {
		return mark
	}
	return latest(mark, at)
}

// job reads a job's executions, newest first, until they are older than the mark;
// and those that had not ended when they were seen last.
func (p *spacePoll) job(ctx context.Context, project SpaceProject, job string) error {
	mark := p.mark.Jobs[job]
	from, newest := p.from(mark.At), mark.At
	open := make(map[string]bool, len(mark.Open))
	for _, id := range mark.Open {
		open[id] = true
	}
	met := make(map[string]bool)
	query := url.Values{"jobId": {job}, "$fields": {"next,data(" + spaceRunFields + ")"}}
	path := "projects/key:" + url.PathEscape(project.Key) + "/automation/graph-executions"
	err := spacePages(ctx, p, path, query, func(page []spaceExecution, _ http.Header) (bool, error) {
		old := 0
		for _, e := range page {
			id := string(e.ID)
			if e.newest().Before(from) {
				old++
			}
			newest = p.seenUntil(newest, e.newest())
			if id == "" || met[id] || e.newest().Before(from) && e.status().Final() && !open[id] {
				continue
			}
			met[id] = true
			p.seen(e, open)
		}
		last := page[len(page)-1]
		switch {
		case page[0].Triggered.Before(last.Triggered.Time):
			return true, nil // oldest first, against expectation: it is read to its end
		case mark.At.IsZero():
			return old < len(page), nil // a long run may be among older ones
		}
		return !last.newest().Before(from), nil // and long runs are known by Open
	})
	if err != nil {
		return err
	}
	if err := p.reopen(ctx, open, met); err != nil {
		return err
	}
	ids := slices.Sorted(maps.Keys(open))
	p.mark.Jobs[job] = spaceJobMark{At: newest, Open: ids[:min(len(ids), maxSpaceOpen)]}
	return nil
}

// seen adds an execution, and notes whether it has ended.
func (p *spacePoll) seen(e spaceExecution, open map[string]bool) {
	run := p.space.runOf(e)
	p.facts = append(p.facts, Fact{Run: &run})
	if run.Status.Final() {
		delete(open, run.ID)
	} else {
		open[run.ID] = true
	}
}

// reopen asks for the open runs that the pages did not show.
func (p *spacePoll) reopen(ctx context.Context, open, met map[string]bool) error {
	for _, id := range slices.Sorted(maps.Keys(open)) {
		if met[id] || !spaceID.MatchString(id) {
			continue
		}
		var e spaceExecution
		err := p.get(ctx, "projects/automation/graph-executions/"+id, url.Values{"$fields": {spaceRunFields}}, &e)
		switch {
		case errors.Is(err, ErrNotFound): // deleted: how it ended is not to be had
			delete(open, id)
		case err != nil:
			return err
		case string(e.ID) == id:
			p.seen(e, open)
		}
	}
	return nil
}

// repository reads commits until a whole page is older than the mark, or nothing if
// the list begins as it did. Commits that are old when they are pushed may be
// missed: Commit finds them, by the runs that name them.
func (p *spacePoll) repository(ctx context.Context, project SpaceProject, name string) error {
	full := project.Key + "/" + name
	mark := p.mark.Repositories[full]
	from, next := p.from(mark.At), spaceRepoMark{At: mark.At}
	query := url.Values{"$fields": {"next,data(" + spaceCommitFields + ")"}}
	err := spacePages(ctx, p, spaceRepositoryPath(project.Key, name)+"/commits", query, func(page []spaceCommit, _ http.Header) (bool, error) {
		if next.Head == "" {
			if next.Head = string(page[0].ID); next.Head == mark.Head {
				return false, nil
			}
		}
		old := 0
		for _, c := range page {
			commit := c.answered(project.Key, name)
			if commit.SHA != "" {
				p.facts = append(p.facts, Fact{Commit: &commit})
			}
			if commit.Committed.Before(from) {
				old++
			}
			next.At = p.seenUntil(next.At, commit.Committed)
		}
		newestFirst := !page[0].Committed.Before(page[len(page)-1].Committed.Time)
		return old < len(page) || !newestFirst, nil
	})
	if err != nil {
		return err
	}
	p.mark.Repositories[full] = next
	return nil
}
