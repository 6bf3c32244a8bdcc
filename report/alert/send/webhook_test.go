package send

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

var hookKey = []byte("0123456789abcdef-key")

// webhookCheck is Alertmanager's documentation of webhook_config: each field is
// there, of its type; and ours of the signature.
func webhookCheck(r *http.Request, body []byte) string {
	if err := Verify(r.Header, body, hookKey, time.Now(), 5*time.Minute); err != nil {
		return err.Error()
	}
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		return err.Error()
	}
	fields := map[string]any{
		"version": "", "groupKey": "", "truncatedAlerts": 0.0, "status": "", "receiver": "", "groupLabels": map[string]any{},
		"commonLabels": map[string]any{}, "commonAnnotations": map[string]any{}, "externalURL": "", "alerts": []any{},
	}
	for name, like := range fields {
		if reflect.TypeOf(m[name]) != reflect.TypeOf(like) {
			return fmt.Sprintf("%s is %v", name, m[name])
		}
	}
	if m["version"] != "4" || len(m) != len(fields) {
		return fmt.Sprintf("version %v, %d fields", m["version"], len(m))
	}
	for _, one := range m["alerts"].([]any) {
		a := one.(map[string]any)
		if a["status"] != "firing" && a["status"] != "resolved" || a["labels"] == nil || a["annotations"] == nil || len(a["fingerprint"].(string)) != 16 {
			return fmt.Sprintf("alert %v", a)
		}
		for _, name := range []string{"startsAt", "endsAt"} {
			if _, err := time.Parse(time.RFC3339, a[name].(string)); err != nil {
				return name
			}
		}
	}
	return ""
}

func TestWebhook(t *testing.T) {
	service := newService(t, 204, webhookCheck)
	beats := newService(t, 200, webhookCheck)
	sender := &Webhook{URL: alert.SecretValue(service.URL + "/in"), Key: alert.SecretValue(string(hookKey)), HeartbeatURL: alert.SecretValue(beats.URL), ExternalURL: "https://grafana.example"}
	m := start(t, t.TempDir(), alert.Channel{Name: "hook", Sender: sender, Limit: limitless, Heartbeat: time.Second})
	a := small("a")
	a.Labels = map[string]string{"team": "x", "alertname": "not this", "identity": "nor this"}
	if err := m.Fire(a); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the alert", func() bool { return len(service.texts()) == 1 })
	a.Severity = alert.Critical
	if err := m.Update(a); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the update", func() bool { return len(service.texts()) == 2 })
	if err := m.Resolve("a", time.Time{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", func() bool { return len(service.texts()) == 3 })
	eventually(t, "two heartbeats", func() bool { return len(beats.texts()) > 1 })
	var states []string
	for _, text := range service.texts() {
		var b webhookBody
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			t.Fatal(err)
		}
		state := b.Status + ":"
		for _, a := range b.Alerts {
			state += fmt.Sprintf(" %s/%s", a.Labels["severity"], a.Status)
			if (a.Status == "firing") != a.EndsAt.IsZero() {
				t.Errorf("%s ends at %s", a.Status, a.EndsAt)
			}
		}
		states = append(states, state)
		last := b.Alerts[len(b.Alerts)-1]
		if l := last.Labels; l["alertname"] != "burst" || l["identity"] != "space/build-a" || l["team"] != "x" || l["key"] != "a" || l["source"] != "haptrail" || len(l) != 6 {
			t.Errorf("labels %v", l)
		}
		for name, value := range last.Labels {
			if strings.Contains(name+value, "412") {
				t.Errorf("a number is a label: %s=%s", name, value)
			}
		}
		if last.Annotations["numbers"] != "expected=20.5 requests_10s=412" || b.Receiver != "hook" || b.ExternalURL != "https://grafana.example" || b.CommonLabels["team"] != "x" {
			t.Errorf("have %s", text)
		}
	}
	if want := []string{"firing: high/firing", "firing: high/resolved critical/firing", "resolved: critical/resolved"}; !slices.Equal(states, want) {
		t.Errorf("have %q", states)
	}
}

// A thousand alerts are one message of a bounded size, with nothing left out but
// the details.
func TestWebhookMany(t *testing.T) {
	service := newService(t, 200, webhookCheck)
	sender := &Webhook{URL: alert.SecretValue(service.URL), Key: alert.SecretValue(string(hookKey))}
	m := alert.Message{Channel: "hook"}
	a := normalized(t, large(t))
	for i := range 1000 {
		one := a
		one.Key = fmt.Sprint("k", i)
		m.Notices = append(m.Notices, alert.Notice{State: alert.Fired, Alert: one})
	}
	if err := sender.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	text := service.texts()[0]
	if len(text) > 20<<20 || strings.Count(text, `"fingerprint"`) != 1000 || strings.Contains(text, `"evidence"`) {
		t.Errorf("%d bytes", len(text))
	}
}

func TestVerify(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	body, key := []byte(`{"a":1}`), []byte("key")
	timestamp := strconv.FormatInt(now.Unix(), 10)
	signed := func(signature string) http.Header {
		return http.Header{HeaderTimestamp: {timestamp}, HeaderSignature: {signature}}
	}
	good := "v1=" + Sign(key, timestamp, body)
	// printf '1800000000.{"a":1}' | openssl dgst -sha256 -hmac key
	if good != "v1=7330c9cf7d886970cbebbbb5494c04d2aeff06a990adb7d7a75abfeb0159d291" {
		t.Errorf("openssl says otherwise than %s", good)
	}
	for _, header := range []http.Header{signed(good), signed("v2=abc, " + good)} {
		if err := Verify(header, body, key, now.Add(time.Minute), 5*time.Minute); err != nil {
			t.Errorf("%v: %v", header, err)
		}
	}
	for name, err := range map[string]error{
		"another body":     Verify(signed(good), []byte(`{"a":2}`), key, now, time.Minute),
		"another key":      Verify(signed(good), body, []byte("other"), now, time.Minute),
		"old":              Verify(signed(good), body, key, now.Add(time.Hour), time.Minute),
		"of the future":    Verify(signed(good), body, key, now.Add(-time.Hour), time.Minute),
		"no headers":       Verify(http.Header{}, body, key, now, time.Minute),
		"no version":       Verify(signed(good[3:]), body, key, now, time.Minute),
		"no signature":     Verify(http.Header{HeaderTimestamp: {timestamp}}, body, key, now, time.Minute),
		"another time":     Verify(http.Header{HeaderTimestamp: {timestamp + "0"}, HeaderSignature: {good}}, body, key, time.Unix(now.Unix()*10, 0), time.Minute),
		"no such time":     Verify(http.Header{HeaderTimestamp: {"soon"}, HeaderSignature: {good}}, body, key, now, time.Minute),
		"far beyond int64": Verify(http.Header{HeaderTimestamp: {"-9223372036854775808"}, HeaderSignature: {good}}, body, key, now, time.Minute),
	} {
		if err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// What a receiver of haptrail's webhooks does.
func ExampleVerify() {
	key := []byte("the shared key, from a file")
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 32<<20))
		if err != nil {
			http.Error(w, "too long", http.StatusRequestEntityTooLarge)
			return
		}
		if err := Verify(r.Header, body, key, time.Now(), 5*time.Minute); err != nil {
			http.Error(w, "not verified", http.StatusUnauthorized)
			return
		}
		fmt.Println("verified")
	}))
	defer receiver.Close()

	body := []byte(`{"version":"4"}`)
	request, _ := http.NewRequest(http.MethodPost, receiver.URL, bytes.NewReader(body))
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	request.Header.Set(HeaderTimestamp, timestamp)
	request.Header.Set(HeaderSignature, "v1="+Sign(key, timestamp, body))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = response.Body.Close()
	// Output: verified
}
