package main

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// reported is what the check says of a section.
func reported(t *testing.T, cfg config.Config) (text string, faults int) {
	t.Helper()
	var b strings.Builder
	r := &report{w: &b}
	checkCI(t.Context(), r, cfg)
	return b.String(), r.faults
}

// TestCheckSources: each server as it should be, and each way in which it is not,
// with what mends it.
func TestCheckSources(t *testing.T) {
	ahead := func(w *ciWorld, d time.Duration) {
		w.teamcity.Clock = func() time.Time { return time.Now().Add(d) }
	}
	for name, c := range map[string]struct {
		source string
		change func(*ciWorld, *config.CISource)
		faults int
		want   []string
	}{
		"space":    {source: "space", want: []string{"ok     ci source space: has space send its webhooks to /webhooks/space", "answers, and takes the credentials"}},
		"teamcity": {source: "teamcity", want: []string{"/webhooks/teamcity", "answers, and takes the credentials"}},
		"github":   {source: "github", want: []string{"/webhooks/github", "answers, and takes the credentials"}},
		"gitlab":   {source: "gitlab", want: []string{"/webhooks/gitlab", "answers, and takes the credentials"}},
		"no webhook secret": {
			source: "github", change: func(_ *ciWorld, s *config.CISource) { s.Webhook = config.CIWebhook{} },
			want: []string{"warn   ci source github: has no webhook secret", "takes the credentials"},
		},
		"no credentials": {
			source: "gitlab", change: func(_ *ciWorld, s *config.CISource) { *s = webhookOnly(*s) },
			want: []string{"warn   ci source gitlab: has no credentials for its API"},
		},
		"secret missing": {
			source: "github", change: func(w *ciWorld, s *config.CISource) { s.Webhook.SecretFile += "x" }, faults: 1,
			want: []string{"FAULT  ci source github: webhook.secret_file: open ", "hint: write the secret there, and let the daemon's user read it"},
		},
		"secret empty": {
			source: "github", change: func(w *ciWorld, _ *config.CISource) { w.secret(t, "github-webhook", "") }, faults: 1,
			want: []string{"FAULT  ci source github: webhook.secret_file: ", "is empty: write the secret into it\n"},
		},
		"space 401": {
			source: "space", change: func(w *ciWorld, _ *config.CISource) { w.space.ClientSecret = "another" }, faults: 1,
			want: []string{"FAULT  ci source space: ", "hint: are client_id and the secret", "Extensions, Installed"},
		},
		"space 403": {
			source: "space", change: func(w *ciWorld, _ *config.CISource) { w.space.Deny = []string{"graph-executions"} }, faults: 1,
			want: []string{"403", "hint: grant the application Automation.Execution.View, VcsRepository.Read and Applications.View"},
		},
		"teamcity 401": {
			source: "teamcity", change: func(w *ciWorld, _ *config.CISource) { w.teamcity.Token = "another" }, faults: 1,
			want: []string{"401", "hint: the access token is wrong or has run out", "Profile, Access Tokens"},
		},
		"teamcity 403": {
			source: "teamcity", change: func(w *ciWorld, _ *config.CISource) { w.teamcity.Fail(citest.Fault{Status: http.StatusForbidden}) }, faults: 1,
			want: []string{"403", "hint: give the token's account the role Project viewer"},
		},
		"github 401": {
			source: "github", change: func(w *ciWorld, _ *config.CISource) { w.github.Token = "another" }, faults: 1,
			want: []string{"401", "hint: the token is wrong or has run out", "Personal access tokens"},
		},
		"github 403": {
			source: "github", change: func(w *ciWorld, _ *config.CISource) { w.github.Fail(citest.Fault{Status: http.StatusForbidden}) }, faults: 1,
			want: []string{"403", "read Actions, Contents and Metadata"},
		},
		"github limit": {
			source: "github", change: func(w *ciWorld, _ *config.CISource) {
				w.github.Fail(citest.Fault{Status: http.StatusForbidden, Header: http.Header{"X-Ratelimit-Remaining": {"0"}}})
			}, faults: 1,
			want: []string{"answered 403", "hint: the server limits calls"},
		},
		"gitlab 401": {
			source: "gitlab", change: func(w *ciWorld, _ *config.CISource) { w.gitlab.Token = "another" }, faults: 1,
			want: []string{"401", "hint: the token is wrong, has run out or lacks the scope read_api"},
		},
		"gitlab 403": {
			source: "gitlab", change: func(w *ciWorld, _ *config.CISource) { w.gitlab.Fail(citest.Fault{Status: http.StatusForbidden}) }, faults: 1,
			want: []string{"403", "hint: give the token the role Reporter"},
		},
		"429": {
			source: "gitlab", change: func(w *ciWorld, _ *config.CISource) {
				w.gitlab.Fail(citest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "3"})
			}, faults: 1,
			want: []string{"answered 429 Too Many Requests", "hint: the server limits calls"},
		},
		"500": {
			source: "gitlab", change: func(w *ciWorld, _ *config.CISource) {
				w.gitlab.Fail(citest.Fault{Status: http.StatusInternalServerError})
			}, faults: 1,
			want: []string{"FAULT  ci source gitlab: gitlab http://127.0.0.1:", "answered 500 Internal Server Error"},
		},
		"another's page": {
			source: "teamcity", change: func(w *ciWorld, _ *config.CISource) {
				w.teamcity.Fail(citest.Fault{Status: http.StatusOK, Body: "<html>log in</html>"})
			}, faults: 1,
			want: []string{"FAULT  ci source teamcity: ", "what answers is not the API"},
		},
		"down": {
			source: "gitlab", change: func(_ *ciWorld, s *config.CISource) { s.URL = "http://127.0.0.1:" + freePort(t) }, faults: 1,
			want: []string{"connection refused", "hint: is its url right, and may this machine reach it?"},
		},
		"clock a little ahead": {
			source: "teamcity", change: func(w *ciWorld, _ *config.CISource) { ahead(w, 2*time.Minute) },
			want: []string{"warn   ci source teamcity clock: the server's clock is ", "before it is more than ci.slack (5m0s)"},
		},
		"clock far behind": {
			source: "teamcity", change: func(w *ciWorld, _ *config.CISource) { ahead(w, -10*time.Minute) }, faults: 1,
			want: []string{"FAULT  ci source teamcity clock: the server's clock is -", "more than ci.slack (5m0s)", "hint: synchronise both by NTP"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCIWorld(t)
			s := w.sources[c.source]
			if c.change != nil {
				c.change(w, &s)
			}
			text, faults := reported(t, w.config("", s))
			if faults != c.faults {
				t.Errorf("%d faults, want %d", faults, c.faults)
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q", want)
				}
			}
			if strings.Contains(text, c.source+"-token") || strings.Contains(text, "-secret\n") || strings.Contains(text, "space-secret") {
				t.Error("a secret is shown")
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// TestCheckIsCheap: three calls at most, and none again that failed.
func TestCheckIsCheap(t *testing.T) {
	w := newCIWorld(t)
	w.teamcity.Fail(citest.Fault{Status: http.StatusServiceUnavailable, RetryAfter: "30"})
	reported(t, w.config("", w.sources["space"], w.sources["teamcity"], w.sources["github"], w.sources["gitlab"]))
	for name, fake := range map[string]interface{ Requests(string) []string }{"space": w.space, "teamcity": w.teamcity, "github": w.github, "gitlab": w.gitlab} {
		if calls := fake.Requests(""); len(calls) < 1 || len(calls) > 2 || name == "teamcity" && len(calls) != 1 {
			t.Errorf("%s: %d calls: %q", name, len(calls), calls)
		}
	}
}

// TestCheckWebhookAddress: free, taken by a stranger, held by the running daemon,
// or by a daemon that does not know of it.
func TestCheckWebhookAddress(t *testing.T) {
	listen := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.Addr().String()
	}
	w := newCIWorld(t)
	taken, free := listen(), "127.0.0.1:"+freePort(t)
	for _, c := range []struct {
		ops, listen string
		faults      int
		want        string
	}{
		{"off", free, 0, "ok     ci.listen: " + free + " can be bound"},
		{"off", taken, 1, "hint: choose another address for ci.listen"},
		{taken, taken, 0, taken + ", held by the running daemon"},
		{taken, free, 1, "hint: restart it"},
		{"off", "off", 0, "ok     ci.listen: off"},
		{"off", "0.0.0.0:0", 0, "warn   ci.tls: is not set, and 0.0.0.0:0 is not loopback"},
	} {
		cfg := w.config("", webhookOnly(w.sources["github"]))
		cfg.HTTP, cfg.CI.Listen = c.ops, c.listen
		if text, faults := reported(t, cfg); faults != c.faults || !strings.Contains(text, c.want) {
			t.Errorf("%+v: have %d faults\n%s", c, faults, text)
		}
	}
	cfg := w.config("", webhookOnly(w.sources["github"]))
	cfg.HTTP, cfg.CI.TLS = "off", config.WebhookTLS{Cert: w.path("cert.pem"), Key: w.path("key.pem")}
	if text, faults := reported(t, cfg); faults != 1 || !strings.Contains(text, "FAULT  ci.tls: ") {
		t.Errorf("no certificate: have %d faults\n%s", faults, text)
	}
	writeCertificate(t, cfg.CI.TLS, 1)
	if text, faults := reported(t, cfg); faults != 0 || !strings.Contains(text, "ok     ci.tls: ") {
		t.Errorf("a certificate: have %d faults\n%s", faults, text)
	}
	cfg.CI.Sources = nil
	if text, _ := reported(t, cfg); text != "" {
		t.Errorf("without sources there is nothing to say, have %s", text)
	}
}
