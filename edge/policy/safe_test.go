package policy

import (
	"math/rand/v2"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestSafePath(t *testing.T) {
	good := map[string]string{
		"/": "/", "/a": "/a", "/a/": "/a/", "/a/b.c": "/a/b.c", "/...": "/...", "/.a": "/.a", "/..a": "/..a", "/a..": "/a..", "/a./b": "/a./b",
		"/a%20b": "/a b", "/%c3%A9": "/é", "/é": "/é", "/%61": "/a", "/a+b": "/a+b", "/|": "/|", "/%7c": "/|", "/@:~!$&'()*,=": "/@:~!$&'()*,=", "/%ff": "/\xff", "/%22": `/"`,
		"/" + strings.Repeat("a", MaxPath-1): "/" + strings.Repeat("a", MaxPath-1),
	}
	for raw, want := range good {
		if have, ok := safePath(raw); !ok || have != want {
			t.Errorf("%q: have %q, %v, want %q", raw, have, ok, want)
		}
	}
	for _, raw := range []string{
		"", "*", "a", "http://h/a", "/" + strings.Repeat("a", MaxPath), // length counts what was sent
		"/" + strings.Repeat("%61", MaxPath/3+1),
		"//", "//a", "/a//b", "/a//", "/.", "/./a", "/a/.", "/a/./b", "/..", "/../a", "/a/..", "/a/../b",
		"/%2e", "/a%2Eb", "/%2E%2e/a", "/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a%00", `/a\b`,
		"/%25", "/%252e", "/%25%32%65", "/a%", "/a%2", "/a%zz", "/a%g0", "/a%0", "/%%20",
		"/a;b", "/a%3bb", "/a?b", "/a%3fb", "/a#b", "/a%23b", "/a\nb", "/a%0ab", "/a\x7f", "/a%7f", "/a\x00", "/\t", "/%1f",
	} {
		if have, ok := safePath(raw); ok {
			t.Errorf("%q: have %q, want it refused", raw, have)
		}
	}
}

// TestSafePathIsTheGatesConditions: the exported patterns, by which the generated
// gate judges, say the same as safePath.
func TestSafePathIsTheGatesConditions(t *testing.T) {
	encoded, unsafe := regexp.MustCompile(EncodedPattern), regexp.MustCompile(UnsafePattern)
	method, host := regexp.MustCompile(MethodPattern), regexp.MustCompile(HostPattern)
	seed := rand.Uint64()
	r := random{rand.New(rand.NewPCG(2, seed))}
	refused := 0
	const rounds = 10_000
	for range rounds {
		raw := "/" + r.some(6, "a", "/", ".", "..", "%", "%2e", "%2F", "%5c", "%00", "%25", "%20", "%3b", "%41", "2", "f", ";", "?", "#", `\`, "\n", "\x7f", "\xff", "|", "%c3", "~")
		decoded, err := url.PathUnescape(raw)
		want := len(raw) <= MaxPath && !encoded.MatchString(raw) && err == nil && !unsafe.MatchString(latin1(decoded))
		have, ok := safePath(raw)
		if ok != want || ok && have != decoded {
			t.Fatalf("seed %d, %q: have %q, %v, want %q, %v", seed, raw, have, ok, decoded, want)
		}
		if !ok {
			refused++
		}
		m := r.some(34, "G", "e", "-", "T", "G", "e", "-", r.of("Z", "a", "z", "1", "_", " ", "@", "[", "`", "{"))
		if have, want := safeMethod(m), method.MatchString(m); have != want {
			t.Fatalf("seed %d, method %q: have %v, want %v", seed, m, have, want)
		}
		h := r.some(5, "a", "B", ".", "1", "_", "-", "[", "]", ":", ":8", "|", "/", " ", "é")
		want_ := strings.ToLower(stripPort(h))
		if !host.MatchString(latin1(want_)) {
			want_ = ""
		}
		if have := grantHost(h); have != want_ {
			t.Fatalf("seed %d, host %q: have %q, want %q", seed, h, have, want_)
		}
	}
	if refused < rounds/10 || refused > rounds*9/10 {
		t.Errorf("%d of %d refused: this compares too little", refused, rounds)
	}
}

func TestGrantHost(t *testing.T) {
	long := strings.Repeat("a", 253)
	for host, want := range map[string]string{
		"a.example.com": "a.example.com", "A.Example.COM:8443": "a.example.com", "a:": "a", "127.0.0.1:80": "127.0.0.1", "127.0.0.1": "127.0.0.1",
		"[::1]": "[::1]", "[::1]:80": "[::1]", "[FE80::1]:80": "[fe80::1]", "": "", ":80": "", "a|b": "", "a b": "", "a/b": "", "é": "", "a\n": "",
		long: long, long + "a": "", long + ":80": long, "a.": "a.",
	} {
		if have := grantHost(host); have != want {
			t.Errorf("%q: have %q, want %q", host, have, want)
		}
	}
}

func TestSafeMethod(t *testing.T) {
	for method, want := range map[string]bool{
		"GET": true, "get": true, "M-SEARCH": true, "-": true, strings.Repeat("A", 32): true,
		"": false, strings.Repeat("A", 33): false, "G T": false, "G|T": false, "G_T": false, "G1": false, "@": false, "[": false, "`": false, "{": false, "É": false, "GET\n": false,
	} {
		if have := safeMethod(method); have != want {
			t.Errorf("%q: have %v", method, have)
		}
	}
}
