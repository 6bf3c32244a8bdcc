package logformat

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// gate is a real HAProxy with some frontends that answer by themselves.
type gate struct {
	t      *testing.T
	config string   // its configuration
	addrs  []string // of the frontends fe0, fe1, ...
	logs   net.PacketConn
}

// startGate runs HAProxy with one frontend for each body. "%s" in a body is the
// bind line's address. It ends with the test.
func startGate(t *testing.T, bodies ...string) *gate {
	t.Helper()
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed")
	}
	g := &gate{t: t}
	if g.logs, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.logs.Close() })
	var cfg strings.Builder
	fmt.Fprintf(&cfg, "global\n    log %s len 16384 format raw local0\n    setenv TZ UTC\n    tune.http.logurilen 2048\n"+
		"defaults\n    mode http\n    log global\n    timeout client 2s\n    timeout connect 1s\n    timeout server 1s\n    timeout http-request 2s\n",
		g.logs.LocalAddr())
	var files []*os.File
	for i, body := range bodies {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		defer file.Close()
		files = append(files, file)
		g.addrs = append(g.addrs, l.Addr().String())
		fmt.Fprintf(&cfg, "frontend fe%d\n"+body+"\n", i, fmt.Sprintf("fd@%d", 3+i))
	}
	g.config = cfg.String()
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(g.config), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(bin, "-db", "-f", path)
	cmd.ExtraFiles, cmd.Stderr, cmd.Stdout = files, &stderr, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy said:\n%s", stderr.String())
		}
	})
	return g
}

// send writes a request to frontend i and returns the line that HAProxy logs.
func (g *gate) send(i int, request string) []byte {
	g.t.Helper()
	conn, err := net.DialTimeout("tcp", g.addrs[i], time.Second)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.exchange(conn, request)
}

func (g *gate) exchange(conn net.Conn, request string) []byte {
	g.t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		g.t.Fatal(err)
	}
	io.Copy(io.Discard, conn)
	return g.line()
}

func (g *gate) line() []byte {
	g.t.Helper()
	buf := make([]byte, 65536)
	g.logs.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := g.logs.ReadFrom(buf)
	if err != nil {
		g.t.Fatalf("no log line came: %v", err)
	}
	return buf[:n]
}

// format compiles what the configuration says about frontend i.
func (g *gate) format(i int) *Format {
	g.t.Helper()
	c, err := FromConfig(strings.NewReader(g.config), "haproxy.cfg", fmt.Sprintf("fe%d", i), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return mustCompile(g.t, c.Format, c.Options(Options{}))
}

// check sends a request and compares some values of its line.
func (g *gate) check(i int, request string, want map[string]string) {
	g.t.Helper()
	g.compare(g.format(i), g.send(i, request), want)
}

func (g *gate) compare(f *Format, line []byte, want map[string]string) {
	g.t.Helper()
	var r Record
	if fault := f.Parse(line, &r); fault.Reason != OK || r.Truncated {
		g.t.Errorf("%q: %s, truncated %v", line, f.Describe(fault), r.Truncated)
		return
	}
	got := values(&r)
	for k, w := range want {
		if v, ok := got[k]; w == "*" && !ok || w != "*" && (v != w || ok != (w != "")) { // "*": anything
			g.t.Errorf("%s: got %q, want %q\n%q", k, v, w, line)
		}
	}
}

const get = "GET /a/b?c=%20d HTTP/1.1\r\nHost: api.example\r\nUser-Agent: x \"q\" {b|c}\r\nCookie: SID=abc\r\nConnection: close\r\n\r\n"

func TestHAProxyBuiltins(t *testing.T) {
	const body = `
    bind %s
    http-request return status 200 content-type text/plain string ok hdr X-A b`
	cert := selfSigned(t)
	g := startGate(t,
		body+"\n    option httplog\n    capture request header Host len 40\n    capture request header User-Agent len 40\n    capture response header X-A len 9\n    capture cookie SID len 20",
		body+"\n    option httplog clf\n    capture request header User-Agent len 40",
		strings.Replace(body, "%s", "%s ssl crt "+cert, 1)+"\n    option httpslog",
		"    mode tcp\n    bind %s\n    option tcplog\n    tcp-request content reject",
		body+"\n    option httplog\n    option logasap")
	common := map[string]string{"client_addr": "127.0.0.1", "status": "200", "method": "GET", "uri": "/a/b?c=%20d", "path": "/a/b", "query": "?c=%20d", "http_version": "HTTP/1.1"}
	with := func(more map[string]string) map[string]string {
		for k, v := range common {
			if _, ok := more[k]; !ok {
				more[k] = v
			}
		}
		return more
	}
	g.check(0, get, with(map[string]string{"frontend": "fe0", "backend": "fe0", "server": "<NOSRV>",
		"host": "api.example", "request_headers": "api.example|x #22q#22 #7Bb#7Cc#7D", "termination_state": "LR--", "tls": "0"}))
	g.check(0, "GET / HTTP/1.1\r\nBad Header\r\n\r\n", map[string]string{"status": "400", "termination_state": "PR--", "uri": "", "method": "", "request_headers": ""})
	g.check(1, get, with(map[string]string{"frontend": "fe1", "request_headers": "x #22q#22 #7Bb#7Cc#7D"}))
	g.check(3, "x", map[string]string{"frontend": "fe3", "client_addr": "127.0.0.1", "termination_state": "PR", "status": ""})
	g.check(4, get, with(map[string]string{"frontend": "fe4"}))

	conn, err := tls.Dial("tcp", g.addrs[2], &tls.Config{InsecureSkipVerify: true, ServerName: "edge.example"})
	if err != nil {
		t.Fatal(err)
	}
	g.compare(g.format(2), g.exchange(conn, get), with(map[string]string{"frontend": "fe2", "tls": "1", "extra:ssl_fc_sni": "edge.example", "tls_version": "TLSv1.3", "extra:ssl_fc_err": "0000000000000000"}))
	if e, ok := Classify(g.send(2, "this is no TLS\r\n")); !ok || e.Kind != EventTLS || e.Frontend != "fe2" {
		t.Errorf("%+v", e)
	}
}

// nasty are values that break log parsers.
var nasty = []string{
	"repo:acme/app:ref:refs/heads/main", `a"b`, `a" "b`, `a","role":"admin`, `back\slash`, `end\`, "tab\tnl\ncr\r", "\x01\x1b[31m\x7f", "caf\u00e9 \u4e2d \U0001F600",
	"bad utf8 \xff\xc3(", "brace } ] ' # % $", "nul\x00behind", " lead and trail ", "-", `\u0041`, "</x>&", strings.Repeat("x/", 400),
}

// TestHAProxyHaptrail sends values through HAProxy and back out of its log, in
// the project's own format and in others that are safe.
func TestHAProxyHaptrail(t *testing.T) {
	const rules = `
    bind %s
    unique-id-format %%{+X}o\ %%ci:%%cp_%%fi:%%fp_%%Ts_%%rt:%%pid
    http-request set-var(txn.method) method
    http-request set-var(txn.path) path
    http-request set-var(txn.uri) url
    http-request set-var(txn.host) req.hdr(host)
    http-request set-var(txn.sub) req.hdr(x-sub),url_dec
    http-request set-var(txn.role) str(reader)
    http-request set-var(txn.reason) str(ok)
    http-request set-var(txn.iat) str(1795438137)
    http-request return status 403 content-type text/plain string no`
	if strings.Contains(Haptrail, "'") {
		t.Fatal("the format cannot be put in single quotes")
	}
	esc := strings.NewReplacer("%", "%%")
	g := startGate(t,
		rules+"\n    log-format '"+esc.Replace(Haptrail)+"'",
		rules+"\n    log-format \""+esc.Replace(`%ci:%cp [%tr] %ft %{+Q,+E}[var(txn.sub)] %{+Q,+E}[var(txn.role)] %{+Q}r`)+"\"",
		rules+"\n    log-format \""+esc.Replace(`%ci:%cp [%tr] %ft %[var(txn.sub),url_enc] %[var(txn.role)] %{+Q}r`)+"\"")
	for i := range g.addrs {
		for _, value := range nasty {
			want := value
			if k := strings.IndexByte(want, 0); k >= 0 && i != 0 {
				continue // HAProxy ends a value at NUL there
			}
			request := "GET /p/" + url.PathEscape(value[:min(len(value), 9)]) + "?q HTTP/1.1\r\nHost: api.example\r\nX-Sub: " +
				strings.ReplaceAll(url.QueryEscape(value), "+", "%20") + "\r\nConnection: close\r\n\r\n"
			expect := map[string]string{"subject": want, "role": "reader", "method": "GET", "client_addr": "127.0.0.1",
				"frontend": fmt.Sprint("fe", i), "path": "/p/" + url.PathEscape(value[:min(len(value), 9)])}
			if i == 0 {
				for k, v := range map[string]string{"reason": "ok", "host": "api.example", "status": "403", "termination_state": "LR--", "server": "<NOSRV>",
					"backend": "fe0", "issued_at": "2026-11-23T12:48:57.000Z", "issuer": "", "http_version": "", "unique_id": "*", "request_counter": "*", "pid": "*", "accept_time": "*"} {
					expect[k] = v
				}
			}
			if want == "-" && i != 1 {
				expect["subject"] = map[int]string{0: "", 2: ""}[i] // an unquoted "-" is "none"
			}
			g.check(i, request, expect)
		}
	}
	line := g.send(0, "bad\r\n\r\n")
	g.compare(g.format(0), line, map[string]string{"status": "400", "subject": "", "method": "", "frontend": "fe0"})
}

// TestHAProxyAliases: the table of aliases is what the installed HAProxy knows,
// under every flag.
func TestHAProxyAliases(t *testing.T) {
	var bodies []string
	for _, flags := range []string{"", "%{+Q}o ", "%{+X}o ", "%{-M}o ", "%{+Q,+E,+X}o "} {
		format := flags
		for _, a := range aliases {
			if a.since == "" {
				format += fmt.Sprintf("%s=%%%s|", a.name, a.name)
			}
		}
		bodies = append(bodies, "    bind %s\n    http-request return status 200\n    log-format \""+strings.ReplaceAll(format, "%", "%%")+"\"")
	}
	g := startGate(t, bodies...)
	for i := range g.addrs {
		g.check(i, get, map[string]string{"status": "200", "client_addr": "127.0.0.1", "frontend": fmt.Sprint("fe", i), "method": "GET",
			"uri": "/a/b?c=%20d", "http_version": "HTTP/1.1", "timer_tc": "-1", "server": "<NOSRV>", "request_cookie": "", "backend_port": ""})
	}
}

func selfSigned(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"edge.example"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})...)
	path := filepath.Join(t.TempDir(), "edge.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
