package demo

import (
	"slices"
	"testing"
)

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
		if (j.before > 0) != (j.token == lingering || j.token == expired) {
			t.Errorf("job %q: only a token outlives its run", j.name)
		}
		if j.provider == space && (j.run == "" || accounts[j.subject].project != j.project) {
			t.Errorf("job %q: %q is not the account of project %q", j.name, j.subject, j.project)
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
