package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Run is one CI run behind the cast's jobs, in the form that
// "haptrail import --runs" reads. Times are RFC 3339, null where not yet known.
type Run struct {
	Provider   string     `json:"provider"`
	Project    string     `json:"project"`
	Job        string     `json:"job"`
	Run        string     `json:"run"`
	RunAttempt int        `json:"run_attempt"`
	Ref        string     `json:"ref"`
	Commit     string     `json:"commit"`
	Status     string     `json:"status"` // success, failed or running
	Trigger    string     `json:"trigger"`
	Actor      string     `json:"actor"`
	Agent      string     `json:"agent"`
	Principal  string     `json:"principal"` // the sub claim of the run's tokens
	QueuedAt   *time.Time `json:"queued_at"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// Runs tells what the CI servers know of the cast. Before Run ends, the runs
// that it plays are still going on.
func (w *World) Runs() []Run {
	w.mu.Lock()
	ended := w.ended
	w.mu.Unlock()
	var rows []Run
	random := rand.New(rand.NewPCG(w.options.Seed, 0))
	for _, j := range cast {
		if j.run == "" {
			continue
		}
		// The job had been building for a while before it came to the gate.
		started := w.began.Add(-time.Duration(20+random.IntN(160)) * time.Second)
		var finished *time.Time
		status := "running"
		switch {
		case j.before > 0:
			started, finished, status = started.Add(-j.before-time.Minute), stamp(w.began.Add(-j.before)), j.status
		case j.status != "running" && !ended.IsZero():
			finished, status = stamp(ended), j.status
		}
		rows = append(rows, Run{
			Provider: j.provider, Project: j.project, Job: j.job, Run: j.run, RunAttempt: j.attempt,
			Ref: j.ref, Commit: history[j.change].sha, Status: status, Trigger: j.trigger,
			Actor: j.actor, Agent: j.agent, Principal: j.subject,
			QueuedAt:   stamp(started.Add(-time.Duration(1+random.IntN(30)) * time.Second)),
			StartedAt:  stamp(started),
			FinishedAt: finished,
		})
	}
	return rows
}

// Commits tells the commits behind the runs, each once.
func (w *World) Commits() []Commit {
	var rows []Commit
	seen := make(map[string]bool)
	for _, j := range cast {
		if j.run == "" || seen[j.change] {
			continue
		}
		seen[j.change] = true
		rows = append(rows, history[j.change].row(w.began))
	}
	return rows
}

// RunsFile is where Start and Run store Runs, as a JSON array.
func (w *World) RunsFile() string { return filepath.Join(w.options.Dir, "runs.json") }

// CommitsFile is where Start stores Commits, as a JSON array.
func (w *World) CommitsFile() string { return filepath.Join(w.options.Dir, "commits.json") }

// writeHistory stores both files.
func (w *World) writeHistory() error {
	if err := writeJSON(w.RunsFile(), w.Runs()); err != nil {
		return err
	}
	return writeJSON(w.CommitsFile(), w.Commits())
}

func writeJSON(path string, rows any) error {
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func stamp(t time.Time) *time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
