package syslog

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// errLive is the fault of a socket file that is in use.
var errLive = errors.New("another process listens there: stop it or choose another path")

// listenUnix binds a unix stream socket. Its file goes when it is closed.
func listenUnix(path string, mode fs.FileMode) (*net.UnixListener, error) {
	if err := clearSocket("unix", path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, bindError("unix://"+path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("socket_mode: %w", err), l.Close())
	}
	return l, nil
}

// unixgramConn removes its file when it is closed, as net.UnixListener does.
type unixgramConn struct {
	*net.UnixConn
	path string
}

func (c *unixgramConn) Close() error {
	// First the file: once closed, a new listener may have made its own.
	err := os.Remove(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(c.UnixConn.Close(), err)
}

// listenUnixgram binds a unix datagram socket.
func listenUnixgram(path string, mode fs.FileMode) (*unixgramConn, error) {
	if err := clearSocket("unixgram", path); err != nil {
		return nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, bindError("unixgram://"+path, err)
	}
	c := &unixgramConn{UnixConn: conn, path: path}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("socket_mode: %w", err), c.Close())
	}
	return c, nil
}

// clearSocket removes the socket file of a process that is gone. It refuses to
// remove one that is in use, and anything that is no socket.
func clearSocket(network, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("address: %s is there and is no socket: move it away or choose another path", path)
	}
	conn, err := net.DialTimeout(network, path, time.Second)
	switch {
	case err == nil:
		return errors.Join(fmt.Errorf("address: %s: %w", path, errLive), conn.Close())
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("address: cannot remove the socket that a dead process left: %w", err)
		}
		return nil
	case errors.Is(err, syscall.EPROTOTYPE), errors.Is(err, syscall.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("address: %s: %w", path, errLive) // of the other kind, or with a full backlog
	default:
		return fmt.Errorf("address: cannot tell whether %s is in use: %w", path, err)
	}
}
