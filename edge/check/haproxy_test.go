package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/edge/haproxy"
)

func realHAProxy(t *testing.T) string {
	t.Helper()
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	return binary
}

// TestHAProxyRefuses: what the real one says, where it says so.
func TestHAProxyRefuses(t *testing.T) {
	binary := realHAProxy(t)
	for _, tc := range []struct {
		name, text string
		want       []string // of the findings of haproxy-refuses, the rest is not asked
	}{
		{"well", "frontend www\n mode http\n bind 127.0.0.1:8080\n timeout client 1s\n", nil},
		{"unknown keyword", "frontend www\n mode http\n bnid 127.0.0.1:8080\n", []string{"user.cfg:3 unknown keyword 'bnid' in 'frontend' section"}},
		{"unknown backend", "frontend www\n mode http\n bind 127.0.0.1:8080\n default_backend nope\n", []string{"unable to find required default_backend: 'nope'"}},
		{"no file", "frontend www\n bind 127.0.0.1:8080 ssl crt none.pem\n", []string{"user.cfg:2 'bind 127.0.0.1:8080' in section 'frontend' : unable to stat SSL certificate from file"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "user.cfg")
			write(t, tc.text, file)
			in := input(t, file)
			in.Files, in.HAProxy = in.Files[1:], binary
			found, err := Check(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			found = slices.DeleteFunc(found, func(f Finding) bool { return f.Code != "haproxy-refuses" })
			if len(found) != len(tc.want) {
				t.Fatalf("%d findings, want %d\n%s", len(found), len(tc.want), render(found))
			}
			for i, f := range found {
				got := strings.TrimPrefix(strings.TrimPrefix(f.Where(), filepath.Dir(file)+"/")+" "+f.Text, "haproxy ")
				if !strings.Contains(got, tc.want[i]) {
					t.Errorf("got  %s\nwant %s", got, tc.want[i])
				}
			}
		})
	}
}

// TestInheritedRules: HAProxy refuses what gate-inherited says it refuses.
func TestInheritedRules(t *testing.T) {
	binary := realHAProxy(t)
	const gate = "defaults haptrail\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n http-request deny\n"
	for _, text := range []string{
		"defaults x from haptrail\n",
		"listen x from haptrail\n bind 127.0.0.1:8080\n",
		"frontend www from haptrail\n bind 127.0.0.1:8080\nbackend app from haptrail\n",
		"frontend www from haptrail\n bind 127.0.0.1:8080\nbackend app\n",
	} {
		file := filepath.Join(t.TempDir(), "user.cfg")
		write(t, gate+text, file)
		in := input(t, file)
		in.Files, in.HAProxy = in.Files[1:], binary
		found, err := Check(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range []string{"haproxy-refuses", "gate-inherited"} {
			if !slices.ContainsFunc(found, func(f Finding) bool { return f.Code == code }) {
				t.Errorf("%q: no %s\n%s", text, code, render(found))
			}
		}
	}
}

// versionText is haproxy -vv of a version, cut to what is read.
func versionText(version, features string) string {
	return "HAProxy version " + version + " 2026/10/17 - https://haproxy.org/\nBuild options :\n\nFeature list : " + features + "\n"
}

// TestVersions: a script stands in for versions that cannot be here.
func TestVersions(t *testing.T) {
	const well = "+OPENSSL +PCRE2 +PCRE2_JIT"
	for _, tc := range []struct {
		name, says string
		want       []string
	}{
		{"2.6", versionText("2.6.12-1+deb12u4", well), []string{"haproxy-es256"}},
		{"3.4", versionText("3.4.0", well), nil},
		{"PCRE 1", versionText("3.4.0", "+OPENSSL +PCRE -PCRE2"), nil},
		{"AWS-LC", versionText("3.4.0", "-OPENSSL +OPENSSL_AWSLC +STATIC_PCRE2"), nil},
		{"no regex", versionText("3.4.1", "+OPENSSL -PCRE -PCRE2"), []string{"haproxy-without-pcre"}},
		{"no TLS", versionText("3.4.1", "-OPENSSL +PCRE2"), []string{"haproxy-without-tls"}},
		{"2.4", versionText("2.4.22", well), []string{"haproxy-old"}},
		{"1.8", "HA-Proxy version 1.8.30 2021/04/12\n", []string{"haproxy-old"}},
		{"3.3.0", versionText("3.3.0", well), []string{"haproxy-miscounts", "haproxy-es256"}},
		{"3.3.1", versionText("3.3.1", well), []string{"haproxy-es256"}},
		{"3.0.0", versionText("3.0.0-7832fb21f", well), []string{"haproxy-ring-stalls", "haproxy-es256"}},
		{"another program", "nginx version: nginx/1.29\n", []string{"haproxy-unknown"}},
		{"silence", "", []string{"haproxy-unknown"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, tc.says, dir, "says")
			write(t, "#!/bin/sh\nif [ \"$1\" = -vv ]; then cat "+dir+"/says; fi\n", dir, "haproxy")
			if err := os.Chmod(filepath.Join(dir, "haproxy"), 0o755); err != nil {
				t.Fatal(err)
			}
			in := input(t, "testdata/cases/clean.cfg")
			in.HAProxy = filepath.Join(dir, "haproxy")
			found, err := Check(t.Context(), in)
			var got []string
			for _, f := range found {
				got = append(got, f.Code)
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("%v, got %q, want %q", err, got, tc.want)
			}
		})
	}
}

// TestES256: the note is for those who verify such signatures.
func TestES256(t *testing.T) {
	c := &checker{Input: Input{Policy: parsePolicy(t, "algorithms: [ES256]", "algorithms: [RS256]")}}
	if c.usesES256() {
		t.Error("no issuer signs with ES256")
	}
}

func TestNoHAProxy(t *testing.T) {
	in := input(t, "testdata/cases/clean.cfg")
	in.HAProxy = filepath.Join(t.TempDir(), "haproxy")
	found, err := Check(t.Context(), in)
	if got := places(found, ""); err != nil || !slices.Equal(got, []string{"haproxy haproxy-unknown"}) {
		t.Errorf("%v %q", err, got)
	}
}

// TestRefusals: what cannot be taken apart is shown as it is.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"Segmentation fault\n", "haproxy: error: Segmentation fault [haproxy-refuses]"},
		{"", "haproxy: error: exit status 1 [haproxy-refuses]"},
		{"[NOTICE]   (1) : haproxy version is 2.6\n[ALERT]    (1) : config : parsing [a b.cfg:7] : bad: 'x'\n[ALERT]    (1) : config : Fatal errors found in configuration.\n",
			"a b.cfg:7: error: bad: 'x' [haproxy-refuses]"},
		{"[ALERT]    (1) : config : Proxy 'x': no mode.\n", "haproxy: error: Proxy 'x': no mode. [haproxy-refuses]"},
		{"[ALERT]    (1) : config : Parsing [a.cfg:3]: frontend 'x' has the same name\n", "a.cfg:3: error: frontend 'x' has the same name [haproxy-refuses]"},
	} {
		c := &checker{}
		c.refusals(tc.text, os.ErrProcessDone)
		want := strings.Replace(tc.want, "exit status 1", os.ErrProcessDone.Error(), 1)
		if len(c.found) != 1 || !strings.HasPrefix(c.found[0].String(), want+"\n") {
			t.Errorf("%q: %s", tc.text, render(c.found))
		}
	}
}
