package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/haptrail/haptrail/edge/haproxy"
	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/schema/embedded"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"haptrail": main})
}

// TestScripts runs the command as its users do: one story a file.
func TestScripts(t *testing.T) {
	library, err := embedded.Locate()
	httplog, _ := lf.Builtin("httplog")
	haveEngine := err == nil
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HAPTRAIL_LIBCHDB", library)
			e.Setenv("FORMAT", httplog+` %{+Q}[var(txn.sub)] %{+Q}[var(txn.provider)] %{+Q}[var(txn.run)] %{+Q}[var(txn.ci_run)] %{+Q}[var(txn.decision)] %{+Q}[var(txn.reason)]`)
			e.Setenv("JSON", `{"ip":"%ci","sub":"%[var(txn.sub),json(utf8s)]","path":"%HP","status":%ST}`)
			e.Setenv("PORT", freePort(t))
			e.Setenv("OPS", freePort(t))
			e.Setenv("ENGINE", freePort(t))
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "engine":
				return haveEngine, nil
			case "haproxy":
				_, err := haproxy.Find()
				return err == nil, nil
			}
			return false, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"send": send, "await": await, "curl": curl, "exits": exits, "rows": rows, "column": column,
		},
	})
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// send ADDRESS FILE sends a file's lines over TCP, each ended by a line feed.
func send(ts *testscript.TestScript, neg bool, args []string) {
	conn, err := net.DialTimeout("tcp", args[0], 5*time.Second)
	ts.Check(err)
	_, err = conn.Write([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	ts.Check(conn.Close())
}

// await ADDRESS waits until something listens there.
func await(ts *testscript.TestScript, neg bool, args []string) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", args[0]); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nothing listens on %s", args[0])
		}
	}
}

// curl URL prints what an endpoint answers; "! curl" expects no 200.
func curl(ts *testscript.TestScript, neg bool, args []string) {
	response, err := http.Get(args[0])
	ts.Check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	ts.Check(err)
	if neg == (response.StatusCode == http.StatusOK) {
		ts.Fatalf("%s: %s\n%s", args[0], response.Status, body)
	}
	_, err = ts.Stdout().Write(body)
	ts.Check(err)
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"now": "2026-11-23T10:00:00Z", "90m": "2026-11-23T08:30:00Z", "7d": "2026-11-16T10:00:00Z",
		"2026-11-01": "2026-11-01T00:00:00Z", "2026-11-01T02:03:04Z": "2026-11-01T02:03:04Z", "2026-11-01 02:03": "2026-11-01T02:03:00Z",
		"2026-11-01T02:03:04+02:00": "2026-11-01T00:03:04Z",
	} {
		have, err := parseTime(text, now)
		if err != nil || have.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: have %s, error %v, want %s", text, have, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-5m", "2026-13-01", "7days"} {
		if have, err := parseTime(text, now); err == nil {
			t.Errorf("%q: have %s, want an error", text, have)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	rows := [][]string{{"a", "deny", "x\x1b[31m\n"}, {strings.Repeat("long", 30), "allow", "ünïcode"}}
	writeTable(&b, []string{"one", "decision", "what"}, rows, style{width: 60})
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 60 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	for _, want := range []string{"ONE", `x\x1b[31m\n`, "…", "ünïcode"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.ContainsRune(b.String(), '\x1b') {
		t.Error("a control character reaches the terminal")
	}
}
