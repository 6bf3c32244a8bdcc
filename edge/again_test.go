package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/runtimeapi"
)

// showAgain has the application see whether the signature was taken as verified
// before.
const showAgain = "    http-request set-header X-Again %[var(req.again)] if { var(req.again) -m found }\n"

// gateConn is one connection to the gate.
type gateConn struct {
	t  *testing.T
	rw *bufio.ReadWriter
}

func connect(t *testing.T, url string) gateConn {
	t.Helper()
	conn := dial(t, url)
	return gateConn{t, bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))}
}

// get returns the status, and whether the signature was not verified again.
func (c gateConn) get(path, token string) (status int, again bool) {
	c.t.Helper()
	fmt.Fprintf(c.rw, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, token)
	if err := c.rw.Flush(); err != nil {
		c.t.Fatal(err)
	}
	response, err := http.ReadResponse(c.rw.Reader, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, strings.Contains(string(body), "\nX-Again: 1\n")
}

// want is get with its answer checked.
func (c gateConn) want(token string, status int, again bool) {
	c.t.Helper()
	if haveStatus, haveAgain := c.get("/artifacts/x", token); haveStatus != status || haveAgain != again {
		c.t.Errorf("want %d, again %t, have %d, %t", status, again, haveStatus, haveAgain)
	}
}

// reasons checks why the gate decided as it did, line by line.
func (a attacker) reasons(want ...string) {
	a.t.Helper()
	var have []string
	for _, l := range a.g.Sink.Take(a.t, len(want)) {
		have = append(have, l.Reason)
	}
	if !slices.Equal(have, want) {
		a.t.Errorf("want %q, have %q", want, have)
	}
}

// A connection verifies a token once, and another connection for itself.
func TestVerifiedOnceOnAConnection(t *testing.T) {
	a := newAttackerWith(t, edgetest.Options{Frontend: showAgain})
	one, other := a.token(nil), a.es.Token(t, a.claims)
	c := connect(t, a.g.URL)
	c.want(one, 200, false)
	c.want(one, 200, true)
	c.want(other, 200, false)
	c.want(other, 200, true)
	c.want(one, 200, false) // only the last one is remembered
	if status, again := c.get("/healthz", one); status != 200 || again {
		t.Errorf("public path: %d, again %t", status, again)
	}
	c.want(one, 200, true)
	connect(t, a.g.URL).want(one, 200, false)
}

// What was verified vouches for that very token, not for its claims, its
// issuer or its connection.
func TestVerifiedVouchesForNoOtherToken(t *testing.T) {
	a := newAttackerWith(t, edgetest.Options{Frontend: showAgain})
	c := connect(t, a.g.URL)
	for _, good := range []string{a.token(nil), a.es.Token(t, a.claims)} {
		c.want(good, 200, false)
		signature := strings.LastIndexByte(good, '.') + 1
		flipped := map[bool]string{true: "B", false: "A"}[good[signature] == 'A']
		for range 2 { // nothing is remembered of what failed
			c.want(good[:signature]+flipped+good[signature+1:], 401, false)
		}
		c.want(good[:signature]+good[signature+1:]+"A", 401, false)
		c.want(good, 200, true) // a stranger on a shared connection puts nobody out
	}
	var expected []string
	for range 2 {
		expected = append(expected, "ok", "sig_bad", "sig_bad", "sig_bad", "ok")
	}
	a.reasons(expected...)

	stranger := a.rs
	stranger.Private = edgetest.NewSigner(t, "", jose.RS256, 2).Private
	c.want(stranger.Token(t, a.claims), 401, false)
	a.reasons("sig_bad")
}

// A token that was verified is refused from the moment its key is revoked,
// replaced or no longer good for its algorithm.
func TestVerifiedBeforeTheKeyWent(t *testing.T) {
	a := newAttackerWith(t, edgetest.Options{Frontend: showAgain})
	id := path.Join(a.g.Base, edge.KeysMap)
	entries := edge.MapEntries(a.g.Render(t)[edge.KeysMap])
	set := func(change func(runtimeapi.Entry) (runtimeapi.Entry, bool)) {
		t.Helper()
		var changed []runtimeapi.Entry
		for _, e := range entries {
			if e, keep := change(e); keep {
				changed = append(changed, e)
			}
		}
		if err := a.g.Client(t).ReplaceMap(t.Context(), id, changed); err != nil {
			t.Fatal(err)
		}
	}
	other := entries[slices.IndexFunc(entries, func(e runtimeapi.Entry) bool { return e.Key == "lab|shared" })].Value
	good := a.token(nil)
	c := connect(t, a.g.URL)
	for _, change := range []struct {
		reason string
		of     func(runtimeapi.Entry) (runtimeapi.Entry, bool)
	}{
		{"kid_unknown", func(e runtimeapi.Entry) (runtimeapi.Entry, bool) { return e, e.Key != "hub|rs" }},
		{"alg_mismatch", func(e runtimeapi.Entry) (runtimeapi.Entry, bool) { return e, e.Key != "hub|rs|RS256" }},
		{"sig_bad", func(e runtimeapi.Entry) (runtimeapi.Entry, bool) {
			if e.Key == "hub|rs" {
				e.Value = other
			}
			return e, true
		}},
	} {
		c.get("/artifacts/x", good)
		c.want(good, 200, true)
		set(change.of)
		c.want(good, 401, false)
		set(func(e runtimeapi.Entry) (runtimeapi.Entry, bool) { return e, true })
		a.reasons("ok", "ok", change.reason)
	}
}

// A token that was verified runs out all the same.
func TestVerifiedBeforeItRanOut(t *testing.T) {
	a := newAttackerWith(t, edgetest.Options{Frontend: showAgain})
	const leeway = 30 // seconds, the policy's default
	token := a.token(map[string]any{"exp": time.Now().Unix() - leeway + 3})
	c := connect(t, a.g.URL)
	c.want(token, 200, false)
	c.want(token, 200, true)
	time.Sleep(3500 * time.Millisecond)
	c.want(token, 401, false)
	a.reasons("ok", "ok", "exp_bad")
}

// Over HTTP/2 a connection's requests come side by side.
func TestVerifiedOnceOverHTTP2(t *testing.T) {
	a := newAttackerWith(t, edgetest.Options{Frontend: showAgain})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer client.CloseIdleConnections()
	good := a.token(nil)
	forged := good[:len(good)-8] + "AAAAAAAA"
	ask := func(token string) (int, bool) {
		r, err := http.NewRequest(http.MethodGet, a.g.URL+"/artifacts/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0, false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Error(err)
		}
		return response.StatusCode, strings.Contains(string(body), "\nX-Again: 1\n")
	}
	ask(good)
	done := make(chan bool)
	for i := range 20 {
		go func() {
			token, want := good, 200
			if i%2 == 1 {
				token, want = forged, 401
			}
			if status, again := ask(token); status != want || again != (want == 200) {
				t.Errorf("%d: want %d, have %d, again %t", i, want, status, again)
			}
			done <- true
		}()
	}
	for range 20 {
		<-done
	}
}
