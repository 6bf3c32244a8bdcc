package keys

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFetchOverTLS(t *testing.T) {
	server := newIssuer(t, true)
	server.publish(set(t, jwk(t, "a", rsaKey()[0].Public(), nil)))
	s := open(t, t.TempDir(), server)
	result := refresh(t, s, source(server.URL+"/keys?tenant=1"))
	if !slices.Equal(kids(result.Added), []string{"a"}) || !result.Changed() {
		t.Errorf("%+v", result)
	}
	if have := server.last("Accept"); !strings.Contains(have, "application/jwk-set+json") {
		t.Errorf("Accept: %s", have)
	}
	// A certificate that nobody vouches for.
	refuse(t, open(t, s.dir), source(server.URL), "certificate")
}

// Nothing that a server answers takes a working key away.
func TestBadAnswersChangeNothing(t *testing.T) {
	server := newIssuer(t, false)
	good := set(t, jwk(t, "a", rsaKey()[0].Public(), nil))
	server.publish(good)
	s := open(t, t.TempDir())
	refresh(t, s, source(server.URL))
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	big := bytes.Repeat([]byte(" "), 1<<20)
	sent := 0
	for n, c := range []struct {
		want    string
		handler http.HandlerFunc
	}{
		{"the answer is 500 Internal Server Error", status(500)},
		{"the answer is 404", status(404)},
		{"the answer is 204", status(204)},
		{"the answer is 206", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206); w.Write(good) }},
		{"the answer is 304", status(304)}, // which we had not asked for
		{"no JSON object", func(http.ResponseWriter, *http.Request) {}},
		{"it is empty", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) }},
		{"shared secret", func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"keys":[{"kty":"oct","kid":"a","k":"AA"}]}`))
		}},
		{"unexpected EOF", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			w.Write(good[:len(good)-10])
		}},
		{"no JSON object", func(w http.ResponseWriter, _ *http.Request) { w.Write(good[:len(good)-10]) }},
		{"more than 1048576 bytes", func(w http.ResponseWriter, _ *http.Request) {
			for range 50 { // MiB
				k, err := w.Write(big)
				if sent += k; err != nil {
					return
				}
			}
		}},
		{"EOF", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		}},
		{"malformed", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Write([]byte("SSH-2.0-OpenSSH\r\n"))
				conn.Close()
			}
		}},
	} {
		server.answer(c.handler)
		result := refuse(t, s, source(server.URL), c.want)
		if result.Changed() || result.NotModified {
			t.Errorf("%s: %+v", c.want, result)
		}
		have := s.Status()[0]
		if have.Failures != n+1 || !strings.Contains(have.Failure, c.want) || have.LastFailure.Before(have.LastSuccess) || have.Keys != 1 {
			t.Errorf("%s: status %+v", c.want, have)
		}
	}
	server.Close()
	refuse(t, s, source(server.URL), "connection refused")
}

// 50 MiB are not read to their end.
func TestHugeAnswerIsCutOff(t *testing.T) {
	server := newIssuer(t, false)
	done := make(chan int, 1)
	server.answer(func(w http.ResponseWriter, _ *http.Request) {
		big, sent := bytes.Repeat([]byte(" "), 1<<20), 0
		for range 50 {
			n, err := w.Write(big)
			if sent += n; err != nil {
				break
			}
		}
		done <- sent
	})
	refuse(t, open(t, t.TempDir()), source(server.URL), "more than 1048576 bytes")
	if sent := <-done; sent > 20<<20 {
		t.Errorf("the server got rid of %d bytes", sent)
	}
}

func TestSlowServer(t *testing.T) {
	server := newIssuer(t, false)
	release := make(chan struct{})
	defer close(release)
	for name, handler := range map[string]http.HandlerFunc{
		"no answer": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		},
		"a byte now and then": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write([]byte(" "))
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		},
	} {
		server.answer(handler)
		s := open(t, t.TempDir())
		s.timeout = 100 * time.Millisecond
		start := time.Now()
		refuse(t, s, source(server.URL), "no whole answer within 100ms")
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if have := s.Status()[0]; have.Failures != 1 {
			t.Errorf("%s: %+v", name, have)
		}
	}
}

// Whoever is told to stop has learnt nothing of the issuer.
func TestCancelledRefreshIsNoFailure(t *testing.T) {
	server := newIssuer(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	server.answer(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	s := open(t, t.TempDir())
	_, err := s.Refresh(ctx, source(server.URL))
	if err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("%v", err)
	}
	if have := s.Status(); len(have) != 0 {
		t.Errorf("%+v", have)
	}
}

func TestRedirects(t *testing.T) {
	good := set(t, jwk(t, "a", rsaKey()[0].Public(), nil))
	plain, safe, other := newIssuer(t, false), newIssuer(t, true), newIssuer(t, true)
	plain.publish(good)
	other.publish(good)
	// hop counts down: /3 leads to /2 ... /0, which has the set.
	hop := func(w http.ResponseWriter, r *http.Request) {
		if to, ok := strings.CutPrefix(r.URL.Path, "/to/"); ok {
			target, _ := url.QueryUnescape(to)
			http.Redirect(w, r, target, http.StatusFound)
			return
		}
		var n int
		fmt.Sscanf(r.URL.Path, "/%d", &n)
		if n == 0 {
			w.Write(good)
			return
		}
		http.Redirect(w, r, fmt.Sprint("/", n-1), http.StatusMovedPermanently)
	}
	safe.answer(hop)
	to := func(from *issuer, target string) string { return from.URL + "/to/" + url.QueryEscape(target) }
	atLocalhost := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	for _, c := range []struct{ name, url, want string }{
		{"three", safe.URL + "/3", ""},
		{"four", safe.URL + "/4", "more than 3 redirects"},
		{"to another port of the same host", to(safe, other.URL), ""},
		{"to plain http", to(safe, plain.URL), "a redirect from https to http://127.0.0.1"},
		{"to a file", to(safe, "file:///etc/passwd"), "a redirect from https to file:"},
		{"to this machine by another name", to(safe, atLocalhost), "an address that is not public"},
		{"to the cloud's metadata", to(safe, "https://169.254.169.254/latest"), "169.254.169.254, an address that is not public"},
		{"to a private network", to(safe, "https://10.0.0.1/"), "10.0.0.1, an address that is not public"},
		{"to a user name", to(safe, "https://u:p@127.0.0.1/"), "user name"},
		{"to a host outside ASCII", to(safe, "https://ex\u00e4mple.test/"), "outside ASCII"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir(), safe, other)
			if c.want == "" {
				refresh(t, s, source(c.url))
				return
			}
			refuse(t, s, source(c.url), c.want)
		})
	}
	plain.answer(hop)
	for _, c := range []struct{ name, url, want string }{
		{"plain, three", plain.URL + "/3", ""},
		{"plain to elsewhere", to(plain, "http://issuer.example/keys"), "use https"},
		{"plain to TLS", to(plain, safe.URL), "a redirect from http to https"},
	} {
		s := open(t, t.TempDir(), safe)
		if c.want == "" {
			refresh(t, s, source(c.url))
		} else {
			refuse(t, s, source(c.url), c.want)
		}
	}
}

// A name that says loopback and resolves elsewhere, or the other way round, is
// judged by its address when it is dialled.
func TestAddressesAreJudgedWhenDialled(t *testing.T) {
	for _, c := range []struct {
		from, address string
		elsewhere     bool
		want          string
	}{
		{"http://localhost/", "192.0.2.1:80", false, "plain http to 192.0.2.1"},
		{"https://issuer.example/", "127.0.0.1:1", true, "not public"},
		{"https://issuer.example/", "[::1]:1", true, "not public"},
		{"https://issuer.example/", "[::ffff:10.0.0.1]:1", true, "10.0.0.1, an address that is not public"},
		{"https://issuer.example/", "127.0.0.1:1", false, "refused"}, // the configured host may be inside
	} {
		from, err := url.Parse(c.from)
		if err != nil {
			t.Fatal(err)
		}
		f := &fetcher{url: from, elsewhere: map[string]bool{c.address: c.elsewhere}}
		conn, err := f.dial(t.Context(), "tcp", c.address)
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: want %q, have %v", c.from, c.address, c.want, err)
		}
	}
	for text, want := range map[string]bool{
		"192.0.2.1": true, "2001:db8::1": true, "127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false,
		"192.168.0.1": false, "169.254.169.254": false, "fe80::1": false, "fd00::1": false, "100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false,
	} {
		if have := public(netip.MustParseAddr(text)); have != want {
			t.Errorf("%s is public: want %t, have %t", text, want, have)
		}
	}
}

func TestURLs(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://issuer.example/keys": true, "http://127.0.0.1:8080/keys": true, "http://[::1]/": true, "http://LOCALHOST/": true,
		"http://127.8.9.1/": true, "file:/a/b.json": true, "file:///a/b.json": true,
		"http://127.0.0.1.example/": false, "http://localhost.example/": false, "http://10.0.0.1/": false, "https:///keys": false,
		"file://host/keys": false, "": false, "https://": false, "HTTP://issuer.example/": false, "data:,x": false, "http://0/": false,
	} {
		if _, err := parseURL(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestFileSource(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys.json")
	src := source("file:" + name)
	s := open(t, t.TempDir())
	refuse(t, s, src, "no such file")
	if err := os.WriteFile(name, set(t, jwk(t, "a", rsaKey()[0].Public(), nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	if result := refresh(t, s, src); !slices.Equal(kids(result.Added), []string{"a"}) {
		t.Errorf("%+v", result)
	}
	if err := os.WriteFile(name, bytes.Repeat([]byte(" "), maxBody+1), 0o600); err != nil {
		t.Fatal(err)
	}
	refuse(t, s, src, "more than 1048576 bytes")
}

// A set that did not change is not sent again, unless something else did.
func TestNotModified(t *testing.T) {
	server := newIssuer(t, false)
	text := set(t, jwk(t, "a", rsaKey()[0].Public(), nil))
	const etag, modified = `"v1"`, "Mon, 23 Nov 2026 10:00:00 GMT"
	server.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == etag && r.Header.Get("If-Modified-Since") == modified {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", etag)
		w.Header().Set("Last-Modified", modified)
		w.Write(text)
	})
	s := open(t, t.TempDir())
	src := source(server.URL)
	if result := refresh(t, s, src); result.NotModified {
		t.Error("not modified at the first time")
	}
	first := s.Keys()[0]
	result := refresh(t, open(t, s.dir), src) // another process
	if !result.NotModified || result.Changed() {
		t.Errorf("the second time: %+v", result)
	}
	result = refresh(t, s, src)
	if key := s.Keys()[0]; !result.NotModified || !key.Seen.After(first.Seen) || !key.Added.Equal(first.Added) {
		t.Errorf("the third time: %+v, %+v", result, key)
	}
	// Other algorithms: the set has to be read again for them.
	src.Algorithms = []string{"RS256", "RS512"}
	result = refresh(t, s, src)
	if result.NotModified || len(result.Updated) != 1 || !slices.Equal(result.Updated[0].Algorithms, src.Algorithms) {
		t.Errorf("other algorithms: %+v", result)
	}
	// A file that is gone, or is another one, is written again.
	for _, spoil := range []func(string) error{os.Remove, func(name string) error { return os.WriteFile(name, []byte("x"), 0o644) }} {
		if err := spoil(filepath.Join(s.dir, first.File)); err != nil {
			t.Fatal(err)
		}
		if result = refresh(t, s, src); result.NotModified || result.Changed() || len(s.Keys()) != 1 {
			t.Errorf("a spoilt file: %+v", result)
		}
	}
	// Another URL: what the first one called its answer's version means nothing.
	src.URL += "/other"
	refresh(t, s, src)
	if have := server.last("If-None-Match"); have != "" {
		t.Errorf("If-None-Match %s goes to another URL", have)
	}
}
