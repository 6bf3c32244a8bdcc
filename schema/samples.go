package schema

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// StickSample is a row of stick_samples: what a key of a stick table did since the
// look before.
type StickSample struct {
	Time     time.Time         `ch:"time"` // to the second
	Proxy    string            `ch:"proxy"`
	Table    string            `ch:"stick_table"`
	Key      string            `ch:"key"`
	Elapsed  uint64            `ch:"elapsed_ms"` // in which it did so
	Requests uint64            `ch:"requests"`   // growth of the watched counter
	Counted  map[string]uint64 `ch:"counted"`    // growth of the other counters
	Levels   map[string]uint64 `ch:"levels"`     // rates and gauges
}

// InsertStickSamples adds rows, once under one id.
func (s *Store) InsertStickSamples(ctx context.Context, rows []StickSample, id BlockID) error {
	return insertRows(withToken(ctx, id), s, "stick_samples", rows)
}

// sampleDays is for how long samples stay when they are no longer kept in full.
const sampleDays = 90

// SetSampleHistory has the engine keep samples of stick tables in full for so many
// days, and then a row a minute for 90 days more. On a cluster the owner of the
// tables sets their TTL.
func (s *Store) SetSampleHistory(ctx context.Context, days int) error {
	if s.engine == nil {
		return nil
	}
	const full = "TTL time + toIntervalDay(%d) GROUP BY stick_table, key, proxy, toStartOfMinute(time) " +
		"SET elapsed_ms = sum(elapsed_ms), requests = sum(requests), counted = sumMap(counted), levels = maxMap(levels), time = min(time), " +
		"time + toIntervalDay(%d)"
	var now string
	err := s.conn.QueryRow(ctx, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'stick_samples'").Scan(&now)
	if err != nil {
		return fmt.Errorf("stick_samples: %w", err)
	}
	if strings.Contains(now, fmt.Sprintf("toIntervalDay(%d) GROUP BY", days)) {
		return nil
	}
	if err := s.conn.Exec(ctx, "ALTER TABLE stick_samples MODIFY "+fmt.Sprintf(full, days, days+sampleDays)); err != nil {
		return fmt.Errorf("stick_samples: %w", err)
	}
	return nil
}

// Counted is how much a key did until a time.
type Counted struct {
	Time    time.Time `ch:"time"`
	Key     string    `ch:"key"`
	Elapsed uint64    `ch:"elapsed"` // in milliseconds
	Count   uint64    `ch:"count"`
}

// StickHistory calls each with what the keys of a stick table did in from <= time <
// until, key by key in order of time, over all proxies. It stops at each's first
// error and returns it.
func (s *Store) StickHistory(ctx context.Context, table string, from, until time.Time, each func(*Counted) error) error {
	const sql = `SELECT s.time AS time, s.key AS key, max(s.elapsed_ms) AS elapsed, sum(s.requests) AS count FROM stick_samples AS s
WHERE s.stick_table = {stick_table:String} AND s.time >= toDateTime({from:UInt32}, 'UTC') AND s.time < toDateTime({until:UInt32}, 'UTC')
GROUP BY key, time ORDER BY key, time`
	return eachRow(ctx, s, "stick_samples", sql, each,
		clickhouse.Named("stick_table", table), clickhouse.Named("from", seconds(from)), clickhouse.Named("until", seconds(until)))
}

// HistoryQuery picks what is counted of the requests in From <= time < Until.
type HistoryQuery struct {
	From, Until time.Time
	Denied      bool // only those that were denied
	Failed      bool // only those that failed: 5xx, or no answer
	Kilobytes   bool // of their answers, in the place of the requests
	Nobody      bool // those without a verified identity, by their clients; else those with one
	Endpoints   bool // those of each endpoint by themselves
	// Callers has neither requests nor identities counted, but the callers that were
	// denied something at a frontend and had not been for CallerForgotten seconds: the
	// other fields but From and Until say nothing then.
	Callers bool
}

// RequestCount is how much somebody did in a second: the one in which the requests
// were answered, as in a Tally. Method and Endpoint are of HistoryQuery.Endpoints,
// Client of Nobody, Frontend of Callers.
type RequestCount struct {
	Time     time.Time  `ch:"time"`
	Issuer   string     `ch:"issuer"`
	Subject  string     `ch:"subject"`
	Method   string     `ch:"method"`
	Endpoint string     `ch:"endpoint"`
	Client   netip.Addr `ch:"client"`
	Frontend string     `ch:"frontend"`
	Count    uint64     `ch:"count"`
}

// RequestHistory calls each with what was counted, in order of time. It stops at
// each's first error and returns it.
func (s *Store) RequestHistory(ctx context.Context, q HistoryQuery, each func(*RequestCount) error) error {
	sql, err := queryText("request_history", nil, q)
	if err != nil {
		return err
	}
	return eachRow(ctx, s, "requests", sql, each, clickhouse.Named("from", seconds(q.From)), clickhouse.Named("until", seconds(q.Until)),
		clickhouse.Named("forgotten", strconv.Itoa(CallerForgotten)))
}

// RoleOf is the role that an identity had last.
type RoleOf struct {
	Issuer  string `ch:"issuer"`
	Subject string `ch:"subject"`
	Role    string `ch:"role"`
}

// Roles calls each with the roles of the identities that were seen since a time.
func (s *Store) Roles(ctx context.Context, since time.Time, each func(*RoleOf) error) error {
	const sql = `SELECT r.issuer AS issuer, r.subject AS subject, argMax(r.role, r.time) AS role FROM requests AS r
WHERE r.time >= toDateTime({since:UInt32}, 'UTC') AND r.subject != '' AND r.role != '' GROUP BY issuer, subject`
	return eachRow(ctx, s, "requests", sql, each, clickhouse.Named("since", seconds(since)))
}
