package edge_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/provider"
	"github.com/haptrail/haptrail/edge/provider/providertest"
)

// providersPolicy has an issuer for each sample.
func providersPolicy(samples []providertest.Sample) string {
	var issuers strings.Builder
	for _, s := range samples {
		fmt.Fprintf(&issuers, "- {name: %s, provider: %s, issuer: %q, jwks: \"file:$ROOT/jwks/all.json\", audiences: [gate.test], algorithms: [RS256]",
			s.Provider, s.Provider, s.Issuer)
		if s.Provider == "generic" {
			var claims []string
			for _, field := range slices.Sorted(maps.Keys(s.Paths)) {
				for _, path := range s.Paths[field] {
					claims = append(claims, fmt.Sprintf("%s: '%s'", field, path))
				}
			}
			fmt.Fprintf(&issuers, ", claims: {%s}", strings.Join(claims, ", "))
		}
		if s.Provider == "space" {
			fmt.Fprintf(&issuers, ", projects: {%q: payments-api}", s.Subject)
		}
		issuers.WriteString("}\n")
	}
	return `
version: 1
gate: {log: $LOG}
issuers:
` + issuers.String() + `
roles:
- {name: everybody, match: [{subject: "**"}]}
grants:
- {roles: [everybody], paths: ["/**"]}
protect: {frontends: [www], backends: [app]}
`
}

// A good token of every provider passes, and its log line has the normal form
// that the provider's sample stands for.
func TestEveryProvidersTokenPasses(t *testing.T) {
	edgetest.Binary(t)
	root := edgetest.Root(t)
	signer := edgetest.NewSigner(t, "k1", jose.RS256, 0)
	edgetest.WriteJWKS(t, filepath.Join(root, "jwks/all.json"), signer)
	samples := providertest.Samples()
	g := edgetest.Start(t, root, providersPolicy(samples), edgetest.Options{})
	hashes := make(map[string]string) // the ids of tokens that have none, by provider
	for _, s := range samples {
		token := signer.Token(t, s.Fresh("gate.test", time.Now()))
		signed := token[:strings.LastIndexByte(token, '.')]
		hashes[s.Provider] = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(signed)))
		status, body := get(t, g.URL+"/"+s.Provider, token)
		if status != 200 {
			t.Errorf("%s: %d %s", s.Provider, status, body)
		}
	}
	lines := g.Sink.Take(t, len(samples))
	for i, s := range samples {
		l := lines[i]
		want := maps.Clone(s.Want)
		if s.Provider == "space" {
			want[provider.Project] = "payments-api" // by the policy: its token names none
		}
		have := map[provider.Field]string{
			provider.Tenant: l.Tenant, provider.Project: l.Project, provider.Job: l.Job, provider.Run: l.Run, provider.RunAttempt: l.Attempt,
			provider.Ref: l.Ref, provider.SHA: l.Commit, provider.Actor: l.Actor, provider.Runner: l.Runner,
		}
		maps.DeleteFunc(have, func(_ provider.Field, value string) bool { return value == "" })
		if !maps.Equal(have, want) {
			t.Errorf("%s: want\n%v\nhave\n%v", s.Provider, want, have)
		}
		if l.Provider != s.Provider || l.Issuer != s.Issuer || l.Subject != s.Subject || l.Key != "k1" || l.Audience != "gate.test" || l.Role != "everybody" {
			t.Errorf("%s: %+v", s.Provider, l)
		}
		id, found := s.Claims["jti"].(string)
		if !found {
			id = hashes[s.Provider]
		}
		if l.TokenID != id {
			t.Errorf("%s: token id %q, want %q", s.Provider, l.TokenID, id)
		}
	}
}
