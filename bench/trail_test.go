package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/judge"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

var requestCount = flag.Int("requests", 2_000_000, "how many requests BenchmarkTrail has: half of them in one hour, half in the week before; 20000000 is what the README's figures are of")

// history is a store with a busy CI's requests, runs and commits.
//
// Of n requests n/2 are of one hour, n/2 of the seven days before it. A run has 125
// in the week and 500 in the hour, beside those of 39 others; every third is of
// TeamCity, whose tokens name their run, of Space with the header, and of Space
// without. 300 identities; half as many commits as runs.
type history struct {
	store    *schema.Store
	requests int
	hour     time.Time
}

func (h *history) runs() int { return h.requests/2/125 + h.requests/2/500 }

// openHistory makes the tables' content, or takes what a run before this one left
// in -data.
func openHistory(b *testing.B) *history {
	schematest.NeedEngine(b)
	dir := filepath.Join(*dataDir, fmt.Sprintf("history-%d", *requestCount))
	h := &history{requests: *requestCount, hour: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)}
	_, err := os.Stat(dir)
	made := err == nil
	if h.store, err = schema.Open(b.Context(), "embedded:"+dir, schema.Options{Owner: true}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.store.Close() })
	if made {
		return h
	}
	if _, err := h.store.Migrate(b.Context(), ""); err != nil {
		b.Fatal(err)
	}
	for _, sql := range h.statements() {
		if err := h.store.Conn().Exec(b.Context(), sql); err != nil {
			os.RemoveAll(dir)
			b.Fatalf("%v\n%s", err, sql)
		}
	}
	return h
}

// statements make the rows. run, start and gap are by a request's number: which
// run it is of, and when.
func (h *history) statements() []string {
	week, peak, runsOfWeek := h.requests/2, h.requests/2, h.requests/2/125
	const request = `INSERT INTO requests (time, received, proxy, source, frontend, backend, server, client_ip, method, host, path, endpoint,
	status, bytes_read, active_ms, provider, issuer, subject, token_id, key_id, issued_at, expires_at, project, job, run, commit, ref, runner, role, decision, reason, claimed_run)
SELECT time, toDateTime(time), 'edge-1', 'tcp/10.0.0.1', 'www', concat('be', toString(hash %% 12)), 's1', toIPv6(concat('10.1.', toString(of %% 200), '.7')), 'GET',
	'packages.example.com', concat('/packages/npm/p', toString(hash %% 5000), '/x.tgz'), concat('/packages/npm/{name}/', toString(hash %% 12)), 200, 1000 + hash %% 90000, hash %% 300,
	%[1]s AS provider, concat('https://', provider, '.example.com'), concat('sa-', toString(of %% 300)), lower(hex(MD5(concat('token', toString(of))))), 'k1',
	toDateTime(time), toDateTime(time) + 3600, concat('project-', toString(of %% 300)), concat('job-', toString(of %% 300)), of %% 3 = 0 ? toString(4000000 + of) : '',
	of %% 3 = 0 ? %[2]s : '', 'refs/heads/main', concat('agent-', toString(of %% 60)), 'builder', 'allow', 'ok', of %% 3 = 1 ? toString(4000000 + of) : ''
FROM (SELECT fromUnixTimestamp64Micro(%[3]d + toInt64(number * %[4]f)) AS time, %[5]d + intDiv(number, 40 * %[6]d) * 40 + cityHash64(number) %% 40 AS of, cityHash64(number, 1) AS hash FROM numbers(%[7]d))
SETTINGS max_insert_threads = 1, min_insert_block_size_rows = 100000, max_block_size = 100000`
	const (
		provider = "multiIf(of % 3 = 0, 'teamcity', 'space')"
		commit   = "lower(hex(SHA1(toString(intDiv(of, 2)))))"
	)
	weekGap, peakGap := 7*24*3600e6/float64(week), 3600e6/float64(peak)
	from := h.hour.Add(-7 * 24 * time.Hour)
	run := func(first, runs, each int, from time.Time, gap float64) string {
		return fmt.Sprintf(`INSERT INTO ci_runs (provider, project, run, run_attempt, job, ref, commit, status, principal, agent, queued_at, started_at, finished_at, said)
SELECT %s, concat('project-', toString(of %% 300)), toString(4000000 + of), 1, concat('job-', toString(of %% 300)), 'refs/heads/main', %s, 'succeeded', concat('sa-', toString(of %% 300)),
	concat('agent-', toString(of %% 60)), started_at, fromUnixTimestamp64Milli(%d + toInt64(intDiv(number, 40) * %[5]f)) AS started_at, fromUnixTimestamp64Milli(%[4]d + toInt64((intDiv(number, 40) + 1) * %[5]f)) AS finished_at, finished_at
FROM (SELECT number, %[6]d + number AS of FROM numbers(%[7]d))`, provider, commit, from.UnixMilli(), from.UnixMilli(), gap*float64(40*each)/1000, first, runs)
	}
	return []string{
		fmt.Sprintf(request, provider, commit, from.UnixMicro(), weekGap, 0, 125, week),
		fmt.Sprintf(request, provider, commit, h.hour.UnixMicro(), peakGap, runsOfWeek, 500, peak),
		run(0, runsOfWeek, 125, from, weekGap),
		run(runsOfWeek, h.runs()-runsOfWeek, 500, h.hour, peakGap),
		fmt.Sprintf(`INSERT INTO ci_commits (commit, repository, author, author_email, committed_at, subject, signature, said)
SELECT lower(hex(SHA1(toString(number)))), 'shop', concat('Author ', toString(number %% 200)), concat('author', toString(number %% 200), '@example.com'), now64(3), 'a change', (now64(3), 'verified'), now64(3)
FROM numbers(%d)`, h.runs()/2),
	}
}

// attribute judges all of it where that was not done, and then the hour once more.
func (h *history) attribute(b *testing.B) {
	j := &judge.Judge{Store: h.store, LookBack: 100 * 365 * 24 * time.Hour}
	began := time.Now()
	if err := j.Once(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-first")
	if err := h.store.Conn().Exec(b.Context(), "OPTIMIZE TABLE attributions FINAL"); err != nil {
		b.Fatal(err)
	}
	began = time.Now()
	if _, err := j.Again(b.Context(), h.hour, h.hour.Add(time.Hour)); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-hour-again")
}

// BenchmarkTrail asks of a history what people ask, twenty times each with other
// values. What it reports are milliseconds: median and the worst.
func BenchmarkTrail(b *testing.B) {
	h := openHistory(b)
	b.Run("attribute", func(b *testing.B) { h.attribute(b) })
	var uses uint64
	if err := h.store.Conn().QueryRow(b.Context(), "SELECT count() FROM attributions FINAL").Scan(&uses); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d requests, %d runs, %d commits, %d uses", h.requests, h.runs(), h.runs()/2, uses)
	of := func(i int) int { return (i + 1) * (h.runs() / 21) }
	text := func(sql string, i int) (s string) {
		if err := h.store.Conn().QueryRow(b.Context(), fmt.Sprintf(sql, i)).Scan(&s); err != nil {
			b.Fatal(err)
		}
		return s
	}
	far := h.hour.AddDate(1, 0, 0)
	for _, c := range []struct {
		name  string
		query func(i int) schema.TrailQuery
	}{
		{"commit", func(i int) schema.TrailQuery {
			return schema.TrailQuery{Until: far, Commit: text("SELECT lower(hex(SHA1('%d')))", of(i)/2), Limit: 50}
		}},
		{"run", func(i int) schema.TrailQuery {
			return schema.TrailQuery{Until: far, Run: fmt.Sprint(4000000 + of(i)), Limit: 50}
		}},
		{"author", func(i int) schema.TrailQuery {
			return schema.TrailQuery{Until: far, Author: fmt.Sprintf("Author %d", i), Limit: 50}
		}},
		{"token", func(i int) schema.TrailQuery {
			return schema.TrailQuery{Until: far, Token: text("SELECT lower(hex(MD5('token%d')))", of(i)), Limit: 50}
		}},
		{"identity-24h", func(i int) schema.TrailQuery {
			return schema.TrailQuery{Since: h.hour.Add(-23 * time.Hour), Until: h.hour.Add(time.Hour), Identity: fmt.Sprintf("sa-%d", i), Limit: 50}
		}},
		{"path-24h", func(i int) schema.TrailQuery {
			return schema.TrailQuery{Since: h.hour.Add(-23 * time.Hour), Until: h.hour.Add(time.Hour), Path: fmt.Sprintf("/packages/npm/p%d", i), Limit: 50}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var took []float64
			for range b.N {
				for i := range 20 {
					q := c.query(i)
					began := time.Now()
					if n := countTrail(b.Context(), b, h.store, q); n == 0 {
						b.Fatalf("%+v: no rows", q)
					}
					took = append(took, float64(time.Since(began).Microseconds())/1000)
				}
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2], "ms-median")
			b.ReportMetric(took[len(took)-1], "ms-worst")
		})
	}
}

func countTrail(ctx context.Context, b *testing.B, store *schema.Store, q schema.TrailQuery) (n int) {
	if err := store.Trail(ctx, q, func(*schema.TrailRow) error { n++; return nil }); err != nil {
		b.Fatal(err)
	}
	return n
}
