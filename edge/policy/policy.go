// Package policy is the gate's policy file: who issues tokens, which identity has
// which role, what a role may do, and what needs no identity.
//
//	policy.yaml --Load--> Policy --RoleLines, GrantLines, PublicLines--> maps for HAProxy (package edge)
//	                        |
//	                        '--Decide--> what that HAProxy will answer, without one
//
// The maps' regular expressions and Decide are written apart from each other, and
// tests hold one against the other: Decide is what the generated gate is compared
// with, and what a replay of history runs on.
package policy

import (
	_ "embed" // of the schema

	"github.com/haptrail/haptrail/edge/provider"
	"github.com/haptrail/haptrail/internal/strictyaml"
)

// Schema is policy.schema.json: the policy file's JSON Schema (draft 2020-12),
// for editors. It says what can be said without reading the world; Parse is the
// judge.
//
//go:embed policy.schema.json
var Schema []byte

// Duration is a time such as 30s, 12h or 400d.
type Duration = strictyaml.Duration

// Policy is the whole file. It is made by Load or Parse, which check it and
// prepare what Decide needs; a Policy that was made or changed otherwise has no
// roles and no grants. It is not written to after that: any number of goroutines
// may ask it.
type Policy struct {
	// Version of this file's form: 1. Needed.
	Version int `yaml:"version"`

	// Gate is the generated HAProxy configuration as a whole.
	Gate Gate `yaml:"gate"`

	// Issuers are whose tokens are accepted. At least one.
	Issuers []Issuer `yaml:"issuers"`

	// Roles give an identity its role: the first match from the top, over all
	// roles and all their selectors. First, not most specific: what wins must be
	// seen on the page. An identity has one role, or none and then no access.
	Roles []Role `yaml:"roles"`

	// Grants are all that roles may do; what no grant names is denied.
	Grants []Grant `yaml:"grants"`

	// Protect says what stands behind the gate.
	Protect Protect `yaml:"protect"`

	compiled compiled
	places   strictyaml.Places
}

// Gate is the generated HAProxy configuration as a whole.
type Gate struct {
	// Log is haptrail's octet-counted TCP listener, as host:port. Needed: without
	// it nothing is seen.
	Log string `yaml:"log"`
	// Node is this proxy's name in the logs. Default: the machine's name.
	Node string `yaml:"node"`
	// Defaults names a defaults section that the gate inherits from, such as the
	// one with your timeouts. Default: none, and the gate brings its own.
	Defaults string `yaml:"defaults"`
	// IdentityHeaders is the prefix of the headers that tell the application who
	// calls. A client's own headers of that prefix are removed. It ends in "-".
	// Default X-Identity-.
	IdentityHeaders string `yaml:"identity_headers"`
	// ForwardToken leaves the Authorization header on, so that the application
	// and its logs see the token. Default false.
	ForwardToken bool `yaml:"forward_token"`
	// ClaimedRunHeader is the header in which a job names its run: unsigned, and
	// only ever shown as a claim. Default X-CI-Run; "" for none.
	ClaimedRunHeader string `yaml:"claimed_run_header"`
	// StickSize is how many entries each stick table holds, with k and m for 1024
	// and its square. About 0.4 kB of memory each; beyond 100k reading a table
	// stalls HAProxy. Default 100k.
	StickSize Count `yaml:"stick_size"`
	// Peer is an address of this machine, as host:port, at which a HAProxy that is
	// reloaded hands its counters to the new process, by HAProxy's peers protocol:
	// without a password, so on loopback. Default: none, and every reload begins
	// counting anew.
	Peer string `yaml:"peer"`
	// Feed lets haptrail hear of each count as it is made, as a peer of the name
	// haptrail_feed (bursts.proxies[].peers in haptrail.yaml), in the place of polls:
	// haptrail connects to Peer, which is needed. Default false. HAProxy looks for that
	// peer at an address of this machine where nobody listens, every few seconds.
	Feed bool `yaml:"feed"`
}

// Issuer is one issuer of tokens.
type Issuer struct {
	// Name is how this file, the logs and the maps call it. Unique.
	Name string `yaml:"name"`
	// Provider says how its tokens are read: a provider of package provider, or
	// generic. Needed.
	Provider string `yaml:"provider"`
	// Issuer is the iss of its tokens, byte by byte. Default: by provider, where
	// all its customers share one.
	Issuer string `yaml:"issuer"`
	// JWKS is where its keys are: an https URL, http only to a loopback host, or
	// file:PATH (from the policy file's folder). Default: by provider.
	JWKS string `yaml:"jwks"`
	// Audiences are the aud of which a token must carry one. At least one: without
	// it, a token that a job got for another service would open this one.
	Audiences []string `yaml:"audiences"`
	// Algorithms may sign its tokens: RS, PS or ES with 256, 384 or 512. Default:
	// by provider.
	Algorithms []string `yaml:"algorithms"`
	// MaxAge is how long after iat a token is accepted. 0: iat is not needed.
	// Default 24h.
	MaxAge Duration `yaml:"max_age"`
	// MaxLifetime is how far exp may be after iat. 0: not checked. Default 24h.
	MaxLifetime Duration `yaml:"max_lifetime"`
	// Leeway is by how much clocks may differ, at most 5m. Default 30s.
	Leeway Duration `yaml:"leeway"`
	// Claims overrides where fields of the normal form are found: for each field a
	// path or a list of them, of which the first that is present wins. An empty
	// list takes the field from no claim.
	Claims map[string]Paths `yaml:"claims"`
	// Projects maps a subject to its project, for tokens that name none.
	Projects map[string]string `yaml:"projects"`
	// KeyOverlap is how long a key that has left the JWKS still verifies. Default
	// 24h.
	KeyOverlap Duration `yaml:"key_overlap"`

	// Line is where the issuer stands in the file.
	Line int `yaml:"-"`

	paths map[provider.Field][]provider.Path
}

// ClaimPaths is where each field is found in the issuer's claims: the provider's
// mapping with the policy's own in its place. The caller owns the map.
func (i *Issuer) ClaimPaths() map[provider.Field][]provider.Path {
	out := make(map[provider.Field][]provider.Path, len(i.paths))
	for field, paths := range i.paths {
		out[field] = append([]provider.Path(nil), paths...)
	}
	return out
}

// Role is a role and who has it.
type Role struct {
	// Name is unique.
	Name string `yaml:"name"`
	// Match are selectors, any of which gives the role. At least one.
	Match []Selector `yaml:"match"`
	// Rate is how much each identity of the role may ask. Default 2000/10s.
	Rate Rate `yaml:"rate"`

	// Line is where the role stands in the file.
	Line int `yaml:"-"`
}

// Selector matches identities all of whose named claims fit. Each field is a
// glob: "*" is any run of characters but "/", "**" any run, "?" one character but
// "/", and "\" takes the next character as it is. Everything else is compared
// byte by byte. A field matches no identity that lacks the claim.
type Selector struct {
	Issuer   string `yaml:"issuer"`   // the name of an issuer of this file
	Provider string `yaml:"provider"` // the issuer's provider
	Tenant   string `yaml:"tenant"`   // the organisation or account that owns the project
	Project  string `yaml:"project"`  // the repository or project
	Job      string `yaml:"job"`      // the definition that runs: a workflow, a build configuration
	Ref      string `yaml:"ref"`      // the branch or tag
	Actor    string `yaml:"actor"`    // who set the run off
	Runner   string `yaml:"runner"`   // the machine or agent
	Subject  string `yaml:"subject"`  // the token's sub

	// Line is where the selector stands in the file.
	Line int `yaml:"-"`
}

// Grant lets roles make requests: every method on every host and path of it.
type Grant struct {
	// Roles have the grant. At least one.
	Roles []string `yaml:"roles"`
	// Methods are HTTP methods. Default GET and HEAD.
	Methods []string `yaml:"methods"`
	// Hosts are names without a port, in which "*" is any run without a dot.
	// Default: any.
	Hosts []string `yaml:"hosts"`
	// Paths are templates of the decoded path; see Template. At least one.
	Paths []string `yaml:"paths"`

	// Line is where the grant stands in the file.
	Line int `yaml:"-"`
}

// Protect says what stands behind the gate.
type Protect struct {
	// Frontends are gated: each must be "from haptrail".
	Frontends []string `yaml:"frontends"`
	// Backends are reachable through those only.
	Backends []string `yaml:"backends"`
	// Public is let through without a token.
	Public []Public `yaml:"public"`
}

// Public are requests that need no token. Methods, Hosts and Paths as in Grant,
// but for claims in paths: nobody has said who he is.
type Public struct {
	Methods []string `yaml:"methods"` // default GET and HEAD
	Hosts   []string `yaml:"hosts"`   // default any
	Paths   []string `yaml:"paths"`   // at least one

	// Line is where it stands in the file.
	Line int `yaml:"-"`
}

// RatePeriod is the period of every role's rate as HAProxy writes it, such as
// 10s: the stick table has one.
func (p *Policy) RatePeriod() string {
	if len(p.Roles) > 0 {
		return p.Roles[0].Rate.period()
	}
	return defaultRate.period()
}
