package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/runtimeapi"
)

// helperDir tells the test binary, run once more by TestKilledDemoLeavesNothing,
// to start a world in that directory, and an Alertmanager where there is one, and
// wait to be killed.
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
	pids := fmt.Sprintf("pids %d %d", w.gate.PID(), worker.PID)
	if a, err := StartAlertmanager(t.Context(), filepath.Join(dir, "alerts")); err == nil {
		pids += fmt.Sprintf(" %d", a.child.PID())
	} else if !errors.Is(err, ErrNoAlertmanager) {
		t.Fatal(err)
	}
	fmt.Println(pids)
	time.Sleep(time.Minute)
}

// A demo that is killed without a chance to clean up takes its HAProxy along, and its
// Alertmanager.
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
	var pids []int
	for lines := bufio.NewScanner(output); pids == nil && lines.Scan(); {
		if text, ours := strings.CutPrefix(lines.Text(), "pids "); ours { // other lines are go test's
			for word := range strings.FieldsSeq(text) {
				pid, _ := strconv.Atoi(word)
				pids = append(pids, pid)
			}
		}
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // "signal: killed"
	want := 3
	if _, err := findAlertmanager(); err != nil {
		want = 2
	}
	if slices.Sort(pids); len(slices.Compact(slices.Clone(pids))) != want || pids[0] == 0 {
		t.Fatalf("the helper started no world: pids %d", pids)
	}
	for deadline := time.Now().Add(5 * time.Second); slices.ContainsFunc(pids, alive); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("of the pids %d some outlive the demo that was killed", pids)
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
