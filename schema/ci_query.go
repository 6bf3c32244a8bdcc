package schema

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// RunsQuery picks runs that may be behind some uses of credentials: those of an id,
// and those of a principal that were going on at some moment from From until Until.
type RunsQuery struct {
	RunIDs      []string // of any provider and project
	Principals  []string
	From, Until time.Time // zero: since ever, for ever. A run that has not ended goes on; one without a start does not count
}

// RunsTold calls each with the runs of which something was stored at since or
// later, by the engine's clock, as they are by now; in the order of Told, which it
// fills. It stops at each's first error and returns it.
//
// An insert takes its time when it begins, and shows when it has ended: to miss
// none, ask again from a little before the newest Told.
func (s *Store) RunsTold(ctx context.Context, since time.Time, each func(*Run) error) error {
	type toldRun struct {
		Run
		Told time.Time `ch:"told"`
	}
	sql, err := queryText("runs_told", Columns[Run](), nil)
	if err != nil {
		return err
	}
	return eachRow(ctx, s, "runs told", sql, func(row *toldRun) error {
		row.Run.Told = row.Told
		row.Run.tidy()
		return each(&row.Run)
	}, clickhouse.Named("since", milliText(since, 0)))
}

// RunsOf returns the runs that q picks, each once, in no order.
func (s *Store) RunsOf(ctx context.Context, q RunsQuery) ([]Run, error) {
	sql, err := queryText("runs_of", Columns[Run](), nil)
	if err != nil {
		return nil, err
	}
	type key struct {
		provider, project, run string
		attempt                uint32
	}
	var (
		found      []Run
		seen       = make(map[key]bool)
		ids        = parameters(q.RunIDs)
		principals = parameters(q.Principals)
	)
	for i := range max(len(ids), len(principals)) {
		err := eachRow(ctx, s, "runs", sql, func(run *Run) error {
			// With more than one statement, two may find the same run.
			if at := (key{run.Provider, run.Project, run.Run, run.RunAttempt}); !seen[at] {
				seen[at] = true
				run.tidy()
				found = append(found, *run)
			}
			return nil
		},
			clickhouse.Named("runs", part(ids, i)), clickhouse.Named("principals", part(principals, i)),
			clickhouse.Named("from", milliText(q.From, 0)), clickhouse.Named("until", milliText(q.Until, lastMilli)))
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// CommitsOf returns the commits of these hashes, in each repository that has them.
func (s *Store) CommitsOf(ctx context.Context, shas []string) ([]Commit, error) {
	lower := make([]string, len(shas))
	for i, sha := range shas {
		lower[i] = strings.ToLower(sha)
	}
	return rowsOf(ctx, s, "commits", "commit", lower, (*Commit).tidy)
}

// PrincipalsOf returns the principals of these subjects, of any provider.
func (s *Store) PrincipalsOf(ctx context.Context, subjects []string) ([]Principal, error) {
	return rowsOf(ctx, s, "principals", "subject", subjects, (*Principal).tidy)
}

// CredentialsOf returns the credentials that principals of these subjects have, of
// any provider.
func (s *Store) CredentialsOf(ctx context.Context, subjects []string) ([]Credential, error) {
	return rowsOf(ctx, s, "credentials", "subject", subjects, (*Credential).tidy)
}

// rowsOf returns the rows of a view whose column is one of some values.
func rowsOf[T any](ctx context.Context, s *Store, view, column string, values []string, tidy func(*T)) ([]T, error) {
	sql, err := queryText("ci_of", Columns[T](), struct{ View, Key string }{view, column})
	if err != nil {
		return nil, err
	}
	var found []T
	for _, values := range parameters(values) {
		err := eachRow(ctx, s, view, sql, func(row *T) error {
			tidy(row)
			found = append(found, *row)
			return nil
		}, clickhouse.Named("keys", values))
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// eachRow runs a query and calls each with its rows as they arrive.
func eachRow[T any](ctx context.Context, s *Store, what, sql string, each func(*T) error, args ...any) error {
	rows, err := s.conn.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer rows.Close()
	for rows.Next() {
		var row T
		if err := rows.ScanStruct(&row); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := each(&row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// maxParameter is how many bytes of values go into one statement. A server takes
// 1 MiB of URL, in which a byte may take three.
const maxParameter = 256 << 10

// parameters are the values, each once and none empty, in as many parts as there
// are statements to make: mostly one, none where there is nothing to ask. An empty
// name names nothing, though some rows have it.
func parameters(values []string) [][]string {
	return parted(slices.DeleteFunc(slices.Clone(values), func(value string) bool { return value == "" }))
}

// parted is parameters, the empty value among them if it is asked for.
func parted(values []string) [][]string {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	var parts [][]string
	size, from := 0, 0
	for i, value := range values {
		if size += len(value) + len("'',"); size > maxParameter && i > from {
			parts = append(parts, values[from:i])
			size, from = len(value)+len("'',"), i
		}
	}
	if from < len(values) {
		parts = append(parts, values[from:])
	}
	return parts
}

// part is one of the parts, or nothing after the last.
func part(parts [][]string, i int) []string {
	if i < len(parts) {
		return parts[i]
	}
	return []string{}
}

// milliText is a time as a parameter, another number for the zero time.
func milliText(t time.Time, zero int64) string {
	if t.IsZero() {
		return strconv.FormatInt(zero, 10)
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

func (r *Run) tidy() { tidyTimes(&r.QueuedAt, &r.StartedAt, &r.FinishedAt, &r.Said) }

func (c *Commit) tidy() { tidyTimes(&c.AuthoredAt, &c.CommittedAt, &c.CheckedAt, &c.Said) }

func (p *Principal) tidy() { tidyTimes(&p.CreatedAt, &p.LastUsedAt, &p.Said) }

func (c *Credential) tidy() { tidyTimes(&c.CreatedAt, &c.ExpiresAt, &c.LastUsedAt, &c.Said) }

// tidyTimes makes 1970, which the tables have for a time that is not known, Go's
// zero time.
func tidyTimes(times ...*time.Time) {
	for _, t := range times {
		*t = Milli(*t)
	}
}
