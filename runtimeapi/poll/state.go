package poll

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/haptrail/haptrail/runtimeapi"
)

// State is how the last poll of a table ended; it is also the outcome in the metrics.
type State string

// The states. Each but the first two is a problem, and Status.Problem says how to
// mend it.
const (
	StateUnknown      State = ""              // not polled yet
	StateOK           State = "ok"            // read to the end
	StateMissing      State = "missing"       // there is no file where the socket should be
	StateNotSocket    State = "not_a_socket"  // what is there is no socket
	StateForbidden    State = "forbidden"     // the file may not be opened by this user
	StateNobody       State = "nobody"        // a socket, and nobody listens
	StateUnreachable  State = "unreachable"   // no connection for another reason
	StateCut          State = "cut"           // the reply ended before its end
	StateSlow         State = "slow"          // the reply did not end in time
	StateUnknownTable State = "unknown_table" // HAProxy has no such table
	StateLevel        State = "level"         // the socket's level does not allow it
	StateMalformed    State = "malformed"     // the reply is not understood
	StateStopping     State = "stopping"      // an old worker answered, whose table no longer counts
	StateFailed       State = "failed"        // anything else
)

// errStopping ends the reading of an old worker's table.
var errStopping = errors.New("an old worker answered, which only finishes its connections; the new one is asked next time")

// stateOf classifies what a poll ended with.
func stateOf(err error) State {
	switch {
	case err == nil:
		return StateOK
	case errors.Is(err, errStopping):
		return StateStopping
	case errors.Is(err, runtimeapi.ErrUnreachable):
		return unreachable(err)
	case errors.Is(err, runtimeapi.ErrPartial) && errors.Is(err, context.DeadlineExceeded):
		return StateSlow
	case errors.Is(err, runtimeapi.ErrPartial):
		return StateCut
	case errors.Is(err, runtimeapi.ErrUnknownTable):
		return StateUnknownTable
	case errors.Is(err, runtimeapi.ErrPermission):
		return StateLevel
	case errors.Is(err, runtimeapi.ErrMalformed), errors.Is(err, runtimeapi.ErrTooLarge):
		return StateMalformed
	}
	return StateFailed
}

// unreachable tells apart why there is no connection. The kernel refuses one to a
// plain file in the same words as one to a socket that nobody listens on.
func unreachable(err error) State {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return StateMissing
	case errors.Is(err, fs.ErrPermission):
		return StateForbidden
	case errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.EPROTOTYPE):
		return StateNotSocket
	case !errors.Is(err, syscall.ECONNREFUSED):
		return StateUnreachable
	}
	if info, err := os.Stat(socketPath(err)); err == nil && info.Mode().Type() != fs.ModeSocket {
		return StateNotSocket
	}
	return StateNobody
}

// socketPath is the path of the socket that err speaks of; "" for none.
func socketPath(err error) string {
	var command *runtimeapi.CommandError
	if !errors.As(err, &command) {
		return ""
	}
	path, ok := strings.CutPrefix(command.Address, "unix:")
	if !ok {
		return ""
	}
	return path
}

// problem is the error with its mend, in one line.
func problem(state State, err error) string {
	path := socketPath(err)
	switch state {
	case StateOK:
		return ""
	case StateMissing:
		return fmt.Sprintf(`there is no socket %s; start HAProxy with "stats socket %s mode 600 level operator" in its global section, or correct the path`, path, path)
	case StateNotSocket:
		return fmt.Sprintf(`%s is not a socket; correct the path, or remove the file and reload HAProxy`, path)
	case StateForbidden:
		return fmt.Sprintf(`user %d may not open %s; give the "stats socket" line "user", "group" and "mode 660" that let it, and look at the folders above`, os.Geteuid(), path)
	case StateNobody:
		return fmt.Sprintf(`nobody listens on %s: HAProxy has ended and left the socket behind; start it`, strings.TrimSpace("the socket "+path))
	case StateLevel:
		return fmt.Sprintf(`%v (for stick tables "level operator" is enough)`, err)
	}
	return err.Error()
}
