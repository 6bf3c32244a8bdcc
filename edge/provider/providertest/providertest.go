// Package providertest has a sample of each provider's token for the tests of
// other packages: its claims, and the normal form that they stand for.
//
// testdata/PROVIDER.json is written after the vendors' documentation, with
// made-up names and numbers; no token in it was ever issued.
// testdata/PROVIDER.golden.json is its normal form, written by hand: no code of
// ours decides what is right.
package providertest

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/haptrail/haptrail/edge/provider"
)

//go:embed testdata
var files embed.FS

// Sample is one token's content.
type Sample struct {
	Provider string // its name in the policy file
	Issuer   string // iss
	Subject  string // sub

	// JSON is the payload as a file has it; Claims is the same decoded, numbers as
	// json.Number.
	JSON   []byte
	Claims map[string]any

	// Paths is the mapping to read it by: the provider's own, or for generic, which
	// has none, what a policy would say under an issuer's claims.
	Paths map[provider.Field][]provider.Path
	// Want is the normal form.
	Want map[provider.Field]string
}

// Samples returns one sample of each provider, in the order of provider.Names.
// The caller owns them. It panics where the embedded files are broken.
func Samples() []Sample {
	names := provider.Names()
	samples := make([]Sample, len(names))
	for i, name := range names {
		samples[i] = load(name)
	}
	return samples
}

// Fresh returns the sample's claims as an issuer would write them now: for an
// audience (a string or a list of them), issued at a time, good for ten minutes.
// The caller owns them.
func (s Sample) Fresh(audience any, issued time.Time) map[string]any {
	claims := maps.Clone(s.Claims)
	claims["aud"] = audience
	claims["iat"] = issued.Unix()
	claims["exp"] = issued.Add(10 * time.Minute).Unix()
	if _, ok := claims["nbf"]; ok {
		claims["nbf"] = issued.Unix()
	}
	return claims
}

func load(name string) Sample {
	p, ok := provider.Lookup(name)
	if !ok {
		panic("providertest: internal error: no provider " + name)
	}
	s := Sample{Provider: name, Paths: p.Claims, JSON: read(name + ".json")}
	decode(name+".json", s.JSON, &s.Claims)
	golden := name + ".golden.json"
	decode(golden, read(golden), &s.Want)
	s.Issuer, _ = s.Claims["iss"].(string)
	s.Subject, _ = s.Claims["sub"].(string)
	if name == "generic" {
		s.Paths = genericPaths()
	}
	return s
}

func read(name string) []byte {
	text, err := files.ReadFile("testdata/" + name)
	if err != nil {
		panic("providertest: internal error: " + err.Error())
	}
	return slices.Clone(text)
}

func decode(name string, text []byte, v any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		panic(fmt.Sprintf("providertest: internal error: testdata/%s: %v", name, err))
	}
}

// genericPaths maps a Kubernetes service account's token, whose claims have a dot
// in their name.
func genericPaths() map[provider.Field][]provider.Path {
	paths := make(map[provider.Field][]provider.Path)
	for field, text := range map[provider.Field]string{
		provider.Tenant:  `$.kubernetes\.io.namespace`,
		provider.Project: `$.kubernetes\.io.serviceaccount.name`,
		provider.Run:     `$.kubernetes\.io.pod.uid`,
		provider.Runner:  `$.kubernetes\.io.node.name`,
	} {
		path, err := provider.ParsePath(text)
		if err != nil {
			panic("providertest: internal error: " + err.Error())
		}
		paths[field] = []provider.Path{path}
	}
	return paths
}
