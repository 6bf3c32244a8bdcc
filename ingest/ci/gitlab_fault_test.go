package ci_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

func TestNewGitLabRefuses(t *testing.T) {
	for _, fault := range []struct {
		name   string
		change func(*ci.GitLabConfig)
		says   string
	}{
		{"no URL", func(c *ci.GitLabConfig) { c.URL = "" }, "https://HOST"},
		{"no TLS", func(c *ci.GitLabConfig) { c.URL = "http://gitlab.example.com" }, "use https"},
		{"another scheme", func(c *ci.GitLabConfig) { c.URL = "ftp://localhost" }, "use https"},
		{"a token in the URL", func(c *ci.GitLabConfig) { c.URL = "https://oauth2:hunter2-4485@gitlab.example.com" }, "take the user out"},
		{"a project's number", func(c *ci.GitLabConfig) { c.Projects = []string{"20"} }, "group/app"},
		{"a way up", func(c *ci.GitLabConfig) { c.Projects = []string{"a/../b"} }, "group/app"},
		{"a negative window", func(c *ci.GitLabConfig) { c.Window = -time.Second }, "above 0"},
		{"a secret that is nil", func(c *ci.GitLabConfig) { c.WebhookSecrets = []ci.Secret{nil} }, "is nil"},
		{"a signing token that is nil", func(c *ci.GitLabConfig) { c.SigningTokens = []ci.Secret{nil} }, "is nil"},
	} {
		config := ci.GitLabConfig{URL: "https://gitlab.example.com"}
		fault.change(&config)
		_, err := ci.NewGitLab(config)
		if err == nil || !strings.Contains(err.Error(), fault.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want an error that says %q", fault.name, err, fault.says)
		}
	}
	source, err := ci.NewGitLab(ci.GitLabConfig{URL: "https://gitlab.example.com/git/", Token: ci.SecretValue("hunter2-4485")})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v", source); text != "gitlab https://gitlab.example.com/git" {
		t.Errorf("printed as %q", text)
	}
}

// TestGitLabFaults: what mends itself is tried again, and the rest is an error of its
// class; the poll after it goes on where it broke off.
func TestGitLabFaults(t *testing.T) {
	for _, fault := range []struct {
		name   string
		fault  citest.Fault
		is     error // nil: the poll succeeds
		runs   int   // that are known by then
		pauses []time.Duration
	}{
		{"401", citest.Fault{Status: 401}, ci.ErrRefused, 0, nil},
		{"403", citest.Fault{Status: 403}, ci.ErrRefused, 0, nil},
		{"429 once", citest.Fault{Status: 429, Times: 1}, nil, 9, []time.Duration{time.Second}},
		{"429 with Retry-After", citest.Fault{Status: 429, RetryAfter: "7", Times: 1}, nil, 9, []time.Duration{7 * time.Second}},
		{"502 twice", citest.Fault{Status: 502, Times: 2}, nil, 9, []time.Duration{time.Second, 2 * time.Second}},
		{"JSON that breaks off", citest.Fault{Path: "jobs", Truncate: true, Times: 1}, nil, 9, []time.Duration{time.Second}},
		{"500 from the fourth pipeline on", citest.Fault{Path: "jobs", Status: 500, After: 3}, nil, 3, []time.Duration{1e9, 2e9, 4e9, 8e9}},
		{"the commits are forbidden", citest.Fault{Path: "repository", Status: 403}, ci.ErrRefused, 9, nil},
		{"a merge request is forbidden", citest.Fault{Path: "merge_requests", Status: 403}, nil, 9, nil},
		{"a pipeline was deleted", citest.Fault{Path: "pipelines/575", Status: 404}, nil, 8, nil},
	} {
		fake, _ := gitlabWorld(t)
		source, pauses := gitlabSource(t, fake, func(c *ci.GitLabConfig) { c.Projects = []string{"acme/shop/api"} })
		fake.Fail(fault.fault)
		facts, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
		if broken := fault.fault.Status == 500; fault.is != nil && !errors.Is(err, fault.is) || fault.is == nil && broken != (err != nil) {
			t.Errorf("%s: %v, want %v", fault.name, err, fault.is)
		}
		if seen := converge(facts); len(seen.runs) != fault.runs {
			t.Errorf("%s: %d runs, want %d", fault.name, len(seen.runs), fault.runs)
		}
		if fmt.Sprint(*pauses) != fmt.Sprint(fault.pauses) {
			t.Errorf("%s: paused for %v, want %v", fault.name, *pauses, fault.pauses)
		}
		if err != nil && strings.Contains(err.Error(), gitlabToken) {
			t.Errorf("%s: the error shows the token", fault.name)
		}
		fake.Heal()
		known := len(fake.Requests("/jobs"))
		more, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), cursor)
		if seen := converge(facts, more); err != nil || fault.fault.Status != 404 && fault.fault.Path != "merge_requests" && len(seen.runs) != 9 {
			t.Errorf("%s: healed, %d runs (%v), want 9", fault.name, len(seen.runs), err)
		}
		if asked := len(fake.Requests("/jobs")) - known; fault.runs > 0 && fault.fault.Status != 404 && asked != 9-fault.runs {
			t.Errorf("%s: healed, %d pipelines were asked for, want the %d that are not known", fault.name, asked, 9-fault.runs)
		}
	}
}

func TestGitLabLimit(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	fake.Fail(citest.Fault{Status: 429, RetryAfter: "3600"})
	_, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), `{}`)
	var limit *ci.LimitError
	if !errors.As(err, &limit) || limit.After != time.Hour || cursor != `{}` {
		t.Errorf("%v and the cursor %q, want a LimitError of an hour and the cursor as it was", err, cursor)
	}
}

func TestGitLabSlow(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, pauses := gitlabSource(t, fake, func(c *ci.GitLabConfig) { c.HTTP = &http.Client{Timeout: 20 * time.Millisecond} })
	fake.Fail(citest.Fault{Hang: make(chan struct{})})
	if _, _, err := source.Poll(t.Context(), noon, ""); err == nil || len(*pauses) != 4 {
		t.Errorf("a server that does not answer: %v after %d pauses", err, len(*pauses))
	}
}

// TestGitLabOneProjectIsGone: the others' pipelines are told all the same.
func TestGitLabOneProjectIsGone(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, func(c *ci.GitLabConfig) { c.Projects = []string{"acme/gone", "acme/shop/api"} })
	facts, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	if !errors.Is(err, ci.ErrNotFound) || !strings.Contains(err.Error(), "acme/gone") {
		t.Errorf("%v, want ErrNotFound of the project that is gone", err)
	}
	if seen := converge(facts); len(seen.runs) != 9 {
		t.Errorf("%d runs, want 9", len(seen.runs))
	}
}

// TestGitLabClosesAGap: the server is away for an hour, and then all is told, also
// what was in one state before and is in another now.
func TestGitLabClosesAGap(t *testing.T) {
	fake, now := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	facts, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	fake.Put(citest.GitLabPipeline{
		ID: 581, Project: "acme/shop/api", Ref: "main", SHA: builtSHA, Source: "push", User: "kira", Status: "success",
		Created: part(-30 * time.Minute), Started: part(5 * time.Minute), Finished: part(9 * time.Minute),
	})
	fake.Fail(citest.Fault{Status: 503})
	for range 4 {
		*now = now.Add(15 * time.Minute)
		if _, cursor, err = source.Poll(t.Context(), noon.Add(-time.Hour), cursor); err == nil {
			t.Fatal("a server that fails is no error")
		}
	}
	fake.Heal()
	got, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), cursor)
	seen := converge(facts, got)
	if run := seen.runs["gitlab|acme/shop/api|581|0"]; err != nil || run.Status != ci.Succeeded || !run.Finished.Equal(noon.Add(9*time.Minute)) {
		t.Errorf("after the gap it is %+v (%v)", run, err)
	}
}

func TestGitLabBadCursor(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	for _, cursor := range []string{"x", "null", "[]", `{"a/b":{"after":7}}`} {
		facts, next, err := source.Poll(t.Context(), noon, cursor)
		if err == nil || facts != nil || next != cursor || !strings.Contains(err.Error(), "cursor") {
			t.Errorf("cursor %q: %v, %q", cursor, err, next)
		}
	}
}

// TestGitLabTokenStaysHome: PRIVATE-TOKEN is no header that net/http takes off.
func TestGitLabTokenStaysHome(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("called elsewhere, with %q: %s", r.Header.Get("PRIVATE-TOKEN"), r.URL)
	}))
	defer elsewhere.Close()
	source, _ := gitlabSource(t, http.RedirectHandler(elsewhere.URL, http.StatusFound), nil)
	if _, err := source.Run(t.Context(), "a/b", "1"); err == nil || !strings.Contains(err.Error(), "redirected") {
		t.Errorf("a redirect to another host: %v", err)
	}
	linked, _ := gitlabSource(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("id_after") != "" {
			fmt.Fprint(w, `[]`)
			return
		}
		w.Header().Set("Link", `<`+elsewhere.URL+`/api/v4/projects?id_after=7>; rel="next", <`+elsewhere.URL+`/>; rel="first"`)
		fmt.Fprint(w, `[{"path_with_namespace":"../../admin"}]`)
	}), nil)
	if facts, _, err := linked.Poll(t.Context(), noon, ""); err != nil || facts != nil {
		t.Errorf("a link to another host: %v", err)
	}
}
