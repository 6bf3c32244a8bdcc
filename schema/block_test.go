package schema_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// addRow appends a row whose values are all made from i.
func addRow(b *schema.RequestBlock, i int) {
	v := reflect.ValueOf(b).Elem()
	for f := range v.NumField() {
		if v.Type().Field(f).Tag.Get("col") == "" {
			continue
		}
		switch c := v.Field(f).Addr().Interface().(type) {
		case *schema.Int64:
			c.Append(int64(-i))
		case *schema.Int32:
			c.Append(int32(-i))
		case *schema.Int16:
			c.Append(int16(i % 600))
		case *schema.Uint8:
			c.Append(uint8(i % 2))
		case *schema.Uint16:
			c.Append(uint16(i))
		case *schema.Uint32:
			c.Append(uint32(i))
		case *schema.Text:
			c.Append(fmt.Appendf(nil, "%s-%d", strings.Repeat("x", i%300), i))
		case *schema.Dict:
			if i%7 == 0 {
				c.AppendEmpty()
			} else {
				c.Append(fmt.Appendf(nil, "%d-%d", f, i%1000))
			}
		case *schema.Map:
			for k := range i % 3 {
				c.Put(fmt.Sprintf("key%d", k), fmt.Appendf(nil, "value %d", i))
			}
			c.EndRow()
		case *schema.Bytes16:
			if c == &b.ClientIP {
				a := netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i%65536)).As16()
				c.Append(&a)
			}
		case *schema.Callers: // the block's own business, as Block is
		default:
			panic(fmt.Sprintf("no value for %T", c))
		}
	}
	b.EndRow()
}

// fillRow appends a row whose text columns are what text says, at a time.
func fillRow(b *schema.RequestBlock, text func(name string) string, at time.Time) {
	v := reflect.ValueOf(b).Elem()
	for f := range v.NumField() {
		name := v.Type().Field(f).Tag.Get("col")
		if name == "" {
			continue
		}
		switch c := v.Field(f).Addr().Interface().(type) {
		case *schema.Int64:
			c.Append(map[bool]int64{true: at.UnixMicro()}[name == "time"])
		case *schema.Int32:
			c.Append(0)
		case *schema.Int16:
			c.Append(200)
		case *schema.Uint8:
			c.Append(0)
		case *schema.Uint16:
			c.Append(0)
		case *schema.Uint32:
			c.Append(0)
		case *schema.Text:
			c.Append([]byte(text(name)))
		case *schema.Dict:
			c.Append([]byte(text(name)))
		case *schema.Map:
			c.EndRow()
		case *schema.Bytes16:
			if c == &b.ClientIP {
				var address [16]byte
				if a, err := netip.ParseAddr(text(name)); err == nil {
					address = a.As16()
				}
				c.Append(&address)
			}
		}
	}
	b.EndRow()
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

func TestBlockComesBackAsItWentIn(t *testing.T) {
	store := schematest.Open(t)
	for _, rows := range []int{1, 255, 300, 70_000} { // dictionaries of 1, 2 and 4 byte keys are in between
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			if err := store.Conn().Exec(t.Context(), "TRUNCATE TABLE requests"); err != nil {
				t.Fatal(err)
			}
			b := schema.NewRequestBlock()
			for i := range rows {
				addRow(b, i)
			}
			id := schema.NewBlockID()
			if err := store.InsertRequests(t.Context(), b, id); err != nil {
				t.Fatal(err)
			}
			// Each column is recomputed by the engine from the row's number, which pid holds.
			const sql = `SELECT count(), countIf(
	bytes_read = -toInt64(pid) AND request_ms = -toInt32(pid) AND status = pid % 600 AND tls = pid % 2
	AND path = concat(repeat('x', pid % 300), '-', toString(pid)) AND unique_id = path
	AND client_port = pid % 65536
	AND (pid % 7 = 0 ? subject = '' : endsWith(subject, concat('-', toString(pid % 1000))))
	AND (pid % 7 = 0 ? marks = '' : endsWith(marks, concat('-', toString(pid % 1000))))
	AND client_ip = toIPv6(concat('2001:db8::', lower(hex(toUInt16(pid % 65536)))))
	AND length(extra) = pid % 3 AND (pid % 3 = 0 OR extra['key0'] = concat('value ', toString(pid)))
	AND toString(block) = {block:String}), uniqExact(pid)
FROM requests`
			var n, good, distinct uint64
			if err := store.Conn().QueryRow(t.Context(), sql, named("block", id.String())).Scan(&n, &good, &distinct); err != nil {
				t.Fatal(err)
			}
			if n != uint64(rows) || good != n || distinct != n {
				t.Errorf("%d rows inserted: %d in the table, %d as they were, %d distinct", rows, n, good, distinct)
			}
		})
	}
}

func TestBlockIsStoredOnceUnderItsID(t *testing.T) {
	store := schematest.Open(t)
	b := schema.NewRequestBlock()
	for i := range 1000 {
		addRow(b, i)
	}
	id := schema.NewBlockID()
	for range 3 {
		if err := store.InsertRequests(t.Context(), b, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	var n uint64
	if err := store.Conn().QueryRow(t.Context(), "SELECT count() FROM requests").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 2000 {
		t.Errorf("the table has %d rows, want 1000 under each of two ids", n)
	}
}

func TestResetBlockIsLikeNew(t *testing.T) {
	store := schematest.Open(t)
	b := schema.NewRequestBlock()
	sums := make([]uint64, 2)
	for round := range sums {
		if err := store.Conn().Exec(t.Context(), "TRUNCATE TABLE requests"); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			addRow(b, 3*i)
		}
		if err := store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
			t.Fatal(err)
		}
		if err := store.Conn().QueryRow(t.Context(), "SELECT sum(cityHash64(* EXCEPT (block))) FROM requests").Scan(&sums[round]); err != nil {
			t.Fatal(err)
		}
		b.Reset()
		for i := range 5000 { // other values, before the block is emptied again
			addRow(b, i)
		}
		b.Reset()
		if b.Rows() != 0 || b.Size() != 0 {
			t.Fatalf("after Reset: %d rows, %d bytes", b.Rows(), b.Size())
		}
	}
	if sums[0] != sums[1] || sums[0] == 0 {
		t.Errorf("the same rows are stored differently by a block that was used before: %d, %d", sums[0], sums[1])
	}
}

func TestShortColumnIsRefused(t *testing.T) {
	store := schematest.Open(t)
	b := schema.NewRequestBlock()
	addRow(b, 1)
	b.Reason.Append([]byte("one too many"))
	err := store.InsertRequests(t.Context(), b, schema.NewBlockID())
	if err == nil || !strings.Contains(err.Error(), "column reason has 2 values for 1 rows") {
		t.Errorf("got %v", err)
	}
}

// The struct's tags and the migrated table are one list.
func TestRequestBlockHasTheTablesColumns(t *testing.T) {
	store := schematest.Open(t)
	have := map[string]string{}
	rows, err := store.Conn().Query(t.Context(), "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'requests'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, typ string
		if err := rows.Scan(&name, &typ); err != nil {
			t.Fatal(err)
		}
		have[name] = typ
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	block := reflect.TypeFor[schema.RequestBlock]()
	for i := range block.NumField() {
		name, typ := block.Field(i).Tag.Get("col"), block.Field(i).Tag.Get("type")
		if name == "" {
			continue
		}
		if typ == "" {
			typ = "LowCardinality(String)"
		}
		if have[name] != typ {
			t.Errorf("column %s: the block says %s, the table %q", name, typ, have[name])
		}
		delete(have, name)
	}
	for name := range have {
		t.Errorf("the block lacks the table's column %s", name)
	}
}

func BenchmarkInsert(b *testing.B) {
	store := schematest.Open(b)
	block := schema.NewRequestBlock()
	for i := range 100_000 {
		addRow(block, i)
	}
	b.ReportAllocs()
	for range b.N {
		if err := store.InsertRequests(b.Context(), block, schema.NewBlockID()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/row")
}
