package check

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/runtimeapi"
)

// copyGate is a folder of testdata/gate's files that a test may change.
func copyGate(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "gate")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "gate"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// gateFiles are what testdata/gate holds, as a renderer would return it.
func gateFiles(t testing.TB) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	root := os.DirFS(filepath.Join("testdata", "gate"))
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, "keys/") {
			return err
		}
		all[name], err = fs.ReadFile(root, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// places renders findings as "file:line code", files below dir without it.
func places(all []Finding, dir string) []string {
	var out []string
	for _, f := range all {
		out = append(out, strings.TrimPrefix(f.Where(), dir+"/")+" "+f.Code)
	}
	return out
}

// write replaces a file, and makes its folders.
func write(t testing.TB, text string, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func edit(t testing.TB, old, new string, path ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("%v: no %q", err, old)
	}
	write(t, strings.Replace(string(text), old, new, 1), path...)
}

// privatePEM is a new private key.
func privatePEM(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestDir: each thing that can be wrong with the rendered folder, one at a time.
func TestDir(t *testing.T) {
	const key = "keys/github/one.pem"
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   []string
	}{
		{"clean", func(*testing.T, string) {}, nil},
		{"map gone", func(t *testing.T, dir string) { remove(t, dir, "maps/roles.map") }, []string{"maps/roles.map file-missing"}},
		{"keys map gone", func(t *testing.T, dir string) { remove(t, dir, "maps/keys.map") }, []string{"maps/keys.map file-missing"}},
		{"map changed", func(t *testing.T, dir string) { edit(t, "reader", "writer", dir, "maps/roles.map") }, []string{"maps/roles.map:3 file-stale"}},
		{"map longer", func(t *testing.T, dir string) { edit(t, "reader\n", "reader\nx y\n", dir, "maps/roles.map") }, []string{"maps/roles.map:4 file-stale"}},
		{"gate changed", func(t *testing.T, dir string) { edit(t, "5s", "6s", dir, "haptrail.cfg") }, []string{"haptrail.cfg:11 file-stale"}},
		{"a stranger", func(t *testing.T, dir string) {
			write(t, "# mine\n", dir, "site.cfg")
			write(t, "# not read\n", dir, ".site.cfg")
			write(t, "# not read\n", dir, "notes.txt")
		}, []string{"site.cfg file-foreign"}},
		{"key gone", func(t *testing.T, dir string) { remove(t, dir, key) }, []string{"keys.cfg:3 key-missing"}},
		{"no PEM", func(t *testing.T, dir string) { write(t, "hello", dir, key) }, []string{"keys.cfg:3 key-invalid"}},
		{"a certificate", func(t *testing.T, dir string) {
			write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}})), dir, key)
		}, []string{"keys.cfg:3 key-invalid"}},
		{"a broken key", func(t *testing.T, dir string) {
			write(t, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}})), dir, key)
		}, []string{"keys.cfg:3 key-invalid"}},
		{"a private key", func(t *testing.T, dir string) { write(t, privatePEM(t), dir, key) },
			[]string{"keys.cfg:3 key-invalid", key + " key-private"}},
		{"another private key", func(t *testing.T, dir string) {
			text, err := os.ReadFile(filepath.Join(dir, key))
			if err != nil {
				t.Fatal(err)
			}
			write(t, string(text)+privatePEM(t), dir, key)
		}, []string{key + " key-private"}},
		{"not loaded", func(t *testing.T, dir string) { edit(t, "two.pem", "three.pem", dir, "maps/keys.map") },
			[]string{"maps/keys.map:4 key-unloaded", "maps/keys.map:4 file-stale", "testdata/policy.yaml:8 issuer-without-key"}},
		{"no key of an issuer", func(t *testing.T, dir string) {
			edit(t, "teamcity|two keys/teamcity/two.pem\nteamcity|two|ES256 1\n", "", dir, "maps/keys.map")
		}, []string{"maps/keys.map:4 file-stale", "testdata/policy.yaml:8 issuer-without-key"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := copyGate(t)
			tc.change(t, dir)
			in := input(t, filepath.Join("testdata", "cases", "clean.cfg"))
			in.Files, in.Dir = in.Files[1:], dir
			in.Render = func() (map[string][]byte, error) { return gateFiles(t), nil }
			found, err := Check(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if got := places(found, dir); !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q\n%s", got, tc.want, render(found))
			}
		})
	}
}

func remove(t testing.TB, path ...string) {
	t.Helper()
	if err := os.Remove(filepath.Join(path...)); err != nil {
		t.Fatal(err)
	}
}

// TestBase: where HAProxy sees the folder under another path, its files are
// found in ours; without a renderer, only what the gate names is looked for.
func TestBase(t *testing.T) {
	dir := copyGate(t)
	for _, name := range []string{"haptrail.cfg", "keys.cfg", "maps/keys.map"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, strings.NewReplacer("(maps/", "(/etc/haptrail/maps/", "keys/", "/etc/haptrail/keys/").Replace(string(text)), dir, name)
	}
	in := input(t, filepath.Join("testdata", "cases", "clean.cfg"))
	in.Files, in.Dir, in.Base = in.Files[1:], dir, "/etc/haptrail"
	found, err := Check(t.Context(), in)
	if err != nil || len(found) > 0 {
		t.Errorf("%v\n%s", err, render(found))
	}
	remove(t, dir, "maps/public.map")
	remove(t, dir, "keys/teamcity/two.pem")
	found, err = Check(t.Context(), in)
	want := []string{"keys.cfg:4 key-missing", "maps/public.map file-missing"}
	if got := places(found, dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, got %q, want %q", err, got, want)
	}
}

// TestCertificates: from HAProxy 3.3 on, keys are certificates of a crt-store.
func TestCertificates(t *testing.T) {
	dir := copyGate(t)
	write(t, `crt-store haptrail
    crt-base keys
    load crt github/one.crt jwt on
    load crt github/two.crt jwt on
    load crt github/three.crt alias third jwt on
    load crt site.crt
`, dir, "keys.cfg")
	write(t, "github|one @haptrail/github/one.crt\ngithub|three @haptrail/third\nteamcity|two @haptrail/github/two.crt\nteamcity|x @haptrail/x.crt\n", dir, "maps", "keys.map")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{}, &x509.Certificate{}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), dir, "keys/github/one.crt")
	write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[:9]})), dir, "keys/github/two.crt")
	write(t, "none", dir, "keys/github/three.crt")
	in := input(t, filepath.Join("testdata", "cases", "clean.cfg"))
	in.Files, in.Dir = in.Files[1:], dir
	found, err := Check(t.Context(), in)
	want := []string{"keys.cfg:4 key-invalid", "keys.cfg:5 key-invalid", "maps/keys.map:4 key-unloaded"}
	if got := places(found, dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, got %q, want %q", err, got, want)
	}
}

func TestRenderFails(t *testing.T) {
	in := input(t, filepath.Join("testdata", "cases", "clean.cfg"))
	in.Dir = in.Files[0]
	in.Render = func() (map[string][]byte, error) { return nil, errors.New("HAProxy 2.4: too old") }
	found, err := Check(t.Context(), in)
	if got := places(found, ""); err != nil || !slices.Equal(got, []string{"testdata/policy.yaml render-failed"}) {
		t.Errorf("%v %q", err, got)
	}
}

// fakeMaps stand in for a HAProxy whose maps are these; the real one is asked in
// TestRealGate.
type fakeMaps map[string][]runtimeapi.Entry

func (m fakeMaps) Map(_ context.Context, id string) ([]runtimeapi.Entry, error) {
	if all, ok := m[id]; ok {
		return all, nil
	}
	return nil, runtimeapi.ErrUnknownMap
}

func TestLiveMaps(t *testing.T) {
	in := input(t, filepath.Join("testdata", "cases", "clean.cfg"))
	in.Dir = in.Files[0]
	live := fakeMaps{}
	for _, name := range []string{"maps/public.map", "maps/keys.map", "maps/roles.map"} {
		live[name] = entries(gateFiles(t)[name])
	}
	in.Live = live
	expect := func(step string, want ...string) {
		t.Helper()
		found, err := Check(t.Context(), in)
		if got := places(found, "testdata/gate"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, got %q, want %q\n%s", step, err, got, want, render(found))
		}
	}
	expect("as in the files")
	slices.Reverse(live["maps/keys.map"])
	expect("the order of a map_str does not matter")
	slices.Reverse(live["maps/roles.map"])
	expect("that of a map_reg does", "maps/roles.map map-live-differs")
	live["maps/roles.map"] = append(live["maps/roles.map"][:1], live["maps/roles.map"][0])
	expect("one twice", "maps/roles.map map-live-differs")
	delete(live, "maps/roles.map")
	expect("not loaded", "maps/roles.map map-live-unread")
}

func TestLiveText(t *testing.T) {
	c := &checker{}
	var live []runtimeapi.Entry
	for _, key := range strings.Split("abcdefghij", "") {
		live = append(live, runtimeapi.Entry{Key: key, Value: "1"})
	}
	c.compareLive(place{file: "f"}, "f", []runtimeapi.Entry{{Key: "a", Value: "1"}, {Key: "z", Value: "2"}}, live)
	want := "the running HAProxy's copy differs from the file:\nonly running: b 1\nonly running: c 1\nonly running: d 1\n" +
		"only running: e 1\nonly running: f 1\nonly running: g 1\nonly running: h 1\n..."
	if len(c.found) != 1 || c.found[0].Text != want {
		t.Errorf("%q", c.found)
	}
}

// TestMapLines: as HAProxy reads a map file.
func TestMapLines(t *testing.T) {
	got := mapLines([]byte("# comment\n\n  a   b c \t\nkey\n\tt\tv\r\n #x y\nlast z"))
	want := []runtimeapi.Entry{{}, {}, {Key: "a", Value: "b c"}, {Key: "key"}, {Key: "t", Value: "v"}, {Key: "#x", Value: "y"}, {Key: "last", Value: "z"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// status is what a store of keys would say.
type status []keys.IssuerStatus

func (s status) Status() []keys.IssuerStatus { return s }

func TestKeyStatus(t *testing.T) {
	well := keys.IssuerStatus{Issuer: "github", Keys: 2, LastSuccess: now.Add(-time.Hour)}
	for _, tc := range []struct {
		name   string
		change func(*keys.IssuerStatus)
		want   []string
	}{
		{"well", func(*keys.IssuerStatus) {}, nil},
		{"failed once, long ago", func(s *keys.IssuerStatus) { s.LastFailure = now.Add(-2 * time.Hour) }, nil},
		{"failing", func(s *keys.IssuerStatus) { s.Failures, s.LastFailure, s.Failure = 3, now, "500" }, []string{"keys-failing"}},
		{"old", func(s *keys.IssuerStatus) { s.LastSuccess = now.Add(-25 * time.Hour) }, []string{"keys-old"}},
		{"empty", func(s *keys.IssuerStatus) { s.Keys = 0 }, []string{"issuer-without-key"}},
		{"never", func(s *keys.IssuerStatus) { *s = keys.IssuerStatus{Issuer: "github"} }, []string{"issuer-without-key", "keys-old"}},
		{"unknown", func(s *keys.IssuerStatus) { s.Issuer = "other" }, []string{"issuer-without-key", "keys-old"}},
	} {
		in := input(t, filepath.Join("testdata", "cases", "clean.cfg"))
		s := well
		tc.change(&s)
		in.Keys = status{s, {Issuer: "teamcity", Keys: 1, LastSuccess: now}}
		found, err := Check(t.Context(), in)
		var got []string
		for _, f := range found {
			got = append(got, f.Code)
			if f.File != "testdata/policy.yaml" || f.Line != 5 {
				t.Errorf("%s: %s", tc.name, f)
			}
		}
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, got %q, want %q", tc.name, err, got, tc.want)
		}
	}
}
