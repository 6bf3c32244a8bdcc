package runtimeapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// served is a HAProxy in master-worker mode whose answer names its generation.
const served = `
global
    stats socket DIR/s mode 600 level admin
    maxconn 200
    hard-stop-after 20s
defaults
    mode http
    option idle-close-on-response
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    timeout http-keep-alive 5s
frontend www
    bind ADDRESS
    http-request return status 200 content-type text/plain string "generation 1"
`

// startMaster runs served on a free port; configure rewrites its file.
func startMaster(t *testing.T) (m *Master, address string, configure func(from, to string)) {
	t.Helper()
	haproxyBinary(t)
	dir := shortDir(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	_ = listener.Close()
	start(t, dir, strings.ReplaceAll(served, "ADDRESS", address), "-W", "-S", filepath.Join(dir, "m"))
	m, err = NewMaster("unix:"+filepath.Join(dir, "m"), Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	// The first worker may answer before its master does.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err = m.Procs(t.Context()); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	return m, address, func(from, to string) {
		t.Helper()
		path := filepath.Join(dir, "h.cfg")
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), from) {
			t.Fatalf("no %q in %s, %v", from, path, err)
		}
		write(t, path, strings.Replace(string(text), from, to, 1))
	}
}

// get asks once, on a new connection.
func get(t *testing.T, address string) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func workers(t *testing.T, m *Master) (serving []int) {
	t.Helper()
	procs, err := m.Procs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if p.Type == "worker" && !p.Old {
			serving = append(serving, p.PID)
		}
	}
	return serving
}

// TestReload: good, broken, broken again, mended. When Reload returns, the new
// generation answers; when it fails, the former one goes on.
func TestReload(t *testing.T) {
	m, address, configure := startMaster(t)
	first := workers(t, m)
	if len(first) != 1 {
		t.Fatalf("workers %v", first)
	}
	generation := 1
	good := func() {
		t.Helper()
		configure(fmt.Sprintf("generation %d", generation), fmt.Sprintf("generation %d", generation+1))
		generation++
		if err := m.Reload(t.Context()); err != nil {
			t.Fatalf("reload to generation %d: %v", generation, err)
		}
		if have, want := get(t, address), fmt.Sprintf("generation %d", generation); have != want {
			t.Errorf("%s answers, want %s", have, want)
		}
	}
	broken := func() {
		t.Helper()
		err := m.Reload(t.Context())
		if !errors.Is(err, ErrReload) || !strings.Contains(err.Error(), "the old worker goes on") {
			t.Fatalf("%v", err)
		}
		if wantLog := haproxyVersion(t).AtLeast(2, 7); wantLog != strings.Contains(err.Error(), "mode hxxp") && wantLog != strings.Contains(err.Error(), "'hxxp'") {
			t.Errorf("HAProxy's words: %v", err)
		}
		if have, want := get(t, address), fmt.Sprintf("generation %d", generation); have != want {
			t.Errorf("%s answers, want %s", have, want)
		}
	}
	good()
	if second := workers(t, m); len(second) != 1 || second[0] == first[0] {
		t.Errorf("workers %v, before %v", second, first)
	}
	configure("mode http", "mode hxxp")
	broken()
	broken()
	configure("mode hxxp", "mode http")
	good()
	good()
}

// keepAlive sends requests over one connection after the other for as long as
// HAProxy lets it, and never sends one twice: each error is a failed request.
func keepAlive(ctx context.Context, address string, sent, connections *atomic.Int64) error {
	var conn net.Conn
	var in *bufio.Reader
	for ctx.Err() == nil {
		if conn == nil {
			var err error
			if conn, err = net.Dial("tcp", address); err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			defer conn.Close()
			connections.Add(1)
			in = bufio.NewReader(conn)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		sent.Add(1)
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: gate\r\n\r\n"); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(string(body), "generation") {
			return fmt.Errorf("status %d, %q, %w", resp.StatusCode, body, err)
		}
		if resp.Close {
			_ = conn.Close()
			conn = nil
		}
		time.Sleep(time.Millisecond) // idle for a moment: the reload finds connections in every state
	}
	return nil
}

// TestReloadUnderLoad: reloads while clients keep sending fail no request.
func TestReloadUnderLoad(t *testing.T) {
	m, address, _ := startMaster(t)
	const clients, reloads = 8, 5
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sent, connections atomic.Int64
	failures := make(chan error, clients)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() { failures <- keepAlive(ctx, address, &sent, &connections) })
	}
	for i := range reloads {
		before := sent.Load()
		for deadline := time.Now().Add(5 * time.Second); sent.Load() < before+200; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("only %d requests in 5 s; %d clients have failed, one with: %v", sent.Load()-before, len(failures), <-failures)
			}
		}
		if err := m.Reload(t.Context()); err != nil {
			t.Fatalf("reload %d: %v", i+1, err)
		}
	}
	time.Sleep(100 * time.Millisecond) // the last old worker's clients come back
	stop()
	all.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			t.Errorf("a request failed: %v", err)
		}
	}
	if connections.Load() <= clients {
		t.Errorf("%d connections: no client was moved to a new worker", connections.Load())
	}
	t.Logf("%d requests, %d connections, %d reloads", sent.Load(), connections.Load(), reloads)
}

// fakeMaster answers "show proc" with each of procs in turn, the last for ever,
// and "reload" with reply.
func fakeMaster(t *testing.T, reply string, procs ...string) *Master {
	t.Helper()
	path := fakeSocket(t, func(line string, conn net.Conn) {
		switch line {
		case "show proc":
			_, _ = io.WriteString(conn, procs[0]+"\n")
			if len(procs) > 1 {
				procs = procs[1:]
			}
		case "reload":
			_, _ = io.WriteString(conn, reply)
		}
	})
	m, err := NewMaster(path, Options{Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestReloadAnswers: the answers and process lists of several versions.
func TestReloadAnswers(t *testing.T) {
	proc := func(reloads, failed int, workers string) string {
		return fmt.Sprintf("#<PID>          <type>          <reloads>       <uptime>        <version>      \n"+
			"1               master          %d [failed: %d]   0d00h00m01s     2.6.12\n# workers\n%s# programs\n", reloads, failed, workers)
	}
	worker := func(pid int) string { return fmt.Sprintf("%d worker 0 0d00h00m01s 2.6.12\n", pid) }
	before := proc(3, 0, worker(10))
	for name, tc := range map[string]struct {
		reply string
		after []string
		want  error
		text  string
	}{
		"2.6, slow":          {"", []string{before, proc(4, 0, worker(10)), proc(4, 0, worker(10)+worker(11)), proc(4, 0, worker(11)+"# old workers\n"+worker(10))}, nil, ""},
		"2.6, refused":       {"", []string{before, proc(4, 1, worker(10))}, ErrReload, "PID 10"},
		"2.6, ignored":       {"", []string{before}, ErrPartial, "no new worker"},
		"2.6, starts anew":   {"", []string{"#<PID>", "", proc(4, 0, worker(11))}, nil, ""},
		"good":               {"Success=1\n--\n[NOTICE]   (1) : Loading success.\n\n", []string{proc(4, 0, worker(11))}, nil, ""},
		"good, but dies":     {"Success=1\n\n", []string{proc(4, 0, "")}, ErrPartial, "no new worker"},
		"refused":            {"Success=0\n--\n[NOTICE]   (1) : haproxy version\n[ALERT]    (2) : config : parsing [h.cfg:4] : unknown proxy mode 'hxxp'.\n[ALERT]    (2) : config : Fatal errors\n\n", []string{before}, ErrReload, "parsing [h.cfg:4] : unknown proxy mode 'hxxp'.; config : Fatal errors"},
		"busy":               {"Success=0\n--\nAnother reload is still in progress.\n\n", []string{before}, ErrBusy, "PID 10"},
		"level":              {"Permission denied\n\n", []string{before}, ErrPermission, `"level admin"`},
		"not a master":       {"Unknown command: 'reload'\n\n", []string{before}, ErrUnknownCommand, "the other socket"},
		"cut in the log":     {"Success=1\n--\n[NOTI", []string{proc(4, 0, worker(11))}, nil, ""},
		"cut in the verdict": {"Succ", []string{proc(4, 0, worker(11))}, ErrRejected, "Succ"},
	} {
		t.Run(name, func(t *testing.T) {
			err := fakeMaster(t, tc.reply, append([]string{before}, tc.after...)...).Reload(t.Context())
			if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

func TestReloadWithoutMaster(t *testing.T) {
	m, err := NewMaster(filepath.Join(shortDir(t), "m"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Reload(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "option -S") {
		t.Errorf("%v", err)
	}
}

func TestCheckConfig(t *testing.T) {
	bin := haproxyBinary(t)
	dir := shortDir(t)
	good := strings.NewReplacer("DIR", dir, "ADDRESS", "unix@"+dir+"/f").Replace(served)
	write(t, filepath.Join(dir, "1.cfg"), good)
	write(t, filepath.Join(dir, "2.cfg"), "backend more\n    server a 127.0.0.1:1\n")
	write(t, filepath.Join(dir, "bad"), "frontend f\n    mode http\n    frobnicate 1\n")
	if err := CheckConfig(t.Context(), bin, filepath.Join(dir, "1.cfg"), filepath.Join(dir, "2.cfg")); err != nil {
		t.Error(err)
	}
	if err := CheckConfig(t.Context(), bin, dir); err != nil { // a folder: its *.cfg
		t.Error(err)
	}
	err := CheckConfig(t.Context(), bin, dir, filepath.Join(dir, "bad"))
	if err == nil || !strings.Contains(err.Error(), "bad:3]") || !strings.Contains(err.Error(), "'frobnicate'") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	for want, err := range map[string]error{
		"no configuration file": CheckConfig(t.Context(), bin),
		"install HAProxy":       CheckConfig(t.Context(), filepath.Join(dir, "none"), dir),
		"/none.cfg":             CheckConfig(t.Context(), bin, filepath.Join(dir, "none.cfg")),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := CheckConfig(canceled, bin, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
