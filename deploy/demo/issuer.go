package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// The providers of the cast, named as deploy/policy.yaml names its issuers. Each
// issues its own tokens under its own URL, all from one process: base URL + "/" +
// provider.
const (
	space    = "space"
	teamcity = "teamcity"
	github   = "github"
	gitlab   = "gitlab"
)

// providers are all of them.
var providers = [...]string{space, teamcity, github, gitlab}

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
	base      string            // URL that jobs and gate know it by, without a trailing slash
	audiences map[string]string // by provider: what the gate wants to read in aud; set before the first token

	mu        sync.Mutex
	published keyring                // guarded by mu
	later     keyring                // likewise: not yet published
	signs     map[string]*signingKey // likewise: by provider
}

func newIssuer(base string, keys keyring) *issuer {
	is := &issuer{base: strings.TrimSuffix(base, "/"), audiences: map[string]string{}, signs: map[string]*signingKey{}}
	for _, k := range keys {
		if k.later {
			is.later = append(is.later, k)
			continue
		}
		is.published = append(is.published, k)
		if is.signs[k.provider] == nil {
			is.signs[k.provider] = k
		}
	}
	return is
}

// url is the provider's iss claim.
func (is *issuer) url(provider string) string { return is.base + "/" + provider }

// keys are what the provider publishes now.
func (is *issuer) keys(provider string) keyring {
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.published.of(provider)
}

// key is what the provider signs with now: its key of that name, or for "" the
// one that it has chosen.
func (is *issuer) key(provider, kid string) *signingKey {
	is.mu.Lock()
	defer is.mu.Unlock()
	if kid == "" {
		return is.signs[provider]
	}
	return is.published.of(provider).find(kid)
}

// publishNext adds the provider's next key to those that it publishes, and
// returns it with the one that it signs with until signWith. ok is false when
// there is no other.
func (is *issuer) publishNext(provider string) (old, next *signingKey, ok bool) {
	is.mu.Lock()
	defer is.mu.Unlock()
	i := slices.IndexFunc(is.later, func(k *signingKey) bool { return k.provider == provider })
	if i < 0 {
		return nil, nil, false
	}
	next = is.later[i]
	is.later = slices.Delete(is.later, i, i+1)
	is.published = append(is.published, next)
	return is.signs[provider], next, true
}

// signWith chooses the key for the tokens from now on.
func (is *issuer) signWith(k *signingKey) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.signs[k.provider] = k
}

// withdraw takes a key out of what is published. Tokens that it signed are still
// about.
func (is *issuer) withdraw(k *signingKey) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.published = slices.DeleteFunc(is.published, func(p *signingKey) bool { return p == k })
}

// handler serves what an issuer shows in public: the discovery document (OpenID
// Connect Discovery 1.0, section 3) and the keys. It issues no tokens: those
// are made in this process, for the cast alone. Space has no discovery document.
func (is *issuer) handler() http.Handler {
	mux := http.NewServeMux()
	for _, provider := range providers {
		mux.Handle("GET /"+provider+jwksPaths[provider], jsonHandler(func() any { return is.keys(provider).public() }))
		if provider != space {
			mux.Handle("GET /"+provider+"/.well-known/openid-configuration", jsonHandler(func() any { return is.discovery(provider) }))
		}
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func (is *issuer) discovery(provider string) map[string]any {
	algorithms := []string{}
	for _, k := range is.keys(provider) {
		if !slices.Contains(algorithms, string(k.algorithm)) {
			algorithms = append(algorithms, string(k.algorithm))
		}
	}
	return map[string]any{
		"issuer":                                is.url(provider),
		"jwks_uri":                              is.url(provider) + jwksPaths[provider],
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algorithms,
	}
}

func jsonHandler(value func() any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value()) // the client left: nothing to tell it
	})
}
