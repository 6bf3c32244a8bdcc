package ci_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

func TestNewTeamCityRefuses(t *testing.T) {
	secret := ci.SecretValue("hunter2-4485")
	for _, fault := range []struct {
		name   string
		change func(*ci.TeamCityConfig)
		says   string
	}{
		{"no URL", func(c *ci.TeamCityConfig) { c.URL = "" }, "https://HOST"},
		{"a host alone", func(c *ci.TeamCityConfig) { c.URL = "teamcity.example.com" }, "https://HOST"},
		{"no TLS", func(c *ci.TeamCityConfig) { c.URL = "http://teamcity.example.com" }, "use https"},
		{"a user in the URL", func(c *ci.TeamCityConfig) { c.URL = "https://u:hunter2-4485@teamcity.example.com" }, "take the user out"},
		{"a query", func(c *ci.TeamCityConfig) { c.URL = "https://teamcity.example.com?x" }, "without ?"},
		{"a project's name", func(c *ci.TeamCityConfig) { c.Projects = []string{"Platform / Infra"} }, "external id"},
		{"a negative time", func(c *ci.TeamCityConfig) { c.LongestBuild = -1 }, "above 0"},
		{"a user alone", func(c *ci.TeamCityConfig) { c.Webhook.User = "haptrail" }, "belong together"},
		{"a password alone", func(c *ci.TeamCityConfig) { c.Webhook.Passwords = []ci.Secret{secret} }, "belong together"},
		{"a header alone", func(c *ci.TeamCityConfig) { c.Webhook.Header = "X-Hook" }, "belong together"},
		{"a secret that is nil", func(c *ci.TeamCityConfig) { c.Webhook = ci.TeamCityWebhook{Header: "X", Values: []ci.Secret{nil}} }, "is nil"},
	} {
		config := ci.TeamCityConfig{URL: "https://teamcity.example.com/"}
		fault.change(&config)
		_, err := ci.NewTeamCity(config)
		if err == nil || !strings.Contains(err.Error(), fault.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want an error that says %q", fault.name, err, fault.says)
		}
	}
	source, err := ci.NewTeamCity(ci.TeamCityConfig{URL: "https://teamcity.example.com/ci/", Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %s", source, source, source); text != strings.Repeat(" teamcity https://teamcity.example.com/ci", 3)[1:] {
		t.Errorf("printed as %q", text)
	}
}

// TestTeamCityFaults: what mends itself is tried again, and the rest is an error of
// its class that shows no secret; facts that came before it are given.
func TestTeamCityFaults(t *testing.T) {
	for _, fault := range []struct {
		name   string
		fault  citest.Fault
		is     error // nil: the poll succeeds
		pauses []time.Duration
	}{
		{"401", citest.Fault{Status: 401}, ci.ErrRefused, nil},
		{"403", citest.Fault{Status: 403}, ci.ErrRefused, nil},
		{"429 once", citest.Fault{Status: 429, Times: 1}, nil, []time.Duration{time.Second}},
		{"429 with Retry-After", citest.Fault{Status: 429, RetryAfter: "7", Times: 1}, nil, []time.Duration{7 * time.Second}},
		{"500 twice", citest.Fault{Status: 500, Times: 2}, nil, []time.Duration{time.Second, 2 * time.Second}},
		{"JSON that breaks off", citest.Fault{Truncate: true, Times: 1}, nil, []time.Duration{time.Second}},
		{"a login page", citest.Fault{Status: 200, Body: "<html>"}, ci.ErrMalformed, []time.Duration{1e9, 2e9, 4e9, 8e9}},
		{"changes alone forbidden", citest.Fault{Path: "changes", Status: 403}, ci.ErrRefused, nil},
	} {
		fake, _ := teamcityWorld(t)
		source, pauses := teamcitySource(t, fake, nil)
		fake.Fail(fault.fault)
		facts, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
		if fault.is == nil && err != nil || fault.is != nil && !errors.Is(err, fault.is) {
			t.Errorf("%s: %v, want %v", fault.name, err, fault.is)
		}
		if fmt.Sprint(*pauses) != fmt.Sprint(fault.pauses) {
			t.Errorf("%s: paused for %v, want %v", fault.name, *pauses, fault.pauses)
		}
		if err != nil && strings.Contains(err.Error(), teamcityToken) {
			t.Errorf("%s: the error shows the token", fault.name)
		}
		fake.Heal()
		more, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), cursor)
		if seen := converge(facts, more); err != nil || len(seen.runs) != 9 || len(seen.commits) != 2 {
			t.Errorf("%s: healed, %d runs and %d commits (%v), want 9 and 2", fault.name, len(seen.runs), len(seen.commits), err)
		}
	}
}

func TestTeamCityLimit(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	fake.Fail(citest.Fault{Status: 429, RetryAfter: "3600"})
	_, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	var limit *ci.LimitError
	if !errors.As(err, &limit) || limit.After != time.Hour {
		t.Errorf("%v, want a LimitError of an hour", err)
	}
}

func TestTeamCitySlow(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, pauses := teamcitySource(t, fake, func(c *ci.TeamCityConfig) { c.HTTP = &http.Client{Timeout: 20 * time.Millisecond} })
	fake.Fail(citest.Fault{Hang: make(chan struct{})})
	if _, _, err := source.Poll(t.Context(), noon, ""); err == nil || len(*pauses) != 4 {
		t.Errorf("a server that does not answer: %v after %d pauses", err, len(*pauses))
	}
}

// TestTeamCityClosesAGap: the server is away for an hour, in the middle of a list
// too; what happened meanwhile is there afterwards.
func TestTeamCityClosesAGap(t *testing.T) {
	fake, now := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	teamcityCrowd(fake, 230, noon.Add(-10*time.Minute), 30*time.Second)
	facts, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	fake.Fail(citest.Fault{Status: 503, After: 2})
	for range 4 {
		*now = now.Add(30 * time.Minute)
		got, next, err := source.Poll(t.Context(), noon.Add(-time.Hour), cursor)
		if err == nil {
			t.Fatal("a server that fails is no error")
		}
		facts, cursor = append(facts, got...), next
	}
	fake.Heal()
	*now = noon.Add(3 * time.Hour)
	got, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), cursor)
	if err != nil {
		t.Fatal(err)
	}
	if seen := converge(facts, got); len(seen.runs) != 239 {
		t.Errorf("%d runs after the gap, want 239", len(seen.runs))
	}
	noViolations(t, fake.Violations())
}

// TestTeamCityOurClockIsAhead: the first poll begins at our time, ten minutes after
// the server's.
func TestTeamCityOurClockIsAhead(t *testing.T) {
	fake, now := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	_, cursor, err := source.Poll(t.Context(), noon.Add(10*time.Minute), "")
	if err != nil {
		t.Fatal(err)
	}
	teamcityCrowd(fake, 1, noon.Add(time.Minute), 0) // by an agent that is 10 minutes behind
	*now = noon.Add(2 * time.Minute)
	facts, _, err := source.Poll(t.Context(), noon.Add(10*time.Minute), cursor)
	if seen := converge(facts); err != nil || seen.runs["teamcity|Shop|1000|0"].Status != ci.Succeeded {
		t.Errorf("the build is not seen: %+v (%v)", seen.runs, err)
	}
}

// TestTeamCityAgentIsFarAhead: the times of one agent, days from now, are no reason
// to look for later ones only.
func TestTeamCityAgentIsFarAhead(t *testing.T) {
	fake, now := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	fake.Put(citest.TeamCityBuild{
		ID: 900, BuildType: "Shop_Test", Project: "Shop", Status: "SUCCESS", AgentSkew: 72 * time.Hour,
		Queued: noon.Add(-3 * time.Minute), Started: noon.Add(-2 * time.Minute), Finished: noon.Add(-time.Minute),
	})
	_, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	fake.Put(citest.TeamCityBuild{
		ID: 901, BuildType: "Shop_Test", Project: "Shop", Status: "FAILURE",
		Queued: noon.Add(time.Minute), Started: noon.Add(2 * time.Minute), Finished: noon.Add(3 * time.Minute),
	})
	*now = noon.Add(time.Hour)
	facts, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), cursor)
	if seen := converge(facts); err != nil || seen.runs["teamcity|Shop|901|0"].Status != ci.Failed {
		t.Errorf("the build is not seen (%v)", err)
	}
}

// TestTeamCityLongBuild: one that started days before the last poll is seen to end.
func TestTeamCityLongBuild(t *testing.T) {
	fake, now := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	fake.Put(citest.TeamCityBuild{
		ID: 900, BuildType: "Shop_Soak", Project: "Shop", Status: "SUCCESS",
		Queued: noon.Add(-72 * time.Hour), Started: noon.Add(-71 * time.Hour), Finished: noon.Add(5 * time.Minute),
	})
	first, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	if seen := converge(first); err != nil || seen.runs["teamcity|Shop|900|0"].Status != ci.Running {
		t.Errorf("while it runs it is not seen (%v)", err)
	}
	*now = noon.Add(10 * time.Minute)
	facts, _, err := source.Poll(t.Context(), noon.Add(-time.Hour), cursor)
	if seen := converge(facts); err != nil || seen.runs["teamcity|Shop|900|0"].Status != ci.Succeeded {
		t.Errorf("its end is not seen (%v)", err)
	}
}

// TestTeamCityChanges: the first poll does not read all changes that there ever
// were, and the next one only those since.
func TestTeamCityChanges(t *testing.T) {
	fake, now := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	for i := range 450 {
		fake.PutChange(citest.TeamCityChange{
			ID: int64(1 + i), Version: fmt.Sprintf("%040x", 1+i), Root: "Shop_Git", Date: noon.AddDate(-1, 0, 0), Collected: noon.AddDate(-1, 0, 0),
		})
	}
	_, cursor, err := source.Poll(t.Context(), noon.Add(-4*time.Hour), "")
	if calls := fake.Requests("/changes"); err != nil || len(calls) != 2 {
		t.Errorf("%d calls for changes (%v), want 2: the second page has none that is new", len(calls), err)
	}
	fake.PutChange(citest.TeamCityChange{ // committed long ago, and pushed just now
		ID: 600, Version: "beef", Root: "Shop_Git", Date: noon.AddDate(0, -1, 0), Collected: noon.Add(time.Minute),
	})
	*now = noon.Add(2 * time.Minute)
	facts, _, err := source.Poll(t.Context(), noon.Add(-4*time.Hour), cursor)
	seen := converge(facts)
	if calls := fake.Requests("sinceChange%3A%28id%3A503%29"); err != nil || len(calls) != 1 || seen.commits["Shop_Git|beef"].SHA == "" {
		t.Errorf("the change since is not seen, in %d calls (%v)", len(calls), err)
	}
	noViolations(t, fake.Violations())
}

func TestTeamCityProjects(t *testing.T) {
	fake, _ := teamcityWorld(t)
	teamcityCrowd(fake, 3, noon.Add(-20*time.Minute), time.Minute)
	source, _ := teamcitySource(t, fake, func(c *ci.TeamCityConfig) { c.Projects = []string{"Gone", "Platform"} })
	facts, cursor, err := source.Poll(t.Context(), noon.Add(-time.Hour), "")
	if !errors.Is(err, ci.ErrNotFound) || !strings.Contains(err.Error(), "Gone") {
		t.Errorf("%v, want ErrNotFound of the project that is gone", err)
	}
	if seen := converge(facts); len(seen.runs) != 9 {
		t.Errorf("%d runs of Platform and below, want 9", len(seen.runs))
	}
	if strings.Contains(cursor, "Shop") {
		t.Errorf("the cursor knows a project that was not asked for: %s", cursor)
	}
	noViolations(t, fake.Violations())
}

func TestTeamCityBadCursor(t *testing.T) {
	fake, _ := teamcityWorld(t)
	source, _ := teamcitySource(t, fake, nil)
	for _, cursor := range []string{"x", "{}", "null", `{"builds":1}`, `{"builds":{},"changes":{"":"1)(x"}}`} {
		facts, next, err := source.Poll(t.Context(), noon, cursor)
		if err == nil || facts != nil || next != cursor || !strings.Contains(err.Error(), "cursor") {
			t.Errorf("cursor %q: %v, %q", cursor, err, next)
		}
	}
	if calls := fake.Requests(""); len(calls) > 0 {
		t.Errorf("calls were made: %v", calls)
	}
}

// TestTeamCityFromTheBeginning: since the zero time, a server with old builds is
// read in few calls.
func TestTeamCityFromTheBeginning(t *testing.T) {
	fake, _ := teamcityWorld(t)
	teamcityCrowd(fake, 5, noon.AddDate(-9, 0, 0), time.Hour)
	source, _ := teamcitySource(t, fake, nil)
	facts, _, err := source.Poll(t.Context(), time.Time{}, "")
	if seen := converge(facts); err != nil || len(seen.runs) != 14 {
		t.Errorf("%d runs (%v), want 14", len(seen.runs), err)
	}
	if calls := fake.Requests(""); len(calls) > 40 {
		t.Errorf("%d calls", len(calls))
	}
}

// TestTeamCityLinksThatLead: of a link to the next page only the locator is used,
// and one that leads in a circle ends.
func TestTeamCityLinksThatLead(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("called elsewhere: %s", r.URL)
	}))
	defer elsewhere.Close()
	for link, is := range map[string]error{
		elsewhere.URL + "/app/rest/builds?locator=a:b": ci.ErrMalformed, // twice the same
		"/app/rest/builds": ci.ErrMalformed,
		"http://%zz":       ci.ErrMalformed,
	} {
		source, _ := teamcitySource(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"nextHref":%q,"build":[]}`, link)
		}), nil)
		if _, _, err := source.Poll(t.Context(), noon, ""); !errors.Is(err, is) {
			t.Errorf("%s: %v, want %v", link, err, is)
		}
	}
	another, _ := teamcitySource(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"change":[{"version":"beef"}]}`)
	}), nil)
	if _, err := another.Commit(t.Context(), "", "cafe"); !errors.Is(err, ci.ErrNotFound) {
		t.Errorf("the answer is of another commit: %v", err)
	}
	source, _ := teamcitySource(t, http.RedirectHandler(elsewhere.URL, http.StatusFound), nil)
	if _, err := source.Run(t.Context(), "", "1"); err == nil || !strings.Contains(err.Error(), "redirected") {
		t.Errorf("a redirect to another host: %v", err)
	}
}
