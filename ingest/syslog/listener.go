package syslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Deps is what a listener uses and does not own.
type Deps struct {
	Logger  *slog.Logger // nil logs nothing
	Metrics *Metrics     // nil counts into metrics of its own
}

// Listener is one bound address. The order of its life is Listen, Serve, and
// either the end of Serve's context or Close.
type Listener struct {
	receiver receiver
	served   atomic.Bool
}

// receiver is what the two kinds of transport have in common.
type receiver interface {
	serve(ctx context.Context, h Handler) error
	close() error
	addr() net.Addr
	reload() error
}

// Listen checks cfg and binds its address; nothing is read before Serve. Each
// error names the listener, the field and what mends it.
func Listen(cfg Config, deps Deps) (*Listener, error) {
	at, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = NewMetrics(nil)
	}
	log := deps.Logger.With("listener", cfg.Name, "address", cfg.Address)
	in := &inlet{cfg: cfg, transport: at.transport, log: log, quiet: newThrottle(log)}
	var r receiver
	switch at.transport {
	case transportUDP, transportUnixgram:
		in.met = deps.Metrics.forDatagram(cfg.Name, at.transport)
		r, err = listenDatagram(in, at.target)
	default:
		in.met = deps.Metrics.forStream(cfg.Name, at.transport)
		r, err = listenStream(in, at.target)
	}
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", cfg.Name, err)
	}
	return &Listener{receiver: r}, nil
}

// Addr returns the bound address: with the port that was free when the
// configured one is 0.
func (l *Listener) Addr() net.Addr { return l.receiver.addr() }

// Serve receives until ctx ends or Close is called, and blocks as long. At the
// end of ctx it accepts no more connections, tells the senders (by closing the
// writing half), reads what was sent before, for DrainTimeout at most, and has
// the handler take it before it returns; nil then means that no message that a
// TCP sender had handed to its kernel is lost. Serve may be called once.
func (l *Listener) Serve(ctx context.Context, h Handler) error {
	if l.served.Swap(true) {
		return errors.New("syslog: Serve was called before")
	}
	return l.receiver.serve(ctx, h)
}

// Close frees the address at once, also without Serve. Connections are cut;
// what the kernel holds of them is lost. It is safe to call after Serve.
func (l *Listener) Close() error {
	err := l.receiver.close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Reload reads the TLS files again. After an error the old ones stay in use.
// Other transports have nothing to reload.
func (l *Listener) Reload() error { return l.receiver.reload() }

// inlet is what all parts of one listener share. It is read-only after Listen.
type inlet struct {
	cfg       Config
	transport string
	log       *slog.Logger
	quiet     *throttle
	met       listenerMetrics
}

// maxBatch bounds the messages of one Handle, and so the memory of a batch.
const maxBatch = 512

// batch is the reused storage of what one Handle is given.
type batch struct{ messages []Message }

// intake turns the frames of one Source into calls of a Handler. It belongs
// to one goroutine.
type intake struct {
	*inlet
	src      *Source
	handler  Handler
	received time.Time // of the read that is being cut
	clock    time.Time // what RFC 3164 times take their year from
	batch    *batch    // nil between reads, where batches are pooled
}

// message parses frame into the batch. The frame's memory must stay as it is
// until flush.
func (in *intake) message(frame []byte) {
	if control(frame[0]) {
		in.reject(ReasonGarbage, frame)
		return
	}
	n := len(in.batch.messages)
	if n == maxBatch {
		in.flush()
		n = 0
	}
	if n == cap(in.batch.messages) {
		in.batch.messages = append(in.batch.messages, Message{})
	}
	in.batch.messages = in.batch.messages[:n+1]
	ParseHeader(frame, in.clock, in.cfg.Zone, &in.batch.messages[n])
}

// flush hands the batch over, if it holds anything, and empties it.
func (in *intake) flush() {
	messages := in.batch.messages
	if len(messages) == 0 {
		return
	}
	if in.met.messages != nil {
		in.met.messages.Add(float64(len(messages)))
	}
	in.handler.Handle(in.src, in.received, messages)
	in.batch.messages = messages[:0]
}

// reject counts input that is no message and hands over its beginning.
func (in *intake) reject(reason string, raw []byte) {
	if in.met.rejects != nil {
		in.met.rejects.WithLabelValues(reason).Inc()
	}
	in.handler.Reject(in.src, in.received, reason, raw[:min(len(raw), MaxReject)])
}

// bindError adds to an error of bind(2) what mends it.
func bindError(address string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another process listens there: stop it (ss -lptun shows its name) or choose another port"
	case errors.Is(err, syscall.EACCES):
		hint = "a port below 1024 needs CAP_NET_BIND_SERVICE, a socket file a folder that may be written: " +
			"choose a port above 1023, or set AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "no interface of this machine has the address (ip address shows them)"
	case errors.Is(err, syscall.ENOENT):
		hint = "make its folder first (RuntimeDirectory= in the unit)"
	case errors.Is(err, syscall.EINVAL):
		hint = "a socket's path has 107 bytes at most"
	default:
		return fmt.Errorf("address: cannot listen on %s: %w", address, err)
	}
	return fmt.Errorf("address: cannot listen on %s: %w: %s", address, err, hint)
}
