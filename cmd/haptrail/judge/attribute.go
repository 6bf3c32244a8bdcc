package judge

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
	"github.com/haptrail/haptrail/schema"
)

// Bounds of what is in memory, and in one statement, at a time.
const (
	chunkUses = 20_000
	chunkRuns = 500
	// manyRuns are so many that every use of their time is judged again, whose-ever it is.
	manyRuns = 2000
)

// affected are queries for the uses that runs may matter to: those that name one or
// were tied to one so far, and those of their principals while they were going on.
// Runs of about one time share a query.
func affected(runs []schema.Run, floor time.Time, slack time.Duration) (queries []schema.UsesQuery) {
	slices.SortFunc(runs, func(a, b schema.Run) int { return begun(a).Compare(begun(b)) })
	var old, recent []schema.Run // that ended before the floor, and others
	for _, r := range runs {
		if !r.FinishedAt.IsZero() && r.FinishedAt.Add(slack).Before(floor) {
			old = append(old, r)
		} else {
			recent = append(recent, r)
		}
	}
	for chunk := range slices.Chunk(old, chunkRuns) {
		queries = append(queries, affectedBy(chunk, floor, slack))
	}
	size := chunkRuns
	if len(recent) > manyRuns {
		size = len(recent)
	}
	for chunk := range slices.Chunk(recent, size) {
		q := affectedBy(chunk, floor, slack)
		if len(chunk) > manyRuns {
			q.Runs, q.Principals = nil, nil
		}
		queries = append(queries, q)
	}
	return queries
}

func affectedBy(runs []schema.Run, floor time.Time, slack time.Duration) schema.UsesQuery {
	q := schema.UsesQuery{From: farFuture, Until: farFuture, PrincipalsFrom: farFuture}
	for _, r := range runs {
		// A run may be named long before it begins, by a clock that is far behind, and
		// long after its end: that proves, or contradicts, all the same.
		from := begun(r).Add(-slack)
		q.Runs, q.From = append(q.Runs, r.Run), earlier(q.From, later(from.Add(-earlyUse), floor))
		if r.Principal == "" {
			continue
		}
		ended := farFuture
		if !r.FinishedAt.IsZero() {
			ended = r.FinishedAt.Add(slack)
		}
		q.Principals = append(q.Principals, r.Principal)
		q.PrincipalsFrom, q.PrincipalsUntil = earlier(q.PrincipalsFrom, later(from, floor)), later(q.PrincipalsUntil, ended)
	}
	slices.Sort(q.Principals)
	q.Principals = slices.Compact(q.Principals)
	return q
}

// earlyUse is how long before its beginning a run may be named and is looked up
// again when it changes.
const earlyUse = 24 * time.Hour

// begun is the first time that is known of a run: what comes before it is none of
// its. Clocks may have it end before it starts.
func begun(r schema.Run) time.Time {
	first := r.Said
	for _, t := range []time.Time{r.QueuedAt, r.StartedAt, r.FinishedAt} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// judge has every use that the query picks judged, and stores the verdicts that are
// new or changed. visit, which may be nil, sees each use.
func (j *Judge) judge(ctx context.Context, q schema.UsesQuery, visit func(*schema.Use)) (changed int, err error) {
	var chunk []schema.Use
	flush := func() error {
		n, err := j.attribute(ctx, chunk)
		changed, chunk = changed+n, chunk[:0]
		return err
	}
	err = j.Store.Uses(ctx, q, func(u *schema.Use) error {
		if visit != nil {
			visit(u)
		}
		if chunk = append(chunk, *u); len(chunk) < chunkUses {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return changed, wrap("attribute", err)
}

// attribute judges some uses by the runs that matter to them.
func (j *Judge) attribute(ctx context.Context, uses []schema.Use) (changed int, err error) {
	if len(uses) == 0 {
		return 0, nil
	}
	runs, err := j.runsOf(ctx, uses)
	if err != nil {
		return 0, err
	}
	index := attribute.NewIndex(runs)
	options := attribute.Options{Slack: j.slack()}
	now := time.Now().UTC()
	var rows []schema.Attribution
	var changes []schema.Reattribution
	for i := range uses {
		use := useOf(&uses[i])
		row := attributionOf(&uses[i], attribute.Attribute(use, index.For(use, j.slack()), options))
		if row.Digest == uses[i].Digest && uses[i].Revision > 0 {
			continue
		}
		row.AttributedAt = now
		if uses[i].Revision > 0 && row.Verdict != uses[i].Verdict {
			row.Was, row.WasUntil = uses[i].Verdict, now
			changes = append(changes, schema.Reattribution{
				AttributedAt: now, Hour: row.Hour, Subject: row.Subject, Caller: row.Caller,
				Revision: row.Revision, Was: row.Was, Verdict: row.Verdict,
			})
		}
		rows = append(rows, row)
	}
	if err := j.Store.InsertAttributions(ctx, rows, changes); err != nil {
		return 0, err
	}
	j.Metrics.attributed(rows, len(changes))
	return len(rows), nil
}

// runsOf are the runs that matter to uses.
func (j *Judge) runsOf(ctx context.Context, uses []schema.Use) ([]attribute.Run, error) {
	q := schema.RunsQuery{From: farFuture}
	names, principals := map[string]bool{}, map[string]bool{}
	for i := range uses {
		u := &uses[i]
		names[u.Run], names[u.ClaimedRun] = true, true
		if u.Run == "" {
			principals[u.Subject] = true
		}
		q.From, q.Until = earlier(q.From, u.First.Add(-j.slack())), later(q.Until, u.Last.Add(j.slack()))
	}
	delete(names, "")
	q.RunIDs, q.Principals = keys(names), keys(principals)
	rows, err := j.Store.RunsOf(ctx, q)
	if err != nil {
		return nil, err
	}
	runs := make([]attribute.Run, len(rows))
	for i := range rows {
		runs[i] = runOf(&rows[i])
	}
	return runs, nil
}

func useOf(u *schema.Use) attribute.Use {
	return attribute.Use{
		Provider: u.Provider, Issuer: u.Issuer, Subject: u.Subject, TokenID: u.TokenID,
		Project: u.Project, Job: u.Job, Run: u.Run, Attempt: u.RunAttempt, Ref: u.Ref, Commit: u.Commit,
		Actor: u.Actor, Runner: u.Runner, ClaimedRun: u.ClaimedRun, First: u.First, Last: u.Last,
	}
}

func runOf(r *schema.Run) attribute.Run {
	return attribute.Run{
		Provider: r.Provider, Project: r.Project, ID: r.Run, Attempt: r.RunAttempt, Job: r.Job, Name: r.Name,
		Ref: r.Ref, Commit: r.Commit, Status: r.Status, Trigger: r.Trigger, Actor: r.Actor, Agent: r.Agent,
		Principal: r.Principal, Approver: r.Approver, Queued: r.QueuedAt, Started: r.StartedAt, Finished: r.FinishedAt,
	}
}

// attributionOf is the row of a use and its verdicts, one revision on.
func attributionOf(u *schema.Use, verdicts []attribute.Verdict) schema.Attribution {
	row := schema.Attribution{
		Hour: u.Hour, Subject: u.Subject, Caller: u.Caller, Provider: u.Provider, TokenID: u.TokenID,
		ClaimedRun: u.ClaimedRun, Was: u.Was, WasUntil: u.WasUntil, Revision: u.Revision + 1,
	}
	digest := sha256.New()
	var words []string
	for i := range verdicts {
		v := &verdicts[i]
		candidates := strings.Join(v.Candidates, " ")
		row.Froms = append(row.Froms, v.From)
		row.Grades = append(row.Grades, v.Grade.String())
		row.Projects = append(row.Projects, v.Project)
		row.Jobs = append(row.Jobs, v.Job)
		row.Runs = append(row.Runs, v.Run)
		row.Attempts = append(row.Attempts, v.Attempt)
		row.Refs = append(row.Refs, v.Ref)
		row.Commits = append(row.Commits, v.Commit)
		row.Actors = append(row.Actors, v.Actor)
		row.Agents = append(row.Agents, v.Agent)
		row.Approvers = append(row.Approvers, v.Approver)
		row.Candidates = append(row.Candidates, candidates)
		row.Whys = append(row.Whys, v.Why)
		row.Contradictions = append(row.Contradictions, v.Contradiction)
		words = append(words, strings.TrimSpace(v.Grade.String()+" "+v.Run))
		from := v.From.UnixMicro()
		if i == 0 {
			from = 0 // an earlier request of the same hour makes it no other judgement
		}
		fmt.Fprintf(digest, "%d %d %d %q\n", from, v.Grade, v.Attempt, []string{v.Project, v.Job, v.Run, v.Ref, v.Commit,
			v.Actor, v.Agent, v.Approver, candidates, v.Why, v.Contradiction})
	}
	row.Digest = max(1, binary.LittleEndian.Uint64(digest.Sum(nil)))
	row.Verdict = strings.Join(slices.Compact(words), ", then ")
	return row
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
