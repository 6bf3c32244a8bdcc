package embedded

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// TestLongSocketPath serves paths on both sides of the system's limit, where the
// private name that the socket is made under is longer than its own.
func TestLongSocketPath(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux reaches a socket through an open directory")
	}
	base := t.TempDir()
	for _, length := range []int{90, maxSocketPath - 1, maxSocketPath, maxSocketPath + 1, 107, 108, 200, 1000} {
		dir := base
		for length-len(dir)-len("/haptrail.sock") > 0 {
			dir += "/" + strings.Repeat("d", min(200, length-len(dir)-len("/haptrail.sock")-1))
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "haptrail.sock")
		serve(t, Endpoint{"unix", path, Access{}})
		conn := dialled(t, path)
		if got := one[uint8](t, conn, "SELECT 7"); got != 7 {
			t.Errorf("%d bytes: %d", len(path), got)
		}
		if _, err := testEngine(t).Listen(Endpoint{"unix", path, Access{}}); !errors.Is(err, ErrEndpoint) || !strings.Contains(err.Error(), "someone answers") {
			t.Errorf("%d bytes, bound twice: %v", len(path), err)
		}
	}
}

// dialled is a clickhouse-go connection over a unix socket.
func dialled(t *testing.T, path string) clickhouse.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Protocol: clickhouse.HTTP, Addr: []string{"localhost"},
		DialContext: func(ctx context.Context, _ string) (net.Conn, error) { return DialUnix(ctx, path) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestDialUnixErrors(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("d", 150))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		want error
	}{
		{filepath.Join(dir, "none"), syscall.ENOENT},
		{filepath.Join(long, "none"), syscall.ENOENT},
		{filepath.Join(long, "none", "none"), syscall.ENOENT},
		{filepath.Join(dir, strings.Repeat("x", 150)), ErrEndpoint},
	} {
		if runtime.GOOS != "linux" && len(c.path) > maxSocketPath {
			c.want = ErrEndpoint
		}
		conn, err := DialUnix(context.Background(), c.path)
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.path) && !strings.Contains(err.Error(), filepath.Dir(c.path)) {
			t.Errorf("%s: %v", c.path, err)
		}
	}
}

// TestCloseKeepsForeignSocket lets another server take the path over.
func TestCloseKeepsForeignSocket(t *testing.T) {
	e := testEngine(t)
	path := filepath.Join(t.TempDir(), "s")
	first, err := e.Listen(Endpoint{"unix", path, Access{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	serve(t, Endpoint{"unix", path, Access{}})
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if got := one[uint8](t, dialled(t, path), "SELECT 7"); got != 7 {
		t.Error(got)
	}

	// The same for one that was served.
	path = filepath.Join(t.TempDir(), "s")
	served, err := e.Listen(Endpoint{"unix", path, Access{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- served.Serve(ctx) }()
	if got := one[uint8](t, dialled(t, path), "SELECT 7"); got != 7 {
		t.Error(got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("%q %v", text, err)
	}
}
