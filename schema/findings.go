package schema

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// FindingRow is a row of the view findings: one thing to look at, with all that was
// found of it so far.
type FindingRow struct {
	Key      string    `ch:"key" json:"key"`
	Kind     string    `ch:"kind" json:"kind"`
	Severity string    `ch:"severity" json:"severity"` // low, medium, high or critical
	Title    string    `ch:"title" json:"title"`
	Text     string    `ch:"text" json:"text"`
	Action   string    `ch:"action" json:"action"`
	Provider string    `ch:"provider" json:"provider"`
	Issuer   string    `ch:"issuer" json:"issuer"`
	Identity string    `ch:"identity" json:"identity"`
	Project  string    `ch:"project" json:"project"`
	Run      string    `ch:"run" json:"run"`
	Commit   string    `ch:"commit" json:"commit"`
	TokenID  string    `ch:"token_id" json:"token_id"`
	Backend  string    `ch:"backend" json:"backend"`
	First    time.Time `ch:"first" json:"first"` // of the requests
	Last     time.Time `ch:"last" json:"last"`
	Requests uint64    `ch:"requests" json:"requests"` // the most that one look saw
	Evidence JSONText  `ch:"evidence" json:"evidence"` // an array of objects
	Found    time.Time `ch:"found" json:"found"`       // when it was found first
	Updated  time.Time `ch:"updated" json:"updated"`   // when it was found last
}

// JSONText is JSON that is a text in the table, and itself in JSON.
type JSONText string

// MarshalJSON writes the text as it is, or as a string where it is no JSON.
func (t JSONText) MarshalJSON() ([]byte, error) {
	if json.Valid([]byte(t)) {
		return []byte(t), nil
	}
	return json.Marshal(string(t))
}

// Value writes the column.
func (t JSONText) Value() (driver.Value, error) { return string(t), nil }

// Scan reads the column.
func (t *JSONText) Scan(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("JSON text: have %T, want a string", value)
	}
	*t = JSONText(text)
	return nil
}

// FindingsQuery picks findings; an empty field picks all.
type FindingsQuery struct {
	Since, Until time.Time // some of the finding's requests are in Since <= time < Until
	Kind         string
	Severity     string // this one and those above it
	Identity     string // the subject; * stands for anything
	Run          string
	Limit        uint64 // the newest so many; 0 = all
}

// Findings calls each with the findings that q picks, newest first. It stops at
// each's first error and returns it.
func (s *Store) Findings(ctx context.Context, q FindingsQuery, each func(*FindingRow) error) error {
	sql, err := queryText("findings", Columns[FindingRow](), q)
	if err != nil {
		return err
	}
	limit := q.Limit
	if limit == 0 {
		limit = 1<<63 - 1
	}
	rows, err := s.conn.Query(ctx, sql,
		clickhouse.Named("since", strconv.FormatInt(q.Since.UnixMicro(), 10)),
		clickhouse.Named("until", strconv.FormatInt(q.Until.UnixMicro(), 10)),
		clickhouse.Named("kind", q.Kind),
		clickhouse.Named("severity", q.Severity),
		clickhouse.Named("identity", likePattern(q.Identity)),
		clickhouse.Named("run", q.Run),
		clickhouse.Named("limit", strconv.FormatUint(limit, 10)),
	)
	if err != nil {
		return fmt.Errorf("findings: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var row FindingRow
		if err := rows.ScanStruct(&row); err != nil {
			return fmt.Errorf("findings: %w", err)
		}
		if err := each(&row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("findings: %w", err)
	}
	return nil
}

// findingState is a row of finding_states.
type findingState struct {
	Key      string    `ch:"key"`
	Kind     string    `ch:"kind"`
	First    time.Time `ch:"first"`
	Last     time.Time `ch:"last"`
	Requests uint64    `ch:"requests"`
	Found    time.Time `ch:"found"`
	Updated  time.Time `ch:"updated"`
	Latest   []any     `ch:"latest"`
}

// InsertFindings adds what a look found. A finding that was found before, by its
// key, becomes one with it: it may be told again, after an error too, and in any
// order. Where Updated is not set, Found stands for it.
func (s *Store) InsertFindings(ctx context.Context, rows []FindingRow) error {
	states := make([]findingState, len(rows))
	for i, r := range rows {
		if r.Key == "" || r.Kind == "" {
			return fmt.Errorf("findings: row %d: %w", i+1, errors.New("no key or no kind: set both"))
		}
		if r.Updated.IsZero() {
			r.Updated = r.Found
		}
		states[i] = findingState{
			r.Key, r.Kind, r.First, r.Last, r.Requests, r.Found, r.Updated, []any{
				r.Last, r.Updated, r.Severity, r.Title, r.Text, r.Action, r.Provider, r.Issuer, r.Identity,
				r.Project, r.Run, r.Commit, r.TokenID, r.Backend, string(r.Evidence),
			},
		}
	}
	return insertRows(ctx, s, "finding_states", states)
}
