package send

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// The answers of a receiver, and what a lane makes of them.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		status int
		header string
		want   error // nil: none, or a LaterError
		after  time.Duration
	}{
		{200, "", nil, 0}, {202, "", nil, 0}, {204, "", nil, 0},
		{301, "", alert.ErrMisdirected, 0}, {307, "", alert.ErrMisdirected, 0},
		{400, "", alert.ErrRefused, 0}, {413, "", alert.ErrRefused, 0}, {422, "", alert.ErrRefused, 0},
		{401, "", alert.ErrMisdirected, 0}, {403, "", alert.ErrMisdirected, 0}, {404, "", alert.ErrMisdirected, 0}, {410, "", alert.ErrMisdirected, 0}, {403, "30", alert.ErrMisdirected, 30 * time.Second},
		{408, "", nil, 0}, {429, "30", nil, 30 * time.Second}, {429, "soon", nil, 0}, {429, "-1", nil, 0}, {500, "", nil, 0}, {503, "Mon, 23 Nov 2026 12:01:00 GMT", nil, time.Minute},
	} {
		t.Run(fmt.Sprint(test.status, test.header), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", "Mon, 23 Nov 2026 12:00:00 GMT")
				w.Header().Set("Retry-After", test.header)
				w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
				w.WriteHeader(test.status)
				fmt.Fprint(w, "the\nreason\x1b")
			}))
			defer server.Close()
			err := call{url: server.URL + "/hook", body: []byte("{}")}.post(t.Context())
			later := new(alert.LaterError)
			switch {
			case test.status < 300:
				if err != nil {
					t.Errorf("have %v", err)
				}
			case test.want != nil:
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), fmt.Sprint(test.status)) || !strings.Contains(err.Error(), "the reason") {
					t.Errorf("have %v", err)
				}
				if errors.As(err, &later) != (test.after > 0) || later.After != test.after {
					t.Errorf("it asks for %s, have %#v", test.after, err)
				}
			case !errors.As(err, &later) || later.After != test.after:
				t.Errorf("have %#v", err)
			}
		})
	}
}

// senders are all that have secrets, with a receiver at this address.
func senders(base string) map[string]alert.Sender {
	secret := func(value string) alert.Secret { return alert.SecretValue(value) }
	return map[string]alert.Sender{
		"pagerduty":    &PagerDuty{RoutingKey: secret(routing), URL: base},
		"slack":        &Slack{URL: secret(base + "/services/T00SECRET/B00SECRET/xyzSECRETxyz")},
		"webhook":      &Webhook{URL: secret(base + "/hook?token=tokSECRETtok"), Key: secret("hmacSECRETSECRET")},
		"password":     &Webhook{URL: secret(strings.Replace(base, "://", "://user:passSECRET@", 1) + "/hook")},
		"alertmanager": &Alertmanager{URL: base, Username: "u", Password: secret("amSECRETam")},
		"token":        &Alertmanager{URL: base, Token: secret("tokenSECRET")},
	}
}

// notebook is a log, and tells when its first line is there.
type notebook struct {
	strings.Builder
	said chan struct{}
}

func (n *notebook) Write(p []byte) (int, error) { // a slog handler calls it under its lock
	if n.Len() == 0 {
		defer close(n.said)
	}
	return n.Builder.Write(p)
}

// No error, no log and no dead letter shows a secret: whether nobody listens, the
// receiver hangs up, hangs, or answers with what it was sent.
func TestNoSecretIsShown(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		fmt.Fprint(w, r.URL.String(), " ", r.Header.Get("Authorization"), " ")
		_ = r.Write(w)
	}))
	defer echo.Close()
	hangup := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer hangup.Close()
	stuck, err := net.Listen("tcp", "127.0.0.1:0") // never accepts
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	for where, base := range map[string]string{
		"echo": echo.URL, "hang-up": hangup.URL, "stuck": "http://" + stuck.Addr().String(), "nobody": "http://127.0.0.1:1",
		"no URL": "://127.0.0.1", "odd port": "http://127.0.0.1:x",
	} {
		for name, sender := range senders(base) {
			t.Run(where+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				log := notebook{said: make(chan struct{})}
				m, err := alert.Open(alert.Options{Dir: dir, Channels: []alert.Channel{{Name: "c", Sender: sender, Timeout: 200 * time.Millisecond}}, Log: slog.New(slog.NewJSONHandler(&log, nil)), Collect: time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				trial := m.Test(t.Context(), "c")
				if trial == nil {
					t.Error("it succeeded")
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if err := m.Fire(small("a")); err != nil {
					t.Error(err)
				}
				go func() {
					select {
					case <-log.said:
					case <-time.After(20 * time.Second):
					}
					cancel()
				}()
				_ = m.Run(ctx)
				_ = m.Close()
				dead, _ := os.ReadFile(filepath.Join(dir, "dead.journal"))
				box, _ := os.ReadFile(filepath.Join(dir, "alerts.journal"))
				shown := fmt.Sprintf("%v %+v %#v %v %s %s %s", trial, trial, trial, errors.Unwrap(trial), log.String(), dead, box)
				if strings.Contains(shown, "SECRET") || strings.Contains(shown, routing) {
					t.Errorf("a secret is shown: %s", shown)
				}
				if where == "stuck" && !errors.Is(trial, context.DeadlineExceeded) {
					t.Errorf("have %v", trial)
				}
				if len(log.String()) == 0 {
					t.Error("nothing was said")
				}
			})
		}
	}
}

// A secret that cannot be read is for a person to mend; in a file it can be rotated.
func TestSecrets(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	for _, sender := range []alert.Sender{
		&PagerDuty{}, &Slack{}, &Webhook{}, &PagerDuty{RoutingKey: alert.SecretFile(name)}, &Slack{URL: alert.SecretEnv("HAPTRAIL_NO_SUCH")},
		&Webhook{URL: alert.SecretValue("http://127.0.0.1:1"), Key: alert.SecretValue("short")}, &PagerDuty{RoutingKey: alert.SecretValue("short")},
		&Alertmanager{URL: "http://127.0.0.1:1", Token: alert.SecretValue("")}, &Alertmanager{URL: "http://127.0.0.1:1", Password: alert.SecretFile(name)}, &Alertmanager{},
	} {
		err := sender.Send(t.Context(), alert.Message{Purpose: alert.Trial, Notices: []alert.Notice{{State: alert.Fired, Alert: small("a")}}})
		if !errors.Is(err, alert.ErrMisdirected) {
			t.Errorf("%T: %v", sender, err)
		}
	}
	service := newService(t, 202, pagerDutyCheck)
	sender := &PagerDuty{RoutingKey: alert.SecretFile(name), URL: service.URL}
	trial := alert.Message{Purpose: alert.Trial, Notices: []alert.Notice{{State: alert.Fired, Alert: small("a")}}}
	if err := os.WriteFile(name, []byte(routing+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), trial); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(name, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), trial); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("have %v", err)
	}
	t.Setenv("HAPTRAIL_SUCH", " "+routing)
	sender.RoutingKey = alert.SecretEnv("HAPTRAIL_SUCH")
	if err := sender.Send(t.Context(), trial); err != nil {
		t.Error(err)
	}
}
