package child

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// helperDir tells the test binary, run once more by TestKilledParent, to start
// children that keep what they print in that directory, and to wait to be killed.
const helperDir = "HAPTRAIL_TEST_CHILD_DIR"

func TestHelperParent(t *testing.T) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		t.Skip("only a part of TestKilledParent")
	}
	var pids []string
	for i := range 3 {
		// deaf, so that only the kernel can end them
		p, err := Start(exec.Command("/bin/sh", "-c", "trap '' TERM INT HUP; while :; do sleep 0.1; done"), filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, strconv.Itoa(p.PID()))
	}
	// Threads come and go meanwhile: the children must not go with one of them.
	var threads sync.WaitGroup
	for range 50 {
		threads.Go(func() { runtime.LockOSThread(); time.Sleep(time.Millisecond) })
	}
	threads.Wait()
	fmt.Println("pids " + strings.Join(pids, " "))
	time.Sleep(time.Minute)
}

// A parent that is killed without a chance to clean up takes its children along, and
// not before.
func TestKilledParent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	helper := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHelperParent$")
	helper.Env = append(os.Environ(), helperDir+"="+t.TempDir())
	output, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for lines := bufio.NewScanner(output); pids == nil && lines.Scan(); {
		if text, ours := strings.CutPrefix(lines.Text(), "pids "); ours {
			for word := range strings.FieldsSeq(text) {
				pid, _ := strconv.Atoi(word)
				pids = append(pids, pid)
			}
		}
	}
	for _, pid := range pids {
		if !alive(pid) {
			t.Errorf("pid %d is gone before its parent", pid)
		}
		if group, err := groupOf(pid); err != nil || group != pid {
			t.Errorf("pid %d is in group %d, %v", pid, group, err)
		}
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // "signal: killed"
	if len(pids) != 3 {
		t.Fatalf("the helper started %d", pids)
	}
	for _, pid := range pids {
		within(t, fmt.Sprintf("pid %d is gone", pid), func() bool { return !alive(pid) })
	}
}

// groupOf is a process's group, the fifth field of its stat (proc_pid_stat(5)).
func groupOf(pid int) (group int, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strconv.Atoi(strings.Fields(rest)[2])
}
