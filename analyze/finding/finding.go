// Package finding tells what in the use of tokens and runs a person should look
// at: a stolen token, a deployment from a branch that nobody reviews, an account
// that nobody owns.
//
//	uses, runs, commits, principals, what was known before --Look--> findings
//
// It is pure: event time only, and the same input gives the same findings. Each
// kind is a detector, in a file of its own that says what an attacker would do,
// what harmless things look like it, and what the detector does about them:
//
//	kind                    the same finding when these agree
//	token_after_run         issuer, token, project, run
//	token_two_networks      issuer, token
//	token_two_runs          issuer, token
//	token_lifetime          provider, issuer, subject
//	credential_not_rotated  provider, subject, kind of credential, its id
//	unprotected_ref         provider, subject, project, ref, backend
//	commit_unverified       provider, project, commit
//	identity_unowned        provider, subject, what is wrong with it
//	unattributed_protected  provider, subject, backend, none or ambiguous
//	first_seen_endpoint     provider, subject, method, endpoint
//	dormant_principal       provider, subject
//	claim_contradicted      provider, subject, claimed run, signed or not
//
// These fields and the kind make its Key. Counts and times are none of them, so
// that the same thing seen again updates one row instead of adding another.
package finding

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"
)

// Severity grades a finding. The numbers are OCSF's severity_id.
type Severity uint8

// The severities.
const (
	Low      Severity = 2 // worth a look when there is time, or in an audit
	Medium   Severity = 3 // against the rules, and explained by many harmless things
	High     Severity = 4 // looks like an attack, or like a hole that one would use
	Critical Severity = 5 // what cannot be harmless
)

// severities are the words, by number.
var severities = [...]string{Low: "low", Medium: "medium", High: "high", Critical: "critical"}

// String is "low", "medium", "high" or "critical".
func (s Severity) String() string {
	if s < Low || s > Critical {
		return "Severity(" + strconv.Itoa(int(s)) + ")"
	}
	return severities[s]
}

// ParseSeverity reads what String writes.
func ParseSeverity(word string) (s Severity, ok bool) {
	i := slices.Index(severities[Low:], word)
	return Low + Severity(max(i, 0)), i >= 0
}

// Finding is one thing to look at.
type Finding struct {
	Kind     string
	Severity Severity
	Key      string // 32 hex digits: the same thing seen again has the same key

	Title  string // what it is, in a few words
	Text   string // what was seen, with names and numbers
	Action string // what to do about it

	// Whom and what it is about: those of the newest use where it is about several.
	Provider, Issuer, Subject   string
	Project, Run, Commit, Token string
	Backend                     string

	First, Last time.Time // of the requests
	Requests    uint64
	Evidence    []Evidence // at most MaxEvidence
}

// MaxEvidence is how many rows of evidence a finding has at most: of more, the
// first ones and the last ones.
const MaxEvidence = 20

// Evidence is one of the uses that a finding is about.
type Evidence struct {
	Time     time.Time `json:"time"` // of the first request
	Identity string    `json:"identity"`
	Method   string    `json:"method"`
	Endpoint string    `json:"endpoint"`
	Backend  string    `json:"backend"`
	Decision string    `json:"decision"`
	Network  string    `json:"network"`
	Requests uint64    `json:"requests"`
	Run      string    `json:"run"`
	Grade    string    `json:"grade"`
	TokenID  string    `json:"token_id"`
}

// Look runs every detector that the policy does not switch off. Fields of the
// policy that are not set have their defaults. The findings are sorted by the time
// of their first request, then by key.
func Look(in Input, p Policy) []Finding {
	l := newLook(in, p.withDefaults())
	var all []Finding
	for _, d := range detectors() {
		if slices.Contains(p.Off, d.Kind) {
			continue
		}
		cases := newCases(d)
		for _, u := range l.uses {
			d.Find(l, u, func(fields ...string) { cases.add(u, fields) })
		}
		all = append(all, cases.findings(l)...)
	}
	slices.SortFunc(all, func(a, b Finding) int { return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Key, b.Key)) })
	return all
}

// key hashes what makes a finding the same. Lengths are part of it, so that no
// field can be moved into its neighbour.
func key(kind string, fields []string) string {
	h := sha256.New()
	for _, field := range append([]string{kind}, fields...) {
		h.Write(strconv.AppendInt(nil, int64(len(field)), 10))
		h.Write([]byte(":" + field))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
