package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/haptrail/haptrail/edge/provider"
	"github.com/haptrail/haptrail/internal/strictyaml"
)

// What the gate takes for an iss, an aud or a sub, so that each can be a map's key.
var keyText = regexp.MustCompile(`\A[]A-Za-z0-9_.:/@+=,*%~[-]{1,200}\z`)

// algorithms may be configured: asymmetric ones of RFC 7518 that HAProxy verifies.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}

const (
	maxLeeway   = Duration(5 * time.Minute)
	longest     = Duration(400 * 24 * time.Hour)
	maxPaths    = 8 // of one field, each a rule of the gate
	keyTextHelp = `letters, digits and _.:/@+=,*%~[]-, at most 200 bytes`
)

var issuerName = regexp.MustCompile(`\A[a-z0-9][a-z0-9_-]{0,31}\z`)

func (p *Policy) validateIssuers(f *faults) {
	if len(p.Issuers) == 0 {
		f.add("issuers", "is empty: without an issuer no token is accepted; name one, such as {name: github, provider: github, audiences: [gate.example.com]}")
	}
	names, isses := map[string]bool{}, map[string]string{}
	for i := range p.Issuers {
		issuer, field := &p.Issuers[i], at("issuers", i)
		switch {
		case issuer.Name == "":
			f.add(field+".name", "is missing: name the issuer, such as github")
		case !issuerName.MatchString(issuer.Name):
			f.add(field+".name", `%q must be small letters, digits, "_" and "-", at most 32, the first one a letter or digit`, issuer.Name)
		case names[issuer.Name]:
			f.add(field+".name", "%q is used twice: give each issuer its own", issuer.Name)
		}
		names[issuer.Name] = true
		if other, ok := isses[issuer.Issuer]; ok && issuer.Issuer != "" {
			f.add(field+".issuer", "%q is also that of %q: an iss has one set of keys; put their audiences under one issuer", issuer.Issuer, other)
		}
		isses[issuer.Issuer] = issuer.Name
		if issuer.Provider == "" {
			f.add(field+".provider", "is missing: write one of %v", provider.Names())
		} else if checkProvider(f, field+".provider", issuer.Provider) {
			validateIssuer(f, field, issuer)
		}
	}
}

// checkProvider notes a provider that is not known.
func checkProvider(f *faults, field, name string) bool {
	if _, ok := provider.Lookup(name); !ok {
		f.add(field, "%s; there are %v", strictyaml.Unknown("provider", name, provider.Names()), provider.Names())
		return false
	}
	return true
}

func validateIssuer(f *faults, field string, issuer *Issuer) {
	good := keyText.MatchString(issuer.Issuer)
	switch {
	case issuer.Issuer == "":
		f.add(field+".issuer", "is missing: each %s has its own; write the iss of its tokens, such as https://ci.example.com", issuer.Provider)
	case !good:
		f.add(field+".issuer", "%q must be the tokens' iss: %s", issuer.Issuer, keyTextHelp)
	}
	switch {
	case issuer.JWKS != "" && (good || f.places.Has(field+".jwks")): // not the default that a bad iss led to
		if err := checkJWKS(issuer.JWKS); err != nil {
			f.add(field+".jwks", "%v", err)
		}
	case good:
		f.add(field+".jwks", "is missing, and %s has no usual place: write the URL of its key set, or file:PATH", issuer.Provider)
	}
	if len(issuer.Audiences) == 0 {
		f.add(field+".audiences", "is empty: name the aud that jobs ask for, such as gate.example.com; without it a token for another service would pass")
	}
	for i, audience := range issuer.Audiences {
		switch {
		case !keyText.MatchString(audience):
			f.add(at(field+".audiences", i), "%q must be %s", audience, keyTextHelp)
		case slices.Index(issuer.Audiences, audience) < i:
			f.add(at(field+".audiences", i), "%q stands here twice: name it once", audience)
		}
	}
	if len(issuer.Algorithms) == 0 {
		f.add(field+".algorithms", "is empty, and %s has no usual one: write such as [RS256]", issuer.Provider)
	}
	for i, algorithm := range issuer.Algorithms {
		switch {
		case !slices.Contains(algorithms, algorithm):
			f.add(at(field+".algorithms", i), "%q must be one of %v: a key that is public verifies no other", algorithm, algorithms)
		case slices.Index(issuer.Algorithms, algorithm) < i:
			f.add(at(field+".algorithms", i), "%q stands here twice: name it once", algorithm)
		}
	}
	validateTimes(f, field, issuer)
	validateClaims(f, field, issuer)
	validateProjects(f, field, issuer)
}

func validateTimes(f *faults, field string, issuer *Issuer) {
	if issuer.Leeway > maxLeeway {
		f.add(field+".leeway", "%s must be at most 5m: it also lengthens every token's life; set the clocks instead", issuer.Leeway)
	}
	for _, t := range []struct {
		key   string
		value Duration
	}{{"max_age", issuer.MaxAge}, {"max_lifetime", issuer.MaxLifetime}, {"key_overlap", issuer.KeyOverlap}, {"leeway", issuer.Leeway}} {
		if t.value%Duration(time.Second) != 0 {
			f.add(field+"."+t.key, "%s must be whole seconds: tokens count in them", t.value)
		} else if t.value > longest {
			f.add(field+"."+t.key, "%s must be at most 400d", t.value)
		}
	}
}

// checkJWKS takes https, http to this machine only, and files.
func checkJWKS(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("%q is no URL: write https://HOST/PATH or file:PATH", text)
	}
	switch {
	case u.Scheme == "file" && (len(text) > len("file:") && u.Host == "" && u.RawQuery == ""):
		return nil
	case u.Scheme == "file":
		return fmt.Errorf("%q names no file of this machine: write file:PATH", text)
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return fmt.Errorf("%q must be https://HOST/PATH or file:PATH", text)
	case u.User != nil:
		return fmt.Errorf("has a user and password: key sets are public; leave it out")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fmt.Errorf("%q is not encrypted, and whoever is between could put his own keys in: write https (http only to localhost)", text)
	}
	return nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// validateClaims checks the overrides and puts them in the provider's places.
func validateClaims(f *faults, field string, issuer *Issuer) {
	known := make([]string, 0, len(provider.Fields()))
	for _, name := range provider.Fields() {
		known = append(known, string(name))
	}
	effective := maps.Clone(issuer.paths)
	if effective == nil {
		effective = map[provider.Field][]provider.Path{}
	}
	from, _ := provider.Lookup(issuer.Provider)
	for _, name := range slices.Sorted(maps.Keys(issuer.Claims)) {
		key := field + ".claims." + name
		if !slices.Contains(known, name) {
			f.add(key, "%s; there are %v", strictyaml.Unknown("field", name, known), known)
			continue
		}
		texts := issuer.Claims[name]
		if len(texts) > maxPaths {
			f.add(key, "%d paths, at most %d: each is a rule that every request runs through", len(texts), maxPaths)
		}
		var paths []provider.Path
		for _, text := range texts {
			path, err := provider.ParsePath(text)
			if err != nil {
				f.add(key, "%v", err)
				continue
			}
			paths = append(paths, path)
		}
		if err := from.Check(map[provider.Field][]provider.Path{provider.Field(name): paths}); err != nil {
			f.add(key, "%v", err)
		}
		effective[provider.Field(name)] = paths
		if len(paths) == 0 {
			delete(effective, provider.Field(name))
		}
	}
	issuer.paths = effective
}

func validateProjects(f *faults, field string, issuer *Issuer) {
	for _, subject := range slices.Sorted(maps.Keys(issuer.Projects)) {
		project := issuer.Projects[subject]
		if !keyText.MatchString(subject) {
			f.add(field+".projects", "the subject %q must be %s", subject, keyTextHelp)
		}
		if !keyText.MatchString(project) {
			f.add(field+".projects", "%q, the project of %q, must be %s", project, subject, keyTextHelp)
		}
	}
}
