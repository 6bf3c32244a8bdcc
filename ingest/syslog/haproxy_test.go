package syslog

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// haproxyFormats are the log formats of HAProxy (configuration manual, section
// 4.2, "log", "format") with what show must make of a request's message. %P is
// its pid, %T the time, which is not compared.
var haproxyFormats = map[string]string{
	"rfc3164":  `rfc3164 pri=134 time=%T host="edge1" app="haproxy" pid="%P" msgid="" sd="" text="n=%N /path"`,
	"local":    `rfc3164 pri=134 time=%T host="" app="haproxy" pid="%P" msgid="" sd="" text="n=%N /path"`,
	"rfc5424":  `rfc5424 pri=134 time=%T host="edge1" app="haproxy" pid="%P" msgid="" sd="[a@1 x=\"y\\\"]z\" b=\"2\"][c@2]" text="n=%N /path"`,
	"raw":      `raw pri=-1 time=- host="" app="" pid="" msgid="" sd="" text="n=%N /path"`,
	"short":    `priority pri=6 time=- host="" app="" pid="" msgid="" sd="" text="n=%N /path"`,
	"priority": `priority pri=134 time=- host="" app="" pid="" msgid="" sd="" text="n=%N /path"`,
	"timed":    `timed pri=6 time=%T host="" app="" pid="" msgid="" sd="" text="n=%N /path"`,
	"iso":      `timed pri=-1 time=%T host="" app="" pid="" msgid="" sd="" text="n=%N /path"`,
}

// proxy is a running HAProxy.
type proxy struct {
	port int
	pid  int
}

// startHAProxy runs HAProxy with the global log lines and the ring sections
// until the test ends. Its frontend answers 200 itself and logs "n=%rt %HP".
func startHAProxy(t *testing.T, global, rings string) proxy {
	t.Helper()
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		if bin = "/usr/sbin/haproxy"; !isFile(bin) {
			t.Skip("no haproxy here (apt install haproxy)")
		}
	}
	port := freePort(t)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	write(t, file, fmt.Appendf(nil, `global
  log-send-hostname edge1
%s
%s
defaults
  mode http
  log global
  timeout client 5s
  timeout connect 1s
  timeout server 5s
frontend f
  bind 127.0.0.1:%d
  log-format "n=%%rt %%HP"
  log-format-sd '[a@1 x="y\"]z" b="2"][c@2]'
  http-request return status 200
`, global, rings, port))
	cmd := exec.Command(bin, "-db", "-f", file)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := os.Create(filepath.Join(t.TempDir(), "haproxy.out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		if t.Failed() {
			b, _ := os.ReadFile(out.Name())
			t.Logf("haproxy said: %s", b)
		}
		_ = out.Close()
	})
	eventually(t, "haproxy listens", func() bool {
		select {
		case <-exited:
			b, _ := os.ReadFile(out.Name())
			t.Fatalf("haproxy ended: %s", b)
		default:
		}
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return proxy{port: port, pid: cmd.Process.Pid}
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// request sends n requests over one connection.
func (p proxy) request(t *testing.T, n int) {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for range n {
		send(t, conn, "GET /path HTTP/1.1\r\nHost: a\r\n\r\n")
		for {
			line, err := answers.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == "\r\n" {
				break
			}
		}
	}
}

var (
	anyTime   = regexp.MustCompile(`time=\d[^ ]*`)
	anyNumber = regexp.MustCompile(`n=\d+`)
)

// compare waits for n messages "n=.. /path" and holds each to want.
func (p proxy) compare(t *testing.T, name string, rec *recorder, n int, want string) {
	t.Helper()
	want = strings.NewReplacer("%P", fmt.Sprint(p.pid), "%T", "T").Replace(want)
	var lines []string
	eventually(t, name+": the messages are here", func() bool {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		lines = lines[:0]
		for _, s := range rec.shown {
			if strings.Contains(s, "/path") {
				lines = append(lines, s)
			}
		}
		return len(lines) >= n
	})
	for _, got := range lines {
		got = anyNumber.ReplaceAllString(anyTime.ReplaceAllString(got, "time=T"), "n=%N")
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
	if _, rejects := rec.counts(); rejects > 0 || len(lines) != n {
		t.Errorf("%s: %d messages, want %d; rejects %q", name, len(lines), n, rec.rejects)
	}
}

// TestHAProxyFormats has a real HAProxy log each request in every format, over
// UDP and unix datagrams, and through rings in both framings.
func TestHAProxyFormats(t *testing.T) {
	var global, rings strings.Builder
	recs, wants := map[string]*recorder{}, map[string]string{}
	add := func(name, address, want string) net.Addr {
		recs[name], wants[name] = newRecorder(), want
		return start(t, Config{Name: name, Address: address}, recs[name]).Addr()
	}
	for format, want := range haproxyFormats {
		at := add("udp "+format, "udp://127.0.0.1:0", want)
		fmt.Fprintf(&global, "  log %s len 8192 format %s local0\n", at, format)
		for _, proto := range []string{"octet-count", "legacy"} {
			at := add(proto+" "+format, "tcp://127.0.0.1:0", want)
			ring := "r_" + format + "_" + strings.ReplaceAll(proto, "-", "_")
			fmt.Fprintf(&global, "  log ring@%s len 8192 format %s local0\n", ring, format)
			fmt.Fprintf(&rings, "ring %s\n  format %s\n  maxlen 8192\n  size 65536\n  timeout connect 1s\n  timeout server 10s\n  server s %s log-proto %s\n", ring, format, at, proto)
		}
	}
	at := add("unixgram rfc3164", "unixgram://"+filepath.Join(t.TempDir(), "log.sock"), haproxyFormats["rfc3164"])
	fmt.Fprintf(&global, "  log %s len 8192 format rfc3164 local0\n", at)
	began := time.Now()
	p := startHAProxy(t, global.String(), rings.String())
	const n = 5
	p.request(t, n)
	for name, rec := range recs {
		p.compare(t, name, rec, n, wants[name])
		for _, s := range rec.shown {
			if stamp := anyTime.FindString(s); stamp != "" {
				at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(stamp, "time="))
				if d := at.Sub(began); err != nil || d < -2*time.Second || d > time.Minute {
					t.Errorf("%s: %s, sent at %s", name, stamp, began.UTC())
				}
			}
		}
	}
}

// TestHAProxyRestart stops and starts the listener of a ring under traffic, as
// an upgrade of the daemon does: no request's message may be missing.
func TestHAProxyRestart(t *testing.T) {
	rec := newRecorder()
	cfg := Config{Address: fmt.Sprintf("tcp://127.0.0.1:%d", freePort(t))}
	r := start(t, cfg, rec)
	p := startHAProxy(t, "  log ring@audit len 8192 format rfc5424 local0\n", fmt.Sprintf(
		"ring audit\n  format rfc5424\n  maxlen 8192\n  size 16777216\n  timeout connect 1s\n  timeout server 10s\n  server s %s log-proto octet-count\n", r.Addr()))
	const rounds, each = 3, 2000
	var traffic sync.WaitGroup
	traffic.Go(func() {
		for range rounds * each / 100 {
			p.request(t, 100)
			time.Sleep(10 * time.Millisecond)
		}
	})
	for range rounds {
		time.Sleep(150 * time.Millisecond)
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		r = start(t, cfg, rec)
	}
	traffic.Wait()
	p.compare(t, "ring", rec, rounds*each, haproxyFormats["rfc5424"])
	seen := map[string]bool{}
	for _, s := range rec.texts {
		if seen[s] {
			t.Fatalf("%q came twice", s)
		}
		seen[s] = true
	}
}
