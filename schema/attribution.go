package schema

import (
	"context"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Use is what one caller did in one hour, beside the judgement of it that
// attributions has. It is named by Hour, Subject and Caller.
type Use struct {
	Hour       time.Time `ch:"hour"`
	Subject    string    `ch:"subject"`
	Caller     uint64    `ch:"caller"`
	Provider   string    `ch:"provider"`
	Issuer     string    `ch:"issuer"`
	TokenID    string    `ch:"token_id"`
	Project    string    `ch:"project"`
	Job        string    `ch:"job"`
	Run        string    `ch:"run"`
	RunAttempt string    `ch:"run_attempt"`
	Ref        string    `ch:"ref"`
	Commit     string    `ch:"commit"`
	Actor      string    `ch:"actor"`
	Runner     string    `ch:"runner"`
	ClaimedRun string    `ch:"claimed_run"`
	First      time.Time `ch:"first"`
	Last       time.Time `ch:"last"`
	Stored     time.Time `ch:"stored"` // when the newest of its requests was stored, by the engine's clock

	// The judgement so far; Revision 0 where there is none.
	Digest   uint64    `ch:"digest"`
	Verdict  string    `ch:"verdict"`
	Was      string    `ch:"was"`
	WasUntil time.Time `ch:"was_until"`
	Revision uint32    `ch:"revision"`
}

// UsesQuery picks uses: all its conditions must hold.
type UsesQuery struct {
	From, Until time.Time // the hours from that of From on, before Until
	// StoredSince picks those with requests that were stored since; zero: any.
	StoredSince time.Time
	// Runs and Principals pick those that name one of the runs, in a claim or in a
	// header, or were attributed to one so far, and those of the principals in a time;
	// both empty: any.
	Runs, Principals                []string
	PrincipalsFrom, PrincipalsUntil time.Time
	// Unjudged picks those without an attribution.
	Unjudged bool
}

// Stored tells whether StoredSince counts.
func (q UsesQuery) Stored() bool { return !q.StoredSince.IsZero() }

// Named tells whether Runs and Principals count.
func (q UsesQuery) Named() bool { return len(q.Runs)+len(q.Principals) > 0 }

// Uses calls each with the uses that q picks, by hour. It stops at each's first
// error and returns it.
func (s *Store) Uses(ctx context.Context, q UsesQuery, each func(*Use) error) error {
	sql, err := queryText("uses", prefixed("u.", Columns[Use](), "j.", 5), q)
	if err != nil {
		return err
	}
	return eachRow(ctx, s, "uses", sql, each, clickhouse.Named("from", seconds(q.From)), clickhouse.Named("until", seconds(q.Until)),
		clickhouse.Named("stored", q.StoredSince.Truncate(time.Millisecond)),
		clickhouse.Named("runs", q.Runs), clickhouse.Named("principals", q.Principals),
		clickhouse.Named("principals_from", seconds(q.PrincipalsFrom)), clickhouse.Named("principals_until", seconds(q.PrincipalsUntil)))
}

// Attribution is a row of attributions: the judgement of a use, as spans of time.
// Every array has one element a span, of which there is at least one.
type Attribution struct {
	Hour           time.Time   `ch:"hour"`
	Subject        string      `ch:"subject"`
	Caller         uint64      `ch:"caller"`
	Provider       string      `ch:"provider"`
	TokenID        string      `ch:"token_id"`
	ClaimedRun     string      `ch:"claimed_run"`
	Froms          []time.Time `ch:"froms"`
	Grades         []string    `ch:"grades"`
	Projects       []string    `ch:"projects"`
	Jobs           []string    `ch:"jobs"`
	Runs           []string    `ch:"runs"`
	Attempts       []uint32    `ch:"attempts"`
	Refs           []string    `ch:"refs"`
	Commits        []string    `ch:"commits"`
	Actors         []string    `ch:"actors"`
	Agents         []string    `ch:"agents"`
	Approvers      []string    `ch:"approvers"`
	Candidates     []string    `ch:"candidates"` // of each span, separated by blanks
	Whys           []string    `ch:"whys"`
	Contradictions []string    `ch:"contradictions"`
	Digest         uint64      `ch:"digest"`    // of the spans: tells whether a judgement is another one
	Verdict        string      `ch:"verdict"`   // grades and runs in words
	Was            string      `ch:"was"`       // the verdict before, where there was another one,
	WasUntil       time.Time   `ch:"was_until"` // and until when
	Revision       uint32      `ch:"revision"`
	AttributedAt   time.Time   `ch:"attributed_at"`
}

// Reattribution is a row of reattributions: a verdict that changed.
type Reattribution struct {
	AttributedAt time.Time `ch:"attributed_at" json:"attributed_at"`
	Hour         time.Time `ch:"hour" json:"hour"`
	Subject      string    `ch:"subject" json:"subject"`
	Caller       uint64    `ch:"caller" json:"caller"`
	Revision     uint32    `ch:"revision" json:"revision"`
	Was          string    `ch:"was" json:"was"`
	Verdict      string    `ch:"verdict" json:"verdict"`
}

// InsertAttributions stores judgements; of one use the greatest revision counts.
// Verdicts that changed are told in reattributions first: a crash between the two
// tells a change twice, and never hides one.
func (s *Store) InsertAttributions(ctx context.Context, rows []Attribution, changes []Reattribution) error {
	if err := insertRows(ctx, s, "reattributions", changes); err != nil {
		return err
	}
	for len(rows) > 0 {
		n := fewMonths(rows)
		if err := insertRows(ctx, s, "attributions", rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// maxMonths is in how many partitions an insert may be: ClickHouse refuses more
// than 100 (max_partitions_per_insert_block).
const maxMonths = 100

// fewMonths is how many of the rows one insert takes. Old logs are judged all at
// once, whatever times are in them.
func fewMonths(rows []Attribution) int {
	months := map[int]bool{}
	for i := range rows {
		hour := rows[i].Hour.UTC()
		months[12*hour.Year()+int(hour.Month())] = true
		if len(months) > maxMonths {
			return i
		}
	}
	return len(rows)
}

// prefixed puts a table's name before columns; the last ones have another.
func prefixed(first string, columns []string, last string, n int) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = first + c
		if i >= len(columns)-n {
			out[i] = last + c
		}
		out[i] += " AS " + c
	}
	return out
}

// seconds is a time in seconds since 1970, as a parameter: a time that a DateTime
// cannot hold is its first or last one.
func seconds(t time.Time) string {
	return strconv.FormatInt(min(max(t.Unix(), 0), 1<<32-1), 10)
}
