package ci_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// Whatever fails, what was told before it is kept, and the next polls tell the
// rest.
func TestGitHubFaults(t *testing.T) {
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	reset := fmt.Sprint(time.Now().Add(30 * time.Minute).Unix())
	for name, row := range map[string]githubFault{
		"401 once":                   {fault: citest.Fault{Status: 401, Times: 1}},
		"401":                        {fault: citest.Fault{Status: 401}, want: ci.ErrRefused},
		"401 in the middle":          {fault: citest.Fault{Status: 401, After: 9}, want: ci.ErrRefused},
		"403":                        {fault: citest.Fault{Status: 403, Body: `{"message":"Resource not accessible by personal access token"}`}, want: ci.ErrRefused},
		"429 with Retry-After":       {fault: citest.Fault{Status: 429, RetryAfter: "7", Times: 1}, pauses: []time.Duration{7 * time.Second}},
		"429 without":                {fault: citest.Fault{Status: 429, Times: 2}, pauses: []time.Duration{time.Second, 2 * time.Second}},
		"429 for an hour":            {fault: citest.Fault{Status: 429, RetryAfter: "3600", After: 5}, limit: true},
		"429 without end":            {fault: citest.Fault{Status: 429, After: 5}, limit: true, pauses: []time.Duration{1e9, 2e9, 4e9, 8e9}},
		"secondary limit":            {fault: citest.Fault{Status: 403, RetryAfter: "30", Times: 1}, pauses: []time.Duration{30 * time.Second}},
		"secondary limit, by words":  {fault: citest.Fault{Status: 403, Body: `{"message":"You have exceeded a secondary rate limit."}`, Times: 1}, pauses: []time.Duration{time.Minute}},
		"primary limit":              {fault: citest.Fault{Status: 403, Header: header("X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", reset), After: 4}, limit: true},
		"500 once":                   {fault: citest.Fault{Status: 500, Times: 1}, pauses: []time.Duration{time.Second}},
		"500":                        {fault: citest.Fault{Status: 500, After: 11}, want: errAny},
		"cut off once":               {fault: citest.Fault{Truncate: true, Times: 1, After: 3}, pauses: []time.Duration{time.Second}},
		"cut off":                    {fault: citest.Fault{Truncate: true, After: 3}, want: ci.ErrMalformed},
		"not what it should be":      {fault: citest.Fault{Path: "/jobs", Status: 200, Body: `{"jobs":{}}`}, want: ci.ErrMalformed},
		"an id that is a text":       {fault: citest.Fault{Path: "/runs", Status: 200, Body: `{"workflow_runs":[{"id":"x"}]}`}, want: ci.ErrMalformed},
		"a login page":               {fault: citest.Fault{Status: 200, Body: `<html>`}, want: ci.ErrMalformed},
		"jobs that are gone":         {fault: citest.Fault{Path: "/jobs", Status: 404, Times: 1}},
		"a redirect to another host": {fault: citest.Fault{Status: 302, Header: header("Location", "http://localhost:1/x")}, want: ci.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			row.check(t, strings.Contains(name, "gone"))
		})
	}
}

// githubFault is a fault, and what a poll that meets it does.
type githubFault struct {
	fault  citest.Fault
	want   error           // of the first poll; nil: none
	limit  bool            // it is a LimitError
	pauses []time.Duration // the first
}

// check polls with the fault and again without. incomplete: whoever ran the jobs
// that are gone stays unknown.
func (row githubFault) check(t *testing.T, incomplete bool) {
	t.Helper()
	fake := newGitHubWorld()
	source, pauses := newGitHub(t, fake, nil)
	fake.Fail(row.fault)
	facts, cursor, err := source.Poll(t.Context(), clock(-60), "")
	limit := new(ci.LimitError)
	switch {
	case row.limit != errors.As(err, &limit):
		t.Errorf("limit: %v", err)
	case row.want == nil && !row.limit && err != nil, row.want != nil && err == nil, row.want != nil && row.want != errAny && !errors.Is(err, row.want):
		t.Errorf("have %v, want %v", err, row.want)
	}
	if row.limit && row.fault.RetryAfter == "3600" && limit.After != time.Hour {
		t.Errorf("limit of %v", limit.After)
	}
	if err != nil && strings.Contains(err.Error(), githubToken) {
		t.Errorf("the token in %v", err)
	}
	if len(*pauses) < len(row.pauses) {
		t.Fatalf("pauses %v, want %v", *pauses, row.pauses)
	}
	for i, want := range row.pauses {
		if (*pauses)[i] != want {
			t.Errorf("pauses %v, want %v", *pauses, row.pauses)
		}
	}
	if row.fault.After > 8 && len(facts) == 0 {
		t.Error("nothing was told before the failure")
	}
	fake.Heal()
	var have ledger
	have.apply(facts)
	again, _ := mustPoll(t, source, cursor)
	have.apply(again)
	want := wantRuns()
	if incomplete {
		for key, run := range have.runs {
			if run.Agent == "" {
				first := want[key]
				first.Agent = ""
				want[key] = first
			}
		}
	}
	have.same(t, &ledger{runs: want})
}

// errAny stands for an error that is none of the package's.
var errAny = errors.New("any")

// One repository that is gone or forbidden does not keep us from the others, and
// one at which a poll broke off is the next one's first.
func TestGitHubRepositories(t *testing.T) {
	fake := newGitHubWorld()
	source, _ := newGitHub(t, fake, func(c *ci.GitHubConfig) { c.Repositories = []string{"acme/gone", "acme/secret", webShop} })
	fake.Fail(citest.Fault{Path: "acme/gone", Status: 404})
	fake.Fail(citest.Fault{Path: "acme/secret", Status: 403})
	facts, cursor, err := source.Poll(t.Context(), clock(-60), "")
	var have ledger
	have.apply(facts)
	have.same(t, &ledger{runs: wantRuns()})
	if !errors.Is(err, ci.ErrNotFound) || !errors.Is(err, ci.ErrRefused) || !strings.Contains(err.Error(), "acme/gone") || !strings.Contains(err.Error(), "acme/secret") {
		t.Errorf("%v", err)
	}
	fake.Heal()
	fake.Fail(citest.Fault{Path: "acme/secret", Status: 429, RetryAfter: "600"})
	if _, cursor, err = source.Poll(t.Context(), clock(-60), cursor); err == nil {
		t.Error("no error")
	}
	fake.Heal()
	before := len(fake.Requests(""))
	if _, _, err = source.Poll(t.Context(), clock(-60), cursor); err != nil {
		t.Error(err)
	}
	if first := fake.Requests("")[before]; !strings.Contains(first, "acme/secret") {
		t.Errorf("the next poll began with %s", first)
	}
	// A cursor of another version, or none of ours, is from since on, again.
	for _, odd := range []string{"17", "{}", "not JSON", `{"repositories":{"acme/web-shop":{"from":"x"}}}`} {
		facts, _, err := source.Poll(t.Context(), clock(-60), odd)
		if err != nil || len(facts) == 0 {
			t.Errorf("%q: %d facts, %v", odd, len(facts), err)
		}
	}
}

// A run that is deleted while it goes on is not asked for for ever.
func TestGitHubDeleted(t *testing.T) {
	fake := newGitHubWorld()
	source, _ := newGitHub(t, fake, func(c *ci.GitHubConfig) { c.Reruns = time.Minute })
	_, cursor := mustPoll(t, source, "") // 1007 goes on, and the list does not go back to it
	fake.Lock()
	fake.Runs = slices.DeleteFunc(fake.Runs, func(r citest.GitHubRun) bool { return r.ID == 1007 })
	fake.Unlock()
	for range 3 {
		_, cursor = mustPoll(t, source, cursor)
	}
	if asked := fake.Requests("/runs/1007"); len(slices.DeleteFunc(asked, func(r string) bool { return !strings.HasSuffix(r, "/1007") })) != 1 {
		t.Errorf("asked %q", asked)
	}
}

func TestGitHubSlow(t *testing.T) {
	fake := newGitHubWorld()
	source, _ := newGitHub(t, fake, nil)
	hang := make(chan struct{})
	defer close(hang)
	fake.Fail(citest.Fault{Hang: hang, After: 6})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	facts, cursor, err := source.Poll(ctx, clock(-60), "")
	if !errors.Is(err, context.DeadlineExceeded) || len(facts) == 0 || cursor == "" {
		t.Errorf("%d facts, cursor %q, %v", len(facts), cursor, err)
	}
}

// appKey is a key as GitHub gives it, or as PKCS #8.
func appKey(t *testing.T, pkcs8 bool) (*rsa.PrivateKey, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if pkcs8 {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		block = &pem.Block{Type: "PRIVATE KEY", Bytes: der}
	}
	return key, string(pem.EncodeToMemory(block))
}

func TestGitHubApp(t *testing.T) {
	for name, row := range map[string]struct {
		pkcs8 bool
		skew  time.Duration
		asked int // tokens
	}{
		"PKCS 1":                        {asked: 1},
		"PKCS 8":                        {pkcs8: true, asked: 1},
		"a clock 10 minutes before us":  {skew: 10 * time.Minute, asked: 3},
		"a clock 10 minutes behind us":  {skew: -10 * time.Minute, asked: 3},
		"a clock half a minute behind":  {skew: -30 * time.Second, asked: 1},
		"a clock two hours before ours": {skew: 2 * time.Hour, asked: 3},
	} {
		t.Run(name, func(t *testing.T) {
			key, text := appKey(t, row.pkcs8)
			fake := newGitHubWorld()
			fake.Token, fake.App, fake.AppID, fake.Skew = "", &key.PublicKey, "12345", row.skew
			file := filepath.Join(t.TempDir(), "key.pem")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			source, _ := newGitHub(t, fake, func(c *ci.GitHubConfig) {
				c.Token, c.App = nil, &ci.GitHubApp{ID: "12345", Installation: "678", Key: ci.SecretFile(file)}
			})
			var all sync.WaitGroup
			for range 8 { // one token for all
				all.Go(func() {
					if _, err := source.Commit(t.Context(), webShop, sha("a")); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			var have ledger
			facts, _ := mustPoll(t, source, "")
			have.apply(facts)
			have.same(t, &ledger{runs: wantRuns()})
			if asked := fake.Requests("POST"); len(asked) != row.asked || !strings.HasSuffix(asked[0], "/app/installations/678/access_tokens") {
				t.Errorf("asked for tokens: %q", asked)
			}
			// revoked: another one
			fake.Lock()
			fake.Token = "ghs_another"
			fake.Unlock()
			if _, err := source.Commit(t.Context(), webShop, sha("b")); err != nil {
				t.Error(err)
			}
			if asked := fake.Requests("POST"); len(asked) != row.asked+1 {
				t.Errorf("asked for tokens: %q", asked)
			}
		})
	}
}

func TestGitHubAppRefused(t *testing.T) {
	_, text := appKey(t, false)
	other, _ := appKey(t, false)
	fake := newGitHubWorld()
	fake.App, fake.AppID = &other.PublicKey, "12345"
	for name, key := range map[string]ci.Secret{
		"another key": ci.SecretValue(text), "no PEM": ci.SecretValue("very secret"), "no key": ci.SecretValue("-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----"),
		"no file": ci.SecretFile(filepath.Join(t.TempDir(), "none")), "empty": ci.SecretValue(""),
	} {
		source, _ := newGitHub(t, fake, func(c *ci.GitHubConfig) {
			c.Token, c.App = nil, &ci.GitHubApp{ID: "12345", Installation: "678", Key: key}
		})
		facts, _, err := source.Poll(t.Context(), clock(-60), "")
		if err == nil || len(facts) > 0 || !strings.Contains(err.Error(), "app") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "another key" && !errors.Is(err, ci.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		for _, secret := range []string{"very secret", "c2VjcmV0", "PRIVATE KEY-----", text[40:80]} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %q in %v", name, secret, err)
			}
		}
	}
}

func TestGitHubConfig(t *testing.T) {
	secret := ci.SecretValue("s")
	app := func(change func(*ci.GitHubApp)) *ci.GitHubApp {
		a := &ci.GitHubApp{ID: "1", Installation: "2", Key: secret}
		change(a)
		return a
	}
	for want, config := range map[string]ci.GitHubConfig{
		"api":          {API: "http://ghe.example.com/api/v3"},
		"user out":     {API: "https://me:pass@ghe.example.com/api/v3"},
		"repositories": {Repositories: []string{"web-shop"}},
		"OWNER/NAME":   {Repositories: []string{"acme/web-shop/../x"}},
		"reruns":       {Reruns: 31 * 24 * time.Hour},
		"0":            {Reruns: -1},
		"webhooks":     {Webhooks: []ci.Secret{nil}},
		"one of them":  {Token: secret, App: app(func(*ci.GitHubApp) {})},
		"app: id":      {App: app(func(a *ci.GitHubApp) { a.ID = "" })},
		"installation": {App: app(func(a *ci.GitHubApp) { a.Installation = "x/../y" })},
		"app: key":     {App: app(func(a *ci.GitHubApp) { a.Key = nil })},
	} {
		if _, err := ci.NewGitHub(config); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "github: ") || strings.Contains(err.Error(), "pass") {
			t.Errorf("want %q, have %v", want, err)
		}
	}
	source, err := ci.NewGitHub(ci.GitHubConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(source); text != "github https://api.github.com" {
		t.Error(text)
	}
	if _, _, err := source.Poll(t.Context(), clock(0), ""); !errors.Is(err, ci.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := source.Run(t.Context(), webShop, "1"); !errors.Is(err, ci.ErrUnsupported) {
		t.Error(err)
	}
}

// No way of printing a source shows a secret.
func TestGitHubKeepsSecrets(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	config := ci.GitHubConfig{API: server.URL, Webhooks: []ci.Secret{ci.SecretValue(githubWebhook)}, Token: ci.SecretValue(githubToken)}
	source, err := ci.NewGitHub(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, value := range []any{config, source} {
			if text := fmt.Sprintf(format, value); strings.Contains(text, githubToken) || strings.Contains(text, githubWebhook) {
				t.Errorf("%s of %T: %s", format, value, text)
			}
		}
	}
}
