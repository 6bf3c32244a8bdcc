package ci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What GitHub's documentation sets.
const (
	githubAPI     = "https://api.github.com"
	githubVersion = "2022-11-28" // X-GitHub-Api-Version: GitHub answers in this version's shapes
	githubPage    = "100"        // per_page, at most
	githubSearch  = 1000         // runs that a filtered list shows at most, over all pages
	githubReruns  = 30 * 24 * time.Hour
)

// githubRemembered is how many commits, and tags, are not asked for again.
const githubRemembered = 8192

// GitHubConfig says how to reach GitHub, or a GitHub Enterprise Server, and how to
// know its webhooks.
type GitHubConfig struct {
	// API is the REST API's URL: https://HOST/api/v3 of an Enterprise Server,
	// https://api.SUBDOMAIN.ghe.com with data residency. Default
	// https://api.github.com.
	API string

	// Webhooks are the secrets of the webhooks. A delivery is genuine when one of
	// them fits: two, while one is rotated. Without any, no delivery is.
	Webhooks []Secret

	// Token is a personal access token, best a fine-grained one that may read
	// Actions, Contents and Metadata (and Deployments with Approvals) of the
	// repositories, and nothing else. Exclusive with App. Without either, the API is
	// not used: Poll, Run and Commit are ErrUnsupported.
	Token Secret
	// App is a GitHub App with the same permissions.
	App *GitHubApp

	// Repositories are polled, as OWNER/NAME. Each costs a call at each poll, and
	// each run that is new or has changed two or three: GitHub allows 5,000 an hour.
	Repositories []string

	// Reruns is for how long after a run was made its re-runs are looked for, which
	// GitHub's list does not show otherwise; later ones are known by webhook only.
	// Default 24 h; GitHub lets people re-run for 30 days.
	Reruns time.Duration

	// Approvals asks also who approved a run's deployments: one more call a run.
	Approvals bool

	// HTTP and Pause are the Client's; both may be nil.
	HTTP  *http.Client
	Pause func(ctx context.Context, d time.Duration) error
}

// GitHub is the Source of GitHub Actions: https://docs.github.com/en/rest/actions,
// https://docs.github.com/en/webhooks. Its Run.Actor is the claim actor: who set
// off the first attempt, and whose rights every attempt has.
type GitHub struct {
	client       Client
	webhooks     []Secret
	token        Secret
	app          *githubApp
	repositories []string
	reruns       time.Duration
	approvals    bool

	commits recent[string, Commit] // by repository and sha; of no SHA where there is none
	refs    recent[string, string] // by repository, name and sha: what they are
}

// NewGitHub checks the configuration; nothing is asked of the server. The errors
// name the field.
func NewGitHub(config GitHubConfig) (*GitHub, error) {
	base, err := checkBase("api", cmp.Or(config.API, githubAPI))
	if err != nil {
		return nil, fmt.Errorf("github: %w", err)
	}
	for _, repository := range config.Repositories {
		if !isGitHubRepository(repository) {
			return nil, fmt.Errorf("github: repositories: %q: write OWNER/NAME", repository)
		}
	}
	if config.Reruns < 0 || config.Reruns > githubReruns {
		return nil, fmt.Errorf("github: reruns: %v is not between 0 and %v", config.Reruns, githubReruns)
	}
	if slices.ContainsFunc(config.Webhooks, func(s Secret) bool { return s == nil }) {
		return nil, errors.New("github: webhooks: a secret is nil")
	}
	if config.Token != nil && config.App != nil {
		return nil, errors.New("github: token and app: configure one of them")
	}
	g := &GitHub{
		webhooks: slices.Clone(config.Webhooks), token: config.Token, repositories: slices.Clone(config.Repositories),
		reruns: cmp.Or(config.Reruns, 24*time.Hour), approvals: config.Approvals,
	}
	g.commits.limit, g.refs.limit = githubRemembered, githubRemembered
	g.client = Client{Base: base, HTTP: config.HTTP, Pause: config.Pause, Authorize: g.authorize}
	if config.App != nil {
		if g.app, err = newGitHubApp(*config.App, g.client); err != nil {
			return nil, fmt.Errorf("github: app: %w", err)
		}
	}
	return g, nil
}

// String names the server.
func (g *GitHub) String() string { return "github " + g.client.Base }

// authorize makes a request one of the API's: see "Authenticating to the REST API"
// and "API Versions" in GitHub's documentation.
func (g *GitHub) authorize(ctx context.Context, r *http.Request, fresh bool) error {
	githubHeaders(r)
	token, err := "", error(nil)
	switch {
	case g.app != nil:
		token, err = g.app.token(ctx, fresh)
	case g.token != nil:
		token, err = g.token()
	default:
		err = fmt.Errorf("%w: configure a token or an app for GitHub's API", ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("github: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

func githubHeaders(r *http.Request) {
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("X-GitHub-Api-Version", githubVersion)
}

// Run looks a run up: project is OWNER/NAME (the claim repository), run is the
// claim run_id, for the latest attempt, or "RUN_ID/RUN_ATTEMPT".
func (g *GitHub) Run(ctx context.Context, project, run string) (Run, error) {
	id, attempt, numbered := strings.Cut(run, "/")
	if !isGitHubRepository(project) || !isNumber(id) || numbered && !isNumber(attempt) {
		return Run{}, fmt.Errorf("github: run %q of %q: %w: want RUN_ID or RUN_ID/RUN_ATTEMPT of OWNER/NAME", run, project, ErrNotFound)
	}
	path := "repos/" + project + "/actions/runs/" + id
	if numbered {
		path += "/attempts/" + attempt
	}
	var found githubRun
	if _, err := g.client.Get(ctx, path, nil, &found); err != nil {
		return Run{}, fmt.Errorf("github: %w", err)
	}
	facts, err := g.detail(ctx, project, found, false)
	if err != nil {
		return Run{}, fmt.Errorf("github: %w", err)
	}
	known := found.run(project)
	for _, fact := range facts {
		if fact.Run != nil && fact.Run.ID == known.ID && fact.Run.Attempt == known.Attempt {
			known = known.Merge(*fact.Run)
		}
	}
	if known.ID == "" {
		return Run{}, fmt.Errorf("github: run %s of %s: %w: the answer has no id", run, project, ErrMalformed)
	}
	return known, nil
}

// Commit looks a commit up, with what GitHub says of its signature.
func (g *GitHub) Commit(ctx context.Context, repository, sha string) (Commit, error) {
	if !isGitHubRepository(repository) || !isRevision(sha) {
		return Commit{}, fmt.Errorf("github: commit %q of %q: %w: want hexadecimal digits, and OWNER/NAME", sha, repository, ErrNotFound)
	}
	var found githubCommit
	_, err := g.client.Get(ctx, "repos/"+repository+"/commits/"+strings.ToLower(sha), nil, &found)
	if odd := new(statusError); errors.As(err, &odd) && (odd.status == http.StatusUnprocessableEntity || odd.status == http.StatusConflict) {
		// 422 "No commit found for SHA", 409 "Git Repository is empty"
		err = fmt.Errorf("%s: %w", odd.target, ErrNotFound)
	}
	if err != nil {
		return Commit{}, fmt.Errorf("github: %w", err)
	}
	if !strings.HasPrefix(strings.ToLower(found.SHA), strings.ToLower(sha)) {
		// a branch may have a name of hexadecimal digits, and GitHub takes either
		return Commit{}, fmt.Errorf("github: commit %s of %s: %w: the answer is another commit", sha, repository, ErrNotFound)
	}
	return found.commit(repository), nil
}

// githubPages asks for a list, page by page as the Link header says (RFC 8288), and
// gives each to take.
func githubPages[T any](ctx context.Context, g *GitHub, path string, query url.Values, take func(T) error) error {
	query.Set("per_page", githubPage)
	for seen := 0; path != ""; seen++ {
		if seen > githubSearch { // a server whose last page names another
			return fmt.Errorf("github: %s: %w: the list has no end", path, ErrMalformed)
		}
		var page T
		header, err := g.client.Get(ctx, path, query, &page)
		if err != nil {
			return fmt.Errorf("github: %w", err)
		}
		if err := take(page); err != nil {
			return err
		}
		path, query = githubNext(header), nil // the link has the query in it
	}
	return nil
}

// githubNext is the URL of rel="next" in a Link header, "" without one.
func githubNext(h http.Header) string {
	rest := strings.Join(h.Values("Link"), ",")
	for {
		_, after, found := strings.Cut(rest, "<")
		target, parameters, closed := strings.Cut(after, ">")
		if !found || !closed {
			return ""
		}
		parameters, _, _ = strings.Cut(parameters, "<")
		for parameter := range strings.SplitSeq(strings.ReplaceAll(parameters, ",", ";"), ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if strings.EqualFold(name, "rel") && slices.Contains(strings.Fields(strings.Trim(value, `"`)), "next") {
				return target
			}
		}
		rest = after[len(target):]
	}
}

// isGitHubRepository reports whether a text is OWNER/NAME, and nothing that a URL
// would read as another path.
func isGitHubRepository(text string) bool {
	owner, name, ok := strings.Cut(text, "/")
	plain := func(part string) bool {
		return part != "" && part != "." && part != ".." && len(part) <= 100 && !strings.ContainsFunc(part, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
		})
	}
	return ok && plain(owner) && plain(name)
}

// githubNumber is a number that names something; 0 names nothing.
func githubNumber(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}
