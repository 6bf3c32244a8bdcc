package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// The providers of the cast. Each issues its own tokens under its own URL, all
// from one process: base URL + "/" + provider.
const (
	space    = "space"
	teamcity = "teamcity"
	github   = "github"
	gitlab   = "gitlab"
)

// jwksPaths says where each provider publishes its public keys, below its
// issuer URL (GitLab: below the instance's).
var jwksPaths = map[string]string{
	space:    "/oauth/jwks.json",
	teamcity: "/.well-known/jwks",
	github:   "/.well-known/jwks",
	gitlab:   "/oauth/discovery/keys",
}

// issuer stands for the token services of all four providers.
type issuer struct {
	base      string // URL that jobs and gate know it by, without a trailing slash
	keys      keyring
	audiences map[string]string // by provider: what the gate wants to read in aud
}

// newIssuer takes the audiences from deploy/maps/issuers.map.
func newIssuer(base string, keys keyring) (*issuer, error) {
	lines, err := readMap("maps/issuers.map")
	if err != nil {
		return nil, err
	}
	is := &issuer{base: strings.TrimSuffix(base, "/"), keys: keys, audiences: make(map[string]string)}
	for _, line := range lines {
		provider, audience, found := strings.Cut(line[1], "|")
		if !found {
			return nil, fmt.Errorf("maps/issuers.map: %s: want provider|audience, have %q", line[0], line[1])
		}
		is.audiences[provider] = audience
	}
	return is, nil
}

// url is the provider's iss claim.
func (is *issuer) url(provider string) string { return is.base + "/" + provider }

// issuersMap renders maps/issuers.map for the URLs that are in use.
func (is *issuer) issuersMap() []byte {
	var b strings.Builder
	for _, provider := range []string{space, teamcity, github, gitlab} {
		fmt.Fprintf(&b, "%s %s|%s\n", is.url(provider), provider, is.audiences[provider])
	}
	return []byte(b.String())
}

// handler serves what an issuer shows in public: the discovery document (OpenID
// Connect Discovery 1.0, section 3) and the keys. It issues no tokens: those
// are made in this process, for the cast alone. Space has no discovery document.
func (is *issuer) handler() http.Handler {
	mux := http.NewServeMux()
	for provider, path := range jwksPaths {
		mux.Handle("GET /"+provider+path, jsonHandler(is.keys.of(provider)))
		if provider != space {
			mux.Handle("GET /"+provider+"/.well-known/openid-configuration", jsonHandler(is.discovery(provider)))
		}
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func (is *issuer) discovery(provider string) map[string]any {
	algorithms := []string{}
	for _, k := range is.keys.of(provider).Keys {
		algorithms = append(algorithms, k.Algorithm)
	}
	return map[string]any{
		"issuer":                                is.url(provider),
		"jwks_uri":                              is.url(provider) + jwksPaths[provider],
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algorithms,
	}
}

func jsonHandler(v any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the client left: nothing to tell it
	})
}
