package citest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Rotate gives the server a new key for webhooks; the older ones stay published.
// The first call makes the first key.
func (s *Space) Rotate() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	s.Update(func() { s.keys = append(s.keys, key) })
	return nil
}

// Sign makes the headers of a delivery at a time, which Skew is added to: all of the
// ways that the server is set up for, so that any one can be checked.
func (s *Space) Sign(body []byte, at time.Time) (http.Header, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"Space (81383) Ktor http-client"}}
	timestamp := strconv.FormatInt(at.Add(s.Skew).UnixMilli(), 10)
	h.Set("X-Space-Timestamp", timestamp)
	message := append([]byte(timestamp+":"), body...)
	if len(s.keys) > 0 {
		hash := sha512.Sum512(message)
		signature, err := rsa.SignPKCS1v15(nil, s.keys[len(s.keys)-1], crypto.SHA512, hash[:])
		if err != nil {
			return nil, err
		}
		h.Set("X-Space-Public-Key-Signature", base64.StdEncoding.EncodeToString(signature))
	}
	if s.SigningKey != "" {
		mac := hmac.New(sha256.New, []byte(s.SigningKey))
		mac.Write(message)
		h.Set("X-Space-Signature", hex.EncodeToString(mac.Sum(nil)))
	}
	switch {
	case s.Bearer != "":
		h.Set("Authorization", "Bearer "+s.Bearer)
	case s.BasicUser != "":
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(s.BasicUser+":"+s.BasicPassword)))
	}
	return h, nil
}

// Send delivers a body to a receiver, signed now. As Space does, it tries up to
// three times more while the answer is not 2xx, without a pause.
func (s *Space) Send(ctx context.Context, client *http.Client, url string, body []byte) (status int, err error) {
	for range 4 {
		header, err := s.Sign(body, s.rightClock())
		if err != nil {
			return 0, err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		request.Header = header
		response, err := client.Do(request)
		if err != nil {
			return 0, err
		}
		response.Body.Close()
		if status = response.StatusCode; status/100 == 2 {
			break
		}
	}
	return status, nil
}

// Envelope wraps a payload as a webhook's body.
func (s *Space) Envelope(payload map[string]any) []byte {
	body, err := json.Marshal(map[string]any{
		"className": "WebhookRequestPayload", "clientId": s.ClientID, "webhookId": "1pQrSt", "verificationToken": nil, "payload": payload,
	})
	if err != nil {
		panic("citest: " + err.Error()) // maps of texts and numbers
	}
	return body
}

// spaceEventStatuses are the words of a webhook for those of the API.
var spaceEventStatuses = map[string]string{"FINISHED": "Succeeded", "FAILED": "Failed", "TERMINATED": "Terminated"}

// Events are the bodies of all webhooks that the world so far has caused, oldest
// first in each of runs, pushes and applications.
func (s *Space) Events() [][]byte {
	var bodies [][]byte
	for _, run := range s.Runs {
		bodies = append(bodies, s.RunEvents(run)...)
	}
	for _, repository := range s.Repositories {
		for _, commit := range slices.Backward(repository.Commits) {
			bodies = append(bodies, s.PushEvent(repository, commit))
		}
	}
	for _, app := range s.Apps {
		bodies = append(bodies, s.Envelope(map[string]any{
			"className": "ApplicationWebhookEvent", "application": app.dto(), "clientSecretChanged": false,
			"meta": map[string]any{"timestamp": spaceDateTime(app.Created), "method": "Created"},
		}))
	}
	return bodies
}

// RunEvents are those of one run: that it started, and that it ended.
func (s *Space) RunEvents(run SpaceRun) [][]byte {
	var bodies [][]byte
	if !run.Started.IsZero() {
		bodies = append(bodies, s.runEvent(run, "Started", run.Started))
	}
	if status := spaceEventStatuses[run.Status]; status != "" && !run.Finished.IsZero() {
		bodies = append(bodies, s.runEvent(run, status, run.Finished))
	}
	return bodies
}

func (s *Space) runEvent(run SpaceRun, status string, at time.Time) []byte {
	trigger := map[string]any{"className": "JobExecutionTrigger." + run.Trigger}
	switch run.Trigger {
	case "GitPush":
		trigger["commit"] = run.Commit
	case "Manual", "SafeMerge":
		trigger["principal"] = map[string]any{
			"name":    "A person",
			"details": map[string]any{"className": "CUserPrincipalDetails", "user": map[string]any{"id": "u1", "username": run.Actor}},
		}
	}
	modified := func(value any) any { return map[string]any{"old": nil, "new": value} }
	payload := map[string]any{
		"className": "AutomationJobEvent", "executionId": run.ID, "executionNumber": run.Number, "jobName": run.Job,
		"meta": map[string]any{
			"principal": map[string]any{"name": "Automation", "details": nil}, "timestamp": spaceDateTime(at), "method": "Updated",
		},
		"project":        map[string]any{"id": run.ProjectID, "key": map[string]any{"key": run.ProjectKey}, "name": run.ProjectKey},
		"repositoryName": run.Repository, "trigger": trigger, "triggerTime": spaceDateTime(run.Queued),
		"status": modified(status), "failureReasons": nil, "stoppedBy": nil,
		"repositories": []any{
			map[string]any{"isDefault": false, "name": "library", "cloneDir": "lib", "ref": "refs/heads/other", "commit": run.Commit},
			map[string]any{"isDefault": true, "name": run.Repository, "cloneDir": nil, "ref": run.Branch, "commit": run.Commit},
		},
	}
	if status == "Started" {
		payload["startTime"] = modified(spaceDateTime(run.Started))
	} else {
		payload["endTime"] = modified(spaceDateTime(run.Finished))
	}
	return s.Envelope(payload)
}

// PushEvent is that of a push of one commit.
func (s *Space) PushEvent(repository SpaceRepository, commit SpaceCommit) []byte {
	return s.Envelope(map[string]any{
		"className": "SRepoPushWebhookEvent", "projectKey": map[string]any{"key": repository.ProjectKey}, "repository": repository.Name,
		"head": "refs/heads/main", "oldCommitId": nil, "newCommitId": commit.SHA, "created": false, "deleted": false, "forced": false,
		"commits": []any{commit.dto()}, "hasMoreCommits": false,
	})
}
