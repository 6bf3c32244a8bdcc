package keys

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// disk writes files so that a crash at any moment leaves the old one or the new
// one, whole. Its zero value works.
type disk struct {
	// fault lets tests break a step, before it is done or after.
	fault func(step string, done bool) error
}

// step does one thing to the disk.
func (d disk) step(name string, do func() error) error {
	if d.fault == nil {
		return do()
	}
	if err := d.fault(name, false); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return d.fault(name, true)
}

// write puts a file in its place, to the disk. The folder must be there. A file
// that already has this content is left alone.
func (d disk) write(name string, text []byte) error {
	if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, text) {
		return nil
	}
	var temp *os.File
	err := d.step("create", func() (err error) {
		temp, err = os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
		return err
	})
	if temp == nil {
		return err
	}
	defer temp.Close()
	if err == nil {
		err = d.fill(temp, text)
	}
	if err == nil {
		err = d.step("rename", func() error { return os.Rename(temp.Name(), name) })
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // what stays after a crash, Prune removes
		return err
	}
	return d.syncDir(filepath.Dir(name))
}

// fill writes the temporary file, readable for HAProxy, which may run as another
// user: there is no secret in it.
func (d disk) fill(temp *os.File, text []byte) error {
	if err := d.step("write", func() error { _, err := temp.Write(text); return err }); err != nil {
		return err
	}
	if err := d.step("chmod", func() error { return temp.Chmod(0o644) }); err != nil {
		return err
	}
	// Without it a crash of the machine may leave the name and no content.
	return d.step("sync", temp.Sync)
}

// makeDir makes a folder whose parent, or whose parent's parent, is there.
func (d disk) makeDir(name string) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(name)
	if err := d.step("mkdir", func() error { return os.MkdirAll(name, 0o755) }); err != nil {
		return err
	}
	return errors.Join(d.syncDir(parent), d.syncDir(filepath.Dir(parent)))
}

// syncDir makes the names in a folder last.
func (d disk) syncDir(name string) error {
	return d.step("syncdir", func() error {
		dir, err := os.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(dir.Sync(), dir.Close())
	})
}
