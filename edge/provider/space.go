package provider

// space is JetBrains Space, closed as a cloud service in 2025 and alive where it
// is installed. Its tokens name the Automation Service that a job speaks as, and
// nothing of the job: the project comes from the issuer's "projects" in the
// policy file, by subject, and the run from the job's own unsigned header.
func space() Provider {
	return Provider{
		Title:      "JetBrains Space",
		JWKS:       under("/oauth/jwks.json"),
		Algorithms: []string{"RS256", "RS512"},
		Claims:     map[Field][]Path{},
		Unconfirmed: []string{
			"The iss of a Space token: taken to be the server's URL, which the key set's default URL is made from.",
			"The signature algorithm: RS512 is remembered, RS256 is usual, and both are allowed until one is seen.",
			"Whether a job's token names its run, and how long it lives.",
			"Whether sub stays the same from run to run: the credentials of a job are made for one script.",
		},
		Caveats: []string{
			"No claim names the project: list the subjects under the issuer's projects in the policy file.",
		},
	}
}
