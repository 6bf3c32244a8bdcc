package runtimeapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeSocket answers each connection's first line by answer, which may stall or
// close early; it stands for the HAProxys that cannot be run here.
func fakeSocket(t *testing.T, answer func(line string, conn net.Conn)) string {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
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
			line, _ := bufio.NewReader(conn).ReadString('\n')
			answer(strings.TrimSuffix(line, "\n"), conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return path
}

// says is an answer of fixed text.
func says(text string) func(string, net.Conn) {
	return func(_ string, conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

const info26 = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 7\nUptime_sec: 90\nNbthread: 2\nStopping: 1\nnode: edge1\ndescription: a: b\n"

// TestThreeOutcomes: complete, partial and failed are never mistaken for one another.
func TestThreeOutcomes(t *testing.T) {
	stall := func(_ string, conn net.Conn) {
		_, _ = io.WriteString(conn, "Name: HAProxy\n")
		_, _ = io.Copy(io.Discard, conn) // until the client gives up
	}
	for name, tc := range map[string]struct {
		answer func(string, net.Conn)
		want   error
		text   string
	}{
		"complete":             {says(info26 + "\n"), nil, ""},
		"no blank line":        {says(info26), ErrPartial, `"show info"`},
		"cut in a line":        {says(info26[:40]), ErrPartial, "after 40 bytes"},
		"closed at once":       {says(""), ErrPartial, "after 0 bytes"},
		"stalls":               {stall, ErrPartial, "after 14 bytes: context deadline exceeded"},
		"endless":              {says(strings.Repeat("x: y\n", 1000) + "\n"), ErrTooLarge, "3000 bytes"},
		"nothing to say":       {says("\n"), ErrMalformed, "version"},
		"refused":              {says("Permission denied\n\n"), ErrPermission, `"level admin"`},
		"refused, severity":    {says("[3]:Permission denied\n\n"), ErrPermission, `HAProxy says`},
		"1.8 in its own words": {says("Unknown command. Please enter one of the following commands only :\n  clear counters\n\n"), ErrUnknownCommand, "newer"},
		"another program":      {says("220 mail ESMTP\n\n"), ErrMalformed, "no colon"},
		"not a number":         {says(strings.Replace(info26, "Pid: 7", "Pid: x", 1) + "\n"), ErrMalformed, "Pid"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(fakeSocket(t, tc.answer), Options{Timeout: 200 * time.Millisecond, MaxReply: 3000})
			if err != nil {
				t.Fatal(err)
			}
			info, err := c.Info(t.Context())
			if !errors.Is(err, tc.want) {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.text) || info.Fields != nil) {
				t.Errorf("%+v, %v; want %q in it", info, err, tc.text)
			}
			if err == nil && (info.PID != 7 || info.Node != "edge1" || info.Uptime != 90*time.Second || !info.Stopping || info.Version.String() != "2.6.12-1+deb12u4") {
				t.Errorf("%+v", info)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	dir := shortDir(t)
	dead := filepath.Join(dir, "dead")
	listener, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{filepath.Join(dir, "none"), dead} {
		c, err := New(address, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Info(t.Context())
		if !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), address) {
			t.Errorf("%v", err)
		}
	}
	c, _ := New(filepath.Join(dir, "none"), Options{})
	if _, err := c.Info(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cause is hidden: %v", err)
	}
}

func TestContextEndsACommand(t *testing.T) {
	arrived := make(chan struct{}, 1)
	path := fakeSocket(t, func(_ string, conn net.Conn) {
		arrived <- struct{}{}
		_, _ = io.Copy(io.Discard, conn)
	})
	c, err := New(path, Options{Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := c.Info(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrPartial) {
		t.Errorf("%v", err)
	}
	if _, err := c.Info(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("canceled before it connects: %v", err)
	}
}

// TestTCP: a stats socket may be a port.
func TestTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, info26+"\n")
		_ = conn.Close()
	}()
	c, err := New("tcp:"+listener.Addr().String(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.Version(t.Context()); err != nil || v.Patch != 12 {
		t.Errorf("%v, %v", v, err)
	}
}

func TestAddresses(t *testing.T) {
	for _, good := range []string{"/run/h.sock", "unix:/run/h.sock", "tcp:127.0.0.1:9999", "tcp:[::1]:9999", "/" + strings.Repeat("a", 106)} {
		if _, err := New(good, Options{}); err != nil {
			t.Error(err)
		}
		if _, err := NewMaster(good, Options{}); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "h.sock", "unix:", "unix:h.sock", "unix://", "tcp:", "tcp:9999", "tcp::9999", "tcp:host:", "udp:127.0.0.1:1", "/a\x00", "/" + strings.Repeat("a", 107)} {
		if bad == "unix://" {
			continue // the folder /: connecting says so
		}
		if _, err := New(bad, Options{}); err == nil {
			t.Errorf("%q is taken", bad)
		}
		if _, err := NewMaster(bad, Options{}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := New("/s", Options{Timeout: -1}); err == nil {
		t.Error("a negative timeout is taken")
	}
}

// TestSuccessIsSilence: any word after a write is a refusal, also one that this
// package has never heard.
func TestSuccessIsSilence(t *testing.T) {
	for reply, want := range map[string]error{
		"\n": nil, "": ErrPartial, "Done.\n\n": ErrRejected, "Done.\n": ErrPartial,
		"'x' is not a valid IPv4 or IPv6 address.\n\n":            ErrRejected,
		"Unknown map identifier. Please use #<id> or <file>.\n\n": ErrUnknownMap,
	} {
		c, err := New(fakeSocket(t, says(reply)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddEntry(t.Context(), "/m", Entry{"k", "v"}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", reply, err, want)
		}
	}
}
