//go:build !linux

package syslog

// bufferedConn is a socket whose receive buffer can be set.
type bufferedConn interface {
	SetReadBuffer(bytes int) error
}

// askReceiveBuffer asks for a receive buffer of want bytes, 0 for the system's
// default. What is granted is not known here; the request itself may fail.
func askReceiveBuffer(conn bufferedConn, want int) (granted int, err error) {
	if want == 0 {
		return 0, nil
	}
	return want, conn.SetReadBuffer(want)
}

// dropCounter counts nothing where the kernel does not tell a socket's drops.
type dropCounter struct{}

func (*dropCounter) more(bufferedConn) uint32 { return 0 }
