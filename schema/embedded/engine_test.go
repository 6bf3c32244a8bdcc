package embedded

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// childEnv names what a test binary that was started by a test has to do.
const childEnv = "HAPTRAIL_EMBEDDED_CHILD"

var shared struct {
	once   sync.Once
	engine *Engine
	dir    string
	err    error
}

var databases atomic.Int64

func TestMain(m *testing.M) {
	if task := os.Getenv(childEnv); task != "" {
		os.Exit(runChild(task))
	}
	code := m.Run()
	if shared.engine != nil {
		if err := shared.engine.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "closing the shared engine:", err)
			code = 1
		}
	}
	os.RemoveAll(shared.dir)
	os.Exit(code)
}

// testLibrary finds libchdb or skips the test.
func testLibrary(t testing.TB) string {
	t.Helper()
	path, err := Locate()
	if err != nil {
		t.Skip(err)
	}
	return path
}

// testEngine gives the engine that the tests of this process share: libchdb
// takes one directory at a time.
func testEngine(t testing.TB) *Engine {
	t.Helper()
	library := testLibrary(t)
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "embedded"); shared.err == nil {
			shared.engine, shared.err = Open(shared.dir, Options{
				Library: library, Settings: map[string]string{"max_server_memory_usage": "4000000000"},
			})
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.engine
}

// testConn gives a clickhouse-go connection to a database of its own.
func testConn(t testing.TB, change ...func(*clickhouse.Options)) driver.Conn {
	t.Helper()
	e := testEngine(t)
	options := &clickhouse.Options{
		Protocol:      clickhouse.HTTP,
		Addr:          []string{"embedded"},
		TransportFunc: func(*http.Transport) (http.RoundTripper, error) { return e.RoundTripper(), nil },
		MaxOpenConns:  40,
		DialTimeout:   30 * time.Second,
	}
	name := fmt.Sprintf("t%d", databases.Add(1))
	control, err := e.session()
	if err != nil {
		t.Fatal(err)
	}
	defer control.close()
	if err := control.exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	options.Auth.Database = name
	for _, f := range change {
		f(options)
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func mustExec(t testing.TB, conn driver.Conn, sql string, args ...any) {
	t.Helper()
	if err := conn.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// one scans the single value of a query.
func one[T any](t testing.TB, conn driver.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// child runs a task (runChild) in a process of its own, with an engine of its
// own, and gives what it printed.
func child(t *testing.T, task string, change ...func(*exec.Cmd)) string {
	t.Helper()
	cmd := childCommand(t, task, change...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child %s: %v\n%s", task, err, out)
	}
	return string(out)
}

func childCommand(t *testing.T, task string, change ...func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+task, LibraryEnv+"="+testLibrary(t))
	for _, f := range change {
		f(cmd)
	}
	return cmd
}

func requireContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}
