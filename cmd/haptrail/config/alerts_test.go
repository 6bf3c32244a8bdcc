package config

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/report/alert/send"
)

// TestEverythingOfAlerts reads a file in which each field of a channel is set for a
// type that takes it: each reaches its place, and each path is taken from the file's
// folder.
func TestEverythingOfAlerts(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	c, err := Load("testdata/good.everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	a := &c.Alerts
	if have := fmt.Sprintf("%s %s %s %s", a.ExternalURL, a.Findings, a.Bursts, a.Keep); have != "https://grafana.example.com/d/haptrail critical medium 168h0m0s" {
		t.Errorf("have %s", have)
	}
	seen := map[string]bool{}
	for i := range a.Channels {
		for _, key := range setKeys(reflect.ValueOf(&a.Channels[i]).Elem(), "") {
			seen[key], seen[withoutWay(key)] = true, true
		}
	}
	for key := range alertFields {
		if !seen[key] {
			t.Errorf("%s is set for no channel", key)
		}
	}
	ch := a.Channels
	for want, have := range map[string]string{
		"testdata/secrets/alertmanager": ch[0].PasswordFile, "testdata/secrets/alertmanager-token": ch[1].TokenFile,
		"testdata/secrets/pagerduty": ch[2].RoutingKeyFile, "testdata/secrets/slack": ch[3].URLFile,
		"testdata/secrets/siem": ch[5].KeyFile, "testdata/secrets/heartbeat": ch[5].HeartbeatURLFile, "testdata/secrets/hook": ch[6].URLFile,
	} {
		if have != want {
			t.Errorf("have %s, want %s", have, want)
		}
	}
}

// TestSenders: the channels as package alert takes them, which takes them all.
func TestSenders(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	c, err := Load("testdata/good.everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []alert.Channel
	for i := range c.Alerts.Channels {
		channels, err := c.Alerts.Channels[i].Senders(c.Alerts.ExternalURL)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, channels...)
	}
	manager, err := alert.Open(alert.Options{Dir: t.TempDir(), Channels: all, Keep: time.Duration(c.Alerts.Keep)})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	var have []string
	for _, ch := range all {
		line := fmt.Sprintf("%s %T %s %d/%d %s %s", ch.Name, ch.Sender, ch.MinSeverity, ch.Limit.PerMinute, ch.Limit.Burst, ch.Timeout, ch.Heartbeat)
		switch s := ch.Sender.(type) {
		case *send.Alertmanager:
			line += fmt.Sprint(" ", s.URL, " ", s.Username, s.Password != nil, s.Token != nil)
		case *send.PagerDuty:
			line += fmt.Sprint(" ", s.URL, " ", s.RoutingKey != nil)
		case *send.Slack:
			line += fmt.Sprint(" ", s.URL != nil)
		case *send.Webhook:
			line += fmt.Sprint(" ", s.ExternalURL, " ", s.URL != nil, s.Key != nil, s.HeartbeatURL != nil)
		}
		have = append(have, line)
	}
	none := alert.Severity(0).String()
	want := []string{
		"cluster-1 *send.Alertmanager low 30/2 5s 1m0s http://am-0:9093 haptrailtrue false",
		"cluster-2 *send.Alertmanager low 30/2 5s 1m0s https://am-1:9093/prefix/ haptrailtrue false",
		"proxied *send.Alertmanager " + none + " 62/2 0s 0s https://am.example.com false true",
		"on-call *send.PagerDuty critical 2/1 0s 0s https://events.eu.pagerduty.com true",
		"chat *send.Slack " + none + " 5/2 1m0s 0s true",
		"chat-2 *send.Slack " + none + " 5/2 0s 0s true",
		"siem *send.Webhook " + none + " 62/2 0s 30s https://grafana.example.com/d/haptrail true true true",
		"hook *send.Webhook " + none + " 600/2 0s 0s https://grafana.example.com/d/haptrail true true false",
	}
	if !slices.Equal(have, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	if _, err := (&AlertChannel{Name: "x", Type: "email"}).Senders(""); err == nil || !strings.Contains(err.Error(), `channel x: type "email" is none of alertmanager,`) {
		t.Errorf("an unknown type: have error %v", err)
	}
}

// TestFieldsOfTypes: the table has every key of a channel, and a key that is not the
// type's is a fault, whatever else is set.
func TestFieldsOfTypes(t *testing.T) {
	everybodys := []string{"name", "type", "min_severity", "per_minute", "timeout"}
	known := map[string]bool{}
	for key := range alertFields {
		known[key] = true
	}
	values := map[string]string{"urls": "[\"http://h\"]", "url": "\"https://h/x\"", "heartbeat": "1m"}
	channel := reflect.TypeFor[AlertChannel]()
	for i := range channel.NumField() {
		key := channel.Field(i).Tag.Get("yaml")
		if slices.Contains(everybodys, key) {
			continue
		}
		takers, ok := alertFields[key]
		if !ok {
			takers, ok = alertFields[withoutWay(key)]
			delete(known, withoutWay(key))
		}
		delete(known, key)
		if !ok {
			t.Errorf("the table lacks %s", key)
		}
		value := values[key]
		if value == "" {
			value = "A"
		}
		for _, kind := range alertTypes {
			_, err := Parse([]byte("alerts:\n  channels:\n    - name: a\n      type: " + kind + "\n      " + key + ": " + value + "\n"))
			refused := err != nil && (strings.Contains(err.Error(), key+": is a field of ") || strings.Contains(err.Error(), key+": is a secret, "))
			if refused == slices.Contains(takers, kind) {
				t.Errorf("%s with %s: have error %v", kind, key, err)
			}
		}
	}
	if len(known) > 0 {
		t.Errorf("no field of a channel: %v", slices.Collect(maps.Keys(known)))
	}
}

// TestCheckChannelSecrets names the key of a secret that cannot be used, and shows
// none.
func TestCheckChannelSecrets(t *testing.T) {
	dir := t.TempDir()
	secret := func(text string) string {
		f, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	t.Setenv("ALERT_SECRET", strings.Repeat("SESAME", 5)+"xx")
	for _, c := range []struct {
		channel AlertChannel
		want    string
	}{
		{AlertChannel{Type: slack, URLFile: secret("https://hooks.example.com/SESAME\n")}, ""},
		{AlertChannel{Type: slack, URLFile: secret("http://127.0.0.1:1/SESAME")}, ""},
		{AlertChannel{Type: slack, URLFile: secret("http://hooks.example.com/SESAME")}, "url_file: the URL in it must be https"},
		{AlertChannel{Type: slack, URLFile: secret("hooks.example.com/SESAME")}, "url_file: what it holds is no URL"},
		{AlertChannel{Type: slack, URLFile: secret("https://\x7fSESAME")}, "url_file: what it holds is no URL"},
		{AlertChannel{Type: slack, URLFile: filepath.Join(dir, "none")}, "url_file: open "},
		{AlertChannel{Type: slack, URLEnv: "UNSET_ALERT_SECRET"}, "url_env: the environment variable UNSET_ALERT_SECRET is empty"},
		{AlertChannel{Type: webhook, URLFile: secret("http://hooks.example.com/SESAME")}, ""},
		{AlertChannel{Type: webhook, URL: "https://h/x", KeyFile: secret("SESAMESESAMESES")}, "key_file: the key in it has 15 bytes, and needs 16"},
		{AlertChannel{Type: webhook, URL: "https://h/x", KeyFile: secret("SESAMESESAMESESA\n")}, ""},
		{AlertChannel{Type: webhook, URL: "https://h/x", KeyFile: secret("\n")}, "key_file: "},
		{AlertChannel{Type: webhook, URL: "https://h/x", KeyFile: secret("SESAME\nSESAME")}, "key_file: key_file leads to 2 lines of text"},
		{AlertChannel{Type: webhook, URL: "https://h/x", HeartbeatURLFile: secret("SESAME")}, "heartbeat_url_file: what it holds is no URL"},
		{AlertChannel{Type: pagerduty, RoutingKeyEnv: "ALERT_SECRET"}, ""},
		{AlertChannel{Type: pagerduty, RoutingKeyFile: secret("SESAME")}, "routing_key_file: the key in it has 6 characters, and an integration key has 32"},
		{AlertChannel{Type: alertmanager, Username: "u", PasswordFile: secret("SESAME")}, ""},
		{AlertChannel{Type: alertmanager, TokenFile: dir}, "token_file: read "},
		{AlertChannel{Type: alertmanager}, ""},
	} {
		err := c.channel.CheckSecrets()
		if !complains(err, c.want) || err != nil && strings.Contains(err.Error(), "SESAME") {
			t.Errorf("%+v: have error %v, want %q", c.channel, err, c.want)
		}
	}
}

// TestChannelErrorsShowNoURL: nor a secret that stands where the way to it should.
func TestChannelErrorsShowNoURL(t *testing.T) {
	for _, kind := range alertTypes {
		for _, line := range []string{
			`url: "https://u:SESAME@h"`, `url: "https://h/?token=SESAME"`, `url: "ht tp://SESAME"`, `urls: ["https://u:SESAME@h", "https://u:SESAME@h"]`,
			`urls: ["https://h:SESAME"]`, `url_file: "https://h/SESAME"`, `url_env: "https://h/SESAME"`, `routing_key: SESAME`, `key: SESAME`, `token: SESAME`, `password: SESAME`,
			`key_env: "SESAME+/="`,
		} {
			text := "alerts:\n  channels:\n    - name: a\n      type: " + kind + "\n      " + line + "\n"
			if _, err := Parse([]byte(text)); err == nil && !(kind == webhook && strings.HasSuffix(line, `token=SESAME"`)) || err != nil && strings.Contains(err.Error(), "SESAME") {
				t.Errorf("%s: have error %v", text, err)
			}
		}
	}
}

// TestSecretsOfSenders: they are read when something is sent, so that a file may be
// rotated under a running daemon, and one that has become wrong is told from a
// receiver that fails.
func TestSecretsOfSenders(t *testing.T) {
	var asked []string
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	defer receiver.Close()
	file := filepath.Join(t.TempDir(), "secret")
	put := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	try := func(c AlertChannel) error {
		c.Name = "c"
		channels, err := c.Senders("")
		if err != nil || len(channels) != 1 {
			t.Fatalf("%d channels, error %v", len(channels), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return channels[0].Sender.Send(ctx, alert.Message{Channel: "c", Purpose: alert.Trial, Notices: []alert.Notice{{State: alert.Fired, Alert: alert.Alert{Key: "k", Kind: "t", Title: "t", StartsAt: time.Now()}}}})
	}
	chat := AlertChannel{Type: slack, URLFile: file}
	put(receiver.URL + "/one\n")
	if err := try(chat); err != nil {
		t.Error(err)
	}
	put(receiver.URL + "/two")
	if err := try(chat); err != nil {
		t.Error(err)
	}
	put("http://hooks.example.com/SESAME")
	if err := try(chat); !complains(err, "the URL in it must be https") || !strings.Contains(err.Error(), alert.ErrMisdirected.Error()) || strings.Contains(err.Error(), "SESAME") {
		t.Errorf("have error %v", err)
	}
	put("TOKEN")
	if err := try(AlertChannel{Type: alertmanager, URLs: []string{receiver.URL}, TokenFile: file}); err != nil {
		t.Error(err)
	}
	if want := []string{"/one ", "/two ", "/api/v2/alerts Bearer TOKEN"}; !slices.Equal(asked, want) {
		t.Errorf("have %q, want %q", asked, want)
	}
}

// TestLimitOfChannel: whatever per_minute is, what comes out of it is a limit that
// package alert takes.
func TestLimitOfChannel(t *testing.T) {
	for _, n := range []int{0, leastPerMinute, 3, 61, mostPerMinute} {
		for _, c := range []AlertChannel{
			{Type: alertmanager, URLs: []string{"http://h"}}, {Type: pagerduty, RoutingKeyEnv: "R"}, {Type: slack, URLEnv: "U"}, {Type: webhook, URL: "http://h"},
		} {
			c.Name, c.PerMinute = "c", n
			channels, err := c.Senders("")
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 && channels[0].Limit.PerMinute != n {
				t.Errorf("%s: have %+v, want %d", c.Type, channels[0].Limit, n)
			}
			m, err := alert.Open(alert.Options{Dir: t.TempDir(), Channels: channels})
			if err != nil {
				t.Errorf("%s with %d: %v", c.Type, n, err)
				continue
			}
			_ = m.Close()
		}
	}
}

// TestTargets: where a channel sends to, as the secrets say now.
func TestTargets(t *testing.T) {
	t.Setenv("HOOK_URL", "https://hooks.example.com/SESAME")
	t.Setenv("BEAT_URL", "https://beats.example.com/SESAME")
	t.Setenv("NO_URL", "SESAME")
	for _, c := range []struct {
		channel AlertChannel
		want    string // hosts, or the error
	}{
		{AlertChannel{Type: alertmanager, URLs: []string{"http://a:9093", "https://b/prefix"}}, "[a:9093 b]"},
		{AlertChannel{Type: pagerduty}, "[events.pagerduty.com]"},
		{AlertChannel{Type: pagerduty, URL: "https://events.eu.pagerduty.com"}, "[events.eu.pagerduty.com]"},
		{AlertChannel{Type: slack, URLEnv: "HOOK_URL"}, "[hooks.example.com]"},
		{AlertChannel{Type: webhook, URL: "http://siem/x"}, "[siem]"},
		{AlertChannel{Type: webhook, URLEnv: "HOOK_URL", HeartbeatURLEnv: "BEAT_URL"}, "[hooks.example.com beats.example.com]"},
		{AlertChannel{Type: slack, URLEnv: "UNSET_URL"}, "the environment variable UNSET_URL is empty"},
		{AlertChannel{Type: webhook, URLEnv: "NO_URL"}, "what it holds is no URL"},
		{AlertChannel{Type: webhook, URL: "http://siem/x", HeartbeatURLEnv: "NO_URL"}, "what it holds is no URL"},
	} {
		targets, err := c.channel.Targets()
		var hosts []string
		for _, u := range targets {
			hosts = append(hosts, u.Host)
		}
		have := fmt.Sprint(hosts)
		if err != nil {
			have = err.Error()
		}
		if !strings.HasPrefix(have, c.want) || strings.Contains(have, "SESAME") {
			t.Errorf("%+v: have %s, want %s", c.channel, have, c.want)
		}
	}
}

// TestAuthorize: the header that the channel's sender has, too.
func TestAuthorize(t *testing.T) {
	t.Setenv("ALERT_SECRET", "sesame")
	for _, c := range []struct {
		channel AlertChannel
		header  string
		given   bool
		err     string
	}{
		{channel: AlertChannel{}},
		{channel: AlertChannel{Username: "u", PasswordEnv: "ALERT_SECRET"}, given: true, header: "Basic dTpzZXNhbWU="},
		{channel: AlertChannel{TokenEnv: "ALERT_SECRET"}, given: true, header: "Bearer sesame"},
		{channel: AlertChannel{TokenEnv: "UNSET_ALERT_SECRET"}, given: true, err: "UNSET_ALERT_SECRET is empty"},
		{channel: AlertChannel{Username: "u", PasswordFile: "/nowhere/secret"}, given: true, err: "no such file"},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://h/", nil)
		given, err := c.channel.Authorize(r)
		if have := r.Header.Get("Authorization"); given != c.given || have != c.header || !complains(err, c.err) {
			t.Errorf("%+v: have %t, %q, error %v", c.channel, given, have, err)
		}
	}
}
