package runtimeapi

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// relay stands between a client and HAProxy and breaks one command.
type relay struct {
	mu     sync.Mutex
	broken string // the beginning of the command
	after  int    // so many of them pass first
	lost   bool   // the command is run and its reply lost; else it is not run
}

func (r *relay) breaks(text string) (broken, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == "" || !strings.HasPrefix(text, r.broken) {
		return false, false
	}
	r.after--
	return r.after < 0, r.lost
}

// startRelay serves DIR/r in front of DIR/s.
func startRelay(t *testing.T, dir string) *relay {
	t.Helper()
	r := &relay{}
	listener, err := net.Listen("unix", filepath.Join(dir, "r"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer conn.Close(); r.pass(conn, filepath.Join(dir, "s")) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
	return r
}

func (r *relay) pass(conn net.Conn, to string) {
	buf := make([]byte, 2*maxMessage)
	n, _ := conn.Read(buf)
	broken, lost := r.breaks(string(buf[:n]))
	if broken && !lost {
		return
	}
	up, err := net.Dial("unix", to)
	if err != nil {
		return
	}
	defer up.Close()
	_, _ = up.Write(buf[:n])
	reply, _ := io.ReadAll(up)
	if !broken {
		_, _ = conn.Write(reply)
	}
}

// TestReplaceFaults breaks each step of a replacement of two maps in two ways:
// the command was not run, and it was run but nobody heard. Whatever happens, the
// error and the live maps agree, no half of a content is live, and calling
// again puts all right.
func TestReplaceFaults(t *testing.T) {
	for _, tc := range []struct {
		step       string
		after      int
		lost       bool
		wantErr    error
		reg, str   string
		halfIsLive bool
	}{
		{"prepare map", 0, false, ErrPartial, "old", "old", false},
		{"prepare map", 0, true, ErrPartial, "old", "old", false},
		{"prepare map", 1, true, ErrPartial, "old", "old", false},
		{"add map", 0, false, ErrPartial, "old", "old", false},
		{"add map", 1, false, ErrPartial, "old", "old", false},
		{"add map", 2, true, ErrPartial, "old", "old", false},
		{"show map @", 0, false, ErrPartial, "old", "old", false},
		{"show map @", 1, false, ErrPartial, "old", "old", false},
		{"commit map", 0, false, ErrPartial, "old", "old", false},
		{"commit map", 0, true, nil, "new", "new", false}, // the next commit is broken, too, and read back
		{"commit map", 1, false, ErrPartial, "new", "old", true},
		{"commit map", 1, true, nil, "new", "new", false},
	} {
		name := strings.ReplaceAll(tc.step, " ", "-") + map[bool]string{true: "-run-but-lost", false: "-not-run"}[tc.lost]
		t.Run(name, func(t *testing.T) {
			dir, direct := startGate(t, "^a\\z old\n", "a old\n")
			ask := lookup(t, dir)
			r := startRelay(t, dir)
			c, err := New(filepath.Join(dir, "r"), Options{Timeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			contents := []MapContent{
				{filepath.Join(dir, "reg.map"), append(manyEntries(300, "filler"), Entry{`^a\z`, "new"})},
				{filepath.Join(dir, "str.map"), []Entry{{"a", "new"}}},
			}
			r.mu.Lock()
			r.broken, r.after, r.lost = tc.step, tc.after, tc.lost
			r.mu.Unlock()
			err = c.ReplaceMaps(t.Context(), contents)
			if !errors.Is(err, tc.wantErr) {
				t.Errorf("%v, want %v", err, tc.wantErr)
			}
			var half *HalfReplacedError
			if errors.As(err, &half) != tc.halfIsLive {
				t.Errorf("half: %v", err)
			} else if tc.halfIsLive && (len(half.Live) != 1 || half.Live[0] != contents[0].ID || len(half.Old) != 1 || half.Old[0] != contents[1].ID) {
				t.Errorf("%+v", half)
			}
			if have, want := ask("a"), "reg="+tc.reg+" str="+tc.str; have != want {
				t.Errorf("a request sees %q, want %q", have, want)
			}
			r.mu.Lock()
			r.broken = ""
			r.mu.Unlock()
			if err := c.ReplaceMaps(t.Context(), contents); err != nil {
				t.Errorf("again: %v", err)
			}
			if have := ask("a"); have != "reg=new str=new" {
				t.Errorf("after calling again, a request sees %q", have)
			}
			for _, m := range contents {
				if err := direct.compare(t.Context(), m, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
