package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
)

// reportedAlerts is what the check says of channels.
func reportedAlerts(t *testing.T, channels ...config.AlertChannel) (text string, faults int) {
	t.Helper()
	var b strings.Builder
	r := &report{w: &b}
	checkAlerts(t.Context(), r, &config.Alerts{Channels: channels})
	return b.String(), r.faults
}

// TestCheckReceivers: an Alertmanager as it should be, and in each way in which it is
// not; the others are only connected to.
func TestCheckReceivers(t *testing.T) {
	t.Setenv("SESAME", "sesame-sesame-sesame")
	posts := atomic.Int32{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			posts.Add(1)
		}
		user, password, _ := r.BasicAuth()
		switch r.URL.Path {
		case "/-/ready", "/prefix/-/ready":
		case "/basic/-/ready":
			if user != "haptrail" || password != "sesame-sesame-sesame" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		case "/bearer/-/ready":
			if r.Header.Get("Authorization") != "Bearer sesame-sesame-sesame" {
				w.WriteHeader(http.StatusForbidden)
			}
		case "/starting/-/ready":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/broken/-/ready":
			w.WriteHeader(http.StatusBadGateway)
		case "/moved/-/ready":
			http.Redirect(w, r, "https://login.example.com/", http.StatusFound)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer receiver.Close()
	host := strings.TrimPrefix(receiver.URL, "http://")
	nobody := "http://127.0.0.1:" + freePort(t)
	am := func(paths ...string) config.AlertChannel {
		c := config.AlertChannel{Name: "am", Type: "alertmanager"}
		for _, path := range paths {
			c.URLs = append(c.URLs, receiver.URL+path)
		}
		return c
	}
	basic := am("/basic")
	basic.Username, basic.PasswordEnv = "haptrail", "SESAME"
	bearer := am("/bearer")
	bearer.TokenEnv = "SESAME"
	down := config.AlertChannel{Name: "am", Type: "alertmanager", URLs: []string{receiver.URL, nobody}}
	for name, c := range map[string]struct {
		channel config.AlertChannel
		faults  int
		want    []string
	}{
		"ready":           {channel: am("", "/prefix/"), want: []string{"ok     alerts channel am: " + host + " is an Alertmanager, and ready\n"}},
		"basic":           {channel: basic, want: []string{"ok     alerts channel am: "}},
		"bearer":          {channel: bearer, want: []string{"ok     alerts channel am: "}},
		"no credentials":  {channel: am("/basic"), faults: 1, want: []string{"FAULT  alerts channel am: " + host + " answers 401 Unauthorized to GET /basic/-/ready\n", "hint: are username and password_*"}},
		"no token":        {channel: am("/bearer"), faults: 1, want: []string{"answers 403 Forbidden", "hint: are username and password_*"}},
		"starting":        {channel: am("/starting"), faults: 1, want: []string{"answers 503 Service Unavailable", "hint: it is starting, or joining its cluster"}},
		"broken":          {channel: am("/broken"), faults: 1, want: []string{"answers 502 Bad Gateway", "hint: look at its log"}},
		"moved":           {channel: am("/moved"), faults: 1, want: []string{"answers 302 Found", "hint: write the address to which it leads"}},
		"another program": {channel: am("/what"), faults: 1, want: []string{"answers 404 Not Found to GET /what/-/ready", "its --web.route-prefix is missing in urls"}},
		"one is down":     {channel: down, faults: 1, want: []string{"ok     alerts channel am: " + host, "connection refused", "hint: does the Alertmanager run"}},
		"secret missing":  {channel: config.AlertChannel{Name: "am", Type: "alertmanager", URLs: []string{receiver.URL}, TokenFile: filepath.Join(t.TempDir(), "none")}, faults: 1, want: []string{"FAULT  alerts channel am: token_file: open ", "hint: write the secret there, and let the daemon's user read it"}},
		"webhook":         {channel: config.AlertChannel{Name: "hook", Type: "webhook", URL: receiver.URL + "/in"}, want: []string{"ok     alerts channel hook: " + host + " can be connected to; whether it takes alerts, shows: haptrail alerts test hook\n"}},
		"webhook down":    {channel: config.AlertChannel{Name: "hook", Type: "webhook", URL: nobody + "/sesame-path"}, faults: 1, want: []string{"FAULT  alerts channel hook: 127.0.0.1:", "connection refused", "hint: is its URL right"}},
		"key too short":   {channel: config.AlertChannel{Name: "hook", Type: "webhook", URL: receiver.URL, KeyFile: secretFile(t, "sesame")}, faults: 1, want: []string{"FAULT  alerts channel hook: key_file: the key in it has 6 bytes, and needs 16: make one with openssl rand -hex 32\n"}},
		"slack":           {channel: config.AlertChannel{Name: "chat", Type: "slack", URLFile: secretFile(t, receiver.URL+"/sesame-path")}, want: []string{"ok     alerts channel chat: " + host + " can be connected to"}},
		"slack down":      {channel: config.AlertChannel{Name: "chat", Type: "slack", URLFile: secretFile(t, nobody+"/sesame-path")}, faults: 1, want: []string{"connection refused"}},
		"heartbeats down": {channel: config.AlertChannel{Name: "hook", Type: "webhook", URL: receiver.URL, HeartbeatURLFile: secretFile(t, nobody+"/sesame-path")}, faults: 1, want: []string{"ok     alerts channel hook: " + host, "FAULT  alerts channel hook: 127.0.0.1:"}},
		"pagerduty":       {channel: config.AlertChannel{Name: "call", Type: "pagerduty", URL: receiver.URL, RoutingKeyFile: secretFile(t, strings.Repeat("sesame12", 4))}, want: []string{"ok     alerts channel call: " + host + " can be connected to"}},
		"routing key":     {channel: config.AlertChannel{Name: "call", Type: "pagerduty", URL: receiver.URL, RoutingKeyFile: secretFile(t, "sesame")}, faults: 1, want: []string{"FAULT  alerts channel call: routing_key_file: the key in it has 6 characters, and an integration key has 32"}},
	} {
		t.Run(name, func(t *testing.T) {
			text, faults := reportedAlerts(t, c.channel)
			holds(t, text, faults, c.faults, c.want...)
			if strings.Contains(text, "sesame") {
				t.Errorf("a secret is shown:\n%s", text)
			}
		})
	}
	if n := posts.Load(); n > 0 {
		t.Errorf("a check sent %d messages", n)
	}
	text, faults := reportedAlerts(t)
	holds(t, text, faults, 0, "warn   alerts: no channel is configured: of bursts and findings nobody is told")
}

// TestCheckInTheClear: credentials, and alerts, that others can read on their way.
func TestCheckInTheClear(t *testing.T) {
	t.Setenv("SESAME", "sesame-sesame-sesame")
	// 192.0.2.0/24 is of documentation (RFC 5737), and the context has ended: nothing
	// is sent.
	am := config.AlertChannel{Name: "am", Type: "alertmanager", URLs: []string{"http://192.0.2.1:9093"}, TokenEnv: "SESAME"}
	base, err := url.Parse(am.URLs[0])
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := checkReady(ctx, &report{w: &b}, &am, base); err == nil || !strings.Contains(err.Error(), "192.0.2.1:9093: ") || strings.Contains(err.Error(), "/-/ready") {
		t.Errorf("have error %v", err)
	}
	if have := b.String(); !strings.HasPrefix(have, "warn   alerts channel am: its credentials go out in plain HTTP: whoever is on the way to 192.0.2.1:9093 can read them") {
		t.Errorf("have %s", have)
	}
}

// TestPortOf: that of the URL, or of its scheme.
func TestPortOf(t *testing.T) {
	for text, want := range map[string]string{"http://h": "80", "https://h": "443", "https://h:8443/x": "8443", "http://[::1]:1": "1", "socks5://h": "1080", "socks5h://h": "1080"} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if have := portOf(u); have != want {
			t.Errorf("%s: have port %s, want %s", text, have, want)
		}
	}
}

// secretFile is a file with a secret in it.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
