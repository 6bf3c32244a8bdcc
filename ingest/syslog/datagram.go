package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// datagramsPerRead is how many datagrams one system call takes at most.
	datagramsPerRead = 128
	// maxSenders bounds how many senders' Sources a socket remembers. The
	// addresses may be forged; beyond it all are forgotten and made anew.
	maxSenders = 4096
	// datagramQuiet is how long nothing may come for a draining socket to be
	// taken as read out.
	datagramQuiet = 20 * time.Millisecond
	// dropCheck is how often the kernel's drop counter is read.
	dropCheck = time.Second
)

// packetReader reads datagrams, several at once where the system can.
type packetReader interface {
	// read waits for datagrams and returns how many came.
	read() (int, error)
	// datagram returns the i-th of them, cut to one byte more than MaxLine.
	datagram(i int) (b []byte, peer netip.Addr)
}

// datagramListener receives from a udp or unixgram socket.
type datagramListener struct {
	*inlet
	conn    packetConn
	reader  packetReader
	granted int // bytes of receive buffer, 0 when unknown
	drops   dropCounter
	ending  atomic.Bool
}

// packetConn is a net.UDPConn or unixgramConn.
type packetConn interface {
	bufferedConn
	syscall.Conn
	Read(b []byte) (int, error)
	SetReadDeadline(t time.Time) error
	LocalAddr() net.Addr
	Close() error
}

func listenDatagram(in *inlet, target string) (*datagramListener, error) {
	l := &datagramListener{inlet: in}
	if in.transport == transportUnixgram {
		conn, err := listenUnixgram(target, in.cfg.SocketMode)
		if err != nil {
			return nil, err
		}
		l.conn, l.reader = conn, newSingleReader(conn, in.cfg.MaxLine)
	} else {
		addr, err := net.ResolveUDPAddr("udp", target)
		if err != nil {
			return nil, bindError(in.cfg.Address, err)
		}
		conn, err := net.ListenUDP("udp"+family(addr.IP), addr)
		if err != nil {
			return nil, bindError(in.cfg.Address, err)
		}
		l.conn, l.reader = conn, newUDPReader(conn, in.cfg.MaxLine)
	}
	l.sizeBuffer()
	return l, nil
}

// sizeBuffer asks for the receive buffer and says so when the kernel grants
// less: with a small one it drops datagrams in every burst.
func (l *datagramListener) sizeBuffer() {
	want := l.cfg.ReceiveBuffer
	granted, err := askReceiveBuffer(l.conn, want)
	if err != nil {
		l.log.Warn("receive_buffer: cannot be set or read", "error", err)
		return
	}
	l.granted = granted
	l.met.buffer.Set(float64(granted))
	if granted < want {
		l.log.Warn("receive_buffer: the kernel grants less than asked for and will drop datagrams earlier",
			"asked", want, "granted", granted,
			"hint", fmt.Sprintf("sysctl -w net.core.rmem_max=%d, or run with CAP_NET_ADMIN", want))
	}
}

func (l *datagramListener) addr() net.Addr { return l.conn.LocalAddr() }
func (l *datagramListener) reload() error  { return nil }

func (l *datagramListener) close() error {
	l.ending.Store(true)
	return l.conn.Close()
}

func (l *datagramListener) serve(ctx context.Context, h Handler) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		// It fails on a closed socket only, on which read fails as well.
		_ = l.conn.SetReadDeadline(time.Unix(1, 0))
		close(woken)
	})
	watched := make(chan struct{})
	stopWatch := make(chan struct{})
	go func() {
		defer close(watched)
		l.watchDrops(stopWatch)
	}()
	d := &dispatcher{inlet: l.inlet, handler: h, senders: map[netip.Addr]*Source{}, batch: new(batch)}
	l.receive(ctx, d)
	if !stop() {
		<-woken // else its deadline might cut the drain short
	}
	l.drain(d)
	close(stopWatch)
	<-watched
	err := l.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// receive reads until ctx ends or the socket is closed.
func (l *datagramListener) receive(ctx context.Context, d *dispatcher) {
	for ctx.Err() == nil {
		n, err := l.reader.read()
		if n > 0 {
			d.dispatch(l.reader, n)
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if l.ending.Load() || errors.Is(err, net.ErrClosed) {
			return
		}
		// The kernel reports trouble of earlier datagrams or of its memory.
		l.quiet.warn("read", "cannot read from the socket", "error", err)
		time.Sleep(5 * time.Millisecond)
	}
}

// drain reads what the kernel held when ctx ended: until nothing comes, and
// no more than its buffer can hold, as senders need not stop.
func (l *datagramListener) drain(d *dispatcher) {
	end := time.Now().Add(l.cfg.DrainTimeout)
	most := d.bytes + int64(max(2*l.granted, 1<<20))
	for now := time.Now(); now.Before(end) && d.bytes < most; now = time.Now() {
		// It fails on a closed socket only, on which read fails as well.
		_ = l.conn.SetReadDeadline(now.Add(datagramQuiet))
		n, err := l.reader.read()
		if n > 0 {
			d.dispatch(l.reader, n)
		}
		if err != nil && !(errors.Is(err, os.ErrDeadlineExceeded) && readable(l.conn)) {
			return
		}
	}
	if readable(l.conn) {
		l.log.Warn("stopped while datagrams still came")
	}
}

// watchDrops publishes the kernel's drop counter until stop, and once more.
func (l *datagramListener) watchDrops(stop <-chan struct{}) {
	if l.transport != transportUDP {
		return // a unix sender waits, or is told
	}
	tick := time.NewTicker(dropCheck)
	defer tick.Stop()
	for {
		last := false
		select {
		case <-tick.C:
		case <-stop:
			last = true
		}
		if more := l.drops.more(l.conn); more > 0 {
			l.met.kernelDrops.Add(float64(more))
			l.quiet.warn("drops", "the kernel dropped datagrams: raise receive_buffer, or use a TCP ring, which waits",
				"dropped", more, "receive_buffer", l.granted)
		}
		if last {
			return
		}
	}
}

// dispatcher sorts datagrams by sender and hands them on.
type dispatcher struct {
	*inlet
	handler Handler
	senders map[netip.Addr]*Source
	batch   *batch
	bytes   int64 // seen in all

	last     netip.Addr // senders[last], as one sender often sends on
	lastFrom *Source
	from     [datagramsPerRead]*Source
}

// dispatch hands on the n datagrams of a read, in one batch per sender.
func (d *dispatcher) dispatch(r packetReader, n int) {
	received := time.Now()
	total := 0
	for i := range n {
		b, peer := r.datagram(i)
		total += len(b)
		d.from[i] = nil
		if d.cfg.allows(peer) {
			d.from[i] = d.source(peer)
			continue
		}
		d.met.rejects.WithLabelValues(ReasonPeer).Inc()
		d.quiet.warn(ReasonPeer, "dropped a datagram from a peer outside allowed_peers", "peer", peer)
	}
	d.bytes += int64(total)
	d.met.bytes.Add(float64(total))
	for i := range n {
		src := d.from[i]
		if src == nil {
			continue
		}
		in := intake{inlet: d.inlet, src: src, handler: d.handler, received: received, clock: received, batch: d.batch}
		for j := i; j < n; j++ {
			if d.from[j] == src {
				d.from[j] = nil
				b, _ := r.datagram(j)
				d.take(&in, b)
			}
		}
		in.flush()
	}
}

// take hands on one datagram, which is one message: HAProxy writes each its
// own, with an LF at the end. An LF within is data, not the start of another.
func (d *dispatcher) take(in *intake, b []byte) {
	message := trimEnd(b)
	switch {
	case len(message) > d.cfg.MaxLine:
		in.reject(ReasonTooLong, message)
		d.quiet.warn(ReasonTooLong, "rejected a datagram: raise max_line", "peer", in.src.Peer, "max_line", d.cfg.MaxLine)
	case len(message) > 0:
		in.message(message)
	}
}

func (d *dispatcher) source(peer netip.Addr) *Source {
	if d.lastFrom != nil && peer == d.last {
		return d.lastFrom
	}
	src := d.senders[peer]
	if src == nil {
		if len(d.senders) >= maxSenders {
			clear(d.senders)
		}
		src = &Source{Transport: d.transport, Listener: d.cfg.Name, Lossy: true}
		if peer.IsValid() {
			src.Peer = peer.String()
		}
		d.senders[peer] = src
	}
	d.last, d.lastFrom = peer, src
	return src
}
