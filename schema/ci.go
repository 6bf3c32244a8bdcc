package schema

import "time"

// Run is a row of the view runs: one attempt of a CI run, as all that was said of
// it adds up to (see ci.Run.Merge). The zero time and "" mean: not known.
type Run struct {
	Provider   string    `ch:"provider" json:"provider"`
	Project    string    `ch:"project" json:"project"`
	Job        string    `ch:"job" json:"job"`
	Run        string    `ch:"run" json:"run"`
	RunAttempt uint32    `ch:"run_attempt" json:"run_attempt"`
	Name       string    `ch:"name" json:"name"`
	Ref        string    `ch:"ref" json:"ref"`
	Commit     string    `ch:"commit" json:"commit"`
	Status     string    `ch:"status" json:"status"` // a word of ci.Status, or ""
	Trigger    string    `ch:"trigger" json:"trigger"`
	Actor      string    `ch:"actor" json:"actor"`
	Agent      string    `ch:"agent" json:"agent"`
	Principal  string    `ch:"principal" json:"principal"`
	Approver   string    `ch:"approver" json:"approver"`
	QueuedAt   time.Time `ch:"queued_at" json:"queued_at"`
	StartedAt  time.Time `ch:"started_at" json:"started_at"`
	FinishedAt time.Time `ch:"finished_at" json:"finished_at"`
	Said       time.Time `ch:"said" json:"said"` // the newest time at which its CI server says something of it

	// Told is when something of it was stored last, by the engine's clock. Only
	// RunsTold fills it; it is no column of the view.
	Told time.Time `json:"-"`
}

// Commit is a row of the view commits: a commit in a repository.
type Commit struct {
	Commit      string    `ch:"commit" json:"commit"`
	Repository  string    `ch:"repository" json:"repository"`
	Author      string    `ch:"author" json:"author"`
	AuthorEmail string    `ch:"author_email" json:"author_email"`
	Committer   string    `ch:"committer" json:"committer"`
	AuthoredAt  time.Time `ch:"authored_at" json:"authored_at"`
	CommittedAt time.Time `ch:"committed_at" json:"committed_at"`
	Subject     string    `ch:"subject" json:"subject"`
	Signature   string    `ch:"signature" json:"signature"`   // verified, unverified, none; "" where not known
	CheckedAt   time.Time `ch:"checked_at" json:"checked_at"` // when the signature was said; inserted as zero: when Said
	Said        time.Time `ch:"said" json:"said"`
}

// Principal is a row of the view principals: an account that tokens speak for.
type Principal struct {
	Provider   string    `ch:"provider" json:"provider"`
	Subject    string    `ch:"subject" json:"subject"`
	Name       string    `ch:"name" json:"name"`
	Owner      string    `ch:"owner" json:"owner"`
	OwnerTold  bool      `ch:"owner_told" json:"owner_told"` // false: "" says nothing
	Project    string    `ch:"project" json:"project"`
	Archived   bool      `ch:"archived" json:"archived"`
	Rights     []string  `ch:"rights" json:"rights"`
	CreatedAt  time.Time `ch:"created_at" json:"created_at"`
	LastUsedAt time.Time `ch:"last_used_at" json:"last_used_at"`
	Said       time.Time `ch:"said" json:"said"`
}

// PrincipalFact is what one message, or several, say of a principal. Of each
// property that changes it knows when it was said.
type PrincipalFact struct {
	Provider, Subject, Project string
	Name, Owner                Told[string]
	Archived                   Told[bool]
	Rights                     Told[[]string]
	CreatedAt, LastUsedAt      time.Time
	Listed                     map[string]time.Time // when all credentials of a kind were told
	Said                       time.Time
}

// Told is a value with the time at which it was said; Known is false where
// nothing was, and a value may be said at no known time.
type Told[T any] struct {
	Known bool
	Said  time.Time
	Value T
}

// Credential is a row of the view credentials: a long-lived secret of a principal,
// by its name and never the secret.
type Credential struct {
	Provider   string    `ch:"provider" json:"provider"`
	Subject    string    `ch:"subject" json:"subject"`
	ID         string    `ch:"id" json:"id"`
	Kind       string    `ch:"kind" json:"kind"`
	CreatedAt  time.Time `ch:"created_at" json:"created_at"`
	ExpiresAt  time.Time `ch:"expires_at" json:"expires_at"` // zero: never
	LastUsedAt time.Time `ch:"last_used_at" json:"last_used_at"`
	Said       time.Time `ch:"said" json:"said"`
}

// Bounds of the times that the tables keep: beside them is "not known", and what
// clickhouse-go can write.
const (
	firstMilli = 2 // 1970's first millisecond stands for "said at no time"
	lastMilli  = 9_214_646_400_000 - 1
)

// Milli is a time as the tables of CI facts keep it: to the millisecond, the zero
// time for one that is not known or before 1970, the end of 2261 for one after it.
// It keeps the order of times, so that merging before it and after it is the same.
func Milli(t time.Time) time.Time {
	if t.IsZero() || t.UnixMilli() < firstMilli {
		return time.Time{}
	}
	return time.UnixMilli(min(t.UnixMilli(), lastMilli)).UTC()
}
