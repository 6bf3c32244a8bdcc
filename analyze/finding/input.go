package finding

import (
	"net/netip"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// Input is what the detectors look at: a window of uses, and what is known of
// those who made them. Only Uses is new; the rest need hold no more than what
// these uses ask for. Maps may be nil, in any order, and are not written to.
//
// A window may overlap the one before it, and should, by Policy.Settle: the same
// use again gives the same finding under the same key. To miss nothing, Past and
// Endpoints must then still be of the time before the window.
type Input struct {
	// Uses are of the window, in any order.
	Uses []Use

	// Until is up to when the CI servers' facts are in, by event time: what is not
	// known Policy.Settle before it, is unknown. The zero time: all of them are in.
	Until time.Time

	// Since is how far back the history goes. Nothing is known from before it, so
	// that for the first Policy.LearnFor nothing is said to be new. The zero time:
	// it goes back far enough.
	Since time.Time

	// Identities is what they did before the first of these uses. An identity that
	// is not here was never seen before.
	Identities map[Identity]Past

	// Endpoints is when each identity was first seen at each endpoint, these uses
	// included. What is not here is not judged.
	Endpoints map[Access]time.Time

	// Tokens is where and by which runs each token was used in the look-back, these
	// uses included.
	Tokens map[Token]TokenPast

	// Deploys are each identity's in the look-back, these uses included: one for
	// each run, token and key, and of those by no known run one for each hour as well.
	// Policy.Deploys tells which uses are deploys.
	Deploys map[Identity][]Deploy

	// Runs, Commits and Principals are the CI servers' facts. Runs are all attempts
	// of the runs that the verdicts and the tokens' claims name; commits are found
	// by their hash in lower case. A principal is here only if its CI server tells of
	// it, and not because one of its credentials is known.
	Runs       []attribute.Run
	Commits    map[string]Commit
	Principals map[Identity]Principal

	// TellsPrincipals and TellsCommits are the providers whose CI server tells its
	// accounts, and its commits, at all: only of those, one that is not here is
	// unknown.
	TellsPrincipals, TellsCommits map[string]bool
}

// Use is a row of the table activity: what one caller did at one endpoint in an
// hour, from one network and to one decision, and what that was attributed to.
type Use struct {
	attribute.Use // the caller's claims; First and Last are of these requests

	KeyID, Audience     string
	IssuedAt, ExpiresAt time.Time // the zero time or 1970: the log does not say

	// Verdict is the one that holds from First to Last: where it changed, each has a
	// row.
	Verdict attribute.Verdict

	Backend, Role, Method, Host, Endpoint string

	Decision string       // allow or deny
	Network  netip.Prefix // of the client: a /24 or /56; invalid where unknown
	Requests uint64
	Received time.Time // when the last of them was told; HAProxy's clock may be ahead. Zero: at Last
}

// Identity is whom a token speaks for.
type Identity struct{ Provider, Subject string }

// Past is what an identity did before the window.
type Past struct {
	First, Last time.Time // when it was seen first and last
	Endpoints   int       // how many different ones (method and endpoint)
}

// Access is an identity at an endpoint, behind whatever backend.
type Access struct {
	Identity         Identity
	Method, Endpoint string
}

// Token names a token. ID is its jti, or a hash where it has none.
type Token struct{ Issuer, ID string }

// TokenPast is where and by whom a token was used.
type TokenPast struct {
	Networks []Seen[netip.Prefix]
	// Claimed are the runs that unsigned headers named beside it; their Project is
	// "" and they count by ID.
	Claimed []Seen[RunID]
	// Attributed are the runs that its uses were attributed to. One may be here more
	// than once; its best grade counts.
	Attributed []Seen[RunID]
}

// Seen is a value with the first and last time it was seen.
type Seen[T any] struct {
	Value       T
	First, Last time.Time
	Requests    uint64
	Grade       attribute.Grade // of a run that is attributed
}

// RunID names a run of a provider, whatever its attempt.
type RunID struct{ Project, ID string }

// Deploy is an allowed write to a protected place by one run.
type Deploy struct {
	Run   RunID // ID "": by none that is known
	Token Token
	KeyID string
	At    time.Time // its first request
}

// Commit is what the CI servers know of a commit.
type Commit struct {
	SHA, Repository string
	Author          string // "": unknown
	Signature       string // verified, unverified or none; "" where it is not said
}

// Principal is what its CI server knows of an account that tokens speak for.
type Principal struct {
	Name, Owner string // Owner "": it has none
	// OwnerNotTold: nobody has said yet whether it has one.
	OwnerNotTold bool
	// Project owns an account that is not a person's or a team's, such as a project's
	// automation service.
	Project  string
	Archived bool
	// ArchivedAt is since when; the zero time: not known.
	ArchivedAt time.Time
	// Credentials are its long-lived ones.
	Credentials []Credential
}

// Credential is a long-lived secret of a principal, by its name.
type Credential struct {
	ID, Kind string    // such as "permanent-token", "client-secret"
	Created  time.Time // zero: not known
	LastUsed time.Time // as the CI server saw it; zero: not known
}

// identity is whom the use's token speaks for.
func (u *Use) identity() Identity { return Identity{u.Provider, u.Subject} }

// token names the use's token; ok is false where the log has no id of it.
func (u *Use) token() (t Token, ok bool) { return Token{u.Issuer, u.TokenID}, u.TokenID != "" }

// run is the run that the use is attributed to; ok is false where it is to none.
func (u *Use) run() (r RunID, ok bool) {
	if u.Verdict.Grade <= attribute.Ambiguous || u.Verdict.Run == "" {
		return RunID{}, false
	}
	return RunID{u.Verdict.Project, u.Verdict.Run}, true
}
