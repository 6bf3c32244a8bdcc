package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// ciWorld is four CI servers, each with one run that has ended, and the sources
// that belong to them, with all credentials.
type ciWorld struct {
	space    *citest.Space
	teamcity *citest.TeamCity
	github   *citest.GitHub
	gitlab   *citest.GitLab
	sources  map[string]config.CISource
	dir      string // of the secrets
}

// runOf are the runs of the world, by provider, as the view runs has them.
var runOf = map[string]struct{ project, run string }{
	"space": {"infra", "2bQWXYZ"}, "teamcity": {"Platform", "71"}, "github": {"acme/platform", "555"}, "gitlab": {"acme/app", "574"},
}

var ciSHA = strings.Repeat("9f31", 10)

func newCIWorld(t *testing.T) *ciWorld {
	t.Helper()
	began := time.Now().Add(-30 * time.Minute).Truncate(time.Second).UTC()
	ran, ended := began.Add(4*time.Second), began.Add(2*time.Minute)
	w := &ciWorld{
		space: &citest.Space{ClientID: "f6df3d26", ClientSecret: "space-secret", SigningKey: "space-signing-key", Runs: []citest.SpaceRun{{
			ProjectID: "1AbCd", ProjectKey: "INFRA", JobID: "3aBcDe", Job: "Publish", ID: "2bQWXYZ", Repository: "platform", Branch: "refs/heads/main",
			Commit: ciSHA, Status: "FINISHED", Trigger: "GitPush", Number: 118, Queued: began, Started: ran, Finished: ended,
		}}},
		teamcity: &citest.TeamCity{Token: "teamcity-token", WebhookUser: "tc", WebhookPassword: "teamcity-password"},
		github: &citest.GitHub{Token: "github-token", Runs: []citest.GitHubRun{{
			Repository: "acme/platform", ID: 555, Number: 9, Path: ".github/workflows/ci.yml", Event: "push", Branch: "main", SHA: ciSHA, Actor: "octocat",
			Attempts: []citest.GitHubAttempt{{Actor: "octocat", Began: began, Ran: ran, Ended: ended, Conclusion: "success"}},
		}}},
		gitlab:  &citest.GitLab{Token: "gitlab-token", Secret: "gitlab-secret"},
		sources: map[string]config.CISource{}, dir: t.TempDir(),
	}
	w.putBuild(71, began)
	w.gitlab.PutProject(citest.GitLabProject{ID: 20, Path: "acme/app"})
	w.gitlab.Put(citest.GitLabPipeline{
		ID: 574, IID: 3, Project: "acme/app", Ref: "main", SHA: ciSHA, Source: "push", User: "ada", Status: "success", Created: began, Started: ran, Finished: ended,
	})
	for name, text := range map[string]string{
		"space": "space-secret", "space-webhook": "space-signing-key", "teamcity": "teamcity-token", "teamcity-webhook": "teamcity-password",
		"github": "github-token", "github-webhook": "github-secret", "gitlab": "gitlab-token", "gitlab-webhook": "gitlab-secret",
	} {
		w.secret(t, name, text)
	}
	w.add(t, config.CISource{
		Name: "space", Provider: "space", ClientID: "f6df3d26", ClientSecretFile: w.path("space"), Webhook: config.CIWebhook{SigningKeyFile: w.path("space-webhook")},
		Projects: []config.CIProject{{Key: "INFRA", ID: "1AbCd", Name: "infra", Jobs: []string{"3aBcDe"}}},
	}, w.space)
	w.add(t, config.CISource{
		Name: "teamcity", Provider: "teamcity", TokenFile: w.path("teamcity"), Webhook: config.CIWebhook{User: "tc", PasswordFile: w.path("teamcity-webhook")},
	}, w.teamcity)
	w.add(t, config.CISource{
		Name: "github", Provider: "github", TokenFile: w.path("github"), Webhook: config.CIWebhook{SecretFile: w.path("github-webhook")}, Repositories: []string{"acme/platform"},
	}, w.github)
	w.add(t, config.CISource{
		Name: "gitlab", Provider: "gitlab", TokenFile: w.path("gitlab"), Webhook: config.CIWebhook{SecretFile: w.path("gitlab-webhook")},
		Projects: []config.CIProject{{Name: "acme/app"}},
	}, w.gitlab)
	return w
}

// putBuild adds a TeamCity build that began at a time and took two minutes.
func (w *ciWorld) putBuild(id int64, began time.Time) {
	w.teamcity.Put(citest.TeamCityBuild{
		ID: id, Number: "9", BuildType: "Platform_Deploy", Project: "Platform", Branch: "main", DefaultBranch: true, Status: "SUCCESS", Agent: "agent-1",
		Queued: began, Started: began.Add(4 * time.Second), Finished: began.Add(2 * time.Minute),
		Revisions: []citest.TeamCityRevision{{Root: "Platform_Root", Version: ciSHA, Branch: "refs/heads/main"}},
	})
}

func (w *ciWorld) path(secret string) string { return filepath.Join(w.dir, secret) }

func (w *ciWorld) secret(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// add serves a fake on loopback.
func (w *ciWorld) add(t *testing.T, s config.CISource, fake http.Handler) {
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	s.URL = server.URL
	w.sources[s.Name] = s
}

// webhookOnly is a source without credentials for its API.
func webhookOnly(s config.CISource) config.CISource {
	s.ClientSecretFile, s.TokenFile = "", ""
	return s
}

// config is a daemon's with some of the sources.
func (w *ciWorld) config(dir string, sources ...config.CISource) config.Config {
	cfg := testConfig(dir)
	cfg.CI.Listen = "127.0.0.1:0"
	cfg.CI.PollInterval = config.Duration(20 * time.Millisecond)
	cfg.CI.Sources = sources
	return cfg
}

// delivery is the webhook of the end of each provider's run.
func (w *ciWorld) delivery(t *testing.T, provider string) citest.Delivery {
	t.Helper()
	now := time.Now()
	switch provider {
	case "space":
		events := w.space.RunEvents(w.space.Runs[0])
		return w.signed(t, events[len(events)-1])
	case "teamcity":
		return w.teamcity.Delivery("BUILD_FINISHED", 71, now)
	case "gitlab":
		return w.gitlab.PipelineHook(574, now)
	}
	all := w.github.Webhooks(time.Time{}, now)
	last := all[len(all)-1]
	return citest.Delivery{Header: last.Header("github-secret"), Body: last.Body}
}

// signed is a delivery of Space.
func (w *ciWorld) signed(t *testing.T, body []byte) citest.Delivery {
	t.Helper()
	header, err := w.space.Sign(body, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return citest.Delivery{Header: header, Body: body}
}

// deliver sends a webhook to the daemon and gives the answer's status.
func (d *testDaemon) deliver(delivery citest.Delivery, source string) int {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	status, err := delivery.Send(ctx, http.DefaultClient, d.webhookURL(source))
	if err != nil {
		d.t.Fatal(err)
	}
	return status
}

func (d *testDaemon) webhookURL(source string) string {
	return "http://" + d.ci.webhooks.Addr().String() + "/webhooks/" + source
}
