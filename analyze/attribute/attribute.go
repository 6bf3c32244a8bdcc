// Package attribute says which CI run a request belongs to, and how sure that is.
//
//	signed claim names the run ------------------------------------> Proven
//	header names the run --> the CI's record confirms it ----------> Corroborated
//	      | unknown, or denied (a Contradiction)
//	      v
//	runs of this principal that were going on: exactly one --------> Inferred
//	                                           several ------------> Ambiguous
//	                                           none ---------------> None
//
// A grade is never shown without its reason in words, and a reason never without
// the run and the times that an auditor can look up. It is pure: what it knows is
// what it is given, and the order in which it is given makes no difference.
package attribute

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Grade is how sure an attribution is. A greater one is surer.
type Grade uint8

// The grades.
const (
	None         Grade = iota // no run is known
	Ambiguous                 // several runs fit
	Inferred                  // exactly one run of this principal was going on
	Corroborated              // an unsigned header names the run, and the CI's record confirms it
	Proven                    // a signed claim names the run
)

// String is the grade's word in the tables: "none", "ambiguous", "inferred",
// "corroborated" or "proven".
func (g Grade) String() string {
	return [...]string{"none", "ambiguous", "inferred", "corroborated", "proven"}[g]
}

// Use is what one caller did in a while: requests with the same verified claims
// and the same claimed run.
type Use struct {
	Provider, Issuer, Subject, TokenID string
	// Signed claims; "" where there is none.
	Project, Job, Run, Attempt, Ref, Commit, Actor, Runner string
	// ClaimedRun is from an unsigned header: anybody may write it.
	ClaimedRun string
	// First and Last are of its requests, by HAProxy's clock.
	First, Last time.Time
}

// Run is one attempt of a run, as its CI server tells.
type Run struct {
	Provider, Project, ID string
	Attempt               uint32 // 0 where the provider has none

	Job, Name, Ref, Commit, Status, Trigger, Actor, Agent string
	Principal                                             string // the subject that its tokens have; "": not said
	Approver                                              string

	Queued, Started, Finished time.Time // zero: unknown, or still going on
}

// Verdict is what a use's requests belong to, from a time on.
type Verdict struct {
	From  time.Time // for requests from then on, until the next verdict's From
	Grade Grade
	// The token's claims, which hold whatever the run is, and beside them what the
	// CI's record says of the run that it came to. Run and Attempt are of that run,
	// and empty where it came to none.
	Project, Job, Run                   string
	Attempt                             uint32
	Ref, Commit, Actor, Agent, Approver string

	Candidates    []string // of Ambiguous: the runs, as "project/id", sorted, at most 10
	Why           string   // one sentence that an auditor can read
	Contradiction string   // which statement of the token or the header the CI's record denies; "" for none
}

// Options are the policy's part of the judgement.
type Options struct {
	// Slack is how far the clocks of HAProxy and of the CI server may be apart; 0
	// means DefaultSlack, and less that they are the same.
	Slack time.Duration
}

// DefaultSlack is far more than two clocks that NTP keeps are apart, and less than
// most runs take.
const DefaultSlack = 5 * time.Minute

// Attribute judges a use by the runs that may matter to it (see Index.For); others
// among them, and runs told twice, make no difference, nor does their order. There
// is at least one verdict; the first is from use.First on, and each says something
// else than the one before it.
func Attribute(use Use, runs []Run, o Options) []Verdict {
	if use.Subject == "" {
		return []Verdict{{From: use.First, Why: "no verified identity"}}
	}
	use.Commit = strings.ToLower(use.Commit)
	slack := o.slack()
	var few, more [4]*Run // the common case, without an allocation
	named := relevant(few[:0], runs, use.names)
	if use.Run != "" {
		p := newProof(&use, named, slack)
		return sweep(&use, p.at, &p.attempts)
	}
	g := newGuess(&use, named, relevant(more[:0], runs, use.mayBe), slack)
	return sweep(&use, g.at, &g.confirmed, &g.untied, &g.going)
}

// sweep asks for the verdict at the first request, and at each time up to the last
// at which a run begins or ends to matter.
func sweep(use *Use, at func() Verdict, pools ...*pool) []Verdict {
	verdicts := make([]Verdict, 0, 1)
	now, last := micros(use.First), micros(use.Last)
	for from := use.First; ; from = time.UnixMicro(now).UTC() {
		next := never
		for _, p := range pools {
			p.advance(now)
			next = min(next, p.next())
		}
		v := at()
		v.From = from
		if n := len(verdicts); n == 0 || !verdicts[n-1].says(&v) {
			verdicts = append(verdicts, v)
		}
		if next > last {
			return verdicts
		}
		now = next
	}
}

// says tells whether two verdicts differ in nothing but their time.
func (v *Verdict) says(o *Verdict) bool {
	return v.Grade == o.Grade && v.Project == o.Project && v.Job == o.Job && v.Run == o.Run && v.Attempt == o.Attempt &&
		v.Ref == o.Ref && v.Commit == o.Commit && v.Actor == o.Actor && v.Agent == o.Agent && v.Approver == o.Approver &&
		v.Why == o.Why && v.Contradiction == o.Contradiction && slices.Equal(v.Candidates, o.Candidates)
}

// claims is a verdict that knows the token only.
func (u *Use) claims(grade Grade) Verdict {
	return Verdict{Grade: grade, Project: u.Project, Job: u.Job, Ref: u.Ref, Commit: u.Commit, Actor: u.Actor, Agent: u.Runner}
}

// record adds what the CI says of the run where the claims leave it open. A name
// for "the default branch" leaves the branch open, and a short hash the rest of it.
func (v *Verdict) record(r *Run) {
	v.Project, v.Run, v.Attempt = cmp.Or(v.Project, r.Project), r.ID, r.Attempt
	v.Job, v.Actor, v.Agent, v.Approver = cmp.Or(v.Job, r.Job), cmp.Or(v.Actor, r.Actor), cmp.Or(v.Agent, r.Agent), r.Approver
	if v.Ref == "" || v.Ref == defaultBranch && r.Ref != "" {
		v.Ref = r.Ref
	}
	if commit := strings.ToLower(r.Commit); strings.HasPrefix(commit, v.Commit) {
		v.Commit = commit
	}
}

func (o Options) slack() time.Duration {
	if o.Slack == 0 {
		return DefaultSlack
	}
	return max(o.Slack, 0)
}
