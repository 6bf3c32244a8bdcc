package citest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// GitHubRun is a workflow run of a fake GitHub, with all that ever happens to it.
// What the API shows of it, and the webhooks, follow from the times.
type GitHubRun struct {
	Repository   string // OWNER/NAME
	ID, Number   uint64
	Path         string // of the workflow
	Event        string
	Branch       string // head_branch: a tag's name for a run on a tag
	SHA          string
	PullRequests []uint64
	Actor        string
	Attempts     []GitHubAttempt // each later than the one before
}

// GitHubAttempt is one attempt of a run. Ended may be zero: it goes on.
type GitHubAttempt struct {
	Actor             string // who set it off
	Approver          string // who let its deployment go on, if anybody
	Began, Ran, Ended time.Time
	Conclusion        string
	Jobs              []GitHubJob
}

// GitHubJob is a job of an attempt. One without a runner was skipped.
type GitHubJob struct {
	ID                uint64
	Name, Runner      string
	Began, Ran, Ended time.Time
	Conclusion        string
}

// GitHubCommit is a commit, and when it was pushed where.
type GitHubCommit struct {
	Repository, SHA, Message string
	Author, Email, Committer string
	Authored, Committed      time.Time
	Reason                   string // of the verification: "valid", "unsigned", "unknown_key", ...
	Ref                      string // refs/heads/main; "" was never pushed by itself
	Pushed                   time.Time
}

// githubObject is JSON, as the documents have it.
type githubObject = map[string]any

// githubStamp is a time as GitHub writes it; null for none.
func githubStamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

func githubOrNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// githubPhase is how far something is at a time.
func githubPhase(now, ran, ended time.Time, conclusion string) (status string, said any, updated time.Time) {
	switch {
	case !ended.IsZero() && !now.Before(ended):
		return "completed", conclusion, ended
	case !ran.IsZero() && !now.Before(ran):
		return "in_progress", nil, ran
	}
	return "queued", nil, time.Time{}
}

// latestAttempt is the number of the newest attempt at a time, 0 before the first.
func (r *GitHubRun) latestAttempt(now time.Time) int {
	n := 0
	for i := range r.Attempts {
		if !now.Before(r.Attempts[i].Began) {
			n = i + 1
		}
	}
	return n
}

// shape is "Get a workflow run" for an attempt, as it was at a time.
func (g *GitHub) shape(r *GitHubRun, number int, now time.Time) githubObject {
	attempt := r.Attempts[number-1]
	status, conclusion, updated := githubPhase(now, attempt.Ran, attempt.Ended, attempt.Conclusion)
	if updated.IsZero() {
		updated = attempt.Began
	}
	pulls := make([]githubObject, 0, len(r.PullRequests))
	for _, pull := range r.PullRequests {
		pulls = append(pulls, githubObject{"id": pull * 7, "number": pull, "head": githubObject{"ref": r.Branch, "sha": r.SHA}, "base": githubObject{"ref": "main"}})
	}
	shape := githubObject{
		"id": r.ID, "name": "CI", "run_number": r.Number, "run_attempt": number, "path": r.Path, "event": r.Event,
		"status": status, "conclusion": conclusion, "head_branch": githubOrNull(r.Branch), "head_sha": r.SHA, "display_title": "a title",
		"workflow_id": 7, "check_suite_id": r.ID + 1, "pull_requests": pulls, "referenced_workflows": []any{},
		"created_at": githubStamp(r.Attempts[0].Began), "run_started_at": githubStamp(attempt.Began), "updated_at": githubStamp(updated),
		"actor": githubObject{"login": r.Actor, "id": 1}, "triggering_actor": githubObject{"login": attempt.Actor, "id": 2},
		"repository": g.repository(r.Repository), "head_repository": g.repository(r.Repository),
	}
	if commit := g.commit(r.Repository, r.SHA); commit != nil {
		shape["head_commit"] = commit.pushed()
	}
	return shape
}

// shape is a job as it was at a time.
func (j GitHubJob) shape(r *GitHubRun, number int, now time.Time) githubObject {
	status, conclusion, _ := githubPhase(now, j.Ran, j.Ended, j.Conclusion)
	started, runner := j.Began, any(nil) // GitHub gives a time also to those that wait
	if status != "queued" {
		started, runner = j.Ran, j.Runner // "" of a job that was skipped
	}
	ended := j.Ended
	if status != "completed" {
		ended = time.Time{}
	}
	return githubObject{
		"id": j.ID, "run_id": r.ID, "run_attempt": number, "workflow_name": "CI", "name": j.Name, "head_branch": githubOrNull(r.Branch), "head_sha": r.SHA,
		"status": status, "conclusion": conclusion, "created_at": githubStamp(j.Began), "started_at": githubStamp(started), "completed_at": githubStamp(ended),
		"labels": []string{"ubuntu-latest"}, "steps": []any{}, "runner_id": 5, "runner_name": runner, "runner_group_id": 2, "runner_group_name": "Default",
	}
}

// pushed is a commit as webhooks and runs show it.
func (c *GitHubCommit) pushed() githubObject {
	return githubObject{
		"id": c.SHA, "tree_id": strings.Repeat("0", 40), "distinct": true, "message": c.Message, "timestamp": githubStamp(c.Committed),
		"author": githubObject{"name": c.Author, "email": c.Email, "username": "x"}, "committer": githubObject{"name": c.Committer, "email": "noreply@example.com"},
		"added": []string{}, "removed": []string{}, "modified": []string{"a.go"},
	}
}

// shape is "Get a commit".
func (c *GitHubCommit) shape() githubObject {
	verification := githubObject{"verified": c.Reason == "valid", "reason": c.Reason, "signature": nil, "payload": nil, "verified_at": nil}
	if c.Reason == "valid" {
		verification["verified_at"] = githubStamp(c.Committed.Add(time.Minute))
	}
	return githubObject{"sha": c.SHA, "node_id": "x", "parents": []any{}, "commit": githubObject{
		"message":      c.Message,
		"author":       githubObject{"name": c.Author, "email": c.Email, "date": githubStamp(c.Authored)},
		"committer":    githubObject{"name": c.Committer, "email": "noreply@example.com", "date": githubStamp(c.Committed)},
		"verification": verification,
	}}
}

func (g *GitHub) repository(name string) githubObject {
	return githubObject{"id": 300029405, "full_name": name, "private": true, "owner": githubObject{"login": name[:strings.IndexByte(name, '/')]}}
}

// GitHubDelivery is a webhook to be sent.
type GitHubDelivery struct {
	Event string // X-GitHub-Event
	At    time.Time
	Body  []byte // JSON
	Run   uint64 // what it is about: a run's ID,
	SHA   string // or the commit that was pushed
}

// Webhooks are all that happened after one time and not after another, in the
// order in which it did.
func (g *GitHub) Webhooks(after, until time.Time) []GitHubDelivery {
	g.world.Lock()
	defer g.world.Unlock()
	var all []GitHubDelivery
	send := func(event string, at time.Time, repository string, parts githubObject) {
		if at.IsZero() || !at.After(after) || at.After(until) {
			return
		}
		body := g.repository(repository)
		body["default_branch"] = "main"
		if event == "push" { // there, and only there, these are numbers
			body["created_at"], body["pushed_at"] = at.Unix(), at.Unix()
		}
		parts["repository"], parts["sender"] = body, githubObject{"login": "octocat", "id": 1}
		text, err := json.Marshal(parts)
		if err != nil {
			panic("citest: internal error: " + err.Error())
		}
		all = append(all, GitHubDelivery{Event: event, At: at, Body: text})
	}
	for i := range g.Commits {
		if c := &g.Commits[i]; c.Ref != "" {
			from := len(all)
			send("push", c.Pushed, c.Repository, githubObject{"ref": c.Ref, "before": strings.Repeat("0", 40), "after": c.SHA, "created": false, "deleted": false, "forced": false,
				"commits": []githubObject{c.pushed()}, "head_commit": c.pushed(), "pusher": githubObject{"name": "octocat"}})
			for n := range all[from:] {
				all[from+n].SHA = c.SHA
			}
		}
	}
	for i := range g.Runs {
		from := len(all)
		g.runWebhooks(&g.Runs[i], send)
		for n := range all[from:] {
			all[from+n].Run = g.Runs[i].ID
		}
	}
	slices.SortStableFunc(all, func(a, b GitHubDelivery) int { return a.At.Compare(b.At) })
	return all
}

// runWebhooks are those of one run.
func (g *GitHub) runWebhooks(r *GitHubRun, send func(event string, at time.Time, repository string, parts githubObject)) {
	for i, attempt := range r.Attempts {
		number := i + 1
		for _, step := range []struct {
			action string
			at     time.Time
		}{{"requested", attempt.Began}, {"in_progress", attempt.Ran}, {"completed", attempt.Ended}} {
			send("workflow_run", step.at, r.Repository, githubObject{"action": step.action, "workflow_run": g.shape(r, number, step.at), "workflow": githubObject{"path": r.Path}})
		}
		for _, job := range attempt.Jobs {
			for _, step := range []struct {
				action string
				at     time.Time
			}{{"queued", job.Began}, {"in_progress", job.Ran}, {"completed", job.Ended}} {
				if job.Runner == "" && step.action == "in_progress" {
					continue
				}
				send("workflow_job", step.at, r.Repository, githubObject{"action": step.action, "workflow_job": job.shape(r, number, step.at)})
			}
		}
		if attempt.Approver != "" {
			send("deployment_review", attempt.Ran, r.Repository, githubObject{"action": "approved", "approver": githubObject{"login": attempt.Approver, "id": 3}, "comment": "ok",
				"since": githubStamp(attempt.Ran), "environment": "production", "workflow_run": g.shape(r, number, attempt.Ran)})
		}
	}
}

// Header is what GitHub sends with a delivery, signed with a secret.
func (d GitHubDelivery) Header(secret string) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "GitHub-Hookshot/99ae70d")
	h.Set("X-GitHub-Event", d.Event)
	h.Set("X-GitHub-Delivery", fmt.Sprintf("%x", sha256.Sum256(d.Body))[:36])
	h.Set("X-Hub-Signature-256", GitHubSignature(secret, d.Body))
	return h
}

// Form is the delivery as the content type application/x-www-form-urlencoded has
// it: header and body.
func (d GitHubDelivery) Form(secret string) (http.Header, []byte) {
	d.Body = []byte(url.Values{"payload": {string(d.Body)}}.Encode())
	h := d.Header(secret)
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	return h, d.Body
}

// GitHubSignature is an X-Hub-Signature-256.
func GitHubSignature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
