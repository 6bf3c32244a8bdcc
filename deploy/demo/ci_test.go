package demo

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/ingest/ci"
)

func startCI(t *testing.T) *CI {
	t.Helper()
	c, err := StartCI(CIOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for _, violation := range c.Violations() {
			t.Errorf("the CI servers' client: %s", violation)
		}
	})
	return c
}

// playWithCI plays the script with CI servers, and without pauses.
func playWithCI(t *testing.T, polls bool) (h *haptrail, summary Summary) {
	t.Helper()
	s := edgetest.NewSink(t)
	c := startCI(t)
	h = startHaptrail(t, c, polls)
	w := startWorld(t, s, func(o *Options) { o.Burst, o.CI, o.Webhooks = 1, c, h.url+"/" })
	summary, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.TellLate(t.Context(), &summary); err != nil {
		t.Fatal(err)
	}
	return h, summary
}

// What haptrail hears of each run is what the run's token says, and how it ended.
func TestRunsHappenInTheCIServers(t *testing.T) {
	h, summary := playWithCI(t, true)
	for _, j := range cast {
		if j.run == "" {
			continue
		}
		want := map[string]ci.Status{"succeeded": ci.Succeeded, "failed": ci.Failed, "running": ci.Running}[j.status]
		run, _, _ := h.run(j)
		for deadline := time.Now().Add(20 * time.Second); run.Status != want || j.hooks != late && run.Agent == "" && j.provider != space; run, _, _ = h.run(j) {
			if time.Now().After(deadline) {
				t.Fatalf("job %q: want its run %v, have %+v", j.name, want, run)
			}
			time.Sleep(20 * time.Millisecond)
		}
		checkTold(t, j, run)
	}
	told := slices.DeleteFunc(slices.Clone(summary.Jobs), func(j JobResult) bool { return !j.Told })
	lonely := 0 // runs that no webhook told
	for _, j := range summary.Jobs {
		if j.Run != "" && !j.Told {
			lonely++
		}
	}
	if len(told) < 12 || lonely != 3 { // one lost, two that were over before
		t.Errorf("%d runs were told by webhooks, %d were not", len(told), lonely)
	}
	for subject, account := range accounts {
		h.mu.Lock()
		p, known := h.principals[subject]
		h.mu.Unlock()
		if !known || p.Owner.Value != account.owner || p.Archived.Value != account.archived || p.Project != account.project {
			t.Errorf("account %s: %+v", subject, p)
		}
	}
}

// checkTold compares a run with its job, as the token of it names things.
func checkTold(t *testing.T, j job, run ci.Run) {
	t.Helper()
	want := ci.Run{
		Provider: j.provider, Project: j.project, ID: j.run, Attempt: run.Attempt, Job: j.job, Name: run.Name, Ref: j.ref,
		Commit: history[j.change].sha, Trigger: run.Trigger, Actor: j.actor, Agent: j.agent, Status: run.Status,
		Queued: run.Queued, Started: run.Started, Finished: run.Finished, Said: run.Said,
	}
	switch j.provider {
	case space: // knows no agent, and who it was only of a manual run
		want.Agent, want.Principal = "", j.subject
		if j.trigger != "manual" {
			want.Actor = ""
		}
	case teamcity:
		if j.trigger != "manual" {
			want.Actor = ""
		}
	case gitlab: // does not tell which file a pipeline is of
		want.Job = ""
	}
	if run != want {
		t.Errorf("job %q:\nwant %+v\nhave %+v", j.name, want, run)
	}
	inOrder := !run.Queued.After(run.Started) && !run.Queued.IsZero() && !run.Started.IsZero()
	over := !run.Finished.IsZero()
	if !inOrder || over != run.Status.Final() || over && run.Finished.Before(run.Started) {
		t.Errorf("job %q: queued %v, started %v, finished %v", j.name, run.Queued, run.Started, run.Finished)
	}
}

// The commits come with their authors, and with what is known of their signatures.
func TestCommitsAreTold(t *testing.T) {
	h, _ := playWithCI(t, true)
	for _, j := range cast {
		change := history[j.change]
		old := change.age > 24*time.Hour && j.provider != teamcity // TeamCity tells a build's changes with it
		if j.run == "" || old {
			continue
		}
		want := change.signature
		if j.provider == teamcity && j.change != "retry-budget" { // which Space knows, too
			want = "" // TeamCity does not look
		}
		var have ci.Commit
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			h.mu.Lock()
			have = h.commits[change.sha]
			h.mu.Unlock()
			if have.Author == change.author && have.Signature == want || time.Now().After(deadline) {
				break
			}
		}
		if have.Author != change.author || have.AuthorEmail != change.email || have.Subject != change.subject || have.Signature != want {
			t.Errorf("job %q: want %+v, have %+v", j.name, change, have)
		}
	}
}

// One commit is in runs of two providers, one that its header names and one that
// nothing names: the demo's audit question.
func TestOneCommitHasRunsOfEachGrade(t *testing.T) {
	var proven, named, silent int
	for _, j := range cast {
		switch {
		case j.change != cast[0].change:
		case j.provider == teamcity && j.header == "":
			proven++
		case j.provider == space && j.header == j.run:
			named++
		case j.provider == space && j.header == "":
			silent++
		}
	}
	if proven != 1 || named != 1 || silent != 1 {
		t.Errorf("%d proven, %d named and %d silent runs of one commit", proven, named, silent)
	}
	// who is silent can only be told by an account that does one thing at a time
	seen := make(map[string]string)
	for _, j := range cast {
		if other := seen[j.subject]; j.provider == space && other != "" {
			t.Errorf("jobs %q and %q share an account: neither can be inferred", j.name, other)
		}
		seen[j.subject] = j.name
	}
}

// Webhooks alone, as in docker-compose.yml: each kind of job as it says.
func TestWebhooksComeAsTheirJobsSay(t *testing.T) {
	h, summary := playWithCI(t, false)
	for i, j := range cast {
		run, first, known := h.run(j)
		result := summary.Jobs[i]
		switch {
		case j.run == "":
		case j.hooks == lost || j.before > 0:
			if known || result.Told {
				t.Errorf("job %q: its run is known without a webhook: %+v", j.name, run)
			}
		case !known || !result.Told:
			t.Errorf("job %q: its run is not known (told: %t)", j.name, result.Told)
		case j.hooks == late && first.Before(result.Requests[len(result.Requests)-1].ended):
			t.Errorf("job %q: its run was told at %v, before its last request was over", j.name, first)
		}
	}
	hooks := summary.Webhooks
	if hooks.Sent < 30 || hooks.Again < 3 || hooks.Late < 2 || hooks.Lost != 3 {
		t.Errorf("webhooks: %+v", hooks)
	}
}

// A CI server whose webhooks are refused does not stop its jobs, but it is said.
func TestRefusedWebhooksAreFaults(t *testing.T) {
	s := edgetest.NewSink(t)
	c := startCI(t)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/webhooks/gitlab" {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path != "/webhooks/space" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer refusing.Close()
	w := startWorld(t, s, func(o *Options) { o.Burst, o.CI, o.Webhooks = 1, c, refusing.URL+"/webhooks" })
	summary, err := w.Run(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	if err := w.TellLate(t.Context(), &summary); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`job "payments checks": webhook to `, "/webhooks/teamcity: want status 2xx, have 401", `job "shop release"`, `job "app release": webhook to `} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	for _, j := range summary.Jobs {
		if j.Told != (j.Provider == space) {
			t.Errorf("job %q: told=%t", j.Name, j.Told)
		}
		if len(j.Requests) == 0 {
			t.Errorf("job %q made no requests", j.Name)
		}
	}
}

func TestStartCIErrors(t *testing.T) {
	busy := edgetest.NewSink(t).Address()
	file := path.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		options CIOptions
		want    string
	}{
		{"no directory", CIOptions{}, "Dir is not set"},
		{"a file for a directory", CIOptions{Dir: file}, "not a directory"},
		{"the port is taken", CIOptions{Dir: t.TempDir(), Listen: busy}, "space: listen tcp " + busy},
	} {
		servers, err := StartCI(c.options)
		if err == nil {
			servers.Close()
			t.Errorf("%s: started", c.name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error lacks %q: %v", c.name, c.want, err)
		}
	}
}

// Secrets are made anew, for us alone or as the options say, and end nowhere else.
func TestSecrets(t *testing.T) {
	seen := make(map[string]bool)
	for _, mode := range []os.FileMode{0, 0o644} {
		c, err := StartCI(CIOptions{Dir: t.TempDir(), SecretMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, name := range secretNames {
			info, err := os.Stat(c.SecretFile(name))
			if err != nil {
				t.Fatal(err)
			}
			if want := max(mode, 0o600); info.Mode().Perm() != want {
				t.Errorf("%s: want mode %v, have %v", name, want, info.Mode())
			}
			text, err := os.ReadFile(c.SecretFile(name))
			if err != nil {
				t.Fatal(err)
			}
			if seen[string(text)] || len(text) < 20 {
				t.Errorf("%s: %d bytes, seen before: %t", name, len(text), seen[string(text)])
			}
			seen[string(text)] = true
		}
	}
}

func TestCloseCI(t *testing.T) {
	c := startCI(t)
	for range 2 { // idempotent
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, provider := range providers {
		if _, err := http.Get(c.URL(provider)); err == nil {
			t.Errorf("%s still answers", provider)
		} else if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", provider, err)
		}
	}
}
