package ci

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSpaceJobEvent(t *testing.T) {
	b := newSpaceBed(t, nil)
	// As providers.md has it, of a project that is not configured.
	sha := strings.Repeat("9f31", 10)
	body := `{"className":"WebhookRequestPayload","clientId":"haptrail-client","webhookId":"1pQrSt","payload":{
	 "className":"AutomationJobEvent","meta":{"principal":{"name":"Automation","details":null},
	   "timestamp":{"iso":"2023-11-14T22:13:24.000Z","timestamp":1700000004000},"method":"Updated"},
	 "executionId":"2bQWXYZ","project":{"id":"1AbCd","key":{"key":"MYPROJ"},"name":"My"},"repositoryName":"infra",
	 "jobName":"Publish","executionNumber":118,
	 "trigger":{"className":"JobExecutionTrigger.GitPush","commit":"` + strings.ToUpper(sha) + `"},
	 "triggerTime":{"iso":"2023-11-14T22:13:20.000Z"},
	 "status":{"old":null,"new":"Started"},
	 "startTime":{"old":null,"new":{"iso":"...","timestamp":1700000004000}},
	 "repositories":[{"isDefault":true,"name":"infra","cloneDir":null,"ref":"refs/heads/main","commit":"` + sha + `"}]}}`
	want := Run{
		Provider: "space", Project: "1AbCd", ID: "2bQWXYZ", Job: "Publish", Name: "#118", Ref: "refs/heads/main", Commit: sha, Trigger: "git_push",
		Status: Running, Queued: time.UnixMilli(1700000000000).UTC(), Started: time.UnixMilli(1700000004000).UTC(), Said: time.UnixMilli(1700000004000).UTC(),
	}
	facts, err := b.send(t, []byte(body), nil)
	if err != nil || len(facts) != 1 || *facts[0].Run != want {
		t.Fatalf("%v\n%+v\nwant %+v", err, facts, want)
	}
	// A part of it in place of the envelope, and without its class.
	_, payload, _ := strings.Cut(body, `"payload":`)
	payload = strings.TrimSuffix(payload, "}")
	for _, custom := range []string{payload, strings.Replace(payload, `"className":"AutomationJobEvent",`, "", 1)} {
		if facts, err := b.send(t, []byte(custom), nil); err != nil || len(facts) != 1 || *facts[0].Run != want {
			t.Errorf("%v %+v", err, facts)
		}
	}
}

// One field at a time: f(fields of an event) = run.
func TestSpaceJobEventFields(t *testing.T) {
	b := newSpaceBed(t, nil)
	one, two := spaceTestSHA(1), spaceTestSHA(2)
	for fields, want := range map[string]Run{
		``:                             {},
		`"executionNumber":0`:          {Name: "#0"},
		`"executionNumber":null`:       {},
		`"status":{"new":"Succeeded"}`: {Status: Succeeded},
		`"status":{"new":"Failed"}`:    {Status: Failed},
		`"status":{"old":"Started","new":"Terminated"},"endTime":{"new":1700000000000}`: {
			Status: Canceled, Finished: time.UnixMilli(1700000000000).UTC(), Said: time.UnixMilli(1700000000000).UTC(),
		},
		`"status":{"new":"Invented"},"startTime":null,"endTime":{"new":null}`:          {},
		`"trigger":{"className":"JobExecutionTrigger.Schedule"}`:                       {Trigger: "schedule"},
		`"trigger":{"className":"JobExecutionTrigger.CodeReviewOpened"}`:               {Trigger: "code_review_opened"},
		`"trigger":{"className":"JobExecutionTrigger.GitPush","commit":"` + one + `"}`: {Trigger: "git_push", Commit: one},
		`"trigger":{"className":"JobExecutionTrigger.SafeMerge","principal":{"name":"Ada","details":{"className":"CUserWithEmailPrincipalDetails","name":"Ada","email":"ada@example.com"}}}`: {Trigger: "safe_merge", Actor: "ada@example.com"},
		`"trigger":{"principal":{"name":"Ada","details":null}}`:                                                                                          {Actor: "Ada"},
		`"trigger":{"principal":{"name":"X","details":{"className":"CApplicationPrincipalDetails","app":{"name":"Robot"}}}}`:                             {Actor: "Robot"},
		`"trigger":{"principal":{"name":"X","details":{"className":"CAutomationTaskPrincipalDetails","project":{"key":{"key":"PAY"}},"name":"Deploy"}}}`: {Actor: "PAY/Deploy"},
		`"trigger":{"principal":{"name":"X","details":{"className":"CNewPrincipalDetails"}}}`:                                                            {Actor: "X"},
		`"repositories":[{"name":"a","ref":"r1","commit":"` + one + `"},{"name":"b","isDefault":true,"ref":"r2","commit":"` + two + `"}]`:                {Ref: "r2", Commit: two},
		`"repositoryName":"b","repositories":[{"name":"a","ref":"r1"},{"name":"b","ref":"r2","commit":"` + two + `"}]`:                                   {Ref: "r2", Commit: two},
		`"repositories":[{"name":"a","ref":"r1","commit":"` + one + `"},{"name":"b","ref":"r2"}]`:                                                        {Ref: "r1", Commit: one},
		`"repositories":[],"commit":5,"jobName":{"$errors":[{"className":"Hidden"}]}`:                                                                    {},
		`"repositories":[{"ref":"r1","commit":"deadbeef"}]`:                                                                                              {Ref: "r1"},
	} {
		want.Provider, want.Project, want.Principal, want.ID = "space", "payments", "app-1", "x"
		for _, project := range []string{`{"id":"p1","key":{"key":"PAY"}}`, `{"id":"p1"}`, `{"key":{"key":"PAY"}}`, `{"key":"PAY"}`} {
			body := `{"payload":{"className":"AutomationJobEvent","executionId":"x","project":` + project + "," + fields + `}}`
			body = strings.Replace(body, ",}}", "}}", 1)
			facts, err := b.send(t, []byte(body), nil)
			if err != nil || len(facts) != 1 || *facts[0].Run != want {
				t.Errorf("%s\n%v %+v\nwant %+v", body, err, facts, want)
			}
		}
	}
}

func TestSpaceCommitEvents(t *testing.T) {
	b := newSpaceBed(t, nil)
	sha := spaceTestSHA(7)
	info := `{"id":"` + sha + `","message":"\n Fix it \r\nlonger","authorDate":1700000000000,"commitDate":1700000001000,
	 "author":{"name":"Ada","email":"a@example.com"},"committer":{"name":"Bot","email":"b@example.com"},"signature":{"className":"GitCommitSignature.Verified","description":"x"}}`
	want := Commit{
		SHA: sha, Repository: "PAY/infra", Author: "Ada", AuthorEmail: "a@example.com", Committer: "Bot", Subject: "Fix it", Signature: "verified",
		Authored: time.UnixMilli(1700000000000).UTC(), Committed: time.UnixMilli(1700000001000).UTC(), Said: time.UnixMilli(1700000001000).UTC(),
	}
	bare := Commit{SHA: sha, Repository: "PAY/infra"}
	for event, want := range map[string][]Commit{
		`"className":"SRepoPushWebhookEvent","head":"refs/heads/x","created":false,"commits":[` + info + `,` + info + `],"hasMoreCommits":true`: {want, want},
		`"className":"SRepoPushWebhookEvent","deleted":true`:                                                                                                            nil,
		`"className":"SRepoPushWebhookEvent","commits":[{"id":"short"},{},null,{"id":"` + sha + `"}]`:                                                                   {bare},
		`"className":"SRepoCommitsWebhookEvent","commit":{"commit":` + info + `,"changes":{}}`:                                                                          {want},
		`"className":"SRepoCommitsWebhookEvent"`:                                                                                                                        nil,
		`"className":"SRepoHeadsWebhookEvent","changes":{"heads":[{"name":"main","oldId":"a","newId":"b"}],"commits":["` + sha + `",` + info + `],"totalNewCommits":2}`: {bare, want},
		`"commits":[` + info + `]`:                        {want},
		`"commit":` + info:                                {want},
		`"changes":{"commits":[{"commit":` + info + `}]}`: {want},
	} {
		facts, err := b.send(t, []byte(`{"payload":{"projectKey":{"key":"PAY"},"repository":"infra",`+event+`}}`), nil)
		var have []Commit
		for _, f := range facts {
			have = append(have, *f.Commit)
		}
		if err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%s\n%v %+v\nwant %+v", event, err, have, want)
		}
	}
	for in, want := range map[string]string{
		"":                             "",
		"one":                          "one",
		strings.Repeat("é", 300):       strings.Repeat("é", 250),
		"a" + strings.Repeat("é", 300): "a" + strings.Repeat("é", 249),
	} {
		if have := spaceSubject(in); have != want {
			t.Errorf("%q", have)
		}
	}
}

func TestSpaceApplicationEvents(t *testing.T) {
	b := newSpaceBed(t, nil)
	at := time.UnixMilli(1700000004000).UTC()
	for event, want := range map[string]Principal{
		`"className":"ApplicationWebhookEvent","name":{"old":"a","new":"b"},"archived":{"old":false,"new":true},"clientSecretChanged":true`: {
			Provider: "space", Subject: "app-1", Name: said("b", at), Owner: said("ada", at), Archived: said(true, at), Said: at,
			Credentials: []Credential{{ID: "client-1", Kind: "client-secret", Created: at, Said: at}},
		},
		`"className":"ApplicationWebhookEvent","archived":{"old":true,"new":false}`: {
			Provider: "space", Subject: "app-1", Name: said("a", at), Owner: said("ada", at), Archived: said(false, at), Said: at,
		},
		`"className":"ApplicationAuthorizedWebhookEvent","scope":"global:Profile.View"`: {
			Provider: "space", Subject: "app-1", Name: said("a", at), Owner: said("ada", at), Said: at,
		},
	} {
		body := `{"payload":{"meta":{"timestamp":{"timestamp":1700000004000}},"application":{"id":"app-1","clientId":"client-1","name":"a","owner":{"username":"ada"}},` + event + `}}`
		facts, err := b.send(t, []byte(body), nil)
		if err != nil || len(facts) != 1 || !reflect.DeepEqual(*facts[0].Principal, want) {
			t.Errorf("%v %+v\nwant %+v", err, facts, want)
		}
	}
}

// What is no event of interest tells nothing, and is no error.
func TestSpaceWebhookTellsNothing(t *testing.T) {
	b := newSpaceBed(t, nil)
	for _, body := range []string{
		`{}`, `null`, `{"payload":null}`, `{"payload":{}}`, `{"className":"WebhookRequestPayload"}`,
		`{"className":"WebhookRequestPayload","payload":{"className":"PingWebhookEvent","webhookName":"x"}}`,
		`{"className":"InitPayload","clientSecret":"s","serverUrl":"https://space.example.com","clientId":"c","userId":"u"}`,
		`{"className":"ChangeClientSecretPayload","newClientSecret":["s"],"clientId":"c"}`,
		`{"className":"ApplicationUninstalledPayload","clientId":"c"}`,
		`{"payload":{"className":"DeploymentWebhookEvent","deploymentId":"d"}}`,
		`{"payload":{"className":"AutomationJobEvent"}}`, `{"payload":{"className":"AutomationJobEvent","executionId":"x"}}`,
		`{"payload":{"className":"AutomationJobEvent","project":{"id":"p1"}}}`, `{"payload":{"className":"AutomationJobEvent","executionId":null,"project":null}}`,
		`{"payload":{"className":"ApplicationWebhookEvent"}}`, `{"job":"Deploy","text":"a custom body"}`, `{"repository":"x"}`,
	} {
		if facts, err := b.send(t, []byte(body), nil); err != nil || len(facts) != 0 {
			t.Errorf("%s: %v %v", body, facts, err)
		}
	}
}
