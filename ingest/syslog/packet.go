package syslog

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// maxDatagram is the longest payload that UDP's 16-bit length allows.
const maxDatagram = 65535

// batchReader is an ipv4.PacketConn or ipv6.PacketConn: recvmmsg(2) on Linux,
// one datagram at a time elsewhere.
type batchReader interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
}

// udpReader reads up to datagramsPerRead datagrams at once.
type udpReader struct {
	conn     batchReader
	messages []ipv4.Message
}

func newUDPReader(conn *net.UDPConn, maxLine int) *udpReader {
	r := &udpReader{messages: make([]ipv4.Message, datagramsPerRead)}
	if conn.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		r.conn = ipv4.NewPacketConn(conn)
	} else {
		r.conn = ipv6.NewPacketConn(conn)
	}
	// One byte more than a message may have tells a longer one. A page that no
	// datagram reached is never touched, so the slab costs what is in use.
	// The odd stride keeps the beginnings of the buffers out of each other's
	// cache lines.
	const stagger = 1024 + 64
	size := min(maxLine, maxDatagram) + 1
	slab := make([]byte, datagramsPerRead*(size+stagger))
	for i := range r.messages {
		at := i * (size + stagger)
		r.messages[i].Buffers = [][]byte{slab[at : at+size : at+size]}
	}
	return r
}

func (r *udpReader) read() (int, error) { return r.conn.ReadBatch(r.messages, 0) }

func (r *udpReader) datagram(i int) ([]byte, netip.Addr) {
	m := &r.messages[i]
	return m.Buffers[0][:m.N], peerOf(m.Addr)
}

// singleReader reads one datagram at a time, for unix sockets.
type singleReader struct {
	conn packetConn
	buf  []byte
	n    int
}

func newSingleReader(conn packetConn, maxLine int) *singleReader {
	return &singleReader{conn: conn, buf: make([]byte, maxLine+1)}
}

func (r *singleReader) read() (int, error) {
	n, err := r.conn.Read(r.buf)
	if err != nil {
		return 0, err
	}
	r.n = n
	return 1, nil
}

func (r *singleReader) datagram(int) ([]byte, netip.Addr) { return r.buf[:r.n], netip.Addr{} }
