package ci

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"strings"
)

// githubEvent is what is read of the webhooks that are used; each has its own part
// of it. See "Webhook events and payloads" in GitHub's documentation.
type githubEvent struct {
	Action     string           `json:"action"`
	Repository githubRepository `json:"repository"`
	Run        *githubRun       `json:"workflow_run"` // workflow_run, deployment_review
	Job        *githubJob       `json:"workflow_job"`
	Commits    []githubPushed   `json:"commits"` // push
	HeadCommit *githubPushed    `json:"head_commit"`
	Approver   githubUser       `json:"approver"` // deployment_review
}

// Webhook takes workflow_run, workflow_job, push and deployment_review, and knows
// ping; others tell nothing. The signature is HMAC-SHA256 over the raw body
// (X-Hub-Signature-256: "Validating webhook deliveries"). Nothing signed tells the
// time of a delivery, so that a replayed one is genuine, and changes nothing.
//
// An error that is neither ErrUnverified nor ErrMalformed is of a secret that
// cannot be read: the delivery may be genuine, and should be sent again.
func (g *GitHub) Webhook(_ context.Context, d Delivery) ([]Fact, error) {
	if err := g.verify(d); err != nil {
		return nil, fmt.Errorf("github: %w", err)
	}
	// The header is not signed. It only picks among what a genuine body has.
	kind := d.Header.Get("X-GitHub-Event")
	switch kind {
	case "workflow_run", "workflow_job", "push", "deployment_review":
	default:
		return nil, nil
	}
	body, err := githubPayload(d)
	if err != nil {
		return nil, fmt.Errorf("github: %s: %w", kind, err)
	}
	var event githubEvent
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, fmt.Errorf("github: %s: %w: %s", kind, ErrMalformed, jsonFault(err))
	}
	return event.facts(kind), nil
}

func (e githubEvent) facts(kind string) []Fact {
	project := e.Repository.FullName
	switch {
	case kind == "workflow_job" && e.Job != nil:
		if run := e.Job.run(project); run.ID != "" {
			return []Fact{{Run: &run}}
		}
	case kind == "push":
		var facts []Fact
		for _, commit := range e.Commits {
			facts = append(facts, commit.facts(project)...)
		}
		if e.HeadCommit != nil { // of a new branch on an old commit, Commits is empty
			facts = append(facts, e.HeadCommit.facts(project)...)
		}
		return facts
	case e.Run != nil: // workflow_run, deployment_review
		// the repository of the whole event has more fields than the run's own
		e.Run.Repository = githubRepository{
			FullName: cmp.Or(project, e.Run.Repository.FullName), DefaultBranch: cmp.Or(e.Repository.DefaultBranch, e.Run.Repository.DefaultBranch),
		}
		facts := e.Run.facts(project)
		if kind == "deployment_review" && e.Action == "approved" && len(facts) > 0 {
			facts[0].Run.Approver = e.Approver.Login
		}
		return facts
	}
	return nil
}

// verify compares the signature with what each secret makes of the body, in a time
// that tells nothing of either.
func (g *GitHub) verify(d Delivery) error {
	if len(g.webhooks) == 0 {
		return fmt.Errorf("%w: no webhook secret is configured", ErrUnverified)
	}
	signatures := d.Header.Values("X-Hub-Signature-256")
	if len(signatures) != 1 {
		return fmt.Errorf("%w: %d headers X-Hub-Signature-256, want 1: set the webhook's secret at GitHub", ErrUnverified, len(signatures))
	}
	text, named := strings.CutPrefix(signatures[0], "sha256=")
	claimed, err := hex.DecodeString(text)
	if !named || err != nil || len(claimed) != sha256.Size {
		return fmt.Errorf("%w: X-Hub-Signature-256 is not sha256= and 64 hexadecimal digits", ErrUnverified)
	}
	genuine, unread := false, error(nil)
	for _, secret := range g.webhooks {
		key, err := secret()
		if err != nil {
			unread = err
			continue
		}
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(d.Body)
		if hmac.Equal(mac.Sum(nil), claimed) {
			genuine = true
		}
	}
	switch {
	case genuine:
		return nil
	case unread != nil:
		return fmt.Errorf("webhook secret: %w", unread)
	}
	return fmt.Errorf("%w: X-Hub-Signature-256 does not fit: is the webhook's secret at GitHub the one configured here?", ErrUnverified)
}

// githubPayload is the JSON of a delivery: the body or, with the content type that
// GitHub proposes first for a new webhook, a form's field.
func githubPayload(d Delivery) ([]byte, error) {
	kind, _, _ := mime.ParseMediaType(d.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" {
		return d.Body, nil
	}
	form, err := url.ParseQuery(string(d.Body))
	if err != nil || !form.Has("payload") {
		return nil, fmt.Errorf("%w: the form has no field payload", ErrMalformed)
	}
	return []byte(form.Get("payload")), nil
}
