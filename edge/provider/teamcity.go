package provider

// teamcity is TeamCity 2025.11 or later with JetBrains' own plugin
// (github.com/JetBrains/teamcity-oidc-jwt). Names are mapped rather than numbers,
// as people write policies with them: external ids are unique on a server, and a
// renamed agent or user is rare.
func teamcity() Provider {
	return Provider{
		Title:      "TeamCity",
		JWKS:       under("/.well-known/jwks"),
		Algorithms: []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"},
		Claims: map[Field][]Path{
			Project: at(`$.project_external_id`),
			Job:     at(`$.build_type_external_id`),
			Run:     at(`$.build_id`),
			Ref:     at(`$.branch_name`),
			SHA:     at(`$.vcs_roots[0].revision`),
			Actor:   at(`$.triggered_by_user_name`),
			Runner:  at(`$.agent_name`),
		},
		Unconfirmed: []string{
			"Whether vcs_roots[].revision is the revision that was built: the plugin reads the root's current one, and says so in a to-do.",
		},
		Caveats: []string{
			"The default branch: the plugin's README shows \"branch_name\": \"<default>\" for it, its tests refs/heads/main, and a build configuration without branches has none. Look at a token; ref: <default> is a selector like any other, and branch_display_name has the branch's short name.",
			"The commit is the first VCS root's; a build of several roots has others beside it.",
			"A personal build, which runs its owner's unreviewed patch, has its project's and job's usual claims. Only sub tells: each of its parts begins with the user's id, as in user1__Root. Name the subject where that matters.",
			"The plugin can be set to PS256, PS384 or PS512, which HAProxy verifies from 2.8 on: name them under algorithms.",
		},
	}
}
