package provider

// buildkite is Buildkite.
func buildkite() Provider {
	return Provider{
		Title:      "Buildkite",
		Issuer:     "https://agent.buildkite.com",
		JWKS:       under("/.well-known/jwks"),
		Algorithms: []string{"RS256"},
		Claims: map[Field][]Path{
			Tenant:  at(`$.organization_slug`),
			Project: at(`$.pipeline_slug`),
			Job:     at(`$.step_key`),
			Run:     at(`$.build_number`),
			Ref:     at(`$.build_branch`, `$.build_tag`),
			SHA:     at(`$.build_commit`),
			Runner:  at(`$.agent_id`),
		},
		Unconfirmed: []string{
			"The claims of newer versions (runner, cluster, source of the build): the page that was read is an older one.",
			"A jti: none is listed, and haptrail identifies a token by its signature then.",
			"RS256: the vendor's page leaves it to the discovery document.",
		},
		Caveats: []string{
			"All organisations share one issuer: name the tenant in every selector.",
			"build_number counts within a pipeline; project and run together name a build.",
			"The ref is a bare name, and a tag may have a branch's. sub tells them apart (organization:O:pipeline:P:ref:refs/heads/main:...): select by subject where it matters.",
			"step_key is empty for a step without a key, and build_commit is HEAD until the agent has resolved it.",
		},
	}
}
