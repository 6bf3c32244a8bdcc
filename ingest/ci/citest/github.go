package citest

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// GitHub is a fake of GitHub's REST API (version 2022-11-28) and of its webhooks,
// from https://docs.github.com/en/rest and /en/webhooks. Fill the fields before it
// serves, or between Lock and Unlock. It takes the path with and without the
// prefix /api/v3 of an Enterprise Server.
type GitHub struct {
	Fake

	world   sync.Mutex // guards what follows
	Runs    []GitHubRun
	Commits []GitHubCommit
	Tags    map[string]string // "OWNER/NAME v1.0": the sha that it is at; "" for an annotated tag

	// At is when the world is looked at; zero: when all is over.
	At time.Time
	// Token is what Authorization must carry, "" with App: the one given out last.
	Token string
	// App is the public key of the app, AppID its id; nil: there is none.
	App   *rsa.PublicKey
	AppID string
	// Skew is GitHub's clock less this machine's.
	Skew time.Duration
	// Page bounds per_page, to have more pages; 0: 100.
	Page int
	// Most bounds a filtered list of runs over all its pages; 0: 1,000.
	Most int

	given int // tokens to the app
}

// Lock and Unlock are for changing the world while it is served.
func (g *GitHub) Lock() { g.world.Lock() }

// Unlock ends what Lock began.
func (g *GitHub) Unlock() { g.world.Unlock() }

// ServeHTTP answers the API.
func (g *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", time.Now().Add(g.Skew).UTC().Format(http.TimeFormat))
	g.Serve(w, r, g.answer)
}

func (g *GitHub) now() time.Time {
	if g.At.IsZero() {
		return time.Unix(1<<40, 0)
	}
	return g.At
}

func (g *GitHub) answer(w http.ResponseWriter, r *http.Request) {
	g.world.Lock()
	defer g.world.Unlock()
	for name, want := range map[string]string{"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"} {
		if have := r.Header.Get(name); have != want {
			g.Violate("%s %s: header %s is %q, want %q", r.Method, r.URL, name, have, want)
		}
	}
	if r.UserAgent() == "" {
		g.Violate("%s %s: no User-Agent", r.Method, r.URL)
	}
	path := strings.Split(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/api/v3"), "/"), "/")
	if len(path) == 4 && path[0] == "app" && path[3] == "access_tokens" {
		g.giveToken(w, r)
		return
	}
	if g.Token == "" || r.Header.Get("Authorization") != "Bearer "+g.Token {
		githubError(w, http.StatusUnauthorized, "Bad credentials")
		return
	}
	if r.Method != http.MethodGet {
		g.Violate("%s %s: haptrail only reads", r.Method, r.URL)
	}
	if len(path) < 5 || path[0] != "repos" {
		g.Violate("%s %s: no such call", r.Method, r.URL)
		githubError(w, http.StatusNotFound, "Not Found")
		return
	}
	repository, rest := path[1]+"/"+path[2], path[3:]
	switch {
	case rest[0] == "actions" && rest[1] == "runs" && len(rest) == 2:
		g.listRuns(w, r, repository)
	case rest[0] == "actions" && rest[1] == "runs":
		g.run(w, r, repository, rest[2:])
	case rest[0] == "commits" && len(rest) == 2:
		if commit := g.commit(repository, rest[1]); commit != nil {
			githubReply(w, commit.shape())
			return
		}
		githubError(w, http.StatusUnprocessableEntity, "No commit found for SHA: "+rest[1])
	case rest[0] == "git" && rest[1] == "ref" && len(rest) > 3 && rest[2] == "tags":
		name := strings.Join(rest[3:], "/")
		sha, ok := g.Tags[repository+" "+name]
		kind := "commit"
		if sha == "" {
			sha, kind = strings.Repeat("e", 40), "tag"
		}
		if !ok {
			githubError(w, http.StatusNotFound, "Not Found")
			return
		}
		githubReply(w, githubObject{"ref": "refs/tags/" + name, "object": githubObject{"type": kind, "sha": sha}})
	default:
		g.Violate("%s %s: no such call", r.Method, r.URL)
		githubError(w, http.StatusNotFound, "Not Found")
	}
}

// run answers what is below one run.
func (g *GitHub) run(w http.ResponseWriter, r *http.Request, repository string, path []string) {
	now := g.now()
	i := slices.IndexFunc(g.Runs, func(run GitHubRun) bool {
		return run.Repository == repository && strconv.FormatUint(run.ID, 10) == path[0] && run.latestAttempt(now) > 0
	})
	if i < 0 {
		githubError(w, http.StatusNotFound, "Not Found")
		return
	}
	run := &g.Runs[i]
	newest := run.latestAttempt(now)
	switch {
	case len(path) == 1:
		githubReply(w, g.shape(run, newest, now))
	case len(path) == 3 && path[1] == "attempts":
		number, err := strconv.Atoi(path[2])
		if err != nil || number < 1 || number > newest {
			githubError(w, http.StatusNotFound, "Not Found")
			return
		}
		githubReply(w, g.shape(run, number, now))
	case len(path) == 2 && path[1] == "jobs":
		g.listJobs(w, r, run, newest)
	case len(path) == 2 && path[1] == "approvals":
		reviews := []githubObject{}
		for _, attempt := range run.Attempts[:newest] {
			if attempt.Approver != "" && !now.Before(attempt.Ran) {
				reviews = append(reviews, githubObject{"state": "approved", "comment": "ok", "user": githubObject{"login": attempt.Approver}, "environments": []githubObject{{"name": "production"}}})
			}
		}
		githubReply(w, reviews)
	default:
		g.Violate("%s %s: no such call", r.Method, r.URL)
		githubError(w, http.StatusNotFound, "Not Found")
	}
}

func (g *GitHub) listJobs(w http.ResponseWriter, r *http.Request, run *GitHubRun, newest int) {
	jobs := []githubObject{}
	for i, attempt := range run.Attempts[:newest] {
		if r.URL.Query().Get("filter") != "all" && i+1 < newest {
			continue
		}
		for _, job := range attempt.Jobs {
			if !g.now().Before(job.Began) {
				jobs = append(jobs, job.shape(run, i+1, g.now()))
			}
		}
	}
	g.page(w, r, "jobs", jobs, len(jobs))
}

func (g *GitHub) listRuns(w http.ResponseWriter, r *http.Request, repository string) {
	from, to, ok := githubCreated(r.URL.Query().Get("created"))
	if !ok {
		g.Violate("%s %s: created is no range of dates", r.Method, r.URL)
	}
	var runs []*GitHubRun
	for i := range g.Runs {
		run := &g.Runs[i]
		made := run.Attempts[0].Began
		if run.Repository == repository && run.latestAttempt(g.now()) > 0 && !made.Before(from) && (to.IsZero() || !made.After(to)) {
			runs = append(runs, run)
		}
	}
	slices.SortStableFunc(runs, func(a, b *GitHubRun) int { return b.Attempts[0].Began.Compare(a.Attempts[0].Began) })
	shapes := make([]githubObject, len(runs))
	for i, run := range runs {
		shapes[i] = g.shape(run, run.latestAttempt(g.now()), g.now())
	}
	most := g.Most
	if most == 0 {
		most = 1000
	}
	g.page(w, r, "workflow_runs", shapes[:min(len(shapes), most)], len(shapes))
}

// githubCreated reads ">=TIME" or "TIME..TIME".
func githubCreated(text string) (from, to time.Time, ok bool) {
	if after, found := strings.CutPrefix(text, ">="); found {
		from, err := time.Parse(time.RFC3339, after)
		return from, time.Time{}, err == nil
	}
	first, last, found := strings.Cut(text, "..")
	from, err := time.Parse(time.RFC3339, first)
	to, err2 := time.Parse(time.RFC3339, last)
	return from, to, found && err == nil && err2 == nil
}

// page answers with one page of a list, and a Link to the next.
func (g *GitHub) page(w http.ResponseWriter, r *http.Request, name string, all []githubObject, total int) {
	query := r.URL.Query()
	size, err := strconv.Atoi(query.Get("per_page"))
	if err != nil || size < 1 || size > 100 {
		g.Violate("%s %s: per_page is not 1 to 100", r.Method, r.URL)
		size = 30
	}
	if g.Page > 0 {
		size = min(size, g.Page)
	}
	number, _ := strconv.Atoi(query.Get("page"))
	number = max(number, 1)
	start, end := min((number-1)*size, len(all)), min(number*size, len(all))
	if end < len(all) {
		query.Set("page", strconv.Itoa(number+1))
		next := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: query.Encode()}
		query.Set("page", "1")
		first := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: query.Encode()}
		w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="first", <%s>; rel="next"`, &first, &next))
	}
	githubReply(w, githubObject{"total_count": total, name: all[start:end]})
}

func (g *GitHub) commit(repository, sha string) *GitHubCommit {
	for i := range g.Commits {
		if g.Commits[i].Repository == repository && g.Commits[i].SHA == sha {
			return &g.Commits[i]
		}
	}
	return nil
}

// giveToken answers "Create an installation access token for an app".
func (g *GitHub) giveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		g.Violate("%s %s: POST it", r.Method, r.URL)
	}
	now := time.Now().Add(g.Skew)
	signed, err := jwt.ParseSigned(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), []jose.SignatureAlgorithm{jose.RS256})
	var claims jwt.Claims
	switch {
	case g.App == nil || err != nil || signed.Claims(g.App, &claims) != nil || claims.Issuer != g.AppID:
		githubError(w, http.StatusUnauthorized, "A JSON web token could not be decoded")
		return
	case claims.IssuedAt == nil || claims.Expiry == nil || claims.IssuedAt.Time().After(now):
		githubError(w, http.StatusUnauthorized, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
		return
	case claims.Expiry.Time().After(now.Add(10*time.Minute)) || claims.Expiry.Time().Before(now):
		githubError(w, http.StatusUnauthorized, "'Expiration time' claim ('exp') is too far in the future")
		return
	}
	g.given++
	g.Token = fmt.Sprintf("ghs_%036d", g.given)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusCreated)
	githubReply(w, githubObject{"token": g.Token, "expires_at": githubStamp(now.Add(time.Hour)), "permissions": githubObject{"actions": "read"}})
}

func githubReply(w http.ResponseWriter, shape any) {
	text, err := json.Marshal(shape)
	if err != nil {
		panic("citest: internal error: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(text)
}

func githubError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"message":%q,"documentation_url":"https://docs.github.com/rest"}`, message)
}
