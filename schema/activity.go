package schema

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Activity is what one caller did in one hour at one place, as far as one verdict
// holds.
type Activity struct {
	Hour       time.Time  `ch:"hour"`
	Subject    string     `ch:"subject"`
	Caller     uint64     `ch:"caller"`
	Backend    string     `ch:"backend"`
	Role       string     `ch:"role"`
	Method     string     `ch:"method"`
	Host       string     `ch:"host"`
	Endpoint   string     `ch:"endpoint"`
	Decision   string     `ch:"decision"`
	Network    netip.Addr `ch:"network"` // the first address of a /24, or of an IPv6 /56; :: where Nobody
	Provider   string     `ch:"provider"`
	Issuer     string     `ch:"issuer"`
	TokenID    string     `ch:"token_id"`
	KeyID      string     `ch:"key_id"`
	Audience   string     `ch:"audience"`
	Project    string     `ch:"project"`
	Job        string     `ch:"job"`
	Run        string     `ch:"run"`
	RunAttempt string     `ch:"run_attempt"`
	Ref        string     `ch:"ref"`
	Commit     string     `ch:"commit"`
	Actor      string     `ch:"actor"`
	Runner     string     `ch:"runner"`
	ClaimedRun string     `ch:"claimed_run"`
	IssuedAt   time.Time  `ch:"issued_at"`
	ExpiresAt  time.Time  `ch:"expires_at"`
	First      time.Time  `ch:"first"`
	Last       time.Time  `ch:"last"`
	Received   time.Time  `ch:"received"` // when the last of them was
	Requests   uint64     `ch:"requests"`

	// The verdict; Grade "" where there is none yet.
	Grade         string `ch:"grade"`
	OfProject     string `ch:"of_project"`
	OfJob         string `ch:"of_job"`
	OfRun         string `ch:"of_run"`
	OfAttempt     uint32 `ch:"of_attempt"`
	OfRef         string `ch:"of_ref"`
	OfCommit      string `ch:"of_commit"`
	OfActor       string `ch:"of_actor"`
	OfAgent       string `ch:"of_agent"`
	Approver      string `ch:"approver"`
	Candidates    string `ch:"candidates"`
	Why           string `ch:"why"`
	Contradiction string `ch:"contradiction"`
}

// verdictOf are the columns of Activity's verdict, by the array that they come from.
var verdictOf = map[string]string{
	"grade": "grades", "of_project": "projects", "of_job": "jobs", "of_run": "runs", "of_attempt": "attempts",
	"of_ref": "refs", "of_commit": "commits", "of_actor": "actors", "of_agent": "agents", "approver": "approvers",
	"candidates": "candidates", "why": "whys", "contradiction": "contradictions",
}

// ActivityQuery picks requests that were received since a time, or in a span before
// it; or, where Rejudged, others whose verdict has changed since that time.
type ActivityQuery struct {
	Since                     time.Time
	SettledFrom, SettledUntil time.Time // the span; from inclusive
	Rejudged                  bool
	Nobody                    bool      // those, too, that were allowed without a verified identity; of all networks together
	From                      time.Time // of those, the hours from that of From on
	// Slice picks the identities of one of so many Slices, by a hash; 0 Slices: all.
	Slices, Slice uint32
}

// Activity calls each with the activity that q picks, by hour. It stops at each's
// first error and returns it.
func (s *Store) Activity(ctx context.Context, q ActivityQuery, each func(*Activity) error) error {
	columns := Columns[Activity]()
	for i, c := range columns {
		if array, ok := verdictOf[c]; ok {
			columns[i] = "j." + array + "[u.span] AS " + c
		} else {
			columns[i] = "u." + c + " AS " + c
		}
	}
	sql, err := queryText("activity", columns, q)
	if err != nil {
		return err
	}
	return eachRow(ctx, s, "activity", sql, func(row *Activity) error {
		row.Network = row.Network.Unmap()
		return each(row)
	}, q.parameters()...)
}

func (q ActivityQuery) parameters() []any {
	return []any{
		clickhouse.Named("from", seconds(q.From.Truncate(time.Hour))), clickhouse.Named("since", seconds(q.Since)),
		clickhouse.Named("settled_from", seconds(q.SettledFrom)), clickhouse.Named("settled_until", seconds(q.SettledUntil)),
		clickhouse.Named("slices", strconv.FormatUint(uint64(max(q.Slices, 1)), 10)),
		clickhouse.Named("slice", strconv.FormatUint(uint64(q.Slice), 10)),
	}
}

// CountActivity tells about how many rows q picks.
func (s *Store) CountActivity(ctx context.Context, q ActivityQuery) (n uint64, err error) {
	sql, err := queryText("activity_count", nil, q)
	if err != nil {
		return 0, err
	}
	if err := s.conn.QueryRow(ctx, sql, q.parameters()...).Scan(&n); err != nil {
		return 0, fmt.Errorf("activity: %w", err)
	}
	return n, nil
}

// Past is what an identity did before a time.
type Past struct {
	Provider  string    `ch:"provider"`
	Subject   string    `ch:"subject"`
	First     time.Time `ch:"first"`
	Last      time.Time `ch:"last"`
	Endpoints uint64    `ch:"endpoints"` // how many different ones
}

// PastOf tells what each of the subjects did from a time on, before its own.
func (s *Store) PastOf(ctx context.Context, from time.Time, before map[string]time.Time) (past []Past, err error) {
	sql, err := queryText("past", prefixed("p.", Columns[Past](), "e.", 1), nil)
	if err != nil {
		return nil, err
	}
	for _, subjects := range parameters(slices.Collect(maps.Keys(before))) {
		cutoffs := make([]int64, len(subjects))
		for i, subject := range subjects {
			cutoffs[i] = before[subject].UnixMicro()
		}
		past, err = selectMore(ctx, s, past, "past", sql, clickhouse.Named("from", seconds(from.Truncate(time.Hour))),
			clickhouse.Named("subjects", subjects), clickhouse.Named("cutoffs", cutoffs))
		if err != nil {
			return nil, err
		}
	}
	return past, nil
}

// selectMore appends the rows of a query. Of values that are many there are several
// queries (see parameters): one with all of them would take the engine minutes.
func selectMore[T any](ctx context.Context, s *Store, rows []T, what, sql string, args ...any) ([]T, error) {
	var more []T
	if err := s.conn.Select(ctx, &more, sql, args...); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return append(rows, more...), nil
}

// FirstSeen is when an identity was first seen at an endpoint.
type FirstSeen struct {
	Provider string    `ch:"provider"`
	Subject  string    `ch:"subject"`
	Method   string    `ch:"method"`
	Endpoint string    `ch:"endpoint"`
	First    time.Time `ch:"first"`
}

// FirstSeenAt tells when the subjects were first seen at the endpoints, as far as
// InsertFirstSeen was told.
func (s *Store) FirstSeenAt(ctx context.Context, subjects, endpoints []string) (seen []FirstSeen, err error) {
	sql, err := queryText("first_seen", nil, nil)
	if err != nil {
		return nil, err
	}
	for _, subjects := range parted(subjects) { // nobody's is empty, and a connection's endpoint
		for _, endpoints := range parted(endpoints) {
			seen, err = selectMore(ctx, s, seen, "accesses", sql, clickhouse.Named("subjects", subjects), clickhouse.Named("endpoints", endpoints))
			if err != nil {
				return nil, err
			}
		}
	}
	return seen, nil
}

// InsertFirstSeen remembers where identities were seen; the earliest time counts.
func (s *Store) InsertFirstSeen(ctx context.Context, rows []FirstSeen) error {
	return insertRows(ctx, s, "accesses", rows)
}

// Deploy is an allowed write to a protected place: the first by one run with one
// credential, or the first in an hour where no run is known.
type Deploy struct {
	Provider string    `ch:"provider"`
	Subject  string    `ch:"subject"`
	Project  string    `ch:"project"`
	Run      string    `ch:"run"`
	Issuer   string    `ch:"issuer"`
	TokenID  string    `ch:"token_id"`
	KeyID    string    `ch:"key_id"`
	Hour     time.Time `ch:"hour"`
	First    time.Time `ch:"first"`
}

// InsertDeploys remembers deploys; the earliest time of each counts.
func (s *Store) InsertDeploys(ctx context.Context, rows []Deploy) error {
	return insertRows(ctx, s, "deploys", rows)
}

// DeploysOf are those of the subjects, from a time on.
func (s *Store) DeploysOf(ctx context.Context, from time.Time, subjects []string) (deploys []Deploy, err error) {
	const sql = `SELECT provider, subject, project, run, issuer, token_id, key_id, hour, min(d.first) AS first
FROM deploys AS d WHERE subject IN {subjects:Array(String)}
GROUP BY provider, subject, project, run, issuer, token_id, key_id, hour HAVING first >= toDateTime({from:UInt32}, 'UTC')`
	for _, subjects := range parameters(subjects) {
		deploys, err = selectMore(ctx, s, deploys, "deploys", sql, clickhouse.Named("subjects", subjects), clickhouse.Named("from", seconds(from)))
		if err != nil {
			return nil, err
		}
	}
	return deploys, nil
}

// TokenUse is a network that a token was used from, or a run that it was used by:
// one that a header claimed, or one that it was attributed to.
type TokenUse struct {
	Issuer   string    `ch:"issuer"`
	TokenID  string    `ch:"token_id"`
	Kind     string    `ch:"kind"`  // network, claimed or attributed
	Value    string    `ch:"value"` // an IPv6 address, or a run's id
	Project  string    `ch:"project"`
	Grade    string    `ch:"grade"`
	First    time.Time `ch:"first"`
	Last     time.Time `ch:"last"`
	Requests uint64    `ch:"requests"`
}

// TokenUses tells from where and by which runs tokens were used, from a time on.
func (s *Store) TokenUses(ctx context.Context, from time.Time, tokens []string) (uses []TokenUse, err error) {
	sql, err := queryText("token_uses", Columns[TokenUse](), nil)
	if err != nil {
		return nil, err
	}
	for _, tokens := range parameters(tokens) {
		uses, err = selectMore(ctx, s, uses, "tokens", sql, clickhouse.Named("from", seconds(from.Truncate(time.Hour))), clickhouse.Named("tokens", tokens))
		if err != nil {
			return nil, err
		}
	}
	return uses, nil
}

// History is when the first access was made that is known of; the zero time where
// none is.
func (s *Store) History(ctx context.Context) (time.Time, error) {
	var first time.Time
	if err := s.conn.QueryRow(ctx, "SELECT min(first) FROM accesses").Scan(&first); err != nil {
		return time.Time{}, fmt.Errorf("accesses: %w", err)
	}
	if first.Unix() <= 0 {
		return time.Time{}, nil
	}
	return first, nil
}

// Tells are the providers whose CI servers tell their accounts, and the commits of
// their runs.
func (s *Store) Tells(ctx context.Context) (principals, commits []string, err error) {
	for sql, to := range map[string]*[]string{
		"SELECT DISTINCT provider FROM principals":                                        &principals,
		"SELECT DISTINCT provider FROM runs WHERE commit IN (SELECT commit FROM commits)": &commits,
	} {
		type row struct {
			Provider string `ch:"provider"`
		}
		err := eachRow(ctx, s, "providers", sql, func(r *row) error {
			*to = append(*to, r.Provider)
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return principals, commits, nil
}
