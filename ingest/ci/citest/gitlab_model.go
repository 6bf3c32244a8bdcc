package citest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// gitlabMillis is the format of its API's times, gitlabHook that of most in its webhooks.
const (
	gitlabMillis = "2006-01-02T15:04:05.000Z07:00"
	gitlabHook   = "2006-01-02 15:04:05 UTC"
)

// gitlabText is a time by a layout, or nil where it has not come.
func gitlabText(at, now time.Time, layout string) any {
	if at.IsZero() || at.After(now) {
		return nil
	}
	return at.UTC().Format(layout)
}

func (p GitLabPipeline) status(now time.Time) string {
	switch {
	case p.Created.IsZero() || p.Created.After(now):
		return ""
	case !p.Finished.IsZero() && !p.Finished.After(now):
		return p.Status
	case !p.Started.IsZero() && !p.Started.After(now):
		return "running"
	}
	return "pending"
}

// updated is when it last changed.
func (p GitLabPipeline) updated(now time.Time) time.Time {
	updated := p.Created
	for _, at := range []time.Time{p.Started, p.Finished} {
		if !at.After(now) && at.After(updated) {
			updated = at
		}
	}
	return updated
}

// rest is the pipeline as the API gives it.
func (p GitLabPipeline) rest(now time.Time) map[string]any {
	return map[string]any{
		"id": p.ID, "iid": p.IID, "sha": p.SHA, "ref": p.Ref, "tag": p.Tag, "status": p.status(now), "source": p.Source,
		"web_url":    "https://gitlab.example.com/" + p.Project + fmt.Sprintf("/-/pipelines/%d", p.ID),
		"user":       map[string]any{"id": 4, "username": p.User, "name": strings.ToUpper(p.User), "state": "active"},
		"created_at": gitlabText(p.Created, now, gitlabMillis), "updated_at": gitlabText(p.updated(now), now, gitlabMillis),
		"started_at": gitlabText(p.Started, now, gitlabMillis), "finished_at": gitlabText(p.Finished, now, gitlabMillis),
		"committed_at": nil, "duration": nil, "coverage": nil, "yaml_errors": nil,
	}
}

// rest is the job as the API and a pipeline's webhook give it.
func (j GitLabJob) rest(now time.Time, layout string) map[string]any {
	job := map[string]any{
		"id": j.ID, "name": j.Name, "stage": "deploy", "status": j.status(now), "allow_failure": false,
		"user":       map[string]any{"id": 5, "username": j.User, "name": strings.ToUpper(j.User), "email": "[REDACTED]"},
		"runner":     nil,
		"started_at": gitlabText(j.Started, now, layout), "finished_at": gitlabText(j.Finished, now, layout),
	}
	if job["started_at"] != nil {
		job["runner"] = map[string]any{"id": j.Runner, "description": fmt.Sprintf("runner-%d", j.Runner), "active": true, "is_shared": false}
	}
	return job
}

func (j GitLabJob) status(now time.Time) string {
	switch {
	case !j.Finished.IsZero() && !j.Finished.After(now):
		return j.Status
	case !j.Started.IsZero() && !j.Started.After(now):
		return "running"
	}
	return "created"
}

// id is the number of a project, or nil.
func (g *GitLab) id(path string) any {
	for _, project := range g.projects {
		if project.Path == path {
			return project.ID
		}
	}
	return nil
}

// mergeRequestREST is the merge request as the API and a pipeline's webhook give it.
func (g *GitLab) mergeRequestREST(m GitLabMergeRequest) map[string]any {
	return map[string]any{
		"id": 9000 + m.IID, "iid": m.IID, "source_branch": m.SourceBranch, "target_branch": "main", "state": "opened",
		"source_project_id": g.id(m.SourceProject), "target_project_id": g.id(m.Project),
	}
}

func (c GitLabCommit) rest() map[string]any {
	title, _, _ := strings.Cut(c.Message, "\n")
	if len(title) > 100 {
		title = title[:80] + "..."
	}
	return map[string]any{
		"id": c.SHA, "short_id": c.SHA[:8], "title": title, "message": c.Message, "author_name": c.Author, "author_email": c.AuthorEmail,
		"authored_date": c.Authored.Format(gitlabMillis), "committer_name": c.Committer, "committer_email": c.AuthorEmail,
		"committed_date": c.Committed.Format(gitlabMillis), "parent_ids": []any{},
	}
}

// hook is the commit as webhooks give it, nil where there is none of that sha.
func (g *GitLab) hook(project, sha string) any {
	for _, c := range g.commits {
		if c.Project == project && c.SHA == sha {
			return map[string]any{
				"id": c.SHA, "message": c.Message, "title": strings.SplitN(c.Message, "\n", 2)[0],
				"timestamp": c.Committed.In(time.FixedZone("", 3600)).Format(time.RFC3339),
				"url":       g.URL + "/" + project + "/-/commit/" + c.SHA,
				"author":    map[string]any{"name": c.Author, "email": c.AuthorEmail},
			}
		}
	}
	return nil
}

// PipelineHook is the webhook of a pipeline as it was at a time.
func (g *GitLab) PipelineHook(id int64, at time.Time) Delivery {
	g.world.Lock()
	defer g.world.Unlock()
	p := g.pipelines[id]
	ref, builds, request := p.Ref, []any{}, any(nil)
	for _, m := range g.requests {
		if m.Project == p.Project && m.IID == p.MergeRequest {
			ref, request = m.SourceBranch, g.mergeRequestREST(m)
		}
	}
	for _, job := range p.Jobs {
		if !job.Retried {
			builds = append(builds, job.rest(at, gitlabHook))
		}
	}
	return g.delivery("Pipeline Hook", at, map[string]any{
		"object_kind": "pipeline",
		"object_attributes": map[string]any{
			"id": p.ID, "iid": p.IID, "name": nil, "ref": ref, "tag": p.Tag, "sha": p.SHA, "source": p.Source, "status": p.status(at),
			"detailed_status": "passed", "created_at": gitlabText(p.Created, at, gitlabHook), "finished_at": gitlabText(p.Finished, at, gitlabHook),
			"variables": []any{map[string]any{"key": "SECRET", "value": "variable-value"}}, // sent to all; nobody may take it over
		},
		"merge_request": request, "user": map[string]any{"id": 4, "name": strings.ToUpper(p.User), "username": p.User},
		"project": map[string]any{"id": g.id(p.Project), "path_with_namespace": p.Project, "web_url": g.URL + "/" + p.Project},
		"commit":  g.hook(p.Project, p.SHA), "builds": builds,
	})
}

// JobHook is the webhook of the n-th job of a pipeline as it was at a time.
func (g *GitLab) JobHook(id int64, n int, at time.Time) Delivery {
	g.world.Lock()
	defer g.world.Unlock()
	p := g.pipelines[id]
	job := p.Jobs[n].rest(at, gitlabHook)
	body := map[string]any{
		"object_kind": "build", "ref": p.Ref, "tag": p.Tag, "sha": p.SHA, "build_id": job["id"], "build_name": job["name"],
		"build_status": job["status"], "build_started_at": job["started_at"], "build_finished_at": job["finished_at"],
		"pipeline_id": p.ID, "project_id": g.id(p.Project), "project_name": strings.ReplaceAll(p.Project, "/", " / "),
		"user": job["user"], "runner": job["runner"],
		"commit": map[string]any{
			"id": p.ID, "sha": p.SHA, "status": p.status(at), "message": "", "author_name": "", "author_email": "",
			"started_at": gitlabText(p.Started, at, gitlabHook), "finished_at": gitlabText(p.Finished, at, gitlabHook),
		},
		"repository": map[string]any{"name": "app", "homepage": g.URL + "/" + p.Project},
	}
	for _, c := range g.commits {
		if commit := body["commit"].(map[string]any); c.Project == p.Project && c.SHA == p.SHA {
			commit["message"], commit["author_name"], commit["author_email"] = c.Message, c.Author, c.AuthorEmail
		}
	}
	if !g.Old {
		body["project"] = map[string]any{"id": g.id(p.Project), "path_with_namespace": p.Project}
	}
	return g.delivery("Job Hook", at, body)
}

// PushHook is the webhook of a push of commits that the world has.
func (g *GitLab) PushHook(project, branch string, at time.Time, shas ...string) Delivery {
	g.world.Lock()
	defer g.world.Unlock()
	commits := []any{}
	for _, sha := range shas {
		commits = append(commits, g.hook(project, sha))
	}
	return g.delivery("Push Hook", at, map[string]any{
		"object_kind": "push", "event_name": "push", "ref": "refs/heads/" + branch, "user_username": "k.ivanova",
		"project": map[string]any{"id": g.id(project), "path_with_namespace": project}, "commits": commits, "total_commits_count": len(commits),
	})
}

// delivery is a body with the headers that GitLab sends.
func (g *GitLab) delivery(event string, at time.Time, message map[string]any) Delivery {
	body, err := json.Marshal(message)
	if err != nil {
		g.Violate("%v", err)
	}
	header := http.Header{}
	id := fmt.Sprintf("f5e5f430-%x", sha256.Sum256(body))[:36]
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitLab/18.9.0", "Idempotency-Key": id, "X-Gitlab-Event": event,
		"X-Gitlab-Webhook-Uuid": "13792a34-cac6-4fda-95a8-c58e00a3954e", "X-Gitlab-Instance": g.URL, "X-Gitlab-Token": g.Secret,
	} {
		if value != "" {
			header.Set(name, value)
		}
	}
	if g.SigningKey != nil {
		stamp := fmt.Sprint(at.Unix())
		mac := hmac.New(sha256.New, g.SigningKey)
		mac.Write([]byte(id + "." + stamp + "." + string(body)))
		header.Set("Webhook-Id", id)
		header.Set("Webhook-Timestamp", stamp)
		header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return Delivery{Header: header, Body: body, Received: at}
}

// History is every webhook of the world, in the order of their times.
func (g *GitLab) History() []Delivery {
	g.world.Lock()
	commits := slices.Clone(g.commits)
	var pipelines []GitLabPipeline
	for _, pipeline := range g.pipelines {
		pipelines = append(pipelines, pipeline)
	}
	g.world.Unlock()
	var history []Delivery
	for _, c := range commits {
		history = append(history, g.PushHook(c.Project, c.Branch, c.Committed, c.SHA))
	}
	for _, p := range pipelines {
		for _, at := range []time.Time{p.Created, p.Started, p.Finished} {
			if !at.IsZero() {
				history = append(history, g.PipelineHook(p.ID, at))
			}
		}
		for n, job := range p.Jobs {
			for _, at := range []time.Time{job.Started, job.Finished} {
				if !at.IsZero() {
					history = append(history, g.JobHook(p.ID, n, at))
				}
			}
		}
	}
	slices.SortStableFunc(history, func(a, b Delivery) int { return a.Received.Compare(b.Received) })
	return history
}
