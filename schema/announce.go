package schema

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Expectation is a row of expectations: load that was announced.
type Expectation struct {
	ID        string    `ch:"id" json:"id"`
	Identity  string    `ch:"identity" json:"identity"` // the subject or the key; * stands for anything
	Starts    time.Time `ch:"starts" json:"starts"`
	Ends      time.Time `ch:"ends" json:"ends"`
	Factor    float64   `ch:"factor" json:"factor"` // of what is usual; 0: any amount
	Owner     string    `ch:"owner" json:"owner"`
	Reason    string    `ch:"reason" json:"reason"`
	Told      time.Time `ch:"told" json:"told"`
	Withdrawn bool      `ch:"withdrawn" json:"withdrawn"`
}

// InsertExpectation tells of load; of rows of one ID that told last counts.
func (s *Store) InsertExpectation(ctx context.Context, e Expectation) error {
	return insertRows(ctx, s, "expectations", []Expectation{e})
}

// Expectations are those that end after a time, also withdrawn ones, by their start.
func (s *Store) Expectations(ctx context.Context, after time.Time) ([]Expectation, error) {
	return announced[Expectation](ctx, s, "expectations", after)
}

// SilenceRow is a row of silences: alerts that are to be quiet.
type SilenceRow struct {
	ID        string    `ch:"id" json:"id"`
	Kind      string    `ch:"kind" json:"kind"`         // "": any
	Identity  string    `ch:"identity" json:"identity"` // "": any; * stands for anything
	Starts    time.Time `ch:"starts" json:"starts"`
	Ends      time.Time `ch:"ends" json:"ends"`
	Owner     string    `ch:"owner" json:"owner"`
	Reason    string    `ch:"reason" json:"reason"`
	Told      time.Time `ch:"told" json:"told"`
	Withdrawn bool      `ch:"withdrawn" json:"withdrawn"`
}

// InsertSilence tells of a silence; of rows of one ID that told last counts.
func (s *Store) InsertSilence(ctx context.Context, row SilenceRow) error {
	return insertRows(ctx, s, "silences", []SilenceRow{row})
}

// Silences are those that end after a time, also withdrawn ones, by their start.
func (s *Store) Silences(ctx context.Context, after time.Time) ([]SilenceRow, error) {
	return announced[SilenceRow](ctx, s, "silences", after)
}

func announced[T any](ctx context.Context, s *Store, table string, after time.Time) ([]T, error) {
	sql, err := queryText("announced", Columns[T](), table)
	if err != nil {
		return nil, err
	}
	var rows []T
	if err := s.conn.Select(ctx, &rows, sql, clickhouse.Named("after", fmt.Sprint(after.UnixMilli()))); err != nil {
		return nil, fmt.Errorf("%s: %w", table, err)
	}
	return rows, nil
}
