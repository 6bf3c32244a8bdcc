package demo

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// githubFake is the GitHub of the cast.
type githubFake struct {
	citest.GitHub
	secret string // of its webhooks
}

// githubReasons are those of a signature's verification.
var githubReasons = map[string]string{"verified": "valid", "unverified": "unknown_key", "none": "unsigned"}

func newGitHub(began time.Time, secrets map[string]string) *githubFake {
	g := &githubFake{GitHub: citest.GitHub{Token: secrets[GitHubToken]}, secret: secrets[GitHubWebhookSecret]}
	for _, c := range changesOf(github) {
		at := began.Add(-c.age).UTC()
		g.Commits = append(g.Commits, citest.GitHubCommit{
			Repository: c.repository, SHA: c.sha, Message: c.subject, Author: c.author, Email: c.email, Committer: c.committer(),
			Authored: at, Committed: at, Reason: githubReasons[c.signature],
		})
	}
	for _, j := range cast {
		if j.provider != github || j.run == "" {
			continue
		}
		run := newGitHubRun(j)
		for len(run.Attempts) < j.attempt-1 { // somebody ran it again, for it had failed
			ended := began.Add(-8 * time.Minute).UTC()
			run.Attempts = append(run.Attempts, citest.GitHubAttempt{
				Actor: j.actor, Conclusion: "failure", Began: ended.Add(-2 * time.Minute), Ran: ended.Add(-110 * time.Second), Ended: ended,
			})
		}
		if len(run.Attempts) > 0 {
			g.Runs = append(g.Runs, run)
		}
	}
	return g
}

// GitHubRepositories are those of the demo's GitHub, as OWNER/NAME.
func GitHubRepositories() []string {
	var names []string
	for _, c := range changesOf(github) {
		if !slices.Contains(names, c.repository) {
			names = append(names, c.repository)
		}
	}
	return names
}

// newGitHubRun is a run without attempts.
func newGitHubRun(j job) citest.GitHubRun {
	id, _ := strconv.ParseUint(j.run, 10, 64) // the cast's GitHub runs are numbers
	path, _, _ := strings.Cut(strings.TrimPrefix(j.job, j.project+"/"), "@")
	run := citest.GitHubRun{
		Repository: j.project, ID: id, Number: 118, Path: path, Event: j.trigger, Branch: branch(j.ref), SHA: history[j.change].sha, Actor: j.actor,
	}
	if number, _, ok := strings.Cut(strings.TrimPrefix(j.ref, "refs/pull/"), "/merge"); ok {
		pull, _ := strconv.ParseUint(number, 10, 64)
		run.Branch, run.PullRequests = j.change, []uint64{pull}
	}
	return run
}

// put is the fake's. GitHub tells of a push, and of each step of a run and its job.
func (g *githubFake) put(r ciRun) []webhook {
	conclusion := "failure"
	if r.status == "succeeded" {
		conclusion = "success"
	}
	made := newGitHubRun(r.job)
	attempt := citest.GitHubAttempt{
		Actor: r.actor, Began: r.queued, Ran: r.started, Ended: r.finished, Conclusion: conclusion,
		Jobs: []citest.GitHubJob{{
			ID: made.ID*10 + uint64(r.attempt), Name: lastOf(r.name, " "), Runner: r.agent,
			Began: r.queued, Ran: r.started, Ended: r.finished, Conclusion: conclusion,
		}},
	}
	g.Lock()
	at := slices.IndexFunc(g.Runs, func(run citest.GitHubRun) bool { return run.ID == made.ID })
	if at < 0 {
		at = len(g.Runs)
		g.Runs = append(g.Runs, made)
	}
	run := &g.Runs[at]
	run.Attempts = append(slices.Clone(run.Attempts[:r.attempt-1]), attempt)
	if r.trigger == "push" && r.started.IsZero() {
		for i := range g.Commits {
			if c := &g.Commits[i]; c.SHA == run.SHA {
				c.Ref, c.Pushed = r.ref, r.queued
			}
		}
	}
	g.Unlock()
	newest := r.queued
	for _, later := range []time.Time{r.started, r.finished} {
		if later.After(newest) {
			newest = later
		}
	}
	var hooks []webhook
	for _, d := range g.Webhooks(newest.Add(-1), newest) {
		if d.Run == made.ID || d.SHA == made.SHA {
			hooks = append(hooks, g.posted(d))
		}
	}
	return hooks
}

// posted is a delivery, signed and ready to be sent.
func (g *githubFake) posted(d citest.GitHubDelivery) webhook {
	return citest.Delivery{Header: d.Header(g.secret), Body: d.Body, Received: d.At}.Send
}
