// Package haproxy runs HAProxy as a child process, for the demo and for tests: it
// is ready when Start returns and gone after Stop, or with this process however
// that ends.
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/haptrail/haptrail/internal/child"
	"github.com/haptrail/haptrail/runtimeapi"
)

// startTimeout is how long HAProxy may take to answer.
const startTimeout = 10 * time.Second

// MaxSocketPath leaves room in sockaddr_un (104 bytes on BSD, 108 on Linux) for
// the suffix that HAProxy binds under before it renames.
const MaxSocketPath = 90

// Find returns the path of the haproxy binary: the environment's
// HAPTRAIL_HAPROXY, from PATH, or where Debian installs it, which is not on every
// user's PATH. The error says how to get it.
func Find() (string, error) {
	if path := os.Getenv("HAPTRAIL_HAPROXY"); path != "" {
		return filepath.Abs(path)
	}
	if path, err := exec.LookPath("haproxy"); err == nil {
		return filepath.Abs(path)
	}
	for _, path := range []string{"/usr/sbin/haproxy", "/usr/local/sbin/haproxy"} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", errors.New("haproxy is not installed; install it with: apt-get install haproxy")
}

// Options says what to run. Binary, Configs, Socket and Output are needed.
type Options struct {
	// Binary is the path of haproxy; see Find.
	Binary string

	// Configs are the files and folders of -f, in order.
	Configs []string

	// Socket is the path of a stats socket that the configuration binds: the
	// child is ready when it answers there.
	Socket string

	// Master is the path of the master's socket; "" runs one process without a
	// master, which cannot be reloaded.
	Master string

	// Env is added to this process's environment.
	Env []string

	// Files are handed over as descriptors 3, 4 and so on: listeners that are
	// bound before the child exists, for "bind fd@3".
	Files []*os.File

	// Output is the file that keeps what HAProxy prints.
	Output string
}

// Process is a running child.
type Process struct {
	*child.Process
	options Options
}

// Start starts HAProxy in the foreground and waits until it answers on its stats
// socket: a request would leave a line in the log. ctx bounds the starting alone.
func Start(ctx context.Context, o Options) (*Process, error) {
	for _, socket := range []string{o.Socket, o.Master} {
		if len(socket) > MaxSocketPath {
			return nil, fmt.Errorf("socket %s: %d bytes are too many for a unix socket's path (%d); use a directory with a shorter name",
				socket, len(socket), MaxSocketPath)
		}
	}
	command := exec.Command(o.Binary, o.arguments()...)
	command.ExtraFiles = o.Files
	command.Env = append(os.Environ(), o.Env...)
	started, err := child.Start(command, o.Output)
	if err != nil {
		return nil, err
	}
	p := &Process{started, o}
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (o Options) arguments() []string {
	args := []string{"-db"}
	if o.Master != "" {
		args = []string{"-W", "-S", o.Master + ",mode,600"}
	}
	for _, config := range o.Configs {
		args = append(args, "-f", config)
	}
	return args
}

// ready waits until the child answers "show info".
func (p *Process) ready(ctx context.Context) error {
	client, err := runtimeapi.New(p.options.Socket, runtimeapi.Options{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
			return fmt.Errorf("haproxy stopped at once (%w): %s", p.Err(), p.Tail())
		case <-ctx.Done():
			return fmt.Errorf("haproxy does not answer on %s: %w: %s", p.options.Socket, ctx.Err(), p.Tail())
		case <-tick.C:
			if _, err := client.Info(ctx); err == nil {
				return nil
			}
		}
	}
}

// Stop ends HAProxy, with its workers, and removes the sockets: see child.Process.Stop.
// With a master, PID is the master's. It may be called again.
func (p *Process) Stop() error {
	err := p.Process.Stop()
	for _, socket := range []string{p.options.Socket, p.options.Master} {
		_ = os.Remove(socket) // HAProxy leaves them behind
	}
	return err
}
