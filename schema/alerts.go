package schema

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// AlertRow is a row of the view alerts: one alert, for each time that it fired.
type AlertRow struct {
	Key      string    `ch:"key" json:"key"`
	Kind     string    `ch:"kind" json:"kind"`
	Severity string    `ch:"severity" json:"severity"` // info, low, medium, high or critical
	Title    string    `ch:"title" json:"title"`
	Text     string    `ch:"text" json:"text"`
	Identity string    `ch:"identity" json:"identity"`
	Run      string    `ch:"run" json:"run"`
	Commit   string    `ch:"commit" json:"commit"`
	Start    time.Time `ch:"start" json:"start"`
	End      time.Time `ch:"end" json:"end"` // 1970 while it fires
	Updated  time.Time `ch:"updated" json:"updated"`
	Command  string    `ch:"command" json:"command"` // that shows more
}

// InsertAlerts tells of alerts; of rows of one Key and Start that updated last
// counts.
func (s *Store) InsertAlerts(ctx context.Context, rows []AlertRow) error {
	fit := make([]AlertRow, len(rows))
	for i, r := range rows {
		if r.Key == "" || r.Start.IsZero() {
			return fmt.Errorf("alerts: row %d: %w", i+1, errors.New("no key or no start: set both"))
		}
		if r.End.IsZero() {
			r.End = time.Unix(0, 0)
		}
		fit[i] = r
	}
	return insertRows(ctx, s, "alert_states", fit)
}

// AlertsQuery picks alerts; an empty field picks all.
type AlertsQuery struct {
	Since, Until time.Time // it fired in some of Since <= time < Until
	Kind         string
	Identity     string // * stands for anything
	Firing       bool   // only those that fire
	Limit        uint64 // the newest so many; 0 = all
}

// Alerts calls each with the alerts that q picks, newest first. It stops at each's
// first error and returns it.
func (s *Store) Alerts(ctx context.Context, q AlertsQuery, each func(*AlertRow) error) error {
	sql, err := queryText("alerts", Columns[AlertRow](), q)
	if err != nil {
		return err
	}
	return eachRow(ctx, s, "alerts", sql, each,
		clickhouse.Named("since", strconv.FormatInt(q.Since.UnixMicro(), 10)),
		clickhouse.Named("until", strconv.FormatInt(q.Until.UnixMicro(), 10)),
		clickhouse.Named("kind", q.Kind),
		clickhouse.Named("identity", likePattern(q.Identity)),
		clickhouse.Named("limit", strconv.FormatUint(cmp.Or(q.Limit, 1<<63-1), 10)),
	)
}
