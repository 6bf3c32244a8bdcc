package runtimeapi

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The kinds of failure; errors.Is finds them in every error of this package.
var (
	// ErrUnreachable: there was no connection; the command was not run.
	ErrUnreachable = errors.New("cannot be reached")
	// ErrPartial: the reply ended without its final blank line (cut off, timed
	// out, or empty because the command was too long). The command may have run.
	ErrPartial = errors.New("incomplete reply")
	// ErrPermission: the socket's level does not allow the command.
	ErrPermission = errors.New("permission denied")
	// ErrUnknownMap: HAProxy has no map of that file or #id.
	ErrUnknownMap = errors.New("unknown map")
	// ErrUnknownCommand: this HAProxy does not know the command.
	ErrUnknownCommand = errors.New("unknown command")
	// ErrNotFound: the map has no such key, or HAProxy no such certificate.
	ErrNotFound = errors.New("not found")
	// ErrVersionGone: a prepared map version was overtaken by another commit.
	ErrVersionGone = errors.New("prepared version is gone")
	// ErrBusy: another writer holds HAProxy's lock, transaction or reload.
	ErrBusy = errors.New("busy")
	// ErrRejected: HAProxy refused for a reason in its own words.
	ErrRejected = errors.New("rejected")
	// ErrMalformed: a complete reply in a shape that this package does not know.
	ErrMalformed = errors.New("unexpected reply")
	// ErrMismatch: what was read back is not what was written.
	ErrMismatch = errors.New("read back differs")
	// ErrUnsupported: this version of HAProxy cannot do it.
	ErrUnsupported = errors.New("not supported by this version")
	// ErrInexpressible: the command language has no form for that value.
	ErrInexpressible = errors.New("cannot be expressed")
	// ErrTooLarge: a single value or a reply beyond the bound.
	ErrTooLarge = errors.New("too large")
	// ErrReload: the new configuration was not taken; the old workers go on.
	ErrReload = errors.New("reload failed")
)

// mends says what to do about a kind.
var mends = map[error]string{
	ErrUnreachable:    `is HAProxy running, and does its configuration have this "stats socket" (the master's: option -S)?`,
	ErrPartial:        `raise the timeout here and "stats timeout" in HAProxy's global section, and look whether HAProxy was reloaded meanwhile`,
	ErrPermission:     `give the stats socket "level admin"`,
	ErrUnknownMap:     `was HAProxy started with this file? Name it exactly as the configuration writes it, or by #id; "show map" lists both`,
	ErrUnknownCommand: `the command needs a newer HAProxy, or the other socket (stats socket or master's)`,
	ErrVersionGone:    `another program replaced the same map at the same time; try again, and let one program write it`,
	ErrBusy:           `another program is at it; try again`,
	ErrMismatch:       `another program changed it at the same time; try again, and let one program write it`,
}

// CommandError is a command that did not do what it should.
type CommandError struct {
	// Address is the socket: unix:/path or tcp:host:port.
	Address string
	// Command is its verb and what it acts on; never a value or a payload.
	Command string
	// Kind is one of the Err variables of this package.
	Kind error
	// Reply is what HAProxy said, cut at 2,000 bytes; empty without a reply.
	Reply string
	// Cause is the I/O error underneath, or nil.
	Cause error
}

// Error is one line: socket, command, kind, HAProxy's words, cause and mend.
func (e *CommandError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "haproxy %s: %q: %v", e.Address, e.Command, e.Kind)
	if e.Reply != "" {
		fmt.Fprintf(&b, ": HAProxy says %q", e.Reply)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	if mend := mends[e.Kind]; mend != "" {
		b.WriteString("; " + mend)
	}
	return b.String()
}

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *CommandError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

const maxQuotedReply = 2000

// refusals are HAProxy's words, the same in 2.6 to 3.4, and what they mean. The
// first that fits wins.
var refusals = []struct {
	text string
	kind error
}{
	{"Unknown command", ErrUnknownCommand},
	{"Permission denied", ErrPermission},
	{"This command is restricted to", ErrPermission},
	{"Unknown map identifier", ErrUnknownMap},
	{"key or pattern not found", ErrNotFound},
	{"Key not found", ErrNotFound},
	{"Version number out of range", ErrVersionGone},
	{"Version number in the future", ErrVersionGone},
	{"Operations on certificates are currently locked", ErrBusy},
	{"The ongoing transaction is about", ErrBusy},
	{"certificate is a bundle", ErrNotFound},
	{"doesn't exist!", ErrNotFound},
	// What "add|del|show ssl jwt" says where the level is too low (3.3, 3.4).
	{"Can't allocate memory!", ErrPermission},
	{"Another reload is still in progress", ErrBusy},
	{"The command line is too big for the buffer size", ErrTooLarge},
}

// classify names the kind of a refusal.
func classify(reply string) error {
	for _, r := range refusals {
		if strings.Contains(reply, r.text) {
			return r.kind
		}
	}
	return ErrRejected
}

// severity is what a socket with "severity-output" puts before each message.
var severity = regexp.MustCompile(`^\[(?:[0-7]|emerg|alert|crit|err|warning|notice|info|debug)\]:`)

// words are a reply as an error quotes it: bounded, without the blank line.
func words(reply string) string {
	reply = strings.TrimSpace(reply)
	if len(reply) > maxQuotedReply {
		reply = reply[:maxQuotedReply] + "…"
	}
	return reply
}
