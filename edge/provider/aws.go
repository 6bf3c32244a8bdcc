package provider

// aws is AWS IAM's outbound identity federation (sts:GetWebIdentityToken), each
// account with an issuer of its own. All that is AWS's stands under one claim
// whose name is a URL.
func aws() Provider {
	return Provider{
		Title:      "AWS IAM",
		JWKS:       under("/.well-known/jwks.json"),
		Algorithms: []string{"RS256", "ES384"},
		Claims: map[Field][]Path{
			Tenant: at(`$.https://sts\.amazonaws\.com/.aws_account`),
			// The principal's ARN. source_identity would name a person, but whoever
			// assumes a role chooses it unless the role's trust policy pins it.
			Actor:  at(`$.sub`),
			Runner: at(`$.https://sts\.amazonaws\.com/.ec2_source_instance_arn`),
		},
		SelfAsserted: at(`$.https://sts\.amazonaws\.com/.request_tags`),
		Caveats: []string{
			"sub is the role's ARN without a session name: everyone who may assume the role is the same subject.",
			"request_tags are the caller's own words and are never mapped, not even by the policy file.",
			"source_identity is chosen by whoever assumes the role, unless its trust policy pins sts:SourceIdentity: map it only then.",
			"No claim names a project: list the subjects under the issuer's projects, or map a principal tag that only administrators may set.",
		},
	}
}
