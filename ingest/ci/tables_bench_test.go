package ci

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci/citest"
	"github.com/haptrail/haptrail/schema/schematest"
)

// benchBody is a workflow_run of GitHub, of about the size that they have, of its
// own run and commit.
func benchBody(i int64) []byte {
	return fmt.Appendf(nil, `{"action":"completed","workflow_run":{"id":%d,"name":"Deploy","run_number":%d,"run_attempt":1,"event":"push",
"status":"completed","conclusion":"success","path":".github/workflows/deploy.yml","head_branch":"main","head_sha":"%040x",
"created_at":"2026-11-23T10:00:00Z","run_started_at":"2026-11-23T10:00:05Z","updated_at":"2026-11-23T10:05:00Z",
"actor":{"login":"ada"},"triggering_actor":{"login":"ada"},
"head_commit":{"id":"%040x","message":"Ship it","timestamp":"2026-11-23T09:59:00Z","author":{"name":"Ada","email":"ada@example.com"},"committer":{"name":"GitHub","email":"noreply@github.com"}}},
"repository":{"full_name":"acme/web-shop","padding":"%04000d"}}`, 9_000_000_000+i, i, i, i, 0)
}

// cpuTime is what the process has used, the engine's threads included.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkWebhooksStored is webhooks of 64 senders: signature, JSON, merge and insert
// into the engine, on one core for Go. The engine has threads of its own: what all
// of them could do on one core is webhooks/core-s, whatever else the machine does.
func BenchmarkWebhooksStored(b *testing.B) {
	store := schematest.Open(b)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const secret, senders = "a secret", 64
	source, err := NewGitHub(GitHubConfig{Webhooks: []Secret{SecretValue(secret)}})
	if err != nil {
		b.Fatal(err)
	}
	receiver := &Receiver{Sources: map[string]Source{"github": source}, Store: NewTables(store)}
	bodies := make([][]byte, b.N)
	signatures := make([]string, b.N)
	for i := range bodies {
		bodies[i] = benchBody(int64(i))
		signatures[i] = citest.GitHubSignature(secret, bodies[i])
	}
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	before := cpuTime(b)
	for range senders {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				request := httptest.NewRequest(http.MethodPost, "/webhooks/github", bytes.NewReader(bodies[i]))
				request.Header.Set("Content-Type", "application/json")
				request.Header.Set("X-GitHub-Event", "workflow_run")
				request.Header.Set("X-Hub-Signature-256", signatures[i])
				answer := httptest.NewRecorder()
				if receiver.ServeHTTP(answer, request); answer.Code != http.StatusAccepted {
					b.Errorf("%d: %s", answer.Code, answer.Body)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	used := cpuTime(b) - before
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "webhooks/s")
	b.ReportMetric(float64(b.N)/used.Seconds(), "webhooks/core-s")
	var runs, commits uint64
	if err := store.Conn().QueryRow(b.Context(), "SELECT (SELECT count() FROM runs), (SELECT count() FROM commits)").Scan(&runs, &commits); err != nil || runs != uint64(b.N) || commits != uint64(b.N) {
		b.Errorf("%d runs and %d commits of %d webhooks: %v", runs, commits, b.N, err)
	}
}
