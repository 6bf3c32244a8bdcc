package syslog

import (
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestTenThousandConnections opens them, sends on each, and measures what an
// idle one costs.
func TestTenThousandConnections(t *testing.T) {
	const n = 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Both ends are in this process, and Go has raised the soft limit already.
	open := n
	if most := int(min(limit.Cur, 1<<20)) - 500; 2*open > most {
		open = most / 2
		if open < 1000 {
			t.Skipf("the limit of open files, %d, is too low", limit.Cur)
		}
		t.Logf("%d connections, as the limit of open files is %d", open, limit.Cur)
	}
	rec := newRecorder()
	r := start(t, Config{Address: "unix://" + filepath.Join(t.TempDir(), "log.sock")}, rec)
	before := memory()
	conns := make([]net.Conn, open)
	for i := range conns {
		eventually(t, "the backlog has room", func() bool {
			conn, err := net.Dial("unix", r.Addr().String())
			if err != nil && !errors.Is(err, syscall.EAGAIN) {
				t.Fatal(err)
			}
			conns[i] = conn
			return err == nil
		})
		defer conns[i].Close()
	}
	for _, conn := range conns {
		send(t, conn, counted("<1>hello"))
	}
	rec.wait(t, open, 0)
	if got := r.metric(t, "connections"); got != float64(open) {
		t.Errorf("connections = %v, want %d", got, open)
	}
	each := (memory() - before) / uint64(open)
	t.Logf("%d connections cost %d bytes each, both ends", open, each)
	if each > 20_000 {
		t.Errorf("an idle connection costs %d bytes, more than 20,000", each)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	eventually(t, "all are gone", func() bool { return r.metric(t, "connections") == 0 })
	rec.check(t, open, 0)
}

// memory returns the bytes of heap and stacks in use.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapInuse + s.StackInuse
}
