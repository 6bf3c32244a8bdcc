package schema

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// SetRetention makes the engine delete requests that were received longer ago;
// 0 keeps everything. It changes nothing where that is so already. On a
// cluster the owner of the tables sets their TTL.
func (s *Store) SetRetention(ctx context.Context, keep time.Duration) error {
	if s.engine == nil {
		return nil
	}
	days := int(keep / (24 * time.Hour))
	want := fmt.Sprintf("TTL received + toIntervalDay(%d)", days)
	var has, any bool
	err := s.conn.QueryRow(ctx, `SELECT position(create_table_query, {ttl:String}) > 0, position(create_table_query, 'TTL received') > 0
FROM system.tables WHERE database = currentDatabase() AND name = 'requests'`, clickhouse.Named("ttl", want)).Scan(&has, &any)
	if err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	switch {
	case days > 0 && !has:
		err = s.conn.Exec(ctx, fmt.Sprintf("ALTER TABLE requests MODIFY TTL received + toIntervalDay(%d)", days))
	case days == 0 && any:
		err = s.conn.Exec(ctx, "ALTER TABLE requests REMOVE TTL")
	}
	if err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	return nil
}
