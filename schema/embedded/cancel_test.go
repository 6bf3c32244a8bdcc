package embedded

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

const endless = "SELECT uniqExact(cityHash64(number)) FROM numbers(1000000000000)"

// TestCancel ends the contexts of statements that would run for hours: the
// caller returns at once and the statement is gone soon after.
func TestCancel(t *testing.T) {
	conn := testConn(t)
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	drain := func(ctx context.Context, sql string) error {
		rows, err := conn.Query(ctx, sql)
		if err != nil {
			return err
		}
		for rows.Next() {
		}
		return errors.Join(rows.Err(), rows.Close())
	}
	for name, run := range map[string]func(context.Context) error{
		"aggregation":    func(ctx context.Context) error { return drain(ctx, endless) },
		"exec":           func(ctx context.Context) error { return conn.Exec(ctx, endless) },
		"not streamed":   func(ctx context.Context) error { return conn.Exec(ctx, endless+" FORMAT JSON") },
		"rows":           func(ctx context.Context) error { return drain(ctx, "SELECT number FROM numbers(1000000000000)") },
		"insert select":  func(ctx context.Context) error { return conn.Exec(ctx, "INSERT INTO t "+endless) },
		"before it runs": func(ctx context.Context) error { return conn.Exec(ctx, "SELECT 1 FROM ("+endless+")") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			after := 300 * time.Millisecond
			if name == "before it runs" {
				after = time.Millisecond
			}
			var cancelled time.Time
			time.AfterFunc(after, func() { cancelled = time.Now(); cancel() })
			err := run(ctx)
			if took := time.Since(cancelled); took > time.Second {
				t.Errorf("returned %v after the cancellation", took)
			}
			var ex *clickhouse.Exception
			if !errors.Is(err, context.Canceled) && !(errors.As(err, &ex) && ex.Code == codeCancelled) {
				t.Errorf("got %v", err)
			}
			waitIdle(t)
			if took := time.Since(cancelled); took > time.Second {
				t.Errorf("the statement ran for %v after the cancellation", took)
			}
			if err := conn.Ping(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	if got := one[uint64](t, conn, "SELECT count() FROM t"); got != 0 {
		t.Errorf("the cancelled insert left %d rows", got)
	}
}

func TestKillByQueryID(t *testing.T) {
	conn := testConn(t)
	id := "my 'own' id"
	ctx := clickhouse.Context(context.Background(), clickhouse.WithQueryID(id))
	failed := make(chan error)
	go func() { failed <- conn.Exec(ctx, endless) }()
	waitRunning(t, conn, id)
	wantCode(t, conn.Exec(ctx, "SELECT 1"), codeSameQueryID, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING")
	status, text, _ := post(t, nil, strings.NewReader("KILL QUERY WHERE query_id = 'another' SYNC"))
	if status != 200 || text != "" {
		t.Errorf("another id: %d %s", status, text)
	}
	begun := time.Now()
	status, text, _ = post(t, nil, strings.NewReader("KILL QUERY WHERE query_id = "+quote(id)+" SYNC"))
	if status != 200 || !strings.Contains(text, "uniqExact") {
		t.Errorf("%d %s", status, text)
	}
	wantCode(t, <-failed, codeCancelled, "QUERY_WAS_CANCELLED")
	if took := time.Since(begun); took > time.Second {
		t.Errorf("took %v", took)
	}
	_, _, header := post(t, url.Values{"query_id": {id}}, strings.NewReader("SELECT 1"))
	if got := header.Get("X-ClickHouse-Query-Id"); got != id {
		t.Errorf("header says %q", got)
	}
}

func waitRunning(t *testing.T, conn driver.Conn, id string) {
	t.Helper()
	for range 200 {
		if one[uint64](t, conn, "SELECT count() FROM system.processes WHERE Settings['log_comment'] = {id:String}", clickhouse.Named("id", escapeParam(id))) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the statement does not run")
}
