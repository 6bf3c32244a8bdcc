package edge

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/runtimeapi"
)

// Change is a file that is not as it should be.
type Change struct {
	Name string // slash path below DIR
	New  bool   // it was not there
}

// NeedsReload reports whether HAProxy has to read the file anew: all but maps,
// which are swapped at run time.
func (c Change) NeedsReload() bool { return path.Ext(c.Name) == ".cfg" }

func (c Change) String() string {
	if c.New {
		return c.Name + " (new)"
	}
	return c.Name
}

// Diff compares the files with those in dir, sorted by name.
func (f Files) Diff(dir string) ([]Change, error) {
	var changes []Change
	for name, want := range f {
		have, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			changes = append(changes, Change{Name: name, New: true})
		case err != nil:
			return nil, err
		case !bytes.Equal(have, want):
			changes = append(changes, Change{Name: name})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Name, b.Name) })
	return changes, nil
}

// Write brings dir to the files' state and returns what it changed. Each file is
// replaced as a whole, maps before the configuration that reads them, so that a
// HAProxy that starts in between finds every file complete. Other files in dir
// are left alone.
func (f Files) Write(dir string) ([]Change, error) {
	changes, err := f.Diff(dir)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Compare(btoi(a.NeedsReload()), btoi(b.NeedsReload()))
	})
	for n, change := range changes {
		if err := replace(filepath.Join(dir, filepath.FromSlash(change.Name)), f[change.Name]); err != nil {
			return changes[:n], fmt.Errorf("write the gate's files: %w", err)
		}
	}
	return changes, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sweep removes what killed writers left of files that never came to their place.
// The caller holds the lock.
func sweep(dir string) {
	for _, pattern := range []string{".*.cfg.*", "maps/.*.map.*"} {
		left, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, name := range left {
			_ = os.Remove(name) // the next writer tries again
		}
	}
}

// replace writes a file beside its place, to the disk, and puts it there.
func replace(name string, text []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}()
	_, err = temp.Write(text)
	if err := errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), name)
}

// Maps are the contents of the map files as HAProxy reads them, named as it
// names them: by their path below base.
func (f Files) Maps(base string) []runtimeapi.MapContent {
	var contents []runtimeapi.MapContent
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if strings.HasPrefix(name, "maps/") {
			contents = append(contents, runtimeapi.MapContent{ID: path.Join(base, name), Entries: MapEntries(f[name])})
		}
	}
	return contents
}

// MapEntries reads a map file as HAProxy does: the key up to the first blank,
// the rest of the line its value, lines with "#" first left out.
func MapEntries(text []byte) []runtimeapi.Entry {
	entries := []runtimeapi.Entry{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		entries = append(entries, runtimeapi.Entry{Key: key, Value: strings.TrimSpace(value)})
	}
	return entries
}
