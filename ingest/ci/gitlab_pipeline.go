package ci

import (
	"regexp"
	"strings"
	"time"
)

// gitlabTime is a time as GitLab's API writes it (RFC 3339, with milliseconds) or
// its webhooks ("2024-01-31 12:00:00 UTC"), to the second.
type gitlabTime struct{ time.Time }

// UnmarshalJSON takes null, "" and the formats above; older servers wrote an offset.
func (t *gitlabTime) UnmarshalJSON(text []byte) error {
	at, ok := parseWireTime(text, time.RFC3339Nano, "2006-01-02 15:04:05 UTC", "2006-01-02 15:04:05 -0700")
	if !ok {
		return badShape[gitlabTime]()
	}
	t.Time = at
	return nil
}

// gitlabPipeline is the API's pipeline (docs.gitlab.com/api/pipelines), and
// object_attributes of a pipeline's webhook, which lacks updated_at and started_at.
type gitlabPipeline struct {
	ID         wireID     `json:"id"`
	SHA        string     `json:"sha"`
	Ref        string     `json:"ref"`
	Tag        bool       `json:"tag"`
	Source     string     `json:"source"`
	Status     string     `json:"status"`
	User       gitlabUser `json:"user"`
	CreatedAt  gitlabTime `json:"created_at"`
	UpdatedAt  gitlabTime `json:"updated_at"`
	StartedAt  gitlabTime `json:"started_at"`
	FinishedAt gitlabTime `json:"finished_at"`
}

type gitlabUser struct {
	Username string `json:"username"`
}

// gitlabJob is the API's job, and one of builds of a pipeline's webhook.
type gitlabJob struct {
	User       gitlabUser   `json:"user"`
	Runner     gitlabRunner `json:"runner"`
	StartedAt  gitlabTime   `json:"started_at"`
	FinishedAt gitlabTime   `json:"finished_at"`
}

type gitlabRunner struct {
	ID wireID `json:"id"`
}

type gitlabProject struct {
	Path string `json:"path_with_namespace"`
}

// gitlabMergeRequest is of both the API and a pipeline's webhook.
type gitlabMergeRequest struct {
	IID             wireID `json:"iid"`
	SourceBranch    string `json:"source_branch"`
	SourceProjectID wireID `json:"source_project_id"`
	TargetProjectID wireID `json:"target_project_id"`
}

// gitlabStatuses are the words for a pipeline's status. One that waits for a person
// (manual) or a time has not ended.
var gitlabStatuses = map[string]Status{
	"created": Queued, "waiting_for_resource": Queued, "waiting_for_callback": Queued, "preparing": Queued, "pending": Queued,
	"manual": Queued, "scheduled": Queued, "running": Running, "canceling": Running,
	"success": Succeeded, "failed": Failed, "canceled": Canceled, "skipped": Skipped,
}

// run is the pipeline as a Run of the project that its commits come from. Its jobs
// say who else had a hand in it, and where it ran.
func (p gitlabPipeline) run(origin gitlabOrigin, jobs []gitlabJob) Run {
	r := Run{
		Provider: gitlabProvider, Project: origin.project, ID: string(p.ID), Name: "#" + string(p.ID), Ref: p.refPath(origin),
		Commit: strings.ToLower(p.SHA), Trigger: strings.ToLower(p.Source), Actor: p.User.Username, Status: gitlabStatuses[p.Status],
		Queued: p.CreatedAt.Time, Started: p.StartedAt.Time,
	}
	if r.Status.Final() {
		r.Finished = p.FinishedAt.Time
	}
	r.Said = newestOf(p.CreatedAt.Time, p.UpdatedAt.Time, p.StartedAt.Time, p.FinishedAt.Time)
	for _, job := range jobs {
		if job.StartedAt.IsZero() {
			continue // until then its user is who might start it
		}
		r.Started, r.Said = earliest(r.Started, job.StartedAt.Time), newestOf(r.Said, job.StartedAt.Time, job.FinishedAt.Time)
		r.Agent = max(r.Agent, string(job.Runner.ID))
		if r.Actor != "" && job.User.Username != r.Actor {
			r.Approver = max(r.Approver, job.User.Username)
		}
	}
	return r
}

// refPath is the claim ref_path: for a merge request, the branch that is to be merged.
func (p gitlabPipeline) refPath(origin gitlabOrigin) string {
	switch {
	case origin.branch != "":
		return "refs/heads/" + origin.branch
	case p.Ref == "" || strings.HasPrefix(p.Ref, "refs/"):
		return p.Ref
	case p.Tag:
		return "refs/tags/" + p.Ref
	}
	return "refs/heads/" + p.Ref
}

// gitlabMergeRef is the ref of a merge request's pipeline, which names its number.
var gitlabMergeRef = regexp.MustCompile(`^refs/merge-requests/([0-9]+)/[a-z]+$`)

// mergeRequest is the number of the merge request that a ref is of, or "".
func mergeRequest(ref string) string {
	if parts := gitlabMergeRef.FindStringSubmatch(ref); parts != nil {
		return parts[1]
	}
	return ""
}

// gitlabCommit is the API's commit (docs.gitlab.com/api/commits).
type gitlabCommit struct {
	ID            string     `json:"id"`
	Message       string     `json:"message"`
	AuthorName    string     `json:"author_name"`
	AuthorEmail   string     `json:"author_email"`
	AuthoredDate  gitlabTime `json:"authored_date"`
	CommitterName string     `json:"committer_name"`
	CommittedDate gitlabTime `json:"committed_date"`
}

func (c gitlabCommit) commit(repository string) Commit {
	return Commit{
		SHA: strings.ToLower(c.ID), Repository: repository, Author: c.AuthorName, AuthorEmail: c.AuthorEmail, Committer: c.CommitterName,
		Authored: c.AuthoredDate.Time, Committed: c.CommittedDate.Time, Subject: subjectOf(c.Message),
		Said: newestOf(c.AuthoredDate.Time, c.CommittedDate.Time),
	}
}

// gitlabSignature is a verification_status as a Commit has it. verified_system is a
// commit that GitLab signed itself, verified_ca one by a certificate it trusts;
// unverified_key, other_user, revoked_key and the others do not prove the author.
func gitlabSignature(status string) string {
	switch status {
	case "":
		return ""
	case "verified", "verified_system", "verified_ca":
		return "verified"
	}
	return "unverified"
}
