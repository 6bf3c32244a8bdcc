package policy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/haproxy"
)

// TestLinesInHAProxy asks a real HAProxy's map_reg for random keys of random
// policies. Go's regexp, which the other tests use, is not PCRE2: it has neither
// backreferences nor atomic groups.
func TestLinesInHAProxy(t *testing.T) {
	binary := haproxyBinary(t)
	seed := rand.Uint64()
	r := random{rand.New(rand.NewPCG(3, seed))}
	for range 4 {
		text := r.policy()
		p, err := Parse([]byte(text), "p")
		if err != nil {
			if strings.Contains(err.Error(), "unknown issuer") {
				continue
			}
			t.Fatal(err)
		}
		ask := startMaps(t, binary, p)
		for range 250 {
			id := r.identity()
			asked := Request{r.of("GET", "PUT", "HEAD"), r.host(), r.onPath(p, id)}
			q := readRequest(asked)
			if !q.pathOK {
				continue
			}
			role, _ := p.Role(id)
			if have := ask("roles", roleKey(id)); have != role {
				t.Fatalf("seed %d: %+v: HAProxy says role %q, Role %q\n%s", seed, id, have, role, text)
			}
			d := p.Decide(id, asked)
			public, grant := ask("public", strings.Join([]string{q.method, q.host, q.path}, "|")), ""
			if role != "" {
				grant = ask("grants", grantKey(role, id, q))
			}
			have := public
			if public == "" {
				have = grant
			}
			if have != d.Group || (public != "") != (d.Reason == ReasonPublic) {
				t.Fatalf("seed %d: %+v %+v: HAProxy says public %q, grant %q, Decide %+v\n%s", seed, id, asked, public, grant, d, text)
			}
		}
	}
}

// TestSlowPatternsInHAProxy: what is made to mislead a pattern with many wildcards
// costs a HAProxy no time to speak of, for whoever sends it needs no token, and
// does not hide what fits behind PCRE2's match limit.
func TestSlowPatternsInHAProxy(t *testing.T) {
	binary := haproxyBinary(t)
	p := parse(t, strings.NewReplacer("paths: [/healthz", "paths: [/"+strings.Repeat("*a", 20)+"b", "{issuer: teamcity}", "{ref: '**"+strings.Repeat("a*", 20)+"b/z**q'}").Replace(shop))
	ask := startMaps(t, binary, p)
	start := time.Now()
	// the "b" is there: PCRE2 looks for what a pattern must end in before it begins
	if v := ask("public", "GET|h|/b"+strings.Repeat("a", 1998)); v != "" {
		t.Errorf("public: %s", v)
	}
	if v := ask("roles", "teamcity|teamcity||||b"+strings.Repeat("a", 1900)+"|||s"); v != "" {
		t.Errorf("role %s", v)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("two look-ups took %s", took)
	} else {
		t.Logf("two look-ups took %s", took)
	}
	// what fits late must be found before PCRE2's match limit
	late := strings.Repeat("a", 900) + "/" + strings.Repeat("a", 900) + "b/zq"
	if v := ask("roles", "teamcity|teamcity||||"+late+"|||s"); v != "idle" {
		t.Errorf("role %q, want idle", v)
	}
	if v := ask("public", "GET|h|/"+strings.Repeat("xa", 900)+"b"); v == "" {
		t.Error("a public path is not found")
	}
}

func haproxyBinary(t *testing.T) string {
	t.Helper()
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	return binary
}

const mapsConfig = `global
    maxconn 50
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 1s
frontend maps
    bind unix@%[1]s/s
    http-request set-var(req.key) req.fhdr(x-key),url_dec
    http-request return status 200 content-type text/plain lf-string "%%[var(req.key),map_reg(%[1]s/roles)]" if { path /roles }
    http-request return status 200 content-type text/plain lf-string "%%[var(req.key),map_reg(%[1]s/grants)]" if { path /grants }
    http-request return status 200 content-type text/plain lf-string "%%[var(req.key),map_reg(%[1]s/public)]" if { path /public }
`

// startMaps runs a HAProxy with the policy's maps until the test ends. The
// function it returns looks a key up: "" for none.
func startMaps(t *testing.T, binary string, p *Policy) (ask func(name, key string) string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "h") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, lines := range map[string][]Line{"roles": p.RoleLines(), "grants": p.GrantLines(), "public": p.PublicLines()} {
		var b bytes.Buffer
		for _, l := range lines {
			fmt.Fprintf(&b, "%s %s\n", l.Pattern, l.Value)
		}
		write(t, filepath.Join(dir, name), b.Bytes())
	}
	write(t, filepath.Join(dir, "cfg"), fmt.Appendf(nil, mapsConfig, dir))
	var stderr bytes.Buffer
	cmd := exec.Command(binary, "-db", "-f", filepath.Join(dir, "cfg"))
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err == nil {
			<-ended
		}
	})
	socket := filepath.Join(dir, "s")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			t.Cleanup(func() { conn.Close() })
			return func(name, key string) string { return lookUp(t, conn, name, key) }
		}
		select {
		case err := <-ended:
			t.Fatalf("haproxy ended: %v\n%s", err, stderr.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("haproxy does not listen")
		}
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// lookUp asks over a kept-alive connection. Every byte of the key is
// percent-encoded.
func lookUp(t *testing.T, conn net.Conn, name, key string) string {
	t.Helper()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: maps\r\nX-Key: %s\r\n\r\n", name, strings.ReplaceAll(fmt.Sprintf("% x", " "+key), " ", "%")[2:]); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("status %d, error %v", resp.StatusCode, err)
	}
	if string(body) == "-" { // what a log-format writes for nothing
		return ""
	}
	return string(body)
}
