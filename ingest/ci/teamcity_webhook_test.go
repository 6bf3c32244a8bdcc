package ci_test

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

func TestTeamCityWebhook(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	facts, err := source.Webhook(t.Context(), ci.Delivery(fake.Delivery("BUILD_FINISHED", 48211903317, noon)))
	if err != nil {
		t.Fatal(err)
	}
	seen := converge(facts)
	want := ci.Run{
		Provider: "teamcity", Project: "Platform_Infra", ID: "48211903317", Job: "Platform_Infra_Deploy", Name: "#118", Ref: "main",
		Commit: builtSHA, Trigger: "user", Actor: "k.ivanova", Agent: "linux-large-3", Status: ci.Succeeded,
		Queued: noon.Add(-30 * time.Minute), Started: noon.Add(-29 * time.Minute), Finished: noon.Add(-20 * time.Minute), Said: noon.Add(-20 * time.Minute),
	}
	if got := seen.runs["teamcity|Platform_Infra|48211903317|0"]; got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	commit := ci.Commit{
		SHA: builtSHA, Repository: "Platform_InfraGit", Author: "Kira Ivanova", AuthorEmail: "kira@acme.example",
		Subject: "deploy: two replicas", Committed: noon.Add(-2 * time.Hour), Said: noon.Add(-20 * time.Minute),
	}
	if got := seen.commits["Platform_InfraGit|"+builtSHA]; got != commit {
		t.Errorf("got %+v\nwant %+v", got, commit)
	}
	if len(seen.commits) != 2 || len(seen.runs) != 1 {
		t.Errorf("%d commits and %d runs, want 2 and 1", len(seen.commits), len(seen.runs))
	}
}

func TestTeamCityWebhookStatus(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	const named = `"id":"7","buildType":{"projectId":"P"},`
	for body, want := range map[string]ci.Status{
		`{"eventType":"BUILD_FINISHED","payload":{` + named + `"state":"finished","status":"SUCCESS"}}`:        ci.Succeeded,
		`{"eventType":"BUILD_FINISHED","payload":{` + named + `"status":"FAILURE"}}`:                           ci.Failed,
		`{"eventType":"BUILD_FINISHED","payload":{` + named + `"status":"ERROR"}}`:                             ci.Failed,
		`{"eventType":"BUILD_FINISHED","payload":{` + named + `"number":"1"}}`:                                 ci.Unknown, // ended, but how?
		`{"eventType":"BUILD_FINISHED","payload":{` + named + `"status":"UNKNOWN","failedToStart":true}}`:      ci.Failed,
		`{"eventType":"BUILD_INTERRUPTED","payload":{` + named + `"state":"running","status":"SUCCESS"}}`:      ci.Canceled,
		`{"eventType":"BUILD_INTERRUPTED","payload":{` + named + `"state":"finished","status":"UNKNOWN"}}`:     ci.Canceled,
		`{"eventType":"BUILD_STARTED","payload":{` + named + `"x":0}}`:                                         ci.Running,
		`{"eventType":"BUILD_STARTED","payload":{` + named + `"state":"finished","status":"FAILURE"}}`:         ci.Failed, // it was quicker than its webhook
		`{"eventType":"BUILD_PROBLEMS_CHANGED","payload":{` + named + `"state":"running","status":"FAILURE"}}`: ci.Running,
		`{"eventType":"BUILD_TYPE_ADDED_TO_QUEUE","payload":{` + named + `"x":0}}`:                             ci.Queued,
		`{"eventType":"BUILD_REMOVED_FROM_QUEUE","payload":{` + named + `"x":0}}`:                              ci.Unknown, // as it starts, too
	} {
		d := fake.Delivery("BUILD_STARTED", 48211903317, noon)
		d.Body = []byte(body)
		facts, err := source.Webhook(t.Context(), ci.Delivery(d))
		if err != nil || len(facts) != 1 || facts[0].Run.Status != want || facts[0].Run.ID != "7" {
			t.Errorf("%s: %v %v, want %q", body, facts, err, want)
		}
	}
}

func TestTeamCityWebhookIsVerified(t *testing.T) {
	fake, _ := teamcityWorld(t)
	basic := fake.Delivery("BUILD_FINISHED", 48211903317, noon)
	fake.WebhookHeader, fake.WebhookValue, fake.WebhookUser = "X-Ci-Hook", "by-the-proxy", ""
	header := fake.Delivery("BUILD_FINISHED", 48211903317, noon)
	fake.WebhookHeader = ""
	bare := fake.Delivery("BUILD_FINISHED", 48211903317, noon)
	wrong := basic
	wrong.Header = http.Header{"Authorization": {"Basic aGFwdHJhaWw6dGMtaG9vay1wYXNzd29yZC0xMTg4"}} // ...1188
	otherUser := basic
	otherUser.Header = http.Header{"Authorization": {"Basic aGFwdHJhaWw6"}}
	bearer := basic
	bearer.Header = http.Header{"Authorization": {"Bearer " + teamcityPassword}}
	password := []ci.Secret{ci.SecretValue("old"), ci.SecretValue(teamcityPassword)}
	value := []ci.Secret{ci.SecretValue("by-the-proxy")}
	missing := []ci.Secret{ci.SecretFile(t.TempDir() + "/none")}
	for _, check := range []struct {
		name     string
		hook     ci.TeamCityWebhook
		delivery citest.Delivery
		ok       bool
	}{
		{"user and password", ci.TeamCityWebhook{User: "haptrail", Passwords: password}, basic, true},
		{"the password and the one to come", ci.TeamCityWebhook{User: "haptrail", Passwords: []ci.Secret{password[1], password[0]}}, basic, true},
		{"another user", ci.TeamCityWebhook{User: "haptrail2", Passwords: password}, basic, false},
		{"another password", ci.TeamCityWebhook{User: "haptrail", Passwords: password}, wrong, false},
		{"no password", ci.TeamCityWebhook{User: "haptrail", Passwords: password}, otherUser, false},
		{"no credentials", ci.TeamCityWebhook{User: "haptrail", Passwords: password}, bare, false},
		{"a bearer", ci.TeamCityWebhook{User: "haptrail", Passwords: password}, bearer, false},
		{"a header", ci.TeamCityWebhook{Header: "x-ci-hook", Values: value}, header, true},
		{"another header", ci.TeamCityWebhook{Header: "X-Other", Values: value}, header, false},
		{"no header", ci.TeamCityWebhook{Header: "X-Ci-Hook", Values: value}, basic, false},
		{"either: the header", ci.TeamCityWebhook{User: "haptrail", Passwords: password, Header: "X-Ci-Hook", Values: value}, header, true},
		{"either: the password", ci.TeamCityWebhook{User: "haptrail", Passwords: password, Header: "X-Ci-Hook", Values: value}, basic, true},
		{"nothing is configured", ci.TeamCityWebhook{}, bare, false},
	} {
		source, _ := teamcitySource(t, fake, func(c *ci.TeamCityConfig) { c.Webhook = check.hook })
		facts, err := source.Webhook(t.Context(), ci.Delivery(check.delivery))
		if check.ok != (err == nil) || !check.ok && (!errors.Is(err, ci.ErrUnverified) || facts != nil) {
			t.Errorf("%s: %v, %d facts", check.name, err, len(facts))
		}
		if err != nil && strings.Contains(err.Error(), "password-118") {
			t.Errorf("%s: the error shows a password: %v", check.name, err)
		}
	}
	// a secret that cannot be read is our fault, not the sender's; and never a pass
	source, _ := teamcitySource(t, fake, func(c *ci.TeamCityConfig) { c.Webhook = ci.TeamCityWebhook{User: "haptrail", Passwords: missing} })
	if facts, err := source.Webhook(t.Context(), ci.Delivery(basic)); err == nil || errors.Is(err, ci.ErrUnverified) || facts != nil {
		t.Errorf("a secret that cannot be read: %v, %d facts", err, len(facts))
	}
}

// TestTeamCityWebhookWithoutBranch: a branch that was not sent is not known, though
// the version control system's name for it was.
func TestTeamCityWebhookWithoutBranch(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	const revisions = `"revisions":{"revision":[{"version":"BEEF","vcsBranchName":"refs/heads/main"}]}`
	for branch, want := range map[string]string{``: "", `"branchName":"<default>",`: "refs/heads/main", `"branchName":"main",`: "main"} {
		d := fake.Delivery("BUILD_STARTED", 48211903317, noon)
		d.Body = []byte(`{"eventType":"BUILD_STARTED","payload":{"id":7,"buildType":{"projectId":"P"},` + branch + revisions + `}}`)
		facts, err := source.Webhook(t.Context(), ci.Delivery(d))
		if err != nil || len(facts) != 2 || facts[0].Run.Ref != want || facts[0].Run.Commit != "beef" {
			t.Errorf("%q: %+v (%v), want %q", branch, facts[0].Run, err, want)
		}
	}
}

func TestTeamCityWebhookOfNoUse(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	for _, body := range []string{
		`{}`, `null`, `{"eventType":"AGENT_REGISTRED","payload":{"id":"an agent","name":"a"}}`, `{"eventType":"BUILD_EATEN","payload":[1]}`,
		`{"eventType":"BUILD_FINISHED"}`, `{"eventType":"BUILD_FINISHED","payload":null}`, `{"eventType":"BUILD_FINISHED","payload":{}}`,
		`{"eventType":"BUILD_FINISHED","payload":{"id":7,"state":"finished"}}`,
		`{"eventType":"BUILD_FINISHED","payload":{"id":null,"buildType":{"projectId":"P"}}}`,
		`{"eventType":"BUILD_FINISHED","payload":{"buildType":{"projectId":"P"},"agent":null,"revisions":null}}`,
	} {
		d := fake.Delivery("BUILD_STARTED", 48211903317, noon)
		d.Body = []byte(body)
		if facts, err := source.Webhook(t.Context(), ci.Delivery(d)); err != nil || len(facts) != 0 {
			t.Errorf("%s: %v %v, want nothing", body, facts, err)
		}
	}
}

func TestTeamCityWebhookMalformed(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	payload := func(fields string) string { return `{"eventType":"BUILD_FINISHED","payload":{` + fields + `}}` }
	for body, says := range map[string]string{
		``:                         "JSON",
		`{"eventType":`:            "JSON",
		`[]`:                       "no JSON object",
		`"secret-7"`:               "no JSON object",
		`{"eventType":7}`:          "eventType",
		payload(`"id":"secret-7"`): "payload.id",
		payload(`"id":1.5`):        "payload.id",
		payload(`"id":1e999`):      "payload.id",
		payload(`"id":{}`):         "payload.id",
		payload(`"id":` + strings.Repeat("9", 1<<20)):  "payload.id",
		payload(`"number":118`):                        "payload.number",
		payload(`"personal":"secret-7"`):               "payload.personal",
		payload(`"startDate":"secret-7"`):              "payload.startDate",
		payload(`"startDate":20240131`):                "payload.startDate",
		payload(`"buildType":[]`):                      "payload.buildType",
		payload(`"revisions":{"revision":{}}`):         "payload.revisions.revision",
		payload(`"agent":` + strings.Repeat("[", 1e6)): "JSON",
		payload(`"x":` + strings.Repeat(`{"a":`, 1e6)): "JSON",
	} {
		d := fake.Delivery("BUILD_STARTED", 48211903317, noon)
		d.Body = []byte(body)
		facts, err := source.Webhook(t.Context(), ci.Delivery(d))
		if !errors.Is(err, ci.ErrMalformed) || facts != nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.80s: %v, want ErrMalformed of %s", body, err, says)
		}
		if err != nil && (strings.Contains(err.Error(), "secret-7") || len(err.Error()) > 200) {
			t.Errorf("%.80s: the error shows the body: %.300v", body, err)
		}
	}
}

// FuzzTeamCityWebhook: a genuine body of any content gives facts that are whole and
// the same each time, or ErrMalformed and none.
func FuzzTeamCityWebhook(f *testing.F) {
	source, err := ci.NewTeamCity(ci.TeamCityConfig{
		URL: "https://teamcity.example.com", Webhook: ci.TeamCityWebhook{Header: "X-Hook", Values: []ci.Secret{ci.SecretValue("s")}},
	})
	if err != nil {
		f.Fatal(err)
	}
	var t testing.T
	fake, _ := teamcityWorld(&t)
	for _, delivery := range fake.History() {
		f.Add(delivery.Body)
	}
	f.Add([]byte(`{"eventType":"BUILD_STARTED","payload":{"id":"7","buildType":{"projectId":"P"},"lastChanges":{"change":[{"version":"A,b"}]}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		delivery := ci.Delivery{Header: http.Header{"X-Hook": {"s"}}, Body: body, Received: noon}
		facts, err := source.Webhook(t.Context(), delivery)
		if err != nil {
			if !errors.Is(err, ci.ErrMalformed) || facts != nil {
				t.Fatalf("%v beside %d facts", err, len(facts))
			}
			return
		}
		wholeFacts(t, facts)
		again, err := source.Webhook(t.Context(), delivery)
		if err != nil || !reflect.DeepEqual(facts, again) {
			t.Fatalf("the second time: %v", err)
		}
	})
}

func BenchmarkTeamCityWebhook(b *testing.B) {
	var t testing.T
	fake, _ := teamcityWorld(&t)
	source, _ := ci.NewTeamCity(ci.TeamCityConfig{
		URL: "https://teamcity.example.com", Webhook: ci.TeamCityWebhook{User: "haptrail", Passwords: []ci.Secret{ci.SecretValue(teamcityPassword)}},
	})
	delivery := ci.Delivery(fake.Delivery("BUILD_FINISHED", 48211903317, noon))
	b.ReportAllocs()
	for b.Loop() {
		if facts, err := source.Webhook(b.Context(), delivery); err != nil || len(facts) == 0 {
			b.Fatal(err)
		}
	}
}

// wholeFacts checks what holds of every fact: one thing, by its full name, in UTC.
func wholeFacts(t *testing.T, facts []ci.Fact) {
	t.Helper()
	for _, fact := range facts {
		switch {
		case fact.Run != nil && fact.Commit == nil && fact.Principal == nil:
			run := fact.Run
			if run.Provider == "" || run.Project == "" || run.ID == "" || strings.Trim(run.ID, "0123456789") != "" || run.Commit != strings.ToLower(run.Commit) {
				t.Fatalf("a run without its name: %+v", run)
			}
			if run.Merge(*run) != *run {
				t.Fatalf("merged with itself another: %+v", run)
			}
			for _, at := range []time.Time{run.Queued, run.Started, run.Finished, run.Said} {
				if at.Location() != time.UTC || at.Nanosecond() != 0 {
					t.Fatalf("a time that is not UTC or not whole seconds: %+v", run)
				}
			}
		case fact.Commit != nil && fact.Run == nil && fact.Principal == nil:
			if fact.Commit.SHA == "" || fact.Commit.SHA != strings.ToLower(fact.Commit.SHA) || strings.ContainsAny(fact.Commit.Subject, "\n") {
				t.Fatalf("a commit without its name: %+v", fact.Commit)
			}
		default:
			t.Fatalf("not one thing: %+v", fact)
		}
	}
}
