package oncall

import (
	"slices"
	"time"

	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/report/alert"
)

const (
	// findingNews is how old the newest request of a finding may be that is told:
	// what is found in logs that were imported is in the table.
	findingNews = 24 * time.Hour
	// findingQuiet is how long after it was found last a finding is over: nothing
	// tells when a stolen token is not used any more.
	findingQuiet = time.Hour
)

// Findings tells of findings that are bad enough and new. It may be told the same
// ones again.
func (d *Desk) Findings(found []finding.Finding) {
	if d.Options.Findings == 0 {
		return
	}
	now := time.Now()
	for i := range found {
		f := &found[i]
		if alert.Severity(f.Severity) >= d.Options.Findings && now.Sub(f.Last) < findingNews {
			d.mu.Lock()
			d.findings[f.Key] = now
			d.mu.Unlock()
			d.Fire(findingAlert(f))
		}
	}
}

// endFindings ends those that were not found again for a while. After a restart
// each has as long as a new one.
func (d *Desk) endFindings(now time.Time) {
	for _, a := range d.Firing(KindFinding) {
		d.mu.Lock()
		seen, known := d.findings[a.Key]
		if !known {
			d.findings[a.Key] = now
		}
		over := known && now.Sub(seen) >= findingQuiet
		if over {
			delete(d.findings, a.Key)
		}
		d.mu.Unlock()
		if over {
			d.Resolve(a.Key, now)
		}
	}
}

// findingAlert is a finding as a person on call sees it.
func findingAlert(f *finding.Finding) alert.Alert {
	a := alert.Alert{
		Key: f.Key, Kind: KindFinding, Severity: alert.Severity(f.Severity), Title: f.Title, Text: f.Text + "\nTo do: " + f.Action,
		Identity: f.Subject, Run: f.Run, Commit: f.Commit, StartsAt: f.First,
		Labels:  map[string]string{"finding": f.Kind, "project": f.Project, "provider": f.Provider},
		Numbers: map[string]float64{"requests": float64(f.Requests)},
		Command: "haptrail findings --long --kind " + f.Kind,
	}
	for _, e := range f.Evidence {
		a.Evidence = append(a.Evidence, alert.Evidence{
			Time: e.Time, Method: e.Method, Endpoint: e.Endpoint, Decision: e.Decision, Network: e.Network, Run: e.Run, Requests: e.Requests,
		})
	}
	slices.SortStableFunc(a.Evidence, func(x, y alert.Evidence) int { return y.Time.Compare(x.Time) })
	return a
}
