package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How long Close waits for running queries by themselves, and then for their
// cancellation.
const (
	closeGrace  = 5 * time.Second
	closeCancel = 30 * time.Second
)

// Options are what Open needs beside the directory.
type Options struct {
	// Library is the path of libchdb; "" searches for it (Locate).
	Library string
	// Settings are the engine's own, by name: server settings such as
	// max_server_memory_usage (bytes) and query settings such as max_threads,
	// the latter as every session's default.
	Settings map[string]string
	// Connections is how many statements run at the same time, 16 unless told;
	// further ones wait. Served endpoints together use three quarters of them
	// at most, so that the process's own inserts always find one.
	Connections int
	// Logger takes notes about cancelled and failed statements; nil for none.
	Logger *slog.Logger
}

// Engine is ClickHouse on one directory, in this process. It is safe for
// concurrent use.
type Engine struct {
	lib      *library
	dir      string
	opened   identity // of dir
	args     []string // of every session
	logger   *slog.Logger
	version  string
	timezone string
	gate     gate

	slots   chan struct{} // a running statement holds one
	outside chan struct{} // and one of these, if it came through an endpoint

	control struct {
		sync.Mutex // one KILL at a time
		session    *session
	}

	running struct {
		sync.Mutex
		closed  bool
		cancels map[string]context.CancelCauseFunc // by query id
		idle    chan struct{}                      // closed when the last one ends after closed is set
	}
}

// process mirrors what libchdb keeps per process: one directory at a time.
var process struct {
	sync.Mutex
	dir string // "" when no engine is open
}

// Open starts the engine on dir, which is made if it is missing. libchdb takes
// one directory per process at a time (ErrInUse) and one process per directory
// (ErrLocked). Further errors: ErrNoLibrary, ErrBadLibrary, ErrNoPermission,
// ErrDiskFull, ErrStart.
func Open(dir string, opts Options) (*Engine, error) {
	path := opts.Library
	if path == "" {
		var err error
		if path, err = Locate(); err != nil {
			return nil, err
		}
	}
	if !isFile(path) {
		return nil, &Error{Kind: ErrNoLibrary, Detail: path + " is not a file", Mend: installHint}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, &Error{Kind: ErrStart, Detail: dir, Cause: err}
	}
	process.Lock()
	defer process.Unlock()
	if process.dir != "" {
		return nil, &Error{Kind: ErrInUse, Detail: "with " + process.dir, Mend: "close it before opening " + dir}
	}
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	lib, err := load(path)
	if err != nil {
		return nil, err
	}
	e := newEngine(lib, dir, opts)
	if err := e.start(); err != nil {
		return nil, err
	}
	process.dir = dir
	return e, nil
}

func newEngine(lib *library, dir string, opts Options) *Engine {
	n := opts.Connections
	if n <= 0 {
		n = 16
	}
	e := &Engine{
		lib: lib, dir: dir, logger: opts.Logger,
		slots:   make(chan struct{}, n),
		outside: make(chan struct{}, max(1, n*3/4)),
		// async_insert=0: an acknowledged insert is a part on the disk, and its
		// deduplication token is its own.
		args: []string{"--path=" + dir, "--async_insert=0"},
	}
	if e.logger == nil {
		e.logger = slog.New(slog.DiscardHandler)
	}
	for _, name := range slices.Sorted(maps.Keys(opts.Settings)) {
		e.args = append(e.args, "--"+name+"="+opts.Settings[name])
	}
	e.running.cancels = make(map[string]context.CancelCauseFunc)
	e.running.idle = make(chan struct{})
	return e
}

// start boots the engine with the control connection, which keeps it alive
// until Close.
func (e *Engine) start() error {
	config, err := writeConfig(e.dir)
	if err != nil {
		return dirError(e.dir, err)
	}
	defer os.Remove(config)
	control, err := e.session("--config-file=" + config)
	if err != nil && checkLock(e.dir) == nil {
		// Another process may have tried the lock just then (checkLock).
		time.Sleep(100 * time.Millisecond)
		control, err = e.session("--config-file=" + config)
	}
	if err != nil {
		return e.diagnose()
	}
	e.control.session = control
	e.opened, err = identify(e.dir)
	if err = errors.Join(err, e.learn(control)); err != nil {
		control.close()
		return &Error{Kind: ErrStart, Detail: e.dir, Cause: err}
	}
	return nil
}

// learn asks the engine what the handler has to know about it.
func (e *Engine) learn(s *session) error {
	var err error
	if e.version, err = s.scalar("SELECT version()"); err != nil {
		return err
	}
	if e.timezone, err = s.scalar("SELECT timezone()"); err != nil {
		return err
	}
	e.gate, err = newGate(s)
	return err
}

// session opens a session with further --name=value arguments.
func (e *Engine) session(args ...string) (*session, error) {
	handle, conn := e.lib.open(slices.Concat(e.args, args))
	if handle == nil {
		return nil, refuse(codeStd, "STD_EXCEPTION", "libchdb refused a connection")
	}
	return &session{engine: e, lib: e.lib, handle: handle, conn: conn}, nil
}

// diagnose finds out why libchdb refused its first connection: it gives no
// reason, only a line on standard error.
func (e *Engine) diagnose() error {
	if err := checkLock(e.dir); err != nil {
		return err
	}
	if free, err := freeBytes(e.dir); err == nil && free < 1<<20 {
		return dirError(e.dir, syscall.ENOSPC)
	}
	return &Error{
		Kind: ErrStart, Detail: fmt.Sprintf("%s with settings %q", e.dir, e.args[2:]),
		Mend: "the engine's own reason is on standard error; check the settings' names and values, and whether a newer engine wrote the directory",
	}
}

// prepareDir makes the directory and checks what libchdb would only report on
// standard error.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dirError(dir, err)
	}
	return checkLock(dir)
}

// checkLock tries the lock that the engine takes and lets it go again.
func checkLock(dir string) error {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return dirError(dir, err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		return nil // closing the file unlocks it
	}
	text := make([]byte, 64)
	n, _ := f.Read(text)
	owner, _, _ := strings.Cut(string(text[:n]), "\n")
	return &Error{
		Kind: ErrLocked, Detail: fmt.Sprintf("%s (%s)", dir, owner),
		Mend: "stop that process, or query it through the endpoint it serves",
	}
}

// dirError gives a file error about the data directory its kind and repair.
func dirError(dir string, err error) error {
	e := &Error{Kind: ErrStart, Detail: dir, Cause: err, Mend: "name a directory that can be written"}
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Kind, e.Mend = ErrNoPermission, fmt.Sprintf("name another directory, or: chown -R %d %s", os.Getuid(), dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Kind, e.Mend = ErrDiskFull, diskHint(dir)
	}
	return e
}

func freeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// diskHint says how to get on when the disk is full.
func diskHint(dir string) string {
	free, err := freeBytes(dir)
	if err != nil {
		return "make room on the disk of " + dir
	}
	return fmt.Sprintf("The disk of %s has %d MiB left: make room there (df -h %s) or shorten the retention.", dir, free>>20, dir)
}

// Dir is the directory that the engine works on, as an absolute path.
func (e *Engine) Dir() string { return e.dir }

// Version is the engine's version, such as 26.7.2.1.
func (e *Engine) Version() string { return e.version }

// Handler serves ClickHouse's HTTP interface to those whom a admits.
func (e *Engine) Handler(a Access) http.Handler {
	return &handler{engine: e, access: a, outside: true}
}

// RoundTripper reaches the engine in the process with full rights, for
// clickhouse.Options.TransportFunc. Bodies are streamed in both directions.
func (e *Engine) RoundTripper() http.RoundTripper {
	return &roundTripper{handler: &handler{engine: e}}
}

// Close refuses new statements, gives running ones five seconds, cancels the
// rest and stops the engine. Afterwards the process can open another directory.
// When a statement cannot be cancelled within 30 seconds, Close gives an error
// and leaves the engine open, because its memory is still in use.
func (e *Engine) Close() error {
	process.Lock()
	defer process.Unlock()
	e.running.Lock()
	if e.running.closed && e.control.session == nil {
		e.running.Unlock()
		return nil
	}
	if !e.running.closed {
		e.running.closed = true
		if len(e.running.cancels) == 0 {
			close(e.running.idle)
		}
	}
	e.running.Unlock()
	if !e.waitIdle(closeGrace) {
		e.cancelAll()
		if !e.waitIdle(closeCancel) {
			return fmt.Errorf("closing %s: statements still run after %v", e.dir, closeGrace+closeCancel)
		}
	}
	e.control.Lock()
	defer e.control.Unlock()
	e.control.session.close()
	e.control.session = nil
	process.dir = ""
	return nil
}

func (e *Engine) waitIdle(d time.Duration) bool {
	select {
	case <-e.running.idle:
		return true
	case <-time.After(d):
		return false
	}
}

func (e *Engine) cancelAll() {
	e.running.Lock()
	defer e.running.Unlock()
	for _, cancel := range e.running.cancels {
		cancel(ErrClosed)
	}
}
