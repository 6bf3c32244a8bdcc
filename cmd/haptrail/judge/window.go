package judge

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/schema"
)

// window loads what detectors look at, a slice of the identities at a time.
type window struct {
	store  *schema.Store
	policy finding.Policy
	until  time.Time // up to when CI facts are in
	query  schema.ActivityQuery

	from time.Time // how far back the past goes, from the slice's first use

	in  finding.Input                // of the slice
	new map[finding.Access]time.Time // accesses that nothing was known of, or not so early
}

// slices are so many that each fits into memory.
func (w *window) slices(ctx context.Context) (uint32, error) {
	var rows uint64
	for _, w.query.Rejudged = range []bool{false, true} {
		n, err := w.store.CountActivity(ctx, w.query)
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return uint32((rows + maxActivity - 1) / maxActivity), nil
}

// load fills the input with a slice.
func (w *window) load(ctx context.Context, slices, slice uint32) error {
	w.in, w.new = finding.Input{Until: w.until}, nil
	w.query.Slices, w.query.Slice = slices, slice
	for _, w.query.Rejudged = range []bool{false, true} {
		err := w.store.Activity(ctx, w.query, func(a *schema.Activity) error {
			w.in.Uses = append(w.in.Uses, findingUse(a))
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(w.in.Uses) == 0 {
		return nil
	}
	w.from = w.until
	for i := range w.in.Uses {
		w.from = earlier(w.from, w.in.Uses[i].First)
	}
	w.from = w.from.Add(-reach(w.policy))
	for _, part := range []func(context.Context) error{w.past, w.endpoints, w.tokens, w.deploys, w.facts} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// remember stores what later looks compare with. It comes after the findings: what
// is new is new again after a crash in between.
func (w *window) remember(ctx context.Context) error {
	var seen []schema.FirstSeen
	for a, first := range w.new {
		seen = append(seen, schema.FirstSeen{Provider: a.Identity.Provider, Subject: a.Identity.Subject, Method: a.Method, Endpoint: a.Endpoint, First: first})
	}
	return w.store.InsertFirstSeen(ctx, seen)
}

// subjects are those of the uses, with the first of each one's.
func (w *window) subjects() map[string]time.Time {
	first := map[string]time.Time{}
	for i := range w.in.Uses {
		u := &w.in.Uses[i]
		if t, ok := first[u.Subject]; !ok || u.First.Before(t) {
			first[u.Subject] = u.First
		}
	}
	return first
}

func (w *window) past(ctx context.Context) error {
	rows, err := w.store.PastOf(ctx, w.from, w.subjects())
	if err != nil {
		return err
	}
	w.in.Identities = map[finding.Identity]finding.Past{}
	for _, p := range rows {
		w.in.Identities[finding.Identity{Provider: p.Provider, Subject: p.Subject}] = finding.Past{First: p.First, Last: p.Last, Endpoints: int(p.Endpoints)}
	}
	if w.in.Since, err = w.store.History(ctx); err != nil {
		return err
	}
	if w.in.Since.IsZero() { // nothing was looked at before this
		w.in.Since = farFuture
		for i := range w.in.Uses {
			w.in.Since = earlier(w.in.Since, w.in.Uses[i].First)
		}
	}
	w.in.Since = later(w.in.Since, w.from)
	return nil
}

func (w *window) endpoints(ctx context.Context) error {
	endpoints := map[string]bool{}
	w.in.Endpoints = map[finding.Access]time.Time{}
	see := func(a finding.Access, at time.Time) {
		if first, ok := w.in.Endpoints[a]; !ok || at.Before(first) {
			w.in.Endpoints[a] = at
		}
	}
	for i := range w.in.Uses {
		u := &w.in.Uses[i]
		if u.Subject == "" {
			continue // nobody is new nowhere
		}
		endpoints[u.Endpoint] = true
		see(finding.Access{Identity: finding.Identity{Provider: u.Provider, Subject: u.Subject}, Method: u.Method, Endpoint: u.Endpoint}, u.First)
	}
	rows, err := w.store.FirstSeenAt(ctx, keys(w.subjects()), keys(endpoints))
	if err != nil {
		return err
	}
	w.new = maps.Clone(w.in.Endpoints)
	for _, r := range rows {
		a := finding.Access{Identity: finding.Identity{Provider: r.Provider, Subject: r.Subject}, Method: r.Method, Endpoint: r.Endpoint}
		if first, ok := w.new[a]; ok && !r.First.After(first) {
			delete(w.new, a)
		}
		see(a, r.First)
	}
	return nil
}

func (w *window) tokens(ctx context.Context) error {
	ids := map[string]bool{}
	for i := range w.in.Uses {
		if id := w.in.Uses[i].TokenID; id != "" {
			ids[id] = true
		}
	}
	rows, err := w.store.TokenUses(ctx, w.from, keys(ids))
	if err != nil {
		return err
	}
	w.in.Tokens = map[finding.Token]finding.TokenPast{}
	for _, r := range rows {
		token := finding.Token{Issuer: r.Issuer, ID: r.TokenID}
		past := w.in.Tokens[token]
		switch r.Kind {
		case "network":
			a, err := netip.ParseAddr(r.Value)
			if err != nil {
				return err
			}
			past.Networks = append(past.Networks, finding.Seen[netip.Prefix]{Value: network(a.Unmap()), First: r.First, Last: r.Last, Requests: r.Requests})
		case "claimed":
			past.Claimed = append(past.Claimed, finding.Seen[finding.RunID]{Value: finding.RunID{ID: r.Value}, First: r.First, Last: r.Last, Requests: r.Requests})
		default:
			past.Attributed = append(past.Attributed, finding.Seen[finding.RunID]{
				Value: finding.RunID{Project: r.Project, ID: r.Value}, First: r.First, Last: r.Last, Requests: r.Requests, Grade: grade(r.Grade),
			})
		}
		w.in.Tokens[token] = past
	}
	return nil
}

// deploys are those of the identities that have deployed in this window: others'
// make no finding now. They are remembered at once, so that these are among them.
func (w *window) deploys(ctx context.Context) error {
	subjects := map[string]bool{}
	var rows []schema.Deploy
	for i := range w.in.Uses {
		u := &w.in.Uses[i]
		if !w.policy.Deploys(u) {
			continue
		}
		d := schema.Deploy{Provider: u.Provider, Subject: u.Subject, Issuer: u.Issuer, TokenID: u.TokenID, KeyID: u.KeyID, First: u.First}
		if u.Verdict.Grade > attribute.Ambiguous {
			d.Project, d.Run = u.Verdict.Project, u.Verdict.Run
		} else {
			d.Hour = u.First.Truncate(time.Hour)
		}
		subjects[u.Subject], rows = true, append(rows, d)
	}
	if len(rows) == 0 {
		return nil
	}
	if err := w.store.InsertDeploys(ctx, rows); err != nil {
		return err
	}
	rows, err := w.store.DeploysOf(ctx, w.from, keys(subjects))
	if err != nil {
		return err
	}
	w.in.Deploys = map[finding.Identity][]finding.Deploy{}
	for _, d := range rows {
		id := finding.Identity{Provider: d.Provider, Subject: d.Subject}
		w.in.Deploys[id] = append(w.in.Deploys[id], finding.Deploy{
			Run: finding.RunID{Project: d.Project, ID: d.Run}, Token: finding.Token{Issuer: d.Issuer, ID: d.TokenID}, KeyID: d.KeyID, At: d.First,
		})
	}
	return nil
}

// facts are the CI servers': runs, commits, accounts.
func (w *window) facts(ctx context.Context) error {
	runs, commits := map[string]bool{}, map[string]bool{}
	for i := range w.in.Uses {
		u := &w.in.Uses[i]
		runs[u.Run], runs[u.Verdict.Run], runs[u.ClaimedRun] = true, true, true
		commits[u.Verdict.Commit], commits[strings.ToLower(u.Commit)] = true, true
	}
	for _, t := range w.in.Tokens {
		for _, s := range slices.Concat(t.Claimed, t.Attributed) {
			runs[s.Value.ID] = true
		}
	}
	delete(runs, "")
	delete(commits, "")
	if err := w.runs(ctx, keys(runs)); err != nil {
		return err
	}
	if err := w.commits(ctx, keys(commits)); err != nil {
		return err
	}
	return w.principals(ctx, keys(w.subjects()))
}

func (w *window) runs(ctx context.Context, ids []string) error {
	runs, err := w.store.RunsOf(ctx, schema.RunsQuery{RunIDs: ids})
	if err != nil {
		return err
	}
	for i := range runs {
		w.in.Runs = append(w.in.Runs, runOf(&runs[i]))
	}
	return nil
}

func (w *window) commits(ctx context.Context, shas []string) error {
	w.in.Commits = map[string]finding.Commit{}
	commits, err := w.store.CommitsOf(ctx, shas)
	if err != nil {
		return err
	}
	for _, c := range commits {
		w.in.Commits[c.Commit] = finding.Commit{SHA: c.Commit, Repository: c.Repository, Author: c.Author, Signature: c.Signature}
	}
	return nil
}

func (w *window) principals(ctx context.Context, subjects []string) error {
	principals, err := w.store.PrincipalsOf(ctx, subjects)
	if err != nil {
		return err
	}
	credentials, err := w.store.CredentialsOf(ctx, subjects)
	if err != nil {
		return err
	}
	w.in.Principals = map[finding.Identity]finding.Principal{}
	for _, p := range principals {
		w.in.Principals[finding.Identity{Provider: p.Provider, Subject: p.Subject}] = finding.Principal{
			Name: p.Name, Owner: p.Owner, OwnerNotTold: !p.OwnerTold, Project: p.Project, Archived: p.Archived,
		}
	}
	for _, c := range credentials {
		id := finding.Identity{Provider: c.Provider, Subject: c.Subject}
		p, told := w.in.Principals[id]
		if !told {
			continue // an account of which nothing else is known is none that nobody owns
		}
		p.Credentials = append(p.Credentials, finding.Credential{ID: c.ID, Kind: c.Kind, Created: c.CreatedAt, LastUsed: c.LastUsedAt})
		w.in.Principals[id] = p
	}
	telling, ofCommits, err := w.store.Tells(ctx)
	w.in.TellsPrincipals, w.in.TellsCommits = set(telling), set(ofCommits)
	return err
}
