package ci

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// What of GitHub's shapes is read; null and absent are the zero value. Each field
// has its tag, by which errors name it.
type (
	githubUser struct {
		Login string `json:"login"`
	}
	githubRepository struct {
		FullName      string `json:"full_name"`
		DefaultBranch string `json:"default_branch"`
	}

	// githubRun is one attempt of a workflow run: "Get a workflow run" and
	// "workflow_run" in GitHub's documentation.
	githubRun struct {
		ID           uint64           `json:"id"`
		Number       uint64           `json:"run_number"`
		Attempt      uint32           `json:"run_attempt"`
		Path         string           `json:"path"` // .github/workflows/ci.yml, at times with @ and a branch
		Event        string           `json:"event"`
		Status       string           `json:"status"`
		Conclusion   string           `json:"conclusion"`
		HeadBranch   string           `json:"head_branch"`
		HeadSHA      string           `json:"head_sha"`
		Created      githubTime       `json:"created_at"` // of the first attempt
		Started      githubTime       `json:"run_started_at"`
		Updated      githubTime       `json:"updated_at"`
		Actor        githubUser       `json:"actor"`            // of the first attempt
		Triggering   githubUser       `json:"triggering_actor"` // of this one
		HeadCommit   *githubPushed    `json:"head_commit"`
		Repository   githubRepository `json:"repository"`
		PullRequests []githubPull     `json:"pull_requests"`

		tag bool // head_branch is one: the API was asked
	}
	githubPull struct {
		Number uint64 `json:"number"`
		Base   struct {
			Ref string `json:"ref"`
		} `json:"base"`
	}

	// githubJob is a job of an attempt: "List jobs for a workflow run" and
	// "workflow_job".
	githubJob struct {
		RunID      uint64     `json:"run_id"`
		Attempt    uint32     `json:"run_attempt"`
		HeadSHA    string     `json:"head_sha"`
		Status     string     `json:"status"`
		Conclusion string     `json:"conclusion"`
		Created    githubTime `json:"created_at"` // not in older servers' answers
		Started    githubTime `json:"started_at"`
		Completed  githubTime `json:"completed_at"`
		Runner     string     `json:"runner_name"`
	}

	githubPerson struct {
		Name  string     `json:"name"`
		Email string     `json:"email"`
		Date  githubTime `json:"date"`
	}

	// githubPushed is a commit as webhooks and runs show it.
	githubPushed struct {
		ID        string       `json:"id"`
		Message   string       `json:"message"`
		Timestamp githubTime   `json:"timestamp"`
		Author    githubPerson `json:"author"`
		Committer githubPerson `json:"committer"`
	}

	// githubCommit is "Get a commit".
	githubCommit struct {
		SHA    string `json:"sha"`
		Commit struct {
			Message      string              `json:"message"`
			Author       githubPerson        `json:"author"`
			Committer    githubPerson        `json:"committer"`
			Verification *githubVerification `json:"verification"`
		} `json:"commit"`
	}
	githubVerification struct {
		Verified bool       `json:"verified"`
		Reason   string     `json:"reason"`
		At       githubTime `json:"verified_at"`
	}

	// githubReview is "Get the review history for a workflow run".
	githubReview struct {
		State string     `json:"state"`
		User  githubUser `json:"user"`
	}
)

// githubTime is a time of RFC 3339, as all are but those of a push's repository,
// which are not read.
type githubTime struct{ time.Time }

// UnmarshalJSON takes null, "", and a time.
func (t *githubTime) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		t.Time = time.Time{}
		return nil
	}
	at, ok := parseWireTime(text, time.RFC3339)
	if !ok {
		return badShape[githubTime]()
	}
	t.Time = at
	return nil
}

// jsonShape names what it is for jsonFault.
func (githubTime) jsonShape() string { return "a time of RFC 3339" }

// githubLead is by how much a job may seem to start before it was made, clocks
// being what they are. More than that, and it is from another attempt.
const githubLead = time.Minute

// run is the attempt in the normal form; its ID is "" if it has none, or no
// repository.
func (r githubRun) run(project string) Run {
	project = cmp.Or(r.Repository.FullName, project)
	if project == "" || r.ID == 0 {
		return Run{}
	}
	run := Run{
		Provider: "github", Project: project, ID: githubNumber(r.ID), Attempt: max(r.Attempt, 1),
		Ref: r.ref(), Commit: strings.ToLower(r.HeadSHA), Trigger: strings.ToLower(r.Event),
		Actor:  cmp.Or(r.Actor.Login, r.Triggering.Login),
		Queued: r.Created.Time, Said: newestOf(r.Created.Time, r.Started.Time, r.Updated.Time),
	}
	run.Status, run.Finished = r.status()
	if r.Number > 0 {
		run.Name = "#" + githubNumber(r.Number)
	}
	if run.Attempt > 1 { // created_at is the first attempt's
		run.Queued = r.Started.Time
	}
	if run.Status == Running || !run.Finished.IsZero() {
		run.Started = r.Started.Time
	}
	run.Job = r.job(project, run.Ref)
	return run
}

// status tells how far the attempt is, and when it ended, if it did.
func (r githubRun) status() (Status, time.Time) {
	switch r.Status {
	case "":
		return Unknown, time.Time{}
	case "in_progress":
		return Running, time.Time{}
	case "completed":
		switch r.Conclusion {
		case "action_required":
			// not an end: a maintainer has yet to let a newcomer's run begin
			return Queued, time.Time{}
		case "success", "neutral":
			return Succeeded, r.Updated.Time
		case "failure", "timed_out", "startup_failure":
			return Failed, r.Updated.Time
		case "cancelled", "stale":
			return Canceled, r.Updated.Time
		case "skipped":
			return Skipped, r.Updated.Time
		}
		return Unknown, r.Updated.Time // it ended, in a way that is new to us
	}
	return Queued, time.Time{} // requested, queued, pending, waiting
}

// completed reports whether the attempt will change no more.
func (r githubRun) completed() bool {
	_, finished := r.status()
	return !finished.IsZero()
}

// ref is the claim ref, as far as the run tells it: see "Events that trigger
// workflows". head_branch is a branch, or a tag, or the branch of a fork, which
// must not pass for one of the repository's own. A tag passes for a branch here;
// Poll and Run ask, and Merge prefers their refs/tags.
func (r githubRun) ref() string {
	if r.HeadBranch == "" {
		return ""
	}
	switch r.Event {
	case "pull_request", "pull_request_review", "pull_request_review_comment":
		if len(r.PullRequests) == 1 && r.PullRequests[0].Number > 0 {
			return "refs/pull/" + githubNumber(r.PullRequests[0].Number) + "/merge"
		}
		return "" // of a fork, or of several
	case "pull_request_target":
		// the base's ref or, since December 2025, the default branch's
		if len(r.PullRequests) == 1 && r.PullRequests[0].Base.Ref != "" && r.PullRequests[0].Base.Ref == r.Repository.DefaultBranch {
			return "refs/heads/" + r.Repository.DefaultBranch
		}
		return ""
	}
	if r.tag || r.Event == "release" {
		return "refs/tags/" + r.HeadBranch
	}
	return "refs/heads/" + r.HeadBranch
}

// githubTagEvents are those of runs whose head_branch may be a tag.
var githubTagEvents = []string{"push", "create", "workflow_dispatch", "deployment", "deployment_status", "registry_package"}

// mayBeTag reports whether only the API can tell what head_branch is.
func (r githubRun) mayBeTag() bool {
	return r.HeadBranch != "" && r.HeadBranch != r.Repository.DefaultBranch && slices.Contains(githubTagEvents, r.Event)
}

// job is the claim workflow_ref, OWNER/NAME/PATH@REF: without the ref where that
// is not known.
func (r githubRun) job(project, ref string) string {
	path, _, _ := strings.Cut(r.Path, "@")
	if path == "" {
		return ""
	}
	if ref == "" {
		return project + "/" + path
	}
	return project + "/" + path + "@" + ref
}

// facts are the run, and the commit that it is on.
func (r githubRun) facts(project string) []Fact {
	run := r.run(project)
	if run.ID == "" {
		return nil
	}
	facts := []Fact{{Run: &run}}
	if r.HeadCommit != nil {
		facts = append(facts, r.HeadCommit.facts(run.Project)...)
	}
	return facts
}

// run is what a job tells of its run. That it ended does not say that the run did.
func (j githubJob) run(project string) Run {
	if project == "" || j.RunID == 0 {
		return Run{}
	}
	run := Run{
		Provider: "github", Project: project, ID: githubNumber(j.RunID), Attempt: max(j.Attempt, 1),
		Commit: strings.ToLower(j.HeadSHA), Said: newestOf(j.Created.Time, j.Completed.Time),
	}
	// Queued and skipped jobs have a started_at as well, and no runner. A job that
	// is taken over from an earlier attempt began before it was made.
	ran := j.Status == "in_progress" || j.Status == "completed" && j.Runner != ""
	carried := !j.Created.IsZero() && !j.Started.IsZero() && j.Started.Before(j.Created.Add(-githubLead))
	switch {
	case ran && !carried:
		run.Status, run.Agent, run.Started = Running, j.Runner, j.Started.Time
		run.Said = latest(run.Said, j.Started.Time)
	case j.Status != "":
		run.Status = Queued
	}
	return run
}

// facts are the commit, if it has a name.
func (c githubPushed) facts(repository string) []Fact {
	if c.ID == "" || repository == "" {
		return nil
	}
	// Which of the two times the timestamp is, GitHub does not say. Commit.Merge
	// keeps the right ones when the API has told them apart.
	authored, committed := c.Author.Date.Time, c.Committer.Date.Time
	if authored.IsZero() {
		authored = c.Timestamp.Time
	}
	if committed.IsZero() {
		committed = c.Timestamp.Time
	}
	return []Fact{{Commit: &Commit{
		SHA: strings.ToLower(c.ID), Repository: repository,
		Author: c.Author.Name, AuthorEmail: c.Author.Email, Committer: c.Committer.Name,
		Authored: authored, Committed: committed, Subject: subjectOf(c.Message), Said: newestOf(authored, committed),
	}}}
}

// commit is the API's answer in the normal form.
func (c githubCommit) commit(repository string) Commit {
	git := c.Commit
	commit := Commit{
		SHA: strings.ToLower(c.SHA), Repository: repository,
		Author: git.Author.Name, AuthorEmail: git.Author.Email, Committer: git.Committer.Name,
		Authored: git.Author.Date.Time, Committed: git.Committer.Date.Time, Subject: subjectOf(git.Message),
		Said: newestOf(git.Author.Date.Time, git.Committer.Date.Time),
	}
	if v := git.Verification; v != nil {
		commit.Said = latest(commit.Said, v.At.Time)
		switch {
		case v.Verified:
			commit.Signature = "verified"
		case v.Reason == "unsigned":
			commit.Signature = "none"
		default:
			commit.Signature = "unverified"
		}
	}
	return commit
}
