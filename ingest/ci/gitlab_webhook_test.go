package ci_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

func TestGitLabWebhooks(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	at := part(-20 * time.Minute)
	started := noon.Add(-29 * time.Minute)
	for _, hook := range []struct {
		name    string
		hook    citest.Delivery
		want    ci.Run
		commits int
	}{
		{"a pipeline", fake.PipelineHook(574, at), gitlabWant()["gitlab|acme/shop/api|574|0"], 1},
		{"a tag's pipeline", fake.PipelineHook(575, at), gitlabWant()["gitlab|acme/shop/api|575|0"], 1},
		{"a merge request's", fake.PipelineHook(577, at), gitlabWant()["gitlab|acme/shop/api|577|0"], 1},
		{"a fork's merge request's", fake.PipelineHook(578, at), gitlabWant()["gitlab|kira/api|578|0"], 0},
		{"a deleted fork's", fake.PipelineHook(582, at), gitlabWant()["gitlab|acme/shop/api|582|0"], 1},
		{"a job", fake.JobHook(574, 1, at), ci.Run{
			Provider: "gitlab", Project: "acme/shop/api", ID: "574", Name: "#574", Ref: "refs/heads/main", Commit: builtSHA, Agent: "12",
			Status: ci.Succeeded, Started: started, Finished: noon.Add(-20 * time.Minute), Said: noon.Add(-20 * time.Minute),
		}, 1},
		{"a fork's job", fake.JobHook(578, 1, at), ci.Run{
			Provider: "gitlab", Project: "kira/api", ID: "578", Name: "#578", Ref: "refs/heads/main", Commit: mergeSHA, Agent: "12",
			Status: ci.Succeeded, Started: started, Finished: noon.Add(-20 * time.Minute), Said: noon.Add(-20 * time.Minute),
		}, 0},
	} {
		facts, err := source.Webhook(t.Context(), ci.Delivery(hook.hook))
		seen := converge(facts)
		if hook.want.Agent == "7" { // of a job that was run again, which is not sent
			hook.want.Agent = "12"
		}
		got := seen.runs["gitlab|"+hook.want.Project+"|"+hook.want.ID+"|0"]
		// a pipeline's webhook has neither its start nor the jobs that were run again
		if hook.want.Actor != "" && !got.Started.Equal(noon.Add(-27*time.Minute)) {
			t.Errorf("%s: it started at %v", hook.name, got.Started)
		}
		got.Started, hook.want.Started = time.Time{}, time.Time{}
		if err != nil || got != hook.want || len(seen.runs) != 1 || len(seen.commits) != hook.commits {
			t.Errorf("%s: %d commits (%v)\n got %+v\nwant %+v", hook.name, len(seen.commits), err, got, hook.want)
		}
	}
	noViolations(t, fake.Violations())
}

func TestGitLabPush(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	facts, err := source.Webhook(t.Context(), ci.Delivery(fake.PushHook("acme/shop/api", "main", noon, builtSHA)))
	want := ci.Commit{
		SHA: builtSHA, Repository: "acme/shop/api", Author: "Kira Ivanova", AuthorEmail: "kira@acme.example", Subject: "deploy: two replicas",
		Committed: noon.Add(-time.Hour), Said: noon.Add(-time.Hour),
	}
	if err != nil || len(facts) != 1 || *facts[0].Commit != want {
		t.Errorf("%v (%v), want %+v", facts, err, want)
	}
	if calls := fake.Requests(""); len(calls) > 0 {
		t.Errorf("calls were made: %v", calls)
	}
}

// TestGitLabForkCannotBeAsked: without the fork's name nothing is said of the run,
// rather than of a run of the parent's.
func TestGitLabForkCannotBeAsked(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	fake.Fail(citest.Fault{Status: 500})
	for _, hook := range []citest.Delivery{fake.PipelineHook(578, noon), fake.JobHook(578, 1, noon), fake.JobHook(577, 1, noon)} {
		facts, err := source.Webhook(t.Context(), ci.Delivery(hook))
		if seen := converge(facts); err != nil || len(seen.runs) != 0 {
			t.Errorf("%v (%v), want no run", seen.runs, err)
		}
	}
	facts, err := source.Webhook(t.Context(), ci.Delivery(fake.PipelineHook(577, noon))) // needs no question
	if seen := converge(facts); err != nil || len(seen.runs) != 1 {
		t.Errorf("%v (%v), want one run", seen.runs, err)
	}
}

func TestGitLabWebhookIsVerified(t *testing.T) {
	fake, _ := gitlabWorld(t)
	key := []byte("0123456789abcdef0123456789abcdef")
	token := "whsec_" + base64.StdEncoding.EncodeToString(key)
	other := "whsec_" + base64.StdEncoding.EncodeToString([]byte("another key"))
	plain := fake.PushHook("acme/shop/api", "main", noon)
	fake.SigningKey = key
	signed := fake.PushHook("acme/shop/api", "main", noon)
	with := func(d citest.Delivery, name, value string) citest.Delivery {
		d.Header = d.Header.Clone()
		d.Header.Set(name, value)
		return d
	}
	changed, late, early := signed, signed, signed
	changed.Body = append([]byte(" "), signed.Body...)
	late.Received, early.Received = noon.Add(5*time.Minute+time.Second), noon.Add(-5*time.Minute-time.Second)
	in := signed
	in.Received = noon.Add(5 * time.Minute)
	signature := signed.Header.Get("Webhook-Signature")
	for _, check := range []struct {
		name           string
		secret, signed []string
		delivery       citest.Delivery
		ok             bool
	}{
		{"the secret", []string{gitlabSecret}, nil, plain, true},
		{"one of two", []string{"old", gitlabSecret}, nil, plain, true},
		{"another secret", []string{gitlabSecret}, nil, with(plain, "X-Gitlab-Token", gitlabSecret+"x"), false},
		{"a part of it", []string{gitlabSecret}, nil, with(plain, "X-Gitlab-Token", gitlabSecret[:5]), false},
		{"an empty one", []string{gitlabSecret}, nil, with(plain, "X-Gitlab-Token", ""), false},
		{"nothing is configured", nil, nil, plain, false},
		{"a signature", nil, []string{token}, signed, true},
		{"at the end of the window", nil, []string{token}, in, true},
		{"one of two keys", nil, []string{other, token}, signed, true},
		{"the key and the one to come", nil, []string{token, other}, signed, true},
		{"the second of two signatures", nil, []string{token}, with(signed, "Webhook-Signature", "v1,AAAA "+signature), true},
		{"the first of two", nil, []string{token}, with(signed, "Webhook-Signature", signature+" v1,AAAA"), true},
		{"another key", nil, []string{other}, signed, false},
		{"another body", nil, []string{token}, changed, false},
		{"another time", nil, []string{token}, with(signed, "Webhook-Timestamp", "1795435201"), false},
		{"another id", nil, []string{token}, with(signed, "Webhook-Id", "x"), false},
		{"no id", nil, []string{token}, with(signed, "Webhook-Id", ""), false},
		{"no time", nil, []string{token}, with(signed, "Webhook-Timestamp", ""), false},
		{"a time that is none", nil, []string{token}, with(signed, "Webhook-Timestamp", "99999999999999999999"), false},
		{"a time far away", nil, []string{token}, with(signed, "Webhook-Timestamp", "9223372036854775807"), false},
		{"another version", nil, []string{token}, with(signed, "Webhook-Signature", "v2"+signature[2:]), false},
		{"a signature that is none", nil, []string{token}, with(signed, "Webhook-Signature", "v1,!"), false},
		{"no signature", nil, []string{token}, with(signed, "Webhook-Signature", ""), false},
		{"sent again later", nil, []string{token}, late, false},
		{"from the future", nil, []string{token}, early, false},
		{"the secret where it has to be signed", []string{gitlabSecret}, []string{token}, plain, false},
	} {
		source, _ := gitlabSource(t, fake, func(c *ci.GitLabConfig) {
			c.WebhookSecrets, c.SigningTokens = secrets(check.secret), secrets(check.signed)
		})
		_, err := source.Webhook(t.Context(), ci.Delivery(check.delivery))
		if check.ok != (err == nil) || !check.ok && !errors.Is(err, ci.ErrUnverified) {
			t.Errorf("%s: %v", check.name, err)
		}
		if err != nil && (strings.Contains(err.Error(), gitlabSecret) || strings.Contains(err.Error(), "whsec_M")) {
			t.Errorf("%s: the error shows a secret: %v", check.name, err)
		}
	}
	open, _ := gitlabSource(t, fake, func(c *ci.GitLabConfig) { c.WebhookSecrets = nil })
	if _, err := open.Webhook(t.Context(), ci.Delivery(plain)); err == nil || !strings.Contains(err.Error(), "is configured") {
		t.Errorf("nothing is configured: %v does not say so", err)
	}
	for _, broken := range []ci.Secret{ci.SecretValue("not-a-signing-token"), ci.SecretValue("whsec_"), ci.SecretValue("whsec_!"), ci.SecretFile(t.TempDir() + "/none")} {
		source, _ := gitlabSource(t, fake, func(c *ci.GitLabConfig) { c.SigningTokens = []ci.Secret{broken} })
		if _, err := source.Webhook(t.Context(), ci.Delivery(signed)); err == nil || errors.Is(err, ci.ErrUnverified) || strings.Contains(err.Error(), "not-a") {
			t.Errorf("a signing token that is none: %v", err)
		}
	}
}

// TestGitLabPipelineGoesOn: a job that is run again sets a pipeline going again; its
// end, which it still has, is not an end.
func TestGitLabPipelineGoesOn(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	for status, want := range map[string]time.Time{"running": {}, "canceling": {}, "manual": {}, "failed": noon} {
		d := fake.PushHook("acme/shop/api", "main", noon)
		d.Body = []byte(`{"object_kind":"pipeline","project":{"path_with_namespace":"a/b"},"object_attributes":{"id":7,"status":"` + status +
			`","finished_at":"2026-11-23 12:00:00 UTC"}}`)
		facts, err := source.Webhook(t.Context(), ci.Delivery(d))
		if err != nil || len(facts) != 1 || facts[0].Run.Finished != want {
			t.Errorf("%s: %v (%v), want %v", status, facts, err, want)
		}
	}
}

func secrets(values []string) []ci.Secret {
	var list []ci.Secret
	for _, value := range values {
		list = append(list, ci.SecretValue(value))
	}
	return list
}

func TestGitLabWebhookOfNoUse(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	for _, body := range []string{
		`{}`, `null`, `{"object_kind":"issue","object_attributes":[1]}`, `{"object_kind":"pipeline"}`, `{"object_kind":"build"}`, `{"object_kind":"push"}`,
		`{"object_kind":"pipeline","object_attributes":{"id":7}}`, `{"object_kind":"pipeline","object_attributes":null,"merge_request":null,"commit":null,"builds":null}`,
		`{"object_kind":"pipeline","project":{"path_with_namespace":"a/b"}}`, `{"object_kind":"build","pipeline_id":7,"repository":{"homepage":"x"}}`,
		`{"object_kind":"push","project":{"path_with_namespace":"a/b"},"commits":[null,{}]}`, `{"object_kind":"push","commits":[{"id":"1234567","message":"m"}]}`,
	} {
		d := fake.PushHook("acme/shop/api", "main", noon)
		d.Body = []byte(body)
		if facts, err := source.Webhook(t.Context(), ci.Delivery(d)); err != nil || len(facts) != 0 {
			t.Errorf("%s: %v %v, want nothing", body, facts, err)
		}
	}
}

func TestGitLabWebhookMalformed(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	pipeline := func(fields string) string {
		return `{"object_kind":"pipeline","project":{"path_with_namespace":"a/b"},"object_attributes":{` + fields + `}}`
	}
	for body, says := range map[string]string{
		``:                                 "JSON",
		`[]`:                               "no JSON object",
		`{"object_kind":["secret-7"]}`:     "object_kind",
		pipeline(`"id":"secret-7"`):        "object_attributes.id",
		pipeline(`"id":-7`):                "object_attributes.id",
		pipeline(`"tag":"secret-7"`):       "object_attributes.tag",
		pipeline(`"created_at":7`):         "object_attributes.created_at",
		pipeline(`"created_at":"2026-11"`): "object_attributes.created_at",
		pipeline(`"status":` + strings.Repeat("9", 1<<20)):                                      "object_attributes.status",
		pipeline(`"x":` + strings.Repeat("[", 1e6)):                                             "JSON",
		`{"object_kind":"pipeline","builds":{}}`:                                                "builds",
		`{"object_kind":"build","runner":{"id":1.5}}`:                                           "runner.id",
		`{"object_kind":"build","build_started_at":"yesterday"}`:                                "build_started_at",
		`{"object_kind":"push","commits":[{"timestamp":"2026-11-23 11:00:00 CET"}]}`:            "commits.timestamp",
		`{"object_kind":"push","project":"secret-7"}`:                                           "project",
		`{"object_kind":"pipeline","merge_request":{"source_project_id":"../secret-7"}}`:        "merge_request.source_project_id",
		`{"object_kind":"pipeline","object_attributes":{"id":` + strings.Repeat("9", 21) + `}}`: "object_attributes.id",
	} {
		d := fake.PushHook("acme/shop/api", "main", noon)
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

// TestGitLabTimes: every form that GitLab has written times in is the same moment.
func TestGitLabTimes(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	for _, text := range []string{
		"2026-11-23 12:00:00 UTC", "2026-11-23 13:00:00 +0100", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.987Z", "2026-11-23T13:00:00.123+01:00",
	} {
		d := fake.PushHook("acme/shop/api", "main", noon)
		d.Body = []byte(`{"object_kind":"pipeline","project":{"path_with_namespace":"a/b"},"object_attributes":{"id":"7","created_at":"` + text + `"}}`)
		facts, err := source.Webhook(t.Context(), ci.Delivery(d))
		if err != nil || len(facts) != 1 || facts[0].Run.Queued != noon {
			t.Errorf("%s: %v (%v)", text, facts, err)
		}
	}
}

func BenchmarkGitLabWebhook(b *testing.B) {
	var t testing.T
	fake, _ := gitlabWorld(&t)
	fake.SigningKey = []byte("0123456789abcdef0123456789abcdef")
	token := "whsec_" + base64.StdEncoding.EncodeToString(fake.SigningKey)
	source, _ := ci.NewGitLab(ci.GitLabConfig{URL: "https://gitlab.example.com", SigningTokens: secrets([]string{token})})
	delivery := ci.Delivery(fake.PipelineHook(574, noon))
	b.ReportAllocs()
	for b.Loop() {
		if facts, err := source.Webhook(b.Context(), delivery); err != nil || len(facts) == 0 {
			b.Fatal(err)
		}
	}
}

// FuzzGitLabWebhook: a genuine body of any content gives facts that are whole and
// the same each time, or ErrMalformed and none.
func FuzzGitLabWebhook(f *testing.F) {
	source, err := ci.NewGitLab(ci.GitLabConfig{URL: "https://gitlab.example.com", WebhookSecrets: secrets([]string{"s"})})
	if err != nil {
		f.Fatal(err)
	}
	var t testing.T
	fake, _ := gitlabWorld(&t)
	for _, delivery := range fake.History() {
		f.Add(delivery.Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		delivery := ci.Delivery{Header: http.Header{"X-Gitlab-Token": {"s"}}, Body: body, Received: noon}
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
