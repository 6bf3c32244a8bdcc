package send

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// pagerDutyURL is where PagerDuty takes events, in the US; the EU's is
// https://events.eu.pagerduty.com.
const pagerDutyURL = "https://events.pagerduty.com"

// PagerDuty sends events to a PagerDuty service (Events API v2, POST /v2/enqueue):
// trigger when an alert fires or gets worse, resolve when it is over, both with the
// alert's key as dedup_key. It takes one event at a time: many alerts at once become
// one, with a count (see package alert, Storms). One that was over before PagerDuty
// could be told is triggered and resolved at once: its log has it, and whether that
// still calls somebody is the service's notification rule.
type PagerDuty struct {
	// RoutingKey is the integration key of the service, 32 characters.
	RoutingKey alert.Secret
	// URL is the base; "" is PagerDuty's in the US.
	URL string
	// Source names this haptrail in events without an identity. Default "haptrail".
	Source string
	HTTP   *http.Client // nil: net/http's default
}

// The bounds of an event: "Send an Alert Event" of PagerDuty's documentation.
const (
	maxDedupKey = 255
	maxSummary  = 1024
)

// event is what PagerDuty takes.
type event struct {
	RoutingKey string        `json:"routing_key"`
	Action     string        `json:"event_action"`
	DedupKey   string        `json:"dedup_key"`
	Payload    *eventPayload `json:"payload,omitempty"`
	Client     string        `json:"client,omitempty"`
	ClientURL  string        `json:"client_url,omitempty"`
	Links      []eventLink   `json:"links,omitempty"`
}

type eventPayload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Timestamp time.Time      `json:"timestamp"`
	Group     string         `json:"group,omitempty"`
	Class     string         `json:"class,omitempty"`
	Details   map[string]any `json:"custom_details,omitempty"`
}

type eventLink struct {
	Href string `json:"href"`
	Text string `json:"text,omitempty"`
}

// Traits: one at a time, for people; a resolve calls nobody. PagerDuty asks to be
// left alone for minutes after 429 and 5xx.
func (s *PagerDuty) Traits() alert.Traits {
	return alert.Traits{
		Batch: 1, Storm: 3, FreeResolve: true, Limit: alert.Limit{PerMinute: 5, Burst: 2},
		FirstPause: time.Minute, MaxPause: 10 * time.Minute,
	}
}

// Send sends the events of a message's notices, in order.
func (s *PagerDuty) Send(ctx context.Context, m alert.Message) error {
	key, err := read(s.RoutingKey, "PagerDuty's routing key")
	if err != nil {
		return err
	}
	if len(key) != 32 {
		return fmt.Errorf("%w: PagerDuty's routing key has %d characters: an Events API v2 integration key has 32", alert.ErrMisdirected, len(key))
	}
	for _, n := range m.Notices {
		if n.State.Firing() || n.Missed {
			if err := s.send(ctx, key, s.trigger(n)); err != nil {
				return err
			}
		}
		if !n.State.Firing() || m.Purpose == alert.Trial {
			if err := s.send(ctx, key, event{Action: "resolve", DedupKey: dedupKey(n.Alert.Key)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *PagerDuty) send(ctx context.Context, key string, e event) error {
	e.RoutingKey = key
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%w: %w", alert.ErrRefused, err)
	}
	base := strings.TrimSuffix(cmp.Or(s.URL, pagerDutyURL), "/")
	return call{client: s.HTTP, url: base + "/v2/enqueue", body: body, secrets: []string{key}}.post(ctx)
}

// trigger is the event of an alert that fires.
func (s *PagerDuty) trigger(n alert.Notice) event {
	a := &n.Alert
	e := event{
		Action: "trigger", DedupKey: dedupKey(a.Key), Client: "haptrail",
		Payload: &eventPayload{
			Summary: alert.Cut(a.Title, maxSummary), Severity: eventSeverity(a.Severity), Timestamp: a.StartsAt,
			Source: cmp.Or(a.Identity, s.Source, "haptrail"), Group: a.Identity, Class: a.Kind, Details: details(n),
		},
	}
	for i, link := range a.Links {
		if i == 0 {
			e.ClientURL = link.URL
		}
		e.Links = append(e.Links, eventLink{Href: link.URL, Text: cmp.Or(link.Text, link.URL)})
	}
	return e
}

// details are shown as a table.
func details(n alert.Notice) map[string]any {
	a := &n.Alert
	all := make(map[string]any)
	for name, value := range map[string]string{
		"text": a.Text, "identity": a.Identity, "run": a.Run, "commit": a.Commit, "command": a.Command,
		"evidence": evidence(a, len(a.Evidence)), "note": note(n), "severity": a.Severity.String(),
	} {
		if value != "" {
			all[name] = value
		}
	}
	if len(a.Numbers) > 0 {
		all["numbers"] = a.Numbers
	}
	if len(a.Labels) > 0 {
		all["labels"] = a.Labels
	}
	return all
}

// dedupKey is the alert's key, or its hash where PagerDuty would find it too long.
func dedupKey(key string) string {
	if len(key) > maxDedupKey {
		return alert.Key(key)
	}
	return key
}

// eventSeverity is PagerDuty's word.
func eventSeverity(s alert.Severity) string {
	switch s {
	case alert.Critical:
		return "critical"
	case alert.High:
		return "error"
	case alert.Medium:
		return "warning"
	}
	return "info"
}
