package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/deploy/demo"
	alertsend "github.com/haptrail/haptrail/report/alert/send"
)

// tryAlerts runs "haptrail alerts test" on a configuration's section alerts.
func tryAlerts(t *testing.T, section string, channels ...string) (code int, out, errOut string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	path := writeConfig(t, section)
	var stdout, stderr bytes.Buffer
	code = execute(append([]string{"alerts", "test", "-c", path}, channels...), strings.NewReader(""), &stdout, &stderr)
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("something is left behind: %v, error %v", left, err)
	}
	return code, stdout.String(), stderr.String()
}

// writeConfig is a configuration file of that text.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "haptrail.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// received is a service that keeps what it is sent.
type received struct {
	*httptest.Server
	mu     sync.Mutex
	bodies map[string][]string // by path; guarded by mu
	signed http.Header         // of the last; guarded by mu
}

func newReceived(t *testing.T) *received {
	r := &received{bodies: map[string][]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bodies[request.URL.Path] = append(r.bodies[request.URL.Path], string(body))
		r.signed = request.Header
		switch request.URL.Path {
		case "/busy":
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/refuses":
			http.Error(w, "invalid_payload", http.StatusBadRequest)
		case "/gone":
			w.WriteHeader(http.StatusNotFound)
		case "/slow":
			select {
			case <-request.Context().Done():
			case <-time.After(10 * time.Second):
			}
		case "/v2/enqueue":
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// at is what a path was sent.
func (r *received) at(path string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bodies[path]
}

// TestAlertsTest: each type's channel takes its trial message, whatever its limit and
// its least severity; and only those that are named.
func TestAlertsTest(t *testing.T) {
	service := newReceived(t)
	key := strings.Repeat("0123456789abcdef", 2)
	section := fmt.Sprintf(`
alerts:
  external_url: https://grafana.example.com
  channels:
    - {name: am, type: alertmanager, urls: ["%[1]s", "%[1]s/second"], min_severity: critical}
    - {name: call, type: pagerduty, url: "%[1]s", routing_key_file: "%[2]s", per_minute: 2}
    - {name: chat, type: slack, url_file: "%[3]s"}
    - {name: siem, type: webhook, url: "%[1]s/siem", key_file: "%[2]s", heartbeat: 1m}
`, service.URL, secretFile(t, key), secretFile(t, service.URL+"/chat"))
	code, out, errOut := tryAlerts(t, section)
	if want := "ok     channel am-1: took the trial message\nok     channel am-2: took the trial message\nok     channel call: took the trial message\n" +
		"ok     channel chat: took the trial message\nok     channel siem: took the trial message\n"; code != 0 || out != want || errOut != "" {
		t.Errorf("code %d\n%s%s", code, out, errOut)
	}
	for path, n := range map[string]int{"/api/v2/alerts": 1, "/second/api/v2/alerts": 1, "/v2/enqueue": 2, "/chat": 1, "/siem": 1} {
		if have := service.at(path); len(have) != n || !strings.Contains(have[0], "a test of this channel") {
			t.Errorf("%s: have %q, want %d", path, have, n)
		}
	}
	service.mu.Lock()
	signed := service.signed
	service.mu.Unlock()
	if err := alertsend.Verify(signed, []byte(service.at("/siem")[0]), []byte(key), time.Now(), time.Minute); err != nil {
		t.Errorf("the webhook's signature: %v", err)
	}
	for _, c := range []struct{ names, want string }{
		{"siem", "ok     channel siem: "},
		{"am", "ok     channel am-1: took the trial message\nok     channel am-2: "},
		{"am-2", "ok     channel am-2: "},
		{"siem am-2 siem", "ok     channel am-2: took the trial message\nok     channel siem: "},
	} {
		code, out, errOut := tryAlerts(t, section, strings.Fields(c.names)...)
		if want := c.want + "took the trial message\n"; code != 0 || out != want || errOut != "" {
			t.Errorf("%s: code %d\n%s%s", c.names, code, out, errOut)
		}
	}
}

// TestAlertsTestFaults: each way in which a receiver does not take it, with what mends
// it; the others are tried all the same, and no secret is shown.
func TestAlertsTestFaults(t *testing.T) {
	service := newReceived(t)
	nobody := "http://127.0.0.1:" + freePort(t)
	t.Setenv("ALERTS_SESAME", "http://hooks.example.com/sesame")
	for name, c := range map[string]struct{ channel, want, mend string }{
		"down":         {`type: webhook, url: "` + nobody + `/sesame"`, "connection refused", "does it run, is its URL right"},
		"refuses":      {`type: webhook, url: "` + service.URL + `/refuses"`, "answers 400 Bad Request: invalid_payload", "is the receiver of the channel's type"},
		"wrong":        {`type: webhook, url: "` + service.URL + `/gone"`, "answers 404 Not Found", "mend the channel's URL or secret"},
		"busy":         {`type: webhook, url: "` + service.URL + `/busy"`, "answers 429 Too Many Requests", "it wants nothing for 30s"},
		"broken":       {`type: webhook, url: "` + service.URL + `/broken"`, "answers 500 Internal Server Error", "look at its log"},
		"slow":         {`type: webhook, url: "` + service.URL + `/slow", timeout: 200ms`, "deadline exceeded", "it did not answer in time"},
		"no file":      {`type: slack, url_file: none`, "no such file", "write the secret there"},
		"no variable":  {`type: pagerduty, routing_key_env: ALERTS_UNSET`, "the environment variable ALERTS_UNSET is empty: put the secret into it", "mend"},
		"routing key":  {`type: pagerduty, routing_key_env: ALERTS_SESAME`, "routing key has 31 characters", "mend"},
		"in the clear": {`type: slack, url_env: ALERTS_SESAME`, "the URL in it must be https", "mend"},
	} {
		t.Run(name, func(t *testing.T) {
			section := "alerts:\n  channels:\n    - {name: first, " + c.channel + "}\n    - {name: good, type: webhook, url: \"" + service.URL + "/good\"}\n"
			code, out, errOut := tryAlerts(t, section)
			if code != exitFailed || errOut != "" {
				t.Errorf("code %d, %s", code, errOut)
			}
			lines := strings.Split(out, "\n")
			if len(lines) != 4 || !strings.HasPrefix(lines[0], "FAULT  channel first: ") || !strings.Contains(lines[0], c.want) ||
				!strings.HasPrefix(lines[1], "       hint: ") || !strings.Contains(lines[1], c.mend) || lines[2] != "ok     channel good: took the trial message" {
				t.Errorf("have\n%s\nwant %s, %s", out, c.want, c.mend)
			}
			if strings.Contains(out, "sesame") || strings.Contains(out, "channel first: channel") {
				t.Errorf("have\n%s", out)
			}
		})
	}
}

// TestAlertsTestWrongUse: no channels, and a name that no channel has.
func TestAlertsTestWrongUse(t *testing.T) {
	code, out, errOut := tryAlerts(t, "log: {level: info}\n")
	if code != exitFailed || out != "" || !strings.HasPrefix(errOut, "error: alerts.channels: none are configured\nhint: add one to the configuration") {
		t.Errorf("no channels: code %d\n%s%s", code, out, errOut)
	}
	service := newReceived(t)
	section := "alerts: {channels: [{name: siem, type: webhook, url: \"" + service.URL + "/siem\"}, {name: am, type: alertmanager, urls: [\"" + service.URL + "\", \"" + service.URL + "/b\"]}]}\n"
	code, out, errOut = tryAlerts(t, section, "siem", "sime")
	if code != exitUsage || out != "" || errOut != "error: unknown channel \"sime\": did you mean \"siem\"?\nhint: the configuration has siem, am, am-1, am-2\n" {
		t.Errorf("an unknown name: code %d\n%s%s", code, out, errOut)
	}
	if sent := service.at("/siem"); len(sent) > 0 {
		t.Errorf("and yet it was sent: %q", sent)
	}
	code, _, errOut = tryAlerts(t, "alerts: {channels: [{name: a, type: slack}]}\n")
	if code != exitFailed || !strings.Contains(errOut, "alerts.channels[0]: needs url_file or url_env") {
		t.Errorf("a fault of the configuration: code %d, %s", code, errOut)
	}
}

// TestAlertsTestAlertmanager: a real one has the trial alert, and check finds it ready.
func TestAlertsTestAlertmanager(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	am, err := demo.StartAlertmanager(ctx, t.TempDir())
	if errors.Is(err, demo.ErrNoAlertmanager) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := am.Close(); err != nil {
			t.Error(err)
		}
	}()
	section := "alerts: {channels: [{name: am, type: alertmanager, urls: [\"" + am.URL() + "\"]}]}\n"
	code, out, errOut := tryAlerts(t, section)
	if code != 0 || out != "ok     channel am: took the trial message\n" {
		t.Fatalf("code %d\n%s%s", code, out, errOut)
	}
	alerts, err := am.Alerts(ctx)
	if err != nil || len(alerts) != 1 {
		t.Fatalf("%d alerts, error %v", len(alerts), err)
	}
	if a := alerts[0]; a.Labels["alertname"] != "haptrail_test" || a.Labels["severity"] != "info" || a.EndsAt.After(time.Now().Add(2*time.Minute)) {
		t.Errorf("have %+v", a)
	}
	cfg, err := (&where{Config: writeConfig(t, section)}).load()
	if err != nil {
		t.Fatal(err)
	}
	text, faults := reportedAlerts(t, cfg.Alerts.Channels...)
	holds(t, text, faults, 0, "ok     alerts channel am: "+strings.TrimPrefix(am.URL(), "http://")+" is an Alertmanager, and ready\n")
}
