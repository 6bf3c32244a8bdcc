package schema

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// retained are the tables that grow with the requests, and the column by which
// their rows are told to be old: when they were stored, not when requests were
// made, so that an old log which is imported stays as long as a new one.
var retained = []struct{ table, column string }{
	{"requests", "received"}, {"uses", "toDateTime(stored)"},
	{"attributions", "toDateTime(attributed_at)"}, {"reattributions", "toDateTime(attributed_at)"},
}

// SetRetention makes the engine delete requests that were received longer ago, and
// what was made of them; 0 keeps everything. Runs, commits and findings stay. It
// changes nothing where that is so already. On a cluster the owner of the tables
// sets their TTL.
func (s *Store) SetRetention(ctx context.Context, keep time.Duration) error {
	if s.engine == nil {
		return nil
	}
	days := int(keep / (24 * time.Hour))
	for _, r := range retained {
		if err := s.setTTL(ctx, r.table, r.column, days); err != nil {
			return fmt.Errorf("retention of %s: %w", r.table, err)
		}
	}
	return nil
}

func (s *Store) setTTL(ctx context.Context, table, column string, days int) error {
	want := fmt.Sprintf("TTL %s + toIntervalDay(%d)", column, days)
	var has, any bool
	err := s.conn.QueryRow(ctx, `SELECT position(create_table_query, {ttl:String}) > 0, position(create_table_query, ' TTL ') > 0
FROM system.tables WHERE database = currentDatabase() AND name = {table:String}`,
		clickhouse.Named("ttl", want), clickhouse.Named("table", table)).Scan(&has, &any)
	switch {
	case err != nil:
		return err
	case days > 0 && !has:
		return s.conn.Exec(ctx, "ALTER TABLE "+table+" MODIFY "+want)
	case days == 0 && any:
		return s.conn.Exec(ctx, "ALTER TABLE "+table+" REMOVE TTL")
	}
	return nil
}
