package judge

import (
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/schema"
)

// Bounds of a look.
const (
	// history is how far back the past goes at least that new uses are compared with.
	history = 90 * 24 * time.Hour
	// maxActivity is about how much of it is in memory at a time.
	maxActivity = 50_000
)

// look makes findings of what is new since the look before, and of what was judged
// otherwise since. Much of it is looked at in slices, identity by identity: no
// finding is about two of them.
func (j *Judge) look(ctx context.Context) error {
	began := time.Now()
	since, err := j.lookSince(ctx)
	if err != nil {
		return err
	}
	w := window{store: j.Store, policy: *j.Policy, until: began.UTC(), query: j.lookQuery(since, began)}
	slices, err := w.slices(ctx)
	if err != nil {
		return wrap("findings", err)
	}
	for slice := range slices {
		if err := w.load(ctx, slices, slice); err != nil {
			return wrap("findings", err)
		}
		found := finding.Look(w.in, w.policy)
		rows, err := findingRows(found, began)
		if err != nil {
			return wrap("findings", err)
		}
		if err := j.Store.InsertFindings(ctx, rows); err != nil {
			return wrap("findings", err)
		}
		if j.Found != nil {
			j.Found(found)
		}
		if err := w.remember(ctx); err != nil {
			return wrap("findings", err)
		}
		j.Metrics.looked(len(w.in.Uses), found)
	}
	j.lookedTo, j.looked = began, began
	return wrap("findings", j.Store.SaveCursor(ctx, lookCursor, began.UTC().Format(time.RFC3339Nano), began))
}

// lookCursor is under which name the place is kept that looks have come to. No
// source of CI facts can have it.
const lookCursor = "/findings"

// lookSince is up to where looks have come.
func (j *Judge) lookSince(ctx context.Context) (time.Time, error) {
	if j.lookedTo.IsZero() {
		text, err := j.Store.Cursor(ctx, lookCursor)
		if err != nil {
			return time.Time{}, wrap("findings", err)
		}
		if j.lookedTo, err = time.Parse(time.RFC3339Nano, text); err != nil {
			j.lookedTo = time.Now().Add(-j.lookBack()) // "" the first time
		}
	}
	return j.lookedTo, nil
}

// lookQuery picks what was received since the look before, and once more what has
// settled since then: of what is new, a CI server may have yet to tell.
func (j *Judge) lookQuery(since, now time.Time) schema.ActivityQuery {
	settle := time.Duration(j.Policy.Settle)
	if settle == 0 {
		settle = time.Duration(finding.DefaultPolicy().Settle)
	}
	since = since.Add(-overlap)
	return schema.ActivityQuery{
		Since: since, SettledFrom: since.Add(-settle), SettledUntil: now.Add(-settle),
		From: now.Add(-max(reach(*j.Policy), j.lookBack())), Nobody: len(j.Policy.Protected) > 0,
	}
}

// reach is how far back the past goes: to before the silence of whoever is asleep.
func reach(p finding.Policy) time.Duration {
	return max(history, 2*time.Duration(p.DormantAfter))
}

func findingUse(a *schema.Activity) finding.Use {
	return finding.Use{
		Use: attribute.Use{
			Provider: a.Provider, Issuer: a.Issuer, Subject: a.Subject, TokenID: a.TokenID,
			Project: a.Project, Job: a.Job, Run: a.Run, Attempt: a.RunAttempt, Ref: a.Ref, Commit: a.Commit,
			Actor: a.Actor, Runner: a.Runner, ClaimedRun: a.ClaimedRun, First: a.First, Last: a.Last,
		},
		KeyID: a.KeyID, Audience: a.Audience, IssuedAt: a.IssuedAt, ExpiresAt: a.ExpiresAt,
		Verdict: attribute.Verdict{
			From: a.First, Grade: grade(a.Grade), Project: a.OfProject, Job: a.OfJob, Run: a.OfRun, Attempt: a.OfAttempt,
			Ref: a.OfRef, Commit: a.OfCommit, Actor: a.OfActor, Agent: a.OfAgent, Approver: a.Approver,
			Candidates: strings.Fields(a.Candidates), Why: a.Why, Contradiction: a.Contradiction,
		},
		Backend: a.Backend, Role: a.Role, Method: a.Method, Host: a.Host, Endpoint: a.Endpoint,
		Decision: a.Decision, Network: network(a.Network), Requests: a.Requests, Received: a.Received,
	}
}

// network is what is kept of a client's address; invalid where that is nothing.
func network(first netip.Addr) netip.Prefix {
	if first.IsUnspecified() {
		return netip.Prefix{}
	}
	bits := 56
	if first.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(first, bits)
}

func grade(word string) attribute.Grade {
	for g := attribute.Proven; g > attribute.None; g-- {
		if g.String() == word {
			return g
		}
	}
	return attribute.None
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func set(list []string) map[string]bool {
	m := map[string]bool{}
	for _, v := range list {
		m[v] = true
	}
	return m
}

// findingRows are findings as the table has them.
func findingRows(found []finding.Finding, now time.Time) ([]schema.FindingRow, error) {
	rows := make([]schema.FindingRow, len(found))
	for i := range found {
		f := &found[i]
		evidence, err := json.Marshal(f.Evidence)
		if err != nil {
			return nil, err
		}
		rows[i] = schema.FindingRow{
			Key: f.Key, Kind: f.Kind, Severity: f.Severity.String(), Title: f.Title, Text: f.Text, Action: f.Action,
			Provider: f.Provider, Issuer: f.Issuer, Identity: f.Subject, Project: f.Project, Run: f.Run, Commit: f.Commit,
			TokenID: f.Token, Backend: f.Backend, First: f.First, Last: f.Last, Requests: f.Requests,
			Evidence: schema.JSONText(evidence), Found: now.UTC(), Updated: now.UTC(),
		}
	}
	return rows, nil
}
