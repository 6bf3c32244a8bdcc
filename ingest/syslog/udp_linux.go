package syslog

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bufferedConn is a socket whose receive buffer can be looked at.
type bufferedConn interface {
	syscall.Conn
}

// askReceiveBuffer asks for a receive buffer of want bytes, 0 for the kernel's
// default, and returns what it grants. CAP_NET_ADMIN passes over
// net.core.rmem_max. The kernel doubles what it is asked for, to make room
// for its own records (socket(7)); half of what it reports is what was asked.
func askReceiveBuffer(conn bufferedConn, want int) (granted int, err error) {
	err = onSocket(conn, func(fd int) (err error) {
		if want > 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, want) != nil {
			if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, want); err != nil {
				return err
			}
		}
		granted, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		granted /= 2
		return err
	})
	return granted, err
}

// dropCounter follows the socket's own drop counter, the "drops" column of
// /proc/net/udp. Unlike that file, getsockopt is right in every namespace.
type dropCounter struct {
	seen uint32 // the kernel's counter wraps
}

// more returns how many datagrams were dropped since the last call.
func (d *dropCounter) more(conn bufferedConn) uint32 {
	const drops = 8 // SK_MEMINFO_DROPS, linux/sock_diag.h
	var info [drops + 1]uint32
	err := onSocket(conn, func(fd int) error {
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return 0 // before Linux 4.12, or the socket is closed
	}
	more := info[drops] - d.seen
	d.seen = info[drops]
	return more
}

// onSocket runs f on the socket and returns the error of either.
func onSocket(conn syscall.Conn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
