package embedded

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// childDiskFull fills a small file system.
func childDiskFull(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		fmt.Println("cannot mount:", err)
		return nil
	}
	e, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	defer e.Close()
	if _, err := run(e, "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a"); err != nil {
		return err
	}
	_, err = run(e, "INSERT INTO t SELECT number, randomPrintableASCII(1000) FROM numbers(100000)")
	fmt.Println("insert:", err)
	got, err := run(e, "SELECT toString(count()) FROM t")
	fmt.Println("afterwards:", got, err)
	return nil
}

func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a small file system")
	}
	out := child(t, "diskfull:"+t.TempDir(), func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS}
	})
	if strings.Contains(out, "cannot mount") {
		t.Skip(out)
	}
	requireContains(t, out, "DB::Exception", "MiB left: make room there", "afterwards: 0 <nil>")
}
