package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// backlogGrace is how long a draining listener looks for connections that
	// the kernel has completed and nobody accepted yet: closing it resets
	// them, and what they sent is lost.
	backlogGrace = 50 * time.Millisecond
	// handlerGrace is how long Serve waits for handlers beyond DrainTimeout.
	handlerGrace = time.Second
)

// deadlineListener is a net.TCPListener or net.UnixListener.
type deadlineListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(t time.Time) error
}

// streamListener receives from tcp, tls and unix connections.
type streamListener struct {
	*inlet
	listener deadlineListener
	certs    *certificates // nil without TLS
	pool     bufferPool
	batches  sync.Pool // of *batch

	drainOnce sync.Once
	draining  atomic.Bool
	drainEnd  time.Time // set before draining
	running   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[*streamConn]struct{}
}

func listenStream(in *inlet, target string) (*streamListener, error) {
	l := &streamListener{
		inlet: in,
		conns: map[*streamConn]struct{}{},
		pool:  newBufferPool(in.cfg.MaxLine, in.cfg.BufferMemory),
	}
	l.batches.New = func() any { return new(batch) }
	if in.transport == transportTLS {
		certs, err := loadCertificates(in.cfg.TLS, in.quiet)
		if err != nil {
			return nil, err
		}
		l.certs = certs
	}
	if in.transport == transportUnix {
		listener, err := listenUnix(target, in.cfg.SocketMode)
		if err != nil {
			return nil, err
		}
		l.listener = listener
		return l, nil
	}
	// Two minutes until a peer that vanished without a word is found.
	keep := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4,
	}}
	addr, err := net.ResolveTCPAddr("tcp", target)
	if err != nil {
		return nil, bindError(in.cfg.Address, err)
	}
	listener, err := keep.Listen(context.Background(), "tcp"+family(addr.IP), target)
	if err != nil {
		return nil, bindError(in.cfg.Address, err)
	}
	l.listener = listener.(*net.TCPListener)
	return l, nil
}

func (l *streamListener) addr() net.Addr { return l.listener.Addr() }

func (l *streamListener) reload() error {
	if l.certs == nil {
		return nil
	}
	return l.certs.load()
}

func (l *streamListener) serve(ctx context.Context, h Handler) error {
	stop := context.AfterFunc(ctx, l.beginDrain)
	defer stop()
	acceptErr := l.accept(h)
	l.beginDrain()
	closeErr := l.listener.Close()
	if errors.Is(closeErr, net.ErrClosed) {
		closeErr = nil
	}
	return errors.Join(acceptErr, l.drain(), closeErr)
}

// beginDrain turns accept and every connection to their last round. Only the
// first call does; others wait for it.
func (l *streamListener) beginDrain() { l.drainOnce.Do(l.startDrain) }

func (l *streamListener) startDrain() {
	now := time.Now()
	l.drainEnd = now.Add(l.cfg.DrainTimeout)
	l.draining.Store(true)
	if err := l.listener.SetDeadline(now.Add(backlogGrace)); err != nil && !errors.Is(err, net.ErrClosed) {
		l.log.Warn("cannot stop accepting", "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.wake()
	}
}

// drain waits for the connections' last round. They end by themselves at
// drainEnd, unless their handler blocks.
func (l *streamListener) drain() error {
	done := make(chan struct{})
	go func() {
		l.running.Wait()
		close(done)
	}()
	wait := time.Until(l.drainEnd) + handlerGrace
	select {
	case <-done:
		return nil
	case <-time.After(wait):
	}
	l.cutConnections()
	l.mu.Lock()
	left := len(l.conns)
	l.mu.Unlock()
	return fmt.Errorf("listener %q: %d connections could not hand over what they had received within drain_timeout (%s)",
		l.cfg.Name, left, l.cfg.DrainTimeout)
}

func (l *streamListener) close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	err := l.listener.Close()
	l.cutConnections()
	return err
}

func (l *streamListener) cutConnections() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		// The goroutine of the connection reports what the end of it means.
		_ = c.conn.Close()
	}
}

// accept starts a goroutine for each connection, until the listener is closed
// or drained.
func (l *streamListener) accept(h Handler) error {
	const longest = time.Second
	pause := time.Duration(0)
	for {
		conn, err := l.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			l.welcome(conn, h)
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && l.draining.Load():
			if now := time.Now(); !readable(l.listener) || now.After(l.drainEnd) {
				return nil
			} else if err := l.listener.SetDeadline(now.Add(backlogGrace)); err != nil {
				return nil // closed
			}
		default:
			// Out of file descriptors or memory: those who are in go on.
			l.met.refused.WithLabelValues(refusedAccept).Inc()
			l.quiet.warn(refusedAccept, "cannot accept a connection: raise the limit of open files (LimitNOFILE= in the unit) or lower max_connections", "error", err)
			pause = min(max(2*pause, 5*time.Millisecond), longest)
			time.Sleep(pause)
		}
	}
}

// welcome takes a connection in or closes it.
func (l *streamListener) welcome(conn net.Conn, h Handler) {
	peer := peerOf(conn.RemoteAddr())
	if !l.cfg.allows(peer) {
		l.refuse(conn, refusedPeer, "connection from a peer outside allowed_peers", "peer", peer)
		return
	}
	c := &streamConn{
		l:       l,
		conn:    conn.(halfCloser),
		socket:  conn.(syscall.Conn),
		shaking: l.certs != nil,
		buf:     make([]byte, smallBuffer),
		framer:  framer{style: styleOf(l.cfg.Framing), maxLine: l.cfg.MaxLine},
		intake:  intake{inlet: l.inlet, handler: h, src: &Source{Transport: l.transport, Listener: l.cfg.Name}},
	}
	if peer.IsValid() {
		c.src.Peer = peer.String()
	}
	l.mu.Lock()
	full, closed := len(l.conns) >= l.cfg.MaxConnections, l.closed
	if !full && !closed {
		l.conns[c] = struct{}{}
		l.running.Add(1)
	}
	l.mu.Unlock()
	if full {
		l.refuse(conn, refusedLimit, "too many connections: raise max_connections, or find who opens them", "peer", peer, "max_connections", l.cfg.MaxConnections)
		return
	}
	if closed {
		_ = conn.Close() // close() has cut all others already
		return
	}
	l.met.accepted.Inc()
	l.met.connections.Inc()
	go func() {
		defer l.leave(c)
		c.run()
	}()
}

func (l *streamListener) leave(c *streamConn) {
	_ = c.conn.Close() // nothing was written that could fail to arrive
	c.release()
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	l.met.connections.Dec()
	l.running.Done()
}

func (l *streamListener) refuse(conn net.Conn, reason, msg string, args ...any) {
	l.met.refused.WithLabelValues(reason).Inc()
	l.quiet.warn("refused "+reason, msg, args...)
	_ = conn.Close() // it is unwanted either way
}

func styleOf(framing string) style {
	switch framing {
	case "octet-counted":
		return styleCounted
	case "newline":
		return styleLines
	default:
		return styleUnknown
	}
}

// family keeps a listener on 0.0.0.0 off IPv6: net would take it for every
// address of both. An empty host is every address indeed.
func family(ip net.IP) string {
	if ip.To4() != nil {
		return "4"
	}
	return ""
}

// peerOf returns the address of an IP peer, IPv4 as such, and the zero Addr
// for unix sockets.
func peerOf(addr net.Addr) netip.Addr {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
