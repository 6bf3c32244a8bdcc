package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// socket is where commands go.
type socket struct {
	network string // unix or tcp
	address string
	options Options
}

// maxUnixPath is what a socket address holds on Linux, less its final NUL.
const maxUnixPath = 107

func newSocket(address string, o Options) (socket, error) {
	if o.Timeout < 0 || o.MaxReply < 0 {
		return socket{}, fmt.Errorf("haproxy socket %q: timeout %v and max reply %d must not be negative", address, o.Timeout, o.MaxReply)
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxReply == 0 {
		o.MaxReply = 256 << 20
	}
	if hostport, ok := strings.CutPrefix(address, "tcp:"); ok {
		host, port, err := net.SplitHostPort(hostport)
		if err != nil || host == "" || port == "" {
			return socket{}, fmt.Errorf("haproxy socket %q: want tcp:HOST:PORT, such as tcp:127.0.0.1:9999", address)
		}
		return socket{"tcp", hostport, o}, nil
	}
	path, _ := strings.CutPrefix(address, "unix:")
	switch {
	case !strings.HasPrefix(path, "/"):
		return socket{}, fmt.Errorf("haproxy socket %q: want unix:/PATH, /PATH or tcp:HOST:PORT", address)
	case strings.ContainsRune(path, 0):
		return socket{}, fmt.Errorf("haproxy socket %q: a path has no NUL", address)
	case len(path) > maxUnixPath:
		return socket{}, fmt.Errorf("haproxy socket %q: the path has %d bytes, a unix socket's has at most %d", address, len(path), maxUnixPath)
	}
	return socket{"unix", path, o}, nil
}

func (s socket) String() string { return s.network + ":" + s.address }

// Causes of an exchange that did not come to its end.
var (
	errDial    = errors.New("connect")
	errTooLong = errors.New("reply beyond the bound")
)

// exchange sends text and reads to the end of the stream, within the timeout. On
// an error it also returns what came before it. halfClose says that no command
// follows: the master's socket stays open until it hears that.
func (s socket) exchange(ctx context.Context, text string, halfClose bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, s.network, s.address)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errDial, err)
	}
	defer conn.Close()
	// The context covers reads and writes: its end makes both return at once.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	// A write can fail because HAProxy has already refused and closed; what it
	// said is worth more than the broken pipe.
	_, sendErr := io.WriteString(conn, text)
	if half, ok := conn.(interface{ CloseWrite() error }); ok && halfClose && sendErr == nil {
		sendErr = half.CloseWrite()
	}
	reply, err := io.ReadAll(io.LimitReader(conn, int64(s.options.MaxReply)+1))
	switch {
	case len(reply) > s.options.MaxReply:
		return "", fmt.Errorf("%w of %d bytes", errTooLong, s.options.MaxReply)
	case err != nil && ctx.Err() != nil:
		return string(reply), fmt.Errorf("after %d bytes: %w", len(reply), context.Cause(ctx))
	case err != nil:
		return string(reply), fmt.Errorf("after %d bytes: %w", len(reply), err)
	case sendErr != nil && len(reply) == 0:
		return "", fmt.Errorf("send: %w", sendErr)
	}
	return string(reply), nil
}

// fail is the error of an exchange that broke. What came of the reply is not
// quoted: half of it is data of any kind.
func (s socket) fail(name string, err error) error {
	kind := ErrPartial
	switch {
	case errors.Is(err, errDial):
		kind = ErrUnreachable
	case errors.Is(err, errTooLong):
		kind = ErrTooLarge
	}
	return &CommandError{Address: s.String(), Command: name, Kind: kind, Cause: err}
}

// cut is the error of a stream that ended before the blank line.
func (s socket) cut(name, reply string) error {
	cause := fmt.Errorf("the stream ended after %d bytes, without the final blank line", len(reply))
	if reply == "" {
		cause = errors.New("the stream ended after 0 bytes; HAProxy closes so when a command does not fit into tune.bufsize (at least 16384 is needed)")
	}
	return &CommandError{Address: s.String(), Command: name, Kind: ErrPartial, Cause: cause}
}

// refuse is the error of a complete reply that says no.
func (s socket) refuse(name string, kind error, reply string) error {
	return &CommandError{Address: s.String(), Command: name, Kind: kind, Reply: words(reply)}
}

// misread is the error of a complete reply that could not be read as the answer:
// a refusal in known words, or a shape that is not known.
func (s socket) misread(name, reply string, cause error) error {
	if kind := classify(reply); kind != ErrRejected {
		return s.refuse(name, kind, reply)
	}
	return &CommandError{Address: s.String(), Command: name, Kind: ErrMalformed, Reply: words(reply), Cause: cause}
}
