package haproxycfg

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLoad: of a directory the files that HAProxy takes, in its order; of a
// list the order given.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.cfg", "A.cfg", ".hidden.cfg", "a.cfg.bak", "notes.txt", "x.cfg.cfg", "c.cfg~", "10.cfg"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("# "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.cfg"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("b.cfg", filepath.Join(dir, "link.cfg")); err != nil {
		t.Fatal(err)
	}
	files, err := Load(filepath.Join(dir, "notes.txt"), dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, filepath.Base(f.Name)+"="+string(f.Text))
	}
	want := "notes.txt=# notes.txt|10.cfg=# 10.cfg|A.cfg=# A.cfg|b.cfg=# b.cfg|link.cfg=# b.cfg"
	if strings.Join(got, "|") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, "|"), want)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "broken.cfg")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "none.cfg"), dir} {
		files, err := Load(path)
		if !errors.Is(err, fs.ErrNotExist) || files != nil || !strings.HasPrefix(err.Error(), "haproxy configuration: ") {
			t.Errorf("%s: %v, %v", path, files, err)
		}
	}
}
