package provider

// generic is any other issuer of JWTs: Kubernetes, Keycloak, Vault, one's own.
// It maps nothing: what a claim means, and whether its holder may choose it, is
// known to whoever writes the policy file. That gives iss and key set, too.
func generic() Provider {
	return Provider{
		Title:      "any other issuer",
		Algorithms: []string{"RS256", "ES256"},
		Claims:     map[Field][]Path{},
		Caveats: []string{
			"Map claims only where the holder of a token cannot choose their values.",
		},
	}
}
