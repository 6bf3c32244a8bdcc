package finding

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/internal/strictyaml"
)

// Duration is a time such as 5m, 12h or 30d.
type Duration = strictyaml.Duration

// Policy is what the operator says of his place: the section findings of
// haptrail.yaml. A field that is not set has its default.
type Policy struct {
	// Protected are the places where a mistake costs: production, secrets,
	// releases. Default: none, and then no finding is about one.
	Protected []Place `yaml:"protected"`

	// ProtectedRefs are the branches and tags that only reviewed commits reach, as
	// globs: "*" is any run of characters but "/", "**" any run, "?" one character
	// but "/", "\" takes the next character as it is. One without refs/, as main, is
	// a branch's, unless it begins with a star. TeamCity's <default> is always among them. Default
	// refs/heads/main, refs/heads/master, refs/heads/release/* and refs/tags/*:
	// where anybody may push tags, leave those out.
	ProtectedRefs []string `yaml:"protected_refs"`

	// RunnerNetworks are the networks of your runners, as prefixes: a token that
	// moves among them does not leave the house. Default: none, and then one token
	// from two networks of NetworkBits is a finding. One IPv4 and one IPv6 network
	// are then taken for one machine that has both.
	RunnerNetworks []Network `yaml:"runner_networks"`

	// NetworkBits4 and NetworkBits6 are how much of a client's address tells one
	// network from another. Default 24 and 56, which is the most that is stored;
	// fewer for a provider's NAT pool that is wider than that.
	NetworkBits4 int `yaml:"network_bits_4"`
	NetworkBits6 int `yaml:"network_bits_6"`

	// MaxTokenLifetime is how far a token's expiry may be after its issue. Default
	// 12h. The gate's max_lifetime refuses such tokens; this one only tells.
	MaxTokenLifetime Duration `yaml:"max_token_lifetime"`
	// MaxTokenAge is how long after its issue a token may be used. Default 12h.
	MaxTokenAge Duration `yaml:"max_token_age"`

	// RotateWithin is in how many deploys the same credential is seen when it is
	// time for a new one. A deploy is a run that writes to a protected place.
	// Default 10.
	RotateWithin int `yaml:"rotate_within"`

	// DormantAfter is after how long a silence an identity is asleep. Default 30d.
	// The history must go back that far.
	DormantAfter Duration `yaml:"dormant_after"`

	// LearnFor is how long an identity, and the whole history, must be known before
	// an endpoint that it has never been seen at is news. Default 7d.
	LearnFor Duration `yaml:"learn_for"`
	// MaxEndpoints is with how many endpoints an identity always meets new ones, so
	// that one more is no news. Default 200.
	MaxEndpoints int `yaml:"max_endpoints"`

	// Slack is how far clocks may be apart, and how long a job may take to clear up
	// after its run. Default 5m.
	Slack Duration `yaml:"slack"`
	// Settle is how long the CI servers' news may take: until then, what is not
	// known is not yet called unknown. Default 5m.
	Settle Duration `yaml:"settle"`

	// Off are the kinds of findings that are not looked for. Default: none.
	Off []string `yaml:"off"`
}

// Network is a network such as 10.0.0.0/8.
type Network netip.Prefix

// UnmarshalText reads a network that is no narrower than what is stored of a
// client's address.
func (n *Network) UnmarshalText(text []byte) error {
	p, err := netip.ParsePrefix(string(text))
	switch bits := p.Bits(); {
	case err != nil:
		return fmt.Errorf("%q is no network: write it like 10.0.0.0/8", text)
	case p.Addr().Is4() && bits > 24 || bits > 56:
		return fmt.Errorf("%q is too narrow: of a client's address the first 24 bits are stored, of IPv6 56", text)
	}
	*n = Network(p.Masked())
	return nil
}

// Place is some of what is behind the gate. A use is in it when each of its
// fields that is set holds; a field with several values holds when one fits.
type Place struct {
	// Backends are HAProxy's, by name, as globs. Default: any.
	Backends []string `yaml:"backends"`
	// Methods are HTTP's. Default: any.
	Methods []string `yaml:"methods"`
	// Hosts are names without a port, as globs. Default: any.
	Hosts []string `yaml:"hosts"`
	// Endpoints are paths in which ids are replaced by what they are, such as
	// /builds/{n}/log (the column endpoint of the trail), as globs. Default: any.
	Endpoints []string `yaml:"endpoints"`
}

// DefaultPolicy is the policy of somebody who has said nothing.
func DefaultPolicy() Policy { return Policy{}.withDefaults() }

func (p Policy) withDefaults() Policy {
	if p.ProtectedRefs == nil {
		p.ProtectedRefs = []string{"refs/heads/main", "refs/heads/master", "refs/heads/release/*", "refs/tags/*"}
	}
	for _, field := range []struct {
		to   *Duration
		this time.Duration
	}{
		{&p.MaxTokenLifetime, 12 * time.Hour}, {&p.MaxTokenAge, 12 * time.Hour}, {&p.DormantAfter, 30 * 24 * time.Hour},
		{&p.LearnFor, 7 * 24 * time.Hour}, {&p.Slack, 5 * time.Minute}, {&p.Settle, 5 * time.Minute},
	} {
		if *field.to == 0 {
			*field.to = Duration(field.this)
		}
	}
	for _, field := range []struct {
		to   *int
		this int
	}{{&p.NetworkBits4, 24}, {&p.NetworkBits6, 56}, {&p.RotateWithin, 10}, {&p.MaxEndpoints, 200}} {
		if *field.to == 0 {
			*field.to = field.this
		}
	}
	return p
}

// Check finds what cannot be meant. Each error names its field as the file writes
// it, such as protected[0].backends[1].
func (p Policy) Check() []FieldError {
	var faults []FieldError
	fault := func(field, format string, args ...any) {
		faults = append(faults, FieldError{field, fmt.Errorf(format, args...)})
	}
	globs := func(field string, patterns []string) {
		for i, pattern := range patterns {
			if err := checkGlob(pattern); err != nil {
				fault(fmt.Sprintf("%s[%d]", field, i), "%w", err)
			}
		}
	}
	for i, place := range p.Protected {
		field := fmt.Sprintf("protected[%d]", i)
		if len(place.Backends)+len(place.Methods)+len(place.Hosts)+len(place.Endpoints) == 0 {
			fault(field, "names nothing: write backends, methods, hosts or endpoints; endpoints: [\"**\"] for everything")
		}
		globs(field+".backends", place.Backends)
		globs(field+".hosts", place.Hosts)
		globs(field+".endpoints", place.Endpoints)
		for j, method := range place.Methods {
			if method == "" || method != strings.ToUpper(method) {
				fault(fmt.Sprintf("%s.methods[%d]", field, j), "%q is no method: write it as HTTP does, like POST", method)
			}
		}
	}
	globs("protected_refs", p.ProtectedRefs)
	for i, kind := range p.Off {
		if !slices.Contains(Kinds(), kind) {
			fault(fmt.Sprintf("off[%d]", i), "%s", strictyaml.Unknown("kind of finding", kind, Kinds()))
		}
	}
	if p.NetworkBits4 < 0 || p.NetworkBits4 > 24 {
		fault("network_bits_4", "%d: write 1 to 24; only the first 24 bits are stored", p.NetworkBits4)
	}
	if p.NetworkBits6 < 0 || p.NetworkBits6 > 56 {
		fault("network_bits_6", "%d: write 1 to 56; only the first 56 bits are stored", p.NetworkBits6)
	}
	if p.RotateWithin < 0 {
		fault("rotate_within", "%d: write a number of deploys, like 10", p.RotateWithin)
	}
	if p.MaxEndpoints < 0 {
		fault("max_endpoints", "%d: write a number of endpoints, like 200", p.MaxEndpoints)
	}
	return faults
}

// FieldError is what is wrong with one field of a Policy.
type FieldError struct {
	Field string // below findings, such as protected[0].backends[1]
	Err   error
}

// Error is "field: what is wrong and how to mend it".
func (e FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns what is wrong without the field.
func (e FieldError) Unwrap() error { return e.Err }

// Protects reports whether the use was at a protected place.
func (p Policy) Protects(u *Use) bool {
	return slices.ContainsFunc(p.Protected, func(place Place) bool { return place.holds(u) })
}

// Deploys reports whether the use is part of a deploy: an allowed write to a
// protected place.
func (p Policy) Deploys(u *Use) bool {
	switch u.Method {
	case "POST", "PUT", "PATCH", "DELETE":
		return u.allowed() && p.Protects(u)
	}
	return false
}

func (p Place) holds(u *Use) bool {
	return anyGlob(p.Backends, u.Backend) && anyGlob(p.Hosts, hostName(u.Host)) && anyGlob(p.Endpoints, u.Endpoint) &&
		(len(p.Methods) == 0 || slices.Contains(p.Methods, u.Method))
}

// hostName is a Host header without its port, in lower case.
func hostName(host string) string {
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

// allowed reports whether the gate let the requests through.
func (u *Use) allowed() bool { return u.Decision == "allow" }

// protectsRef reports whether only reviewed commits reach a ref.
func (p Policy) protectsRef(ref string) bool {
	if ref == "<default>" {
		return true
	}
	fits := func(pattern string) bool { return globFits(fullRef(pattern), fullRef(ref)) }
	return slices.ContainsFunc(p.ProtectedRefs, fits)
}

// fullRef takes a name without refs/ for a branch; one that begins with a star may
// be anything.
func fullRef(name string) string {
	if strings.HasPrefix(name, "refs/") || strings.HasPrefix(name, "*") {
		return name
	}
	return "refs/heads/" + name
}

// network is which network a client's is, as far as networks are told apart: those
// of the house are one.
func (p Policy) network(client netip.Prefix) netip.Prefix {
	client = unmapped(client)
	for _, own := range p.RunnerNetworks {
		if own := netip.Prefix(own); own.IsValid() && own.Bits() <= client.Bits() && own.Contains(client.Addr()) {
			return netip.Prefix{}
		}
	}
	bits := p.NetworkBits6
	if client.Addr().Is4() {
		bits = p.NetworkBits4
	}
	wide, err := client.Addr().Prefix(min(bits, client.Bits()))
	if err != nil {
		return client
	}
	return wide
}

// unmapped writes the network of an IPv4-mapped address as IPv4.
func unmapped(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p
}
