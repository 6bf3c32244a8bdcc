package schema

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/haptrail/haptrail/schema/embedded"
)

// Options are what Open needs beside the DSN.
type Options struct {
	// Library is the path of libchdb; "" searches for it (embedded.Locate).
	// Only for embedded engines.
	Library string
	// EngineSettings are the embedded engine's server settings, such as
	// max_server_memory_usage.
	EngineSettings map[string]string
	// Owner opens an embedded directory in this process or not at all: for the
	// daemon. Otherwise a daemon that holds the directory is reached through its
	// socket, which needs no libchdb.
	Owner bool
	// Socket is the daemon's socket; "" means SocketName in the directory.
	Socket string
	// Logger takes the engine's notes; nil for none.
	Logger *slog.Logger
}

// Store is an open connection to haptrail's tables, safe for concurrent use.
type Store struct {
	dsn     DSN
	options clickhouse.Options // for further connections, such as one to another database
	conn    driver.Conn
	engine  *embedded.Engine // nil unless the engine runs in this process
}

// Open connects to the tables that dsn names, and starts the engine for
// embedded:DIR. It makes no tables (Migrate does) and, for a server, no
// connection yet.
func Open(ctx context.Context, dsn string, opts Options) (*Store, error) {
	parsed, err := ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if parsed.Dir != "" {
		return openEmbedded(ctx, parsed, opts)
	}
	if parsed.Socket != "" {
		return openSocket(parsed)
	}
	return connect(parsed, *parsed.Server)
}

func openEmbedded(ctx context.Context, dsn DSN, opts Options) (*Store, error) {
	if !opts.Owner {
		if store := openDaemon(ctx, dsn.Dir, opts.Socket); store != nil {
			return store, nil
		}
	}
	engine, err := embedded.Open(dsn.Dir, embedded.Options{
		Library: opts.Library, Settings: opts.EngineSettings, Logger: opts.Logger,
	})
	if err != nil {
		return nil, err
	}
	transport := engine.RoundTripper()
	store, err := connect(dsn, clickhouse.Options{
		Protocol:      clickhouse.HTTP,
		Addr:          []string{"embedded"},
		Auth:          clickhouse.Auth{Database: DefaultDatabase},
		TransportFunc: func(*http.Transport) (http.RoundTripper, error) { return transport, nil },
	})
	if err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	store.engine = engine
	return store, nil
}

// openDaemon reaches a directory through the daemon that holds it, if one does.
func openDaemon(ctx context.Context, dir, socket string) *Store {
	if socket == "" {
		socket = filepath.Join(dir, SocketName)
	}
	store, err := openSocket(DSN{Socket: socket})
	if err != nil {
		return nil
	}
	if store.conn.Ping(ctx) != nil { // left over from a daemon that was killed
		_ = store.Close()
		return nil
	}
	return store
}

func openSocket(dsn DSN) (*Store, error) {
	if _, err := os.Stat(dsn.Socket); err != nil {
		return nil, withHint(fmt.Errorf("engine socket: %w", err),
			"is the daemon running (haptrail serve), with engine.socket in its configuration?")
	}
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return embedded.DialUnix(ctx, dsn.Socket) }
	return connect(dsn, clickhouse.Options{
		Protocol:    clickhouse.HTTP,
		Addr:        []string{"localhost"},
		Auth:        clickhouse.Auth{Database: DefaultDatabase},
		DialContext: dial,
	})
}

func connect(dsn DSN, options clickhouse.Options) (*Store, error) {
	if options.MaxOpenConns == 0 {
		options.MaxOpenConns, options.MaxIdleConns = 24, 8
	}
	if options.DialTimeout == 0 {
		options.DialTimeout = 10 * time.Second
	}
	if options.ReadTimeout == 0 {
		options.ReadTimeout = 10 * time.Minute
	}
	conn, err := clickhouse.Open(&options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dsn, err)
	}
	return &Store{dsn: dsn, options: options, conn: conn}, nil
}

// DSN is where the store is, as it may be shown.
func (s *Store) DSN() DSN { return s.dsn }

// Database is the name of the database that holds the tables.
func (s *Store) Database() string { return s.options.Auth.Database }

// Conn is the connection for statements that have no method here.
func (s *Store) Conn() driver.Conn { return s.conn }

// Engine is the engine in this process, nil where the tables are elsewhere.
func (s *Store) Engine() *embedded.Engine { return s.engine }

// Ping tells whether the engine answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.conn.Ping(ctx); err != nil {
		return fmt.Errorf("%s does not answer: %w", s.dsn, err)
	}
	return nil
}

// Close ends the connections and then the engine, if it runs in this process.
func (s *Store) Close() error {
	err := s.conn.Close()
	if s.engine != nil {
		err = errors.Join(err, s.engine.Close())
	}
	return err
}
