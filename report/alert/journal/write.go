package journal

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
)

// Append writes a record. It is on the disk only after Sync.
func (j *Journal) Append(record []byte) error {
	if err := check(record); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	line := format(nil, record)
	err := j.step("write")
	if err == nil {
		_, err = j.file.Write(line)
	}
	if err != nil {
		// part of the line may be there, and the next one would be joined to it
		j.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		return j.broken
	}
	j.size += int64(len(line))
	j.written++
	return nil
}

// Sync returns when every record that was appended before is on the disk. Callers
// that wait at the same time share one fsync.
func (j *Journal) Sync() error {
	j.mu.Lock()
	want := j.written
	j.mu.Unlock()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	file, upTo, broken := j.file, j.written, j.broken
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	if j.synced >= want {
		return nil
	}
	err := j.step("sync")
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		// Linux forgets pages that it could not write: a second fsync that succeeds
		// would prove nothing
		err = fmt.Errorf("%w: %w", ErrBroken, err)
		j.mu.Lock()
		j.broken = err
		j.mu.Unlock()
		return err
	}
	j.synced = upTo
	return nil
}

// Rewrite replaces all records by these, on the disk when it returns. After a
// crash in it either the old ones are there or the new ones. No Append may come
// between the moment the records describe and Rewrite's end: that is the caller's
// to see to. It mends a broken journal.
func (j *Journal) Rewrite(records iter.Seq[[]byte]) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	temp := j.name + ".new"
	file, size, err := j.fill(temp, records)
	if err == nil {
		err = j.step("rename")
	}
	if err == nil {
		err = os.Rename(temp, j.name)
	}
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		_ = os.Remove(temp)
		return fmt.Errorf("rewrite %s: %w", j.name, err)
	}
	_ = j.file.Close() // its name is gone, and what was in it is in the new one
	j.file, j.size, j.broken, j.synced = file, size, nil, j.written
	if err := syncDir(filepath.Dir(j.name)); err != nil {
		j.broken = fmt.Errorf("%w: %w", ErrBroken, err) // a crash now may bring the old file back
		return j.broken
	}
	return nil
}

// fill makes the file that replaces the journal.
func (j *Journal) fill(name string, records iter.Seq[[]byte]) (*os.File, int64, error) {
	if err := j.step("create"); err != nil {
		return nil, 0, err
	}
	// Append mode, as this becomes the journal; what a killed process left is no use.
	_ = os.Remove(name)
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	to, size := bufio.NewWriterSize(file, 64<<10), int64(len(magic))
	_, err = to.WriteString(magic)
	var line []byte
	for record := range records {
		if err = errors.Join(err, check(record)); err != nil {
			break
		}
		line = format(line[:0], record)
		size += int64(len(line))
		_, err = to.Write(line)
	}
	if err == nil {
		err = to.Flush()
	}
	if err == nil {
		err = j.step("fill")
	}
	if err == nil {
		err = file.Sync()
	}
	return file, size, err
}

// Size is the file's, in bytes.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

// Close syncs and closes the file, and gives the lock back.
func (j *Journal) Close() error {
	err := j.Sync()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = fmt.Errorf("%w: it is closed", ErrBroken)
	}
	return errors.Join(err, j.file.Close(), j.lock.Close())
}

func (j *Journal) step(name string) error {
	if j.fault == nil {
		return nil
	}
	return j.fault(name)
}

// syncDir makes the names in a folder last.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Break has every write fail from now on, until a Rewrite succeeds: for tests of
// what uses a journal.
func (j *Journal) Break(cause error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = fmt.Errorf("%w: %w", ErrBroken, cause)
}
