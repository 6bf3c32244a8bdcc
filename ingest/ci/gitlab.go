package ci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// gitlabProvider is the provider's name in edge/provider's table.
const gitlabProvider = "gitlab"

// GitLabConfig says where a GitLab is and what may be read from it.
type GitLabConfig struct {
	// URL is the instance's, with a relative root if it has one, such as
	// https://gitlab.com. http is for a loopback host only.
	URL string
	// Token is a personal, group or project access token with the scope read_api, of
	// an account with the role Reporter where runs are to be known; nothing more.
	Token Secret
	// Projects are the paths of the projects to poll, such as group/app. Empty: all
	// that the account is a member of. A poll makes two calls a project, and up to
	// six for a pipeline that is new or has changed.
	Projects []string
	// WebhookSecrets are the secret tokens of its webhooks (X-Gitlab-Token). Any will
	// do: there are two while one is rotated.
	WebhookSecrets []Secret
	// SigningTokens are those of webhooks that GitLab signs, such as whsec_...
	// Where there is one, every delivery has to be signed, and the secret tokens do
	// not count: a secret that is sent along can be stolen and used again.
	SigningTokens []Secret
	// Window is by how much the time of a signed delivery may differ from ours;
	// default 5 minutes. Unconfirmed: that GitLab signs anew what it sends again.
	Window time.Duration
	// HTTP makes the requests; nil is a client with a time limit of 30 s. It does not
	// follow redirects to another host.
	HTTP *http.Client
	// Pause waits between two tries; nil is by the clock.
	Pause func(ctx context.Context, d time.Duration) error
}

// GitLab is one GitLab instance as a Source. It is safe for concurrent use.
//
// A pipeline is a run: its ID is the claim pipeline_id, its Ref the claim ref_path,
// and its Project the claim project_path, which for a merge request from a fork is
// the fork, though the pipeline is the parent's. There are no attempts: a job that
// is run again is of the same pipeline, which then goes on after its end. Agent is a
// runner's id, as the claim runner_id; a pipeline whose jobs had several names one
// of them. Approver is somebody else than Actor who started one of its jobs: played
// a manual one, or ran one again. Job is not said: the API does not tell which file
// a pipeline came from. Accounts are not read: that takes a maintainer's token.
type GitLab struct {
	config GitLabConfig
	client *Client

	mu      sync.Mutex              // guards what follows
	origins map[string]gitlabOrigin // of merge requests, by project and number: they never change
	paths   map[string]string       // of projects, by id
}

var _ Source = (*GitLab)(nil)

const (
	defaultGitLabWindow = 5 * time.Minute
	maxGitLabOrigins    = 10_000 // then they are forgotten, and asked for again
	gitlabHookWait      = 5 * time.Second
)

// gitlabPath is a project's path: two or more names.
var gitlabPath = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)+$`)

// NewGitLab checks a configuration. It makes no call.
func NewGitLab(config GitLabConfig) (*GitLab, error) {
	base, err := checkBase("gitlab: url", config.URL)
	if err != nil {
		return nil, err
	}
	if config.Window < 0 {
		return nil, fmt.Errorf("gitlab: window %v: write a time above 0, or none for %v", config.Window, defaultGitLabWindow)
	}
	if config.Window == 0 {
		config.Window = defaultGitLabWindow
	}
	for _, path := range config.Projects {
		if !isGitLabPath(path) {
			return nil, fmt.Errorf("gitlab: project %q: write its path, such as group/app", path)
		}
	}
	if slices.ContainsFunc(slices.Concat(config.WebhookSecrets, config.SigningTokens), func(s Secret) bool { return s == nil }) {
		return nil, errors.New("gitlab: webhook: a secret is nil: leave it out of the list")
	}
	config.URL, config.Projects = base, slices.Clone(config.Projects)
	g := &GitLab{config: config, origins: make(map[string]gitlabOrigin), paths: make(map[string]string)}
	g.client = &Client{Base: base + "/api/v4", HTTP: stayHome(config.HTTP), Authorize: g.authorize, Pause: config.Pause}
	return g, nil
}

// String names the instance.
func (g *GitLab) String() string { return gitlabProvider + " " + g.config.URL }

func (g *GitLab) authorize(_ context.Context, r *http.Request, _ bool) error {
	if g.config.Token == nil {
		return fmt.Errorf("%w: gitlab: no token is configured", ErrRefused)
	}
	token, err := g.config.Token()
	if err != nil {
		return fmt.Errorf("gitlab: token: %w", err)
	}
	r.Header.Set("PRIVATE-TOKEN", token)
	return nil
}

func isGitLabPath(path string) bool {
	return len(path) <= 1024 && gitlabPath.MatchString(path) && !slices.Contains(strings.Split(path, "/"), "..")
}

// projectPath is the API's path of a project, which is named by its path or its id.
func projectPath(project string, rest ...string) string {
	return strings.Join(append([]string{"projects", url.PathEscape(project)}, rest...), "/")
}

// Run looks a pipeline up by the claims project_path and pipeline_id. Where a fork
// has no such pipeline, it may be its parent's, for a merge request: a pipeline's id
// is unique in an instance. The run has the project that was asked for.
func (g *GitLab) Run(ctx context.Context, project, run string) (Run, error) {
	if !isNumber(run) || !isGitLabPath(project) {
		return Run{}, fmt.Errorf("gitlab: pipeline %.40q of %.80q: %w: a number and a project's path are asked for", run, project, ErrNotFound)
	}
	found, err := g.pipeline(ctx, project, run)
	if err == nil {
		found.Project = project
		return found, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return Run{}, err
	}
	var fork struct {
		From struct {
			Path string `json:"path_with_namespace"`
		} `json:"forked_from_project"`
	}
	if _, forkErr := g.client.Get(ctx, projectPath(project), nil, &fork); forkErr != nil || !isGitLabPath(fork.From.Path) {
		if forkErr != nil && !errors.Is(forkErr, ErrNotFound) {
			err = forkErr
		}
		return Run{}, err
	}
	found, err = g.pipeline(ctx, fork.From.Path, run)
	if err != nil {
		return Run{}, err
	}
	if found.Project != project {
		return Run{}, fmt.Errorf("gitlab: pipeline %s: %w: it is of another project than %.80q", run, ErrNotFound, project)
	}
	return found, nil
}

// Commit looks a commit up, and its signature. repository is a project's path.
func (g *GitLab) Commit(ctx context.Context, repository, sha string) (Commit, error) {
	if !isRevision(sha) || len(sha) < 7 || !isGitLabPath(repository) {
		return Commit{}, fmt.Errorf("gitlab: commit %.80q of %.80q: %w: a sha and a project's path are asked for", sha, repository, ErrNotFound)
	}
	sha = strings.ToLower(sha)
	path := projectPath(repository, "repository", "commits", sha)
	var answer gitlabCommit
	if _, err := g.client.Get(ctx, path, nil, &answer); err != nil {
		return Commit{}, err
	}
	commit := answer.commit(repository)
	if !strings.HasPrefix(commit.SHA, sha) { // it is the name of a branch as well
		return Commit{}, fmt.Errorf("gitlab: commit %s: %w", sha, ErrNotFound)
	}
	var signature struct {
		Status string `json:"verification_status"`
	}
	header, err := g.client.Get(ctx, path+"/signature", nil, &signature)
	switch {
	case errors.Is(err, ErrNotFound):
		commit.Signature = "none"
	case err != nil:
		return Commit{}, err
	default:
		commit.Signature = gitlabSignature(signature.Status)
	}
	commit.Checked = serverTime(header) // a key is revoked long after the commit
	return commit, nil
}

// gitlabOrigin is where the commits of a merge request come from.
type gitlabOrigin struct{ project, branch string }

// originOf asks where a merge request's commits come from.
func (g *GitLab) originOf(ctx context.Context, project, number string) (gitlabOrigin, error) {
	g.mu.Lock()
	origin, ok := g.origins[project+"!"+number]
	g.mu.Unlock()
	if ok {
		return origin, nil
	}
	var request gitlabMergeRequest
	if _, err := g.client.Get(ctx, projectPath(project, "merge_requests", number), nil, &request); err != nil {
		return gitlabOrigin{}, err
	}
	origin, err := g.resolve(ctx, project, request)
	if err != nil {
		return gitlabOrigin{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.origins) >= maxGitLabOrigins {
		clear(g.origins)
	}
	g.origins[project+"!"+number] = origin
	return origin, nil
}

// resolve is originOf for a merge request whose fields are known.
func (g *GitLab) resolve(ctx context.Context, project string, request gitlabMergeRequest) (gitlabOrigin, error) {
	origin := gitlabOrigin{project: project, branch: request.SourceBranch}
	id := string(request.SourceProjectID)
	if id == "" || id == string(request.TargetProjectID) {
		return origin, nil // also where the fork has been deleted
	}
	g.mu.Lock()
	path, ok := g.paths[id]
	g.mu.Unlock()
	if !ok {
		var fork gitlabProject
		if _, err := g.client.Get(ctx, projectPath(id), nil, &fork); err != nil {
			return gitlabOrigin{}, err
		}
		if path = fork.Path; !isGitLabPath(path) {
			return gitlabOrigin{}, fmt.Errorf("gitlab: project %s: %w: the answer has no path", id, ErrMalformed)
		}
		g.mu.Lock()
		if len(g.paths) >= maxGitLabOrigins {
			clear(g.paths)
		}
		g.paths[id] = path
		g.mu.Unlock()
	}
	origin.project = path
	return origin, nil
}
