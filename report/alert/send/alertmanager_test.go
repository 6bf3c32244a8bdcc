package send

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// alertmanager is a running Alertmanager, which tells hook what it would tell people.
type alertmanager struct {
	url string
	log bytes.Buffer // of the process; read it after its end
	cmd *exec.Cmd
}

// runAlertmanager runs one until the test ends; the test is skipped where none is
// installed.
func runAlertmanager(t testing.TB, hook string) *alertmanager {
	t.Helper()
	binary := os.Getenv("HAPTRAIL_ALERTMANAGER")
	for _, name := range []string{"prometheus-alertmanager", "alertmanager"} {
		if path, err := exec.LookPath(name); err == nil && binary == "" {
			binary = path
		}
	}
	if binary == "" {
		t.Skip("alertmanager is not installed; install it with: apt-get install prometheus-alertmanager")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	text := fmt.Sprintf(`
route:
  receiver: hook
  group_by: [source, alertname]
  group_wait: 100ms
  group_interval: 200ms
  repeat_interval: 1h
receivers:
- name: hook
  webhook_configs:
  - url: %s
`, hook)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	am := &alertmanager{url: "http://" + address}
	am.cmd = exec.Command(binary, "--config.file="+config, "--storage.path="+dir, "--web.listen-address="+address, "--cluster.listen-address=", "--log.level=warn")
	am.cmd.Stderr = &am.log
	if err := am.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = am.cmd.Process.Kill()
		_ = am.cmd.Wait()
		if t.Failed() {
			t.Logf("alertmanager: %s", am.log.String())
		}
	})
	eventually(t, "Alertmanager", func() bool {
		response, err := http.Get(am.url + "/-/ready")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return am
}

// freeAddress is one that nobody listens on. Alertmanager takes no open socket.
func freeAddress(t testing.TB) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// shown is an alert of GET /api/v2/alerts, which lists those that are not over.
type shown struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Fingerprint string            `json:"fingerprint"`
	StartsAt    time.Time         `json:"startsAt"`
	Generator   string            `json:"generatorURL"`
}

// alerts are those that Alertmanager's own API shows, by key.
func (am *alertmanager) alerts(t testing.TB) map[string]shown {
	t.Helper()
	response, err := http.Get(am.url + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var all []shown
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	byKey := make(map[string]shown)
	for _, a := range all {
		byKey[a.Labels["key"]+"/"+a.Labels["severity"]] = a
	}
	return byKey
}

// An alert is seen through Alertmanager's own API, with the fingerprint that our
// webhooks give it, grouped, made worse, and resolved there.
func TestAlertmanager(t *testing.T) {
	hook := newService(t, 200, func(*http.Request, []byte) string { return "" })
	am := runAlertmanager(t, hook.URL)
	channels, err := Replicas("am", []string{am.url}, Alertmanager{}, alert.Channel{Limit: limitless, Heartbeat: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	m := start(t, t.TempDir(), channels...)
	a := small("a")
	a.Labels = map[string]string{"team": "platform"}
	begin := time.Now()
	for _, one := range []alert.Alert{a, small("b"), large(t)} {
		if err := m.Fire(one); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "three alerts and the heartbeat", func() bool { return len(am.alerts(t)) == 4 })
	seen := am.alerts(t)["a/high"]
	if fmt.Sprint(seen.Labels) != "map[alertname:burst identity:space/build-a key:a severity:high source:haptrail team:platform]" || seen.Fingerprint != fingerprint(seen.Labels) ||
		seen.Annotations["numbers"] != "expected=20.5 requests_10s=412" || seen.Generator != "https://grafana.example/d/bursts" || seen.StartsAt.Before(begin.Add(-time.Second)) {
		t.Errorf("have %+v", seen)
	}
	if _, ok := am.alerts(t)["/none"]; !ok {
		t.Error("no heartbeat")
	}
	eventually(t, "one message for the group", func() bool {
		return slices.ContainsFunc(hook.texts(), func(text string) bool {
			return strings.Count(text, `"status":"firing"`) == 4 && strings.Contains(text, `"key":"a"`) && strings.Contains(text, `"key":"b"`)
		})
	})
	a.Severity, a.Numbers = alert.Critical, map[string]float64{"requests_10s": 4000}
	if err := m.Update(a); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rise", func() bool {
		all := am.alerts(t)
		_, high := all["a/high"]
		return !high && all["a/critical"].Annotations["numbers"] == "requests_10s=4000" && len(all) == 4
	})
	for _, key := range []string{"a", "b"} {
		if err := m.Resolve(key, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the end", func() bool { return len(am.alerts(t)) == 2 })
	eventually(t, "the message that they are over", func() bool {
		return slices.ContainsFunc(hook.texts(), func(text string) bool { return strings.Contains(text, `"status":"resolved"`) })
	})
	if err := m.Test(t.Context(), "am"); err != nil {
		t.Error(err)
	}
	eventually(t, "the trial", func() bool { return len(am.alerts(t)) == 3 })
}

// Alertmanager refuses an alert from the future, and takes the others.
func TestAlertmanagerRefuses(t *testing.T) {
	am := runAlertmanager(t, "http://127.0.0.1:1/nobody")
	dir := t.TempDir()
	m := start(t, dir, alert.Channel{Name: "am", Sender: &Alertmanager{URL: am.url + "/"}, Limit: limitless})
	bad := small("bad")
	bad.StartsAt = time.Now().Add(24 * time.Hour)
	for _, one := range []alert.Alert{small("a"), bad, small("b"), small("c")} {
		if err := m.Fire(one); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the good ones", func() bool { return len(am.alerts(t)) >= 3 })
	eventually(t, "the dead letter", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "dead.journal"))
		return bytes.Contains(text, []byte(`"key":"bad"`)) && !bytes.Contains(text, []byte(`"key":"a"`))
	})
}

// Two replicas, one of them down: the other knows all at once, and the first when it
// comes back.
func TestReplicas(t *testing.T) {
	one := newService(t, 200, func(*http.Request, []byte) string { return "" })
	address := freeAddress(t)
	channels, err := Replicas("am", []string{one.URL, "http://" + address}, Alertmanager{}, alert.Channel{Limit: limitless})
	if err != nil || len(channels) != 2 || channels[0].Name != "am-1" || channels[1].Name != "am-2" {
		t.Fatalf("%+v, %v", channels, err)
	}
	m := start(t, t.TempDir(), channels...)
	if err := m.Fire(small("a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the alert at one", func() bool { return len(one.texts()) == 1 })
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Skip("the port was taken meanwhile:", err)
	}
	came := make(chan struct{}, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { came <- struct{}{} })}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	select {
	case <-came:
	case <-time.After(20 * time.Second):
		t.Error("the other was told nothing when it came back")
	}
	for _, bad := range []string{"", "am:9093", "ftp://am", "http://u:p@am", "http://am?x", "://"} {
		if _, err := Replicas("am", []string{bad}, Alertmanager{}, alert.Channel{}); err == nil {
			t.Errorf("%q is taken", bad)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("shows credentials: %v", err)
		}
	}
	if _, err := Replicas("am", nil, Alertmanager{}, alert.Channel{}); err == nil {
		t.Error("none is taken")
	}
}
