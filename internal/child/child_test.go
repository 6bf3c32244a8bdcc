package child

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shell starts a script, and waits until it has printed "ready" if it does so at all.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(exec.Command("/bin/sh", "-c", script), filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	if strings.Contains(script, "echo ready") {
		within(t, "ready", func() bool { return strings.Contains(p.Tail(), "ready") })
	}
	return p
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// TestStop: whoever listens ends at once, whoever is deaf is killed after a while, and
// each with what it has started.
func TestStop(t *testing.T) {
	for name, c := range map[string]struct {
		script      string
		least, most time.Duration
	}{
		"listens":  {"echo ready; sleep 100", 0, Patience},
		"cares":    {"trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done", 0, Patience},
		"deaf":     {"trap '' TERM; echo ready; while :; do sleep 0.1; done", Patience, 2 * Patience},
		"children": {"sleep 100 & echo ready $!; wait", 0, Patience},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := shell(t, c.script)
			if p.Gone() || p.Err() != nil {
				t.Fatalf("it is gone: %v: %s", p.Err(), p.Tail())
			}
			began := time.Now()
			for range 2 {
				if err := p.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took < c.least || took > c.most {
				t.Errorf("it took %s, want %s to %s", took, c.least, c.most)
			}
			if !p.Gone() || p.Err() == nil {
				t.Errorf("gone %t, %v", p.Gone(), p.Err())
			}
			if word := strings.Fields(p.Tail()); len(word) == 2 && word[0] == "ready" {
				pid, err := strconv.Atoi(word[1])
				if err != nil {
					t.Fatal(err)
				}
				within(t, "its child is gone, too", func() bool { return !alive(pid) })
			}
			if name == "cares" && !strings.HasSuffix(p.Tail(), "bye") {
				t.Errorf("it could not end by itself: %q", p.Tail())
			}
		})
	}
}

// alive tells whether a process still runs; one that nobody has waited for yet does
// not.
func alive(pid int) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(state)), "Z")
}

// TestEndsByItself: Done, Err and Tail say that it ended, how, and why.
func TestEndsByItself(t *testing.T) {
	p := shell(t, "echo what is wrong >&2; exit 3")
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	var exit *exec.ExitError
	if !errors.As(p.Err(), &exit) || exit.ExitCode() != 3 || p.Tail() != "what is wrong" {
		t.Errorf("%v: %q", p.Err(), p.Tail())
	}
	if p = shell(t, "exit 0"); !func() bool { <-p.Done(); return p.Gone() && p.Err() == nil }() {
		t.Errorf("%v", p.Err())
	}
}

// TestTail: of much, the end, whole characters only.
func TestTail(t *testing.T) {
	p := shell(t, "i=0; while [ $i -lt 1500 ]; do printf 'ü'; i=$((i+1)); done; echo ' end'")
	<-p.Done()
	if tail := p.Tail(); !strings.HasSuffix(tail, "ü end") || strings.Trim(tail, "ü") != " end" || len(tail) > maxTail || len(tail) < maxTail-10 {
		t.Errorf("%d bytes: %.20q", len(tail), tail)
	}
	if err := os.Remove(p.output); err != nil {
		t.Fatal(err)
	}
	if tail := p.Tail(); !strings.Contains(tail, "no such file") {
		t.Errorf("%q", tail)
	}
}

// TestDoesNotStart: the error says what was to be started, or what could not be made.
func TestDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	if _, err := Start(exec.Command(filepath.Join(dir, "none")), filepath.Join(dir, "out")); err == nil || !strings.Contains(err.Error(), "start "+filepath.Join(dir, "none")) {
		t.Errorf("have %v", err)
	}
	if _, err := Start(exec.Command("/bin/sh"), filepath.Join(dir, "no", "out")); err == nil || !strings.Contains(err.Error(), "keep what sh prints") {
		t.Errorf("have %v", err)
	}
}
