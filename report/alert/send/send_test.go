package send

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/haptrail/haptrail/report/alert"
)

// limitless is a limit that tests do not wait for.
var limitless = alert.Limit{PerMinute: 60_000, Burst: 1000}

// messages are what a lane may send of an alert: every state and oddity.
func messages(a alert.Alert, now time.Time) []alert.Message {
	over := a
	over.EndsAt = now
	var all []alert.Message
	for _, n := range []alert.Notice{
		{State: alert.Fired, Alert: a, Fires: 1}, {State: alert.Fired, Alert: a, Fires: 17}, {State: alert.Updated, Alert: a, Former: []alert.Former{{Severity: alert.Low, EndsAt: now}, {Severity: alert.Medium, EndsAt: now.Add(-time.Hour)}}},
		{State: alert.Repeated, Alert: a, Former: []alert.Former{{Severity: alert.Low, EndsAt: now}}}, {State: alert.Resolved, Alert: over, Former: []alert.Former{{Severity: alert.Low, EndsAt: now}}}, {State: alert.Resolved, Alert: over, Missed: true, Fires: 3},
	} {
		all = append(all, alert.Message{ID: "i", Channel: "c", Notices: []alert.Notice{n}})
	}
	all = append(all, alert.Message{ID: "i", Channel: "c", Purpose: alert.Trial, Notices: []alert.Notice{{State: alert.Fired, Alert: a}}})
	return all
}

// normalized is an alert as a manager gives it to a sender.
func normalized(t testing.TB, a alert.Alert) alert.Alert {
	t.Helper()
	m, err := alert.Open(alert.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Fire(a); err != nil {
		t.Fatal(err)
	}
	return m.Firing()[0]
}

// Alerts at every bound keep every vendor's contract: the services check it.
func TestContracts(t *testing.T) {
	pagerduty, slack := newService(t, 202, pagerDutyCheck), newService(t, 200, slackCheck)
	big, ordinary := normalized(t, large(t)), normalized(t, small("a"))
	bare := normalized(t, alert.Alert{Key: "k", Kind: "x", Severity: alert.Info, Title: "t"})
	for _, a := range []alert.Alert{big, ordinary, bare} {
		for i, m := range messages(a, time.Now()) {
			if err := (&PagerDuty{RoutingKey: alert.SecretValue(routing), URL: pagerduty.URL}).Send(t.Context(), m); err != nil {
				t.Errorf("PagerDuty, message %d: %v", i, err)
			}
			if err := (&Slack{URL: alert.SecretValue(slack.URL + "/services/x")}).Send(t.Context(), m); err != nil {
				t.Errorf("Slack, message %d: %v", i, err)
			}
		}
	}
	for _, n := range []int{2, 3, 4, 50, 1000} { // Slack's digests
		m := alert.Message{Channel: "c"}
		for i := range n {
			m.Notices = append(m.Notices, alert.Notice{State: alert.Fired, Alert: []alert.Alert{big, ordinary, bare}[i%3]})
		}
		if err := (&Slack{URL: alert.SecretValue(slack.URL)}).Send(t.Context(), m); err != nil {
			t.Errorf("%d alerts: %v", n, err)
		}
	}
}

func TestPagerDuty(t *testing.T) {
	service := newService(t, 202, pagerDutyCheck)
	m := start(t, t.TempDir(), alert.Channel{Name: "pd", Sender: &PagerDuty{RoutingKey: alert.SecretValue(routing), URL: service.URL + "/"}, Limit: limitless})
	if err := m.Fire(small("a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the trigger", func() bool { return len(service.texts()) == 1 })
	if err := m.Resolve("a", time.Time{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the resolve", func() bool { return len(service.texts()) == 2 })
	var fired, over event
	if err := errors.Join(json.Unmarshal([]byte(service.texts()[0]), &fired), json.Unmarshal([]byte(service.texts()[1]), &over)); err != nil {
		t.Fatal(err)
	}
	if fired.Action != "trigger" || over.Action != "resolve" || fired.DedupKey != "a" || over.DedupKey != "a" || over.Payload != nil {
		t.Errorf("have %+v, %+v", fired, over)
	}
	p := fired.Payload
	if p.Severity != "error" || p.Source != "space/build-a" || p.Class != "burst" || p.Details["command"] != "haptrail bursts explain a" ||
		p.Details["run"] != "4711" || p.Details["commit"] != "abc123" || fmt.Sprint(p.Details["numbers"]) != "map[expected:20.5 requests_10s:412]" || fired.ClientURL != "https://grafana.example/d/bursts" {
		t.Errorf("have %+v", p)
	}
	// one that was missed is both
	a := normalized(t, small("b"))
	a.EndsAt = a.StartsAt
	sender := &PagerDuty{RoutingKey: alert.SecretValue(routing), URL: service.URL}
	if err := sender.Send(t.Context(), alert.Message{Notices: []alert.Notice{{State: alert.Resolved, Alert: a, Missed: true}}}); err != nil {
		t.Fatal(err)
	}
	if all := service.texts(); len(all) != 4 || !strings.Contains(all[2], `"trigger"`) || !strings.Contains(all[3], `"resolve"`) {
		t.Errorf("have %q", all)
	}
	if have := dedupKey(strings.Repeat("x", 300)); len(have) != 32 {
		t.Errorf("have %s", have)
	}
	for s, want := range map[alert.Severity]string{alert.Critical: "critical", alert.High: "error", alert.Medium: "warning", alert.Low: "info", alert.Info: "info"} {
		if have := eventSeverity(s); have != want {
			t.Errorf("%s is %s", s, have)
		}
	}
}

// A thousand identities at PagerDuty: few calls, the count, and one resolve.
func TestPagerDutyStorm(t *testing.T) {
	service := newService(t, 202, pagerDutyCheck)
	m := start(t, t.TempDir(), alert.Channel{Name: "pd", Sender: &PagerDuty{RoutingKey: alert.SecretValue(routing), URL: service.URL}})
	for i := range 100 {
		if err := m.Fire(small(fmt.Sprint("k", i))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the storm", func() bool { return len(service.texts()) > 0 })
	for i := range 100 {
		if err := m.Resolve(fmt.Sprint("k", i), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "its end", func() bool {
		all := service.texts()
		return strings.Contains(all[len(all)-1], `"resolve"`)
	})
	all := service.texts()
	if len(all) > 4 || !strings.Contains(strings.Join(all, "\n"), "alerts at once") {
		t.Errorf("%d events: %q", len(all), all)
	}
}

func TestSlackDigest(t *testing.T) {
	var notices []alert.Notice
	for i := range 1000 {
		a := small(fmt.Sprint(i))
		n := alert.Notice{State: alert.Fired, Alert: a}
		switch {
		case i == 999:
			n.Alert.Severity = alert.Critical
		case i < 300:
			n.State, n.Alert.EndsAt = alert.Resolved, a.StartsAt
		}
		notices = append(notices, n)
	}
	post := slackPost(notices)
	if post.Text != "1000 alerts: 700 firing, 300 over; 1000 identities" {
		t.Errorf("have %s", post.Text)
	}
	lines := strings.Split(post.Blocks[1].Text.Text, "\n")
	if len(lines) != 11 || !strings.HasPrefix(lines[0], "[CRITICAL]") || !strings.Contains(lines[1], "space/build-300") || lines[10] != "and 990 more" {
		t.Errorf("have %q", lines)
	}
}

func TestEscape(t *testing.T) {
	for text, want := range map[string]string{"": "", "a<b>&c": "a&lt;b&gt;&amp;c", "<!channel>": "&lt;!channel&gt;"} {
		if have := escape(text, 100); have != want {
			t.Errorf("%q is %q", text, have)
		}
	}
}

// The result is never longer than it may be, and no escape is cut.
func FuzzEscape(f *testing.F) {
	f.Add("a<b", 5)
	f.Add("&&&&…", 9)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = 3 + max(limit, 0)%50
		text = strings.ToValidUTF8(text, "?")
		have := escape(text, limit)
		if len(have) > limit || !utf8.ValidString(have) || escaped(have) != "" {
			t.Errorf("escape(%q, %d) is %q", text, limit, have)
		}
		back := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(have)
		if back != text && !strings.HasPrefix(text, strings.TrimSuffix(back, "…")) {
			t.Errorf("escape(%q, %d) says %q", text, limit, back)
		}
	})
}

// 429: as long as Slack says, and nothing is lost.
func TestSlackLimited(t *testing.T) {
	service := newService(t, 200, slackCheck)
	service.fails(func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(429)
	})
	m := start(t, t.TempDir(), alert.Channel{Name: "s", Sender: &Slack{URL: alert.SecretValue(service.URL)}})
	begin := time.Now()
	if err := m.Fire(small("a")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	service.fails(nil)
	eventually(t, "the alert", func() bool { return len(service.texts()) == 1 })
	if took := service.times[0].Sub(begin); took < time.Second {
		t.Errorf("it came after %s", took)
	}
	if text := service.texts()[0]; !strings.Contains(text, "[HIGH] 412 requests in 10 s (space/build-a)") || !strings.Contains(text, "haptrail bursts explain a") || !strings.Contains(text, "GET /api/{id} allow 400 requests") {
		t.Errorf("have %s", text)
	}
}
