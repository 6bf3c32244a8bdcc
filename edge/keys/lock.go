package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockFile is the slash path of the file that is locked, not the state: that one
// is replaced, and a lock on it would be on a file that is gone.
const lockFile = "keys/.lock"

// lockPoll is how often a taken lock is tried again.
const lockPoll = 20 * time.Millisecond

// lock keeps other processes, and other Stores of this one, off DIR/keys until
// unlock is called. It waits while ctx lasts. The kernel lets go of the lock of a
// process that dies.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	name := s.path(lockFile)
	if err := s.disk.makeDir(s.path("keys")); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("another haptrail is at work on these keys and holds %s (%w): try again when it is done", name, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}
