package syslog

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// readable tells whether the kernel holds something for a socket: bytes, a
// datagram, a connection to accept, or the news of its end. A read whose
// deadline has passed before it began never looks, so in a drain a deadline
// alone does not prove that nothing is left.
func readable(conn syscall.Conn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	ready := 0
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			var err error
			if ready, err = unix.Poll(fds, 0); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	return err == nil && ready > 0
}
