package schema

import "github.com/ClickHouse/clickhouse-go/v2"

// CIColumns are the columns that inserts name, by table.
func CIColumns() map[string][]clickhouse.ColumnNameAndType {
	return map[string][]clickhouse.ColumnNameAndType{
		"ci_runs": columnTypes[ciRun](), "ci_commits": columnTypes[ciCommit](), "ci_principals": columnTypes[ciPrincipal](),
		"ci_credentials": columnTypes[ciCredential](), "ci_cursors": columnTypes[ciCursor](),
	}
}
