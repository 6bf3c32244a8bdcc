package embedded

import (
	"errors"
	"io/fs"
	"net/http"
	"syscall"
	"testing"
)

func TestEngineError(t *testing.T) {
	for _, c := range []struct {
		in, want string
		status   int
	}{
		{"Code: 60. DB::Exception: No table. (UNKNOWN_TABLE)", "Code: 60. DB::Exception: No table. (UNKNOWN_TABLE)", 404},
		{"Code: 164. DB::Exception: Code: 164. DB::Exception: No. (READONLY) (version 26.7.2.1). (READONLY)", "Code: 164. DB::Exception: No. (READONLY)", 403},
		{"Code: 1. DB::Exception: Code: 1. DB::Exception: Code: 1. DB::Exception: x (A) (version 1). (A) (version 1). (A)", "Code: 1. DB::Exception: x (A)", 500},
		{"Code: 33. DB::Exception: Cut off. (CANNOT_READ_ALL_DATA) (version 26.7.2.1 (official build))", "Code: 33. DB::Exception: Cut off. (CANNOT_READ_ALL_DATA)", 500},
		{"connection is shutting down", "Code: 1001. DB::Exception: connection is shutting down (STD_EXCEPTION)", 500},
		{"Code: 99999999999999999999. DB::Exception: x", "Code: 1001. DB::Exception: Code: 99999999999999999999. DB::Exception: x (STD_EXCEPTION)", 500},
	} {
		got := engineError(c.in, "/nonexistent")
		if got.text != c.want || got.status() != c.status {
			t.Errorf("%s\ngot  %s (%d)\nwant %s (%d)", c.in, got.text, got.status(), c.want, c.status)
		}
	}
	full := engineError("Code: 75. DB::Exception: Cannot write: errno: 28, strerror: No space left on device. (CANNOT_WRITE)", t.TempDir())
	requireContains(t, full.text, "MiB left", "shorten the retention. (CANNOT_WRITE)")
	if got := engineError("Code: 243. DB::Exception: Full. (NOT_ENOUGH_SPACE)", "/nonexistent"); got.status() != http.StatusInsufficientStorage {
		t.Errorf("status %d", got.status())
	}
}

func TestDirError(t *testing.T) {
	for _, c := range []struct{ cause, kind error }{
		{syscall.EACCES, ErrNoPermission}, {syscall.EPERM, ErrNoPermission}, {syscall.EROFS, ErrNoPermission},
		{syscall.ENOSPC, ErrDiskFull}, {syscall.EDQUOT, ErrDiskFull}, {syscall.EIO, ErrStart},
	} {
		err := dirError(t.TempDir(), &fs.PathError{Op: "open", Path: "x", Err: c.cause})
		var e *Error
		if !errors.Is(err, c.kind) || !errors.Is(err, c.cause) || !errors.As(err, &e) || e.Hint() == "" {
			t.Errorf("%v: %v", c.cause, err)
		}
	}
}
