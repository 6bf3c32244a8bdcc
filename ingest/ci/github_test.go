package ci_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

const (
	githubToken   = "github_pat_very_secret"
	githubWebhook = "a webhook's secret"
	webShop       = "acme/web-shop"
	workflow      = ".github/workflows/ci.yml"
)

func sha(digit string) string { return strings.Repeat(digit, 40) }

// clock is the test's day, minute by minute.
func clock(minute int) time.Time {
	return time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC).Add(time.Duration(minute) * time.Minute)
}

// attempt is one that began, ran and ended at these minutes, on one agent.
func attempt(began, ran, ended int, conclusion, agent string) citest.GitHubAttempt {
	return citest.GitHubAttempt{Actor: "sofia", Began: clock(began), Ran: clock(ran), Ended: clock(ended), Conclusion: conclusion, Jobs: []citest.GitHubJob{
		{ID: uint64(began*100 + 1), Name: "build", Runner: agent, Began: clock(began), Ran: clock(ran), Ended: clock(ended), Conclusion: conclusion},
	}}
}

// newGitHubWorld is a repository with one run of each kind that matters.
func newGitHubWorld() *citest.GitHub {
	retried := attempt(30, 31, 35, "success", "vm-9")
	retried.Actor = "mallory"
	// GitHub takes jobs that need no re-run over into the new attempt.
	retried.Jobs = append(retried.Jobs, citest.GitHubJob{ID: 77, Name: "lint", Runner: "zz-vm-of-attempt-1", Began: clock(30), Ran: clock(11), Ended: clock(13), Conclusion: "success"})
	deployed := attempt(40, 45, 50, "success", "vm-3")
	deployed.Approver = "priya"
	running := attempt(60, 61, 0, "", "vm-4")
	running.Ended, running.Jobs[0].Ended = time.Time{}, time.Time{}
	skipped := attempt(65, 65, 65, "skipped", "")
	run := func(id uint64, event, branch, at string, attempts ...citest.GitHubAttempt) citest.GitHubRun {
		return citest.GitHubRun{Repository: webShop, ID: id, Number: id - 1000, Path: workflow, Event: event, Branch: branch, SHA: sha(at), Actor: "sofia", Attempts: attempts}
	}
	pull := run(1003, "pull_request", "feature", "c", attempt(20, 21, 22, "failure", "vm-2"))
	pull.PullRequests = []uint64{12}
	commit := func(digit, reason, ref string, minute int) citest.GitHubCommit {
		return citest.GitHubCommit{Repository: webShop, SHA: sha(digit), Message: "Change " + digit + "\n\nBecause.", Author: "Sofia Lindqvist", Email: "sofia@example.com", Committer: "GitHub",
			Authored: clock(minute - 60), Committed: clock(minute - 1), Reason: reason, Ref: ref, Pushed: clock(minute)}
	}
	return &citest.GitHub{
		Token: githubToken, Tags: map[string]string{webShop + " v1.0": ""},
		Commits: []citest.GitHubCommit{
			commit("a", "valid", "refs/heads/main", 0), commit("b", "unsigned", "refs/tags/v1.0", 5), commit("c", "unknown_key", "refs/heads/feature", 20),
			commit("d", "valid", "refs/heads/main", 40), commit("f", "unsigned", "refs/heads/main", 39),
		},
		Runs: []citest.GitHubRun{
			run(1001, "push", "main", "a", attempt(1, 2, 4, "success", "vm-1")),
			run(1002, "push", "v1.0", "b", attempt(6, 7, 8, "cancelled", "vm-1")),
			pull,
			run(1004, "pull_request", "main", "0", attempt(21, 22, 23, "success", "vm-2")), // of a fork: no number, no such commit
			run(1005, "push", "main", "a", attempt(10, 11, 13, "failure", "vm-1"), retried),
			run(1006, "workflow_dispatch", "main", "d", deployed),
			run(1007, "schedule", "main", "d", running),
			run(1008, "push", "main", "d", skipped),
		},
	}
}

// newGitHub is a source for a fake; no clock waits.
func newGitHub(t testing.TB, fake *citest.GitHub, change func(*ci.GitHubConfig)) (*ci.GitHub, *[]time.Duration) {
	t.Helper()
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		for _, violation := range fake.Violations() {
			t.Error(violation)
		}
	})
	var pauses []time.Duration
	config := ci.GitHubConfig{
		API: server.URL + "/api/v3", Webhooks: []ci.Secret{ci.SecretValue("an old one"), ci.SecretValue(githubWebhook)}, Token: ci.SecretValue(githubToken),
		Repositories: []string{webShop}, Approvals: true,
		Pause: func(ctx context.Context, d time.Duration) error { pauses = append(pauses, d); return ctx.Err() },
	}
	if change != nil {
		change(&config)
	}
	source, err := ci.NewGitHub(config)
	if err != nil {
		t.Fatal(err)
	}
	return source, &pauses
}

// ledger is what facts come to when they are merged.
type ledger struct {
	runs    map[string]ci.Run
	commits map[string]ci.Commit
}

func (l *ledger) apply(facts []ci.Fact) {
	if l.runs == nil {
		l.runs, l.commits = make(map[string]ci.Run), make(map[string]ci.Commit)
	}
	for _, fact := range facts {
		if run := fact.Run; run != nil {
			key := fmt.Sprintf("%s/%s/%d", run.Project, run.ID, run.Attempt)
			if known, ok := l.runs[key]; ok {
				*run = known.Merge(*run)
			}
			l.runs[key] = *run
		}
		if commit := fact.Commit; commit != nil {
			if known, ok := l.commits[commit.SHA]; ok {
				*commit = known.Merge(*commit)
			}
			l.commits[commit.SHA] = *commit
		}
	}
}

// same compares all runs, and the commits that runs are on.
func (l *ledger) same(t *testing.T, want *ledger) {
	t.Helper()
	on := make(map[string]bool)
	for key, run := range want.runs {
		on[run.Commit] = true
		if have := l.runs[key]; have != run {
			t.Errorf("%s:\nwant %+v\nhave %+v", key, run, have)
		}
	}
	for key, commit := range want.commits {
		if have := l.commits[key]; on[key] && have != commit {
			t.Errorf("%s:\nwant %+v\nhave %+v", key, commit, have)
		}
	}
	if len(l.runs) != len(want.runs) {
		t.Errorf("runs %v, want %v", slices.Sorted(maps.Keys(l.runs)), slices.Sorted(maps.Keys(want.runs)))
	}
}

func mustPoll(t *testing.T, source ci.Source, cursor string) ([]ci.Fact, string) {
	t.Helper()
	facts, next, err := source.Poll(t.Context(), clock(-60), cursor)
	if err != nil {
		t.Fatal(err)
	}
	return facts, next
}

// deliver gives a delivery to a source, as JSON or as a form.
func deliver(t *testing.T, source ci.Source, d citest.GitHubDelivery, form bool) []ci.Fact {
	t.Helper()
	delivery := ci.Delivery{Header: d.Header(githubWebhook), Body: d.Body}
	if form {
		delivery.Header, delivery.Body = d.Form(githubWebhook)
	}
	facts, err := source.Webhook(t.Context(), delivery)
	if err != nil {
		t.Fatalf("%s: %v\n%s", d.Event, err, d.Body)
	}
	return facts
}

// wantRuns is the world in the normal form, written down by hand.
func wantRuns() map[string]ci.Run {
	at := func(minute int) time.Time {
		if minute < 0 {
			return time.Time{}
		}
		return clock(minute)
	}
	runs := make(map[string]ci.Run)
	add := func(id string, n uint32, ref, on, trigger, agent string, status ci.Status, queued, started, finished, said int) {
		run := ci.Run{Provider: "github", Project: webShop, ID: id, Attempt: n, Job: webShop + "/" + workflow, Name: "#" + strings.TrimLeft(id[1:], "0"), Ref: ref, Commit: sha(on),
			Trigger: trigger, Actor: "sofia", Agent: agent, Status: status, Queued: at(queued), Started: at(started), Finished: at(finished), Said: at(said)}
		if ref != "" {
			run.Job += "@" + ref
		}
		runs[fmt.Sprintf("%s/%s/%d", webShop, id, n)] = run
	}
	add("1001", 1, "refs/heads/main", "a", "push", "vm-1", ci.Succeeded, 1, 1, 4, 4)
	add("1002", 1, "refs/tags/v1.0", "b", "push", "vm-1", ci.Canceled, 6, 6, 8, 8)
	add("1003", 1, "refs/pull/12/merge", "c", "pull_request", "vm-2", ci.Failed, 20, 20, 22, 22)
	add("1004", 1, "", "0", "pull_request", "vm-2", ci.Succeeded, 21, 21, 23, 23)
	add("1005", 1, "refs/heads/main", "a", "push", "vm-1", ci.Failed, 10, 10, 13, 13)
	add("1005", 2, "refs/heads/main", "a", "push", "vm-9", ci.Succeeded, 30, 30, 35, 35)
	add("1006", 1, "refs/heads/main", "d", "workflow_dispatch", "vm-3", ci.Succeeded, 40, 40, 50, 50)
	add("1007", 1, "refs/heads/main", "d", "schedule", "vm-4", ci.Running, 60, 60, -1, 61)
	add("1008", 1, "refs/heads/main", "d", "push", "", ci.Skipped, 65, 65, 65, 65)
	key := webShop + "/1006/1"
	deployed := runs[key]
	deployed.Approver = "priya"
	runs[key] = deployed
	return runs
}

func TestGitHubPoll(t *testing.T) {
	source, _ := newGitHub(t, newGitHubWorld(), nil)
	var have ledger
	facts, _ := mustPoll(t, source, "")
	have.apply(facts)
	for key, want := range wantRuns() {
		if have.runs[key] != want {
			t.Errorf("%s:\nwant %+v\nhave %+v", key, want, have.runs[key])
		}
	}
	if len(have.runs) != len(wantRuns()) {
		t.Errorf("%d runs", len(have.runs))
	}
	for digit, signature := range map[string]string{"a": "verified", "b": "none", "c": "unverified"} {
		minute := map[string]int{"a": 0, "b": 5, "c": 20}[digit]
		want := ci.Commit{SHA: sha(digit), Repository: webShop, Author: "Sofia Lindqvist", AuthorEmail: "sofia@example.com", Committer: "GitHub",
			Authored: clock(minute - 60), Committed: clock(minute - 1), Subject: "Change " + digit, Signature: signature, Said: clock(minute - 1)}
		if signature == "verified" {
			want.Said = clock(minute) // verified_at
		}
		if have.commits[sha(digit)] != want {
			t.Errorf("want %+v\nhave %+v", want, have.commits[sha(digit)])
		}
	}
	if _, ok := have.commits[sha("0")]; ok {
		t.Error("a commit that does not exist")
	}
}

// The whole history as webhooks, in any order, twice, with gaps, and then a poll:
// one state.
func TestGitHubConvergence(t *testing.T) {
	fake := newGitHubWorld()
	want := &ledger{runs: wantRuns()}
	ordered, _ := newGitHub(t, fake, nil)
	var complete ledger
	history := fake.Webhooks(time.Time{}, clock(600))
	if len(history) < 50 {
		t.Fatalf("%d webhooks", len(history))
	}
	for _, d := range history {
		complete.apply(deliver(t, ordered, d, false))
	}
	facts, _ := mustPoll(t, ordered, "")
	complete.apply(facts)
	want.commits = complete.commits
	complete.same(t, want)
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			source, _ := newGitHub(t, fake, nil)
			deliveries := slices.Concat(history, history)
			random.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
			var have ledger
			polled := random.IntN(len(deliveries))
			for i, d := range deliveries {
				if i == polled {
					facts, _ := mustPoll(t, source, "")
					have.apply(facts)
				}
				if random.IntN(100) < int(seed)*2 { // from all to few
					continue
				}
				have.apply(deliver(t, source, d, random.IntN(4) == 0))
			}
			have.same(t, want)
		})
	}
}

// Polled as time goes by, nothing is missed and little is asked for twice.
func TestGitHubPollOverTime(t *testing.T) {
	fake := newGitHubWorld()
	source, _ := newGitHub(t, fake, func(c *ci.GitHubConfig) { c.Reruns = time.Minute })
	var have ledger
	cursor := ""
	var facts []ci.Fact
	for minute := range 80 {
		fake.Lock()
		fake.At = clock(minute)
		fake.Unlock()
		facts, cursor = mustPoll(t, source, cursor)
		have.apply(facts)
		if !json.Valid([]byte(cursor)) || len(cursor) > 1000 {
			t.Fatalf("cursor %s", cursor)
		}
	}
	want := wantRuns()
	// made more than a minute before it was re-run, and no webhook told us
	delete(want, webShop+"/1005/2")
	have.same(t, &ledger{runs: want})
	before := len(fake.Requests(""))
	facts, _ = mustPoll(t, source, cursor)
	asked := fake.Requests("")[before:]
	if len(asked) != 2 || len(facts) != 0 {
		t.Errorf("an idle poll told %d facts, and asked %q", len(facts), asked)
	}
	// 1007 goes on after the list does not go back to it any more.
	fake.Lock()
	fake.Runs[6].Attempts[0].Ended, fake.Runs[6].Attempts[0].Conclusion = clock(300), "success"
	fake.At = clock(301)
	fake.Unlock()
	facts, _ = mustPoll(t, source, cursor)
	have.apply(facts)
	if run := have.runs[webShop+"/1007/1"]; run.Status != ci.Succeeded || !run.Finished.Equal(clock(300)) {
		t.Errorf("%+v", run)
	}
}

// A re-run of an older run is found while Reruns goes back to it.
func TestGitHubPollFindsReruns(t *testing.T) {
	fake := newGitHubWorld()
	source, _ := newGitHub(t, fake, nil)
	var have ledger
	cursor := ""
	for _, minute := range []int{15, 80} {
		fake.Lock()
		fake.At = clock(minute)
		fake.Unlock()
		var facts []ci.Fact
		facts, cursor = mustPoll(t, source, cursor)
		have.apply(facts)
	}
	have.same(t, &ledger{runs: wantRuns()})
}

// A filtered list shows 1,000 runs at most; a long one is asked for in halves.
func TestGitHubLongList(t *testing.T) {
	fake := &citest.GitHub{Token: githubToken}
	for i := range 1250 { // of which 300 in three seconds
		second := clock(0).Add(time.Duration(max(i, 300)-i%3) * time.Second)
		fake.Runs = append(fake.Runs, citest.GitHubRun{Repository: webShop, ID: uint64(i + 1), Number: uint64(i + 1), Path: workflow, Event: "schedule", Branch: "main",
			Attempts: []citest.GitHubAttempt{{Began: second, Ran: second, Ended: second, Conclusion: "success"}}})
	}
	source, _ := newGitHub(t, fake, func(c *ci.GitHubConfig) { c.Approvals = false })
	var have ledger
	facts, cursor := mustPoll(t, source, "")
	have.apply(facts)
	if len(have.runs) != 1000 {
		t.Errorf("%d runs in the first poll, want as many as one looks into", len(have.runs))
	}
	facts, _ = mustPoll(t, source, cursor)
	have.apply(facts)
	if len(have.runs) != 1250 {
		t.Errorf("%d runs", len(have.runs))
	}
}

func TestGitHubRunLookup(t *testing.T) {
	fake := newGitHubWorld()
	source, _ := newGitHub(t, fake, nil)
	want := wantRuns()
	for name, key := range map[string]string{"1001": "/1001/1", "1005": "/1005/2", "1005/1": "/1005/1", "1002": "/1002/1", "1006/1": "/1006/1"} {
		have, err := source.Run(t.Context(), webShop, name)
		if err != nil || have != want[webShop+key] {
			t.Errorf("%s: %v\nwant %+v\nhave %+v", name, err, want[webShop+key], have)
		}
	}
	before := len(fake.Requests(""))
	for _, bad := range [][2]string{{webShop, ""}, {webShop, "1/2/3"}, {webShop, "../../user"}, {webShop, "1001/"}, {webShop, "-1"}, {"acme", "1001"}, {"acme/../..", "1001"}, {"acme/..", "1001"}, {"acme/web-shop?x", "1"}, {"", "1"}} {
		if _, err := source.Run(t.Context(), bad[0], bad[1]); !errors.Is(err, ci.ErrNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range [][2]string{{webShop, ""}, {webShop, "main"}, {webShop, "../x"}, {"acme", sha("a")}, {webShop, sha("a") + sha("b")}} {
		if _, err := source.Commit(t.Context(), bad[0], bad[1]); !errors.Is(err, ci.ErrNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if asked := fake.Requests("")[before:]; len(asked) != 0 {
		t.Errorf("asked %q", asked)
	}
	if _, err := source.Run(t.Context(), webShop, "999"); !errors.Is(err, ci.ErrNotFound) {
		t.Errorf("a run that does not exist: %v", err)
	}
	if _, err := source.Commit(t.Context(), webShop, sha("9")); !errors.Is(err, ci.ErrNotFound) {
		t.Errorf("a commit that does not exist (422): %v", err)
	}
	if commit, err := source.Commit(t.Context(), webShop, strings.ToUpper(sha("a"))); err != nil || commit.Signature != "verified" {
		t.Errorf("%+v, %v", commit, err)
	}
	// A branch may be called like the beginning of a sha.
	fake.Fail(citest.Fault{Path: "/commits/beef", Status: 200, Body: `{"sha":"` + sha("a") + `"}`})
	if _, err := source.Commit(t.Context(), webShop, "beef"); !errors.Is(err, ci.ErrNotFound) {
		t.Errorf("another commit: %v", err)
	}
}
