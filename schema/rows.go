package schema

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// Reject is a row of rejects: input that became no request.
type Reject struct {
	Received time.Time `ch:"received"`
	Source   string    `ch:"source"`
	Proxy    string    `ch:"proxy"`
	Reason   string    `ch:"reason"`
	Position uint32    `ch:"position"` // where in the line the fault is, in bytes
	Length   uint32    `ch:"length"`   // of the whole line, in bytes
	Raw      string    `ch:"raw"`      // its beginning, credentials removed
}

// ProxyEvent is a row of proxy_events: what HAProxy logs beside requests.
type ProxyEvent struct {
	Time     time.Time  `ch:"time"`
	Received time.Time  `ch:"received"`
	Source   string     `ch:"source"`
	Proxy    string     `ch:"proxy"`
	PID      uint32     `ch:"pid"`
	Kind     string     `ch:"kind"`
	ClientIP netip.Addr `ch:"client_ip"`
	Frontend string     `ch:"frontend"`
	Count    uint64     `ch:"count"`
	Text     string     `ch:"text"`
}

// Import is a row of imports: one chunk of a log file that was stored.
type Import struct {
	Chunk    string    `ch:"chunk"` // hash of the chunk's lines and of how they were read
	Lines    uint32    `ch:"lines"`
	Partial  uint8     `ch:"partial"` // 1 for a file's last chunk, which may grow
	File     string    `ch:"file"`
	Imported time.Time `ch:"imported"`
}

// InsertRejects adds rows to rejects, once under one id.
func (s *Store) InsertRejects(ctx context.Context, rows []Reject, id BlockID) error {
	return insertRows(withToken(ctx, id), s, "rejects", rows)
}

// InsertProxyEvents adds rows to proxy_events, once under one id.
func (s *Store) InsertProxyEvents(ctx context.Context, rows []ProxyEvent, id BlockID) error {
	return insertRows(withToken(ctx, id), s, "proxy_events", rows)
}

// InsertImports adds rows to imports.
func (s *Store) InsertImports(ctx context.Context, rows []Import) error {
	return insertRows(ctx, s, "imports", rows)
}

// Imported returns the chunks that were imported before, as read the same way.
func (s *Store) Imported(ctx context.Context) ([]Import, error) {
	var rows []Import
	err := s.conn.Select(ctx, &rows, "SELECT "+strings.Join(Columns[Import](), ", ")+" FROM imports FINAL")
	if err != nil {
		return nil, fmt.Errorf("imports: %w", err)
	}
	return rows, nil
}

// Columns lists a row type's columns, from its tags.
func Columns[T any]() []string {
	t := reflect.TypeFor[T]()
	var names []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("ch"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func insertRows[T any](ctx context.Context, s *Store, table string, rows []T) error {
	if len(rows) == 0 {
		return nil
	}
	sql := "INSERT INTO " + table + " (" + strings.Join(Columns[T](), ", ") + ")"
	batch, err := s.conn.PrepareBatch(ctx, sql)
	if err != nil {
		return fmt.Errorf("%s: prepare insert: %w", table, err)
	}
	for i := range rows {
		if err := batch.AppendStruct(&rows[i]); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("%s: row %d: %w", table, i+1, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("%s: insert %d rows: %w", table, len(rows), err)
	}
	return nil
}
