package schema

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// RequestBlock is a block of rows for the table requests, filled column by
// column. The struct is the one list of the table's columns: their names and
// types in the INSERT come from its tags, and a test holds them against the
// migrated table. Rows are added by appending once to every column but Block and
// Caller, which InsertRequests fills, and then calling EndRow. A RequestBlock is
// used by one goroutine at a time; Reset makes it ready for the next block without
// giving up its memory.
type RequestBlock struct {
	Time            Int64   `col:"time" type:"DateTime64(6, 'UTC')"`
	Received        Uint32  `col:"received" type:"DateTime('UTC')"`
	Proxy           Dict    `col:"proxy"`
	Source          Dict    `col:"source"`
	PID             Uint32  `col:"pid" type:"UInt32"`
	RequestCounter  Uint32  `col:"request_counter" type:"UInt32"`
	Frontend        Dict    `col:"frontend"`
	Backend         Dict    `col:"backend"`
	Server          Dict    `col:"server"`
	TLS             Uint8   `col:"tls" type:"UInt8"`
	ClientIP        Bytes16 `col:"client_ip" type:"IPv6"`
	ClientPort      Uint16  `col:"client_port" type:"UInt16"`
	Method          Dict    `col:"method"`
	Host            Dict    `col:"host"`
	Path            Text    `col:"path" type:"String"`
	Query           Dict    `col:"query"`
	Endpoint        Dict    `col:"endpoint"`
	HTTPVersion     Dict    `col:"http_version"`
	Status          Int16   `col:"status" type:"Int16"`
	BytesRead       Int64   `col:"bytes_read" type:"Int64"`
	BytesSent       Int64   `col:"bytes_sent" type:"Int64"`
	RequestMs       Int32   `col:"request_ms" type:"Int32"`
	QueueMs         Int32   `col:"queue_ms" type:"Int32"`
	ConnectMs       Int32   `col:"connect_ms" type:"Int32"`
	ResponseMs      Int32   `col:"response_ms" type:"Int32"`
	ActiveMs        Int32   `col:"active_ms" type:"Int32"`
	Termination     Dict    `col:"termination_state"`
	ActConn         Uint32  `col:"actconn" type:"UInt32"`
	FeConn          Uint32  `col:"feconn" type:"UInt32"`
	BeConn          Uint32  `col:"beconn" type:"UInt32"`
	SrvConn         Uint32  `col:"srv_conn" type:"UInt32"`
	Retries         Uint16  `col:"retries" type:"UInt16"`
	Redispatched    Uint8   `col:"redispatched" type:"UInt8"`
	SrvQueue        Uint32  `col:"srv_queue" type:"UInt32"`
	BackendQueue    Uint32  `col:"backend_queue" type:"UInt32"`
	RequestHeaders  Dict    `col:"request_headers"`
	ResponseHeaders Dict    `col:"response_headers"`
	UniqueID        Text    `col:"unique_id" type:"String"`
	Provider        Dict    `col:"provider"`
	Issuer          Dict    `col:"issuer"`
	Subject         Dict    `col:"subject"`
	TokenID         Dict    `col:"token_id"`
	KeyID           Dict    `col:"key_id"`
	Audience        Dict    `col:"audience"`
	IssuedAt        Uint32  `col:"issued_at" type:"DateTime('UTC')"`
	ExpiresAt       Uint32  `col:"expires_at" type:"DateTime('UTC')"`
	Tenant          Dict    `col:"tenant"`
	Project         Dict    `col:"project"`
	Job             Dict    `col:"job"`
	Run             Dict    `col:"run"`
	RunAttempt      Dict    `col:"run_attempt"`
	Ref             Dict    `col:"ref"`
	Commit          Dict    `col:"commit"`
	Actor           Dict    `col:"actor"`
	Runner          Dict    `col:"runner"`
	Role            Dict    `col:"role"`
	Decision        Dict    `col:"decision"`
	Reason          Dict    `col:"reason"`
	ClaimedRun      Dict    `col:"claimed_run"`
	Extra           Map     `col:"extra" type:"Map(LowCardinality(String), String)"`
	Marks           Dict    `col:"marks"`
	Block           Bytes16 `col:"block" type:"UUID"`
	Caller          Callers `col:"caller" type:"UInt64"`

	columns []column // every field above but Block and Caller
	names   []clickhouse.ColumnNameAndType
	rows    int
}

const dictType = "LowCardinality(String)"

// NewRequestBlock makes an empty block.
func NewRequestBlock() *RequestBlock {
	b := &RequestBlock{}
	v := reflect.ValueOf(b).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("col")
		if name == "" {
			continue
		}
		typ := field.Tag.Get("type")
		if typ == "" {
			typ = dictType
		}
		b.names = append(b.names, clickhouse.ColumnNameAndType{Name: name, Type: typ})
		if field.Name != "Block" && field.Name != "Caller" {
			b.columns = append(b.columns, v.Field(i).Addr().Interface().(column))
		}
	}
	return b
}

// EndRow closes the row whose values were just appended.
func (b *RequestBlock) EndRow() { b.rows++ }

// Rows is the number of closed rows.
func (b *RequestBlock) Rows() int { return b.rows }

// Size is the memory that the block's values take, in bytes.
func (b *RequestBlock) Size() (bytes int) {
	for _, c := range b.columns {
		bytes += c.size()
	}
	return bytes
}

// Reset empties the block and keeps its memory.
func (b *RequestBlock) Reset() {
	for _, c := range b.columns {
		c.reset()
	}
	b.Block.reset()
	b.Caller.reset()
	b.rows = 0
}

// BlockID names a block; it is the deduplication token of its insert and the
// value of the column block in each of its rows.
type BlockID [16]byte

// NewBlockID names a block that is held in memory until it is stored.
func NewBlockID() (id BlockID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// String is the id as ClickHouse prints a UUID whose bytes are the id's two
// halves in little-endian order.
func (id BlockID) String() string {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = id[7-i], id[15-i]
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// withToken makes an insert one that happens once under the id.
func withToken(ctx context.Context, id BlockID, options ...clickhouse.QueryOption) context.Context {
	token := clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": hex.EncodeToString(id[:])})
	return clickhouse.Context(ctx, append(options, token)...)
}

// insertSQL names every column, so that a table with more columns than this
// program knows takes the block too.
func (b *RequestBlock) insertSQL(table string) string {
	names := make([]string, len(b.names))
	for i, n := range b.names {
		names[i] = n.Name
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ")"
}

// checkRows tells a programming error (a column that missed an Append) from a
// block that may be inserted: a short column would shift every later row.
func (b *RequestBlock) checkRows() error {
	for i, c := range b.columns {
		if c.rows() != b.rows && b.rows > 0 {
			return fmt.Errorf("block: column %s has %d values for %d rows", b.names[i].Name, c.rows(), b.rows)
		}
	}
	return nil
}

// InsertRequests writes the block into requests under the given id. When it
// returns nil the rows are stored. After an error they may or may not be:
// insert the same block under the same id again, and the engine drops it if
// it was stored before (insert_deduplication_token).
func (s *Store) InsertRequests(ctx context.Context, b *RequestBlock, id BlockID) error {
	if b.Rows() == 0 {
		return nil
	}
	if err := b.checkRows(); err != nil {
		return err
	}
	ctx = withToken(ctx, id, clickhouse.WithColumnNamesAndTypes(b.names))
	batch, err := s.conn.PrepareBatch(ctx, b.insertSQL("requests"))
	if err != nil {
		return fmt.Errorf("requests: prepare insert: %w", err)
	}
	if err := b.fill(batch, id); err != nil {
		_ = batch.Abort()
		return err
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("requests: insert block %s of %d rows: %w", id, b.Rows(), err)
	}
	return nil
}

// fill moves the columns into clickhouse-go's. Its columns take Native bytes
// by Decode, which costs a copy; their Append would hash every value of a
// LowCardinality column again.
func (b *RequestBlock) fill(batch driver.Batch, id BlockID) error {
	b.Block.reset()
	for range b.rows {
		b.Block.Append((*[16]byte)(&id))
	}
	b.Caller.fill(b.callerClaims(), b.rows)
	var scratch []byte
	targets := batch.Columns()
	for i, c := range append(b.columns[:len(b.columns):len(b.columns)], &b.Block, &b.Caller) {
		native := c.native(scratch)
		if err := targets[i].Decode(nativeReader(native), b.rows); err != nil {
			return fmt.Errorf("requests: column %s: %w", b.names[i].Name, err)
		}
		if cap(native) > cap(scratch) && !aliases(c) {
			scratch = native
		}
	}
	return nil
}

// aliases tells whether native returned the column's own memory.
func aliases(c column) bool {
	switch c.(type) {
	case *Dict, *Map:
		return false
	}
	return true
}
