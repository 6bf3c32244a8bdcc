package embedded

import (
	"errors"
	"os"
	"path/filepath"
)

// identity is what the data directory and the engine's lock file in it were when
// the engine opened them. The engine keeps the lock file open, so that no other
// file can have its inode.
type identity struct{ dir, lock os.FileInfo }

// lockFile is what the engine locks (StatusFile: flock).
const lockFile = "status"

func identify(dir string) (identity, error) {
	d, dirErr := os.Stat(dir)
	l, lockErr := os.Stat(filepath.Join(dir, lockFile))
	return identity{d, l}, errors.Join(dirErr, lockErr)
}

// Check compares the data directory with the one that was opened, and gives
// ErrGone if it was deleted, moved or replaced: libchdb goes on without noticing
// and confirms inserts that nobody will find again. It costs two stats.
func (e *Engine) Check() error {
	now, err := identify(e.dir)
	if err == nil && os.SameFile(now.dir, e.opened.dir) && os.SameFile(now.lock, e.opened.lock) {
		return nil
	}
	return &Error{
		Kind: ErrGone, Detail: e.dir, Cause: err,
		Mend: "stop haptrail, move the directory back or restore a backup of it, and start again; until then nothing is stored",
	}
}

// confirm is Check as the answer to a statement that writes.
func (e *Engine) confirm() error {
	if err := e.Check(); err != nil {
		return refuse(codeFileMissing, "FILE_DOESNT_EXIST", "%v", err)
	}
	return nil
}
