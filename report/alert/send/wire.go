package send

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// wireAlert is an alert as Alertmanager takes it (API v2, postableAlert), and, with
// a status and a fingerprint, as its webhooks give it.
type wireAlert struct {
	Status       string            `json:"status,omitempty"` // firing or resolved
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt,omitzero"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
	Fingerprint  string            `json:"fingerprint,omitempty"`
}

// detailed is up to how many notices in a message are told with all there is. In
// longer ones the description is short and the evidence missing: a message stays
// below some MB.
const detailed = 100

// wireAlerts are the alerts of notices. As the severity is a label, and labels are
// what makes an alert the same, one whose severity has changed ends under the former
// one, always at the same time: one that moved on with our clock would fire again
// where another clock is behind.
func wireAlerts(notices []alert.Notice) []wireAlert {
	all := make([]wireAlert, 0, len(notices))
	for _, n := range notices {
		a := &n.Alert
		w := wireAlert{Status: "firing", Labels: labels(a, a.Severity), Annotations: annotations(n, len(notices) <= detailed), StartsAt: a.StartsAt}
		if len(a.Links) > 0 {
			w.GeneratorURL = a.Links[0].URL
		}
		if !n.State.Firing() {
			w.Status, w.EndsAt = "resolved", a.EndsAt
		}
		for _, f := range n.Former {
			former := w
			former.Status, former.Labels, former.EndsAt = "resolved", labels(a, f.Severity), later(f.EndsAt, a.StartsAt)
			all = append(all, former)
		}
		all = append(all, w)
	}
	return all
}

// later is the later of two times: an end is not before its beginning.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// labels are what makes the alert the same: nothing that is counted or measured.
// Those that are ours come before the alert's own.
func labels(a *alert.Alert, severity alert.Severity) map[string]string {
	all := maps.Clone(a.Labels)
	if all == nil {
		all = make(map[string]string)
	}
	all["alertname"] = a.Kind
	all["source"] = "haptrail"
	all["severity"] = severity.String()
	all["key"] = a.Key
	delete(all, "identity")
	if a.Identity != "" {
		all["identity"] = a.Identity
	}
	return all
}

// annotations are what a person reads.
func annotations(n alert.Notice, full bool) map[string]string {
	a := &n.Alert
	all := map[string]string{"summary": a.Title}
	add := func(name, value string) {
		if value != "" {
			all[name] = value
		}
	}
	add("run", a.Run)
	add("commit", a.Commit)
	add("command", a.Command)
	add("numbers", numbers(a))
	add("note", note(n))
	if !full {
		add("description", alert.Cut(a.Text, 400))
		return all
	}
	add("description", a.Text)
	add("evidence", evidence(a, len(a.Evidence)))
	for i, link := range a.Links {
		add("link"+strconv.Itoa(i+1), strings.TrimSpace(link.Text+" "+link.URL))
	}
	return all
}

// numbers are the alert's, by name.
func numbers(a *alert.Alert) string {
	var text []string
	for _, name := range slices.Sorted(maps.Keys(a.Numbers)) {
		text = append(text, name+"="+number(a.Numbers[name]))
	}
	return strings.Join(text, " ")
}

// number is one of them, as short as it is exact.
func number(value float64) string { return strconv.FormatFloat(value, 'g', -1, 64) }

// evidence is the first rows, a line each.
func evidence(a *alert.Alert, most int) string {
	var text []string
	for _, row := range a.Evidence[:min(most, len(a.Evidence))] {
		text = append(text, row.String())
	}
	return strings.Join(text, "\n")
}

// note says what is odd about a notice.
func note(n alert.Notice) string {
	var text []string
	if n.Missed {
		text = append(text, "It is over: this channel could not be told in time.")
	}
	if n.Fires > 1 {
		text = append(text, fmt.Sprintf("It fired %d times since this channel was last told.", n.Fires))
	}
	return strings.Join(text, " ")
}

// heartbeat is the alert by which a receiver hears that we live. It ends by itself
// when three were missed.
func heartbeat(interval time.Duration, now time.Time) wireAlert {
	return wireAlert{
		Status: "firing", StartsAt: now, EndsAt: now.Add(3 * interval),
		Labels:      map[string]string{"alertname": "haptrail_heartbeat", "source": "haptrail", "severity": "none"},
		Annotations: map[string]string{"summary": "haptrail works, and can reach you", "description": "This comes every " + interval.String() + ". Raise the alarm when it does not."},
	}
}

// fingerprint is Alertmanager's of a set of labels: FNV-1a, 64 bits, over names and
// values in the names' order, each followed by the byte 255
// (prometheus/common, model.LabelSet.Fingerprint).
func fingerprint(labels map[string]string) string {
	hash := uint64(14695981039346656037)
	add := func(text string) {
		for i := range len(text) {
			hash = (hash ^ uint64(text[i])) * 1099511628211
		}
		hash = (hash ^ 255) * 1099511628211
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		add(name)
		add(labels[name])
	}
	return fmt.Sprintf("%016x", hash)
}
