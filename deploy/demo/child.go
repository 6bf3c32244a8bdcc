package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// childPatience is how long a child may take to end by itself.
const childPatience = 3 * time.Second

// child is a process of the demo that is no HAProxy (package edge/haproxy runs
// that one). It ends with this process, however that ends.
type child struct {
	command *exec.Cmd
	output  string // path of the file that keeps what it prints

	done chan struct{} // closed when it is gone; err is set then
	err  error
}

// startChild starts a command, whose output goes to a file.
func startChild(command *exec.Cmd, output string) (*child, error) {
	file, err := os.Create(output)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the child has a copy of its own
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = childAttributes()
	c := &child{command: command, output: output, done: make(chan struct{})}
	started := make(chan error)
	// On a thread that lives as long as the child does: the death signal comes when
	// the thread that forked ends, not the process (golang.org/issue/27505).
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the child
		err := command.Start()
		started <- err
		if err == nil {
			c.err = command.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	return c, nil
}

// gone reports whether the child has ended.
func (c *child) gone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// said is the end of what the child printed.
func (c *child) said() string {
	const limit = 2000
	text, err := os.ReadFile(c.output)
	if err != nil {
		return err.Error()
	}
	if len(text) > limit {
		text = text[len(text)-limit:]
	}
	return strings.TrimSpace(string(text))
}

// stop ends the child with its whole group: asked first, then killed. It may be
// called again.
func (c *child) stop() error {
	name, pid := filepath.Base(c.command.Path), c.command.Process.Pid
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if c.gone() {
			return nil
		}
		if err := syscall.Kill(-pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end %s (pid %d): %w", name, pid, err)
		}
		select {
		case <-c.done:
			return nil
		case <-time.After(childPatience):
		}
	}
	return fmt.Errorf("%s (pid %d) does not end; end it with: kill -9 %d", name, pid, pid)
}
