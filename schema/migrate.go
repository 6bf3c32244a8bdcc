package schema

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Hash is what Migrate records of a statement: a SHA-256 of its source text.
func (s Statement) Hash() string {
	sum := sha256.Sum256([]byte(s.Source))
	return hex.EncodeToString(sum[:])
}

// ErrNotMigrated says that the tables are missing or older than this program.
var ErrNotMigrated = errors.New("the schema is not up to date")

// Migrate brings the database to this program's schema: it makes the database
// and the table schema_migrations, and runs and records each statement that is
// not recorded yet. It is idempotent. It refuses a database whose recorded
// statement differs from this program's, and one that knows later statements.
// cluster is the name for ON CLUSTER, "" for one server. It returns the
// statements that it ran.
func (s *Store) Migrate(ctx context.Context, cluster string) ([]Statement, error) {
	target := Target{Database: s.Database(), Cluster: cluster}
	statements, err := Statements(target)
	if err != nil {
		return nil, err
	}
	admin, err := s.adminConn()
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if err := bootstrap(ctx, admin, target); err != nil {
		return nil, err
	}
	recorded, err := s.recorded(ctx, admin)
	if err != nil {
		return nil, err
	}
	if err := compare(statements, recorded); err != nil {
		return nil, err
	}
	var applied []Statement
	for _, st := range statements {
		if _, done := recorded[st.Version]; done {
			continue
		}
		if err := s.apply(ctx, admin, st); err != nil {
			return applied, err
		}
		applied = append(applied, st)
	}
	return applied, nil
}

// CheckSchema compares the recorded statements with this program's and
// returns ErrNotMigrated, with the command that repairs it, where some are
// missing.
func (s *Store) CheckSchema(ctx context.Context) error {
	statements, err := Statements(Target{Database: s.Database()})
	if err != nil {
		return err
	}
	admin, err := s.adminConn()
	if err != nil {
		return err
	}
	defer admin.Close()
	hint := "haptrail schema migrate --dsn " + s.dsn.String()
	recorded, err := s.recorded(ctx, admin)
	var exception *clickhouse.Exception
	if errors.As(err, &exception) && (exception.Code == codeUnknownDatabase || exception.Code == codeUnknownTable) {
		return withHint(fmt.Errorf("%w: %s has no haptrail tables", ErrNotMigrated, s.dsn), hint)
	}
	if err != nil {
		return err
	}
	if err := compare(statements, recorded); err != nil {
		return err
	}
	if missing := len(statements) - len(recorded); missing > 0 {
		return withHint(fmt.Errorf("%w: %d of %d migrations are missing", ErrNotMigrated, missing, len(statements)), hint)
	}
	return nil
}

// ClickHouse's own numbers of two errors (src/Common/ErrorCodes.cpp).
const (
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
)

// adminConn is a connection that works before the database exists.
func (s *Store) adminConn() (driver.Conn, error) {
	options := s.options
	options.Auth.Database = "default"
	return clickhouse.Open(&options)
}

func bootstrap(ctx context.Context, admin driver.Conn, t Target) error {
	functions := t.functions()
	onCluster := functions["on_cluster"].(func() string)()
	table := functions["table"].(func(string) string)("schema_migrations")
	engine := functions["engine"].(func(string, ...string) string)("MergeTree")
	for _, sql := range []string{
		fmt.Sprintf("CREATE DATABASE IF NOT EXISTS `%s` %s", t.Database, onCluster),
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s %s
(version UInt32, name String, hash String, applied DateTime DEFAULT now())
ENGINE = %s ORDER BY version`, table, onCluster, engine),
	} {
		if err := admin.Exec(ctx, sql); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	return nil
}

func (s *Store) recorded(ctx context.Context, admin driver.Conn) (map[uint32]string, error) {
	rows, err := admin.Query(ctx, "SELECT version, hash FROM `"+s.Database()+"`.schema_migrations")
	if err != nil {
		return nil, fmt.Errorf("migrations recorded: %w", err)
	}
	defer rows.Close()
	recorded := map[uint32]string{}
	for rows.Next() {
		var version uint32
		var hash string
		if err := rows.Scan(&version, &hash); err != nil {
			return nil, err
		}
		recorded[version] = hash
	}
	return recorded, rows.Err()
}

func compare(statements []Statement, recorded map[uint32]string) error {
	for version, hash := range recorded {
		i := slices.IndexFunc(statements, func(st Statement) bool { return st.Version == version })
		if i < 0 {
			return withHint(fmt.Errorf("migration %04d is recorded in the database but unknown to this program", version),
				"the database was made by a newer haptrail: use that one or a newer")
		}
		if want := statements[i].Hash(); want != hash {
			return withHint(fmt.Errorf("migration %04d_%s: recorded with hash %.12s, this program has %.12s",
				version, statements[i].Name, hash, want),
				"a migration never changes after it was applied: use the haptrail that made this database, or another database")
		}
	}
	return nil
}

// apply runs a statement and then records it. A crash between the two is
// clean: every statement says IF NOT EXISTS, and the next Migrate runs it again.
func (s *Store) apply(ctx context.Context, admin driver.Conn, st Statement) error {
	if st.SQL != "" {
		if err := admin.Exec(ctx, st.SQL); err != nil {
			return fmt.Errorf("migration %04d_%s: %w", st.Version, st.Name, err)
		}
	}
	err := admin.Exec(ctx, "INSERT INTO `"+s.Database()+"`.schema_migrations (version, name, hash) VALUES (?, ?, ?)",
		st.Version, st.Name, st.Hash())
	if err != nil {
		return fmt.Errorf("migration %04d_%s: record it: %w", st.Version, st.Name, err)
	}
	return nil
}
