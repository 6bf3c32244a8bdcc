package provider

// table lists the providers. Each is built anew for whoever asks, so that nobody
// shares, and nobody changes, another one's maps.
var table = []struct {
	name  string
	build func() Provider
}{
	{"space", space},
	{"teamcity", teamcity},
	{"github", github},
	{"gitlab", gitlab},
	{"circleci", circleci},
	{"buildkite", buildkite},
	{"okta", okta},
	{"aws", aws},
	{"generic", generic},
}

// Lookup finds a provider by the policy file's name for it. The caller owns what
// is returned.
func Lookup(name string) (Provider, bool) {
	for _, row := range table {
		if row.name == name {
			p := row.build()
			p.Name = row.name
			return p, true
		}
	}
	return Provider{}, false
}

// Names returns the names of all providers: those that speak for CI jobs first,
// then issuers of workload tokens, generic last.
func Names() []string {
	names := make([]string, len(table))
	for i, row := range table {
		names[i] = row.name
	}
	return names
}
