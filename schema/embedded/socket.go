package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// maxSocketPath is what a socket's address holds on Linux (108 bytes) and macOS
// (104), with the closing zero.
const maxSocketPath = 103

// pathMend is the repair of a path that is too long.
const pathMend = "name a shorter path as engine.socket in the configuration, or take a data directory with a shorter path"

// reachable gives a path to the same socket that fits a socket's address. On
// Linux a longer path goes through an open directory. release is called when
// the path has been used.
func reachable(path string) (short string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	tooLong := &Error{Kind: ErrEndpoint, Detail: fmt.Sprintf("%s is longer than the %d bytes of a socket's address", path, maxSocketPath), Mend: pathMend}
	if runtime.GOOS != "linux" {
		return "", nil, tooLong
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	short = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(short)); err != nil || len(short) > maxSocketPath { // without /proc, or a long name
		dir.Close()
		return "", nil, tooLong
	}
	return short, func() { dir.Close() }, nil
}

// DialUnix connects to a unix socket such as Listen makes, also by a path that
// is too long for net.Dial.
func DialUnix(ctx context.Context, path string) (net.Conn, error) {
	short, release, err := reachable(path)
	if err != nil {
		return nil, err
	}
	defer release()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", short)
	var op *net.OpError
	if errors.As(err, &op) {
		op.Addr = &net.UnixAddr{Net: "unix", Name: path} // not the detour
	}
	return conn, err
}

// listenUnix makes the socket in a directory of its own, so that it has its
// mode before anyone can reach it, and moves it into place.
func listenUnix(path string) (net.Listener, error) {
	if err := vacant(path); err != nil {
		return nil, err
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, &Error{Kind: ErrEndpoint, Detail: path, Cause: err, Mend: "mkdir -p " + filepath.Dir(path)}
	}
	defer os.RemoveAll(private)
	_, releasePath, err := reachable(path)
	if err != nil {
		return nil, err // no client would get there
	}
	releasePath()
	made := filepath.Join(private, "s")
	short, release, err := reachable(made)
	if err != nil {
		return nil, err
	}
	defer release()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: short})
	if err != nil {
		return nil, &Error{Kind: ErrEndpoint, Detail: path, Cause: err, Mend: pathMend}
	}
	listener.SetUnlinkOnClose(false)
	socket, err := os.Lstat(made)
	if err := errors.Join(err, os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		listener.Close()
		return nil, &Error{Kind: ErrEndpoint, Detail: path, Cause: err}
	}
	return &socketListener{UnixListener: listener, path: path, made: socket}, nil
}

// socketListener is a listener on a socket that was moved to path.
type socketListener struct {
	*net.UnixListener
	path   string
	made   os.FileInfo
	unlink sync.Once
}

func (l *socketListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: l.path} }

// Close removes the socket, unless another server has put its own there. It does
// so before it closes: until then no other file can have the socket's inode.
func (l *socketListener) Close() error {
	l.unlink.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.made) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}

// vacant tells whether a socket may be put at path: nothing is there, or a
// socket on which nobody answers.
func vacant(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // what is wrong with the directory shows when it is used
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return &Error{Kind: ErrEndpoint, Detail: path + " exists and is no socket", Mend: "name another path"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if conn, err := DialUnix(ctx, path); err == nil {
		conn.Close()
		return &Error{Kind: ErrEndpoint, Detail: "someone answers on " + path, Mend: "stop that process or name another path"}
	}
	return nil
}
