package runtimeapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// haproxyBinary is the HAProxy that the tests run: HAPTRAIL_HAPROXY, or PATH's.
func haproxyBinary(t testing.TB) string {
	t.Helper()
	if named := os.Getenv("HAPTRAIL_HAPROXY"); named != "" {
		return named
	}
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed (and HAPTRAIL_HAPROXY names none)")
	}
	return bin
}

// haproxyVersion is its version.
func haproxyVersion(t testing.TB) Version {
	t.Helper()
	out, err := exec.Command(haproxyBinary(t), "-v").Output()
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseVersion(string(out))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// shortDir is a folder whose paths fit into a unix socket's address.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is written by the process and read by the test.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs HAProxy on cfg (DIR stands for the folder, where the maps are) and
// returns the folder once its socket DIR/s answers.
func start(t testing.TB, dir, cfg string, args ...string) *lockedBuffer {
	t.Helper()
	write(t, filepath.Join(dir, "h.cfg"), strings.ReplaceAll(cfg, "DIR", dir))
	log := &lockedBuffer{}
	cmd := exec.Command(haproxyBinary(t), append([]string{"-f", filepath.Join(dir, "h.cfg")}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
			t.Error("HAProxy did not stop within 10 s")
		}
		if t.Failed() {
			t.Logf("HAProxy said:\n%s", log)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := client(t, dir).Info(t.Context()); err == nil {
			return log
		}
		select {
		case <-ended:
			t.Fatalf("HAProxy ended:\n%s", log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("HAProxy does not answer within 10 s:\n%s", log)
		}
	}
}

// client speaks to DIR/s.
func client(t testing.TB, dir string) *Client {
	t.Helper()
	c, err := New("unix:"+filepath.Join(dir, "s"), Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// gate is a HAProxy that answers with what two maps say about a request: the
// role of its header X-Key by map_reg, and the value of its header X-Key by map_str.
const gate = `
global
    stats socket DIR/s mode 600 level admin
    stats socket DIR/u mode 600 level user
    maxconn 100
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend www
    bind unix@DIR/f
    http-request set-var(txn.reg) req.fhdr(x-key),map_reg(DIR/reg.map,none)
    http-request set-var(txn.str) req.fhdr(x-key),map_str(DIR/str.map,none)
    http-request return status 200 content-type text/plain lf-string "reg=%[var(txn.reg)] str=%[var(txn.str)]"
`

// startGate runs gate with the given content of its map files.
func startGate(t testing.TB, reg, str string) (dir string, c *Client) {
	t.Helper()
	haproxyBinary(t)
	dir = shortDir(t)
	write(t, filepath.Join(dir, "reg.map"), reg)
	write(t, filepath.Join(dir, "str.map"), str)
	start(t, dir, gate)
	return dir, client(t, dir)
}

// lookup sends requests over kept-alive connections.
func lookup(t testing.TB, dir string) func(key string) string {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "f"))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return func(key string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://gate/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Key", key)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("status %d, %v", resp.StatusCode, err)
		}
		return string(body)
	}
}

func manyEntries(n int, value string) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{fmt.Sprintf(`^team-%d/[a-z0-9-]{1,40}/main\z`, i), fmt.Sprintf("%s-%d", value, i)}
	}
	return entries
}
