package finding

import (
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/internal/strictyaml"
)

func TestPolicyFile(t *testing.T) {
	const text = `
protected:
- backends: [prod*]
  methods: [POST]
  hosts: ["*.example.test"]
  endpoints: [/deployments/**]
protected_refs: [refs/heads/main]
runner_networks: [10.0.0.0/8]
network_bits_4: 16
max_token_lifetime: 1h
dormant_after: 90d
off: [token_two_runs]
`
	var p Policy
	if err := strictyaml.Decode([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	if faults := p.Check(); len(faults) != 0 {
		t.Errorf("faults: %v", faults)
	}
	p = p.withDefaults()
	if len(p.Protected) != 1 || netip.Prefix(p.RunnerNetworks[0]).String() != "10.0.0.0/8" || p.NetworkBits4 != 16 || p.NetworkBits6 != 56 ||
		p.MaxTokenLifetime.String() != "1h0m0s" || p.MaxTokenAge.String() != "12h0m0s" || p.DormantAfter.Seconds() != 90*86400 || p.RotateWithin != 10 {
		t.Errorf("read as %+v", p)
	}
	if faults := DefaultPolicy().Check(); len(faults) != 0 {
		t.Errorf("faults of the defaults: %v", faults)
	}
}

func TestPolicyFaults(t *testing.T) {
	for want, p := range map[string]Policy{
		"protected[0]: names nothing":                                                     {Protected: []Place{{}}},
		"protected[1].backends[0]: is empty":                                              {Protected: []Place{{Backends: []string{"a"}}, {Backends: []string{""}}}},
		"protected[0].hosts[0]: three stars":                                              {Protected: []Place{{Hosts: []string{"***"}}}},
		`protected[0].endpoints[1]: ends in a single "\"`:                                 {Protected: []Place{{Endpoints: []string{`\\`, `a\`}}}},
		`protected[0].methods[0]: "post" is no method`:                                    {Protected: []Place{{Methods: []string{"post"}}}},
		"protected_refs[1]: is empty":                                                     {ProtectedRefs: []string{"a", ""}},
		`off[0]: unknown kind of finding "token_two_run": did you mean "token_two_runs"?`: {Off: []string{"token_two_run"}},
		"network_bits_4: 32":                                                              {NetworkBits4: 32},
		"network_bits_6: -1":                                                              {NetworkBits6: -1},
		"rotate_within: -1":                                                               {RotateWithin: -1},
		"max_endpoints: -1":                                                               {MaxEndpoints: -1},
	} {
		faults := p.Check()
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), want) {
			t.Errorf("want %s, have %v", want, faults)
		}
	}
}

func TestProtects(t *testing.T) {
	u := deploy() // POST deploy.example.test:443 /deployments/{n}, behind prod
	for _, c := range []struct {
		place Place
		want  bool
	}{
		{Place{Backends: []string{"prod"}}, true},
		{Place{Backends: []string{"docs", "p?od"}}, true},
		{Place{Backends: []string{"pro"}}, false},
		{Place{Methods: []string{"PUT", "POST"}}, true},
		{Place{Methods: []string{"GET"}}, false},
		{Place{Hosts: []string{"deploy.example.test"}}, true},
		{Place{Hosts: []string{"*.test"}}, true},
		{Place{Hosts: []string{"deploy.example.test:443"}}, false},
		{Place{Endpoints: []string{"/deployments/*"}}, true},
		{Place{Endpoints: []string{"/*"}}, false},
		{Place{Endpoints: []string{"/**"}}, true},
		{Place{Backends: []string{"prod"}, Methods: []string{"GET"}}, false},
	} {
		if have := (Policy{Protected: []Place{c.place}}).Protects(&u); have != c.want {
			t.Errorf("%+v: %t", c.place, have)
		}
	}
	for host, want := range map[string]string{"A.b": "a.b", "a:80": "a", "[::1]:80": "[::1]", "[::1]": "[::1]", "": "", ":80": ""} {
		if have := hostName(host); have != want {
			t.Errorf("host %s: have %s", host, have)
		}
	}
}

func TestDeploys(t *testing.T) {
	for method, want := range map[string]bool{"POST": true, "PUT": true, "PATCH": true, "DELETE": true, "GET": false, "HEAD": false, "": false} {
		u := deploy(func(u *Use) { u.Method = method })
		if have := prod().Deploys(&u); have != want {
			t.Errorf("%s: %t", method, have)
		}
	}
	refused, elsewhere := deploy(denied), deploy(harmless)
	if prod().Deploys(&refused) || prod().Deploys(&elsewhere) {
		t.Error("what was refused, or is not protected, is a deploy")
	}
}

func TestNetwork(t *testing.T) {
	p := Policy{RunnerNetworks: []Network{Network(netip.MustParsePrefix("10.0.0.0/8")), {}}, NetworkBits4: 16}.withDefaults()
	for client, want := range map[string]string{
		"192.0.2.0/24": "192.0.0.0/16", "::ffff:192.0.2.0/120": "192.0.0.0/16", "192.0.0.0/8": "192.0.0.0/8",
		"2001:db8:1:ff00::/56": "2001:db8:1:ff00::/56", "2001:db8:1:ff11::1/128": "2001:db8:1:ff00::/56",
		"10.9.9.0/24": "invalid Prefix", "::ffff:10.9.9.0/120": "invalid Prefix", "10.0.0.0/7": "10.0.0.0/7",
	} {
		if have := p.network(netip.MustParsePrefix(client)); have.String() != want {
			t.Errorf("%s: have %s, want %s", client, have, want)
		}
	}
}

// TestGlob holds patterns against regular expressions that are made from them.
func TestGlob(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	pick := func(alphabet string, n int) string {
		var b strings.Builder
		for range rng.IntN(n) {
			b.WriteByte(alphabet[rng.IntN(len(alphabet))])
		}
		return b.String()
	}
	matched := 0
	for range 40_000 {
		pattern, text := pick("ab/**?", 7), pick("ab/", 8)
		if strings.Contains(pattern, "***") || text == "" {
			continue
		}
		expr := strings.NewReplacer("**", "(?s:.*)", "*", "[^/]*", "?", "[^/]").Replace(pattern)
		want := regexp.MustCompile(`\A(?:` + expr + `)\z`).MatchString(text)
		if want {
			matched++
		}
		if have := anyGlob([]string{pattern}, text); have != want {
			t.Fatalf("%q on %q: %t", pattern, text, have)
		}
	}
	if matched < 500 {
		t.Errorf("only %d matched: the texts are too far from the patterns", matched)
	}
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{{`a\*`, "a*", true}, {`a\*`, "ab", false}, {`a\\`, `a\`, true}, {`a\`, `a\`, true}, {`\?`, "x", false}, {"**", "", false}, {"é?", "éx", true}} {
		if have := anyGlob([]string{c.pattern}, c.text); have != c.want {
			t.Errorf("%q on %q: %t", c.pattern, c.text, have)
		}
	}
	if !anyGlob(nil, "") || !anyGlob(nil, "x") {
		t.Error("no patterns ask for something")
	}
}

// A branch may be written as people say it.
func TestProtectedRefsOfBranches(t *testing.T) {
	for _, c := range []struct {
		patterns, ref string
		want          bool
	}{
		{"main", "refs/heads/main", true}, {"main", "main", true}, {"main", "refs/tags/main", false}, {"release/*", "refs/heads/release/1", true},
		{"refs/heads/main", "main", true}, {"refs/tags/*", "refs/tags/v1", true}, {"**", "refs/pull/7/merge", true}, {"main", "<default>", true},
		{"main", "refs/heads/mainly", false}, {"", "refs/heads/main", false},
	} {
		p := Policy{ProtectedRefs: strings.Fields(c.patterns)}
		if have := p.protectsRef(c.ref); have != c.want {
			t.Errorf("%q, %q: %v", c.patterns, c.ref, have)
		}
	}
}

func TestNetworksOfRunners(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "", "10.1.2.3/24": "", "2001:db8::/32": "", "10.0.0.1": "is no network", "10.0.0.1/32": "too narrow", "2001:db8::/64": "too narrow", "x": "is no network",
	} {
		err := new(Network).UnmarshalText([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
