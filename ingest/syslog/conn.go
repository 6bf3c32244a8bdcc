package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	// quietPeriod is how long nothing may come for a draining connection to
	// be taken as read out. What the sender's kernel still holds follows
	// within a round trip once we read.
	quietPeriod = 200 * time.Millisecond
	// handshakeGrace is how long a TLS handshake may go on in a drain.
	handshakeGrace = time.Second
	// restPeriod is how long a connection without traffic keeps a large buffer.
	restPeriod = time.Second
	// calmReads is after how many small reads in a row it gives one back.
	calmReads = 64
)

// halfCloser is a net.TCPConn, net.UnixConn or tls.Conn.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// streamConn is one connection. It belongs to its goroutine.
type streamConn struct {
	intake
	l *streamListener

	// Guarded by l.mu where other goroutines close conn or set its deadline,
	// and where its own changes them.
	conn    halfCloser
	shaking bool // conn is in a TLS handshake

	socket syscall.Conn // conn without TLS

	framer framer

	buf   []byte  // what is read and not cut yet is buf[:held]
	held  int     // bytes
	small []byte  // the connection's own, while a large one is in use
	large *[]byte // lent by the pool, nil while buf is small
	calm  int     // small reads in a row with a large buffer

	begunAt   time.Time // when the message in progress was first waited for
	readAt    time.Time // when the last read was dealt with; kept with IdleTimeout
	due       time.Time // the read deadline that is set, zero without
	lastRound bool      // draining has begun for this connection
}

// wake makes a blocked read return, so that the connection sees draining. A
// handshake may end first: the client may have sent messages behind it.
func (c *streamConn) wake() {
	until := time.Unix(1, 0)
	if c.shaking {
		until = time.Now().Add(handshakeGrace)
	}
	// It fails on a closed connection only, which needs no waking.
	_ = c.conn.SetReadDeadline(until)
}

// run receives until the connection ends or is out of step.
func (c *streamConn) run() {
	if !c.handshake() {
		return
	}
	c.readAt = time.Now()
	for {
		c.setLimit()
		n, err := c.conn.Read(c.buf[c.held:])
		if n > 0 {
			c.received = time.Now()
			c.clock = c.received
			c.met.bytes.Add(float64(n))
			filled := c.held+n == len(c.buf)
			c.held += n
			if !c.cut() {
				return
			}
			c.resize(n, filled)
			if c.cfg.IdleTimeout > 0 {
				c.readAt = time.Now() // the handler may have blocked meanwhile
			}
		}
		if err != nil && !c.goesOn(err) {
			return
		}
	}
}

// handshake wraps the connection for TLS. A client that is refused is counted.
func (c *streamConn) handshake() bool {
	if c.l.certs == nil {
		return true
	}
	limit := c.cfg.FrameTimeout
	if c.l.draining.Load() {
		limit = min(limit, handshakeGrace)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn := tls.Server(c.conn, c.l.certs.serverConfig())
	if err := conn.HandshakeContext(ctx); err != nil {
		c.met.refused.WithLabelValues(refusedHandshake).Inc()
		c.quiet.warn(refusedHandshake, "TLS handshake failed", "peer", c.src.Peer, "error", err)
		return false
	}
	c.l.mu.Lock()
	c.conn, c.shaking = conn, false
	c.l.mu.Unlock()
	return true
}

// cut hands on all whole messages that are held and keeps the beginning of the
// next one. It returns false when the stream is out of step.
func (c *streamConn) cut() bool {
	c.batch = c.l.batches.Get().(*batch)
	defer func() {
		c.l.batches.Put(c.batch)
		c.batch = nil
	}()
	used := 0
	for {
		frame, n, v := c.framer.next(c.buf[used:c.held])
		used += n
		switch v {
		case gotMessage:
			c.message(frame)
			c.begunAt = time.Time{}
		case gotReject:
			c.reject(c.framer.reason, frame)
			c.begunAt = time.Time{}
			c.quiet.warn(c.framer.reason, "rejected a message: raise max_line if it is a whole one",
				"peer", c.src.Peer, "reason", c.framer.reason, "max_line", c.cfg.MaxLine)
		case outOfStep:
			c.flush()
			c.reject(c.framer.reason, frame)
			c.explain(frame)
			return false
		case wantMore:
			c.flush()
			c.held = copy(c.buf, c.buf[used:c.held])
			return true
		}
	}
}

// explain logs why the connection is given up, and the likely cause.
func (c *streamConn) explain(start []byte) {
	hint := `the stream is not octet-counted throughout: set "log-proto octet-count" on HAProxy's ring server, or framing: newline here`
	if c.framer.reason == ReasonGarbage {
		hint = "the sender does not speak syslog"
		if start[0] == 0x16 {
			hint = "this is a TLS handshake: use a tls:// address, or take TLS off the sender"
		}
	}
	c.quiet.warn(c.framer.reason, "closed a connection that is no syslog stream",
		"peer", c.src.Peer, "reason", c.framer.reason, "hint", hint, "start", start[:min(len(start), 32)])
}

// resize fits the buffer to the traffic, after a read of n bytes.
func (c *streamConn) resize(n int, filled bool) {
	switch {
	case c.large == nil && filled:
		c.grow()
	case c.large != nil && n <= smallBuffer/2:
		if c.calm++; c.calm >= calmReads {
			c.shrink()
		}
	default:
		c.calm = 0
	}
}

// grow lends a large buffer. Without one the connection goes on in small
// reads, but a message that fills the small buffer cannot be held.
func (c *streamConn) grow() {
	c.calm = 0
	if c.large = c.l.pool.get(); c.large != nil {
		c.small = c.buf
		copy(*c.large, c.buf[:c.held])
		c.buf = *c.large
		return
	}
	if c.held == len(c.buf) {
		c.framer.abandon(c.buf)
		c.reject(ReasonMemory, c.buf)
		c.held = 0
		c.quiet.warn(ReasonMemory, "rejected a message: buffer_memory is used up by other connections",
			"peer", c.src.Peer, "buffer_memory", c.cfg.BufferMemory)
	}
}

// shrink gives the large buffer back, unless a long message is in progress.
func (c *streamConn) shrink() {
	c.calm = 0
	if c.large == nil || c.held >= smallBuffer {
		return
	}
	copy(c.small, c.buf[:c.held])
	c.buf, c.small = c.small, nil
	c.release()
}

// release gives back what the pool has lent.
func (c *streamConn) release() {
	if c.large != nil {
		c.l.pool.put(c.large)
		c.large = nil
	}
}

// setLimit sets how long the next read may wait.
func (c *streamConn) setLimit() {
	begun := c.framer.begun(c.held)
	if !begun {
		c.begunAt = time.Time{}
	}
	draining := c.l.draining.Load()
	var limit time.Time
	if draining || begun || c.large != nil || c.cfg.IdleTimeout > 0 {
		limit = c.limit(time.Now(), begun, draining)
	}
	if limit.IsZero() && c.due.IsZero() {
		return
	}
	c.due = limit
	// It fails on a closed connection only; Read then says so.
	_ = c.conn.SetReadDeadline(limit)
	if !draining && c.l.draining.Load() {
		c.wake() // the call above may have undone beginDrain's
	}
}

// limit returns the next moment at which something is due, zero for never.
func (c *streamConn) limit(now time.Time, begun, draining bool) time.Time {
	var limit time.Time
	due := func(t time.Time) {
		if limit.IsZero() || t.Before(limit) {
			limit = t
		}
	}
	if draining {
		if !c.lastRound {
			c.lastRound = true
			// The sender learns that it is to go elsewhere; HAProxy's ring
			// then keeps its messages until it has reconnected. Without
			// luck the reads below still end, by time.
			_ = c.conn.CloseWrite()
		}
		due(now.Add(quietPeriod))
		due(c.l.drainEnd)
		return limit
	}
	if c.large != nil {
		due(now.Add(restPeriod))
	}
	if begun {
		if c.begunAt.IsZero() {
			c.begunAt = now
		}
		due(c.begunAt.Add(c.cfg.FrameTimeout))
	}
	if c.cfg.IdleTimeout > 0 {
		due(c.readAt.Add(c.cfg.IdleTimeout))
	}
	return limit
}

// goesOn tells whether a read error leaves the connection in use, and settles
// what is left of it otherwise.
func (c *streamConn) goesOn(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		if !errors.Is(err, io.EOF) {
			c.log.Debug("connection ended", "peer", c.src.Peer, "error", err)
		}
		c.leftover(ReasonHalfFrame)
		return false
	}
	now := time.Now()
	switch {
	case c.lastRound && !now.Before(c.due):
		if readable(c.socket) {
			if now.Before(c.l.drainEnd) {
				return true
			}
			c.quiet.warn("drain", "cut off a sender that still sent at the end of drain_timeout",
				"peer", c.src.Peer, "drain_timeout", c.cfg.DrainTimeout)
		}
		c.leftover(ReasonHalfFrame)
		return false
	case c.l.draining.Load():
		return true // woken for the last round, perhaps when already in it
	case !c.begunAt.IsZero() && now.Sub(c.begunAt) >= c.cfg.FrameTimeout:
		c.leftover(ReasonSlow)
		return false
	case c.cfg.IdleTimeout > 0 && now.Sub(c.readAt) >= c.cfg.IdleTimeout:
		c.log.Debug("closed an idle connection", "peer", c.src.Peer, "idle_timeout", c.cfg.IdleTimeout)
		c.leftover(ReasonHalfFrame)
		return false
	}
	c.shrink()
	return true
}

// leftover rejects the message that has begun and will not end.
func (c *streamConn) leftover(reason string) {
	if !c.framer.begun(c.held) || c.framer.skippingOver() {
		return
	}
	c.received = time.Now()
	c.reject(reason, trimEnd(c.buf[:c.held]))
	c.quiet.warn(reason, "a connection ended within a message", "peer", c.src.Peer, "reason", reason)
}
