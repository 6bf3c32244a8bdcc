package syslog

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

func TestReadable(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listener := l.(syscall.Conn)
	if readable(listener) {
		t.Error("a listener with no backlog is readable")
	}
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if !readable(listener) {
		t.Error("a listener with a backlog is not readable")
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn := server.(syscall.Conn)
	if readable(listener) || readable(conn) {
		t.Error("readable without a cause")
	}
	send(t, client, "x")
	if !readable(conn) {
		t.Error("a connection with a byte is not readable")
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if readable(conn) {
		t.Error("a closed connection is readable")
	}
}
