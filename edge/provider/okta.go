package provider

import "strings"

// okta is Okta as an issuer of access tokens to service apps (the client
// credentials grant).
func okta() Provider {
	return Provider{
		Title:      "Okta",
		JWKS:       oktaKeys,
		Algorithms: []string{"RS256"},
		Claims: map[Field][]Path{
			Actor: at(`$.cid`),
		},
		Caveats: []string{
			"Use a custom authorization server (https://DOMAIN/oauth2/ID): the organisation's own server may change what its tokens hold at any time.",
			"Nothing of a CI job is in a token unless custom claims are configured: map them under the issuer's claims, or subjects under its projects.",
			"A token with a uid is a person's; then sub is a login, else it is the service app's client id.",
		},
	}
}

// oktaKeys finds the key set: beside a custom authorization server's iss, and
// for the organisation's own server under /oauth2.
func oktaKeys(issuer string) string {
	if strings.Contains(issuer, "/oauth2/") {
		return under("/v1/keys")(issuer)
	}
	return under("/oauth2/v1/keys")(issuer)
}
