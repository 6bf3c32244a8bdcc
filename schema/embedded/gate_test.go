package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// reader sends a statement as a read-only user and gives status and text.
func reader(t *testing.T, sql string, params url.Values) (int, string) {
	t.Helper()
	return eve(t, true, sql, params)
}

// eve sends a statement as a user who is read-only or has all rights.
func eve(t *testing.T, readOnly bool, sql string, params url.Values) (int, string) {
	t.Helper()
	h := testEngine(t).Handler(Access{Users: []User{{Name: "eve", Password: "pw", ReadOnly: readOnly}}})
	r, err := http.NewRequest(http.MethodPost, "http://embedded/?"+params.Encode(), strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("eve", "pw")
	answer, err := (&roundTripper{h}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var text strings.Builder
	if err := answer.Write(&text); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text.String()
}

// TestReaderCannotBreakOut tries what would show a file of the host, write one,
// reach the network, change data, settings or other people's statements.
func TestReaderCannotBreakOut(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	mustExec(t, conn, "INSERT INTO t VALUES (1)")
	db := one[string](t, conn, "SELECT currentDatabase()")
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.txt")
	if err := os.WriteFile(secret, []byte("TOPSECRET"), 0o644); err != nil {
		t.Fatal(err)
	}
	hit := make(chan string, 100)
	web := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hit <- r.URL.String() })}
	listener := listenAny(t)
	go web.Serve(listener)
	t.Cleanup(func() { web.Close() })

	for _, sql := range []string{
		// files by the scalar function
		"SELECT file('FILE')", "SELECT `file`('FILE')", "SELECT \"file\"('FILE')", "SELECT file /* x */ -- y\n('FILE')",
		"SELECT `fi\\x6ce`('FILE')", "SELECT `\\x66\\x69\\x6c\\x65`('FILE')", "file('FILE')", "SELECT “file”('FILE')",
		"SELECT * APPLY(file) FROM (SELECT 'FILE')", "SELECT * APPLY file FROM (SELECT 'FILE')", "SELECT arrayMap(file, ['FILE'])",
		"SELECT arrayMap(x -> file(x), ['FILE'])", "SELECT arrayMap({f:Identifier}, ['FILE'])", "WITH file('FILE') AS x SELECT x",
		"EXPLAIN QUERY TREE SELECT file('FILE')", "EXPLAIN SELECT file('FILE')", "DESCRIBE (SELECT file('FILE') AS x)",
		"SELECT (SELECT file('FILE'))", "SELECT * FROM view(SELECT file('FILE'))", "SELECT 1 WHERE file('FILE') LIKE 'T%'",
		"SELECT 1 /* ' */, file('FILE') -- '", "SELECT $a$ ' $a$, file('FILE') -- '", "SELECT 'a\\\\', file('FILE'), 'b'",
		"SELECT ''' ', file('FILE')", "SELECT x'27', file('FILE')",
		// by a structure given as text, or SQL given as text
		"SELECT b FROM generateRandom('a String, b String ALIAS file(''FILE'')') LIMIT 1",
		"SELECT b FROM values('a String, b String ALIAS fi' || 'le(''FILE'')', 'x')",
		"SELECT b FROM VALUES('a String, b String ALIAS file(''FILE'')', 'x')",
		"EXPLAIN QUERY TREE SELECT b FROM null('a String, b String ALIAS file(''FILE'')')",
		"EXPLAIN QUERY TREE SELECT b FROM input('a String, b String ALIAS file(''FILE'')')",
		"SELECT * FROM format(JSONEachRow, 'a String DEFAULT file(''FILE'')', '{}')",
		"SELECT * FROM eval('SELECT file(''FILE'')')", "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT file('FILE')))",
		"SELECT * FROM fuzzQuery('SELECT 1')", "SELECT * FROM fuzzJSON('{}')",
		// by table functions and tables
		"SELECT * FROM file('FILE', 'LineAsString')", "SELECT * FROM `FILE`", "SELECT * FROM default.`FILE`", "DESCRIBE `FILE`",
		"DESCRIBE file('FILE')", "DESCRIBE file('FILE', 'LineAsString')", "EXISTS `FILE`", "EXISTS TABLE default.`FILE`", "SHOW CREATE TABLE `FILE`",
		"SHOW COLUMNS FROM `FILE`", "SELECT 1 IN `FILE`", "SELECT joinGet('FILE', 'a', 1)", "SELECT * FROM filesystem('DIR')",
		"SELECT * FROM {f:Identifier}", "SELECT * FROM sqlite('FILE', 't')", "SELECT * FROM executable('cat FILE', 'TSV', 'a String')",
		"SELECT * FROM merge('default', '.*secret.*')", "SELECT catboostEvaluate('FILE', 1)",
		// by formats that read files
		"SELECT 1 FORMAT Template SETTINGS format_template_resultset = 'FILE'", "SELECT 1 SETTINGS format_template_resultset = 'FILE' FORMAT Template",
		"SELECT 1 FORMAT Protobuf SETTINGS format_schema = 'FILE:M'",
		// to files
		"SELECT 1 INTO OUTFILE 'OUT'", "SELECT 1 INTO OUTFILE 'OUT' FORMAT CSV", "INSERT INTO FUNCTION file('OUT', 'TSV', 'a UInt8') SELECT 1",
		"SELECT 1 FORMAT Protobuf SETTINGS output_format_schema = 'OUT'", "BACKUP TABLE t TO File('OUT')",
		// network
		"SELECT * FROM url('WEB', 'LineAsString')", "DESCRIBE url('WEB', 'JSONEachRow')", "DESCRIBE TABLE url('WEB')", "SELECT * FROM remote('HOST', system.one)",
		"SELECT * FROM s3('WEBbucket/key', 'TSV', 'a String')", "DESCRIBE s3('WEBbucket/key')", "SELECT * FROM mysql('HOST', 'a', 'b', 'c', 'd')",
		"DESCRIBE postgresql('HOST', 'a', 'b', 'c', 'd')", "EXPLAIN TABLE OVERRIDE mysql('HOST', 'a', 'b', 'c', 'd')",
		// changes
		"INSERT INTO t VALUES (2)", "INSERT INTO t SELECT 2", "WITH 1 AS x INSERT INTO t SELECT x", "CREATE TABLE u (a UInt8) ENGINE = Memory",
		"CREATE TEMPORARY TABLE u (a UInt8)", "DROP TABLE t", "TRUNCATE t", "ALTER TABLE t DELETE WHERE 1", "DELETE FROM t WHERE 1", "OPTIMIZE TABLE t",
		"CREATE FUNCTION f AS x -> x", "RENAME TABLE t TO u", "DETACH TABLE t", "SYSTEM FLUSH LOGS", "SYSTEM STOP MERGES", "KILL QUERY WHERE 1",
		"USE system", "SET max_threads = 1", "SET ROLE haptrail_owner", "SET ROLE ALL", "EXECUTE AS default SELECT 1", "SELECT 1; DROP TABLE t",
		"SELECT 1 ; SELECT file('FILE')", "SELECT 1 PARALLEL WITH DROP TABLE t", "EXPLAIN SELECT 1; DROP TABLE t", "SELECT 1\n\n; DROP TABLE t",
		"SELECT 1 SETTINGS readonly = 0", "SELECT 1 SETTINGS max_threads = 1", "SELECT * FROM t SETTINGS allow_ddl = 0", "SELECT 1 SETTINGS dialect = 'prql'",
		"SELECT * FROM system.stack_trace", "SELECT addressToLine(1::UInt64)", "GRANT ALL ON *.* TO default", "COPY t TO 'OUT'", "BEGIN TRANSACTION",
	} {
		out := filepath.Join(dir, "out")
		statement := strings.NewReplacer("FILE", secret, "DIR", dir, "OUT", out, "WEB", "http://"+listener.Addr().String()+"/", "HOST", listener.Addr().String()).Replace(sql)
		for _, value := range []string{"file", "`file`", "fi\\x6ce"} {
			if value != "file" && !strings.Contains(sql, "{f:") {
				continue
			}
			status, text := reader(t, statement, url.Values{"database": {db}, "param_f": {value}})
			if status == http.StatusOK || strings.Contains(text, "TOPSECRET") {
				t.Errorf("%s (%s): %d\n%.300s", sql, value, status, text)
			}
			own, text2 := eve(t, false, statement, url.Values{"database": {db}, "param_f": {value}, "readonly": {"2"}})
			if own != status || strings.Contains(text2, "TOPSECRET") {
				t.Errorf("%s (%s), with all rights and readonly=2: %d, a read-only user has %d\n%.300s", sql, value, own, status, text2)
			}
			if status == http.StatusInternalServerError {
				t.Logf("%s: stopped late: %.200s", sql, text[strings.Index(text, "Code:"):])
			}
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: wrote a file", sql)
			os.Remove(out)
		}
	}
	select {
	case path := <-hit:
		t.Errorf("the network was reached: %s", path)
	default:
	}
	if got := one[uint64](t, conn, "SELECT sum(a) FROM t"); got != 1 {
		t.Errorf("the data was changed: %d", got)
	}
}

func TestReaderCannotSet(t *testing.T) {
	for _, name := range []string{
		"readonly", "dialect", "format_template_resultset", "format_schema", "output_format_schema", "allow_ddl", "allow_introspection_functions",
		"allow_experimental_eval_table_function", "max_memory_usage", "log_queries_x", "input_format_allow_errors_num", "role", "session_id", "x` = 1, `readonly",
	} {
		if status, text := reader(t, "SELECT 1", url.Values{name: {"0"}}); status == http.StatusOK {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

func TestReaderCanRead(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, "CREATE TABLE t (a UInt64, path String) ENGINE = MergeTree ORDER BY a")
	mustExec(t, conn, "INSERT INTO t VALUES (1, '/file/x')")
	mustExec(t, conn, "CREATE VIEW v AS SELECT a FROM t")
	db := one[string](t, conn, "SELECT currentDatabase()")
	for _, c := range []struct{ sql, want string }{
		{"SELECT a FROM t WHERE path LIKE '/file/%' -- file\n", "\r\n\r\n1\n"},
		{"SELECT path AS `a/b` FROM t FORMAT JSONEachRow", `{"a\/b":"\/file\/x"}`},
		{"WITH 2 AS x SELECT a + x FROM t", "3\n"},
		{"SELECT * FROM v", "1\n"},
		{"SELECT a + {n:UInt8} FROM {f:Identifier}", "6\n"},
		{"SELECT sum(number) FROM numbers(10)", "45\n"},
		{"SHOW TABLES", "t\nv\n"},
		{"DESCRIBE TABLE t", "path\tString"},
		{"SHOW CREATE TABLE t", "CREATE TABLE"},
		{"EXISTS t", "1\n"},
		{"EXPLAIN SELECT a FROM t", "MergeTree"},
		{"SELECT count() > 0 FROM system.columns", "1\n"},
		{"SELECT arraySum(x -> x * 2, [1, 2])", "6\n"},
		{"1 + 1", "2\n"},
		{"SELECT getSetting('max_execution_time')", "7\n"},
		{"SELECT version()", "26."},
		{"SHOW DATABASES LIKE 'sys%'", "system\n"},
		{"SHOW COLUMNS FROM t", "path\tString"},
		{"SHOW FUNCTIONS LIKE 'getServerSetting'", "getServerSetting"},
		{"SELECT * FROM system.columns WHERE database = currentDatabase() AND name = 'path'", "\tpath\tString"},
		{"SELECT * FROM system.functions WHERE name = 'abs'", "abs\t"},
		{"SELECT name, engine, total_rows FROM system.tables WHERE database = currentDatabase() ORDER BY 1 LIMIT 1", "t\tMergeTree\t1\n"},
		{"SELECT count(*), count() FROM system.databases WHERE name = 'system'", "1\t1\n"},
		{"SELECT sum(rows) FROM system.parts WHERE active AND database = currentDatabase()", "1\n"},
		{"SELECT table_name FROM information_schema.tables WHERE table_schema = currentDatabase() ORDER BY 1 LIMIT 1", "t\n"},
		{"SELECT t.* FROM t", "1\t/file/x\n"},
		{"SELECT 'system.processes', a AS system FROM t", "system.processes\t1\n"},
		{"SELECT a, count() FROM t GROUP BY a WITH TOTALS FORMAT JSON", `"totals"`},
	} {
		status, text := reader(t, c.sql, url.Values{"database": {db}, "param_n": {"5"}, "param_f": {"t"}, "max_execution_time": {"7"}, "readonly": {"2"}})
		if status != http.StatusOK || !strings.Contains(text, c.want) {
			t.Errorf("%s: %s", c.sql, text)
		}
	}
}

// TestReaderSeesNoServer runs a statement with a secret in it and looks for that
// and for the engine's directory in all that the system database tells a reader.
func TestReaderSeesNoServer(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	mustExec(t, conn, "INSERT INTO t VALUES (1)")
	const secret = "hunter2"
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- conn.Exec(ctx, "SELECT uniqExact(cityHash64(number, '"+secret+"')) FROM numbers(1000000000000)")
	}()
	defer func() { stop(); <-done }()
	for one[uint64](t, conn, "SELECT count() FROM system.processes WHERE position(query, 'hunter' || '2') > 0") == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	closed := func(sql string, params url.Values) {
		t.Helper()
		status, text := reader(t, sql, params)
		if status != http.StatusForbidden {
			t.Errorf("%s %v: %d\n%.300s", sql, params, status, text)
		}
	}
	for _, sql := range []string{
		"SHOW PROCESSLIST", "show processlist FORMAT JSON", "SELECT query FROM system.processes", "SELECT count() FROM system.processes",
		"SELECT query FROM `system` . /* */ \"processes\"", "SELECT * FROM `sys\\x74em`.processes", "SELECT 1 IN system.processes",
		"SELECT (SELECT any(query) FROM system.processes)", "WITH x AS (SELECT * FROM system.processes) SELECT * FROM x",
		"SELECT * FROM t JOIN system.processes ON 1", "SELECT * FROM t, system.processes AS p", "SELECT * FROM view(SELECT * FROM system.processes)",
		"DESCRIBE (SELECT * FROM system.processes)", "EXPLAIN SELECT * FROM system.processes", "SELECT 1 UNION ALL SELECT rand() FROM system.processes",
		"SELECT * FROM system.query_log", "SELECT * FROM system.query_cache", "SELECT * FROM system.mutations", "SELECT * FROM system.models",
		"SELECT * FROM system.disks", "SELECT value FROM system.server_settings", "SELECT * FROM system.tables", "SELECT t.* FROM system.tables AS t",
		"SELECT data_paths FROM system.tables", "SELECT `metadata_p\\x61th` FROM system.tables", "SELECT COLUMNS('path') FROM system.tables",
		"SELECT * EXCEPT name FROM system.databases", "SELECT tuple(*) FROM system.databases", "SELECT data_path FROM system.databases",
		"SELECT path FROM system.parts", "SELECT columns('p.*h') FROM system.parts_columns", "SELECT 1 FROM system.parts WHERE path LIKE '/%'",
		"SELECT getServerSetting('path')", "SELECT getserversetting('path')", "SELECT arrayMap(getServerSetting, ['path'])", "SELECT * APPLY getServerSetting FROM (SELECT 'path')",
		"SHOW FILESYSTEM CACHES", "DESCRIBE FILESYSTEM CACHE 'x'",
	} {
		closed(sql, nil)
	}
	closed("SELECT query FROM processes", url.Values{"database": {"system"}})
	closed("SELECT * FROM {d:Identifier}.processes", url.Values{"param_d": {"system"}})
	closed("SELECT * FROM {d:Identifier}.{t:Identifier}", url.Values{"param_d": {"system"}, "param_t": {"processes"}})
	closed("SELECT * FROM system.{t:Identifier}", url.Values{"param_t": {"processes"}})
	closed("SELECT {c:Identifier} FROM system.tables", url.Values{"param_c": {"data_paths"}})

	dir := testEngine(t).Dir()
	tables := one[[]string](t, conn, "SELECT groupArray(concat(database, '.', name)) FROM system.tables WHERE database IN ('system', 'information_schema', 'INFORMATION_SCHEMA')")
	read := 0
	for _, table := range tables {
		database, name, _ := strings.Cut(table, ".")
		columns := one[string](t, conn, "SELECT arrayStringConcat(groupArray(concat('`', name, '`')), ', ') FROM system.columns WHERE (database, table) = ({d:String}, {n:String}) AND name NOT IN ('path', 'data_path', 'data_paths', 'metadata_path')",
			clickhouse.Named("d", database), clickhouse.Named("n", name))
		for _, list := range []string{"*", columns} {
			status, text := reader(t, "SELECT "+list+" FROM "+table+" LIMIT 100000 FORMAT TSV", nil)
			if status == http.StatusOK {
				read++
			}
			if strings.Contains(text, secret) || strings.Contains(text, dir) {
				t.Errorf("%s tells of the server or of others: SELECT %s", table, list)
			}
			if want := readerTables[name] && (list != "*" || !pathTables[name]) || database != "system"; (status == http.StatusOK) != want {
				t.Errorf("SELECT %.60s FROM %s: %d", list, table, status)
			}
		}
	}
	if read < 40 {
		t.Errorf("only %d tables could be read", read)
	}
}

// TestOwnRightsDropped goes through clickhouse-go, which puts settings of a
// statement into the URL.
func TestOwnRightsDropped(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, "CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
	mustExec(t, conn, "INSERT INTO t VALUES (1, 'x')")
	out := filepath.Join(t.TempDir(), "out")
	for _, level := range []any{1, 2, "1", "2", "true", ""} {
		timed, cancel := context.WithTimeout(context.Background(), time.Minute) // becomes max_execution_time
		defer cancel()
		ctx := clickhouse.Context(timed, clickhouse.WithSettings(clickhouse.Settings{"readonly": level, "max_threads": 1}),
			clickhouse.WithQueryID(fmt.Sprintf("own-%v-%p", level, &cancel)), clickhouse.WithParameters(clickhouse.Parameters{"n": "1"}))
		var b string
		if err := conn.QueryRow(ctx, "SELECT b FROM t WHERE a = {n:UInt64}").Scan(&b); err != nil || b != "x" {
			t.Errorf("readonly=%v: %q %v", level, b, err)
		}
		rows, err := conn.Query(ctx, "SELECT a, b FROM t WHERE a > {n:UInt64}")
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(rows.Next(), rows.Err(), rows.Columns()); got != "false <nil> [a b]" {
			t.Errorf("readonly=%v, no rows: %s", level, got)
		}
		rows.Close()
		for _, sql := range []string{
			"SELECT 1 INTO OUTFILE '" + out + "'", "SELECT file('/etc/hostname')", "SELECT * FROM file('/etc/hostname', 'LineAsString')",
			"INSERT INTO t VALUES (2, 'y')", "DROP TABLE t", "SELECT query FROM system.processes", "SELECT 1 SETTINGS readonly = 0",
		} {
			var ex *clickhouse.Exception
			if err := conn.Exec(ctx, sql); !errors.As(err, &ex) || ex.Code != codeReadonly && ex.Code != codeAccessDenied {
				t.Errorf("readonly=%v: %s: %v", level, sql, err)
			}
		}
		if batch, err := conn.PrepareBatch(ctx, "INSERT INTO t"); err == nil {
			batch.Append(uint64(3), "z")
			if err := batch.Send(); err == nil {
				t.Errorf("readonly=%v: a batch was sent", level)
			}
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
	ctx := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{"readonly": 0}))
	if err := conn.Exec(ctx, "INSERT INTO t VALUES (4, 'w')"); err != nil {
		t.Errorf("readonly=0: %v", err)
	}
	if got := one[uint64](t, conn, "SELECT sum(a) FROM t"); got != 5 {
		t.Errorf("sum %d", got)
	}
}
