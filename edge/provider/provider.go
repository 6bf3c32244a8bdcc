// Package provider knows the token issuers: where each publishes its keys, which
// algorithms it signs with, and which of its claims mean what in the normal form
// of an identity. One file a provider; table.go lists them.
//
// Nothing here verifies a token. HAProxy does, by the configuration that package
// edge renders from these tables, and reads the claims by the same paths.
package provider

import (
	"fmt"
	"strings"
)

// Field is a part of the normal form of an identity that a provider's claims
// fill. Its text names the claim's variable in HAProxy (txn.FIELD) and its key
// under an issuer's "claims" in the policy file.
//
// Subject, token id, audience and times are not among them: every issuer writes
// them to the registered claims of RFC 7519 section 4.1.
type Field string

// The fields, from the widest to the narrowest.
const (
	Tenant     Field = "tenant"      // the customer, organisation or account that owns the project
	Project    Field = "project"     // what is built: a repository or a project of the CI server
	Job        Field = "job"         // the definition that runs: a workflow file, a build configuration
	Run        Field = "run"         // one execution of it
	RunAttempt Field = "run_attempt" // counts the repetitions of one run
	Ref        Field = "ref"         // the branch or tag, spelt as the provider spells it
	SHA        Field = "sha"         // the commit
	Actor      Field = "actor"       // the person or service that set the run off
	Runner     Field = "runner"      // the machine or agent that it runs on
)

// Fields returns every field, in the order of the constants.
func Fields() []Field {
	return []Field{Tenant, Project, Job, Run, RunAttempt, Ref, SHA, Actor, Runner}
}

// Provider is what is known of one kind of token issuer. Everything but the name
// is a default that the policy file may override for an issuer.
type Provider struct {
	// Name is the policy file's word for it.
	Name string
	// Title is the product's name, for people.
	Title string
	// Issuer is the iss of every token of the provider's cloud; "" where each
	// customer or installation has its own, which must be configured then.
	Issuer string
	// JWKS derives the key set's URL from an iss. Nil, or "" for this iss: it
	// must be configured.
	JWKS func(issuer string) string
	// Algorithms may sign the provider's tokens (JWS names, RFC 7518 section
	// 3.1), the usual one first. Never none and never HS*.
	Algorithms []string
	// Claims says where each field is found; the first path that is present
	// wins. A field that is missing here is in none of the provider's claims.
	Claims map[Field][]Path
	// SelfAsserted are the parts of a token that the issuer signs, but whoever
	// asks for the token chooses. Check refuses paths into them.
	SelfAsserted []Path
	// Unconfirmed is what the vendor's pages do not confirm, a sentence each.
	Unconfirmed []string
	// Caveats are what the author of a policy must know of these claims, a
	// sentence each.
	Caveats []string
}

// Check refuses a mapping that takes a field from what the job itself chose.
// The error names the field and the path.
func (p Provider) Check(paths map[Field][]Path) error {
	for _, field := range Fields() {
		for _, path := range paths[field] {
			for _, own := range p.SelfAsserted {
				if path.Within(own) {
					return fmt.Errorf("%s: %s is chosen by whoever asks %s for the token and proves nothing: map a claim that is not under %s",
						field, path, p.Title, own)
				}
			}
		}
	}
	return nil
}

// Normalize reads the normal form out of a token's claims as HAProxy does (see
// Path.Lookup): of each field's paths, the first one that is present. A field
// without any is not in the result.
func Normalize(claims map[string]any, paths map[Field][]Path) map[Field]string {
	out := make(map[Field]string, len(paths))
	for field, candidates := range paths {
		for _, path := range candidates {
			if value, ok := path.Lookup(claims); ok {
				out[field] = value
				break
			}
		}
	}
	return out
}

// under builds the function that finds a key set at a fixed place under an iss.
// An iss that is no URL has no such place.
func under(path string) func(string) string {
	return func(issuer string) string {
		if !strings.HasPrefix(issuer, "https://") && !strings.HasPrefix(issuer, "http://") {
			return ""
		}
		return strings.TrimRight(issuer, "/") + path
	}
}

// at parses the paths of a table in this package. They are constants, and a test
// looks up every provider: a panic here does not leave the developer's machine.
func at(texts ...string) []Path {
	paths := make([]Path, len(texts))
	for i, text := range texts {
		path, err := ParsePath(text)
		if err != nil {
			panic("provider: internal error: " + err.Error())
		}
		paths[i] = path
	}
	return paths
}
