package provider

// circleci is CircleCI, each organisation with an issuer of its own. Its claims
// have dots and slashes in their names.
func circleci() Provider {
	return Provider{
		Title:      "CircleCI",
		JWKS:       under("/.well-known/jwks-pub.json"),
		Algorithms: []string{"RS256"},
		Claims: map[Field][]Path{
			Tenant:  at(`$.oidc\.circleci\.com/org-id`),
			Project: at(`$.oidc\.circleci\.com/project-id`),
			Job:     at(`$.oidc\.circleci\.com/pipeline-definition-id`),
			// A workflow runs within a pipeline, and an older server names only the
			// workflow; both are UUIDs and cannot be mistaken for each other.
			Run: at(`$.oidc\.circleci\.com/pipeline-id`, `$.oidc\.circleci\.com/workflow-id`),
			Ref: at(`$.oidc\.circleci\.com/vcs-ref`),
		},
		Unconfirmed: []string{
			"RS256 and the key set's path: from what others configure, the vendor's page leaves both to the discovery document.",
			"A jti: none is listed, and haptrail identifies a token by its signature then.",
		},
		Caveats: []string{
			"No claim names the commit; it can be had from CircleCI's API by the pipeline's id.",
			"The user is only in sub (org/O/project/P/user/U), so actor stays empty: select by subject.",
			"A job that is rerun with SSH (ssh-rerun) has its usual claims, while a person types the commands.",
		},
	}
}
