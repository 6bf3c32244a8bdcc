package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/schema/schematest"
)

// patience is how long anything that a test waits for may take.
const patience = 30 * time.Second

// testDaemon is the daemon, in the test's process.
type testDaemon struct {
	*server
	t    *testing.T
	logs *logBuffer
	stop func() error
}

// logBuffer takes the daemon's log while the test reads it.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// testConfig is a daemon on free ports with its data in dir.
func testConfig(dir string) config.Config {
	cfg := config.Default()
	cfg.DSN = "embedded:" + dir
	cfg.HTTP = "127.0.0.1:0"
	cfg.Listeners = []config.Listener{{Name: "lines", Address: "tcp://127.0.0.1:0", Framing: "newline"}}
	cfg.Flush.Age = config.Duration(50 * time.Millisecond)
	return cfg
}

// startDaemon runs the daemon until the test or its stop ends. SIGHUP reads
// its configuration anew by reload.
func startDaemon(t *testing.T, cfg config.Config, reload func() (config.Config, error)) *testDaemon {
	t.Helper()
	schematest.NeedEngine(t)
	logs := &logBuffer{}
	log, level := newLogger(cfg.Log, logs)
	ready, done := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	d := &testDaemon{t: t, logs: logs, server: &server{
		cfg: cfg, log: log, level: level, reload: reload, ready: func() { close(ready) },
		ciCalls: config.Calls{Pause: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}, // tried again at once
	}}
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
	case err := <-done:
		done <- nil
		t.Fatalf("the daemon does not start: %v", err)
	case <-time.After(patience):
		t.Fatal("the daemon does not become ready")
	}
	return d
}

// send sends lines on a connection of its own.
func (d *testDaemon) send(lines ...string) {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.listeners[0].Addr().String())
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	for _, line := range lines {
		if _, err := fmt.Fprintf(conn, "<134>Nov 23 10:00:03 edge1 haproxy[7]: %s\n", line); err != nil {
			d.t.Fatal(err)
		}
	}
}

// count counts a table's rows that a condition picks.
func (d *testDaemon) count(table, where string) (n uint64) {
	d.t.Helper()
	if err := d.store.Conn().QueryRow(d.t.Context(), "SELECT count() FROM "+table+" WHERE "+where).Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// wantRows waits until exactly so many rows are stored.
func (d *testDaemon) wantRows(table, where string, want uint64) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("%d rows of %s where %s", want, table, where), func() bool { return d.count(table, where) >= want })
	if have := d.count(table, where); have != want {
		d.t.Errorf("%s where %s: have %d rows, want %d", table, where, have, want)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// get asks the operations endpoint.
func (d *testDaemon) get(path string) (status int, body string) {
	d.t.Helper()
	response, err := http.Get("http://" + d.ops.Addr().String() + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func httpLine(path string) string {
	return `10.0.0.1:1 [23/Nov/2026:10:00:01.000] fe be/s1 0/0/0/1/1 200 9 - - ---- 1/1/0/0/0 0/0 "GET ` + path + ` HTTP/1.1"`
}

// TestReload sends lines of two formats: what is not configured is rejected,
// and understood after SIGHUP. A faulty configuration changes nothing.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haptrail.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := testConfig(t.TempDir())
	cfg.Formats = []config.Format{{Name: "httplog"}}
	d := startDaemon(t, cfg, func() (config.Config, error) { return config.Load(path) })
	d.send("own /before 200", httpLine("/stock"))
	d.wantRows("rejects", "1", 1)
	d.wantRows("requests", "path = '/stock'", 1)

	write("formats:\n  - httplog\n  - {name: own, log_format: 'own %HP %ST'}\nlog: {level: debug}\n")
	d.onHangup()
	d.send("own /after 200", httpLine("/stock"))
	d.wantRows("requests", "path = '/after'", 1)
	d.wantRows("requests", "path = '/stock'", 2)

	for i, faulty := range []string{"formats: [nope]\n", "formats: [{log_format: '%ci %XX'}]\n", "zone: Nowhere\n", "listners: []\n", "vars: {team: nope}\n", "formats: ["} {
		write(faulty)
		d.onHangup()
		if n := strings.Count(d.logs.String(), "reload: "); n != i+1 {
			t.Errorf("%q: %d faulty reloads are logged, want %d", faulty, n, i+1)
		}
		d.send("own /still 200")
		d.wantRows("requests", "path = '/still'", uint64(i+1))
	}
	d.wantRows("rejects", "1", 1)

	write("formats: [httplog]\n")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil { // the whole way, once
		t.Fatal(err)
	}
	eventually(t, "the second good reload", func() bool { return strings.Count(d.logs.String(), "msg=\"reloaded: ") == 2 })
	d.send("own /forgotten 200")
	d.wantRows("rejects", "1", 2)
}

// TestPortInUse: each way in that is taken ends the start with an error that
// names it; what was bound before is free again, and so is the directory.
func TestPortInUse(t *testing.T) {
	schematest.NeedEngine(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	t.Setenv("READER_PASSWORD", "open-sesame")
	address := taken.Addr().String()
	dir := t.TempDir()
	for name, occupy := range map[string]func(*config.Config){
		"listener \"second\"": func(c *config.Config) {
			c.Listeners = append(c.Listeners, config.Listener{Name: "second", Address: "tcp://" + address})
		},
		"http": func(c *config.Config) { c.HTTP = address },
		"engine.http": func(c *config.Config) {
			c.Engine.HTTP = &config.EngineHTTP{Address: address, Users: []config.User{{Name: "reader", PasswordEnv: "READER_PASSWORD"}}}
		},
	} {
		cfg := testConfig(dir)
		free := "127.0.0.1:" + freePort(t)
		cfg.Listeners[0].Address = "tcp://" + free
		occupy(&cfg)
		log, level := newLogger(cfg.Log, io.Discard)
		d := &server{cfg: cfg, log: log, level: level, ready: func() { t.Errorf("%s: the daemon became ready", name) }}
		err := d.run(t.Context())
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%s: have error %v", name, err)
		}
		again, err := net.Listen("tcp", free)
		if err != nil {
			t.Errorf("%s: what was bound before stayed open: %v", name, err)
			continue
		}
		again.Close()
		if _, err := os.Stat(filepath.Join(dir, "haptrail.sock")); err == nil {
			t.Errorf("%s: the engine's socket is still there", name)
		}
	}
	startDaemon(t, testConfig(dir), nil) // the directory is free, too
}

// TestInsertsFail: while the engine takes no inserts the daemon is not ready,
// and it goes on receiving; when the engine does again, the daemon recovers by
// itself, and every line is stored once.
func TestInsertsFail(t *testing.T) {
	d := startDaemon(t, testConfig(t.TempDir()), nil)
	d.send(httpLine("/before"))
	d.wantRows("requests", "1", 1)
	if status, body := d.get("/readyz"); status != http.StatusOK {
		t.Errorf("before: readyz is %d %s", status, body)
	}
	d.rename("requests", "requests_away")
	const lines = 500
	for i := range lines {
		if i%100 == 0 {
			time.Sleep(60 * time.Millisecond) // several blocks
		}
		d.send(httpLine(fmt.Sprintf("/during/%d", i)), "no log line")
	}
	var why string
	eventually(t, "readyz says 503", func() bool {
		status, body := d.get("/readyz")
		why = body
		return status == http.StatusServiceUnavailable
	})
	if !strings.Contains(why, "insert") {
		t.Errorf("readyz says %q, want that inserts fail", why)
	}
	if status, _ := d.get("/healthz"); status != http.StatusOK {
		t.Errorf("healthz is %d: a failing engine is no reason to restart the daemon", status)
	}
	d.rename("requests_away", "requests")
	eventually(t, "readyz says 200", func() bool { status, _ := d.get("/readyz"); return status == http.StatusOK })
	d.wantRows("requests", "1", lines+1)
	d.wantRows("rejects", "1", lines)
	if n := d.count("(SELECT DISTINCT path FROM requests)", "1"); n != lines+1 {
		t.Errorf("%d different paths, want %d", n, lines+1)
	}
	if _, metrics := d.get("/metrics"); !strings.Contains(metrics, "haptrail_ingest_insert_errors_total") {
		t.Error("no metric of failed inserts")
	}
}

func (d *testDaemon) rename(from, to string) {
	d.t.Helper()
	if err := d.store.Conn().Exec(d.t.Context(), "RENAME TABLE "+from+" TO "+to); err != nil {
		d.t.Fatal(err)
	}
}

// TestStopAndStart: what was sent just before the end is stored, and a second
// start on the same directory finds it.
func TestStopAndStart(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Flush.Age = config.Duration(time.Hour) // only the drain stores
	for run := range uint64(2) {
		d := startDaemon(t, cfg, nil)
		d.wantRows("requests", "1", 3*run)
		d.send(httpLine("/1"), httpLine("/2"), httpLine("/3"))
		address := d.ops.Addr().String()
		if err := d.stop(); err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		if !strings.Contains(d.logs.String(), "everything that was read is stored") {
			t.Errorf("run %d: the log does not say that all is stored:\n%s", run, d.logs)
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Errorf("run %d: %s still answers", run, address)
		}
	}
	startDaemon(t, cfg, nil).wantRows("requests", "1", 6)
}

// TestNoListeners: a daemon that could receive nothing does not start.
func TestNoListeners(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Listeners = nil
	d := &server{cfg: cfg}
	if err := d.run(t.Context()); err == nil || !strings.Contains(err.Error(), "listeners") {
		t.Errorf("have error %v", err)
	}
}
