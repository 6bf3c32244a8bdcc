package ci

import (
	"context"
	"time"

	"github.com/haptrail/haptrail/schema"
)

// batchFacts is with how many facts a batch is full, and callers wait: some seconds
// of all that webhooks can bring.
const batchFacts = 50_000

// Tables keeps facts and cursors in haptrail's tables: a Store and Cursors. The
// engine merges facts as Merge does, so that a crash in the middle of an insert is
// clean: whatever part of it was stored, to say it again changes nothing.
//
// Callers that come while an insert is on its way are inserted together after it.
type Tables struct {
	store *schema.Store
	group *group
}

// NewTables keeps facts in the tables of store. It stays the caller's to close,
// after the last call has returned: nothing goes on after that.
func NewTables(store *schema.Store) *Tables {
	return &Tables{store: store, group: newGroup(batchFacts, func(ctx context.Context, facts []Fact) error {
		return newRows(facts).insert(ctx, store)
	})}
}

// Apply is Store's. It returns when its own facts are stored, or with the error of
// the insert that had them among others. When ctx ends they may be stored all the
// same. A fact that names nothing could never be found again, and is left out.
func (t *Tables) Apply(ctx context.Context, facts []Fact) error { return t.group.apply(ctx, facts) }

// Load is Cursors'.
func (t *Tables) Load(ctx context.Context, source string) (string, error) {
	return t.store.Cursor(ctx, source)
}

// Save is Cursors'.
func (t *Tables) Save(ctx context.Context, source, cursor string) error {
	return t.store.SaveCursor(ctx, source, cursor, time.Now())
}

// rows are facts as the tables take them, those of one thing merged.
type rows struct {
	runs        []schema.Run
	commits     []schema.Commit
	principals  []schema.PrincipalFact
	credentials []schema.Credential
}

// newRows merges facts. Their times are made as coarse as the tables' before: two
// that differ there by nothing must not differ here, or what is said last would
// depend on which facts came in one batch.
func newRows(facts []Fact) rows {
	var (
		runs       merging[runKey, Run]
		commits    merging[[2]string, Commit]
		principals merging[[2]string, Principal]
		r          rows
	)
	for _, fact := range facts {
		switch {
		case fact.Run != nil && fact.Run.ID != "":
			run := coarseRun(*fact.Run)
			runs.add(runKey{run.Provider, run.Project, run.ID, run.Attempt}, run)
		case fact.Commit != nil && fact.Commit.SHA != "":
			commit := coarseCommit(*fact.Commit)
			commits.add([2]string{commit.SHA, commit.Repository}, commit)
		case fact.Principal != nil && fact.Principal.Subject != "":
			principal := coarsePrincipal(*fact.Principal)
			principals.add([2]string{principal.Provider, principal.Subject}, principal)
		}
	}
	for _, run := range runs.merged {
		r.runs = append(r.runs, runRow(run))
	}
	for _, commit := range commits.merged {
		r.commits = append(r.commits, commitRow(commit))
	}
	for _, principal := range principals.merged {
		r.principals = append(r.principals, principalRow(principal))
		r.credentials = append(r.credentials, credentialRows(principal)...)
	}
	return r
}

// insert stores all, or fails having stored a part. Whoever sees a new run finds
// its commit, whoever sees a listing of credentials finds those that it lists.
func (r rows) insert(ctx context.Context, store *schema.Store) error {
	if err := store.InsertCredentials(ctx, r.credentials); err != nil {
		return err
	}
	if err := store.InsertPrincipals(ctx, r.principals); err != nil {
		return err
	}
	if err := store.InsertCommits(ctx, r.commits); err != nil {
		return err
	}
	return store.InsertRuns(ctx, r.runs)
}

type runKey struct {
	provider, project, id string
	attempt               uint32
}

// merging is facts by what they are about, in the order of their first.
type merging[K comparable, T interface{ Merge(T) T }] struct {
	at     map[K]int
	merged []T
}

func (m *merging[K, T]) add(key K, fact T) {
	if i, known := m.at[key]; known {
		m.merged[i] = m.merged[i].Merge(fact)
		return
	}
	if m.at == nil {
		m.at = make(map[K]int)
	}
	m.at[key] = len(m.merged)
	m.merged = append(m.merged, fact)
}

func coarse(times ...*time.Time) {
	for _, t := range times {
		*t = schema.Milli(*t)
	}
}

func coarseRun(r Run) Run {
	coarse(&r.Queued, &r.Started, &r.Finished, &r.Said)
	return r
}

func coarseCommit(c Commit) Commit {
	coarse(&c.Authored, &c.Committed, &c.Said, &c.Checked)
	return c
}

func coarsePrincipal(p Principal) Principal {
	coarse(&p.Name.Said, &p.Owner.Said, &p.Archived.Said, &p.Rights.Said, &p.Created, &p.LastUsed, &p.Said)
	var fact Principal // merged with nothing: each credential once, and none of them the caller's
	fact = p.Merge(fact)
	for i := range fact.Credentials {
		c := &fact.Credentials[i]
		coarse(&c.Created, &c.Expires, &c.LastUsed, &c.Said)
	}
	for kind, at := range fact.Listed {
		fact.Listed[kind] = schema.Milli(at)
	}
	return fact
}

func runRow(r Run) schema.Run {
	return schema.Run{
		Provider: r.Provider, Project: r.Project, Run: r.ID, RunAttempt: r.Attempt, Job: r.Job, Name: r.Name, Ref: r.Ref,
		Commit: r.Commit, Status: r.Status.String(), Trigger: r.Trigger, Actor: r.Actor, Agent: r.Agent,
		Principal: r.Principal, Approver: r.Approver,
		QueuedAt: r.Queued, StartedAt: r.Started, FinishedAt: r.Finished, Said: r.Said,
	}
}

func commitRow(c Commit) schema.Commit {
	return schema.Commit{
		Commit: c.SHA, Repository: c.Repository, Author: c.Author, AuthorEmail: c.AuthorEmail, Committer: c.Committer,
		AuthoredAt: c.Authored, CommittedAt: c.Committed, Subject: c.Subject, Signature: c.Signature,
		CheckedAt: c.Checked, Said: c.Said,
	}
}

func principalRow(p Principal) schema.PrincipalFact {
	return schema.PrincipalFact{
		Provider: p.Provider, Subject: p.Subject, Project: p.Project,
		Name: schema.Told[string](p.Name), Owner: schema.Told[string](p.Owner),
		Archived: schema.Told[bool](p.Archived), Rights: schema.Told[[]string](p.Rights),
		CreatedAt: p.Created, LastUsedAt: p.LastUsed, Listed: p.Listed, Said: p.Said,
	}
}

func credentialRows(p Principal) []schema.Credential {
	var all []schema.Credential
	for _, c := range p.Credentials {
		all = append(all, schema.Credential{
			Provider: p.Provider, Subject: p.Subject, ID: c.ID, Kind: c.Kind,
			CreatedAt: c.Created, ExpiresAt: c.Expires, LastUsedAt: c.LastUsed, Said: c.Said,
		})
	}
	return all
}
