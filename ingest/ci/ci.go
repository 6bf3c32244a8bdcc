// Package ci takes from CI servers what ties a request to its run and commit:
// webhooks as they happen, and their APIs for what no webhook told.
//
//	webhook --Source.Webhook: verified, once--+
//	                                          +--> facts --Merge--> runs, commits, principals
//	API ------Source.Poll since a cursor------+
//
// A fact is what one message said of one run, commit or principal, with the time
// at which the server says it was so. Facts come late, twice and out of order;
// merged, they give one state whatever their order (see Run.Merge). One file a
// provider turns its messages into facts; a folder of its own beside it holds a
// fake server that checks what we send.
package ci

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Source is one CI server, or one account of a hosted service.
type Source interface {
	// Webhook verifies a delivery and returns what it tells, which may be nothing
	// (a ping). ErrUnverified: its signature, secret or time is wrong, and nothing
	// of it is used. ErrMalformed: it is genuine and cannot be read.
	Webhook(ctx context.Context, d Delivery) ([]Fact, error)

	// Poll returns what has happened since the cursor that an earlier call
	// returned, or for "" what the server has of the time since. It may return facts
	// and a cursor beside an error: what came before it, to go on from.
	Poll(ctx context.Context, since time.Time, cursor string) (facts []Fact, next string, err error)

	// Run looks one run up, by the project and the run as a token or a header names
	// them. ErrNotFound: the server knows none.
	Run(ctx context.Context, project, run string) (Run, error)

	// Commit looks one commit up. ErrNotFound: the repository has none.
	Commit(ctx context.Context, repository, sha string) (Commit, error)
}

// Errors of a Source, to be told apart with errors.Is.
var (
	ErrUnverified = errors.New("not verified")
	ErrMalformed  = errors.New("cannot be read")
	ErrNotFound   = errors.New("not found")
	// ErrRefused: the server does not let us (401, 403): a person has to mend it.
	ErrRefused = errors.New("refused")
	// ErrUnsupported: this provider or version has no such call.
	ErrUnsupported = errors.New("not supported")
)

// Delivery is one webhook request, as it came: signatures are over the raw body.
type Delivery struct {
	Header   http.Header
	Body     []byte
	Received time.Time
}

// Fact is what one message said of one thing: exactly one field is set.
type Fact struct {
	Run       *Run
	Commit    *Commit
	Principal *Principal
}

// Status is how far a run is. The order counts: see Run.Merge.
type Status uint8

// The states of a run.
const (
	Unknown Status = iota
	Queued
	Running
	Skipped
	Canceled
	Failed
	Succeeded
)

// String is the state's word in the tables: "", "queued", "running", "skipped",
// "canceled", "failed" or "succeeded".
func (s Status) String() string {
	return [...]string{"", "queued", "running", "skipped", "canceled", "failed", "succeeded"}[s]
}

// Final reports whether a run in this state has ended.
func (s Status) Final() bool { return s >= Skipped }

// Run is what is known of one attempt of a run. Times are UTC; the zero time and
// "" mean: not said.
type Run struct {
	// Provider, Project, ID and Attempt name it, as the provider's tokens do:
	// edge/provider's claims for project, run and run attempt. Attempt is 0 where
	// the provider has none.
	Provider, Project, ID string
	Attempt               uint32

	Job       string // the definition: workflow, build configuration, job
	Name      string // what people call the run: "#118"
	Ref       string // refs/heads/main, or as the provider writes it
	Commit    string // sha, lower case
	Trigger   string // push, schedule, manual, ...: the provider's word, lower case
	Actor     string // who or what set it off
	Agent     string // where it ran
	Principal string // the subject that its tokens have, where the provider says so (Space)
	Approver  string // who let it go on, where the provider says so

	Status                    Status
	Queued, Started, Finished time.Time

	// Said is when the server says that this was so: an event's own time, or for an
	// API's answer the newest time in it. Never the time of arrival.
	Said time.Time
}

// Commit is what is known of a commit. Its content never changes; what a server
// says of its signature may.
type Commit struct {
	SHA                 string // lower case
	Repository          string
	Author, AuthorEmail string
	Committer           string
	Authored, Committed time.Time
	Subject             string // the message's first line
	Signature           string // verified, unverified, none; "" where not said
	Said                time.Time
	// Checked is when the signature was said, where that is not Said: a later
	// message said nothing of it. See Commit.Merge.
	Checked time.Time
}

// Principal is what is known of an account that tokens speak for. Some of it
// changes, and a webhook says only a part of it: see Last.
type Principal struct {
	Provider, Subject string // the subject that its tokens have
	Name              Last[string]
	Owner             Last[string] // "": said to be nobody's
	Project           string
	Archived          Last[bool]
	Rights            Last[[]string] // sorted; as the provider names them, with their context
	Created           time.Time
	LastUsed          time.Time // of its credentials, as the provider saw it
	Credentials       []Credential
	// Listed is when Credentials were all that it has of a kind, by kind: another one,
	// of which nothing was said since, is gone.
	Listed map[string]time.Time
	Said   time.Time
}

// Last is what was said last of something that changes. The zero value: nothing was
// said, which is not the same as to say "no" or "none".
type Last[T any] struct {
	Known bool
	Said  time.Time // zero: the server does not say when
	Value T
}

// said is a value as one message says it.
func said[T any](value T, at time.Time) Last[T] { return Last[T]{Known: true, Said: at, Value: value} }

// Credential is a long-lived secret of a principal, by its name; never the secret.
type Credential struct {
	ID, Kind string // such as "permanent-token", "client-secret"
	Created  time.Time
	Expires  time.Time // zero: never
	LastUsed time.Time
	Said     time.Time
}
