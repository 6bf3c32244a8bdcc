package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

func TestTypes(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, `CREATE TABLE types (
		i8 Int8, i64 Int64, u64 UInt64, f Float64, b Bool, s String, fs FixedString(4), lc LowCardinality(String),
		d Date, dt DateTime('UTC'), dt64 DateTime64(6, 'UTC'), ip4 IPv4, ip6 IPv6, id UUID, dec Decimal(18, 4),
		a Array(Array(UInt32)), m Map(String, UInt64), n Nullable(String), ln LowCardinality(Nullable(String)),
		e Enum8('deny' = 1, 'allow' = 2), tu Tuple(x UInt8, y String)
	) ENGINE = MergeTree ORDER BY i8`)
	type row struct {
		I8   int8
		I64  int64
		U64  uint64
		F    float64
		B    bool
		S    string
		Fs   string
		Lc   string
		D    time.Time
		Dt   time.Time
		Dt64 time.Time
		IP4  net.IP
		IP6  net.IP
		ID   uuid.UUID
		Dec  decimal.Decimal
		A    [][]uint32
		M    map[string]uint64
		N    *string
		Ln   *string
		E    string
		Tu   map[string]any
	}
	text := "täxt\x00\"'\\"
	at := time.Date(2026, 11, 23, 12, 0, 1, 123456000, time.UTC)
	want := row{
		-8, -1 << 62, 1<<64 - 1, 1.5e-300, true, text, "abc\x00", "low", at.Truncate(24 * time.Hour), at.Truncate(time.Second), at,
		net.IPv4(10, 1, 2, 3).To4(), net.ParseIP("2001:db8::1"), uuid.MustParse("61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
		decimal.RequireFromString("-12345.6789"), [][]uint32{{1, 2}, {}, {3}}, map[string]uint64{"k": 1, "": 2}, &text, nil,
		"allow", map[string]any{"x": uint8(7), "y": "why"},
	}
	batch, err := conn.PrepareBatch(context.Background(), "INSERT INTO types")
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.Append(want.I8, want.I64, want.U64, want.F, want.B, want.S, want.Fs, want.Lc, want.D, want.Dt, want.Dt64,
		want.IP4, want.IP6, want.ID, want.Dec, want.A, want.M, want.N, want.Ln, want.E, want.Tu); err != nil {
		t.Fatal(err)
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	var got row
	if err := conn.QueryRow(context.Background(), "SELECT * FROM types").Scan(&got.I8, &got.I64, &got.U64, &got.F, &got.B, &got.S, &got.Fs,
		&got.Lc, &got.D, &got.Dt, &got.Dt64, &got.IP4, &got.IP6, &got.ID, &got.Dec, &got.A, &got.M, &got.N, &got.Ln, &got.E, &got.Tu); err != nil {
		t.Fatal(err)
	}
	got.D, got.Dt, got.Dt64, got.IP4 = got.D.UTC(), got.Dt.UTC(), got.Dt64.UTC(), got.IP4.To4()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEmptyResultHasColumns(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, "CREATE TABLE t (a UInt8, b LowCardinality(String), c Map(String, String)) ENGINE = MergeTree ORDER BY a")
	for _, sql := range []string{
		"SELECT a, b, c FROM t WHERE a > {min:UInt8}",
		"SELECT a, b, c FROM t WHERE a > {min:UInt8} SETTINGS max_threads = 1;",
		"WITH {min:UInt8} AS m SELECT a, b, c FROM t WHERE a > m -- comment",
	} {
		rows, err := conn.Query(clickhouse.Context(context.Background(), clickhouse.WithParameters(clickhouse.Parameters{"min": "3"})), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if rows.Next() || rows.Err() != nil {
			t.Errorf("%s: a row, or %v", sql, rows.Err())
		}
		if got := fmt.Sprint(rows.Columns()); got != "[a b c]" {
			t.Errorf("%s: columns %s", sql, got)
		}
		rows.Close()
	}
}

// TestStreamIsBounded reads 400 MB with little memory.
func TestStreamIsBounded(t *testing.T) {
	conn := testConn(t)
	const total = 400_000
	rows, err := conn.Query(context.Background(), "SELECT number, repeat(toString(number % 10), 1000) FROM numbers(400000)")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var before, peak runtime.MemStats
	runtime.ReadMemStats(&before)
	var n, want uint64
	var s string
	for ; rows.Next(); want++ {
		if err := rows.Scan(&n, &s); err != nil || n != want || len(s) != 1000 || s[999] != byte('0'+want%10) {
			t.Fatalf("row %d: %d %.20q %v", want, n, s, err)
		}
		if want%50_000 == 0 {
			runtime.ReadMemStats(&peak)
			if grown := int64(peak.HeapInuse) - int64(before.HeapInuse); grown > 300<<20 {
				t.Fatalf("the heap grew by %d MiB after %d rows", grown>>20, want)
			}
		}
	}
	if err := rows.Err(); err != nil || want != total {
		t.Errorf("%d rows, %v", want, err)
	}
}

func TestParameters(t *testing.T) {
	conn := testConn(t)
	for _, c := range []struct{ typ, value, want string }{
		{"String", `it's "x" \ ; -- {y}`, `it's "x" \ ; -- {y}`},
		{"String", "a\tb\nc", "a\tb\nc"},
		{"Array(String)", "['a','b']", "['a','b']"},
		{"Int32", "-5", "-5"},
		{"Nullable(UInt8)", `\N`, "ᴺᵁᴸᴸ"},
		{"DateTime64(3, 'UTC')", "2026-01-02 03:04:05.678", "2026-01-02 03:04:05.678"},
	} {
		value := c.value
		if c.typ == "String" {
			value = escapeParam(value)
		}
		ctx := clickhouse.Context(context.Background(), clickhouse.WithParameters(clickhouse.Parameters{"x": value}))
		var got string
		if err := conn.QueryRow(ctx, "SELECT ifNull(toString({x:"+c.typ+"}), 'ᴺᵁᴸᴸ')").Scan(&got); err != nil || got != c.want {
			t.Errorf("%s %q: %q %v", c.typ, c.value, got, err)
		}
	}
	if got := one[uint64](t, conn, "SELECT {a:UInt64} + {b:UInt64}", clickhouse.Named("a", 40), clickhouse.Named("b", 2)); got != 42 {
		t.Errorf("named: %d", got)
	}
}

func TestSettingsDoNotLeak(t *testing.T) {
	conn := testConn(t, func(o *clickhouse.Options) { o.MaxOpenConns = 1 })
	ctx := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{
		"max_threads": 1, "session_timezone": "Asia/Tokyo", "join_use_nulls": true,
	}))
	const ask = "SELECT concat(toString(getSetting('max_threads')), ' ', getSetting('session_timezone'), ' ', toString(getSetting('join_use_nulls')))"
	plain := one[string](t, conn, ask)
	for range 3 {
		var got string
		if err := conn.QueryRow(ctx, ask).Scan(&got); err != nil || got != "1 Asia/Tokyo true" {
			t.Errorf("with settings: %q %v", got, err)
		}
		if got := one[string](t, conn, ask); got != plain {
			t.Errorf("without settings: %q, before %q", got, plain)
		}
	}
	database := one[string](t, conn, "SELECT currentDatabase()")
	mustExec(t, conn, "USE system")
	mustExec(t, conn, "CREATE TEMPORARY TABLE leak (a UInt8)")
	if got := one[string](t, conn, "SELECT currentDatabase()"); got != database {
		t.Errorf("USE leaked: %s", got)
	}
	wantCode(t, conn.Exec(context.Background(), "SELECT * FROM leak"), 60, "UNKNOWN_TABLE")
}

// wantCode checks that err is a ClickHouse exception.
func wantCode(t *testing.T, err error, code int32, name string) {
	t.Helper()
	var ex *clickhouse.Exception
	if !errors.As(err, &ex) || ex.Code != code || ex.CodeName != name {
		t.Errorf("got %v (%+v), want %d %s", err, ex, code, name)
	}
}

func TestErrors(t *testing.T) {
	conn := testConn(t)
	for _, c := range []struct {
		sql  string
		code int32
		name string
	}{
		{"SELEC 1", 62, "SYNTAX_ERROR"},
		{"SELECT * FROM nonesuch", 60, "UNKNOWN_TABLE"},
		{"SELECT nonesuch", 47, "UNKNOWN_IDENTIFIER"},
		{"SELECT 1; SELECT 2", 62, "SYNTAX_ERROR"},
		{"SELECT 1 SETTINGS nonesuch = 1", 115, "UNKNOWN_SETTING"},
		{"SELECT throwIf(1)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"},
		{"SELECT sleep(3) SETTINGS max_execution_time = 0.1", 159, "TIMEOUT_EXCEEDED"},
		{"SELECT 1 FORMAT Nonesuch", 73, "UNKNOWN_FORMAT"},
		{"DROP TABLE nonesuch", 60, "UNKNOWN_TABLE"},
	} {
		wantCode(t, conn.Exec(context.Background(), c.sql), c.code, c.name)
	}
	bad := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{"nonesuch": 1}))
	wantCode(t, conn.Exec(bad, "SELECT 1"), 115, "UNKNOWN_SETTING")
	absent := testConn(t, func(o *clickhouse.Options) { o.Auth.Database = "nonesuch" })
	wantCode(t, absent.Exec(context.Background(), "SELECT 1"), 81, "UNKNOWN_DATABASE")
}

// TestErrorInMidStream checks that a failure behind the first rows is never
// taken for the end, whatever the compression.
func TestErrorInMidStream(t *testing.T) {
	for _, method := range []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD,
		clickhouse.CompressionGZIP, clickhouse.CompressionDeflate, clickhouse.CompressionBrotli,
	} {
		conn := testConn(t, func(o *clickhouse.Options) { o.Compression = &clickhouse.Compression{Method: method, Level: 3} })
		rows, err := conn.Query(context.Background(), "SELECT number, throwIf(number = 300000) FROM numbers(600000)")
		if err != nil {
			t.Fatalf("%v: %v", method, err)
		}
		n := 0
		for rows.Next() {
			n++
		}
		if n == 0 || n > 300_000 {
			t.Errorf("%v: %d rows before the error", method, n)
		}
		wantCode(t, rows.Err(), 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO")
		rows.Close()
	}
}

func TestCompression(t *testing.T) {
	for _, method := range []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionLZ4HC, clickhouse.CompressionZSTD,
		clickhouse.CompressionGZIP, clickhouse.CompressionDeflate, clickhouse.CompressionBrotli,
	} {
		conn := testConn(t, func(o *clickhouse.Options) { o.Compression = &clickhouse.Compression{Method: method, Level: 3} })
		mustExec(t, conn, "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
		batch, err := conn.PrepareBatch(context.Background(), "INSERT INTO t (s, a)")
		if err != nil {
			t.Fatal(err)
		}
		const rows = 60_000
		for i := range uint64(rows) {
			if err := batch.Append(strings.Repeat("x", int(i%50)), i); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			t.Fatalf("%v: %v", method, err)
		}
		got, err := conn.Query(context.Background(), "SELECT a, s FROM t ORDER BY a")
		if err != nil {
			t.Fatalf("%v: %v", method, err)
		}
		var want, a uint64
		var s string
		for ; got.Next(); want++ {
			if err := got.Scan(&a, &s); err != nil || a != want || len(s) != int(want%50) {
				t.Fatalf("%v: row %d: %d %q %v", method, want, a, s, err)
			}
		}
		if got.Err() != nil || want != rows {
			t.Errorf("%v: %d rows, %v", method, want, got.Err())
		}
		got.Close()
	}
}

func TestConcurrentQueriesBesideInserts(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	var wg sync.WaitGroup
	var running, most atomic.Int64
	for w := range 24 {
		wg.Go(func() {
			for i := range 5 {
				if now := running.Add(1); now > most.Load() {
					most.Store(now)
				}
				if w%3 == 0 {
					batch, err := conn.PrepareBatch(context.Background(), "INSERT INTO t")
					if err != nil {
						t.Error(err)
						return
					}
					for j := range uint64(1000) {
						batch.Append(j)
					}
					if err := batch.Send(); err != nil {
						t.Error(err)
					}
				} else {
					var n, sum uint64
					if err := conn.QueryRow(context.Background(), "SELECT count(), sum(sleep(0.01)) FROM numbers(?)", 100+i).Scan(&n, &sum); err != nil || n != uint64(100+i) {
						t.Error(n, err)
					}
				}
				running.Add(-1)
			}
		})
	}
	wg.Wait()
	if got := one[uint64](t, conn, "SELECT count() FROM t"); got != 8*5*1000 {
		t.Errorf("%d rows", got)
	}
	if most.Load() < 9 {
		t.Errorf("only %d statements at the same time", most.Load())
	}
}

func TestWaitingForASlotIsBounded(t *testing.T) {
	e := testEngine(t)
	conn := testConn(t)
	for range cap(e.slots) {
		e.slots <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := conn.Exec(ctx, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	done := make(chan error)
	go func() { done <- conn.Exec(context.Background(), "SELECT 1") }()
	<-e.slots // one becomes free
	if err := <-done; err != nil {
		t.Error(err)
	}
	for range cap(e.slots) - 1 {
		<-e.slots
	}
}
