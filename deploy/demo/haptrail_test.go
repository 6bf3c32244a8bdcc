package demo

import (
	"context"
	"net/http/httptest"
	"path"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
)

// memory keeps facts as haptrail's tables do, merged.
type memory struct {
	mu         sync.Mutex
	runs       map[string]ci.Run // by provider, id and attempt; all below guarded by mu
	first      map[string]time.Time
	commits    map[string]ci.Commit
	principals map[string]ci.Principal
	cursors    map[string]string
}

func newMemory() *memory {
	return &memory{
		runs: make(map[string]ci.Run), first: make(map[string]time.Time), commits: make(map[string]ci.Commit),
		principals: make(map[string]ci.Principal), cursors: make(map[string]string),
	}
}

func (m *memory) Apply(_ context.Context, facts []ci.Fact) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range facts {
		switch {
		case f.Run != nil:
			key := runKey(f.Run.Provider, f.Run.ID, f.Run.Attempt)
			known, ok := m.runs[key]
			if !ok {
				known, m.first[key] = *f.Run, time.Now()
			}
			m.runs[key] = known.Merge(*f.Run)
		case f.Commit != nil:
			known, ok := m.commits[f.Commit.SHA]
			if !ok {
				known = *f.Commit
			}
			m.commits[f.Commit.SHA] = known.Merge(*f.Commit)
		case f.Principal != nil:
			m.principals[f.Principal.Subject] = *f.Principal
		}
	}
	return nil
}

func (m *memory) Load(_ context.Context, source string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursors[source], nil
}

func (m *memory) Save(_ context.Context, source, cursor string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursors[source] = cursor
	return nil
}

// run is the run of a job, and when something was heard of it first.
func (m *memory) run(j job) (ci.Run, time.Time, bool) {
	attempt := uint32(0)
	if j.provider == github {
		attempt = uint32(j.attempt)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	run, ok := m.runs[runKey(j.provider, j.run, attempt)]
	return run, m.first[runKey(j.provider, j.run, attempt)], ok
}

func runKey(provider, id string, attempt uint32) string {
	return path.Join(provider, id, strconv.FormatUint(uint64(attempt), 10))
}

// haptrail is what of it the CI servers meet, with its tables in memory.
type haptrail struct {
	*memory
	url string // of the webhooks
}

// startHaptrail takes webhooks, and polls often if it is told to, until the test ends.
func startHaptrail(t *testing.T, c *CI, polls bool) *haptrail {
	t.Helper()
	sources := sourcesOf(t, c)
	h := &haptrail{memory: newMemory()}
	server := httptest.NewServer(&ci.Receiver{Sources: sources, Store: h.memory})
	h.url = server.URL + "/webhooks"
	ctx, cancel := context.WithCancel(context.Background())
	var polling sync.WaitGroup
	if polls {
		poller := &ci.Poller{Sources: sources, Store: h.memory, Cursors: h.memory, Interval: 100 * time.Millisecond}
		polling.Go(func() { _ = poller.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		polling.Wait()
		server.Close()
	})
	return h
}

// sourcesOf are the CI servers as an operator would configure them.
func sourcesOf(t *testing.T, c *CI) map[string]ci.Source {
	t.Helper()
	secret := func(name string) ci.Secret { return ci.SecretFile(c.SecretFile(name)) }
	var projects []ci.SpaceProject
	for _, p := range SpaceProjects() {
		projects = append(projects, ci.SpaceProject{Key: p.Key, ID: p.ID, Name: p.Name, Jobs: p.Jobs, Repositories: p.Repositories, Principal: p.Principal})
	}
	sources := make(map[string]ci.Source)
	add := func(name string, source ci.Source, err error) {
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = source
	}
	spaceSource, err := ci.NewSpace(ci.SpaceConfig{
		ServerURL: c.URL(space), ClientID: SpaceClientID, ClientSecret: secret(SpaceClientSecret), Projects: projects,
		Subject: ci.SpaceSubjectName, Webhooks: ci.SpaceVerification{SigningKey: secret(SpaceSigningKey)},
	})
	add(space, spaceSource, err)
	teamcitySource, err := ci.NewTeamCity(ci.TeamCityConfig{
		URL: c.URL(teamcity), Token: secret(TeamCityToken),
		Webhook: ci.TeamCityWebhook{User: TeamCityWebhookUser, Passwords: []ci.Secret{secret(TeamCityWebhookPassword)}},
	})
	add(teamcity, teamcitySource, err)
	githubSource, err := ci.NewGitHub(ci.GitHubConfig{
		API: c.URL(github), Token: secret(GitHubToken), Webhooks: []ci.Secret{secret(GitHubWebhookSecret)}, Repositories: GitHubRepositories(),
	})
	add(github, githubSource, err)
	gitlabSource, err := ci.NewGitLab(ci.GitLabConfig{
		URL: c.URL(gitlab), Token: secret(GitLabToken), WebhookSecrets: []ci.Secret{secret(GitLabWebhookSecret)},
	})
	add(gitlab, gitlabSource, err)
	return sources
}
