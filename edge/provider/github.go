package provider

// github is GitHub Actions. Names are mapped rather than ids, as people write
// policies with them; where a repository may be renamed or deleted and its name
// taken by another, map repository_id instead.
func github() Provider {
	return Provider{
		Title:      "GitHub Actions",
		Issuer:     "https://token.actions.githubusercontent.com",
		JWKS:       under("/.well-known/jwks"),
		Algorithms: []string{"RS256"},
		Claims: map[Field][]Path{
			Tenant:  at(`$.repository_owner`),
			Project: at(`$.repository`),
			// The workflow that was started, not job_workflow_ref: that is the
			// reusable workflow which a job calls, and any repository may call it.
			Job:        at(`$.workflow_ref`),
			Run:        at(`$.run_id`),
			RunAttempt: at(`$.run_attempt`),
			Ref:        at(`$.ref`),
			// sha is the commit that the event is about. workflow_sha is the one
			// that the workflow file was taken from: the same, unless the file comes
			// from another repository.
			SHA:    at(`$.sha`, `$.workflow_sha`),
			Actor:  at(`$.actor`),
			Runner: at(`$.runner_environment`),
		},
		Unconfirmed: []string{
			"The claim sha: it is in real tokens, but not in the vendor's table of claims. workflow_sha, which is, stands in.",
			"The key set's path and RS256: the vendor's page leaves both to the discovery document.",
		},
		Caveats: []string{
			"For a pull request, ref is refs/pull/N/merge and sha a merge commit that is on no branch.",
			"sub can be customised, and has ids in it for repositories made after 2026-07-15: select by project and ref rather than by subject.",
			"The runner is \"github-hosted\" or \"self-hosted\", not a machine.",
			"GitHub Enterprise Server has an issuer of its own, https://HOST/_services/token, and so may an enterprise in the cloud.",
		},
	}
}
