package demo

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/runtimeapi"
)

// helperDir tells the test binary, run once more by TestKilledDemoLeavesNothing,
// to start a world in that directory and wait to be killed.
const helperDir = "HAPTRAIL_TEST_DEMO_DIR"

func TestHelperWorld(t *testing.T) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		t.Skip("only a part of TestKilledDemoLeavesNothing")
	}
	options := testOptions(t, edgetest.NewSink(t))
	options.Dir = dir
	w, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	client, err := runtimeapi.New(w.StatsSocket(), runtimeapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	worker, err := client.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("pids %d %d\n", w.gate.PID(), worker.PID)
	time.Sleep(time.Minute)
}

// A demo that is killed without a chance to clean up takes its HAProxy along.
func TestKilledDemoLeavesNothing(t *testing.T) {
	options := testOptions(t, edgetest.NewSink(t)) // skips where HAProxy is missing
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	helper := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHelperWorld$")
	helper.Env = append(os.Environ(), helperDir+"="+options.Dir, "TMPDIR="+options.Dir) // it cannot clean up after itself
	output, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var master, worker int
	for lines := bufio.NewScanner(output); worker == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "pids %d %d", &master, &worker) // other lines are go test's
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // "signal: killed"
	if master == 0 || worker == 0 || master == worker {
		t.Fatalf("the helper started no world: pids %d and %d", master, worker)
	}
	for deadline := time.Now().Add(5 * time.Second); alive(master) || alive(worker); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("haproxy (pids %d and %d) outlives the demo that was killed", master, worker)
		}
	}
}

// alive tells whether the process still runs; one that nobody has waited for
// yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
