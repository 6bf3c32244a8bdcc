package send

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// envFigures has TestFigures take the whole minute that its figures are about.
const envFigures = "HAPTRAIL_ALERT_FIGURES"

// TestFigures measures, with the defaults of every channel: from Fire to the
// receiver's socket while 1,000 alerts a minute come (p99 at most 2 s), and the
// messages of 1,000 identities in one second (at most 5 in any minute).
//
//	HAPTRAIL_ALERT_FIGURES=1 go test -run Figures -v ./report/alert/send
//
// Without HAPTRAIL_ALERT_FIGURES it is a run of some seconds at the same rate. Its
// p99 is its slowest alert, which a machine that stalls for a moment decides: so it
// is held to a wider bound, that shows a lane that waits for what it need not.
func TestFigures(t *testing.T) {
	rate := time.Minute / 1000
	n, bound := 100, 5*time.Second
	if os.Getenv(envFigures) != "" {
		n, bound = 1000, 2*time.Second
	}
	t.Run("delay", func(t *testing.T) {
		for name, delays := range delays(t, n, rate) {
			slices.Sort(delays)
			p50, p99 := delays[len(delays)/2], delays[len(delays)*99/100]
			t.Logf("%s: %d alerts at 1,000 a minute: Fire to socket p50 %s, p99 %s, max %s", name, len(delays), p50.Round(time.Millisecond), p99.Round(time.Millisecond), delays[len(delays)-1].Round(time.Millisecond))
			if p99 > bound {
				t.Errorf("%s: p99 is %s", name, p99)
			}
		}
	})
	t.Run("storm", func(t *testing.T) {
		hooks, slack, pager := newService(t, 200, webhookCheck), newService(t, 200, slackCheck), newService(t, 202, pagerDutyCheck)
		am := newService(t, 200, func(*http.Request, []byte) string { return "" })
		m := startDefault(t, hooks.URL, am.URL, slack.URL, pager.URL)
		begin := time.Now()
		for i := range 1000 {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Millisecond)))
			if err := m.Fire(small(fmt.Sprint("k", i))); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("1,000 Fires, each on the disk, in %s", time.Since(begin).Round(time.Millisecond))
		wait := 3 * time.Second
		if n == 1000 {
			wait = time.Minute
		}
		time.Sleep(wait)
		for name, s := range map[string]*service{"webhook": hooks, "alertmanager": am, "slack": slack, "pagerduty": pager} {
			s.mu.Lock()
			first := s.times[0].Sub(begin)
			within := 0
			for _, at := range s.times {
				if at.Sub(s.times[0]) < time.Minute && (name != "alertmanager" || at.Sub(begin) < 55*time.Second) { // then the repeats begin
					within++
				}
			}
			t.Logf("%s: %d messages in the minute, the first after %s", name, within, first.Round(time.Millisecond))
			if within > 5 || within == 0 {
				t.Errorf("%s: %d messages", name, within)
			}
			s.mu.Unlock()
		}
		if told := strings.Count(strings.Join(hooks.texts(), ""), `"status":"firing","labels"`); told != 1000 {
			t.Errorf("the webhook was told of %d", told)
		}
	})
}

// delays fires n alerts evenly and returns what each took to a webhook and to an
// Alertmanager.
func delays(t *testing.T, n int, every time.Duration) map[string][]time.Duration {
	hooks := newService(t, 200, webhookCheck)
	am := newService(t, 200, func(*http.Request, []byte) string { return "" })
	m := startDefault(t, hooks.URL, am.URL, "", "")
	begin := time.Now()
	fired, slowest := make(map[string]time.Time), time.Duration(0)
	for i := range n {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * every)))
		key := fmt.Sprint("k", i)
		fired[key] = time.Now()
		if err := m.Fire(small(key)); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(fired[key]))
	}
	t.Logf("the slowest Fire, with its fsync, took %s", slowest.Round(time.Millisecond))
	all := make(map[string][]time.Duration)
	for name, s := range map[string]*service{"webhook": hooks, "alertmanager": am} {
		eventually(t, "the last alert", func() bool { return strings.Contains(strings.Join(s.texts(), ""), fmt.Sprintf(`"key":"k%d"`, n-1)) })
		s.mu.Lock()
		seen := make(map[string]bool)
		for i, body := range s.bodies {
			alerts := webhookBody{}
			if name == "alertmanager" {
				body = slices.Concat([]byte(`{"alerts":`), body, []byte("}"))
			}
			if err := json.Unmarshal(body, &alerts); err != nil {
				t.Fatal(err)
			}
			for _, a := range alerts.Alerts {
				if key := a.Labels["key"]; !seen[key] {
					seen[key] = true
					all[name] = append(all[name], s.times[i].Sub(fired[key]))
				}
			}
		}
		s.mu.Unlock()
		if len(all[name]) != n {
			t.Errorf("%s was told of %d", name, len(all[name]))
		}
	}
	return all
}

// startDefault runs a manager with every kind of channel, as it is without configuration.
func startDefault(t *testing.T, hook, am, slack, pager string) *alert.Manager {
	channels := []alert.Channel{
		{Name: "hook", Sender: &Webhook{URL: alert.SecretValue(hook), Key: alert.SecretValue(string(hookKey))}},
		{Name: "am", Sender: &Alertmanager{URL: am}},
	}
	if slack != "" {
		channels = append(channels, alert.Channel{Name: "slack", Sender: &Slack{URL: alert.SecretValue(slack)}},
			alert.Channel{Name: "pagerduty", Sender: &PagerDuty{RoutingKey: alert.SecretValue(routing), URL: pager}})
	}
	return startWith(t, alert.Options{Dir: t.TempDir(), Channels: channels})
}
