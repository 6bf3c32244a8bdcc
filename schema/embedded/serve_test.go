package embedded

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func listenAny(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var testUsers = Access{Users: []User{
	{Name: "admin", Password: "secret"},
	{Name: "grafana", Password: "look", ReadOnly: true},
}}

// serve runs an endpoint until the test's end.
func serve(t testing.TB, ep Endpoint) *Server {
	t.Helper()
	s, err := testEngine(t).Listen(ep)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// get sends a request over TCP and gives the whole answer.
func get(t testing.TB, method, target, body string, header ...string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer, string(text), err
}

func TestHTTP(t *testing.T) {
	base := "http://" + serve(t, Endpoint{"tcp", "127.0.0.1:0", testUsers}).Addr().String()
	auth := []string{"X-ClickHouse-User", "admin", "X-ClickHouse-Key", "secret"}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		contentType, want        string
	}{
		{"ping", "GET", "/ping", "", 200, "", "Ok.\n"},
		{"replicas", "GET", "/replicas_status", "", 200, "", "Ok.\n"},
		{"greeting", "GET", "/", "", 200, "", "Ok.\n"},
		{"elsewhere", "GET", "/play", "", 404, "", ""},
		{"method", "DELETE", "/?query=SELECT+1", "", 405, "", ""},
		{"get", "GET", "/?query=SELECT+1", "", 200, "text/tab-separated-values; charset=UTF-8", "1\n"},
		{"get and change", "GET", "/?query=CREATE+DATABASE+x", "", 403, "", ""},
		{"get and insert", "GET", "/?query=INSERT+INTO+x+VALUES+(1)", "", 403, "", ""},
		{"get and write", "GET", "/?query=SELECT+1+INTO+OUTFILE+'/tmp/x'", "", 403, "", ""},
		{"get and lift", "GET", "/?query=SELECT+1&readonly=0", "", 200, "", "1\n"},
		{"post", "POST", "/", "SELECT 1", 200, "text/tab-separated-values; charset=UTF-8", "1\n"},
		{"over both", "POST", "/?query=SELECT", "2 FORMAT CSV", 200, "text/csv; charset=UTF-8; header=absent", "2\n"},
		{"default format", "POST", "/?default_format=JSONEachRow", "SELECT 1 AS a", 200, "application/json; charset=UTF-8", "{\"a\":1}\n"},
		{"format clause wins", "POST", "/?default_format=JSON", "SELECT 1 FORMAT CSVWithNames;", 200, "text/csv; charset=UTF-8; header=present", "\"1\"\n1\n"},
		{"format word elsewhere", "POST", "/?default_format=TSVWithNames", "SELECT format('{}', 'x') AS format, 2 AS b", 200, "", "format\tb\nx\t2\n"},
		{"statement without result", "POST", "/", "SET max_threads = 1", 200, "", ""},
		{"show", "POST", "/", "SHOW DATABASES LIKE 'system'", 200, "", "system\n"},
		{"wait_end_of_query", "POST", "/?wait_end_of_query=1", "SELECT throwIf(number = 1000000) FROM numbers(2000000)", 500, "", ""},
		{"result limit", "POST", "/?max_result_bytes=1000", "SELECT number FROM numbers(1000000) FORMAT JSON", 500, "", ""},
		{"rows in an array", "POST", "/?output_format_json_array_of_rows=1", "SELECT number AS n FROM numbers(2) FORMAT JSONEachRow", 200, "", "[\n{\"n\":0},\n{\"n\":1}\n]\n"},
		{"bad escape", "GET", "/?query=%zz", "", 400, "", ""},
		{"session", "POST", "/?session_id=x", "SELECT 1", 501, "", ""},
		{"empty", "POST", "/", "", 400, "", ""},
		{"comment alone", "POST", "/", "-- nothing", 400, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, text, err := get(t, c.method, base+c.path, c.body, auth...)
			if err != nil || answer.StatusCode != c.status || c.want != "" && text != c.want {
				t.Errorf("%d %v %q", answer.StatusCode, err, text)
			}
			if got := answer.Header.Get("Content-Type"); c.contentType != "" && got != c.contentType {
				t.Errorf("Content-Type %s", got)
			}
		})
	}
	answer, _, _ := get(t, "POST", base+"/?query_id=q1", "SELECT number FROM numbers(10) FORMAT TSV", auth...)
	for header, want := range map[string]string{
		"X-ClickHouse-Query-Id": "q1", "X-ClickHouse-Format": "TSV", "X-ClickHouse-Timezone": testEngine(t).timezone,
	} {
		if got := answer.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	requireContains(t, answer.Header.Get("X-ClickHouse-Summary"), `"read_rows":"10"`)
	_, text, _ := get(t, "POST", base+"/?max_result_bytes=1000", "SELECT number FROM numbers(1000000) FORMAT JSON", auth...)
	requireContains(t, text, "Code: 396.", "which are streamed")
}

// TestHTTPErrorInMidStream checks that a client that knows nothing of exception
// frames still sees a broken answer.
func TestHTTPErrorInMidStream(t *testing.T) {
	base := "http://" + serve(t, Endpoint{"tcp", "127.0.0.1:0", testUsers}).Addr().String()
	answer, text, err := get(t, "POST", base+"/?user=admin&password=secret", "SELECT throwIf(number = 1000000) FROM numbers(2000000) FORMAT TSV")
	if answer.StatusCode != 200 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d %v", answer.StatusCode, err)
	}
	requireContains(t, text[len(text)-1000:], "__exception__\r\n"+answer.Header.Get("X-ClickHouse-Exception-Tag"), "Code: 395. DB::Exception: ")
}

func TestAuthentication(t *testing.T) {
	base := "http://" + serve(t, Endpoint{"tcp", "127.0.0.1:0", testUsers}).Addr().String()
	with := func(user, password string) string {
		return base + "/?" + url.Values{"query": {"SELECT 1"}, "user": {user}, "password": {password}}.Encode()
	}
	basic := strings.Replace(base, "//", "//admin:secret@", 1) + "/?query=SELECT+1"
	for _, c := range []struct {
		name, target string
		header       []string
		status       int
		code         string
	}{
		{"none", base + "/?query=SELECT+1", nil, 401, "194"},
		{"parameters", with("admin", "secret"), nil, 200, ""},
		{"reader", with("grafana", "look"), nil, 200, ""},
		{"wrong password", with("admin", "look"), nil, 403, "516"},
		{"no password", with("admin", ""), nil, 403, "516"},
		{"no user", with("", "secret"), nil, 403, "516"},
		{"unknown user", with("default", ""), nil, 403, "516"},
		{"basic", basic, nil, 200, ""},
		{"headers", base + "/?query=SELECT+1", []string{"X-ClickHouse-User", "admin", "X-ClickHouse-Key", "secret"}, 200, ""},
		{"headers before parameters", with("admin", "secret"), []string{"X-ClickHouse-User", "admin", "X-ClickHouse-Key", "wrong"}, 403, "516"},
	} {
		answer, text, err := get(t, "POST", c.target, "", c.header...)
		if err != nil || answer.StatusCode != c.status || answer.Header.Get("X-ClickHouse-Exception-Code") != c.code {
			t.Errorf("%s: %d %v %s", c.name, answer.StatusCode, err, text)
		}
		if (c.status == 401) != (answer.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: WWW-Authenticate %q", c.name, answer.Header.Get("WWW-Authenticate"))
		}
		if strings.Contains(text, "secret") {
			t.Errorf("%s: the answer tells the password: %s", c.name, text)
		}
	}
}

// TestClientOverSockets runs clickhouse-go, with its own dialing, as Grafana's
// data source and a second command do.
func TestClientOverSockets(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "engine.sock")
	serve(t, Endpoint{"unix", socket, Access{}})
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode: %v %v", info.Mode(), err)
	}
	tcp := serve(t, Endpoint{"tcp", "localhost:0", testUsers}).Addr().String()
	for name, options := range map[string]*clickhouse.Options{
		"unix": {Addr: []string{"localhost"}, DialContext: func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}},
		"tcp":      {Addr: []string{tcp}, Auth: clickhouse.Auth{Username: "admin", Password: "secret"}},
		"tcp gzip": {Addr: []string{tcp}, Auth: clickhouse.Auth{Username: "admin", Password: "secret"}, Compression: &clickhouse.Compression{Method: clickhouse.CompressionGZIP, Level: 1}},
		"tcp lz4":  {Addr: []string{tcp}, Auth: clickhouse.Auth{Username: "admin", Password: "secret"}, Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4}},
		"reader":   {Addr: []string{tcp}, Auth: clickhouse.Auth{Username: "grafana", Password: "look"}, Settings: clickhouse.Settings{"max_execution_time": 60}},
	} {
		t.Run(name, func(t *testing.T) {
			options.Protocol = clickhouse.HTTP
			conn, err := clickhouse.Open(options)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := one[uint64](t, conn, "SELECT sum(number) FROM numbers(3000000)"); got != 4499998500000 {
				t.Errorf("sum %d", got)
			}
			wantCode(t, conn.Exec(context.Background(), "SELECT nonesuch"), 47, "UNKNOWN_IDENTIFIER")
			rows, err := conn.Query(context.Background(), "SELECT number, throwIf(number = 1000000) FROM numbers(2000000)")
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
			}
			wantCode(t, rows.Err(), 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO")
			err = conn.Exec(context.Background(), "CREATE DATABASE IF NOT EXISTS over_sockets")
			if name == "reader" {
				wantCode(t, err, codeReadonly, "READONLY")
			} else if err != nil {
				t.Error(err)
			}
			// A client that goes away stops its statement.
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			if err := conn.Exec(ctx, endless); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			begun := time.Now()
			waitIdle(t)
			if took := time.Since(begun); took > time.Second {
				t.Errorf("the statement ran for %v after its client was gone", took)
			}
		})
	}
}

func TestListenRefuses(t *testing.T) {
	e := testEngine(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	live := filepath.Join(dir, "live")
	serve(t, Endpoint{"unix", live, Access{}})
	taken := serve(t, Endpoint{"tcp", "127.0.0.1:0", testUsers}).Addr().String()
	for _, c := range []struct {
		ep   Endpoint
		part string
	}{
		{Endpoint{"tcp", "127.0.0.1:0", Access{}}, "without users"},
		{Endpoint{"tcp", "127.0.0.1:0", Access{Users: []User{{Name: "x"}}}}, "no password"},
		{Endpoint{"tcp", "0.0.0.0:0", testUsers}, "other machines"},
		{Endpoint{"tcp", ":0", testUsers}, "other machines"},
		{Endpoint{"tcp", "[::]:0", testUsers}, "other machines"},
		{Endpoint{"tcp", "192.0.2.1:0", testUsers}, "other machines"},
		{Endpoint{"tcp", "127.0.0.1", testUsers}, "missing port"},
		{Endpoint{"tcp", taken, testUsers}, "address already in use"},
		{Endpoint{"udp", "127.0.0.1:0", testUsers}, "take unix or tcp"},
		{Endpoint{"unix", file, Access{}}, "is no socket"},
		{Endpoint{"unix", live, Access{}}, "someone answers"},
		{Endpoint{"unix", filepath.Join(dir, "none", "s"), Access{}}, "mkdir -p"},
		{Endpoint{"unix", filepath.Join(dir, strings.Repeat("x", 200)), Access{}}, "engine.socket in the configuration"},
	} {
		s, err := e.Listen(c.ep)
		if err == nil {
			s.Close()
			t.Errorf("%v: bound", c.ep)
			continue
		}
		if !errors.Is(err, ErrEndpoint) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%v: %v", c.ep, err)
		}
	}
	entries, _ := filepath.Glob(filepath.Join(dir, ".s*"))
	if len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	s, err := testEngine(t).Listen(Endpoint{"unix", path, Access{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays behind: %v", err)
	}
}
