package ci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci/citest"
)

const (
	spaceTestSecret = "cl1ent-s3cret-of-space"
	spaceTestKey    = "s1gning-key-of-space"
)

// spaceEpoch is when the clocks of these tests start.
var spaceEpoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// spaceBed is a fake Space, a client of it, and the clock of both.
type spaceBed struct {
	fake   *citest.Space
	server *httptest.Server
	config SpaceConfig
	space  *Space

	mu     sync.Mutex // guards what follows
	now    time.Time
	paused []time.Duration
}

func (b *spaceBed) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *spaceBed) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *spaceBed) pauses() []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.paused
}

// newSpaceBed starts a fake with a small world. The test fails if its client sends
// what the documentation forbids.
func newSpaceBed(t testing.TB, change func(*SpaceConfig)) *spaceBed {
	t.Helper()
	b := &spaceBed{now: spaceEpoch, fake: spaceWorld()}
	b.fake.Now = b.clock
	b.server = httptest.NewServer(b.fake)
	t.Cleanup(func() {
		b.server.Close()
		for _, v := range b.fake.Violations() {
			t.Errorf("the client: %s", v)
		}
	})
	b.config = SpaceConfig{
		ServerURL: b.server.URL, ClientID: "haptrail-client", ClientSecret: SecretValue(spaceTestSecret),
		Webhooks: SpaceVerification{SigningKey: SecretValue(spaceTestKey)},
		Projects: []SpaceProject{
			{Key: "PAY", ID: "p1", Name: "payments", Jobs: []string{"job-deploy", "job-test"}, Repositories: []string{"infra"}, Principal: "app-1"},
			{Key: "WEB", ID: "p2", Jobs: []string{"job-web"}, Repositories: []string{"infra"}},
		},
		HTTP: b.server.Client(), Now: b.clock,
		Pause: func(ctx context.Context, d time.Duration) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.paused = append(b.paused, d)
			b.now = b.now.Add(d)
			return ctx.Err()
		},
	}
	if change != nil {
		change(&b.config)
	}
	space, err := NewSpace(b.config)
	if err != nil {
		t.Fatal(err)
	}
	b.space = space
	return b
}

// spaceTestSHA is a hash that is told by its number.
func spaceTestSHA(n int) string { return fmt.Sprintf("%040x", 0xabc000+n) }

// spaceWorld has 260 runs of three jobs in two projects, with one repository name,
// 130 commits and three applications.
func spaceWorld() *citest.Space {
	s := &citest.Space{ClientID: "haptrail-client", ClientSecret: spaceTestSecret, SigningKey: spaceTestKey}
	pay, web := citest.SpaceRepository{ProjectKey: "PAY", Name: "infra"}, citest.SpaceRepository{ProjectKey: "WEB", Name: "infra"}
	for i := range 260 {
		at := spaceEpoch.Add(time.Duration(i-261) * 10 * time.Minute)
		run := citest.SpaceRun{
			ProjectID: "p1", ProjectKey: "PAY", JobID: "job-deploy", Job: "Deploy", ID: fmt.Sprintf("run-%d", i), Number: int64(i % 7),
			Repository: "infra", Branch: "refs/heads/main", Commit: spaceTestSHA(i / 2), Status: "FINISHED", Trigger: "GitPush",
			Queued: at, Started: at.Add(4 * time.Second), Finished: at.Add(2 * time.Minute),
		}
		switch {
		case i%10 == 3:
			run.JobID, run.Job, run.Status, run.Trigger = "job-test", "Test", "FAILED", "Schedule"
		case i%10 == 7:
			run.ProjectID, run.ProjectKey, run.JobID, run.Status, run.Trigger, run.Actor = "p2", "WEB", "job-web", "TERMINATED", "Manual", "ada"
		}
		s.Runs = append(s.Runs, run)
		if i%2 == 0 {
			commit := citest.SpaceCommit{
				SHA: spaceTestSHA(i / 2), Message: fmt.Sprintf("Change %d\n\nbecause", i/2), Author: "Ada", Email: "ada@example.com",
				At: at.Add(-time.Minute), Signature: []string{"Verified", "", "RevokedKey"}[i/2%3],
			}
			pay.Commits = append([]citest.SpaceCommit{commit}, pay.Commits...)
		}
	}
	web.Commits = pay.Commits[:5:5]
	s.Repositories = []citest.SpaceRepository{pay, web}
	s.Apps = []citest.SpaceApp{
		{
			ID: "app-1", ClientID: "client-1", Name: "Automation of PAY", ProjectID: "p1", ProjectKey: "PAY", Created: spaceEpoch.AddDate(-1, 0, 0),
			LastAccess: spaceEpoch.Add(-time.Hour), Rights: map[string][]string{"PAY": {"VcsRepository.Read", "Automation.View"}, "global": {"Profile.View"}},
		},
		{
			ID: "app-2", ClientID: "client-2", Name: "Old deployer", Owner: "ada", Archived: true, Created: spaceEpoch.AddDate(-3, 0, 0),
			Tokens: []citest.SpaceToken{
				{ID: "tok-1", Created: spaceEpoch.AddDate(-2, 0, 0), Accessed: spaceEpoch.AddDate(0, -1, 0)},
				{ID: "tok-2", Created: spaceEpoch.AddDate(-1, 0, 0), Expires: spaceEpoch.AddDate(1, 0, 0)},
			},
		},
		{ID: "app-3", ClientID: "client-3", Name: "Never used", Created: spaceEpoch.AddDate(0, -1, 0)},
	}
	return s
}

func TestSpaceConfigFaults(t *testing.T) {
	secret := SecretValue("x")
	for _, c := range []struct {
		want   string
		config SpaceConfig
	}{
		{"ServerURL: write https", SpaceConfig{}},
		{"ServerURL: use https", SpaceConfig{ServerURL: "http://space.example.com"}},
		{"ServerURL: use https", SpaceConfig{ServerURL: "ftp://127.0.0.1"}},
		{"ServerURL: take the user name out", SpaceConfig{ServerURL: "https://a:b@space.example.com"}},
		{"ServerURL: nothing may follow", SpaceConfig{ServerURL: "https://space.example.com/?a=b"}},
		{"one of the two", SpaceConfig{ServerURL: "https://s", ClientID: "a", ClientSecret: secret, PermanentToken: secret}},
		{"ClientID: ClientSecret needs it", SpaceConfig{ServerURL: "https://s", ClientSecret: secret}},
		{"Subject", SpaceConfig{ServerURL: "https://s", Subject: "email"}},
		{"Projects[0]: Key and ID", SpaceConfig{ServerURL: "https://s", Projects: []SpaceProject{{Key: "A"}}}},
		{"Projects[1]: the project A is listed twice", SpaceConfig{ServerURL: "https://s", Projects: []SpaceProject{{Key: "A", ID: "1"}, {Key: "A", ID: "2"}}}},
		{"Projects[0].Jobs", SpaceConfig{ServerURL: "https://s", Projects: []SpaceProject{{Key: "A", ID: "1", Jobs: []string{"j", "j"}}}}},
		{"PublicKeys: needs ClientID", SpaceConfig{ServerURL: "https://s", Webhooks: SpaceVerification{PublicKeys: true}}},
		{"configure one of", SpaceConfig{ServerURL: "https://s", Webhooks: SpaceVerification{SigningKey: secret, Bearer: secret}}},
		{"Window", SpaceConfig{ServerURL: "https://s", Webhooks: SpaceVerification{SigningKey: secret, Window: -1}}},
		{"go together", SpaceConfig{ServerURL: "https://s", Webhooks: SpaceVerification{BasicPassword: secret}}},
	} {
		if _, err := NewSpace(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	for _, address := range []string{"https://space.example.com/", "http://localhost:8084", "http://[::1]:80", "http://127.0.0.1/space/"} {
		if _, err := NewSpace(SpaceConfig{ServerURL: address}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestSpaceFaultyServer(t *testing.T) {
	body := `{"error":"permission-denied","error_description":"no"}`
	for name, c := range map[string]struct {
		fault  citest.Fault
		want   error // nil: it is overcome
		paused time.Duration
	}{
		"500 twice":                {citest.Fault{Times: 2, Status: 500}, nil, 3 * time.Second},
		"429 and Retry-After":      {citest.Fault{Times: 1, Status: 429, RetryAfter: "7"}, nil, 7 * time.Second},
		"429 without":              {citest.Fault{Times: 1, Status: 429}, nil, time.Second},
		"429 for an hour":          {citest.Fault{Status: 429, RetryAfter: "3600"}, new(LimitError), 0},
		"truncated once":           {citest.Fault{Times: 1, Truncate: true}, nil, time.Second},
		"truncated":                {citest.Fault{Truncate: true}, ErrMalformed, 15 * time.Second},
		"401 for ever":             {citest.Fault{Path: "/api/http", Status: 401}, ErrRefused, 0},
		"403":                      {citest.Fault{Path: "/api/http", Status: 403, Body: body}, ErrRefused, 0},
		"the token is not for us":  {citest.Fault{Path: "/oauth", Status: 400, Body: body}, ErrRefused, 0},
		"a token without a token":  {citest.Fault{Path: "/oauth", Status: 200, Body: `{}`}, ErrMalformed, 0},
		"a token that is a number": {citest.Fault{Path: "/oauth", Status: 200, Body: `{"access_token":123456}`}, ErrMalformed, 15 * time.Second},
		"a redirect of the secret": {citest.Fault{Path: "/oauth", Status: 307, Header: http.Header{"Location": {"/elsewhere"}}}, ErrRefused, 0},
		"other JSON":               {citest.Fault{Path: "/api/http", Status: 200, Body: `{"executionId":["secret"]}`}, ErrMalformed, 0},
		"another run":              {citest.Fault{Path: "/api/http", Status: 200, Body: `{"executionId":"run-2"}`}, ErrMalformed, 0},
		"errors in its place":      {citest.Fault{Path: "/api/http", Status: 200, Body: `{"$errors":[{"className":"PermissionDenied","message":"hidden"}]}`}, ErrMalformed, 0},
	} {
		b := newSpaceBed(t, nil)
		b.fake.Fail(c.fault)
		run, err := b.space.Run(t.Context(), "payments", "run-1")
		var limit *LimitError
		switch {
		case c.want == nil && (err != nil || run.ID != "run-1"):
			t.Errorf("%s: %v %v", name, run, err)
		case errors.As(c.want, &limit):
			if !errors.As(err, &limit) || limit.After != time.Hour {
				t.Errorf("%s: %v", name, err)
			}
		case c.want != nil && !errors.Is(err, c.want):
			t.Errorf("%s: %v", name, err)
		case strings.Contains(fmt.Sprint(err), "secret\"") || strings.Contains(fmt.Sprint(err), "123456"):
			t.Errorf("%s: the error shows what was answered: %v", name, err)
		}
		total := time.Duration(0)
		for _, d := range b.pauses() {
			total += d
		}
		if total != c.paused {
			t.Errorf("%s: paused %v, want %v", name, total, c.paused)
		}
	}
	b := newSpaceBed(t, nil)
	b.fake.Fail(citest.Fault{Path: "/api/http", Hang: make(chan struct{})})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.space.Run(ctx, "payments", "run-1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that hangs: %v", err)
	}
}

func TestSpaceRun(t *testing.T) {
	b := newSpaceBed(t, nil)
	have, err := b.space.Run(t.Context(), "payments", "run-3")
	if err != nil {
		t.Fatal(err)
	}
	at := spaceEpoch.Add(-258 * 10 * time.Minute)
	want := Run{
		Provider: "space", Project: "payments", ID: "run-3", Job: "Test", Name: "#3", Ref: "refs/heads/main", Commit: spaceTestSHA(1),
		Principal: "app-1", Status: Failed, Queued: at, Started: at.Add(4 * time.Second), Finished: at.Add(2 * time.Minute), Said: at.Add(2 * time.Minute),
	}
	if have != want {
		t.Errorf("%+v\nwant %+v", have, want)
	}
	// The claim says payments; the server says otherwise.
	if run, err := b.space.Run(t.Context(), "payments", "run-7"); err != nil || run.Project != "WEB" || run.Status != Canceled {
		t.Errorf("%+v %v", run, err)
	}
	before := len(b.fake.Requests(""))
	for _, id := range []string{"", "..", "../me", "a/b", "a?b", "a b", "é", strings.Repeat("a", 129)} {
		if _, err := b.space.Run(t.Context(), "payments", id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if after := len(b.fake.Requests("")); after != before {
		t.Errorf("%d calls were made for what cannot be an id", after-before)
	}
	if _, err := b.space.Run(t.Context(), "payments", "run-1000"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestSpaceStatuses(t *testing.T) {
	for word, want := range map[string]Status{
		"SCHEDULED": Queued, "PENDING": Queued, "READY_TO_START": Queued, "RUNNING": Running, "FINISHING": Running, "FINISHED": Succeeded,
		"TERMINATING": Running, "TERMINATED": Canceled, "HIBERNATING": Running, "HIBERNATED": Running, "RESTARTING": Running,
		"FAILED": Failed, "SKIPPED": Skipped, "INVENTED": Unknown, "": Unknown,
	} {
		if have := (spaceExecution{Status: spaceText(word)}).status(); have != want {
			t.Errorf("%s is %v, want %v", word, have, want)
		}
	}
	var failed spaceExecution
	if err := json.Unmarshal([]byte(`{"status":"FINISHED","failureConditions":[{"className":"TestFailedDTO"}]}`), &failed); err != nil || failed.status() != Failed {
		t.Errorf("finished with a failure condition: %v %v", failed.status(), err)
	}
}

func TestSpaceCommit(t *testing.T) {
	for _, old := range []bool{false, true} {
		b := newSpaceBed(t, nil)
		b.fake.Old = old
		have, err := b.space.Commit(t.Context(), "PAY/infra", strings.ToUpper(spaceTestSHA(1)))
		at := spaceEpoch.Add(-259*10*time.Minute - time.Minute)
		want := Commit{
			SHA: spaceTestSHA(1), Repository: "PAY/infra", Author: "Ada", AuthorEmail: "ada@example.com", Committer: "Ada",
			Authored: at, Committed: at, Subject: "Change 1", Signature: "none", Said: at,
		}
		if err != nil || have != want {
			t.Errorf("%v\n%+v\nwant %+v", err, have, want)
		}
		for n, signature := range []string{"verified", "none", "unverified"} {
			if have, err := b.space.Commit(t.Context(), "PAY/infra", spaceTestSHA(n)); err != nil || have.Signature != signature {
				t.Errorf("%q, want %s; %v", have.Signature, signature, err)
			}
		}
		for _, c := range [][2]string{
			{"PAY/infra", spaceTestSHA(999)}, {"PAY/infra", "abc"}, {"PAY/infra", ""}, {"PAY/other", spaceTestSHA(1)}, {"NONE/infra", spaceTestSHA(1)},
			{"infra", spaceTestSHA(1)}, {"", spaceTestSHA(1)}, // infra is a repository of two projects
		} {
			if _, err := b.space.Commit(t.Context(), c[0], c[1]); !errors.Is(err, ErrNotFound) {
				t.Errorf("%v: %v", c, err)
			}
		}
	}
	b := newSpaceBed(t, func(c *SpaceConfig) { c.Projects[1].Repositories = nil })
	if have, err := b.space.Commit(t.Context(), "infra", spaceTestSHA(1)); err != nil || have.Repository != "PAY/infra" {
		t.Errorf("%+v %v", have, err)
	}
}
