package citest

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// GitLab is a fake GitLab: projects, pipelines, jobs, merge requests and commits by
// the REST API (docs.gitlab.com/api), and the webhooks of pipelines, jobs and pushes
// as gitlabhq builds them (lib/gitlab/data_builder).
//
// Its world goes by its clock: a pipeline and its jobs wait, run or have ended as
// their times say, and one that is yet to be made is not there.
type GitLab struct {
	Fake

	// Token is the access token that a client has to send.
	Token string
	// Clock is the server's; nil is the machine's. It is read once a request.
	Clock func() time.Time
	// URL is what it believes that its own address is.
	URL string
	// Secret is the secret token of its webhooks; "" sends none.
	Secret string
	// SigningKey signs its webhooks; nil signs none.
	SigningKey []byte
	// Old leaves out of a job's webhook what older servers do not send: project.
	Old bool

	world     sync.Mutex
	projects  []GitLabProject
	pipelines map[int64]GitLabPipeline
	requests  []GitLabMergeRequest
	commits   []GitLabCommit
}

// GitLabProject is a project, by its full path.
type GitLabProject struct {
	ID     int64
	Path   string
	ForkOf string // path
	// Stranger: the client's account is no member, and may see it all the same.
	Stranger bool
}

// GitLabPipeline is one pipeline, by its whole life.
type GitLabPipeline struct {
	ID, IID                    int64
	Project                    string // path of the project that it runs in
	Ref, SHA                   string // a merge request's Ref is refs/merge-requests/IID/head
	Tag                        bool
	MergeRequest               int64 // IID
	Source, User               string
	Status                     string    // in the end: success, failed, canceled, skipped
	Created, Started, Finished time.Time // zero: not yet
	Jobs                       []GitLabJob
}

// GitLabJob is one job of a pipeline.
type GitLabJob struct {
	ID                int64
	Name, User        string
	Runner            int64
	Status            string // in the end
	Retried           bool   // another job has taken its place
	Started, Finished time.Time
}

// GitLabMergeRequest says where a merge request's commits come from.
type GitLabMergeRequest struct {
	Project       string
	IID           int64
	SourceProject string // "" has been deleted
	SourceBranch  string
}

// GitLabCommit is a commit. Signature is its verification_status; "" has none.
type GitLabCommit struct {
	Project, SHA, Message         string
	Author, AuthorEmail           string
	Committer, Signature          string
	Authored, Committed           time.Time
	Branch                        string // that it was pushed to
	SignatureForbidden, Forbidden bool
}

// Put adds pipelines; each takes the place of the one with its id.
func (g *GitLab) Put(pipelines ...GitLabPipeline) {
	g.world.Lock()
	defer g.world.Unlock()
	if g.pipelines == nil {
		g.pipelines = make(map[int64]GitLabPipeline)
	}
	for _, pipeline := range pipelines {
		g.pipelines[pipeline.ID] = pipeline
	}
}

// PutProject adds projects.
func (g *GitLab) PutProject(projects ...GitLabProject) {
	g.world.Lock()
	defer g.world.Unlock()
	g.projects = append(g.projects, projects...)
}

// PutMergeRequest adds merge requests.
func (g *GitLab) PutMergeRequest(requests ...GitLabMergeRequest) {
	g.world.Lock()
	defer g.world.Unlock()
	g.requests = append(g.requests, requests...)
}

// PutCommit adds commits.
func (g *GitLab) PutCommit(commits ...GitLabCommit) {
	g.world.Lock()
	defer g.world.Unlock()
	g.commits = append(g.commits, commits...)
}

func (g *GitLab) now() time.Time {
	if g.Clock == nil {
		return time.Now().UTC()
	}
	return g.Clock().UTC()
}

// ServeHTTP answers the REST API.
func (g *GitLab) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.Serve(w, r, g.answer) }

// gitlabAsked is a request, taken apart.
type gitlabAsked struct {
	w     http.ResponseWriter
	r     *http.Request
	query url.Values
	now   time.Time
	path  []string // below /api/v4, each part unescaped
}

func (g *GitLab) answer(w http.ResponseWriter, r *http.Request) {
	asked := gitlabAsked{w: w, r: r, query: r.URL.Query(), now: g.now()}
	w.Header().Set("Date", asked.now.Format(http.TimeFormat))
	if r.Method != http.MethodGet {
		g.Violate("%s %s: only GET is needed", r.Method, r.URL.Path)
	}
	if r.Header.Get("PRIVATE-TOKEN") != g.Token {
		g.fail(asked, http.StatusUnauthorized, "401 Unauthorized")
		return
	}
	for _, part := range strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/api/v4/"), "/") {
		text, _ := url.PathUnescape(part)
		asked.path = append(asked.path, text)
	}
	g.world.Lock()
	defer g.world.Unlock()
	if len(asked.path) == 1 && asked.path[0] == "projects" {
		g.listProjects(asked)
		return
	}
	if len(asked.path) < 2 || asked.path[0] != "projects" {
		g.unknown(asked)
		return
	}
	at := slices.IndexFunc(g.projects, func(p GitLabProject) bool {
		return p.Path == asked.path[1] || strconv.FormatInt(p.ID, 10) == asked.path[1]
	})
	if at < 0 {
		g.fail(asked, http.StatusNotFound, "404 Project Not Found")
		return
	}
	g.inProject(asked, g.projects[at])
}

func (g *GitLab) inProject(asked gitlabAsked, project GitLabProject) {
	rest := asked.path[2:]
	switch {
	case len(rest) == 0:
		reply(asked.w, g.projectREST(project))
	case len(rest) == 1 && rest[0] == "pipelines":
		g.listPipelines(asked, project)
	case len(rest) == 2 && rest[0] == "pipelines":
		if pipeline, ok := g.find(asked, project, rest[1]); ok {
			reply(asked.w, pipeline.rest(asked.now))
		}
	case len(rest) == 3 && rest[0] == "pipelines" && rest[2] == "jobs":
		g.listJobs(asked, project, rest[1])
	case len(rest) == 2 && rest[0] == "merge_requests":
		g.mergeRequest(asked, project, rest[1])
	case len(rest) >= 3 && rest[0] == "repository" && rest[1] == "commits":
		g.commit(asked, project, rest[2:])
	default:
		g.unknown(asked)
	}
}

func (g *GitLab) fail(asked gitlabAsked, status int, message string) {
	asked.w.Header().Set("Content-Type", "application/json")
	asked.w.WriteHeader(status)
	fmt.Fprintf(asked.w, `{"message":%q}`, message)
}

func (g *GitLab) unknown(asked gitlabAsked) {
	g.Violate("GET %s: no such call", asked.r.URL.EscapedPath())
	g.fail(asked, http.StatusNotFound, "404 Not Found")
}

func (g *GitLab) projectREST(p GitLabProject) map[string]any {
	project := map[string]any{"id": p.ID, "path_with_namespace": p.Path, "web_url": g.URL + "/" + p.Path}
	if at := slices.IndexFunc(g.projects, func(o GitLabProject) bool { return o.Path == p.ForkOf }); at >= 0 {
		project["forked_from_project"] = map[string]any{"id": g.projects[at].ID, "path_with_namespace": p.ForkOf}
	}
	return project
}

// listProjects pages by keyset: the next page is named by the header Link alone.
func (g *GitLab) listProjects(asked gitlabAsked) {
	for name, want := range map[string]string{"membership": "true", "pagination": "keyset", "order_by": "id", "sort": "asc"} {
		if asked.query.Get(name) != want {
			g.Violate("projects: %s is %q, want %q", name, asked.query.Get(name), want)
		}
	}
	after, _ := strconv.ParseInt(asked.query.Get("id_after"), 10, 64)
	size := g.perPage(asked)
	page := []any{}
	projects := slices.SortedFunc(slices.Values(g.projects), func(a, b GitLabProject) int { return cmp.Compare(a.ID, b.ID) })
	for _, project := range projects {
		if project.Stranger || project.ID <= after {
			continue
		}
		if len(page) == size {
			next := asked.r.URL.Query()
			next.Set("id_after", fmt.Sprint(page[size-1].(map[string]any)["id"]))
			asked.w.Header().Set("Link", fmt.Sprintf(`<%s/api/v4/projects?%s>; rel="next"`, g.URL, next.Encode()))
			break
		}
		page = append(page, g.projectREST(project))
	}
	reply(asked.w, page)
}

func (g *GitLab) perPage(asked gitlabAsked) int {
	size, err := strconv.Atoi(asked.query.Get("per_page"))
	if err != nil || size < 1 || size > 100 {
		g.Violate("%s: per_page is %q: GitLab gives 20 then, or 100", asked.r.URL.Path, asked.query.Get("per_page"))
		return 20
	}
	return size
}

// paged answers with one page of a list, and the headers of paging by offset.
func (g *GitLab) paged(asked gitlabAsked, all []any) {
	size := g.perPage(asked)
	number, err := strconv.Atoi(cmp.Or(asked.query.Get("page"), "1"))
	if err != nil || number < 1 {
		g.Violate("%s: page is %q", asked.r.URL.Path, asked.query.Get("page"))
		number = 1
	}
	start := min((number-1)*size, len(all))
	end := min(start+size, len(all))
	header := asked.w.Header()
	header.Set("X-Page", strconv.Itoa(number))
	header.Set("X-Per-Page", strconv.Itoa(size))
	header.Set("X-Next-Page", "")
	if end < len(all) {
		header.Set("X-Next-Page", strconv.Itoa(number+1))
	}
	reply(asked.w, append([]any{}, all[start:end]...))
}

func (g *GitLab) find(asked gitlabAsked, project GitLabProject, id string) (GitLabPipeline, bool) {
	number, err := strconv.ParseInt(id, 10, 64)
	pipeline, ok := g.pipelines[number]
	if err != nil || !ok || pipeline.Project != project.Path || pipeline.status(asked.now) == "" {
		g.fail(asked, http.StatusNotFound, "404 Not found")
		return GitLabPipeline{}, false
	}
	return pipeline, true
}

func (g *GitLab) listPipelines(asked gitlabAsked, project GitLabProject) {
	after, err := time.Parse(time.RFC3339, asked.query.Get("updated_after"))
	if err != nil {
		g.Violate("pipelines: updated_after is %q", asked.query.Get("updated_after"))
	}
	if asked.query.Get("order_by") != "updated_at" || asked.query.Get("sort") != "asc" {
		g.Violate("pipelines: only in the order of changes, the oldest first, does none slip through: %s", asked.r.URL.RawQuery)
	}
	var found []GitLabPipeline
	for _, pipeline := range g.pipelines {
		child := pipeline.Source == "parent_pipeline"
		if pipeline.Project == project.Path && pipeline.status(asked.now) != "" && pipeline.updated(asked.now).After(after) &&
			child == (asked.query.Get("source") == "parent_pipeline") {
			found = append(found, pipeline)
		}
	}
	slices.SortFunc(found, func(a, b GitLabPipeline) int {
		return cmp.Or(a.updated(asked.now).Compare(b.updated(asked.now)), cmp.Compare(a.ID, b.ID))
	})
	list := make([]any, 0, len(found))
	for _, pipeline := range found {
		whole, basic := pipeline.rest(asked.now), map[string]any{}
		for _, name := range []string{"id", "iid", "sha", "ref", "status", "source", "created_at", "updated_at", "web_url"} {
			basic[name] = whole[name]
		}
		list = append(list, basic)
	}
	g.paged(asked, list)
}

func (g *GitLab) listJobs(asked gitlabAsked, project GitLabProject, id string) {
	pipeline, ok := g.find(asked, project, id)
	if !ok {
		return
	}
	jobs := []any{}
	for _, job := range pipeline.Jobs {
		if !job.Retried || asked.query.Get("include_retried") == "true" {
			jobs = append(jobs, job.rest(asked.now, gitlabMillis))
		}
	}
	g.paged(asked, jobs)
}

func (g *GitLab) mergeRequest(asked gitlabAsked, project GitLabProject, iid string) {
	for _, request := range g.requests {
		if request.Project == project.Path && strconv.FormatInt(request.IID, 10) == iid {
			reply(asked.w, g.mergeRequestREST(request))
			return
		}
	}
	g.fail(asked, http.StatusNotFound, "404 Not found")
}

func (g *GitLab) commit(asked gitlabAsked, project GitLabProject, rest []string) {
	for _, commit := range g.commits {
		named := strings.HasPrefix(commit.SHA, rest[0]) || commit.Branch == rest[0] // a branch will do as well
		if commit.Project != project.Path || !named {
			continue
		}
		switch signature := len(rest) == 2 && rest[1] == "signature"; {
		case commit.Forbidden || signature && commit.SignatureForbidden:
			g.fail(asked, http.StatusForbidden, "403 Forbidden")
		case signature && commit.Signature == "":
			g.fail(asked, http.StatusNotFound, "404 Signature Not Found")
		case signature:
			reply(asked.w, map[string]any{"signature_type": "PGP", "verification_status": commit.Signature})
		default:
			reply(asked.w, commit.rest())
		}
		return
	}
	g.fail(asked, http.StatusNotFound, "404 Commit Not Found")
}
