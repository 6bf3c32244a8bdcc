package demo

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// attacker knows all that is public: URLs, kids, public keys and the claims of
// the job whose place it wants; and, to make the other cases, holds real tokens.
type attacker struct {
	t    *testing.T
	w    *World
	base job // "shop release": a publisher, by an RS256 key
}

func newAttacker(t *testing.T, w *World) attacker {
	i := slices.IndexFunc(cast, func(j job) bool { return j.name == "shop release" })
	return attacker{t, w, cast[i]}
}

// token is a real token of the job, with claims changed before it is signed; a
// nil value takes the claim out.
func (a attacker) token(changes map[string]any) string {
	return a.signed(a.w.issuer.keys.of(a.base.provider).Keys[0].KeyID, changes)
}

// signed is the same token, signed with any issuer's key.
func (a attacker) signed(kid string, changes map[string]any) string {
	a.t.Helper()
	claims := a.w.issuer.claims(a.base, "id", time.Now())
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	token, err := a.w.issuer.keys.find(kid).sign(claims)
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

// headed is the job's token under another header, its signature made by sign.
func (a attacker) headed(header map[string]any, sign func(input string) []byte) string {
	a.t.Helper()
	text, err := json.Marshal(header)
	if err != nil {
		a.t.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString(text) + "." + strings.Split(a.token(nil), ".")[1]
	return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
}

// hs256 signs with a shared secret: the public key's text, or its file's name.
func hs256(secret []byte) func(string) []byte {
	return func(input string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
}

func signature(n int) func(string) []byte { return func(string) []byte { return make([]byte, n) } }

// attack is a request and what the gate must make of it.
type attack struct {
	name, method, path string
	authorization      []string
	headers            http.Header
	status             int
	reason             string
}

func (a attacker) bearer(name, token string, status int, reason string) attack {
	return attack{name: name, authorization: []string{"Bearer " + token}, status: status, reason: reason}
}

func (a attacker) tokenShapes() []attack {
	good := a.token(nil)
	return []attack{
		a.bearer("as it should be", good, 200, "ok"),
		{name: "lower-case scheme", authorization: []string{"bearer " + good}, status: 200, reason: "ok"},
		{name: "no token", status: 401, reason: "no_token"},
		{name: "Basic", authorization: []string{"Basic dXNlcjpwYXNz"}, status: 401, reason: "no_token"},
		{name: "two tokens", authorization: []string{"Bearer " + good, "Bearer " + good}, status: 401, reason: "no_token"},
		a.bearer("dots", "..", 401, "token_shape"),
		a.bearer("garbage", "garbage", 401, "token_shape"),
		a.bearer("four parts", good+".x", 401, "token_shape"),
		a.bearer("too long", good+strings.Repeat("A", 6000), 401, "token_size"),
		{name: "identity header instead of a token", headers: http.Header{"X-Identity-Sub": {"root"}}, status: 401, reason: "no_token"},
	}
}

func (a attacker) signatures() []attack {
	pem, err := publicPEM(a.w.issuer.keys.find("github-2026a").private.Public())
	if err != nil {
		a.t.Fatal(err)
	}
	parts := strings.Split(a.token(nil), ".")
	other := strings.Split(a.token(map[string]any{"run_id": "1"}), ".")
	header := func(alg, kid string) map[string]any { return map[string]any{"alg": alg, "kid": kid, "typ": "JWT"} }
	return []attack{
		a.bearer("forged", forgedToken(a), 401, "sig_bad"),
		a.bearer("claims of one token, signature of another", parts[0]+"."+other[1]+"."+parts[2], 401, "sig_bad"),
		a.bearer("alg none", a.headed(header("none", "github-2026a"), signature(0)), 401, "token_shape"),
		a.bearer("alg none with a signature", a.headed(header("none", "github-2026a"), signature(256)), 401, "alg_mismatch"),
		a.bearer("HS256 with the public key", a.headed(header("HS256", "github-2026a"), hs256(pem)), 401, "alg_mismatch"),
		a.bearer("HS256 with the file's name", a.headed(header("HS256", "github-2026a"), hs256([]byte("keys/github-2026a.pem"))), 401, "alg_mismatch"),
		a.bearer("ES256 on an RSA key", a.headed(header("ES256", "github-2026a"), signature(64)), 401, "alg_mismatch"),
		a.bearer("ES256 signature too long", a.headed(header("ES256", "teamcity-2026a"), signature(3000)), 401, "sig_length"),
		a.bearer("ES256 signature of zeros", a.headed(header("ES256", "teamcity-2026a"), signature(64)), 401, "sig_bad"),
		a.bearer("unknown kid", a.headed(header("RS256", "github-1999"), signature(256)), 401, "kid_unknown"),
		a.bearer("no kid", a.headed(map[string]any{"alg": "RS256"}, signature(256)), 401, "kid_unknown"),
		a.bearer("kid with a NUL", a.headed(header("RS256", "github-2026a\x00x"), signature(256)), 401, "kid_unknown"),
		a.bearer("kid that forges a line", a.headed(header("RS256", "x\",\"sub\":\"root\n<134>1 - root"), signature(256)), 401, "kid_unknown"),
		a.bearer("one issuer's name, another's key", a.signed("gitlab-2026a", nil), 401, "iss_bad"),
	}
}

func forgedToken(a attacker) string {
	a.t.Helper()
	j := a.base
	j.token = forged
	token, err := a.w.issuer.token(j, "id", time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

func (a attacker) claims() []attack {
	ours := a.w.issuer.audiences[github]
	now := time.Now().Unix()
	var attacks []attack
	claim := func(status int, reason, name string, values ...any) {
		for i, value := range values {
			attacks = append(attacks, a.bearer(fmt.Sprintf("%s %s %d: %.40q", name, reason, i, fmt.Sprint(value)),
				a.token(map[string]any{name: value}), status, reason))
		}
	}
	number := func(text string) any { return json.RawMessage(text) }
	claim(401, "iss_bad", "iss", nil, "https://nowhere.test", a.w.issuer.url(gitlab), a.w.issuer.url(github)+"\x00", 7)
	claim(401, "aud_bad", "aud", nil, "", "gate", ours+"\x00x", ours+".evil.test", []string{"a", "b"}, []string{}, true)
	claim(200, "ok", "aud", []string{ours, "b"}, []string{"a", "b", ours})
	claim(401, "exp_bad", "exp", nil, true, "never", "", -1, 0, now-31, number("1.9e10"), number("null"), int64(1)<<53, number("9223372036854775808"))
	claim(200, "ok", "exp", now-20, fmt.Sprint(now+600), int64(1)<<53-1)
	claim(401, "nbf_bad", "nbf", now+600)
	claim(200, "ok", "nbf", nil, now+20)
	claim(401, "claim_charset", "sub", nil, "", "root\n", "a\nb", `a"b`, "a\x00b", "ä", "a|b", `a\b`, strings.Repeat("a", 201))
	claim(401, "claim_charset", "sha", "0123\n<134>1 - - -", `","sub":"root`)
	claim(401, "claim_charset", "ref", "refs/heads/main|", "refs/heads/main\x00x")
	claim(401, "claim_charset", "repository", "acme/web-shop|refs/heads/main", "acme/web-shop\x00x", strings.Repeat("r", 2000))
	claim(403, "no_role", "repository", nil, "acme/web-shop-of-mine", "acme/web", "Acme/web-shop")
	claim(200, "ok", "run_id", number("9007199254740991"))
	return attacks
}

func (a attacker) paths() []attack {
	good, branch := a.token(nil), a.token(map[string]any{"ref": "refs/heads/main-of-mine"})
	var attacks []attack
	add := func(method, path, token string, status int, reason string) {
		attacks = append(attacks, attack{
			name: method + " " + path, method: method, path: path,
			authorization: []string{"Bearer " + token}, status: status, reason: reason,
		})
	}
	for _, path := range []string{
		"/artifacts/../secrets/x", "/artifacts/%2e%2e/secrets/x", "/artifacts/.%2E/secrets/x", "/artifacts/%252e%252e/secrets/x",
		"/artifacts//secrets/x", "/artifacts/x;/secrets", "/artifacts/%5c..%5csecrets", "/artifacts/a%00b", "/artifacts/a%0ab", "/artifacts/./x", "/artifacts/..",
	} {
		add("GET", path, good, 403, "path_unsafe")
	}
	for _, path := range []string{"/secrets/x", "/%73ecrets/x", "/artifacts", "/artifacts-of-others/x", "/ARTIFACTS/x", "/"} {
		add("GET", path, good, 403, "grant_denied")
	}
	add("DELETE", "/artifacts/x/0", good, 403, "grant_denied")
	add("get", "/artifacts/x/1", good, 403, "grant_denied")
	add("PATCH", "/artifacts/x/1", good, 403, "grant_denied") // a method that HAProxy has no number for
	add("POST", "/releases/x/2", good, 201, "ok")
	add("POST", "/releases/x/3", branch, 403, "grant_denied")
	add("GET", "/releases/x/4?token="+branch[:40], good, 200, "ok") // a query string is not logged
	return attacks
}

func TestAttacks(t *testing.T) {
	s := newSink(t)
	w := startWorld(t, s, nil)
	a := newAttacker(t, w)
	attacks := slices.Concat(a.tokenShapes(), a.signatures(), a.claims(), a.paths())
	for i := range attacks {
		c := &attacks[i]
		if c.path == "" { // one of its own, to find its line by
			c.method, c.path = "GET", fmt.Sprintf("/artifacts/attack/%d", i)
		}
		if have := a.send(*c); have != c.status {
			t.Errorf("%s: want status %d, have %d", c.name, c.status, have)
		}
	}
	lines := make(map[string]line)
	for _, l := range s.take(t, len(attacks)) {
		lines[l.Method+" "+l.Path] = l
	}
	for _, c := range attacks {
		path, _, _ := strings.Cut(c.path, "?")
		l, found := lines[c.method+" "+path]
		decision := "deny"
		if c.reason == "ok" {
			decision = "allow"
		}
		if !found || l.Status != c.status || l.Decision != decision || l.Reason != c.reason {
			t.Errorf("%s: want %d %s %s, have (found: %t) %d %s %s", c.name, c.status, decision, c.reason, found, l.Status, l.Decision, l.Reason)
		}
		if c.status == 401 && l.Subject != "" && c.reason != "aud_bad" && c.reason != "exp_bad" && c.reason != "nbf_bad" {
			t.Errorf("%s: the unproven subject %q is logged", c.name, l.Subject)
		}
	}
}

func (a attacker) send(c attack) int {
	a.t.Helper()
	r, err := http.NewRequest(c.method, a.w.Gate()+c.path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	if c.headers != nil {
		r.Header = c.headers.Clone()
	}
	for _, value := range c.authorization {
		r.Header.Add("Authorization", value)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		a.t.Fatalf("%s: %v", c.name, err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	if challenge := response.Header.Get("WWW-Authenticate"); (challenge != "") != (response.StatusCode == 401) {
		a.t.Errorf("%s: status %d with challenge %q", c.name, response.StatusCode, challenge) // RFC 6750, section 3
	}
	return response.StatusCode
}

// What the application is told comes from the gate alone.
func TestIdentityHeadersAreTheGates(t *testing.T) {
	s := newSink(t)
	w := startWorld(t, s, nil)
	a := newAttacker(t, w)
	r, err := http.NewRequest(http.MethodPut, w.Gate()+"/artifacts/x", bytes.NewReader([]byte("content")))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.token(nil))
	r.Header.Set("X-Identity-Sub", "root")
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if want := "stored 7 bytes for " + a.base.subject + "\n"; err != nil || string(body) != want {
		t.Errorf("want %q, have %q, %v", want, body, err)
	}
}

// The header that names a run is kept only when it can be logged as it is.
func TestClaimedRunIsChecked(t *testing.T) {
	s := newSink(t)
	w := startWorld(t, s, nil)
	a := newAttacker(t, w)
	want := make(map[string]string)
	for i, c := range []struct {
		values []string
		want   string
	}{
		{[]string{"2bQWk1XYZ9dE"}, "2bQWk1XYZ9dE"},
		{nil, ""},
		{[]string{`a","sub":"root`}, ""},
		{[]string{"a", "b"}, ""},
		{[]string{strings.Repeat("a", 65)}, ""},
	} {
		path := fmt.Sprintf("/artifacts/run/%d", i)
		want[path] = c.want
		a.send(attack{
			name: path, method: "GET", path: path, headers: http.Header{"X-Ci-Run": c.values},
			authorization: []string{"Bearer " + a.token(nil)},
		})
	}
	for _, l := range s.take(t, len(want)) {
		if l.ClaimedRun != want[l.Path] {
			t.Errorf("%s: want claimed run %q, have %q", l.Path, want[l.Path], l.ClaimedRun)
		}
	}
}

// The longest line that anybody can cause is whole: nobody pushes his name out
// of the log.
func TestLongestLineIsWhole(t *testing.T) {
	s := newSink(t)
	w := startWorld(t, s, nil)
	a := newAttacker(t, w)
	token := a.token(map[string]any{"workflow_ref": strings.Repeat("w", 1600), "sub": strings.Repeat("s", 200)})
	for i, c := range []struct {
		path   string
		status string
		reason string
	}{
		{"/artifacts/" + strings.Repeat(`"`, 1989), "400", "ok"}, // allowed; it is the application that will not have such a Host
		{"/artifacts/" + strings.Repeat(`"`, 1990), "403", "path_unsafe"},
		{"/artifacts/" + strings.Repeat(`"`, 7500), "403", "path_unsafe"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.Gate(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n",
			c.path, strings.Repeat("\xff", 150), token)
		reply, err := io.ReadAll(conn)
		if err != nil || !bytes.HasPrefix(reply, []byte("HTTP/1.1 "+c.status+" ")) {
			t.Fatalf("%d: want %s, have %.40q, %v", i, c.status, reply, err)
		}
		l := s.take(t, 1)[0]
		if l.Reason != c.reason || len(l.Subject) != 200 || len(l.Job) != 1600 || l.Path != c.path[:2000] || l.Role != "publisher" {
			t.Errorf("%d: want %s, have %+v", i, c.reason, l)
		}
	}
}

// A request that HAProxy cannot even read reaches no rule: it was denied all the
// same, and its line says so.
func TestUnreadableRequestIsDenied(t *testing.T) {
	s := newSink(t)
	w := startWorld(t, s, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.Gate(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /\x01 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", newAttacker(t, w).token(nil))
	reply, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(reply, []byte("HTTP/1.1 400 ")) {
		t.Fatalf("want a 400, have %q, %v", reply, err)
	}
	l := s.take(t, 1)[0]
	if l.Status != 400 || l.Decision != "deny" || l.Reason != "bad_request" || l.Subject != "" {
		t.Errorf("want 400 deny bad_request and nobody, have %+v", l)
	}
}
