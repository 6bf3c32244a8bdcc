package schema

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// TrailRow is a row of the view trail: one request with the run and the commit
// behind it, and the grade of that attribution (design, decision 5).
type TrailRow struct {
	Time          time.Time  `ch:"time" json:"time"`
	Identity      string     `ch:"identity" json:"identity"`
	Provider      string     `ch:"provider" json:"provider"`
	Project       string     `ch:"project" json:"project"`
	Job           string     `ch:"job" json:"job"`
	Run           string     `ch:"run" json:"run"`
	RunAttempt    uint32     `ch:"run_attempt" json:"run_attempt"`
	Commit        string     `ch:"commit" json:"commit"`
	Ref           string     `ch:"ref" json:"ref"`
	Author        string     `ch:"author" json:"author"`
	Approver      string     `ch:"approver" json:"approver"`
	Runner        string     `ch:"runner" json:"runner"`
	Method        string     `ch:"method" json:"method"`
	Host          string     `ch:"host" json:"host"`
	Path          string     `ch:"path" json:"path"`
	Status        int16      `ch:"status" json:"status"`
	Decision      string     `ch:"decision" json:"decision"`
	Reason        string     `ch:"reason" json:"reason"`
	Role          string     `ch:"role" json:"role"`
	Grade         string     `ch:"grade" json:"grade"`
	Why           string     `ch:"why" json:"why"`
	Contradiction string     `ch:"contradiction" json:"contradiction"` // what the CI's record denies of the claims
	Candidates    string     `ch:"candidates" json:"candidates"`       // the runs of an ambiguous one
	Revision      uint32     `ch:"revision" json:"revision"`           // of the judgement; 0: not judged yet
	Was           string     `ch:"was" json:"was"`                     // what it said before, if it did say something else
	WasUntil      time.Time  `ch:"was_until" json:"was_until"`
	AttributedAt  time.Time  `ch:"attributed_at" json:"attributed_at"`
	ClientIP      netip.Addr `ch:"client_ip" json:"client_ip"`
	Frontend      string     `ch:"frontend" json:"frontend"`
	Backend       string     `ch:"backend" json:"backend"`
	Server        string     `ch:"server" json:"server"`
	BytesRead     int64      `ch:"bytes_read" json:"bytes_read"`
	ActiveMs      int32      `ch:"active_ms" json:"active_ms"`
	Termination   string     `ch:"termination_state" json:"termination_state"`
	TokenID       string     `ch:"token_id" json:"token_id"`
	ClaimedRun    string     `ch:"claimed_run" json:"claimed_run"`
	UniqueID      string     `ch:"unique_id" json:"unique_id"`
	Proxy         string     `ch:"proxy" json:"proxy"`
	Marks         string     `ch:"marks" json:"marks"`
	CommitSubject string     `ch:"commit_subject" json:"commit_subject"`
	Signature     string     `ch:"commit_signature" json:"commit_signature"` // verified, unverified, none; "" where not said
	Actor         string     `ch:"actor" json:"actor"`
	Endpoint      string     `ch:"endpoint" json:"endpoint"`
}

// TrailQuery picks rows of the trail; an empty field picks all.
type TrailQuery struct {
	Since, Until time.Time // Since <= time < Until
	Identity     string    // the subject; * stands for anything
	Run          string    // the run's id, as a claim or a header names it
	Commit       string    // the hash or its beginning
	Author       string    // the commit's, by name or address; * stands for anything
	Token        string    // the token's id
	Grade        string    // proven, corroborated, inferred, ambiguous or none
	Path         string    // a path and what is below it, or with * for anything
	Decision     string    // allow or deny
	Limit        uint64    // the newest rows so many; 0 = all
}

// TrailSummaryRow sums up the requests of one identity and run that came to
// the same decision for the same reason.
type TrailSummaryRow struct {
	First     time.Time `ch:"first" json:"first"`
	Last      time.Time `ch:"last" json:"last"`
	Identity  string    `ch:"identity" json:"identity"`
	Provider  string    `ch:"provider" json:"provider"`
	Project   string    `ch:"project" json:"project"`
	Run       string    `ch:"run" json:"run"`
	Commit    string    `ch:"commit" json:"commit"`
	Author    string    `ch:"author" json:"author"`
	Mostly    string    `ch:"mostly" json:"mostly"`       // a frequent method and endpoint
	Endpoints uint64    `ch:"endpoints" json:"endpoints"` // how many different ones
	Requests  uint64    `ch:"requests" json:"requests"`
	Peak10s   uint64    `ch:"peak_10s" json:"peak_10s"` // most requests in ten seconds
	Decision  string    `ch:"decision" json:"decision"`
	Reason    string    `ch:"reason" json:"reason"`
	Grade     string    `ch:"grade" json:"grade"`
}

// Trail calls each with the rows that q picks, newest first, as they arrive.
// It stops at each's first error and returns it.
func (s *Store) Trail(ctx context.Context, q TrailQuery, each func(*TrailRow) error) error {
	n := narrowed{TrailQuery: q}
	n.Newest = q.Limit > 0 && !n.Picked() && q.Grade == ""
	return queryTrail(ctx, s, "trail", n, func(row *TrailRow) error {
		row.ClientIP = row.ClientIP.Unmap()
		return each(row)
	})
}

// TrailSummary calls each with a summary of the rows that q picks, the busiest
// first.
func (s *Store) TrailSummary(ctx context.Context, q TrailQuery, each func(*TrailSummaryRow) error) error {
	return queryTrail(ctx, s, "trail_summary", narrowed{TrailQuery: q}, each)
}

// narrowed is a query of the trail with what makes it quick.
type narrowed struct {
	TrailQuery
	// Newest: the newest requests, Limit of them, are what is asked for, whatever
	// they are attributed to. Else attributions are known only when all were joined.
	Newest bool
	// Some: no more keys than some are wanted.
	Some bool
	// Client is the address of a client; "" for all.
	Client string
	// Keys: the keys that attributions pick are hours, subjects and callers, and need
	// not be looked up for each table again.
	Keys     bool
	hours    []uint32
	subjects []string
	callers  []uint64
}

// someKeys are how many keys a query names at most; it looks more of them up.
const someKeys = 1000

// Picked tells whether the attributions pick the requests: there they are few.
func (q TrailQuery) Picked() bool {
	return q.Run != "" || q.Commit != "" || q.Author != "" || q.Token != ""
}

// Nobody tells whether requests without a verified identity may be picked, by the
// run that they name or their token: they have no attribution.
func (q TrailQuery) Nobody() bool {
	return (q.Run != "" || q.Token != "") && q.Commit == "" && q.Author == ""
}

func queryTrail[T any](ctx context.Context, s *Store, name string, n narrowed, each func(*T) error) error {
	if n.Picked() {
		if err := s.pick(ctx, &n); err != nil {
			return err
		}
		if n.Keys && len(n.hours) == 0 && !n.Nobody() {
			return nil
		}
	}
	from, err := trailText(n)
	if err != nil {
		return err
	}
	sql, err := queryText(name, Columns[T](), struct {
		narrowed
		Trail string
	}{n, from})
	if err != nil {
		return err
	}
	return eachRow(ctx, s, "trail", sql, each, n.parameters()...)
}

// pick looks the keys up that the attributions pick, if they are some.
func (s *Store) pick(ctx context.Context, n *narrowed) error {
	n.Some = true
	sql, err := queryText("picks", nil, n)
	if err != nil {
		return err
	}
	type key struct {
		Hour    time.Time `ch:"hour"`
		Subject string    `ch:"subject"`
		Caller  uint64    `ch:"caller"`
	}
	err = eachRow(ctx, s, "trail", sql, func(k *key) error {
		n.hours, n.subjects, n.callers = append(n.hours, uint32(k.Hour.Unix())), append(n.subjects, k.Subject), append(n.callers, k.Caller)
		return nil
	}, n.parameters()...)
	n.Some, n.Keys = false, len(n.hours) < someKeys
	return err
}

// trailMigration is the statement that makes the view trail.
const trailMigration = "0029_trail"

// trailText is the view's own text, narrowed to what is asked for. The engine does
// not push a filter of the view into the tables that it joins: an attribution must
// be looked up by its key, and not be found among those of all time.
func trailText(n narrowed) (string, error) {
	narrow := func(part string) (string, error) { return queryText("narrow_"+part, nil, n) }
	same := func(name string) string { return name }
	tmpl, err := template.New(trailMigration+".sql").Funcs(template.FuncMap{
		"table": same, "on_cluster": func() string { return "" }, "narrow": narrow,
	}).ParseFS(sqlFiles, "sql/migrations/"+trailMigration+".sql")
	if err != nil {
		return "", fmt.Errorf("trail: %w", err)
	}
	var text strings.Builder
	if err := tmpl.Execute(&text, nil); err != nil {
		return "", fmt.Errorf("trail: %w", err)
	}
	_, query, _ := strings.Cut(text.String(), " AS\n")
	return query, nil
}

func (q narrowed) parameters() []any {
	limit := q.Limit
	if limit == 0 {
		limit = 1<<63 - 1
	}
	return []any{
		clickhouse.Named("since", strconv.FormatInt(q.Since.UnixMicro(), 10)),
		clickhouse.Named("until", strconv.FormatInt(q.Until.UnixMicro(), 10)),
		clickhouse.Named("hour", seconds(q.Since.Truncate(time.Hour))),
		clickhouse.Named("identity", likePattern(q.Identity)),
		clickhouse.Named("client", q.Client),
		clickhouse.Named("run", q.Run),
		clickhouse.Named("commit", strings.ToLower(q.Commit)),
		clickhouse.Named("author", likePattern(q.Author)),
		clickhouse.Named("token", q.Token),
		clickhouse.Named("grade", q.Grade),
		clickhouse.Named("some", strconv.Itoa(someKeys)),
		clickhouse.Named("hours", q.hours),
		clickhouse.Named("subjects", q.subjects),
		clickhouse.Named("callers", q.callers),
		clickhouse.Named("exact_path", q.Path),
		clickhouse.Named("path", pathPattern(q.Path)),
		clickhouse.Named("decision", q.Decision),
		clickhouse.Named("limit", strconv.FormatUint(limit, 10)),
	}
}

// likePattern turns a value with * for "anything" into a LIKE pattern.
func likePattern(glob string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`).Replace(glob)
}

// pathPattern matches what is below a path, or what a * in it stands for.
func pathPattern(path string) string {
	if strings.Contains(path, "*") {
		return likePattern(path)
	}
	return likePattern(strings.TrimSuffix(path, "/")) + "/%"
}

// queryText renders sql/query/NAME.sql for the given columns and filters.
// Values never enter the text: they are parameters of the query.
func queryText(name string, columns []string, filters any) (string, error) {
	list := func() string { return strings.Join(columns, ", ") }
	tmpl, err := template.New(name).Funcs(template.FuncMap{"columns": list, "network": network}).ParseFS(sqlFiles, "sql/query/*.sql")
	if err != nil {
		return "", fmt.Errorf("query %s: %w", name, err)
	}
	var text strings.Builder
	if err := tmpl.ExecuteTemplate(&text, name+".sql", filters); err != nil {
		return "", fmt.Errorf("query %s: %w", name, err)
	}
	return text.String(), nil
}

// CountRequests counts the requests since a time.
func (s *Store) CountRequests(ctx context.Context, since time.Time) (n uint64, err error) {
	err = s.conn.QueryRow(ctx, "SELECT count() FROM requests WHERE time >= fromUnixTimestamp64Micro({since:Int64})",
		clickhouse.Named("since", strconv.FormatInt(since.UnixMicro(), 10))).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count requests: %w", err)
	}
	return n, nil
}
