package ci

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Webhook takes the events pipeline, job (build), push and tag push of projects,
// groups and the system; docs.gitlab.com/user/project/integrations/webhook_events.
// What is sent again has the same Idempotency-Key; nothing depends on that.
//
// A merge request's pipeline that comes from a fork is named by the fork's path,
// which is asked for (as is, for a job, whether there is a fork). When that fails
// within 5 s, the delivery says nothing of its run, and Poll will.
func (g *GitLab) Webhook(ctx context.Context, d Delivery) ([]Fact, error) {
	if err := g.verify(d); err != nil {
		return nil, err
	}
	var event struct {
		Kind string `json:"object_kind"`
	}
	if err := decodeHook(d.Body, &event); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, gitlabHookWait)
	defer cancel()
	switch event.Kind {
	case "pipeline":
		return g.pipelineHook(ctx, d.Body)
	case "build":
		return g.jobHook(ctx, d.Body)
	case "push", "tag_push":
		return pushHook(d.Body)
	}
	return nil, nil
}

// hookCommit is a commit in the webhooks of pipelines and pushes.
type hookCommit struct {
	ID        string     `json:"id"`
	Message   string     `json:"message"`
	Timestamp gitlabTime `json:"timestamp"` // when it was committed
	Author    struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	} `json:"author"`
}

func (c hookCommit) facts(repository string) []Fact {
	if c.ID == "" || repository == "" || c.Message == "" && c.Author.Name == "" {
		return nil // a merge that was only tried is a sha and no more
	}
	return []Fact{{Commit: &Commit{
		SHA: strings.ToLower(c.ID), Repository: repository, Author: c.Author.Name, AuthorEmail: hookEmail(c.Author.Email),
		Committed: c.Timestamp.Time, Subject: subjectOf(c.Message), Said: c.Timestamp.Time,
	}}}
}

// hookEmail is an address, unless it is hidden.
func hookEmail(address string) string {
	if address == "[REDACTED]" {
		return ""
	}
	return address
}

func (g *GitLab) pipelineHook(ctx context.Context, body []byte) ([]Fact, error) {
	var hook struct {
		Pipeline     gitlabPipeline     `json:"object_attributes"`
		MergeRequest gitlabMergeRequest `json:"merge_request"`
		User         gitlabUser         `json:"user"`
		Project      gitlabProject      `json:"project"`
		Commit       hookCommit         `json:"commit"`
		Builds       []gitlabJob        `json:"builds"`
	}
	if err := decodeHook(body, &hook); err != nil {
		return nil, err
	}
	project := hook.Project.Path
	facts := hook.Commit.facts(project)
	if hook.Pipeline.ID == "" || project == "" {
		return facts, nil
	}
	origin := gitlabOrigin{project: project}
	if hook.MergeRequest.IID != "" {
		var err error
		if origin, err = g.resolve(ctx, project, hook.MergeRequest); err != nil {
			return facts, nil //nolint:nilerr // as Webhook says: the poll will tell
		}
	}
	hook.Pipeline.User = hook.User
	run := hook.Pipeline.run(origin, hook.Builds)
	return append(facts, Fact{Run: &run}), nil
}

// gitlabJobHook is a job's webhook; it calls the pipeline commit.
type gitlabJobHook struct {
	Ref        string       `json:"ref"`
	Tag        bool         `json:"tag"`
	SHA        string       `json:"sha"`
	PipelineID wireID       `json:"pipeline_id"`
	StartedAt  gitlabTime   `json:"build_started_at"`
	FinishedAt gitlabTime   `json:"build_finished_at"`
	Runner     gitlabRunner `json:"runner"`
	Commit     struct {
		Message     string     `json:"message"`
		AuthorName  string     `json:"author_name"`
		AuthorEmail string     `json:"author_email"`
		Status      string     `json:"status"`
		StartedAt   gitlabTime `json:"started_at"`
		FinishedAt  gitlabTime `json:"finished_at"`
	} `json:"commit"`
	Project    gitlabProject `json:"project"` // older servers do not send it
	Repository struct {
		Homepage string `json:"homepage"`
	} `json:"repository"`
}

// jobHook takes from a job what it says of its pipeline. Its user is left out: that is
// who started the job, not the pipeline.
func (g *GitLab) jobHook(ctx context.Context, body []byte) ([]Fact, error) {
	var hook gitlabJobHook
	if err := decodeHook(body, &hook); err != nil {
		return nil, err
	}
	project := hook.Project.Path
	if project == "" {
		project = g.pathOf(hook.Repository.Homepage)
	}
	commit := hookCommit{ID: hook.SHA, Message: hook.Commit.Message}
	commit.Author.Name, commit.Author.Email = hook.Commit.AuthorName, hook.Commit.AuthorEmail
	facts := commit.facts(project)
	if hook.PipelineID == "" || project == "" {
		return facts, nil
	}
	origin := gitlabOrigin{project: project}
	if number := mergeRequest(hook.Ref); number != "" {
		var err error
		if origin, err = g.originOf(ctx, project, number); err != nil {
			return facts, nil //nolint:nilerr // as Webhook says: the poll will tell
		}
	}
	pipeline := gitlabPipeline{
		ID: hook.PipelineID, SHA: hook.SHA, Ref: hook.Ref, Tag: hook.Tag, Status: hook.Commit.Status,
		StartedAt: hook.Commit.StartedAt, FinishedAt: hook.Commit.FinishedAt,
	}
	run := pipeline.run(origin, []gitlabJob{{Runner: hook.Runner, StartedAt: hook.StartedAt, FinishedAt: hook.FinishedAt}})
	return append(facts, Fact{Run: &run}), nil
}

// pathOf is a project's path by the URL of its page, or "".
func (g *GitLab) pathOf(homepage string) string {
	path, ok := strings.CutPrefix(homepage, g.config.URL+"/")
	if !ok { // the server may know itself by another name
		page, err := url.Parse(homepage)
		if err != nil || page.Host == "" {
			return ""
		}
		path = strings.TrimPrefix(page.Path, "/")
	}
	if !isGitLabPath(path) {
		return ""
	}
	return path
}

// pushHook takes the commits of a push: the last 20 of them, as GitLab sends no more.
func pushHook(body []byte) ([]Fact, error) {
	var hook struct {
		Project gitlabProject `json:"project"`
		Commits []hookCommit  `json:"commits"`
	}
	if err := decodeHook(body, &hook); err != nil {
		return nil, err
	}
	var facts []Fact
	for _, commit := range hook.Commits {
		facts = append(facts, commit.facts(hook.Project.Path)...)
	}
	return facts, nil
}

// verify checks the signature where signing tokens are configured, and else the
// secret token.
func (g *GitLab) verify(d Delivery) error {
	switch {
	case len(g.config.SigningTokens) > 0:
		return g.verifySignature(d)
	case len(g.config.WebhookSecrets) == 0:
		return fmt.Errorf("%w: gitlab: no secret token and no signing token is configured for its webhooks", ErrUnverified)
	}
	ok, err := anySecret(d.Header.Get("X-Gitlab-Token"), g.config.WebhookSecrets)
	switch {
	case ok:
		return nil
	case err != nil:
		return fmt.Errorf("gitlab: webhook: secret token: %w", err)
	}
	return fmt.Errorf("%w: gitlab: X-Gitlab-Token is none of the secret tokens configured", ErrUnverified)
}

// verifySignature checks a signature by the Standard Webhooks specification, which
// GitLab follows (gitlab-org/gitlab!230944): HMAC-SHA256 over id.timestamp.body.
func (g *GitLab) verifySignature(d Delivery) error {
	id, stamp := d.Header.Get("Webhook-Id"), d.Header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" {
		return fmt.Errorf("%w: gitlab: the delivery is not signed", ErrUnverified)
	}
	if late := d.Received.Sub(time.Unix(seconds, 0)); late > g.config.Window || late < -g.config.Window {
		return fmt.Errorf("%w: gitlab: webhook-timestamp is more than %v from now: was it sent before, or is a clock wrong?", ErrUnverified, g.config.Window)
	}
	var failed error
	found := false
	for _, secret := range g.config.SigningTokens {
		key, err := signingKey(secret)
		if err != nil {
			failed = err
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(d.Body)
		sum := mac.Sum(nil)
		for _, signature := range strings.Fields(d.Header.Get("Webhook-Signature")) {
			text, ok := strings.CutPrefix(signature, "v1,")
			got, err := base64.StdEncoding.DecodeString(text)
			found = ok && err == nil && hmac.Equal(got, sum) || found
		}
	}
	switch {
	case found:
		return nil
	case failed != nil:
		return fmt.Errorf("gitlab: webhook: signing token: %w", failed)
	}
	return fmt.Errorf("%w: gitlab: the signature fits none of the signing tokens configured", ErrUnverified)
}

// signingKey is the key in a signing token, whsec_ and its base64.
func signingKey(secret Secret) ([]byte, error) {
	token, err := secret()
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(token, "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) == 0 {
		return nil, errors.New("it is not whsec_ and base64: copy it as GitLab shows it")
	}
	return key, nil
}
