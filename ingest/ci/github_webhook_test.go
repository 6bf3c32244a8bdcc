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

// signed is a delivery with a good signature.
func signed(event, body string) ci.Delivery {
	d := citest.GitHubDelivery{Event: event, Body: []byte(body)}
	return ci.Delivery{Header: d.Header(githubWebhook), Body: d.Body}
}

// hookOnly is a source that needs no API.
func hookOnly(t testing.TB, secrets ...ci.Secret) *ci.GitHub {
	t.Helper()
	source, err := ci.NewGitHub(ci.GitHubConfig{Webhooks: secrets})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestGitHubSignature(t *testing.T) {
	const body = `{"workflow_run":{"id":1},"repository":{"full_name":"acme/web-shop"}}`
	good := citest.GitHubSignature(githubWebhook, []byte(body))
	unread := ci.SecretFile(t.TempDir() + "/none")
	both := []ci.Secret{ci.SecretValue("an old one"), ci.SecretValue(githubWebhook)}
	for name, row := range map[string]struct {
		secrets []ci.Secret
		header  []string
		body    string
		want    error
	}{
		"good":                       {secrets: both, header: []string{good}},
		"the other secret":           {secrets: both, header: []string{citest.GitHubSignature("an old one", []byte(body))}},
		"upper case":                 {secrets: both, header: []string{"sha256=" + strings.ToUpper(good[7:])}},
		"no secret configured":       {header: []string{good}, want: ci.ErrUnverified},
		"no header":                  {secrets: both, want: ci.ErrUnverified},
		"empty":                      {secrets: both, header: []string{""}, want: ci.ErrUnverified},
		"two headers":                {secrets: both, header: []string{good, good}, want: ci.ErrUnverified},
		"another secret":             {secrets: both, header: []string{citest.GitHubSignature("x", []byte(body))}, want: ci.ErrUnverified},
		"the empty secret":           {secrets: both, header: []string{citest.GitHubSignature("", []byte(body))}, want: ci.ErrUnverified},
		"cut":                        {secrets: both, header: []string{good[:len(good)-2]}, want: ci.ErrUnverified},
		"longer":                     {secrets: both, header: []string{good + "00"}, want: ci.ErrUnverified},
		"no hexadecimal digits":      {secrets: both, header: []string{"sha256=" + strings.Repeat("z", 64)}, want: ci.ErrUnverified},
		"sha1":                       {secrets: both, header: []string{"sha1=" + good[7:]}, want: ci.ErrUnverified},
		"another body":               {secrets: both, header: []string{good}, body: body + " ", want: ci.ErrUnverified},
		"no body":                    {secrets: both, header: []string{good}, body: " ", want: ci.ErrUnverified},
		"one secret unread":          {secrets: []ci.Secret{unread, both[1]}, header: []string{good}},
		"the right secret is unread": {secrets: []ci.Secret{both[0], unread}, header: []string{good}, want: errAny},
	} {
		t.Run(name, func(t *testing.T) {
			d := signed("workflow_run", body)
			delete(d.Header, "X-Hub-Signature-256")
			for _, value := range row.header {
				d.Header.Add("X-Hub-Signature-256", value)
			}
			if row.body != "" {
				d.Body = []byte(row.body)
			}
			facts, err := hookOnly(t, row.secrets...).Webhook(t.Context(), d)
			switch {
			case row.want == nil && (err != nil || len(facts) != 1):
				t.Errorf("%d facts, %v", len(facts), err)
			case row.want == errAny && (err == nil || errors.Is(err, ci.ErrUnverified) || errors.Is(err, ci.ErrMalformed)):
				t.Errorf("%v: want an error that asks to send it again", err)
			case row.want != nil && row.want != errAny && (!errors.Is(err, row.want) || facts != nil):
				t.Errorf("%d facts, %v, want %v", len(facts), err, row.want)
			}
			if err != nil && (strings.Contains(err.Error(), githubWebhook) || strings.Contains(err.Error(), "an old one") || strings.Contains(err.Error(), good[7:])) {
				t.Errorf("a secret in %v", err)
			}
		})
	}
}

// What is missing, null or new is no error, and tells nothing.
func TestGitHubNothingTold(t *testing.T) {
	source := hookOnly(t, ci.SecretValue(githubWebhook))
	for _, row := range [][2]string{
		{"ping", `{"zen":"Keep it logically awesome.","hook_id":1}`}, {"", `{}`}, {"check_run", `not JSON`}, {"workflow_dispatch", `{"ref":1}`},
		{"workflow_run", `{}`}, {"workflow_run", `null`}, {"workflow_run", `{"workflow_run":null,"repository":null}`}, {"workflow_run", `{"workflow_run":{}}`},
		{"workflow_run", `{"workflow_run":{"id":1}}`}, {"workflow_run", `{"workflow_run":{"id":0},"repository":{"full_name":"a/b"}}`},
		{"workflow_run", `{"workflow_job":{"run_id":1},"repository":{"full_name":"a/b"}}`},
		{"workflow_job", `{"workflow_job":{"id":1},"repository":{"full_name":"a/b"}}`}, {"workflow_job", `{"workflow_job":{"run_id":1}}`},
		{"push", `{"repository":{"full_name":"a/b"}}`}, {"push", `{"commits":[{}],"head_commit":null,"repository":{"full_name":"a/b","pushed_at":1700000000}}`},
		{"push", `{"commits":[{"id":"` + sha("a") + `"}]}`}, {"deployment_review", `{"action":"approved","approver":{"login":"x"}}`},
	} {
		if facts, err := source.Webhook(t.Context(), signed(row[0], row[1])); err != nil || len(facts) != 0 {
			t.Errorf("%q: %d facts, %v", row, len(facts), err)
		}
	}
}

// What is of the wrong type is named by its field, and never shown.
func TestGitHubMalformed(t *testing.T) {
	source := hookOnly(t, ci.SecretValue(githubWebhook))
	long := strings.Repeat("9", 1<<20)
	for _, row := range []struct{ event, body, field string }{
		{"workflow_run", `{"workflow_run":{"id":"secret"}}`, "workflow_run.id"},
		{"workflow_run", `{"workflow_run":{"id":-1}}`, "workflow_run.id"},
		{"workflow_run", `{"workflow_run":{"id":1e999}}`, "workflow_run.id"},
		{"workflow_run", `{"workflow_run":{"id":` + long + `}}`, "workflow_run.id"},
		{"workflow_run", `{"workflow_run":{"run_attempt":4294967296}}`, "workflow_run.run_attempt"},
		{"workflow_run", `{"workflow_run":{"head_branch":["secret"]}}`, "workflow_run.head_branch"},
		{"workflow_run", `{"workflow_run":{"created_at":"secret"}}`, "workflow_run.created_at"},
		{"workflow_run", `{"workflow_run":{"updated_at":17}}`, "workflow_run.updated_at"},
		{"workflow_run", `{"workflow_run":{"pull_requests":{"number":1}}}`, "workflow_run.pull_requests"},
		{"workflow_run", `{"workflow_run":"secret"}`, "workflow_run"},
		{"workflow_run", `{"repository":[]}`, "repository"},
		{"workflow_job", `{"workflow_job":{"run_id":true}}`, "workflow_job.run_id"},
		{"workflow_job", `{"workflow_job":{"runner_name":{"secret":1}}}`, "workflow_job.runner_name"},
		{"push", `{"commits":{"id":"secret"}}`, "commits"},
		{"push", `{"commits":[{"author":"secret"}]}`, "commits.author"},
		{"push", `{"head_commit":{"timestamp":"2026-13-01T00:00:00Z"}}`, "head_commit.timestamp"},
		{"deployment_review", `{"action":"approved","approver":"secret"}`, "approver"},
		{"workflow_run", `["secret"]`, ""}, {"workflow_run", `"secret"`, ""}, {"workflow_run", `17`, ""},
		{"workflow_run", `{"workflow_run":{"id":1}`, ""}, {"workflow_run", ``, ""}, {"workflow_run", `{"secret`, ""}, {"push", "\x00", ""},
		{"workflow_run", strings.Repeat(`[`, 1<<20), ""}, {"workflow_run", strings.Repeat(`{"workflow_run":`, 1<<16), ""},
		{"push", `{"commits":` + strings.Repeat(`[`, 20000) + strings.Repeat(`]`, 20000) + `}`, ""},
	} {
		shown := row.body[:min(len(row.body), 60)]
		facts, err := source.Webhook(t.Context(), signed(row.event, row.body))
		if !errors.Is(err, ci.ErrMalformed) || facts != nil {
			t.Errorf("%s: %d facts, %v", shown, len(facts), err)
			continue
		}
		if text := err.Error(); !strings.Contains(text, row.field) || !strings.Contains(text, row.event) || strings.Contains(text, "secret") || len(text) > 200 {
			t.Errorf("%s: %.300s", shown, text)
		}
	}
	// The same as a form, and forms that are none.
	for body, want := range map[string]error{"payload=%7B%7D": nil, "payload=%7B": ci.ErrMalformed, "x=1": ci.ErrMalformed, "payload=%zz": ci.ErrMalformed, "": ci.ErrMalformed} {
		d := signed("push", body)
		d.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		if _, err := source.Webhook(t.Context(), d); !errors.Is(err, want) {
			t.Errorf("form %q: %v", body, err)
		}
	}
}

// The vendor's words, and what they come to.
func TestGitHubMapping(t *testing.T) {
	source := hookOnly(t, ci.SecretValue(githubWebhook))
	run := func(t *testing.T, event, fields string) ci.Run {
		t.Helper()
		body := `{"repository":{"full_name":"acme/web-shop","default_branch":"main"},"workflow_run":{"id":17,"path":".github/workflows/ci.yml","created_at":"2026-11-02T08:00:00Z",` +
			`"run_started_at":"2026-11-02T08:10:00Z","updated_at":"2026-11-02T10:20:00+02:00",` + fields + `},"action":"approved","approver":{"login":"priya"}}`
		facts, err := source.Webhook(t.Context(), signed(event, body))
		if err != nil || len(facts) != 1 || facts[0].Run == nil {
			t.Fatalf("%+v, %v", facts, err)
		}
		return *facts[0].Run
	}
	began, updated := clock(10), clock(20)
	for fields, want := range map[string]ci.Run{
		`"status":"requested"`:                                                                                       {Status: ci.Queued},
		`"status":"waiting"`:                                                                                         {Status: ci.Queued},
		`"status":"in_progress"`:                                                                                     {Status: ci.Running, Started: began},
		`"status":"completed","conclusion":"success"`:                                                                {Status: ci.Succeeded, Started: began, Finished: updated},
		`"status":"completed","conclusion":"neutral"`:                                                                {Status: ci.Succeeded, Started: began, Finished: updated},
		`"status":"completed","conclusion":"failure"`:                                                                {Status: ci.Failed, Started: began, Finished: updated},
		`"status":"completed","conclusion":"timed_out"`:                                                              {Status: ci.Failed, Started: began, Finished: updated},
		`"status":"completed","conclusion":"startup_failure"`:                                                        {Status: ci.Failed, Started: began, Finished: updated},
		`"status":"completed","conclusion":"cancelled"`:                                                              {Status: ci.Canceled, Started: began, Finished: updated},
		`"status":"completed","conclusion":"stale"`:                                                                  {Status: ci.Canceled, Started: began, Finished: updated},
		`"status":"completed","conclusion":"skipped"`:                                                                {Status: ci.Skipped, Started: began, Finished: updated},
		`"status":"completed","conclusion":"new"`:                                                                    {Started: began, Finished: updated},
		`"status":"completed","conclusion":"action_required"`:                                                        {Status: ci.Queued},
		`"head_branch":"main","event":"push"`:                                                                        {Ref: "refs/heads/main", Trigger: "push"},
		`"head_branch":"v1","event":"release"`:                                                                       {Ref: "refs/tags/v1", Trigger: "release"},
		`"head_branch":"x","event":"pull_request"`:                                                                   {Trigger: "pull_request"},
		`"head_branch":null,"event":"Push","head_sha":"ABCDEF"`:                                                      {Trigger: "push", Commit: "abcdef"},
		`"actor":{"login":"ann"},"triggering_actor":{"login":"b"}`:                                                   {Actor: "ann"},
		`"actor":null,"triggering_actor":{"login":"b"}`:                                                              {Actor: "b"},
		`"run_number":118,"path":".github/workflows/ci.yml@main"`:                                                    {Name: "#118"},
		`"head_branch":"x","event":"pull_request","pull_requests":[{"number":4}]`:                                    {Ref: "refs/pull/4/merge", Trigger: "pull_request"},
		`"head_branch":"x","event":"pull_request","pull_requests":[{"number":4},{"number":5}]`:                       {Trigger: "pull_request"},
		`"head_branch":"main","event":"pull_request_target","pull_requests":[]`:                                      {Trigger: "pull_request_target"},
		`"head_branch":"x","event":"pull_request_target","pull_requests":[{"number":4,"base":{"ref":"main"}}]`:       {Ref: "refs/heads/main", Trigger: "pull_request_target"},
		`"head_branch":"x","event":"pull_request_target","pull_requests":[{"number":4,"base":{"ref":"release"}}]`:    {Trigger: "pull_request_target"},
		`"head_branch":"gh-readonly-queue/main/pr-4-` + sha("a") + `","event":"merge_group"`:                         {Ref: "refs/heads/gh-readonly-queue/main/pr-4-" + sha("a"), Trigger: "merge_group"},
		`"run_attempt":3,"status":"in_progress","repository":{"full_name":"acme/renamed","default_branch":"trunk"}`:  {Attempt: 3, Status: ci.Running, Started: began, Queued: began},
		`"created_at":null,"run_started_at":"","updated_at":"0001-01-01T00:00:00Z","status":"completed","path":null`: {Queued: time.Time{}.Add(1), Said: time.Time{}.Add(1)},
	} {
		want.Provider, want.Project, want.ID, want.Attempt = "github", webShop, "17", max(want.Attempt, 1)
		if want.Job = webShop + "/" + workflow; want.Ref != "" {
			want.Job += "@" + want.Ref
		}
		if want.Said.IsZero() {
			want.Said = updated
		}
		if want.Queued.IsZero() {
			want.Queued = clock(0)
		}
		if strings.Contains(fields, `"path":null`) {
			want.Queued, want.Said, want.Job = time.Time{}, time.Time{}, webShop+"/"+workflow
		}
		if have := run(t, "workflow_run", fields); have != want {
			t.Errorf("%s:\nwant %+v\nhave %+v", fields, want, have)
		}
		want.Approver = "priya"
		if have := run(t, "deployment_review", fields); have != want {
			t.Errorf("deployment_review %s:\nwant %+v\nhave %+v", fields, want, have)
		}
	}
}

func TestGitHubJobs(t *testing.T) {
	source := hookOnly(t, ci.SecretValue(githubWebhook))
	for fields, want := range map[string]ci.Run{
		`"status":"queued","started_at":"2026-11-02T08:00:00Z","runner_name":null`: {Status: ci.Queued, Said: clock(0)},
		`"status":"waiting"`: {Status: ci.Queued, Said: clock(0)},
		`"status":"in_progress","started_at":"2026-11-02T08:05:00Z","runner_name":"vm-1"`:                                                            {Status: ci.Running, Started: clock(5), Agent: "vm-1", Said: clock(5)},
		`"status":"completed","conclusion":"failure","started_at":"2026-11-02T08:05:00Z","completed_at":"2026-11-02T08:09:00Z","runner_name":"vm-1"`: {Status: ci.Running, Started: clock(5), Agent: "vm-1", Said: clock(9)},
		`"status":"completed","conclusion":"skipped","started_at":"2026-11-02T08:00:00Z","completed_at":"2026-11-02T08:00:00Z","runner_name":""`:     {Status: ci.Queued, Said: clock(0)},
		`"status":"completed","started_at":"2026-11-02T07:05:00Z","completed_at":"2026-11-02T07:09:00Z","runner_name":"of another attempt"`:          {Status: ci.Queued, Said: clock(0)},
		`"status":"in_progress","started_at":"2026-11-02T07:59:59Z","runner_name":"vm-1"`:                                                            {Status: ci.Running, Started: clock(0).Add(-time.Second), Agent: "vm-1", Said: clock(0)},
	} {
		want.Provider, want.Project, want.ID, want.Attempt, want.Commit = "github", webShop, "17", 2, sha("a")
		body := `{"repository":{"full_name":"acme/web-shop"},"workflow_job":{"id":5,"run_id":17,"run_attempt":2,"head_sha":"` + sha("A") + `","created_at":"2026-11-02T08:00:00Z",` + fields + `}}`
		facts, err := source.Webhook(t.Context(), signed("workflow_job", body))
		if err != nil || len(facts) != 1 || *facts[0].Run != want {
			t.Errorf("%s: %v\nwant %+v\nhave %+v", fields, err, want, facts[0].Run)
		}
	}
}

func TestGitHubPush(t *testing.T) {
	source := hookOnly(t, ci.SecretValue(githubWebhook))
	body := `{"ref":"refs/heads/main","repository":{"full_name":"acme/web-shop","created_at":1,"pushed_at":1700000000},
	 "commits":[{"id":"` + sha("A") + `","message":"\n  Fix it  \r\n\r\nLong.","timestamp":"2026-11-02T10:00:00+02:00","author":{"name":"Ann","email":"ann@example.com","username":"ann"},"committer":{"name":"GitHub","email":"x"}}],
	 "head_commit":{"id":"` + sha("b") + `","message":"Two","timestamp":"2026-11-02T08:05:00Z","author":{"name":"Bob","email":"bob@example.com","date":"2026-11-02T08:01:00Z"},"committer":{"name":"Ann","date":"2026-11-02T08:04:00Z"}}}`
	facts, err := source.Webhook(t.Context(), signed("push", body))
	want := []ci.Fact{
		{Commit: &ci.Commit{SHA: sha("a"), Repository: webShop, Author: "Ann", AuthorEmail: "ann@example.com", Committer: "GitHub", Authored: clock(0), Committed: clock(0), Subject: "Fix it", Said: clock(0)}},
		{Commit: &ci.Commit{SHA: sha("b"), Repository: webShop, Author: "Bob", AuthorEmail: "bob@example.com", Committer: "Ann", Authored: clock(1), Committed: clock(4), Subject: "Two", Said: clock(4)}},
	}
	if err != nil || !reflect.DeepEqual(facts, want) {
		t.Errorf("%v\nwant %+v %+v\nhave %+v", err, *want[0].Commit, *want[1].Commit, facts)
	}
}

// Whatever comes, genuinely signed: no panic, no facts beside an error, no error
// but ErrMalformed, and each fact names what it is of. The same body says the same
// twice, and merging it with itself changes nothing.
func FuzzGitHubWebhook(f *testing.F) {
	for _, d := range newGitHubWorld().Webhooks(time.Time{}, clock(600)) {
		f.Add(d.Event, d.Body, "application/json")
		_, form := d.Form(githubWebhook)
		f.Add(d.Event, form, "application/x-www-form-urlencoded")
	}
	f.Add("workflow_run", []byte(`{"workflow_run":{"id":1e5,"created_at":""}}`), "")
	source := hookOnly(f, ci.SecretValue(githubWebhook))
	f.Fuzz(func(t *testing.T, event string, body []byte, kind string) {
		d := ci.Delivery{Header: http.Header{"X-Github-Event": {event}, "Content-Type": {kind}, "X-Hub-Signature-256": {citest.GitHubSignature(githubWebhook, body)}}, Body: body}
		facts, err := source.Webhook(t.Context(), d)
		if err != nil && (!errors.Is(err, ci.ErrMalformed) || len(facts) > 0 || len(err.Error()) > 1000) {
			t.Fatalf("%d facts, %v", len(facts), err)
		}
		again, _ := source.Webhook(t.Context(), d)
		if !reflect.DeepEqual(facts, again) {
			t.Fatalf("%+v\n%+v", facts, again)
		}
		for _, fact := range facts {
			switch {
			case fact.Run != nil && fact.Commit == nil && fact.Principal == nil:
				run := *fact.Run
				if run.ID == "" || run.Project == "" || run.Attempt == 0 || run.Merge(run) != run || run.Status.String() == "" && run.Status != ci.Unknown {
					t.Fatalf("%+v", run)
				}
			case fact.Commit != nil && fact.Run == nil && fact.Principal == nil:
				commit := *fact.Commit
				if commit.SHA == "" || commit.Repository == "" || commit.Merge(commit) != commit || strings.ContainsAny(commit.Subject, "\n") {
					t.Fatalf("%+v", commit)
				}
			default:
				t.Fatalf("%+v", fact)
			}
		}
		d.Body = append([]byte(" "), body...)
		if _, err := source.Webhook(t.Context(), d); !errors.Is(err, ci.ErrUnverified) {
			t.Fatalf("with another body: %v", err)
		}
	})
}
