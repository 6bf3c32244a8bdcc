package ci_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

const (
	teamcityToken    = "tc-access-token-4485"
	teamcityPassword = "tc-hook-password-1187"
	builtSHA         = "9f31c2ad90e4b7a86f1f2d3c4b5a69788f4485e1"
	modulesSHA       = "0000c2ad90e4b7a86f1f2d3c4b5a69788f440000"
)

// noon is when the tests' worlds happen.
var noon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

// teamcityWorld is a server with a build of each kind, at a time that tests move.
func teamcityWorld(t *testing.T) (*citest.TeamCity, *time.Time) {
	t.Helper()
	now := noon
	fake := &citest.TeamCity{
		Token: teamcityToken, Clock: func() time.Time { return now },
		WebhookUser: "haptrail", WebhookPassword: teamcityPassword,
	}
	deploy := citest.TeamCityBuild{
		ID: 48211903317, Number: "118", BuildType: "Platform_Infra_Deploy", Project: "Platform_Infra", Above: []string{"Platform"},
		Branch: "main", DefaultBranch: true, Status: "SUCCESS", Trigger: "user", User: "k.ivanova", Agent: "linux-large-3",
		Queued: noon.Add(-30 * time.Minute), Started: noon.Add(-29 * time.Minute), Finished: noon.Add(-20 * time.Minute),
		Revisions: []citest.TeamCityRevision{
			{Root: "Platform_InfraGit", Version: strings.ToUpper(builtSHA), Branch: "refs/heads/main"},
			{Root: "Platform_ModulesGit", Version: modulesSHA, Branch: "refs/heads/main"},
		},
	}
	fake.Put(deploy)
	for i, change := range []func(*citest.TeamCityBuild){
		func(b *citest.TeamCityBuild) { b.Status, b.Trigger, b.User = "FAILURE", "vcs", "" },
		func(b *citest.TeamCityBuild) { b.Status, b.Trigger = "UNKNOWN", "Schedule" },
		func(b *citest.TeamCityBuild) { b.Personal, b.Branch, b.DefaultBranch = true, "feature/x", false },
		func(b *citest.TeamCityBuild) { b.Finished = time.Time{} },
		func(b *citest.TeamCityBuild) { b.Started, b.Finished, b.Agent = time.Time{}, time.Time{}, "pool" },
		func(b *citest.TeamCityBuild) { b.Branch = "<default>" },
		func(b *citest.TeamCityBuild) { b.Branch, b.DefaultBranch = "", false },
		func(b *citest.TeamCityBuild) { b.Started, b.Status, b.Number = time.Time{}, "UNKNOWN", "N/A" },
	} {
		b := deploy
		b.ID, b.Number = deploy.ID+int64(i)+1, fmt.Sprint(119+i)
		change(&b)
		fake.Put(b)
	}
	fake.PutChange(citest.TeamCityChange{
		ID: 501, Version: strings.ToUpper(builtSHA), Root: "Platform_InfraGit", Username: "Kira Ivanova <kira@acme.example>",
		Comment: "deploy: two replicas\n\nAs the load needs.", Date: noon.Add(-2 * time.Hour), Collected: noon.Add(-40 * time.Minute),
		Project: "Platform_Infra", Above: []string{"Platform"},
	}, citest.TeamCityChange{
		ID: 502, Version: modulesSHA, Root: "Platform_ModulesGit", Username: "lee", Name: "Lee", Email: "lee@acme.example",
		Comment: "modules: pin", Date: noon.Add(-3 * time.Hour), Collected: noon.Add(-39 * time.Minute),
		Project: "Platform_Infra", Above: []string{"Platform"},
	}, citest.TeamCityChange{
		ID: 503, Version: "23 Nov 26 11:00", Username: "k.ivanova", Comment: "my patch", Date: noon.Add(-time.Hour),
		Collected: noon.Add(-38 * time.Minute), Project: "Platform_Infra", Above: []string{"Platform"}, Personal: true,
	})
	return fake, &now
}

// teamcitySource is a Source of a fake. No pause is waited for; each is recorded.
func teamcitySource(t *testing.T, fake http.Handler, change func(*ci.TeamCityConfig)) (*ci.TeamCity, *[]time.Duration) {
	t.Helper()
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	var pauses []time.Duration
	config := ci.TeamCityConfig{
		URL: server.URL, Token: ci.SecretValue(teamcityToken),
		Webhook: ci.TeamCityWebhook{User: "haptrail", Passwords: []ci.Secret{ci.SecretValue("the-old-one"), ci.SecretValue(teamcityPassword)}},
		Pause:   func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil },
	}
	if change != nil {
		change(&config)
	}
	source, err := ci.NewTeamCity(config)
	if err != nil {
		t.Fatal(err)
	}
	return source, &pauses
}

// known is what facts come to, by run and by commit.
type known struct {
	runs    map[string]ci.Run
	commits map[string]ci.Commit
}

func converge(facts ...[]ci.Fact) known {
	k := known{runs: make(map[string]ci.Run), commits: make(map[string]ci.Commit)}
	for _, list := range facts {
		for _, fact := range list {
			if run := fact.Run; run != nil {
				key := fmt.Sprint(run.Provider, "|", run.Project, "|", run.ID, "|", run.Attempt)
				if have, ok := k.runs[key]; ok {
					k.runs[key] = have.Merge(*run)
				} else {
					k.runs[key] = *run
				}
			}
			if commit := fact.Commit; commit != nil {
				key := commit.Repository + "|" + commit.SHA
				if have, ok := k.commits[key]; ok {
					k.commits[key] = have.Merge(*commit)
				} else {
					k.commits[key] = *commit
				}
			}
		}
	}
	return k
}

func noViolations(t *testing.T, violations []string) {
	t.Helper()
	for _, violation := range violations {
		t.Errorf("the client: %s", violation)
	}
}

func TestTeamCityRun(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	whole := ci.Run{
		Provider: "teamcity", Project: "Platform_Infra", ID: "48211903317", Job: "Platform_Infra_Deploy", Name: "#118", Ref: "main",
		Commit: builtSHA, Trigger: "user", Actor: "k.ivanova", Agent: "linux-large-3", Status: ci.Succeeded,
		Queued: noon.Add(-30 * time.Minute), Started: noon.Add(-29 * time.Minute), Finished: noon.Add(-20 * time.Minute), Said: noon.Add(-20 * time.Minute),
	}
	for id, change := range map[string]func(*ci.Run){
		"48211903317": func(*ci.Run) {},
		"48211903318": func(r *ci.Run) { r.Status, r.Trigger, r.Actor, r.Name = ci.Failed, "vcs", "", "#119" },
		"48211903319": func(r *ci.Run) { r.Status, r.Trigger, r.Name = ci.Canceled, "schedule", "#120" },
		"48211903320": func(r *ci.Run) { r.Ref, r.Trigger, r.Name = "feature/x", "user (personal)", "#121 (personal)" },
		"48211903321": func(r *ci.Run) { // its number is not final
			r.Status, r.Name, r.Finished, r.Said = ci.Running, "", time.Time{}, r.Started
		},
		"48211903322": func(r *ci.Run) { // the agent is a wish, the revisions are not fixed
			r.Status, r.Name, r.Agent, r.Commit = ci.Queued, "", "", ""
			r.Started, r.Finished, r.Said = time.Time{}, time.Time{}, r.Queued
		},
		"48211903323": func(r *ci.Run) { r.Ref, r.Name = "refs/heads/main", "#124" },
		"48211903324": func(r *ci.Run) { r.Ref, r.Name = "refs/heads/main", "#125" },
		"48211903325": func(r *ci.Run) { r.Status, r.Name, r.Started = ci.Canceled, "", r.Finished },
	} {
		want := whole
		want.ID = id
		change(&want)
		got, err := source.Run(t.Context(), "Platform_Infra", id)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("build %s\n got %+v (%v)\nwant %+v", id, got, err, want)
		}
	}
	noViolations(t, fake.Violations())
}

func TestTeamCityRunIsNotThere(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	for _, asked := range []struct {
		name, project, run string
		calls              int
	}{
		{"no such build", "Platform_Infra", "7", 1},
		{"a build of another project", "Platform", "48211903317", 1},
		{"a locator instead of a number", "Platform_Infra", "48211903317,state:any", 0},
		{"a path instead of a number", "Platform_Infra", "../server", 0},
		{"a negative number", "Platform_Infra", "-1", 0},
		{"nothing", "Platform_Infra", "", 0},
		{"a number of 400 digits", "Platform_Infra", strings.Repeat("9", 400), 0},
	} {
		before := len(fake.Requests(""))
		if _, err := source.Run(t.Context(), asked.project, asked.run); !errors.Is(err, ci.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", asked.name, err)
		}
		if calls := len(fake.Requests("")) - before; calls != asked.calls {
			t.Errorf("%s: %d calls, want %d", asked.name, calls, asked.calls)
		}
	}
}

func TestTeamCityCommit(t *testing.T) {
	fake, _ := teamcityWorld(t)
	fake.PutChange(citest.TeamCityChange{ID: 504, Version: "cafe01", Root: "Old_Svn", Username: "sam@acme.example", Date: noon, Collected: noon.Add(-time.Minute)})
	source, _ := teamcitySource(t, fake, nil)
	got, err := source.Commit(t.Context(), "Platform_ModulesGit", strings.ToUpper(modulesSHA))
	want := ci.Commit{
		SHA: modulesSHA, Repository: "Platform_ModulesGit", Author: "lee", AuthorEmail: "lee@acme.example", Subject: "modules: pin",
		Committed: noon.Add(-3 * time.Hour), Said: noon.Add(-3 * time.Hour),
	}
	if err != nil || got != want {
		t.Errorf("got %+v (%v)\nwant %+v", got, err, want)
	}
	if got, err := source.Commit(t.Context(), "", "cafe01"); err != nil || got.AuthorEmail != "sam@acme.example" {
		t.Errorf("a user name that is an address: %+v (%v)", got, err)
	}
	calls := len(fake.Requests(""))
	for _, asked := range [][2]string{{"Platform_InfraGit", modulesSHA}, {"", "beef"}, {"", "main"}, {"", builtSHA + ",x:y"}, {"a)(b", builtSHA}, {"", ""}} {
		if _, err := source.Commit(t.Context(), asked[0], asked[1]); !errors.Is(err, ci.ErrNotFound) {
			t.Errorf("commit %q of %q: %v, want ErrNotFound", asked[1], asked[0], err)
		}
	}
	if made := len(fake.Requests("")) - calls; made != 2 {
		t.Errorf("%d calls, want 2: the other four are no revisions or roots", made)
	}
	noViolations(t, fake.Violations())
}

// teamcityCrowd adds builds that end one after the other, some of them canceled,
// on branches or with the times of an agent whose clock is wrong.
func teamcityCrowd(fake *citest.TeamCity, count int, first time.Time, every time.Duration) {
	for i := range count {
		at := first.Add(time.Duration(i) * every)
		fake.Put(citest.TeamCityBuild{
			ID: int64(1000 + i), Number: fmt.Sprint(i), BuildType: "Shop_Test", Project: "Shop", Branch: fmt.Sprintf("b%d", i%7),
			Status: []string{"SUCCESS", "FAILURE", "UNKNOWN"}[i%3], Trigger: "vcs", Agent: fmt.Sprintf("agent-%d", i%5),
			AgentSkew: time.Duration(i%3-1) * 10 * time.Minute,
			Queued:    at.Add(-5 * time.Minute), Started: at.Add(-4 * time.Minute), Finished: at,
			Revisions: []citest.TeamCityRevision{{Root: "Shop_Git", Version: fmt.Sprintf("%040x", i/2), Branch: "refs/heads/b"}},
		})
	}
}

func TestTeamCityPollSeesEveryBuildOnce(t *testing.T) {
	fake, now := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	teamcityCrowd(fake, 350, noon.Add(-3*time.Hour), 2*time.Minute)
	var facts []ci.Fact
	cursor := ""
	for *now = noon; now.Before(noon.Add(10 * time.Hour)); *now = now.Add(30 * time.Minute) {
		got, next, err := source.Poll(t.Context(), noon.Add(-4*time.Hour), cursor)
		if err != nil {
			t.Fatal(err)
		}
		facts, cursor = append(facts, got...), next
	}
	noViolations(t, fake.Violations())
	seen := converge(facts)
	if len(seen.runs) != 359 {
		t.Errorf("%d builds are known, want 359", len(seen.runs))
	}
	for key, run := range seen.runs {
		if run.Project == "Shop" && (!run.Status.Final() || run.Finished.IsZero() || run.Commit == "") {
			t.Errorf("%s ended as %+v", key, run)
		}
	}
	// as one poll at the end sees them
	last, _, err := source.Poll(t.Context(), noon.Add(-4*time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	if want := converge(last); !reflect.DeepEqual(seen, want) {
		t.Errorf("polls in steps and one at the end differ: %s", differ(seen, want))
	}
	if pages := fake.Requests("start%3A100"); len(pages) == 0 {
		t.Error("no second page was asked for: the test proves nothing about paging")
	}
}

// differ names the first thing in which two states differ.
func differ(a, b known) string {
	for key, run := range a.runs {
		if b.runs[key] != run {
			return fmt.Sprintf("%s:\n%+v\n%+v", key, run, b.runs[key])
		}
	}
	for key, commit := range a.commits {
		if b.commits[key] != commit {
			return fmt.Sprintf("%s:\n%+v\n%+v", key, commit, b.commits[key])
		}
	}
	return fmt.Sprintf("%d runs and %d commits, and %d and %d", len(a.runs), len(a.commits), len(b.runs), len(b.commits))
}

// TestTeamCityConverges: all webhooks in any order, twice, with gaps, then a poll,
// give what the poll alone gives.
func TestTeamCityConverges(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	teamcityCrowd(fake, 40, noon.Add(-2*time.Hour), 5*time.Minute) // some are yet to come
	history := fake.History()
	for i := len(history); i > 0 && history[i-1].Received.After(noon); i-- {
		history = history[:i-1]
	}
	polled, _, err := source.Poll(t.Context(), noon.Add(-6*time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	want := converge(polled)
	var whole *known
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 4))
		twice := append(append([]citest.Delivery{}, history...), history...)
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
		if whole.runs[key] != run && run.Ref == whole.runs[key].Ref {
			t.Errorf("by webhooks alone %s is\n%+v, and by the poll\n%+v", key, whole.runs[key], run)
		}
	}
}
