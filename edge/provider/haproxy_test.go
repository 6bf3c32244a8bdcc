package provider_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/edge/provider"
	"github.com/haptrail/haptrail/edge/provider/providertest"
)

// reader is a HAProxy that answers with what it reads by each path out of the
// token it is shown.
type reader struct {
	client *http.Client
	paths  []provider.Path
}

// newReader starts HAProxy with one rule a path, written as package edge writes
// them. It listens on a unix socket: no port can be lost to somebody else.
func newReader(t *testing.T, paths []provider.Path) *reader {
	t.Helper()
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "h") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := filepath.Join(dir, "c.cfg")
	if err := os.WriteFile(config, readerConfig(dir, paths), 0o600); err != nil {
		t.Fatal(err)
	}
	child, err := haproxy.Start(t.Context(), haproxy.Options{
		Binary: binary, Configs: []string{config}, Socket: filepath.Join(dir, "stats"), Output: filepath.Join(dir, "out"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := child.Stop(); err != nil {
			t.Error(err)
		}
	})
	socket := filepath.Join(dir, "http")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &reader{client: &http.Client{Transport: transport, Timeout: 10 * time.Second}, paths: paths}
}

func readerConfig(dir string, paths []provider.Path) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "global\n  stats socket %s/stats mode 600\n", dir)
	b.WriteString("defaults\n  mode http\n  timeout client 10s\n  timeout connect 10s\n  timeout server 10s\n")
	fmt.Fprintf(&b, "frontend f\n  bind unix@%s/http\n", dir)
	for i, path := range paths {
		fmt.Fprintf(&b, "  http-request set-var(txn.p%d) http_auth_bearer,jwt_payload_query('%s','int')\n", i, path.HAProxy())
		fmt.Fprintf(&b, "  http-after-response set-header P%d \"=%%[var(txn.p%d)]\" if { var(txn.p%d) -m found }\n", i, i, i)
	}
	b.WriteString("  http-request return status 200\n")
	return b.Bytes()
}

// read shows HAProxy a token with that payload; the result has what it found, by
// path. jwt_payload_query does not verify, so the signature may be anything.
func (r *reader) read(t *testing.T, payload []byte) map[string]string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gate/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+encode([]byte(`{"alg":"RS256"}`))+"."+encode(payload)+".c2ln")
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	found := make(map[string]string)
	for i, path := range r.paths {
		if values := response.Header.Values(fmt.Sprintf("P%d", i)); len(values) == 1 {
			found[path.String()] = strings.TrimPrefix(values[0], "=")
		}
	}
	return found
}

func parse(t *testing.T, texts ...string) []provider.Path {
	t.Helper()
	paths := make([]provider.Path, len(texts))
	for i, text := range texts {
		path, err := provider.ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		paths[i] = path
	}
	return paths
}

func decode(t *testing.T, payload []byte) (claims map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if err := d.Decode(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// Each provider's sample, read by HAProxy along the very paths of the tables,
// and by Normalize, gives the normal form that is written beside it.
func TestHAProxyReadsEveryProvidersToken(t *testing.T) {
	for _, sample := range providertest.Samples() {
		t.Run(sample.Provider, func(t *testing.T) {
			var paths []provider.Path
			for _, field := range provider.Fields() {
				paths = append(paths, sample.Paths[field]...)
			}
			found := newReader(t, paths).read(t, sample.JSON)
			have := make(map[provider.Field]string)
			for field, candidates := range sample.Paths {
				for _, path := range candidates {
					if value, ok := found[path.String()]; ok {
						have[field] = value
						break
					}
				}
			}
			if !maps.Equal(have, sample.Want) {
				t.Errorf("HAProxy reads\n%v\nwant\n%v", have, sample.Want)
			}
		})
	}
}

// pathCases are names and values on which HAProxy and Lookup agree.
var pathCases = []struct{ path, payload, want string }{ // want "" is missing
	{`$.a`, `{"a":"x"}`, "x"},
	{`$.a.b`, `{"a":{"c":1,"b":"x"}}`, "x"},
	{`$.a.b.c`, `{"a":{"b":{"c":"x"}}}`, "x"},
	{`$.a.b`, `{"a":"x","b":"y"}`, ""},
	{`$.b`, `{"a":{"b":"deep"}}`, ""},
	{`$.a`, `{"ab":"x","A":"y"}`, ""},
	{`$.a[0]`, `{"a":["x","y"]}`, "x"},
	{`$.a[1]`, `{"a":["x","y"]}`, "y"},
	{`$.a[2]`, `{"a":["x","y"],"b":["z","z","z"]}`, ""},
	{`$.a[11]`, `{"a":[0,1,2,3,4,5,6,7,8,9,10,11]}`, "11"},
	{`$.a[1][0]`, `{"a":[["x"],["y"]]}`, "y"},
	{`$.a[1].b`, `{"a":[{"b":"x"},{"c":"-","b":"y"}]}`, "y"},
	{`$.a[0]`, `{"a":"x","b":["y"]}`, ""},
	{`$.oidc\.circleci\.com/project-id`, `{"oidc.circleci.com/project-id":"x"}`, "x"},
	{`$.https://sts\.amazonaws\.com/.aws_account`, `{"https://sts.amazonaws.com/":{"aws_account":"123"}}`, "123"},
	{`$.a\[b`, `{"a[b":"x"}`, "x"},
	{`$.a\[0]`, `{"a[0]":"x"}`, "x"},
	{`$.a]b`, `{"a]b":"x"}`, "x"},
	{`$.a b`, `{"a b":"x"}`, "x"},
	{`$.a,b`, `{"a,b":"x"}`, "x"},
	{`$.a(b)`, `{"a(b)":"x"}`, "x"},
	{`$.a\.b,c`, `{"a.b,c":"x"}`, "x"},
	{`$.a#b$c{d}|;%!?*`, `{"a#b$c{d}|;%!?*":"x"}`, "x"},
	{`$.a`, `{"a":48211903317}`, "48211903317"},
	{`$.a`, `{"a":9007199254740991}`, "9007199254740991"},
	{`$.a`, `{"a":9007199254740992}`, ""},
	{`$.a`, `{"a":-9007199254740991}`, "-9007199254740991"},
	{`$.a`, `{"a":-9007199254740992}`, ""},
	{`$.a`, `{"a":123456789012345678901234567890}`, ""},
	{`$.a`, `{"a":1.5}`, "1"},
	{`$.a`, `{"a":1e3}`, "1"},
	{`$.a`, `{"a":-0}`, "0"},
	{`$.a`, `{"a":"007"}`, "007"},
	{`$.a`, `{"a":null}`, ""},
	{`$.a`, `{"a":{"b":"x"}}`, ""},
	{`$.a`, `{"b":"a"}`, ""},
	{`$.a`, `{"a":"x\u003cy\n"}`, "x<y\n"},
}

func TestHAProxyReadsPathsAsLookupDoes(t *testing.T) {
	for _, c := range pathCases {
		path := parse(t, c.path)[0]
		have, ok := path.Lookup(decode(t, []byte(c.payload)))
		if have != c.want || ok != (c.want != "") {
			t.Errorf("Lookup %s in %s: want %q, have %q (%t)", c.path, c.payload, c.want, have, ok)
		}
	}
	byPath := make(map[string]int)
	var paths []provider.Path
	for _, c := range pathCases {
		if _, ok := byPath[c.path]; !ok {
			byPath[c.path] = len(paths)
			paths = append(paths, parse(t, c.path)...)
		}
	}
	r := newReader(t, paths)
	for _, c := range pathCases {
		// A line feed cannot be seen in a header: HAProxy would send a broken one.
		if strings.Contains(c.want, "\n") {
			continue
		}
		if have := r.read(t, []byte(c.payload))[c.path]; have != c.want {
			t.Errorf("HAProxy %s in %s: want %q, have %q", c.path, c.payload, c.want, have)
		}
	}
}

// Where HAProxy leaves what its users would expect, and Lookup does not follow.
// A case that fails here is a HAProxy that has been mended: then the gate's own
// defence against it may go.
func TestHAProxyDiffersFromLookup(t *testing.T) {
	cases := []struct{ what, path, payload, haproxy, lookup string }{
		{"an empty array: the next one's element", `$.aud[0]`, `{"aud":[],"scp":["gate"]}`, "gate", ""},
		{"an element without the name: the next one's", `$.v[0].r`, `{"v":[{"q":1},{"r":"second"}]}`, "second", ""},
		{"an empty object, three deep: a later array's", `$.a.b.c`, `{"a":{"b":{}},"z":[{"c":"x"}]}`, "x", ""},
		{"true is 1", `$.x`, `{"x":true}`, "1", ""},
		{"false is 0", `$.x`, `{"x":false}`, "0", ""},
		{"an escaped slash", `$.x`, `{"x":"refs\/heads\/main"}`, "", "refs/heads/main"},
		{"a letter above 00ff", `$.x`, `{"x":"\u4e2d"}`, "", "\u4e2d"},
		{"a name with an escape", `$.x`, `{"\u0078":"y"}`, "", "y"},
		{"a repeated name", `$.x`, `{"x":"first","x":"last"}`, "first", "last"},
	}
	paths := parse(t, `$.aud[0]`, `$.v[0].r`, `$.a.b.c`, `$.x`)
	r := newReader(t, paths)
	for _, c := range cases {
		if have := r.read(t, []byte(c.payload))[c.path]; have != c.haproxy {
			t.Errorf("%s: HAProxy: want %q, have %q", c.what, c.haproxy, have)
		}
		if have, _ := parse(t, c.path)[0].Lookup(decode(t, []byte(c.payload))); have != c.lookup {
			t.Errorf("%s: Lookup: want %q, have %q", c.what, c.lookup, have)
		}
	}
	// An array is its text from 3.0 on, and missing before; never an element.
	if have := r.read(t, []byte(`{"x":["y","z"]}`))["$.x"]; have != "" && have != `["y","z"]` {
		t.Errorf("an array: %q", have)
	}
	// An empty string is found, and so it is by Lookup.
	if have, ok := r.read(t, []byte(`{"x":""}`))["$.x"]; !ok || have != "" {
		t.Errorf("an empty string: %q (%t)", have, ok)
	}
}
