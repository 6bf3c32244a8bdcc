package schema

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// InsertRuns adds what rows say to ci_runs: it is merged into what is known, and
// may be said again.
func (s *Store) InsertRuns(ctx context.Context, rows []Run) error {
	return insertFacts(ctx, s, "ci_runs", rows, func(r *Run) ciRun {
		return ciRun{
			Provider: r.Provider, Project: r.Project, Run: r.Run, RunAttempt: r.RunAttempt,
			Job: r.Job, Name: r.Name, Ref: r.Ref, Commit: r.Commit, Status: r.Status, Trigger: r.Trigger,
			Actor: r.Actor, Agent: r.Agent, Principal: r.Principal, Approver: r.Approver,
			QueuedAt: nullable(r.QueuedAt), StartedAt: nullable(r.StartedAt), FinishedAt: Milli(r.FinishedAt), Said: Milli(r.Said),
		}
	})
}

// InsertCommits adds what rows say to ci_commits, as InsertRuns does.
func (s *Store) InsertCommits(ctx context.Context, rows []Commit) error {
	return insertFacts(ctx, s, "ci_commits", rows, func(c *Commit) ciCommit {
		checked := c.CheckedAt
		if checked.IsZero() {
			checked = c.Said
		}
		return ciCommit{
			Commit: c.Commit, Repository: c.Repository, Author: c.Author, AuthorEmail: c.AuthorEmail, Committer: c.Committer,
			AuthoredAt: nullable(c.AuthoredAt), CommittedAt: Milli(c.CommittedAt), Subject: c.Subject,
			Signature: Told[string]{c.Signature != "", checked, c.Signature}.tuple(), Said: Milli(c.Said),
		}
	})
}

// InsertPrincipals adds what rows say to ci_principals, as InsertRuns does.
func (s *Store) InsertPrincipals(ctx context.Context, rows []PrincipalFact) error {
	return insertFacts(ctx, s, "ci_principals", rows, func(p *PrincipalFact) ciPrincipal {
		listed := make(map[string]time.Time, len(p.Listed))
		for kind, said := range p.Listed {
			listed[kind] = Milli(said)
		}
		return ciPrincipal{
			Provider: p.Provider, Subject: p.Subject, Project: p.Project,
			Name: p.Name.tuple(), Owner: p.Owner.tuple(), Archived: p.Archived.tuple(), Rights: p.Rights.tuple(),
			CreatedAt: nullable(p.CreatedAt), LastUsedAt: Milli(p.LastUsedAt), Listed: listed, Said: Milli(p.Said),
		}
	})
}

// InsertCredentials adds what rows say to ci_credentials, as InsertRuns does.
func (s *Store) InsertCredentials(ctx context.Context, rows []Credential) error {
	return insertFacts(ctx, s, "ci_credentials", rows, func(c *Credential) ciCredential {
		return ciCredential{
			Provider: c.Provider, Subject: c.Subject, Kind: c.Kind, ID: c.ID,
			CreatedAt: Milli(c.CreatedAt), ExpiresAt: Milli(c.ExpiresAt), LastUsedAt: Milli(c.LastUsedAt), Said: Milli(c.Said),
		}
	})
}

// ciRun and its neighbours are the tables' own rows. Their types are here too: to
// ask for them would double the statements of an insert, and webhooks are many. A
// test holds them against the migrated tables.
type ciRun struct {
	Provider   string     `ch:"provider" type:"LowCardinality(String)"`
	Project    string     `ch:"project" type:"LowCardinality(String)"`
	Run        string     `ch:"run" type:"String"`
	RunAttempt uint32     `ch:"run_attempt" type:"UInt32"`
	Job        string     `ch:"job" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	Name       string     `ch:"name" type:"SimpleAggregateFunction(max, String)"`
	Ref        string     `ch:"ref" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	Commit     string     `ch:"commit" type:"SimpleAggregateFunction(max, String)"`
	Status     string     `ch:"status" type:"SimpleAggregateFunction(max, Enum8('' = 0, 'queued' = 1, 'running' = 2, 'skipped' = 3, 'canceled' = 4, 'failed' = 5, 'succeeded' = 6))"`
	Trigger    string     `ch:"trigger" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	Actor      string     `ch:"actor" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	Agent      string     `ch:"agent" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	Principal  string     `ch:"principal" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	Approver   string     `ch:"approver" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	QueuedAt   *time.Time `ch:"queued_at" type:"SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC')))"`
	StartedAt  *time.Time `ch:"started_at" type:"SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC')))"`
	FinishedAt time.Time  `ch:"finished_at" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
	Said       time.Time  `ch:"said" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
}

type ciCommit struct {
	Commit      string     `ch:"commit" type:"String"`
	Repository  string     `ch:"repository" type:"LowCardinality(String)"`
	Author      string     `ch:"author" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	AuthorEmail string     `ch:"author_email" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	Committer   string     `ch:"committer" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	AuthoredAt  *time.Time `ch:"authored_at" type:"SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC')))"`
	CommittedAt time.Time  `ch:"committed_at" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
	Subject     string     `ch:"subject" type:"SimpleAggregateFunction(max, String)"`
	Signature   []any      `ch:"signature" type:"SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value String))"`
	Said        time.Time  `ch:"said" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
}

type ciPrincipal struct {
	Provider   string               `ch:"provider" type:"LowCardinality(String)"`
	Subject    string               `ch:"subject" type:"String"`
	Name       []any                `ch:"name" type:"SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value String))"`
	Owner      []any                `ch:"owner" type:"SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value String))"`
	Project    string               `ch:"project" type:"SimpleAggregateFunction(max, LowCardinality(String))"`
	Archived   []any                `ch:"archived" type:"SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value Bool))"`
	Rights     []any                `ch:"rights" type:"SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value Array(String)))"`
	CreatedAt  *time.Time           `ch:"created_at" type:"SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC')))"`
	LastUsedAt time.Time            `ch:"last_used_at" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
	Listed     map[string]time.Time `ch:"listed" type:"SimpleAggregateFunction(maxMap, Map(String, DateTime64(3, 'UTC')))"`
	Said       time.Time            `ch:"said" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
}

type ciCredential struct {
	Provider   string    `ch:"provider" type:"LowCardinality(String)"`
	Subject    string    `ch:"subject" type:"String"`
	Kind       string    `ch:"kind" type:"LowCardinality(String)"`
	ID         string    `ch:"id" type:"String"`
	CreatedAt  time.Time `ch:"created_at" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
	ExpiresAt  time.Time `ch:"expires_at" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
	LastUsedAt time.Time `ch:"last_used_at" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
	Said       time.Time `ch:"said" type:"SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"`
}

type ciCursor struct {
	Source string `ch:"source" type:"String"`
	Cursor []any  `ch:"cursor" type:"SimpleAggregateFunction(max, Tuple(said DateTime64(6, 'UTC'), value String))"`
}

// nullable is a time for a column whose least value counts: NULL where not known.
func nullable(t time.Time) *time.Time {
	if t = Milli(t); t.IsZero() {
		return nil
	}
	return &t
}

// tuple is the value as the tables keep it, so that the greatest is the one that
// was said last: what was said at no time is older than any other, and what was
// not said is older still.
func (t Told[T]) tuple() []any {
	if !t.Known {
		var none T
		return []any{time.Time{}, none}
	}
	said := Milli(t.Said)
	if said.IsZero() {
		said = time.UnixMilli(firstMilli - 1).UTC()
	}
	return []any{said, t.Value}
}

// insertFacts inserts facts as rows of a table, whose columns and types are in the
// tags of Row.
func insertFacts[Fact, Row any](ctx context.Context, s *Store, table string, facts []Fact, row func(*Fact) Row) error {
	rows := make([]Row, len(facts))
	for i := range facts {
		rows[i] = row(&facts[i])
	}
	return insertRows(clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(columnTypes[Row]())), s, table, rows)
}

// columnTypes lists a row type's columns with the types in its tags.
func columnTypes[Row any]() []clickhouse.ColumnNameAndType {
	var columns []clickhouse.ColumnNameAndType
	for field := range reflect.TypeFor[Row]().Fields() {
		columns = append(columns, clickhouse.ColumnNameAndType{Name: field.Tag.Get("ch"), Type: field.Tag.Get("type")})
	}
	return columns
}

// Cursor returns how far a CI server was polled: what SaveCursor was given last,
// "" if nothing was.
func (s *Store) Cursor(ctx context.Context, source string) (cursor string, err error) {
	err = s.conn.QueryRow(ctx, "SELECT max(c.cursor).value FROM ci_cursors AS c WHERE c.source = {source:String}",
		clickhouse.Named("source", source)).Scan(&cursor)
	if err != nil {
		return "", fmt.Errorf("ci_cursors: %w", err)
	}
	return cursor, nil
}

// SaveCursor remembers how far a CI server was polled, as of a time: the cursor of
// the newest counts. After a clock was set back that may be an older one for a
// while; what is fetched again from it changes nothing.
func (s *Store) SaveCursor(ctx context.Context, source, cursor string, at time.Time) error {
	rows := []ciCursor{{Source: source, Cursor: []any{at.UTC(), cursor}}}
	return insertFacts(ctx, s, "ci_cursors", rows, func(row *ciCursor) ciCursor { return *row })
}
