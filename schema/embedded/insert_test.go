package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// post sends a request in the process. params are URL parameters.
func post(t testing.TB, params url.Values, body io.Reader, header ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://embedded/?"+params.Encode(), body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := testEngine(t).RoundTripper().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text), answer.Header
}

// testTable makes a table and gives its database and a function that tells its
// rows.
func testTable(t testing.TB, columns string) (database string, rows func() string) {
	t.Helper()
	c := testConn(t)
	mustExec(t, c, "CREATE TABLE t ("+columns+") ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100")
	return one[string](t, c, "SELECT currentDatabase()"), func() string {
		t.Helper()
		return one[string](t, c, "SELECT arrayStringConcat(groupArray(toString(tuple(*))), ' ') FROM (SELECT * FROM t ORDER BY ALL)")
	}
}

func TestInsertFormats(t *testing.T) {
	for _, c := range []struct{ name, query, body, want string }{
		{"VALUES in the body", "", "INSERT INTO t VALUES (1,'x'), (2,'it''s')", "(1,'x') (2,'it\\'s')"},
		{"VALUES over both", "INSERT INTO t VALUES", "(1,'x'),(2,'y')", "(1,'x') (2,'y')"},
		{"VALUES in the URL", "INSERT INTO t (b, a) VALUES ('x', 1)", "", "(1,'x')"},
		{"CSV", "INSERT INTO t FORMAT CSV", "1,x\n2,\"y\"\"z\"\n", "(1,'x') (2,'y\"z')"},
		{"CSV below its head", "", "INSERT INTO t FORMAT CSV\n1,x\n2,y", "(1,'x') (2,'y')"},
		{"JSONEachRow", "INSERT INTO t FORMAT JSONEachRow", `{"a":1,"b":"x"} {"a":2}`, "(1,'x') (2,'dflt')"},
		{"JSONEachRow below its head", "", "INSERT INTO t FORMAT JSONEachRow\n{\"a\":1}\n", "(1,'dflt')"},
		{"column list", "INSERT INTO t (b, a) FORMAT TSV", "x\t1\n", "(1,'x')"},
		{"settings before", "INSERT INTO t SETTINGS input_format_skip_unknown_fields = 1 FORMAT JSONEachRow", `{"a":1,"z":2}`, "(1,'dflt')"},
		{"settings behind", "", "INSERT INTO t FORMAT JSONEachRow SETTINGS input_format_skip_unknown_fields = 1, max_threads = 1\n{\"a\":1,\"z\":2}", "(1,'dflt')"},
		{"comments", "", "-- c\nINSERT /* FORMAT CSV */ INTO t FORMAT\n-- d\nTSV\n1\tx\n", "(1,'x')"},
		{"qualified", "INSERT INTO TABLE `t` (`a`) FORMAT Values", "(7)", "(7,'dflt')"},
		{"select", "", "INSERT INTO t SELECT number, 's' FROM numbers(2)", "(0,'s') (1,'s')"},
		{"select with", "", "INSERT INTO t WITH 5 AS x SELECT x, 's'", "(5,'s')"},
		{"select in brackets", "", "INSERT INTO t (a) (SELECT 3)", "(3,'dflt')"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, rows := testTable(t, "a UInt64, b String DEFAULT 'dflt'")
			params := url.Values{"database": {db}}
			if c.query != "" {
				params.Set("query", c.query)
			}
			status, text, header := post(t, params, &slowReader{c.body})
			if status != http.StatusOK || text != "" {
				t.Fatalf("%d %s", status, text)
			}
			if got := rows(); got != c.want {
				t.Errorf("rows %s, want %s", got, c.want)
			}
			requireContains(t, header.Get("X-ClickHouse-Summary"), `"written_rows":"`)
			if strings.Contains(header.Get("X-ClickHouse-Summary"), `"written_rows":"0"`) {
				t.Errorf("summary %s", header.Get("X-ClickHouse-Summary"))
			}
		})
	}
}

// slowReader gives a text in pieces of seven bytes.
type slowReader struct{ rest string }

func (r *slowReader) Read(p []byte) (int, error) {
	if r.rest == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 7)], r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestInsertErrors(t *testing.T) {
	for _, c := range []struct {
		name, query, body string
		status            int
		code              string
	}{
		{"no table", "INSERT INTO nonesuch FORMAT CSV", "1\n", 404, "60"},
		{"no column", "INSERT INTO t (nonesuch) FORMAT CSV", "1\n", 404, "16"},
		{"bad value", "INSERT INTO t FORMAT CSV", "1,x\nno number,y\n", 400, "27"},
		{"bad format", "INSERT INTO t FORMAT Nonesuch", "1\n", 404, "73"},
		{"bad block", "INSERT INTO t FORMAT Native", strings.Repeat("garbage", 100), 500, ""},
		{"no block", "INSERT INTO t FORMAT Native", "", 400, "117"},
		{"no format", "INSERT INTO t", "", 400, "62"},
		{"parse", "INSERT INTO INTO t FORMAT CSV", "1\n", 400, "62"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, rows := testTable(t, "a UInt64, b String")
			status, text, header := post(t, url.Values{"database": {db}, "query": {c.query}}, strings.NewReader(c.body))
			if status != c.status || c.code != "" && header.Get("X-ClickHouse-Exception-Code") != c.code {
				t.Errorf("%d %s %s", status, header.Get("X-ClickHouse-Exception-Code"), text)
			}
			requireContains(t, text, "Code: ", "DB::Exception: ", "(version 2")
			if got := rows(); got != "" {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

func TestInsertEncodings(t *testing.T) {
	const plain = "1,x\n2,y\n"
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	io.WriteString(g, plain)
	g.Close()
	z, _ := zstd.NewWriter(&zs)
	io.WriteString(z, plain)
	z.Close()
	var framed bytes.Buffer
	io.WriteString(newFramer(&framed, "ZSTD"), plain)
	for _, c := range []struct {
		encoding, decompress string
		body                 []byte
		status               int
	}{
		{"gzip", "", gz.Bytes(), 200},
		{"zstd", "", zs.Bytes(), 200},
		{"", "1", framed.Bytes(), 200},
		{"gzip", "", gz.Bytes()[:gz.Len()-6], 400},
		{"", "1", framed.Bytes()[:framed.Len()-2], 400},
		{"", "1", append([]byte{1}, framed.Bytes()[1:]...), 400},
		{"gzip", "", []byte(plain), 400},
		{"snappy", "", []byte(plain), 400},
	} {
		db, rows := testTable(t, "a UInt64, b String")
		params := url.Values{"database": {db}, "query": {"INSERT INTO t FORMAT CSV"}}
		if c.decompress != "" {
			params.Set("decompress", c.decompress)
		}
		status, text, _ := post(t, params, bytes.NewReader(c.body), "Content-Encoding", c.encoding)
		want := ""
		if c.status == 200 {
			want = "(1,'x') (2,'y')"
		}
		if got := rows(); status != c.status || got != want {
			t.Errorf("%s %s (%d bytes): %d %s, rows %q", c.encoding, c.decompress, len(c.body), status, text, got)
		}
	}
}

func TestDeduplicationToken(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100")
	send := func(token string, from uint64) {
		ctx := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": token}))
		batch, err := conn.PrepareBatch(ctx, "INSERT INTO t")
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(1000) {
			batch.Append(from + i)
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []struct {
		token string
		from  uint64
		want  uint64
	}{
		{"one", 0, 1000}, {"one", 0, 1000}, // the same again: dropped
		{"one", 5000, 1000}, // the token decides, not the data
		{"two", 0, 2000},    // and it does not stick to the session
		{"three", 0, 3000}, {"two", 0, 3000},
	} {
		send(c.token, c.from)
		if got := one[uint64](t, conn, "SELECT count() FROM t"); got != c.want {
			t.Errorf("step %d: %d rows, want %d", i, got, c.want)
		}
	}
}

// TestDyingClientInsertsNothing lets the body break off behind whole blocks.
func TestDyingClientInsertsNothing(t *testing.T) {
	db, rows := testTable(t, "a UInt64")
	_, block, _ := post(t, nil, strings.NewReader("SELECT number AS a FROM numbers(60000) FORMAT Native"))
	gone := errors.New("the client is gone")
	for _, sent := range []string{"", block[:1000], block, block + block + block[:20]} {
		body, w := io.Pipe()
		go func() {
			io.WriteString(w, sent)
			time.Sleep(50 * time.Millisecond) // let the engine have it
			w.CloseWithError(gone)
		}()
		status, text, _ := post(t, url.Values{"database": {db}, "query": {"INSERT INTO t FORMAT Native"}}, body)
		if status == http.StatusOK {
			t.Errorf("%d bytes and an end: accepted", len(sent))
		}
		requireContains(t, text, gone.Error())
		if got := rows(); got != "" {
			t.Errorf("%d bytes and an end: %.60s", len(sent), got)
		}
	}
	// The same with a context that ends.
	for _, sent := range []string{"", block} {
		ctx, cancel := context.WithCancel(context.Background())
		body, w := io.Pipe()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost,
			"http://embedded/?"+url.Values{"database": {db}, "query": {"INSERT INTO t FORMAT Native"}}.Encode(), body)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			io.WriteString(w, sent)
			time.Sleep(50 * time.Millisecond)
			cancel()
		}()
		if _, err := testEngine(t).RoundTripper().RoundTrip(r); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		waitIdle(t)
		if got := rows(); got != "" {
			t.Errorf("%d bytes and cancelled: %.60s", len(sent), got)
		}
	}
}

// waitIdle waits until no statement runs.
func waitIdle(t testing.TB) {
	t.Helper()
	e := testEngine(t)
	deadline := time.Now().Add(5 * time.Second)
	for {
		e.running.Lock()
		n := len(e.running.cancels)
		e.running.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d statements still run", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLowDiskHint(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	ctx := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{"min_free_disk_bytes_to_perform_insert": uint64(1) << 60}))
	err := conn.Exec(ctx, "INSERT INTO t VALUES (1)")
	wantCode(t, err, codeNotEnoughSpace, "NOT_ENOUGH_SPACE")
	requireContains(t, fmt.Sprint(err), "MiB left: make room there (df -h "+testEngine(t).Dir()+")")
}
