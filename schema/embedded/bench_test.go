package embedded

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func BenchmarkSelect1(b *testing.B) {
	conn := testConn(b)
	for b.Loop() {
		one[uint8](b, conn, "SELECT 1")
	}
}

// BenchmarkSession is what a session of its own costs a request.
func BenchmarkSession(b *testing.B) {
	e := testEngine(b)
	for b.Loop() {
		s, err := e.session("--log_comment=x")
		if err != nil {
			b.Fatal(err)
		}
		s.close()
	}
}

func BenchmarkRead(b *testing.B) {
	const rows = 2_000_000
	b.SetBytes(rows * 8)
	for b.Loop() {
		_, text, _ := post(b, nil, strings.NewReader("SELECT number FROM numbers(2000000) FORMAT RowBinary"))
		if len(text) != rows*8 {
			b.Fatal(len(text))
		}
	}
}

// BenchmarkInsert compares the handler with the engine's own insert stream on
// the same Native block of 200,000 rows, into a table that keeps nothing.
func BenchmarkInsert(b *testing.B) {
	conn := testConn(b, func(o *clickhouse.Options) { o.Compression = nil })
	mustExec(b, conn, "CREATE TABLE sink (a UInt64, s String) ENGINE = Null")
	db := one[string](b, conn, "SELECT currentDatabase()")
	_, block, _ := post(b, nil, strings.NewReader("SELECT number AS a, toString(number) AS s FROM numbers(200000) SETTINGS max_block_size = 200000 FORMAT Native"))
	b.Run("direct", func(b *testing.B) {
		b.SetBytes(int64(len(block)))
		for b.Loop() {
			s, err := testEngine(b).session()
			if err != nil {
				b.Fatal(err)
			}
			in, err := s.insert("INSERT INTO "+db+".sink", "Native", nil)
			if err != nil {
				b.Fatal(err)
			}
			for rest := []byte(block); len(rest) > 0; {
				n := min(len(rest), insertBuffer)
				if _, err := in.Write(rest[:n]); err != nil {
					b.Fatal(err)
				}
				rest = rest[n:]
			}
			if _, err := in.commit(); err != nil {
				b.Fatal(err)
			}
			s.close()
		}
	})
	b.Run("handler", func(b *testing.B) {
		b.SetBytes(int64(len(block)))
		params := url.Values{"database": {db}, "query": {"INSERT INTO sink FORMAT Native"}}
		for b.Loop() {
			if status, text, _ := post(b, params, strings.NewReader(block)); status != 200 {
				b.Fatal(text)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		b.SetBytes(int64(len(block)))
		for b.Loop() {
			batch, err := conn.PrepareBatch(context.Background(), "INSERT INTO sink")
			if err != nil {
				b.Fatal(err)
			}
			for i := range uint64(200000) {
				if err := batch.Append(i, "0123456789"[:i%10]); err != nil {
					b.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
