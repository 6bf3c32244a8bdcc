package ci_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// memory is a Store and Cursors.
type memory struct {
	mu sync.Mutex
	ledger
	cursor string
}

func (m *memory) Apply(_ context.Context, facts []ci.Fact) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apply(facts)
	return nil
}

func (m *memory) Load(context.Context, string) (string, error) { return m.cursor, nil }

// Save is called by the poller's goroutine alone, as Load is.
func (m *memory) Save(_ context.Context, _, cursor string) error {
	m.cursor = cursor
	return nil
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.runs)
}

// wire is a network without sockets, which time under synctest needs, to a fake
// whose world goes on with the clock. It can be cut.
type wire struct {
	fake *citest.GitHub
	mu   sync.Mutex
	cut  bool
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, errors.New("connection refused")
	}
	w.fake.Lock()
	w.fake.At = time.Now()
	w.fake.Unlock()
	answer := httptest.NewRecorder()
	w.fake.ServeHTTP(answer, r)
	return answer.Result(), nil
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

// GitHub is out of reach for an hour, and no webhook comes: the back-fill closes
// the gap.
func TestGitHubOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newGitHubWorld()
		time.Sleep(time.Until(clock(9))) // the outage is from minute 9 to 69, with most of what happens
		network := &wire{fake: fake}
		source, err := ci.NewGitHub(ci.GitHubConfig{Token: ci.SecretValue(githubToken), Repositories: []string{webShop}, Approvals: true, HTTP: &http.Client{Transport: network}})
		if err != nil {
			t.Fatal(err)
		}
		store := &memory{}
		var log bytes.Buffer
		poller := &ci.Poller{Sources: map[string]ci.Source{"github": source}, Store: store, Cursors: store, Metrics: ci.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- poller.Run(ctx) }()
		time.Sleep(30 * time.Second)
		network.set(true)
		if n := store.count(); n != 2 {
			t.Errorf("%d runs before the outage", n)
		}
		time.Sleep(time.Hour)
		if n := store.count(); n != 2 {
			t.Errorf("%d runs in the outage", n)
		}
		network.set(false)
		time.Sleep(6 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		store.same(t, &ledger{runs: wantRuns()})
		for _, violation := range fake.Violations() {
			t.Error(violation)
		}
		if !bytes.Contains(log.Bytes(), []byte("answers again")) || bytes.Contains(log.Bytes(), []byte(githubToken)) {
			t.Errorf("log:\n%s", &log)
		}
	})
}

// The figure is 1,000 a second on one core, signature checked:
//
//	go test -run '^$' -bench Webhooks -cpu 1 ./ingest/ci
func BenchmarkWebhooks(b *testing.B) {
	source := hookOnly(b, ci.SecretValue("an old one"), ci.SecretValue(githubWebhook))
	metrics := ci.NewMetrics(prometheus.NewRegistry())
	var bodies [2000][]byte
	var headers [2000]http.Header
	filler := bytes.Repeat([]byte(`{"url":"https://api.github.com/repos/acme/web-shop{/owner}","n":1},`), 300) // real ones have 20 kB of links
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, `{"action":"completed","links":[%s{}],"workflow_run":{"id":%d,"run_number":%d,"run_attempt":1,"path":".github/workflows/ci.yml","event":"push","status":"completed","conclusion":"success","head_branch":"main","head_sha":"%s",`+
			`"created_at":"2026-11-02T08:00:00Z","run_started_at":"2026-11-02T08:00:00Z","updated_at":"2026-11-02T08:10:00Z","actor":{"login":"sofia"},"head_commit":{"id":"%s","message":"Fix","timestamp":"2026-11-02T08:00:00Z","author":{"name":"S","email":"s@example.com"}}},"repository":{"full_name":"acme/web-shop"}}`,
			filler, i+1, i+1, sha("a"), sha("a"))
		headers[i] = citest.GitHubDelivery{Event: "workflow_run", Body: bodies[i]}.Header(githubWebhook)
	}
	b.SetBytes(int64(len(bodies[0])))
	b.ReportAllocs()
	var receiver *ci.Receiver
	for n := 0; b.Loop(); n++ {
		i := n % len(bodies)
		if i == 0 { // one that has seen none of them
			receiver = &ci.Receiver{Sources: map[string]ci.Source{"github": source}, Store: &memory{}, Metrics: metrics}
		}
		request := httptest.NewRequest(http.MethodPost, "/webhooks/github", bytes.NewReader(bodies[i]))
		request.Header = headers[i]
		w := httptest.NewRecorder()
		receiver.ServeHTTP(w, request)
		if w.Code != http.StatusAccepted {
			b.Fatal(w.Code)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "webhooks/s")
}
