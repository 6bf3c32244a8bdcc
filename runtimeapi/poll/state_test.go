package poll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// shortDir is a folder whose paths fit into a unix socket's address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// listen answers every connection to path by answer.
func listen(t *testing.T, path string, answer func(net.Conn)) {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1000))
			answer(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
}

// TestStatesOfSockets: what can be wrong with a socket, as the kernel says it.
func TestStatesOfSockets(t *testing.T) {
	const info = "Name: HAProxy\nVersion: 2.6.12\nPid: 7\nUptime_sec: 90\nNbthread: 2\nStopping: 0\nnode: edge1\n\n"
	dir := shortDir(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	answer := func(text string, stall bool) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			if stall {
				_, _ = io.Copy(io.Discard, conn)
			}
		}
	}
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead, err := net.Listen("unix", path("dead"))
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()
	datagrams, err := net.ListenPacket("unixgram", path("gram"))
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	listen(t, path("cut"), answer(info+"# table: st, type: string, size:9, used:2\n", false))
	listen(t, path("slow"), answer(info, true))
	listen(t, path("table"), answer(info+"No such table\n\n", false))
	listen(t, path("level"), answer(info+"Permission denied\n\n", false))
	listen(t, path("mail"), answer("220 mail ESMTP\n\n", false))
	listen(t, path("odd"), answer(info+"Not today\n\n", false))
	for name, tc := range map[string]struct {
		want State
		mend string
	}{
		"none": {StateMissing, "stats socket " + path("none")}, "none/deeper": {StateMissing, "start HAProxy"},
		"file": {StateNotSocket, "is not a socket"}, "": {StateNotSocket, "is not a socket"}, "gram": {StateNotSocket, "is not a socket"},
		"dead": {StateNobody, "HAProxy has ended"}, "cut": {StateCut, "raise the timeout"}, "slow": {StateSlow, "raise the timeout"},
		"table": {StateUnknownTable, "lists the tables"}, "level": {StateLevel, "operator"}, "mail": {StateMalformed, "no colon"}, "odd": {StateFailed, "Not today"},
	} {
		c, err := runtimeapi.New(path(name), runtimeapi.Options{Timeout: 300 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Dump(t.Context(), "st", runtimeapi.Filter{}, runtimeapi.Visitor{})
		state := stateOf(err)
		if text := problem(state, err); state != tc.want || !strings.Contains(text, tc.mend) || strings.Contains(text, "\n") {
			t.Errorf("%q: %s: %s; want %s with %q", name, state, text, tc.want, tc.mend)
		}
	}
}

// TestStatesOfErrors: those that root does not get, or that need another host.
func TestStatesOfErrors(t *testing.T) {
	dial := func(errno error) error {
		return &runtimeapi.CommandError{Address: "unix:/run/h.sock", Command: "show table st", Kind: runtimeapi.ErrUnreachable, Cause: fmt.Errorf("connect: %w", errno)}
	}
	tcp := &runtimeapi.CommandError{Address: "tcp:127.0.0.1:1", Kind: runtimeapi.ErrUnreachable, Cause: syscall.ECONNREFUSED}
	for _, tc := range []struct {
		err  error
		want State
		mend string
	}{
		{nil, StateOK, ""},
		{dial(syscall.EACCES), StateForbidden, "may not open /run/h.sock"},
		{dial(syscall.EAGAIN), StateUnreachable, "is HAProxy running"},
		{tcp, StateNobody, "start it"},
		{errStopping, StateStopping, "new one is asked next time"},
		{runtimeapi.ErrTooLarge, StateMalformed, "too large"},
		{errors.New("odd"), StateFailed, "odd"},
	} {
		state := stateOf(tc.err)
		if text := problem(state, tc.err); state != tc.want || !strings.Contains(text, tc.mend) || (text == "") != (tc.err == nil) {
			t.Errorf("%v: %s: %s", tc.err, state, text)
		}
	}
}
