package ci

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// spaceState is what facts come to, merged as the tables do.
type spaceState struct {
	runs       map[string]Run
	commits    map[string]Commit
	principals map[string]Principal
}

func (s *spaceState) add(facts []Fact) {
	if s.runs == nil {
		s.runs, s.commits, s.principals = make(map[string]Run), make(map[string]Commit), make(map[string]Principal)
	}
	for _, f := range facts {
		switch {
		case f.Run != nil:
			key := f.Run.Project + " " + f.Run.ID
			if old, ok := s.runs[key]; ok {
				s.runs[key] = old.Merge(*f.Run)
			} else {
				s.runs[key] = *f.Run
			}
		case f.Commit != nil:
			key := f.Commit.Repository + " " + f.Commit.SHA
			if old, ok := s.commits[key]; ok {
				s.commits[key] = old.Merge(*f.Commit)
			} else {
				s.commits[key] = *f.Commit
			}
		case f.Principal != nil:
			s.principals[f.Principal.Subject] = *f.Principal
		}
	}
}

func TestSpacePollReadsTheHistory(t *testing.T) {
	for name, prepare := range map[string]func(*spaceBed){
		"newest first":      func(*spaceBed) {},
		"oldest first":      func(b *spaceBed) { b.fake.OldestFirst = true },
		"ten minutes ahead": func(b *spaceBed) { b.fake.Skew = 10 * time.Minute },
		"ten minutes late":  func(b *spaceBed) { b.fake.Skew = -10 * time.Minute },
		"faults on the way": func(b *spaceBed) {
			b.fake.Fail(citest.Fault{After: 3, Times: 1, Status: 500})
			b.fake.Fail(citest.Fault{After: 1, Times: 2, Truncate: true})
		},
	} {
		b := newSpaceBed(t, nil)
		prepare(b)
		var have spaceState
		facts, cursor, err := b.space.Poll(t.Context(), spaceEpoch.AddDate(-1, 0, 0), "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		have.add(facts)
		if len(have.runs) != 260 || len(have.commits) != 135 || len(have.principals) != 3 {
			t.Errorf("%s: %d runs, %d commits, %d principals", name, len(have.runs), len(have.commits), len(have.principals))
		}
		if since, _, err := b.space.Poll(t.Context(), spaceEpoch.Add(-3*time.Hour), ""); err != nil || !slices.ContainsFunc(since, func(f Fact) bool {
			return f.Run != nil && f.Run.ID == "run-259"
		}) {
			t.Errorf("%s: the newest run is not among those of the last hours: %v", name, err)
		}
		// What has been read is not read again.
		calls := len(b.fake.Requests(""))
		facts, again, err := b.space.Poll(t.Context(), spaceEpoch.AddDate(-1, 0, 0), cursor)
		if err != nil || len(facts) > 3 || again != cursor {
			t.Errorf("%s: a second poll gives %d facts, %v, and the cursor\n%s\nafter\n%s", name, len(facts), err, again, cursor)
		}
		if n := len(b.fake.Requests("")) - calls; n > 5 && !b.fake.OldestFirst {
			t.Errorf("%s: a second poll took %d calls", name, n)
		}
	}
}

func TestSpacePollSince(t *testing.T) {
	b := newSpaceBed(t, nil)
	facts, _, err := b.space.Poll(t.Context(), spaceEpoch.Add(-3*time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	var have spaceState
	have.add(facts)
	if n := len(have.runs); n < 18 || n > 20 {
		t.Errorf("%d runs of the last three hours and a quarter", n)
	}
	// Of the deploy job's three pages the second is older; the others have one, and
	// a next that leads to nothing.
	if n := len(b.fake.Requests("graph-executions")); n != 6 || len(b.fake.Requests("skip=200")) != 0 {
		t.Errorf("%d pages of runs were read for three hours", n)
	}
}

// A run that goes on is asked for until it has ended, however many come after it.
func TestSpacePollFollowsOpenRuns(t *testing.T) {
	b := newSpaceBed(t, nil)
	b.fake.Runs[200].Status, b.fake.Runs[200].Finished = "RUNNING", time.Time{}
	b.fake.Runs[100].Status, b.fake.Runs[100].Finished = "HIBERNATED", time.Time{}
	var have spaceState
	poll := func(cursor string) string {
		t.Helper()
		facts, next, err := b.space.Poll(t.Context(), time.Time{}, cursor)
		if err != nil {
			t.Fatal(err)
		}
		have.add(facts)
		return next
	}
	cursor := poll("")
	if have.runs["payments run-200"].Status != Running || !strings.Contains(cursor, "run-200") {
		t.Errorf("%+v\n%s", have.runs["payments run-200"], cursor)
	}
	for i := range 250 {
		at := spaceEpoch.Add(time.Duration(i) * time.Second)
		b.fake.Runs = append(b.fake.Runs, citest.SpaceRun{
			ProjectID: "p1", ProjectKey: "PAY", JobID: "job-deploy", Job: "Deploy", ID: fmt.Sprintf("new-%d", i), Status: "FINISHED", Queued: at, Started: at, Finished: at,
		})
	}
	b.fake.Runs[200].Status, b.fake.Runs[200].Finished = "FINISHED", spaceEpoch.Add(time.Minute)
	b.fake.Runs = slices.Delete(b.fake.Runs, 100, 101)
	b.pass(10 * time.Minute)
	cursor = poll(cursor)
	if run := have.runs["payments run-200"]; run.Status != Succeeded || !run.Finished.Equal(spaceEpoch.Add(time.Minute)) {
		t.Errorf("%+v", run)
	}
	if strings.Contains(cursor, "run-") || have.runs["payments new-249"].Status != Succeeded || len(have.runs) != 510 {
		t.Errorf("%d runs, cursor %s", len(have.runs), cursor)
	}
}

// What cannot be read is an error beside the rest.
func TestSpacePollGoesOn(t *testing.T) {
	b := newSpaceBed(t, func(c *SpaceConfig) {
		c.Projects[0].Jobs = append(c.Projects[0].Jobs, "job-new")
		c.Projects[1].Repositories = append(c.Projects[1].Repositories, "deleted")
	})
	b.fake.Deny = []string{"permanent-tokens", "key:WEB/automation"}
	facts, cursor, err := b.space.Poll(t.Context(), time.Time{}, "")
	for _, want := range []string{"job job-web", "repository deleted", "the permanent tokens of applications"} {
		if err == nil || strings.Count(err.Error(), want) != 1 {
			t.Errorf("not once %s: %v", want, err)
		}
	}
	if !errors.Is(err, ErrRefused) || !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	var have spaceState
	have.add(facts)
	if len(have.runs) != 234 || len(have.commits) != 135 || len(have.principals) != 3 || len(have.principals["app-1"].Rights.Value) != 3 {
		t.Errorf("%d runs, %d commits, %+v", len(have.runs), len(have.commits), have.principals)
	}
	// When it is mended, the cursor has not passed it by.
	b.fake.Deny = nil
	facts, _, _ = b.space.Poll(t.Context(), time.Time{}, cursor)
	if have.add(facts); len(have.runs) != 260 {
		t.Errorf("%d runs", len(have.runs))
	}
}

// A server that is down ends a poll; the next one begins where it ended.
func TestSpacePollIsCutShort(t *testing.T) {
	for name, c := range map[string]struct {
		fault citest.Fault
		calls int // below /api/http, at most
	}{
		"down":             {citest.Fault{Path: "/api/http", After: 3, Status: 503}, 3 + maxTries},
		"limited":          {citest.Fault{Path: "/api/http", After: 3, Status: 429, RetryAfter: "600"}, 4},
		"credentials gone": {citest.Fault{Path: "/api/http", After: 3, Status: 401}, 5},
	} {
		b := newSpaceBed(t, nil)
		b.fake.Fail(c.fault)
		facts, cursor, err := b.space.Poll(t.Context(), time.Time{}, "")
		if err == nil || len(facts) < 100 {
			t.Errorf("%s: %d facts, %v", name, len(facts), err)
		}
		if n := len(b.fake.Requests("/api/http")); n > c.calls {
			t.Errorf("%s: %d calls", name, n)
		}
		b.fake.Heal()
		var have spaceState
		have.add(facts)
		rest, _, err := b.space.Poll(t.Context(), time.Time{}, cursor)
		if have.add(rest); err != nil || len(have.runs) != 260 || len(have.commits) != 135 {
			t.Errorf("%s, then: %d runs, %d commits, %v", name, len(have.runs), len(have.commits), err)
		}
	}
}

// A commit's time is its author's to choose: one of the future hides nothing.
func TestSpacePollFutureCommit(t *testing.T) {
	b := newSpaceBed(t, nil)
	push := func(n int, at time.Time) {
		pay := &b.fake.Repositories[0]
		pay.Commits = append([]citest.SpaceCommit{{SHA: spaceTestSHA(n), At: at}}, pay.Commits...)
	}
	push(1000, spaceEpoch.AddDate(12, 0, 0))
	_, cursor, err := b.space.Poll(t.Context(), time.Time{}, "")
	if err != nil || strings.Contains(cursor, "2038") {
		t.Fatalf("%s %v", cursor, err)
	}
	for i := range 150 {
		push(2000+i, spaceEpoch.Add(time.Duration(i)*time.Second))
	}
	facts, _, err := b.space.Poll(t.Context(), time.Time{}, cursor)
	var have spaceState
	have.add(facts)
	if _, found := have.commits["PAY/infra "+spaceTestSHA(2000)]; err != nil || !found {
		t.Errorf("the first of 150 new commits is missing: %v", err)
	}
}

func TestSpacePollStrangeAnswers(t *testing.T) {
	b := newSpaceBed(t, nil)
	for body, want := range map[string]string{
		`{"next":"7","data":[{"executionId":"x","triggeredTime":1700000000000}]}`: "second time",
		`{"data":[{"executionId":"x","triggeredTime":"soon"}]}`:                   "data.triggeredTime is text, where a time",
		`{"data":[{"executionId":"x","executionNumber":1e99}]}`:                   "data.executionNumber is a number, where a whole number",
		`{"data":{}}`: "data is an object, where a list",
		`{"data":[{"$errors":[{"className":"Hidden","message":"not for you"}]}]}`:                             "not for you",
		`{"data":[{"executionId":"x","commitId":{"$errors":[{"className":"Hidden","message":"secretly"}]}}]}`: "secretly",
	} {
		b.fake.Heal()
		b.fake.Fail(citest.Fault{Path: "/PAY", Status: 200, Body: `{}`})
		b.fake.Fail(citest.Fault{Path: "graph-executions", Status: 200, Body: body})
		_, _, err := b.space.Poll(t.Context(), time.Time{}, "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	for _, cursor := range []string{"x", "[]", `{"jobs":1}`} {
		if _, same, err := b.space.Poll(t.Context(), time.Time{}, cursor); !errors.Is(err, ErrMalformed) || same != cursor {
			t.Errorf("%s: %v", cursor, err)
		}
	}
	b = newSpaceBed(t, func(c *SpaceConfig) { c.ClientSecret = nil })
	if _, _, err := b.space.Poll(t.Context(), time.Time{}, ""); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	b = newSpaceBed(t, func(c *SpaceConfig) { c.ClientSecret, c.PermanentToken = nil, SecretValue("permanent") })
	b.fake.PermanentToken = "permanent"
	if facts, _, err := b.space.Poll(t.Context(), time.Time{}, ""); err != nil || len(b.fake.Requests("/oauth")) != 0 {
		t.Errorf("%d facts with a permanent token: %v", len(facts), err)
	}
}

func TestSpacePrincipals(t *testing.T) {
	for subject, want := range map[SpaceSubject]string{SpaceSubjectID: "app-1", SpaceSubjectClientID: "client-1", SpaceSubjectName: "Automation of PAY"} {
		b := newSpaceBed(t, func(c *SpaceConfig) { c.Subject = subject })
		facts, cursor, err := b.space.Poll(t.Context(), time.Time{}, "")
		var have spaceState
		have.add(facts)
		if p, ok := have.principals[want]; err != nil || !ok {
			t.Fatalf("%s: %v %v", subject, p, err)
		} else if full := (Principal{
			Provider: "space", Subject: want, Name: said("Automation of PAY", spaceEpoch), Project: "payments",
			Owner: said("", spaceEpoch), Archived: said(false, spaceEpoch),
			Rights:  said([]string{"global:Profile.View", "project:key:PAY:Automation.View", "project:key:PAY:VcsRepository.Read"}, spaceEpoch),
			Created: spaceEpoch.AddDate(-1, 0, 0), LastUsed: spaceEpoch.Add(-time.Hour), Said: spaceEpoch,
			Credentials: []Credential{{ID: "client-1", Kind: "client-secret", LastUsed: spaceEpoch.Add(-time.Hour), Said: spaceEpoch}},
			Listed:      map[string]time.Time{"permanent-token": spaceEpoch},
		}); !reflect.DeepEqual(p, full) {
			t.Errorf("%+v\nwant %+v", p, full)
		}
		if subject != SpaceSubjectID {
			continue
		}
		old := have.principals["app-2"]
		if !old.Archived.Value || old.Owner.Value != "ada" || !old.LastUsed.Equal(spaceEpoch.AddDate(0, -1, 0)) || !old.Rights.Known || len(old.Credentials) != 2 ||
			old.Credentials[1].Expires.IsZero() || old.Credentials[0].Kind != "permanent-token" || !old.Credentials[0].Expires.IsZero() {
			t.Errorf("%+v", old)
		}
		// Not again before an hour has gone.
		for _, hour := range []bool{false, true} {
			if hour {
				b.pass(time.Hour)
			}
			facts, _, err := b.space.Poll(t.Context(), time.Time{}, cursor)
			if found := slices.ContainsFunc(facts, func(f Fact) bool { return f.Principal != nil }); err != nil || found != hour {
				t.Errorf("principals are read: %t, after an hour: %t, %v", found, hour, err)
			}
		}
	}
}

// The provider's history as webhooks in any order, twice, with gaps, and then a
// poll, or the poll first: the same runs and commits.
func TestSpaceAnyOrder(t *testing.T) {
	b := newSpaceBed(t, nil)
	b.fake.Runs[259].Status, b.fake.Runs[259].Finished = "RUNNING", time.Time{}
	polled, _, err := b.space.Poll(t.Context(), time.Time{}, "")
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(body []byte) []Fact {
		t.Helper()
		header, err := b.fake.Sign(body, b.clock())
		if err != nil {
			t.Fatal(err)
		}
		facts, err := b.space.Webhook(t.Context(), Delivery{header, body, b.clock()})
		if err != nil {
			t.Fatal(err)
		}
		return facts
	}
	events := b.fake.Events()
	var want spaceState
	for _, body := range events {
		want.add(deliver(body))
	}
	if fromHooks := len(want.runs); fromHooks != 260 {
		t.Fatalf("%d runs by webhooks alone", fromHooks)
	}
	want.add(polled)
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 4))
		order := append(slices.Clone(events), events...)
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		var have spaceState
		pollAt := random.IntN(len(order))
		for i, body := range order {
			have.add(deliver(body))
			if i == pollAt {
				have.add(polled)
			}
		}
		if !maps.Equal(have.runs, want.runs) || !maps.Equal(have.commits, want.commits) {
			t.Fatalf("seed %d: the state depends on the order", seed)
		}
		// Half of the webhooks are lost. A run of which one came is whole; one of
		// which none came lacks what only webhooks know.
		var gaps spaceState
		for _, body := range order[:len(order)/4] {
			gaps.add(deliver(body))
		}
		known := maps.Clone(gaps.runs)
		gaps.add(polled)
		for key, run := range want.runs {
			if _, told := known[key]; !told {
				run.Trigger, run.Actor = "", ""
			}
			if gaps.runs[key] != run {
				t.Fatalf("seed %d: with gaps\n%+v\nwant %+v", seed, gaps.runs[key], run)
			}
		}
		if !maps.Equal(gaps.commits, want.commits) || len(gaps.runs) != len(want.runs) {
			t.Fatalf("seed %d: with gaps there are other commits or runs", seed)
		}
	}
}
