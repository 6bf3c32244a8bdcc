package config

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/internal/strictyaml"
)

// TestFaults loads files that are named after their fault; the first line says
// what the error must contain.
func TestFaults(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	for _, path := range files(t, func(name string) bool { return !strings.HasPrefix(name, "good.") }) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		want, ok := strings.CutPrefix(first, "# want: ")
		if !ok {
			t.Fatalf("%s: the first line is not # want: …", path)
		}
		c, err := Load(path)
		if err == nil {
			t.Errorf("%s: loads", path)
			continue
		}
		if have := err.Error(); !strings.HasPrefix(have, path+": ") || !strings.Contains(have, want) {
			t.Errorf("%s:\n have %s\n want %s", path, have, want)
		}
		if n := strings.Count(err.Error(), "\n"); n > 0 {
			t.Errorf("%s: one fault, %d lines of error:\n%s", path, n+1, err)
		}
		if !reflect.DeepEqual(c, Config{}) {
			t.Errorf("%s: an error, and yet %+v", path, c)
		}
	}
}

// TestGood loads files that must load.
func TestGood(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	for _, path := range files(t, func(name string) bool { return strings.HasPrefix(name, "good.") }) {
		if _, err := Load(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, name := range []string{"good.empty.yaml", "good.comments.yaml"} {
		if c, err := Load(filepath.Join("testdata", name)); err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%s: have %+v, error %v, want the default", name, c, err)
		}
	}
}

func files(t *testing.T, want func(name string) bool) (paths []string) {
	t.Helper()
	all, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if want(filepath.Base(path)) {
			paths = append(paths, path)
		}
	}
	if len(paths) < 3 {
		t.Fatalf("only %d files in testdata", len(paths))
	}
	return paths
}

// TestEverything reads a file that sets every field: each reaches its place,
// and each path is taken from the file's folder.
func TestEverything(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	c, err := Load("testdata/good.everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, section := range map[string]any{"engine": c.Engine, "edge": c.Edge, "bursts": c.Bursts, "alerts": c.Alerts} {
		for name, unset := range zeroFields(reflect.ValueOf(section), name) {
			t.Errorf("%s is not set: %v", name, unset)
		}
	}
	want := map[string][2]string{
		"dsn":         {c.DSN, "embedded:testdata/data"},
		"state":       {c.State, "testdata/state"},
		"library":     {c.Engine.Library, "testdata/lib/libchdb.so"},
		"socket":      {c.Engine.Socket, "testdata/engine.sock"},
		"password":    {c.Engine.HTTP.Users[0].PasswordFile, "testdata/secrets/grafana"},
		"cert":        {c.Listeners[0].TLS.Cert, "testdata/tls/cert.pem"},
		"key":         {c.Listeners[0].TLS.Key, "testdata/tls/key.pem"},
		"client_ca":   {c.Listeners[0].TLS.ClientCA, "testdata/tls/ca.pem"},
		"unix socket": {c.Listeners[2].Address, "unixgram://testdata/log.sock"},
		"haproxy_cfg": {c.Formats[1].HAProxyCfg, "testdata/haproxy.cfg"},
		"policy":      {c.Edge.Policy, "testdata/policy.yaml"},
		"dir":         {c.Edge.Dir, "testdata/gate"},
		"binary":      {c.Edge.Binary, "testdata/bin/haproxy"},
		"files":       {fmt.Sprint(c.Edge.Files), "[testdata/gate /etc/haproxy/haproxy.cfg]"},
		"retention":   {c.Retention.String(), "9600h0m0s"},
		"shutdown":    {c.Shutdown.String(), "1m0s"},
		"vars":        {c.Vars["team"], "tenant"},
		"zone":        {c.Zone, "Europe/Berlin"},
		"http":        {c.HTTP, "off"},
		"keep":        {fmt.Sprint(c.Keep), "{true true}"},
		"flush":       {fmt.Sprint(c.Flush), "{50000 33554432 500ms}"},
		"log":         {fmt.Sprint(c.Log), "{debug json}"},
		"built-in":    {fmt.Sprint(c.Formats[0]), fmt.Sprint(Format{Name: "haptrail"})},
		"formats":     {fmt.Sprint(len(c.Formats)), "3"}, // instead of the default ones
	}
	for name, v := range want {
		if v[0] != v[1] {
			t.Errorf("%s: have %s, want %s", name, v[0], v[1])
		}
	}
	l, err := c.Listeners[0].Syslog()
	if err != nil {
		t.Fatal(err)
	}
	if l.MaxLine != 128<<10 || l.MaxConnections != 100 || l.BufferMemory != 16<<20 || l.IdleTimeout != time.Hour ||
		l.FrameTimeout != 10*time.Second || len(l.AllowedPeers) != 2 || l.Zone.String() != "Europe/Berlin" ||
		l.Framing != "octet-counted" || l.TLS.ClientAuth != "optional" || l.TLS.KeyFile != "testdata/tls/key.pem" {
		t.Errorf("listener: %+v", l)
	}
	if l, err := c.Listeners[2].Syslog(); err != nil || l.SocketMode != 0o600 {
		t.Errorf("socket_mode %o, error %v", l.SocketMode, err)
	}
}

// zeroFields lists the fields of a struct, and of what is in it, that are not set.
func zeroFields(v reflect.Value, name string) map[string]any {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	unset := map[string]any{}
	for i := range v.NumField() {
		field := v.Field(i)
		path := name + "." + v.Type().Field(i).Tag.Get("yaml")
		if field.IsZero() {
			unset[path] = field.Interface()
		} else if field.Kind() == reflect.Pointer {
			for k, x := range zeroFields(field, path) {
				unset[k] = x
			}
		}
	}
	return unset
}

func TestAbsolutePathsStay(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	for _, dsn := range []string{"embedded:/srv/trail", "embedded:///srv/trail", "unix:/run/engine.sock", "http://u@h:8123/db?x=1"} {
		path := write(t, "dsn: "+dsn+"\nengine: {socket: \"off\", library: /lib/libchdb.so}\n")
		c, err := Load(path)
		want := strings.Replace(dsn, ":///", ":/", 1)
		if err != nil || c.DSN != want || c.Engine.Socket != "off" || c.Engine.Library != "/lib/libchdb.so" {
			t.Errorf("have %q %+v, error %v, want %q", c.DSN, c.Engine, err, want)
		}
	}
}

// TestPasswordFileOfDSN stands beside the configuration, not in the folder in
// which the command happens to run.
func TestPasswordFileOfDSN(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	path := write(t, "dsn: clickhouse://u@h:9000/db?password_file=secret\n")
	if _, err := Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("have error %v, want that the file is missing", err)
	}
	secret := filepath.Join(filepath.Dir(path), "secret")
	if err := os.WriteFile(secret, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

// TestEnvironmentWins: also over a dsn that is broken, and from the folder of
// the process, as every path that a shell gives.
func TestEnvironmentWins(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "embedded:elsewhere")
	for _, text := range []string{"", "dsn: embedded:/srv/trail\n", "dsn: mysql://x\n"} {
		c, err := Load(write(t, text))
		if err != nil || c.DSN != "embedded:elsewhere" {
			t.Errorf("%q: have %q, error %v", text, c.DSN, err)
		}
	}
	t.Setenv("HAPTRAIL_DSN", "mysql://u:open-sesame@h")
	if _, err := Load(write(t, "")); err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("a faulty HAPTRAIL_DSN: have error %v", err)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "haptrail.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMissingFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("have %v", err)
	}
}

// TestAllFaultsAtOnce: who mends one fault must not find the next only then.
func TestAllFaultsAtOnce(t *testing.T) {
	_, err := Parse([]byte("zone: Nowhere\nflush: {rows: 0, age: 1ms}\nlog: {level: loud}\nlisteners: [{name: a, address: x}, {name: b, address: y}]\n"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"zone:", "flush.rows:", "flush.age:", "log.level:", `listener "a"`, `listener "b"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

// TestExampleIsTrue: deploy/haptrail.yaml loads, "#key: value" in it is the
// default, and "# key: value" an example that loads.
func TestExampleIsTrue(t *testing.T) {
	path := filepath.Join("..", "..", "..", "deploy", "haptrail.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	example, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defaults := regexp.MustCompile(`(?m)^#([a-z]+:)`)
	if n := len(defaults.FindAll(text, -1)); n < 8 {
		t.Errorf("only %d commented-out defaults", n)
	}
	uncommented, err := Parse(defaults.ReplaceAll(text, []byte("$1")))
	if err != nil {
		t.Fatalf("%s, defaults uncommented: %v", path, err)
	}
	if uncommented.Vars == nil || len(uncommented.Vars) > 0 {
		t.Errorf("vars: %v, want {}", uncommented.Vars)
	}
	uncommented.Vars = nil
	if !reflect.DeepEqual(uncommented, example) {
		t.Errorf("the commented-out defaults are not the defaults:\n have %+v\n want %+v", uncommented, example)
	}
	want := Default()
	want.Listeners = example.Listeners
	if !reflect.DeepEqual(example, want) {
		t.Errorf("the example sets more than listeners:\n have %+v\n want %+v", example, want)
	}
	examples := regexp.MustCompile(`(?m)^# ( *(?:- )?[a-z_]+:(?: .*)?| +- .*)$`)
	if loaded, err := Parse(examples.ReplaceAll(text, []byte("$1"))); err != nil {
		t.Errorf("%s, examples uncommented: %v", path, err)
	} else if loaded.Engine.HTTP == nil || len(loaded.Formats) != 2 || len(loaded.Listeners) != 2 || len(loaded.CI.Sources) != 2 || loaded.State == "" || len(loaded.Bursts.Proxies) != 2 || loaded.Bursts.Proxies[0].Peers == nil || len(loaded.Alerts.Channels) != 4 || loaded.Retention == 0 || loaded.Vars == nil {
		t.Errorf("an example was not uncommented: %+v", loaded)
	}
}

// TestEveryFieldIsExplained: a key is in deploy/haptrail.yaml, or has a comment
// where it is declared, and every struct field has a key.
func TestEveryFieldIsExplained(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "haptrail.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	explained := func(n ast.Node) bool {
		s, ok := n.(*ast.StructType)
		if !ok {
			return true
		}
		for _, f := range s.Fields.List {
			fields++
			name := f.Names[0].Name
			if f.Tag == nil || !strings.HasPrefix(f.Tag.Value, "`yaml:\"") {
				t.Errorf("%s has no yaml key", name)
				continue
			}
			key := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml")
			documented := f.Doc.Text() != "" || f.Comment.Text() != ""
			if !documented && !regexp.MustCompile(`\b`+key+`:`).Match(example) {
				t.Errorf("%s (%s) is neither explained where it is declared nor in deploy/haptrail.yaml", name, key)
			}
		}
		return true
	}
	for _, name := range []string{"config.go", "ci.go", "bursts.go", "alerts.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, explained)
	}
	// what findings have is explained beside the detectors
	if n := len(strictyaml.Keys(reflect.TypeFor[Config]())) - len(strictyaml.Keys(reflect.TypeFor[finding.Policy]())); fields < n || fields == 0 {
		t.Errorf("the files have %d fields, Config has %d keys", fields, n)
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "65536": 65536, "64KiB": 64 << 10, "64 KiB": 64 << 10, "2GiB": 2 << 30, "1TiB": 1 << 40} {
		if have, err := parseSize(text); err != nil || have != want {
			t.Errorf("%q: have %d, error %v, want %d", text, have, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5GiB", "64MB", "64K", "0x10", "1KiBKiB", "4194305TiB", "9223372036854775808"} {
		if have, err := parseSize(text); err == nil {
			t.Errorf("%q: have %d, want an error", text, have)
		}
	}
	for text, want := range map[string]time.Duration{"0": 0, "400d": 9600 * time.Hour, "1h30m": 90 * time.Minute, "65535d": 65535 * 24 * time.Hour} {
		if have, err := ParseDuration(text); err != nil || have != want {
			t.Errorf("%q: have %s, error %v, want %s", text, have, err, want)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "65536d", "5", "1d2h", "-5s"} {
		if have, err := ParseDuration(text); err == nil {
			t.Errorf("%q: have %s, want an error", text, have)
		}
	}
}

// FuzzParse: never a panic; what is taken is valid, and of what is not taken
// nothing remains.
func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range seeds {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil {
			if !reflect.DeepEqual(c, Config{}) {
				t.Errorf("error %v, and yet %+v", err, c)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("taken, and not valid: %v", err)
		}
		c.resolve("/etc/haptrail")
		resolved := c
		resolved.resolve("/elsewhere")
		if !reflect.DeepEqual(c, resolved) {
			t.Errorf("a path is not absolute after resolve: %+v", c)
		}
	})
}
