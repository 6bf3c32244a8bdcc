package provider_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/provider"
	"github.com/haptrail/haptrail/edge/provider/providertest"
)

func TestNormalizeSamples(t *testing.T) {
	for _, sample := range providertest.Samples() {
		have := provider.Normalize(sample.Claims, sample.Paths)
		if !maps.Equal(have, sample.Want) {
			t.Errorf("%s:\nwant %v\nhave %v", sample.Provider, sample.Want, have)
		}
		if sample.Issuer == "" || sample.Subject == "" {
			t.Errorf("%s: the sample has no iss or no sub", sample.Provider)
		}
		// Floats, as a plain decoder makes them of numbers, lose no digit of ours.
		var floats map[string]any
		if err := json.Unmarshal(sample.JSON, &floats); err != nil {
			t.Fatal(err)
		}
		if have := provider.Normalize(floats, sample.Paths); !maps.Equal(have, sample.Want) {
			t.Errorf("%s, decoded to floats:\nwant %v\nhave %v", sample.Provider, sample.Want, have)
		}
	}
}

func TestNormalizeTakesTheFirstPathThatIsPresent(t *testing.T) {
	paths := map[provider.Field][]provider.Path{
		provider.SHA: parse(t, `$.sha`, `$.workflow_sha`),
		provider.Ref: parse(t, `$.ref`),
	}
	for _, c := range []struct {
		claims map[string]any
		want   map[provider.Field]string
	}{
		{map[string]any{"sha": "a", "workflow_sha": "b"}, map[provider.Field]string{provider.SHA: "a"}},
		{map[string]any{"workflow_sha": "b"}, map[provider.Field]string{provider.SHA: "b"}},
		{map[string]any{"sha": nil, "workflow_sha": "b"}, map[provider.Field]string{provider.SHA: "b"}},
		{map[string]any{"sha": true, "ref": []any{"x"}}, map[provider.Field]string{}},
		{nil, map[provider.Field]string{}},
	} {
		if have := provider.Normalize(c.claims, paths); !maps.Equal(have, c.want) {
			t.Errorf("%v: want %v, have %v", c.claims, c.want, have)
		}
	}
}

func TestEveryProviderIsWhole(t *testing.T) {
	algorithm := regexp.MustCompile(`^[RE]S(256|384|512)$`) // PS* needs HAProxy 2.8: by hand
	fields := provider.Fields()
	for _, name := range provider.Names() {
		p, ok := provider.Lookup(name)
		if !ok || p.Name != name || p.Title == "" {
			t.Errorf("%s: Lookup gives %q, titled %q (%t)", name, p.Name, p.Title, ok)
		}
		if len(p.Algorithms) == 0 {
			t.Errorf("%s: no algorithm", name)
		}
		for _, a := range p.Algorithms {
			if !algorithm.MatchString(a) {
				t.Errorf("%s: algorithm %s", name, a)
			}
		}
		for field, paths := range p.Claims {
			if !slices.Contains(fields, field) || len(paths) == 0 {
				t.Errorf("%s: field %q has %d paths", name, field, len(paths))
			}
		}
		if err := p.Check(p.Claims); err != nil {
			t.Errorf("%s: its own mapping is refused: %v", name, err)
		}
		for _, sentence := range slices.Concat(p.Unconfirmed, p.Caveats) {
			if !strings.HasSuffix(sentence, ".") {
				t.Errorf("%s: not a sentence: %s", name, sentence)
			}
		}
	}
	if _, ok := provider.Lookup("jenkins"); ok {
		t.Error("found a provider that there is not")
	}
	if len(fields) != 9 || fields[0] != provider.Tenant || fields[8] != provider.Runner {
		t.Errorf("fields: %v", fields)
	}
}

func TestKeySetURLs(t *testing.T) {
	for _, c := range []struct{ provider, issuer, want string }{
		{"space", "https://acme.jetbrains.example", "https://acme.jetbrains.example/oauth/jwks.json"},
		{"space", "urn:space:acme", ""},
		{"teamcity", "https://tc.example/app/oidc-jwt", "https://tc.example/app/oidc-jwt/.well-known/jwks"},
		{"teamcity", "http://127.0.0.1:8111/app/oidc-jwt/", "http://127.0.0.1:8111/app/oidc-jwt/.well-known/jwks"},
		{"github", "https://token.actions.githubusercontent.com", "https://token.actions.githubusercontent.com/.well-known/jwks"},
		{"github", "https://ghe.example/_services/token", "https://ghe.example/_services/token/.well-known/jwks"},
		{"gitlab", "https://gitlab.com", "https://gitlab.com/oauth/discovery/keys"},
		{"circleci", "https://oidc.circleci.com/org/1-2", "https://oidc.circleci.com/org/1-2/.well-known/jwks-pub.json"},
		{"buildkite", "https://agent.buildkite.com", "https://agent.buildkite.com/.well-known/jwks"},
		{"okta", "https://acme.okta.example/oauth2/default", "https://acme.okta.example/oauth2/default/v1/keys"},
		{"okta", "https://acme.okta.example", "https://acme.okta.example/oauth2/v1/keys"},
		{"aws", "https://u.tokens.sts.global.api.aws", "https://u.tokens.sts.global.api.aws/.well-known/jwks.json"},
	} {
		p, _ := provider.Lookup(c.provider)
		if have := p.JWKS(c.issuer); have != c.want {
			t.Errorf("%s, %s: want %q, have %q", c.provider, c.issuer, c.want, have)
		}
	}
	if p, _ := provider.Lookup("generic"); p.JWKS != nil || p.Issuer != "" {
		t.Error("generic guesses where keys are")
	}
}

// Whatever the caller of AWS wrote into a token is no proof, under any name.
func TestSelfAssertedClaimsAreNeverMapped(t *testing.T) {
	p, _ := provider.Lookup("aws")
	for _, text := range []string{
		`$.https://sts\.amazonaws\.com/.request_tags.job-id`,
		`$.https://sts\.amazonaws\.com/.request_tags`,
	} {
		err := p.Check(map[provider.Field][]provider.Path{provider.Run: parse(t, `$.jti`, text)})
		if err == nil || !strings.Contains(err.Error(), "run: "+text) {
			t.Errorf("%s: %v", text, err)
		}
	}
	fine := parse(t, `$.https://sts\.amazonaws\.com/.principal_tags.environment`)
	if err := p.Check(map[provider.Field][]provider.Path{provider.Project: fine}); err != nil {
		t.Error(err)
	}
}

// A fork's merge request runs in its parent's project, with the fork's claims.
func TestForksAreNotTheirParents(t *testing.T) {
	p, _ := provider.Lookup("gitlab")
	have := provider.Normalize(map[string]any{
		"project_path": "mallory/storefront", "namespace_path": "mallory",
		"job_project_path": "shop/storefront", "job_namespace_path": "shop",
	}, p.Claims)
	if have[provider.Project] != "mallory/storefront" || have[provider.Tenant] != "mallory" {
		t.Errorf("the fork is %v", have)
	}
}

// Nobody can change another one's tables, nor another one's sample.
func TestLookupSharesNothing(t *testing.T) {
	a, _ := provider.Lookup("github")
	a.Claims[provider.Project] = nil
	a.Algorithms[0] = "none"
	a.Claims[provider.SHA][0] = provider.Path{}
	b, _ := provider.Lookup("github")
	if len(b.Claims[provider.Project]) != 1 || b.Algorithms[0] != "RS256" || b.Claims[provider.SHA][0].String() != "$.sha" {
		t.Error("a caller's change is seen by the next")
	}
	providertest.Samples()[0].Claims["sub"] = "changed"
	if providertest.Samples()[0].Claims["sub"] == "changed" {
		t.Error("a change of a sample is seen by the next caller")
	}
}

func TestFreshSample(t *testing.T) {
	for _, s := range providertest.Samples() {
		now := time.Unix(2_000_000_000, 0)
		claims := s.Fresh([]string{"gate"}, now)
		if claims["iat"] != now.Unix() || claims["exp"] != now.Unix()+600 || claims["sub"] != s.Subject {
			t.Errorf("%s: %v", s.Provider, claims)
		}
		_, was := s.Claims["nbf"]
		if nbf, is := claims["nbf"]; is != was || is && nbf != now.Unix() {
			t.Errorf("%s: nbf %v", s.Provider, nbf)
		}
		if s.Claims["iat"] == now.Unix() {
			t.Errorf("%s: Fresh changed the sample", s.Provider)
		}
	}
}
