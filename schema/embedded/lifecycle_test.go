package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// runChild does a task of a test in a process of its own. Its argument is what
// follows the colon.
func runChild(task string) int {
	name, arg, _ := strings.Cut(task, ":")
	tasks := map[string]func(string) error{
		"hold": childHold, "open": childOpen, "reopen": childReopen, "signal": childSignal,
		"diskfull": childDiskFull, "memory": childMemory, "closing": childClosing, "gone": childGone,
	}
	if err := tasks[name](arg); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	return 0
}

// childHold opens a directory and keeps it until its standard input ends.
func childHold(dir string) error {
	e, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	bufio.NewReader(os.Stdin).ReadString('\n')
	return e.Close()
}

func childOpen(dir string) error {
	e, err := Open(dir, Options{})
	if err == nil {
		return e.Close()
	}
	for name, kind := range map[string]error{"locked": ErrLocked, "permission": ErrNoPermission, "full": ErrDiskFull, "start": ErrStart} {
		if errors.Is(err, kind) {
			fmt.Println("kind:", name)
		}
	}
	fmt.Println("error:", err)
	return nil
}

func run(e *Engine, sql string) (string, error) {
	s, err := e.session()
	if err != nil {
		return "", err
	}
	defer s.close()
	return s.scalar(sql)
}

func childReopen(base string) error {
	one, two := filepath.Join(base, "one"), filepath.Join(base, "two")
	e, err := Open(one, Options{Connections: 2})
	if err != nil {
		return err
	}
	for _, sql := range []string{"CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO t VALUES (42)"} {
		if _, err := run(e, sql); err != nil {
			return err
		}
	}
	for _, dir := range []string{two, one} {
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
			return fmt.Errorf("opened %s beside %s: %v", dir, one, err)
		}
	}
	for i := range 3 {
		if err := e.Close(); err != nil {
			return err
		}
		if err := e.Close(); err != nil {
			return fmt.Errorf("second Close: %w", err)
		}
		if e, err = Open(two, Options{}); err != nil {
			return err
		}
		if err := e.Close(); err != nil {
			return err
		}
		if e, err = Open(one, Options{}); err != nil {
			return err
		}
		got, err := run(e, "SELECT a FROM t")
		if err != nil || got != "*" { // RawBLOB of the byte 42
			return fmt.Errorf("round %d: %q %v", i, got, err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(one, "*.xml"))
	if len(left) > 0 {
		return fmt.Errorf("the configuration was left behind: %v", left)
	}
	return e.Close()
}

func childSignal(dir string) error {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGTERM)
	e, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	if _, err := run(e, "SELECT sum(number) FROM numbers(1000)"); err != nil {
		return err
	}
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	select {
	case s := <-caught:
		fmt.Println("caught", s)
	case <-time.After(10 * time.Second):
		return errors.New("SIGTERM did not arrive")
	}
	return e.Close()
}

func childMemory(dir string) error {
	e, err := Open(dir, Options{Settings: map[string]string{"max_memory_usage": "100000000"}})
	if err != nil {
		return err
	}
	defer e.Close()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Protocol: clickhouse.HTTP, Addr: []string{"embedded"},
		TransportFunc: func(*http.Transport) (http.RoundTripper, error) { return e.RoundTripper(), nil },
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 3 {
		err := conn.Exec(context.Background(), "SELECT number, count() FROM numbers(100000000) GROUP BY number")
		var ex *clickhouse.Exception
		if !errors.As(err, &ex) || ex.Code != 241 || ex.CodeName != "MEMORY_LIMIT_EXCEEDED" {
			return fmt.Errorf("want error 241, got %w", err)
		}
		if err := conn.Ping(context.Background()); err != nil {
			return fmt.Errorf("after the memory limit: %w", err)
		}
	}
	return nil
}

// childClosing closes the engine while a statement runs that would take hours.
func childClosing(dir string) error {
	e, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	failed := make(chan error)
	request, err := http.NewRequest(http.MethodPost, "http://embedded/", strings.NewReader("SELECT uniqExact(cityHash64(number)) FROM numbers(1000000000000)"))
	if err != nil {
		return err
	}
	go func() {
		answer, err := e.RoundTripper().RoundTrip(request)
		if err == nil {
			err = errors.New(answer.Header.Get("X-ClickHouse-Exception-Code"))
		}
		failed <- err
	}()
	time.Sleep(500 * time.Millisecond)
	begun := time.Now()
	if err := e.Close(); err != nil {
		return err
	}
	fmt.Println("closed within grace:", time.Since(begun) < closeGrace+2*time.Second, "query:", <-failed)
	answer, err := e.RoundTripper().RoundTrip(request.Clone(context.Background()))
	if err != nil {
		return err
	}
	fmt.Println("after:", answer.StatusCode, answer.Header.Get("X-ClickHouse-Exception-Code"))
	return nil
}

func TestReopen(t *testing.T) { child(t, "reopen:"+t.TempDir()) }

func TestSignalsReachGo(t *testing.T) {
	requireContains(t, child(t, "signal:"+t.TempDir()), "caught terminated")
}

func TestMemoryLimit(t *testing.T) { child(t, "memory:"+t.TempDir()) }

func TestCloseCancels(t *testing.T) {
	requireContains(t, child(t, "closing:"+t.TempDir()), "closed within grace: true query: 394", "after: 503 236")
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	holder := childCommand(t, "hold:"+dir)
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("holder said %q", line)
	}
	requireContains(t, child(t, "open:"+dir), "kind: locked", fmt.Sprintf("PID: %d", holder.Process.Pid), "stop that process")
	in.Close()
	if err := holder.Wait(); err != nil {
		t.Fatal(err)
	}
	if out := child(t, "open:"+dir); out != "" {
		t.Errorf("after the holder's end: %s", out)
	}
}

func TestNoPermission(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := child(t, "open:"+filepath.Join(file, "db")); !strings.Contains(out, "kind: start") || !strings.Contains(out, "not a directory") {
		t.Errorf("a directory below a file: %s", out)
	}
	if os.Getuid() != 0 {
		closed := filepath.Join(base, "closed")
		if err := os.Mkdir(closed, 0o500); err != nil {
			t.Fatal(err)
		}
		requireContains(t, child(t, "open:"+filepath.Join(closed, "db")), "kind: permission", "chown -R")
		return
	}
	// Root may write anywhere: try it as nobody.
	const nobody = 65534
	out := child(t, "open:"+filepath.Join(base, "db"), func(c *exec.Cmd) {
		c.Path = readableCopy(t, c.Path)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	})
	requireContains(t, out, "kind: permission", fmt.Sprintf("chown -R %d", nobody))
}

// readableCopy puts the test binary where another user can run it.
func readableCopy(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "embedded")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "test")
	if err := os.WriteFile(path, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLibraryErrors(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign.so")
	// An ELF header of a 64-bit shared object for AArch64 (machine 183), or for
	// x86-64 (62) where the test itself runs on arm.
	header := make([]byte, 64)
	copy(header, "\x7fELF\x02\x01\x01")
	header[16], header[18], header[20], header[52] = 3, 183, 1, 64
	if platform() == "linux-arm64-gnu" {
		header[18] = 62
	}
	header[54], header[58] = 56, 64
	text := filepath.Join(dir, "text.so")
	for path, data := range map[string][]byte{foreign: header, text: []byte("not a library")} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path string
		kind error
		part string
	}{
		{filepath.Join(dir, "none.so"), ErrNoLibrary, "none.so is not a file"},
		{foreign, ErrBadLibrary, "is built for EM_"},
		{text, ErrBadLibrary, "is not a shared library"},
		{"/lib/x86_64-linux-gnu/libm.so.6", ErrBadLibrary, "it has no chdb_"},
	} {
		if _, err := os.Stat(c.path); err != nil && c.kind == ErrBadLibrary {
			continue
		}
		_, err := loadOnly(c.path)
		var e *Error
		if !errors.Is(err, c.kind) || !errors.As(err, &e) || !strings.Contains(e.Hint(), "npm ci --prefix schema/embedded") {
			t.Errorf("%s: %v", c.path, err)
		}
		requireContains(t, err.Error(), c.part)
	}
}

// loadOnly takes the steps of Open up to loading; the shared engine may be open.
func loadOnly(path string) (*library, error) {
	if !isFile(path) {
		_, err := Open(os.TempDir(), Options{Library: path})
		return nil, err
	}
	return load(path)
}

func TestLocate(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(LibraryEnv, filepath.Join(dir, "nothing"))
	if _, err := Locate(); !errors.Is(err, ErrNoLibrary) {
		t.Errorf("a variable that points nowhere: %v", err)
	}
	t.Setenv(LibraryEnv, "")
	t.Chdir(dir)
	_, err := Locate()
	if err == nil {
		t.Skip("libchdb is installed system-wide")
	}
	requireContains(t, err.Error(), "npm ci --prefix schema/embedded", "/usr/lib/haptrail", filepath.Join(dir, "schema", "embedded", "node_modules"))
	modules := filepath.Join(dir, "schema", "embedded", "node_modules", "@chdb", "lib-"+platform())
	if err := os.MkdirAll(modules, 0o700); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(modules, "libchdb.so")
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	if got, err := Locate(); err != nil || got != want {
		t.Errorf("from a folder below: %q %v, want %q", got, err, want)
	}
}
