package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/deploy/demo"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/schema/schematest"
)

func startDemoServers(t *testing.T) *demo.CI {
	t.Helper()
	servers, err := demo.StartCI(demo.CIOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { servers.Close() })
	return servers
}

// The section that the demo's daemon gets is one that a user could write.
func TestDemoSection(t *testing.T) {
	servers := startDemoServers(t)
	cfg := config.Default()
	cfg.CI = demoSection(servers)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	for i := range cfg.CI.Sources {
		s := &cfg.CI.Sources[i]
		if _, err := s.Source(config.Calls{}); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		if err := s.CheckSecrets(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		if !s.Polled() || !s.Hears() {
			t.Errorf("%s: polled=%t, hears=%t", s.Name, s.Polled(), s.Hears())
		}
	}
	if err := violations(servers); err != nil {
		t.Error(err)
	}
	response, err := http.Get(servers.URL("space") + "/api/http/no-such-call")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if err := violations(servers); err == nil || !strings.Contains(err.Error(), "space: ") {
		t.Errorf("a call that there is not, and no error that says so: %v", err)
	}
}

// With the configuration of docker-compose.yml haptrail takes every webhook of the
// world there, and knows the runs by them.
func TestComposeTakesTheWorldsWebhooks(t *testing.T) {
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	dir := edgetest.Root(t)
	servers, err := demo.StartCI(demo.CIOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Close()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "demo", "haptrail.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "haptrail.yaml")
	text = bytes.ReplaceAll(text, []byte("/world/"), []byte(dir+"/"))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]ci.Source{}
	for i := range cfg.CI.Sources {
		s := &cfg.CI.Sources[i]
		if sources[s.Name], err = s.Source(config.Calls{}); err != nil {
			t.Fatal(err)
		}
		if s.Polled() {
			t.Errorf("%s is polled, where no server answers", s.Name)
		}
	}
	store := schematest.Open(t)
	receiver := httptest.NewServer(&ci.Receiver{Sources: sources, Store: ci.NewTables(store)})
	defer receiver.Close()
	world, err := demo.Start(t.Context(), demo.Options{
		Dir: dir, LogAddress: edgetest.NewSink(t).Address(), Haproxy: binary, Duration: -1, Burst: 1,
		CI: servers, Webhooks: receiver.URL + "/webhooks",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	summary, err := world.Run(t.Context())
	err = errors.Join(err, world.TellLate(t.Context(), &summary))
	if err != nil { // every webhook that was not taken is in it
		t.Fatal(err)
	}
	for _, j := range summary.Jobs {
		if !j.Told {
			continue
		}
		var n uint64
		err := store.Conn().QueryRow(t.Context(), "SELECT count() FROM runs WHERE provider = ? AND project = ? AND run = ? AND status = ?",
			j.Provider, j.Project, j.Run, j.Status).Scan(&n)
		if err != nil || n != 1 {
			t.Errorf("job %q: %d such runs in the table (%v)", j.Name, n, err)
		}
	}
}

func TestShowRuns(t *testing.T) {
	jobs := []demo.JobResult{
		{Name: "a", Run: "1", Commit: "c1"}, {Name: "b", Run: "2", Commit: "c2"}, {Name: "c", Run: "3", Commit: "c2"},
		{Name: "d", Commit: "c1"}, {Name: "e", Commit: "c1"}, // nobody's runs
	}
	summary := demo.Summary{Jobs: jobs, Webhooks: demo.Webhooks{Sent: 12, Again: 2, Late: 3, Lost: 4}}
	if have := sharedCommit(summary); have != "c2" {
		t.Errorf("most runs are of c2, not %s", have)
	}
	var out strings.Builder
	showRuns(&out, summary, 10, []string{"a", "c"})
	for _, want := range []string{"10 webhooks", "3 of them late", "2 came twice", "4 were lost", "2 runs only a poll found: a, c."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, out.String())
		}
	}
}
