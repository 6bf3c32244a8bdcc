package provider

// gitlab is GitLab CI with ID tokens (id_tokens in .gitlab-ci.yml), on
// gitlab.com or one's own server.
func gitlab() Provider {
	return Provider{
		Title:      "GitLab CI",
		JWKS:       under("/oauth/discovery/keys"),
		Algorithms: []string{"RS256"},
		Claims: map[Field][]Path{
			Tenant: at(`$.namespace_path`),
			// In a fork's merge request project_path names the fork, and
			// job_project_path the parent that the job runs in: with project_path,
			// a fork gets no role of its parent.
			Project: at(`$.project_path`),
			Job:     at(`$.ci_config_ref_uri`),
			Run:     at(`$.pipeline_id`),
			// Not ref, the name alone: a tag may have a branch's name.
			Ref:    at(`$.ref_path`),
			SHA:    at(`$.sha`),
			Actor:  at(`$.user_login`),
			Runner: at(`$.runner_id`),
		},
		Unconfirmed: []string{
			"The key set's path: the vendor's page leaves it to the discovery document.",
			"The names job_project_path and job_namespace_path: inferred from a prefix in the source, and not used.",
		},
		Caveats: []string{
			"A token of an old server without ref_path has no ref; map $.ref there, and mind that a tag may have a branch's name.",
			"ref_protected is worth a look: a branch that anybody may push to is no proof of review. Restrict roles to refs that are protected.",
		},
	}
}
