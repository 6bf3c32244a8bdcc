// Package child runs a program as a child of this process: in a group of its own,
// so that Ctrl-C in the terminal reaches only us and we end it in order, and, on
// Linux, ended with us when we are killed without a chance to.
package child

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

// Patience is how long a child may take to end once it was asked, and again once it
// was killed.
const Patience = 3 * time.Second

// maxTail is how many bytes of its output Tail returns at most.
const maxTail = 2000

// Process is a child that was started. Its methods are safe for concurrent use.
type Process struct {
	command *exec.Cmd
	output  string // path of the file that keeps what it prints

	done chan struct{} // closed when it is gone; err is set then
	err  error
}

// Start starts a command that was not started yet; both of its outputs go to the file
// at that path, which is made anew. The command's Stdout, Stderr and SysProcAttr are
// Start's, the rest is the caller's. A child that nobody stops runs until it or this
// process ends; without Linux's death signal, also after that.
func Start(command *exec.Cmd, output string) (*Process, error) {
	file, err := os.Create(output)
	if err != nil {
		return nil, fmt.Errorf("keep what %s prints: %w", filepath.Base(command.Path), err)
	}
	defer file.Close() // the child has a copy of its own
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = attributes()
	p := &Process{command: command, output: output, done: make(chan struct{})}
	started := make(chan error)
	// On a thread that lives as long as the child does: the death signal comes when
	// the thread that forked ends, not the process (golang.org/issue/27505).
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the child
		err := command.Start()
		started <- err
		if err == nil {
			p.err = command.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	return p, nil
}

// PID is the child's process id, and that of its group.
func (p *Process) PID() int { return p.command.Process.Pid }

// Done is closed when the child is gone, by itself or by Stop.
func (p *Process) Done() <-chan struct{} { return p.done }

// Gone reports whether it is.
func (p *Process) Gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Err is how the child ended, as exec.Cmd.Wait tells it; nil after exit code 0, and
// while it runs.
func (p *Process) Err() error {
	if !p.Gone() {
		return nil
	}
	return p.err
}

// Tail is the end of what the child printed, its reason for not starting as a rule: at
// most 2,000 bytes, without blanks around them. If that cannot be read it says so.
func (p *Process) Tail() string {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	if len(text) > maxTail {
		text = text[len(text)-maxTail:]
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(text), "")) // it may be cut in a character
}

// Stop ends the child with its whole group: asked first (SIGTERM), killed after
// Patience. It returns when the child is gone, nil however it ended; the error of one
// that does not go says its process id. It may be called again.
func (p *Process) Stop() error {
	name, pid := filepath.Base(p.command.Path), p.PID()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if p.Gone() {
			return nil // its id may be another's by now
		}
		if err := syscall.Kill(-pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end %s (pid %d): %w", name, pid, err)
		}
		select {
		case <-p.done:
			return nil
		case <-time.After(Patience):
		}
	}
	return fmt.Errorf("%s (pid %d) does not end; end it with: kill -9 %d", name, pid, pid)
}
