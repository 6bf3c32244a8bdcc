package main

import (
	"context"
	"encoding/json"
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

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/schema/schematest"
)

// hook is a receiver of alerts that keeps which faults began and ended there, in order:
// "+TITLE" and "-TITLE".
type hook struct {
	*httptest.Server
	mu   sync.Mutex
	told []string
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			Alerts []struct {
				Status              string
				Labels, Annotations map[string]string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, a := range body.Alerts {
			if a.Labels["alertname"] == "fault" {
				h.told = append(h.told, map[string]string{"firing": "+", "resolved": "-"}[a.Status]+a.Annotations["summary"])
			}
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) times(what string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, told := range h.told {
		if told == what {
			n++
		}
	}
	return n
}

// startHasty is a daemon that tells of the gate's faults without delay.
func startHasty(t *testing.T, cfg config.Config) *testDaemon {
	t.Helper()
	logs := &logBuffer{}
	log, level := newLogger(cfg.Log, logs)
	ready, done := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	d := &testDaemon{t: t, logs: logs, server: &server{cfg: cfg, log: log, level: level}}
	d.ready = func() {
		if d.gate != nil {
			d.gate.tell(d.bursts.desk, 0)
			d.gate.every = 50 * time.Millisecond
		}
		close(ready)
	}
	d.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("the daemon ended with: %v", err)
		}
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", logs)
		}
	})
	go func() { done <- d.server.run(ctx) }()
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("the daemon does not become ready")
	}
	return d
}

// gateFaults is a gate, the configuration of its daemon, and who is told.
type gateFaults struct {
	gatedTest
	t    *testing.T
	cfg  config.Config
	hook *hook
}

func startGateFaults(t *testing.T) *gateFaults {
	schematest.NeedEngine(t)
	edgetest.Binary(t)
	root, signer := edgetest.Root(t), edgetest.NewSigner(t, "one", jose.RS256, 0)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks.json"), signer)
	f := &gateFaults{t: t, cfg: testConfig(t.TempDir()), hook: newHook(t)}
	f.gatedTest = gatedTest{Gate: edgetest.Start(t, root, fmt.Sprintf(edgePolicy, "127.0.0.1:5514"), edgetest.Options{Master: true}), t: t, signer: signer}
	f.cfg.Edge = &config.Edge{Policy: filepath.Join(root, "policy.yaml"), Dir: filepath.Join(root, "gate"), Sockets: f.Sockets, Master: f.Master, Files: f.Configs, KeySchedule: "@every 24h"}
	f.cfg.Alerts.Channels = []config.AlertChannel{{Name: "hook", Type: "webhook", URL: f.hook.URL}}
	f.cfg.Bursts.Off = true
	return f
}

// wait waits until people were told of all that so many times, refreshing the keys again
// and again if poke says so.
func (f *gateFaults) wait(d *testDaemon, poke bool, want map[string]int) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("told %v", want), func() bool {
		if poke {
			d.gate.refresh()
		}
		for what, n := range want {
			if f.hook.times(what) != n {
				return false
			}
		}
		return true
	})
}

func (f *gateFaults) write(file, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.Root, file), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// TestDaemonTellsOfTheGate: an issuer that fails, a HAProxy that cannot be brought to
// the keys and a faulty policy are told once each, over restarts, and so is their end.
func TestDaemonTellsOfTheGate(t *testing.T) {
	const (
		issuer  = "Keys of issuer hub cannot be fetched"
		unknown = "HAProxy does not have its issuers' keys as they are now"
		faulty  = "policy.yaml is faulty: the policy stays as it was"
	)
	f := startGateFaults(t)
	d := startHasty(t, f.cfg)
	good, err := os.ReadFile(f.cfg.Edge.Policy)
	if err != nil {
		t.Fatal(err)
	}
	f.write("policy.yaml", "version: 1\nnonsense: here\n")
	f.wait(d, true, map[string]int{"+" + faulty: 1})
	f.write("policy.yaml", string(good)) // seen without anybody's asking
	f.wait(d, false, map[string]int{"-" + faulty: 1})
	f.write("jwks.json", "<html>")
	if err := f.Process.Stop(); err != nil {
		t.Fatal(err)
	}
	f.wait(d, true, map[string]int{"+" + issuer: 1, "+" + unknown: 1})
	if text := d.logs.String(); strings.Count(text, "keys are not fresh") < 2 {
		t.Errorf("the log says too little:\n%s", text)
	}
	d.wantRows("alerts", "kind = 'fault' AND position(text, '2 failures in a row') > 0", 2)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}

	again := startHasty(t, f.cfg)
	time.Sleep(time.Second) // rounds, of which nobody is told anew
	again.gate.refresh()
	time.Sleep(time.Second)
	f.Restart(t)
	f.wait(again, true, map[string]int{"-" + unknown: 1})
	if err := again.stop(); err != nil {
		t.Fatal(err)
	}

	f.cfg.Edge = nil // no gate any more: nobody looks after its issuers
	last := startHasty(t, f.cfg)
	f.wait(last, false, map[string]int{"-" + issuer: 1})
	last.wantRows("alerts FINAL", "kind = 'fault' AND end > toDateTime(0)", 3)
	f.hook.mu.Lock()
	defer f.hook.mu.Unlock()
	want := []string{"+" + faulty, "-" + faulty, "+" + issuer, "+" + unknown, "-" + unknown, "-" + issuer}
	slices.Sort(want)
	if have := slices.Sorted(slices.Values(f.hook.told)); !slices.Equal(have, want) {
		t.Errorf("told %q\nwant %q", f.hook.told, want)
	}
}
