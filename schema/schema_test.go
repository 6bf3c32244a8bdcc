package schema_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

func named(name string, value any) driver.NamedValue { return clickhouse.Named(name, value) }

func TestMigrateIsIdempotent(t *testing.T) {
	store := schematest.OpenEmpty(t)
	if err := store.CheckSchema(t.Context()); !errors.Is(err, schema.ErrNotMigrated) {
		t.Errorf("an empty directory: got %v, want ErrNotMigrated", err)
	}
	first, err := store.Migrate(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	statements, err := schema.Statements(schema.Target{})
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != len(statements) {
		t.Errorf("%d statements ran, want %d", len(first), len(statements))
	}
	again, err := store.Migrate(t.Context(), "")
	if err != nil || len(again) != 0 {
		t.Errorf("the second time: %d statements ran, error %v", len(again), err)
	}
	if err := store.CheckSchema(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMigrateRefusesAnotherHistory(t *testing.T) {
	for _, fault := range []struct{ name, sql, want string }{
		{"changed", "ALTER TABLE schema_migrations UPDATE hash = 'other' WHERE version = 3 SETTINGS mutations_sync = 1", "migration 0003_rejects: recorded with hash other"},
		{"newer", "INSERT INTO schema_migrations (version, name, hash) VALUES (9999, 'later', 'x')", "migration 9999 is recorded in the database but unknown"},
	} {
		t.Run(fault.name, func(t *testing.T) {
			store := schematest.Open(t)
			if err := store.Conn().Exec(t.Context(), fault.sql); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"Migrate": func() error { _, err := store.Migrate(t.Context(), ""); return err }(),
				"Check":   store.CheckSchema(t.Context()),
			} {
				var hinted interface{ Hint() string }
				if err == nil || !strings.Contains(err.Error(), fault.want) || !errors.As(err, &hinted) {
					t.Errorf("%s: got %v, want %q with a hint", what, err, fault.want)
				}
			}
		})
	}
}

func TestMigrateGoesOnAfterACrash(t *testing.T) {
	store := schematest.Open(t)
	// As if the process had died between running statement 4 and recording it.
	if err := store.Conn().Exec(t.Context(), "ALTER TABLE schema_migrations DELETE WHERE version = 4 SETTINGS mutations_sync = 1"); err != nil {
		t.Fatal(err)
	}
	if err := store.CheckSchema(t.Context()); !errors.Is(err, schema.ErrNotMigrated) {
		t.Errorf("got %v, want ErrNotMigrated", err)
	}
	applied, err := store.Migrate(t.Context(), "")
	if err != nil || len(applied) != 1 || applied[0].Version != 4 {
		t.Errorf("ran %v, error %v", applied, err)
	}
}

func TestStatementsForACluster(t *testing.T) {
	store := schematest.Open(t)
	statements, err := schema.Statements(schema.Target{Database: "audit", Cluster: "main"})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, st := range statements {
		all = append(all, st.SQL)
		var formatted string
		if err := store.Conn().QueryRow(t.Context(), "SELECT formatQuery({sql:String})", named("sql", st.SQL)).Scan(&formatted); err != nil {
			t.Errorf("%04d_%s: %v\n%s", st.Version, st.Name, err, st.SQL)
		}
		// an INSERT goes through tables that are the cluster's
		if !strings.Contains(formatted, "ON CLUSTER main") && !strings.HasPrefix(formatted, "INSERT INTO") {
			t.Errorf("%04d_%s: no ON CLUSTER", st.Version, st.Name)
		}
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{
		"`audit`.requests_local ON CLUSTER 'main'",
		"ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')",
		"ReplicatedReplacingMergeTree('/clickhouse/tables/all/{database}/{table}', '{shard}_{replica}', version)",
		"ENGINE = Distributed('main', 'audit', 'requests_local', cityHash64(subject))",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestStatementsRefuseNamesThatBreakOut(t *testing.T) {
	for _, target := range []schema.Target{{Database: "a`; DROP"}, {Cluster: "x' y"}} {
		if _, err := schema.Statements(target); err == nil {
			t.Errorf("%+v: no error", target)
		}
	}
}

func TestParseDSN(t *testing.T) {
	t.Setenv("HAPTRAIL_TEST_PASSWORD", "s3cret")
	for _, c := range []struct{ dsn, want, err string }{
		{dsn: "embedded:/var/lib/haptrail", want: "embedded:/var/lib/haptrail"},
		{dsn: "unix:/run/h.sock", want: "unix:/run/h.sock"},
		{dsn: "clickhouse://u:pw@ch1:9000,ch2:9000/audit", want: "clickhouse://ch1:9000,ch2:9000/audit"},
		{dsn: "http://u@ch:8123?password_env=HAPTRAIL_TEST_PASSWORD", want: "http://ch:8123/haptrail"},
		{dsn: "http://u@ch:8123?password_env=HAPTRAIL_NOT_SET", err: "HAPTRAIL_NOT_SET is not set"},
		{dsn: "https://u@ch?password_file=/nonexistent/pw", err: "/nonexistent/pw"},
		{dsn: "embedded:", err: "no directory"},
		{dsn: "mysql://u:topsecret@h/db", err: "unknown kind"},
		{dsn: "mysql:u:topsecret@h", err: "unknown kind"},
		{dsn: "http://h:port?password=topsecret", err: "not a URL"},
		{dsn: "http://u:topsecret@h?dial_timeout=never", err: "dial_timeout"},
		{dsn: "", err: "unknown kind"},
	} {
		d, err := schema.ParseDSN(c.dsn)
		switch {
		case c.err == "" && (err != nil || d.String() != c.want):
			t.Errorf("%q: got %q, error %v, want %q", c.dsn, d, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: got error %v, want %q", c.dsn, err, c.err)
		case err != nil && strings.Contains(err.Error(), "topsecret"):
			t.Errorf("%q: the error shows the password: %v", c.dsn, err)
		}
	}
	d, err := schema.ParseDSN("http://u@ch:8123?password_env=HAPTRAIL_TEST_PASSWORD")
	if err != nil || d.Server.Auth.Password != "s3cret" {
		t.Errorf("password_env: got %v, error %v", d.Server, err)
	}
}

func TestRetentionIsAddedAndTakenAway(t *testing.T) {
	store := schematest.Open(t)
	ttl := func() string {
		var text string
		if err := store.Conn().QueryRow(t.Context(), "SELECT arrayStringConcat(groupArray(extract(create_table_query, 'TTL [^\\n]*?toIntervalDay\\(\\d+\\)')), '; ') FROM (SELECT * FROM system.tables WHERE database = currentDatabase() AND name != 'stick_samples' AND position(create_table_query, ' TTL ') > 0 ORDER BY name)").Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	days := func(n int) string {
		const each = "TTL toDateTime(attributed_at) + toIntervalDay(%[1]d); TTL toDateTime(attributed_at) + toIntervalDay(%[1]d); TTL received + toIntervalDay(%[1]d); TTL toDateTime(stored) + toIntervalDay(%[1]d)"
		return fmt.Sprintf(each, n)
	}
	for _, step := range []struct {
		keep time.Duration
		want string
	}{{0, ""}, {400 * 24 * time.Hour, days(400)}, {400 * 24 * time.Hour, days(400)}, {30 * 24 * time.Hour, days(30)}, {0, ""}} {
		if err := store.SetRetention(t.Context(), step.keep); err != nil {
			t.Fatal(err)
		}
		if have := ttl(); have != step.want {
			t.Errorf("retention %s: the table has %q, want %q", step.keep, have, step.want)
		}
	}
}

func TestSmallTablesRoundTrip(t *testing.T) {
	store := schematest.Open(t)
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	id := schema.BlockID{1}
	for range 2 { // the second time is dropped: the same id
		if err := store.InsertRejects(t.Context(), []schema.Reject{{Received: now, Source: "tcp/10.0.0.1", Reason: "too_long", Length: 1 << 20, Raw: "\x00\xff"}}, id); err != nil {
			t.Fatal(err)
		}
		if err := store.InsertProxyEvents(t.Context(), []schema.ProxyEvent{{Time: now, Received: now, Kind: "events_dropped", Count: 7}}, id); err != nil {
			t.Fatal(err)
		}
	}
	var rejects, events uint64
	if err := store.Conn().QueryRow(t.Context(), "SELECT (SELECT count() FROM rejects), (SELECT sum(count) FROM proxy_events)").Scan(&rejects, &events); err != nil {
		t.Fatal(err)
	}
	if rejects != 1 || events != 7 {
		t.Errorf("rejects %d, dropped events %d; want 1 and 7", rejects, events)
	}
	if err := store.InsertImports(t.Context(), []schema.Import{{Chunk: "abc", Lines: 5, Partial: 1, File: "x.log", Imported: now}}); err != nil {
		t.Fatal(err)
	}
	imports, err := store.Imported(t.Context())
	if err != nil || len(imports) != 1 || !imports[0].Imported.Equal(now) || imports[0].Chunk != "abc" || imports[0].Lines != 5 || imports[0].Partial != 1 {
		t.Errorf("imported: %v, error %v", imports, err)
	}
}
