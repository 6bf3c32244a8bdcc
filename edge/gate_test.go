package edge_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge/edgetest"
)

// get sends a request with a token and returns status and body.
func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// What the application is told is the gate's word, and the token is not in it.
func TestApplicationLearnsWhoCalls(t *testing.T) {
	a := newAttacker(t)
	_, body := get(t, a.g.URL+"/artifacts/x?q=1", a.token(nil))
	want := strings.TrimSpace(fmt.Sprintf(`
GET /artifacts/x?q=1
X-Identity-Actor: kim
X-Identity-Issuer: https://hub.test
X-Identity-Project: acme/shop
X-Identity-Provider: github
X-Identity-Ref: refs/heads/main
X-Identity-Role: deployer
X-Identity-Run-Attempt: 1
X-Identity-Run: 9123456789
X-Identity-Sha: %s
X-Identity-Sub: repo:acme/shop:ref:refs/heads/main
X-Identity-Tenant: acme
X-Identity-Token-Id: 7d3f-1
`, strings.Repeat("ab", 20)))
	var have []string
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "X-Request-Id: ") {
			have = append(have, strings.TrimSpace(line))
		}
	}
	if strings.Join(have, "\n") != want {
		t.Errorf("want\n%s\nhave\n%s", want, strings.Join(have, "\n"))
	}
	if strings.Count(body, "X-Request-Id: ") != 1 {
		t.Errorf("the application has no request id: %s", body)
	}
}

// What a public path's client says of himself does not reach the application.
func TestPublicPathIsNobody(t *testing.T) {
	a := newAttacker(t)
	conn := dial(t, a.g.URL)
	fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Identity-Sub: root\r\nx_identity_role: admin\r\nX-Request-ID: mine\r\nConnection: close\r\n\r\n")
	reply, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 200 ") || strings.Contains(string(reply), "root") ||
		strings.Contains(string(reply), "admin") || strings.Contains(string(reply), "mine") {
		t.Errorf("%v: %s", err, reply)
	}
	if l := a.g.Sink.Take(t, 1)[0]; l.Decision != "allow" || l.Reason != "public" || l.Backend != "app" {
		t.Errorf("%+v", l)
	}
}

func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Request smuggling: what one reader takes for the body of a request, another
// takes for the next. Of the shapes that HAProxy lets in at all, each request
// that reaches the application was judged, and no other.
func TestSmuggling(t *testing.T) {
	a := newAttacker(t)
	good := a.token(nil)
	inner := "GET /secrets/x HTTP/1.1\r\nHost: secrets.test\r\nX-Identity-Role: admin\r\n\r\n"
	head := "PUT /artifacts/acme/shop/%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + good + "\r\n"
	for i, shape := range []string{
		fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", 5+len(inner), inner),
		fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n%s", 5+len(inner), inner),
		fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		fmt.Sprintf("Content-Length: 0, %d\r\n\r\n%s", len(inner), inner),
		fmt.Sprintf("Content-Length: 0, 0\r\n\r\n%s", inner),
		fmt.Sprintf("Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n%s", inner),
		fmt.Sprintf("Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n%s", inner),
		fmt.Sprintf("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n%s", inner),
		fmt.Sprintf("Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n%s", inner),
		fmt.Sprintf("Transfer-Encoding:\x0bchunked\r\nContent-Length: 0\r\n\r\n%s", inner),
		fmt.Sprintf("X: y\r\n Content-Length: %d\r\n\r\n%s", len(inner), inner),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n0;x=\"\r\n\r\n%s", inner),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer %s\r\nX-Identity-Sub: root\r\n\r\n%s", good, inner),
		fmt.Sprintf("Content-Length: 0\n\n%s", inner),
		fmt.Sprintf("Content-Length: +0\r\n\r\n%s", inner),
		fmt.Sprintf("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 0\r\n\r\n%s", inner),
		fmt.Sprintf("Expect: 100-continue\r\nContent-Length: 0\r\n\r\n%s", inner),
	} {
		conn := dial(t, a.g.URL)
		fmt.Fprintf(conn, head, i)
		fmt.Fprint(conn, shape)
		_ = conn.(*net.TCPConn).CloseWrite()
		reply, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if text := string(reply); strings.Contains(text, "/secrets/x") || strings.Contains(text, "root") || strings.Contains(text, "admin") {
			t.Errorf("shape %d: the inner request reached the application: %s", i, text)
		}
	}
	time.Sleep(500 * time.Millisecond)
	for _, l := range a.g.Sink.Drain() {
		if l.Path == "/secrets/x" && (l.Decision != "deny" || l.Server != "<NOSRV>") {
			t.Errorf("the inner request was let through: %+v", l)
		}
		if l.Decision == "allow" && !strings.HasPrefix(l.Path, "/artifacts/acme/shop/") {
			t.Errorf("%+v", l)
		}
	}
}

// The request target may be a whole URL (RFC 9112, section 3.2.2): it is its path
// that is judged, and a Host that says otherwise is refused.
func TestAbsoluteForm(t *testing.T) {
	a := newAttacker(t)
	for i, c := range []struct{ target, host, want string }{
		{"http://x.test/artifacts/abs", "x.test", "200 ok"},
		{"http://x.test/secrets/x", "x.test", "403 grant_denied"},
		{"http://secrets.test/secrets/x", "secrets.test", "200 ok"},
		{"http://x.test/secrets/x", "secrets.test", "400 bad_request"},
		{"http://secrets.test/secrets/x", "x.test", "400 bad_request"},
		{"http://x.test/", "x.test", "403 grant_denied"},
		{"*", "x.test", "403 path_unsafe"},
		{"artifacts/x", "x.test", "400 bad_request"},
	} {
		conn := dial(t, a.g.URL)
		method := map[bool]string{true: "OPTIONS", false: "GET"}[c.target == "*"]
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", method, c.target, c.host, a.token(nil))
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
		if l := a.g.Sink.Take(t, 1)[0]; fmt.Sprintf("%d %s", l.Status, l.Reason) != c.want {
			t.Errorf("%d: %s, Host %s: want %s, have %d %s", i, c.target, c.host, c.want, l.Status, l.Reason)
		}
	}
}

// A Host that is a list names no host, though its last element would. Newer
// HAProxy do not take such a request at all.
func TestHostIsOneName(t *testing.T) {
	a := newAttacker(t)
	for _, host := range []string{"x,secrets.test", "x, secrets.test", "secrets.test,x", "secrets.test\tx"} {
		conn := dial(t, a.g.URL)
		fmt.Fprintf(conn, "GET /secrets/x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", host, a.token(nil))
		reply, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 403 ") && !strings.HasPrefix(string(reply), "HTTP/1.1 400 ") {
			t.Errorf("%q: %v, %.40q", host, err, reply)
		}
	}
}

// Over HTTP/2 the same rules hold: it has no reason phrases, no Connection and
// pseudo-headers in place of the request line.
func TestHTTP2(t *testing.T) {
	a := newAttacker(t)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{}}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		path, token, header string
		status              int
		reason              string
	}{
		{"/artifacts/h2", a.token(nil), "", 200, "ok"},
		{"/artifacts/h2", "", "", 401, "no_token"},
		{"/artifacts/%2e%2e/secrets/x", a.token(nil), "", 403, "path_unsafe"},
		{"/secrets/x", a.token(nil), "", 403, "grant_denied"},
		{"/artifacts/h2", a.token(nil), "X-Identity-Sub", 403, "identity_forged"},
		{"/artifacts/h2", a.token(map[string]any{"exp": 1}), "", 401, "exp_bad"},
	} {
		r, err := http.NewRequest(http.MethodGet, a.g.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = c.path
		r.Header.Set("Authorization", "Bearer "+c.token)
		if c.token == "" {
			r.Header.Del("Authorization")
		}
		if c.header != "" {
			r.Header.Set(c.header, "root")
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		l := a.g.Sink.Take(t, 1)[0]
		if response.ProtoMajor != 2 || response.StatusCode != c.status || l.Reason != c.reason || l.Path != c.path {
			t.Errorf("%s: want %d %s, have %s %d %+v", c.path, c.status, c.reason, response.Proto, response.StatusCode, l)
		}
	}
}

// The header that names a run is kept only when it can be logged as it is, and
// only of a job that has proven who it is.
func TestClaimedRun(t *testing.T) {
	a := newAttacker(t)
	want := make(map[string]string)
	for i, c := range []struct {
		values []string
		token  string
		want   string
	}{
		{[]string{"2bQWk1XYZ9dE"}, a.token(nil), "2bQWk1XYZ9dE"},
		{nil, a.token(nil), ""},
		{[]string{`a","sub":"root`}, a.token(nil), ""},
		{[]string{"a", "b"}, a.token(nil), ""},
		{[]string{"a,b"}, a.token(nil), ""},
		{[]string{strings.Repeat("a", 65)}, a.token(nil), ""},
		{[]string{"2bQWk1XYZ9dE"}, "x.y.z", ""},
	} {
		path := fmt.Sprintf("/artifacts/run/%d", i)
		want[path] = c.want
		status := map[bool]int{true: 401, false: 200}[c.token == "x.y.z"]
		if have := a.send(attack{
			name: path, method: "GET", path: path, headers: http.Header{"X-Ci-Run": c.values},
			authorization: []string{"Bearer " + c.token}, status: status, reason: map[int]string{200: "ok", 401: "iss_bad"}[status],
		}); have != status {
			t.Errorf("%s: status %d", path, have)
		}
	}
	for _, l := range a.g.Sink.Take(t, len(want)) {
		if l.ClaimedRun != want[l.Path] {
			t.Errorf("%s: want claimed run %q, have %q", l.Path, want[l.Path], l.ClaimedRun)
		}
	}
}

// The longest line that anybody can cause is whole: nobody pushes his name out
// of the log.
func TestLongestLineIsWhole(t *testing.T) {
	a := newAttacker(t)
	// HAProxy logs a byte that is not ASCII as a character of six
	token := a.token(map[string]any{"workflow_ref": strings.Repeat("\u00ff", 850), "sub": strings.Repeat("/", 300), "jti": strings.Repeat("/", 200)})
	for i, c := range []struct{ path, want string }{
		{"/artifacts/" + strings.Repeat(`"`, 1989), "200 ok"},
		{"/artifacts/" + strings.Repeat(`"`, 1990), "403 path_unsafe"},
		{"/artifacts/" + strings.Repeat(`"`, 7000), "403 path_unsafe"},
	} {
		conn := dial(t, a.g.URL)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n",
			c.path, strings.Repeat("h", 150), token)
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
		l := a.g.Sink.Take(t, 1)[0]
		if have := fmt.Sprintf("%d %s", l.Status, l.Reason); have != c.want || len(l.Subject) != 300 || len(l.TokenID) != 200 ||
			len([]rune(l.Job)) != 2*850 || l.Path != c.path[:2000] || l.Role != "deployer" {
			t.Errorf("%d: want %s, have %s, %+v", i, c.want, have, l)
		}
	}
}

// A request that HAProxy cannot even read reaches no rule: it was denied all the
// same, and its line says so.
func TestUnreadableRequestIsDenied(t *testing.T) {
	a := newAttacker(t)
	for _, request := range []string{
		"GET /\x01 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX: " + strings.Repeat("A", 65536) + "\r\n\r\n", // a header of 64 KiB
		"GARBAGE %s\r\n\r\n",
		"PRI * HTTP/2.0\r\nX: %s\r\n\r\n", // HTTP/2's preface where it does not belong: no rule sees it, and yet it is no parse error
	} {
		conn := dial(t, a.g.URL)
		fmt.Fprintf(conn, request, a.token(nil))
		status, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(status, "HTTP/1.1 4") && !strings.HasPrefix(status, "HTTP/1.0 4") {
			t.Fatalf("want a 400 (or 431), have %q, %v", status, err)
		}
		conn.Close()
		l := a.g.Sink.Take(t, 1)[0]
		if l.Status/100 != 4 || l.Decision != "deny" || l.Reason != "bad_request" || l.Subject != "" {
			t.Errorf("want 400 deny bad_request and nobody, have %+v", l)
		}
	}
}

// A header section that is nearly full has room for the identity once the token
// has left it.
func TestFullHeadersHaveRoomForTheIdentity(t *testing.T) {
	a := newAttacker(t)
	token := a.token(map[string]any{"workflow_ref": strings.Repeat("w", 1400)})
	conn := dial(t, a.g.URL)
	fmt.Fprintf(conn, "GET /artifacts/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nCookie: %s\r\n\r\n", token, strings.Repeat("c", 11500))
	reply, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 200 ") {
		t.Errorf("%v, %.60q", err, reply)
	}
}

// Of an empty list HAProxy reads the next list's element: such a claim is missing.
func TestEmptyListIsNoClaim(t *testing.T) {
	edgetest.Binary(t)
	root := edgetest.Root(t)
	signer := edgetest.NewSigner(t, "k1", jose.ES256, 0)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks.json"), signer)
	g := edgetest.Start(t, root, `
version: 1
gate: {log: $LOG}
issuers: [{name: one, provider: generic, issuer: "https://one.test", jwks: "file:$ROOT/jwks.json", audiences: [g], algorithms: [ES256], claims: {project: '$.my groups[0]'}}]
roles: [{name: admin, match: [{project: admins}]}]
grants: [{roles: [admin], paths: [/x]}]
protect: {frontends: [www]}
`, edgetest.Options{})
	now := time.Now().Unix()
	for text, want := range map[string]int{
		`"my groups":["admins"]`: 200, `"my groups":["others"],"scp":["admins"]`: 403,
		`"my groups":[],"scp":["admins"]`: 403, `"my groups" : [ ] ,"scp":["admins"]`: 403,
	} {
		token := signer.Token(t, json.RawMessage(fmt.Sprintf(`{"iss":"https://one.test","aud":"g","sub":"s","iat":%d,"exp":%d,%s}`, now, now+60, text)))
		if have, body := get(t, g.URL+"/x", token); have != want {
			t.Errorf("%s: want %d, have %d %s", text, want, have, body)
		}
	}
}

// A role's rate is each identity's own.
func TestRateIsPerIdentity(t *testing.T) {
	a := newAttacker(t)
	token := func(subject string) string {
		return a.token(map[string]any{"repository": "slow/lane", "sub": subject})
	}
	for i, want := range []int{200, 200, 200, 429, 429} {
		if have, _ := get(t, a.g.URL+"/slow/x", token("one")); have != want {
			t.Errorf("request %d: want %d, have %d", i, want, have)
		}
	}
	if have, _ := get(t, a.g.URL+"/slow/x", token("two")); have != 200 {
		t.Errorf("another identity: have %d", have)
	}
	lines := a.g.Sink.Take(t, 6)
	if l := lines[4]; l.Reason != "rate_limited" || l.Decision != "deny" || l.Role != "slow" {
		t.Errorf("%+v", l)
	}
}

// The stick tables count by identity, by identity and grant, and by address.
func TestStickTables(t *testing.T) {
	a := newAttacker(t)
	for range 3 {
		get(t, a.g.URL+"/artifacts/x", a.token(nil))
	}
	get(t, a.g.URL+"/nothing", a.token(nil))
	get(t, a.g.URL+"/healthz", "")
	identity := "hub|repo:acme/shop:ref:refs/heads/main"
	for table, want := range map[string][]string{
		"haptrail_identity": {"key=" + identity + " ", " http_req_cnt=4 ", " gpc0=1 "},
		"haptrail_group":    {"key=" + identity + "|/artifacts/** ", " http_req_cnt=3 ", "key=" + identity + "|denied "},
		"haptrail_source":   {"key=::ffff:127.0.0.1 ", " http_req_cnt=5 "},
	} {
		reply := ask(t, a.g, "show table "+table)
		for _, text := range want {
			if !strings.Contains(reply, text) {
				t.Errorf("%s: no %q in\n%s", table, text, reply)
			}
		}
	}
}

// ask sends a command that runtimeapi has no method for.
func ask(t *testing.T, g *edgetest.Gate, command string) string {
	t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(g.Sockets[0], "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, command)
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(reply)
}

// A key file that is gone denies its tokens. HAProxy 2.6 starts without a word
// then, 3.3 does not start.
func TestMissingKeyFileDenies(t *testing.T) {
	a := newAttacker(t)
	if err := a.g.Process.Stop(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(a.g.Dir, "keys", "*", "*.pem"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if a.g.TryRestart(t) != nil {
		return
	}
	if status, body := get(t, a.g.URL+"/artifacts/x", a.token(nil)); status != 401 || !strings.Contains(body, "sig_bad") {
		t.Errorf("%d %s", status, body)
	}
}
