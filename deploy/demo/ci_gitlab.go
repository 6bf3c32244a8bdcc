package demo

import (
	"strconv"
	"time"

	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// gitlabFake is the GitLab of the cast.
type gitlabFake struct{ citest.GitLab }

// gitlabSignatures are the states of a signature's verification; "" has none.
var gitlabSignatures = map[string]string{"verified": "verified", "unverified": "unverified"}

func newGitLab(began time.Time, secrets map[string]string, url string) *gitlabFake {
	g := &gitlabFake{citest.GitLab{Token: secrets[GitLabToken], Secret: secrets[GitLabWebhookSecret], URL: url}}
	known := make(map[string]bool)
	for _, c := range changesOf(gitlab) {
		if !known[c.repository] {
			known[c.repository] = true
			g.PutProject(citest.GitLabProject{ID: number(numericID(c.repository)), Path: c.repository})
		}
		at := began.Add(-c.age).UTC()
		g.PutCommit(citest.GitLabCommit{
			Project: c.repository, SHA: c.sha, Message: c.subject, Author: c.author, AuthorEmail: c.email, Committer: c.committer(),
			Signature: gitlabSignatures[c.signature], Authored: at, Committed: at,
		})
	}
	return g
}

// put is the fake's. GitLab tells of a push, and of each step of a pipeline.
func (g *gitlabFake) put(r ciRun) []webhook {
	status := "failed"
	if r.status == "succeeded" {
		status = "success"
	}
	id, sha := number(r.run), history[r.change].sha
	g.Put(citest.GitLabPipeline{
		ID: id, IID: id % 1000, Project: r.project, Ref: branch(r.ref), SHA: sha, Source: r.trigger, User: r.actor, Status: status,
		Created: r.queued, Started: r.started, Finished: r.finished,
		Jobs: []citest.GitLabJob{{
			ID: number(numericID(r.run)), Name: lastOf(r.name, " "), User: r.actor, Runner: number(r.agent), Status: status,
			Started: r.started, Finished: r.finished,
		}},
	})
	switch {
	case !r.finished.IsZero():
		return []webhook{g.PipelineHook(id, r.finished).Send}
	case !r.started.IsZero():
		return []webhook{g.PipelineHook(id, r.started).Send, g.JobHook(id, 0, r.started).Send}
	case r.trigger == "push":
		return []webhook{g.PushHook(r.project, branch(r.ref), r.queued, sha).Send, g.PipelineHook(id, r.queued).Send}
	}
	return []webhook{g.PipelineHook(id, r.queued).Send}
}

// number reads digits; the cast's GitLab ids are nothing else.
func number(digits string) int64 {
	n, _ := strconv.ParseInt(digits, 10, 64)
	return n
}
