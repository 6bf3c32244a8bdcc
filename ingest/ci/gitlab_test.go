package ci_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

const (
	gitlabToken  = "glpat-token-4485"
	gitlabSecret = "gl-hook-secret-1187"
	mergeSHA     = "77c2ad90e4b7a86f1f2d3c4b5a69788f4485e177"
)

// part is a time of the GitLab worlds: they have microseconds, as its database does.
func part(offset time.Duration) time.Time { return noon.Add(offset).Add(123456 * time.Microsecond) }

// gitlabWorld is an instance with a pipeline of each kind, at a time that tests move.
func gitlabWorld(t *testing.T) (*citest.GitLab, *time.Time) {
	t.Helper()
	now := noon
	fake := &citest.GitLab{Token: gitlabToken, Clock: func() time.Time { return now }, URL: "https://gitlab.example.com", Secret: gitlabSecret}
	fake.PutProject(
		citest.GitLabProject{ID: 20, Path: "acme/shop/api"}, citest.GitLabProject{ID: 21, Path: "kira/api", ForkOf: "acme/shop/api"},
		citest.GitLabProject{ID: 22, Path: "acme/other", Stranger: true},
	)
	fake.PutMergeRequest(
		citest.GitLabMergeRequest{Project: "acme/shop/api", IID: 3, SourceProject: "acme/shop/api", SourceBranch: "feature/x"},
		citest.GitLabMergeRequest{Project: "acme/shop/api", IID: 4, SourceProject: "kira/api", SourceBranch: "main"},
		citest.GitLabMergeRequest{Project: "acme/shop/api", IID: 5, SourceProject: "deleted/api", SourceBranch: "patch"},
	)
	deploy := citest.GitLabPipeline{
		ID: 574, IID: 12, Project: "acme/shop/api", Ref: "main", SHA: builtSHA, Source: "push", User: "kira", Status: "success",
		Created: part(-30 * time.Minute), Started: part(-29 * time.Minute), Finished: part(-20 * time.Minute),
		Jobs: []citest.GitLabJob{
			{ID: 301, Name: "build", User: "kira", Runner: 7, Status: "failed", Retried: true, Started: part(-29 * time.Minute), Finished: part(-28 * time.Minute)},
			{ID: 302, Name: "build", User: "kira", Runner: 12, Status: "success", Started: part(-27 * time.Minute), Finished: part(-24 * time.Minute)},
			{ID: 303, Name: "deploy", User: "lee", Runner: 12, Status: "success", Started: part(-23 * time.Minute), Finished: part(-20 * time.Minute)},
			{ID: 304, Name: "rollback", User: "sam", Status: "manual"},
		},
	}
	fake.Put(deploy)
	for i, change := range []func(*citest.GitLabPipeline){
		func(p *citest.GitLabPipeline) { p.Status, p.Ref, p.Tag, p.Source = "failed", "v1.2", true, "web" },
		func(p *citest.GitLabPipeline) { p.Status, p.Source, p.Jobs = "canceled", "schedule", p.Jobs[1:2] },
		func(p *citest.GitLabPipeline) {
			p.Ref, p.MergeRequest, p.Source = "refs/merge-requests/3/head", 3, "merge_request_event"
		},
		func(p *citest.GitLabPipeline) {
			p.Ref, p.MergeRequest, p.Source, p.SHA = "refs/merge-requests/4/merge", 4, "merge_request_event", mergeSHA
		},
		func(p *citest.GitLabPipeline) { p.Source = "parent_pipeline" },
		func(p *citest.GitLabPipeline) {
			p.Finished = time.Time{}
			p.Jobs = slices.Clone(p.Jobs)
			p.Jobs[2].Finished = time.Time{}
		},
		func(p *citest.GitLabPipeline) { p.Started, p.Finished, p.Jobs = time.Time{}, time.Time{}, nil },
		func(p *citest.GitLabPipeline) {
			p.Ref, p.MergeRequest, p.Source = "refs/merge-requests/5/head", 5, "merge_request_event"
		},
	} {
		p := deploy
		p.ID, p.IID = int64(575+i), int64(13+i)
		change(&p)
		fake.Put(p)
	}
	fake.PutCommit(citest.GitLabCommit{
		Project: "acme/shop/api", SHA: builtSHA, Branch: "main", Message: "deploy: two replicas\n\nAs the load needs.", Author: "Kira Ivanova", AuthorEmail: "kira@acme.example",
		Committer: "Lee", Authored: noon.Add(-2 * time.Hour), Committed: noon.Add(-time.Hour), Signature: "verified",
	})
	return fake, &now
}

func gitlabSource(t *testing.T, fake http.Handler, change func(*ci.GitLabConfig)) (*ci.GitLab, *[]time.Duration) {
	t.Helper()
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	var pauses []time.Duration
	config := ci.GitLabConfig{
		URL: server.URL, Token: ci.SecretValue(gitlabToken), WebhookSecrets: []ci.Secret{ci.SecretValue("the-old-one"), ci.SecretValue(gitlabSecret)},
		Pause: func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil },
	}
	if change != nil {
		change(&config)
	}
	source, err := ci.NewGitLab(config)
	if err != nil {
		t.Fatal(err)
	}
	return source, &pauses
}

// gitlabWant are the runs of the world at noon, by their keys.
func gitlabWant() map[string]ci.Run {
	whole := ci.Run{
		Provider: "gitlab", Project: "acme/shop/api", ID: "574", Name: "#574", Ref: "refs/heads/main", Commit: builtSHA, Trigger: "push",
		Actor: "kira", Approver: "lee", Agent: "7", Status: ci.Succeeded,
		Queued: noon.Add(-30 * time.Minute), Started: noon.Add(-29 * time.Minute), Finished: noon.Add(-20 * time.Minute), Said: noon.Add(-20 * time.Minute),
	}
	want := make(map[string]ci.Run)
	for id, change := range map[string]func(*ci.Run){
		"574": func(*ci.Run) {},
		"575": func(r *ci.Run) { r.Status, r.Ref, r.Trigger = ci.Failed, "refs/tags/v1.2", "web" },
		"576": func(r *ci.Run) { r.Status, r.Trigger, r.Approver, r.Agent = ci.Canceled, "schedule", "", "12" },
		"577": func(r *ci.Run) { r.Ref, r.Trigger = "refs/heads/feature/x", "merge_request_event" },
		"578": func(r *ci.Run) { r.Project, r.Trigger, r.Commit = "kira/api", "merge_request_event", mergeSHA },
		"579": func(r *ci.Run) { r.Trigger = "parent_pipeline" },
		"580": func(r *ci.Run) { // its last job has started, and not ended
			r.Status, r.Finished, r.Said = ci.Running, time.Time{}, noon.Add(-23*time.Minute)
		},
		"581": func(r *ci.Run) {
			r.Status, r.Approver, r.Agent, r.Started, r.Finished, r.Said = ci.Queued, "", "", time.Time{}, time.Time{}, r.Queued
		},
		"582": func(r *ci.Run) { r.Ref, r.Trigger = "refs/heads/patch", "merge_request_event" },
	} {
		run := whole
		run.ID, run.Name = id, "#"+id
		change(&run)
		want["gitlab|"+run.Project+"|"+id+"|0"] = run
	}
	return want
}

func TestGitLabPoll(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, func(c *ci.GitLabConfig) { c.Projects = []string{"acme/shop/api"} })
	facts, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	seen := converge(facts)
	for key, want := range gitlabWant() {
		if got := seen.runs[key]; got != want {
			t.Errorf("%s\n got %+v\nwant %+v", key, got, want)
		}
	}
	if len(seen.runs) != 9 {
		t.Errorf("%d runs, want 9", len(seen.runs))
	}
	want := ci.Commit{
		SHA: builtSHA, Repository: "acme/shop/api", Author: "Kira Ivanova", AuthorEmail: "kira@acme.example", Committer: "Lee",
		Authored: noon.Add(-2 * time.Hour), Committed: noon.Add(-time.Hour), Subject: "deploy: two replicas", Signature: "verified", Said: noon.Add(-time.Hour), Checked: noon,
	}
	if got := seen.commits["acme/shop/api|"+builtSHA]; got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if calls := fake.Requests("/signature"); len(calls) != 1 {
		t.Errorf("one commit's signature was asked for %d times", len(calls))
	}
	before := len(fake.Requests(""))
	again, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), cursor)
	if err != nil || len(again) != 0 || len(fake.Requests(""))-before != 2 {
		t.Errorf("nothing has changed: %d facts after %d calls (%v), want 0 after 2", len(again), len(fake.Requests(""))-before, err)
	}
	repeated, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	if err != nil || !reflect.DeepEqual(converge(repeated), seen) {
		t.Errorf("from the same cursor not the same facts (%v): %s", err, differ(converge(repeated), seen))
	}
	noViolations(t, fake.Violations())
}

// TestGitLabPollWhileThingsChange: the list moves under the reader, pipelines have
// the same time, and every one is seen in its last state all the same.
func TestGitLabPollWhileThingsChange(t *testing.T) {
	fake, _ := gitlabWorld(t)
	apart := func(i int) time.Duration { return time.Duration(i*7919%60_000) * time.Millisecond }
	begin := noon // to the millisecond: the list is of later ones only
	for i := range 430 {
		at := begin.Add(time.Duration(i/250) * time.Minute) // 250 with one time
		fake.Put(citest.GitLabPipeline{
			ID: int64(2000 + i), Project: "kira/api", Ref: "main", SHA: fmt.Sprintf("%040x", i), Source: []string{"push", "parent_pipeline"}[i%11/10], User: "kira",
			Status: "success", Created: at, Started: at.Add(time.Minute + apart(i)), Finished: at.Add(3*time.Minute + apart(i*i)),
		})
	}
	now := begin.Add(90 * time.Second)
	fake.Clock = func() time.Time { // each call takes a while
		now = now.Add(50 * time.Millisecond)
		return now
	}
	source, _ := gitlabSource(t, fake, func(c *ci.GitLabConfig) { c.Projects = []string{"kira/api"} })
	var facts []ci.Fact
	cursor := ""
	for range 4 {
		got, next, err := source.Poll(t.Context(), noon, cursor)
		if err != nil {
			t.Fatal(err)
		}
		facts, cursor = append(facts, got...), next
		now = now.Add(2 * time.Minute)
	}
	seen := converge(facts)
	done := 0
	for _, run := range seen.runs {
		if run.Status == ci.Succeeded && !run.Finished.IsZero() {
			done++
		}
	}
	if len(seen.runs) != 430 || done != 430 {
		t.Errorf("%d runs are known, %d in their last state, want 430 of each", len(seen.runs), done)
	}
	if pages := fake.Requests("page=2"); len(pages) == 0 {
		t.Error("no second page of one time was asked for")
	}
	noViolations(t, fake.Violations())
}

// TestGitLabCursorIsBounded: of many pipelines with one time it remembers some; the
// rest is told again.
func TestGitLabCursorIsBounded(t *testing.T) {
	fake, now := gitlabWorld(t)
	for i := range 260 {
		fake.Put(citest.GitLabPipeline{ID: int64(2000 + i), Project: "kira/api", Ref: "main", SHA: builtSHA, Source: "push", Status: "success", Created: noon})
	}
	source, _ := gitlabSource(t, fake, func(c *ci.GitLabConfig) { c.Projects = []string{"kira/api"} })
	_, cursor, err := source.Poll(t.Context(), noon, "")
	var marks map[string]struct{ Seen map[string]time.Time }
	if jsonErr := json.Unmarshal([]byte(cursor), &marks); err != nil || jsonErr != nil || len(marks["kira/api"].Seen) != 200 {
		t.Errorf("the cursor is %.100s (%v, %v)", cursor, err, jsonErr)
	}
	again, cursor, err := source.Poll(t.Context(), noon, cursor)
	if seen := converge(again); err != nil || len(seen.runs) != 60 {
		t.Errorf("%d runs were told again (%v), want 60", len(seen.runs), err)
	}
	*now = noon.Add(time.Hour)
	fake.Put(citest.GitLabPipeline{ID: 3000, Project: "kira/api", Ref: "main", SHA: builtSHA, Source: "push", Status: "success", Created: *now})
	_, cursor, err = source.Poll(t.Context(), noon, cursor)
	if err != nil || len(cursor) > 300 {
		t.Errorf("an hour later the cursor has %d bytes (%v)", len(cursor), err)
	}
}

// TestGitLabConverges: all webhooks in any order, twice, with gaps, then a poll,
// give what the poll alone gives.
func TestGitLabConverges(t *testing.T) {
	for _, old := range []bool{false, true} {
		fake, _ := gitlabWorld(t)
		fake.Old = old
		source, _ := gitlabSource(t, fake, func(c *ci.GitLabConfig) { c.Projects = []string{"acme/shop/api"} })
		polled, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
		if err != nil {
			t.Fatal(err)
		}
		want, history := converge(polled), fake.History()
		var whole *known
		for seed := range uint64(30) {
			random := rand.New(rand.NewPCG(seed, 7))
			twice := append(slices.Clone(history), history...)
			random.Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
			var all, gappy []ci.Fact
			for _, delivery := range twice {
				facts, err := source.Webhook(t.Context(), ci.Delivery(delivery))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, facts...)
				if random.IntN(3) > 0 {
					gappy = append(gappy, facts...)
				}
			}
			if got := converge(gappy, polled); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: webhooks with gaps and a poll differ from the poll: %s", seed, differ(got, want))
			}
			if got := converge(all); whole == nil {
				whole = &got
			} else if !reflect.DeepEqual(got, *whole) {
				t.Fatalf("seed %d: the order of webhooks counts: %s", seed, differ(got, *whole))
			}
		}
		for key, run := range want.runs {
			if !run.Status.Final() {
				run.Approver = "" // of a job that has started since the pipeline's last webhook
			}
			if got := whole.runs[key]; got != run {
				t.Errorf("by webhooks alone %s is\n%+v, and by the poll\n%+v", key, got, run)
			}
		}
		noViolations(t, fake.Violations())
	}
}

func TestGitLabRun(t *testing.T) {
	fake, _ := gitlabWorld(t)
	source, _ := gitlabSource(t, fake, nil)
	for key, want := range gitlabWant() {
		got, err := source.Run(t.Context(), want.Project, want.ID)
		if err != nil || got != want {
			t.Errorf("%s (%v)\n got %+v\nwant %+v", key, err, got, want)
		}
	}
	// an older server's token names the parent
	if got, err := source.Run(t.Context(), "acme/shop/api", "578"); err != nil || got.Project != "acme/shop/api" {
		t.Errorf("a fork's pipeline by its parent: %+v (%v)", got, err)
	}
	for _, asked := range []struct {
		name, project, run string
		calls              int
	}{
		{"no such pipeline", "acme/shop/api", "7", 2},
		{"no such project", "acme/none", "574", 2},
		{"another project's pipeline", "acme/other", "574", 2},
		{"the parent's own pipeline, by the fork", "kira/api", "574", 4},
		{"another fork's", "kira/api", "577", 4},
		{"a path instead of a number", "acme/shop/api", "574/jobs", 0},
		{"a project's number", "20", "574", 0},
		{"a way up", "acme/../admin", "574", 0},
		{"nothing", "", "", 0},
	} {
		before := len(fake.Requests(""))
		if got, err := source.Run(t.Context(), asked.project, asked.run); !errors.Is(err, ci.ErrNotFound) {
			t.Errorf("%s: %+v, %v, want ErrNotFound", asked.name, got, err)
		}
		if calls := len(fake.Requests("")) - before; calls != asked.calls {
			t.Errorf("%s: %d calls, want %d", asked.name, calls, asked.calls)
		}
	}
	noViolations(t, fake.Violations())
}

func TestGitLabCommit(t *testing.T) {
	fake, _ := gitlabWorld(t)
	for i, status := range []string{"", "unverified", "revoked_key", "verified_system", "future_word"} {
		fake.PutCommit(citest.GitLabCommit{Project: "kira/api", SHA: fmt.Sprintf("%040x", i+16), Signature: status, Committed: noon.Add(-time.Hour)})
	}
	fake.PutCommit(citest.GitLabCommit{Project: "kira/api", SHA: strings.Repeat("ab", 20), Branch: "deadbeef"})
	source, _ := gitlabSource(t, fake, nil)
	for i, want := range []string{"none", "unverified", "unverified", "verified", "unverified"} {
		got, err := source.Commit(t.Context(), "kira/api", strings.ToUpper(fmt.Sprintf("%040x", i+16)))
		if err != nil || got.Signature != want || got.Committed != noon.Add(-time.Hour) {
			t.Errorf("commit %d: %+v (%v), want %s", i, got, err, want)
		}
	}
	for _, asked := range [][2]string{
		{"kira/api", "deadbeef"}, {"kira/api", "main"}, {"kira/api", "ab"}, {"kira/api", strings.Repeat("0", 40)}, {"acme/none", builtSHA}, {"20", builtSHA}, {"kira/api", ""},
	} {
		if got, err := source.Commit(t.Context(), asked[0], asked[1]); !errors.Is(err, ci.ErrNotFound) {
			t.Errorf("commit %q of %q: %+v, %v, want ErrNotFound", asked[1], asked[0], got, err)
		}
	}
}

// TestGitLabProjectsOfOurs: without a list, the projects that our account is a
// member of, on as many pages as there are.
func TestGitLabProjectsOfOurs(t *testing.T) {
	fake, _ := gitlabWorld(t)
	for i := range 230 {
		fake.PutProject(citest.GitLabProject{ID: int64(1000 - i), Path: fmt.Sprintf("many/p%d", i)})
	}
	fake.Put(citest.GitLabPipeline{ID: 900, Project: "many/p0", Ref: "main", SHA: builtSHA, Source: "push", Status: "success", Created: part(-time.Minute)})
	fake.Put(citest.GitLabPipeline{ID: 901, Project: "acme/other", Ref: "main", SHA: builtSHA, Source: "push", Status: "success", Created: part(-time.Minute)})
	source, _ := gitlabSource(t, fake, nil)
	facts, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	if seen := converge(facts); err != nil || len(seen.runs) != 10 || seen.runs["gitlab|many/p0|900|0"].ID == "" {
		t.Errorf("%d runs (%v), want 10", len(seen.runs), err)
	}
	if pages := fake.Requests("pagination=keyset"); len(pages) != 3 {
		t.Errorf("%d pages of projects, want 3", len(pages))
	}
	if !json.Valid([]byte(cursor)) || strings.Contains(cursor, "acme/other") {
		t.Errorf("the cursor is %.200s", cursor)
	}
	noViolations(t, fake.Violations())
}
