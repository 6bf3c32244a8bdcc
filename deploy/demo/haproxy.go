package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Bounds of the child's life.
const (
	startTimeout = 10 * time.Second
	stopTimeout  = 3 * time.Second
)

// maxSocketPath leaves room in sockaddr_un (104 bytes on BSD, 108 on Linux) for
// the suffix that HAProxy binds under before it renames.
const maxSocketPath = 90

// FindHaproxy returns the path of the haproxy binary: from PATH, or where Debian
// installs it, which is not on every user's PATH. The error says how to get it.
func FindHaproxy() (string, error) {
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

// gate is the HAProxy child.
type gate struct {
	command *exec.Cmd
	output  string // file that keeps what HAProxy prints
	socket  string // its stats socket

	done chan struct{} // closed when the child is gone; err is set then
	err  error
}

// gateOptions says where the child finds things.
type gateOptions struct {
	binary string
	dir    string           // holds edge/haproxy.cfg, and what the child writes
	listen *net.TCPListener // handed over: bound before the child exists, so no port can be lost in between
	app    string           // address of the application
	log    string           // address of haptrail's TCP syslog listener
}

// startGate starts HAProxy in the foreground and waits until it answers on its
// stats socket: a request would leave a line in the log.
func startGate(ctx context.Context, o gateOptions) (*gate, error) {
	g := &gate{
		output: filepath.Join(o.dir, "haproxy.log"),
		socket: filepath.Join(o.dir, "haproxy.sock"),
		done:   make(chan struct{}),
	}
	if len(g.socket) > maxSocketPath {
		return nil, fmt.Errorf("stats socket %s: %d bytes are too many for a unix socket's path (%d); use a directory with a shorter name",
			g.socket, len(g.socket), maxSocketPath)
	}
	output, err := os.Create(g.output)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	listener, err := o.listen.File()
	if err != nil {
		return nil, fmt.Errorf("hand the listener to haproxy: %w", err)
	}
	defer listener.Close()
	g.command = exec.Command(o.binary, "-db", "-f", filepath.Join(o.dir, "edge", "haproxy.cfg"))
	g.command.Stdout, g.command.Stderr = output, output
	g.command.ExtraFiles = []*os.File{listener} // becomes descriptor 3
	g.command.SysProcAttr = childAttributes()
	g.command.Env = append(os.Environ(),
		"TZ=UTC",
		"HAPTRAIL_BIND=fd@3",
		"HAPTRAIL_APP="+o.app,
		"HAPTRAIL_LOG="+o.log,
		"HAPTRAIL_STATS="+g.socket,
		"HAPTRAIL_NODE=demo-edge",
	)
	if err := g.launch(); err != nil {
		return nil, err
	}
	if err := g.ready(ctx); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return g, nil
}

// launch starts the child on a thread that lives as long as the child does: the
// death signal comes when the thread that forked ends, not the process
// (golang.org/issue/27505).
func (g *gate) launch() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the child
		err := g.command.Start()
		started <- err
		if err == nil {
			g.err = g.command.Wait()
			close(g.done)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", g.command.Path, err)
	}
	return nil
}

// ready waits until the child answers "show info".
func (g *gate) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-g.done:
			return fmt.Errorf("haproxy stopped at once (%w): %s", g.err, g.tail())
		case <-ctx.Done():
			return fmt.Errorf("haproxy does not answer on %s: %w: %s", g.socket, ctx.Err(), g.tail())
		case <-tick.C:
			if reply, err := g.ask("show info"); err == nil && bytes.Contains(reply, []byte("Uptime_sec:")) {
				return nil
			}
		}
	}
}

// ask sends one command to the stats socket and returns the whole reply.
func (g *gate) ask(command string) ([]byte, error) {
	conn, err := net.DialTimeout("unix", g.socket, time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

// tail is the end of what HAProxy printed: its reason for not starting.
func (g *gate) tail() string {
	const limit = 2000
	text, err := os.ReadFile(g.output)
	if err != nil {
		return err.Error()
	}
	if len(text) > limit {
		text = text[len(text)-limit:]
	}
	return strings.TrimSpace(string(text))
}

// stop ends the child: asked first, killed with its whole group when it does
// not listen.
func (g *gate) stop() error {
	pid := g.command.Process.Pid
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-g.done:
			return nil
		default:
		}
		if err := syscall.Kill(-pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end haproxy (pid %d): %w", pid, err)
		}
		select {
		case <-g.done:
			return nil
		case <-time.After(stopTimeout):
		}
	}
	return fmt.Errorf("haproxy (pid %d) does not end; end it with: kill -9 %d", pid, pid)
}
