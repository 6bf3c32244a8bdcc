package demo

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/edgetest"
)

func readRows[T any](t *testing.T, path string) []T {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rows []T
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return rows
}

func TestRunsAndCommitsFiles(t *testing.T) {
	s := edgetest.NewSink(t)
	w := startWorld(t, s, func(o *Options) { o.Burst = 1 })
	for _, r := range readRows[Run](t, w.RunsFile()) {
		if over := r.FinishedAt != nil; over != (r.Run == "574118") {
			t.Errorf("before the script run %s is over: %t", r.Run, over)
		}
	}
	summary, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after := time.Now()
	runs := readRows[Run](t, w.RunsFile())
	commits := readRows[Commit](t, w.CommitsFile())
	for _, r := range runs {
		checkRun(t, r, w.began, after)
		if !slices.ContainsFunc(commits, func(c Commit) bool { return c.Commit == r.Commit }) {
			t.Errorf("run %s: commit %s is not told", r.Run, r.Commit)
		}
	}
	for _, j := range summary.Jobs {
		if j.Run == "" {
			continue
		}
		same := func(r Run) bool {
			return r.Provider == j.Provider && r.Project == j.Project && r.Run == j.Run && r.Principal == j.Subject && r.Commit == j.Commit
		}
		if !slices.ContainsFunc(runs, same) {
			t.Errorf("job %q: its run %s is not told", j.Name, j.Run)
		}
	}
	sha := regexp.MustCompile(`^[0-9a-f]{40}$`)
	for _, c := range commits {
		if !sha.MatchString(c.Commit) || c.Subject == "" || c.Author == "" || c.CommittedAt.After(w.began) ||
			!slices.Contains([]string{"verified", "unverified", "none"}, c.Signature) {
			t.Errorf("commit %+v", c)
		}
	}
}

// checkRun checks that a run's times are in order, and that it was going on
// while its job made requests: else the attribution by time would find nothing.
func checkRun(t *testing.T, r Run, began, ended time.Time) {
	t.Helper()
	if r.QueuedAt == nil || r.StartedAt == nil || !r.QueuedAt.Before(*r.StartedAt) || r.StartedAt.After(began) {
		t.Errorf("run %s: queued %v, started %v", r.Run, r.QueuedAt, r.StartedAt)
		return
	}
	over := r.FinishedAt != nil
	if over == (r.Status == "running") {
		t.Errorf("run %s: status %s, finished %v", r.Run, r.Status, r.FinishedAt)
	}
	switch {
	case r.Run == "574118": // its token is used after it is over
		if !over || r.FinishedAt.After(began) || r.FinishedAt.Before(*r.StartedAt) {
			t.Errorf("run %s: started %v, finished %v", r.Run, r.StartedAt, r.FinishedAt)
		}
	case over && (r.FinishedAt.Before(began) || r.FinishedAt.After(ended)):
		t.Errorf("run %s: finished %v, not between %v and %v", r.Run, r.FinishedAt, began, ended)
	}
}

func TestCastIsConsistent(t *testing.T) {
	names := make(map[string]bool)
	runs := make(map[string]bool)
	for _, j := range cast {
		if names[j.name] || j.run != "" && runs[j.provider+j.run] {
			t.Errorf("job %q appears twice", j.name)
		}
		names[j.name], runs[j.provider+j.run] = true, true
		if _, found := history[j.change]; j.change != "" && !found {
			t.Errorf("job %q: history has no %q", j.name, j.change)
		}
		if j.token == genuine && j.run == "" {
			t.Errorf("job %q has a token and no run", j.name)
		}
		for _, s := range j.steps {
			if !s.burst && s.times < 1 {
				t.Errorf("job %q: %s %s is made %d times", j.name, s.method, s.path, s.times)
			}
		}
	}
	for provider := range jwksPaths {
		if !slices.ContainsFunc(cast, func(j job) bool { return j.provider == provider && j.token == genuine }) {
			t.Errorf("no job of %s", provider)
		}
	}
}
