package config

import (
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// CI is what ties requests to runs and commits: webhooks that CI servers send,
// and their APIs, which are asked for what no webhook told. docs/providers.md
// says for each provider what to click, and which permissions are needed.
type CI struct {
	// Listen is the address at which webhooks are received, as POST
	// /webhooks/NAME of a source. Default 127.0.0.1:9596, for a proxy before it;
	// "off" receives none. Without sources nothing listens. A delivery is taken
	// when it proves its sender, but anybody who reaches the address may try.
	Listen string `yaml:"listen"`
	// TLS has the listener speak TLS. Default: plain HTTP, in which secrets that
	// travel with webhooks (TeamCity's, GitLab's secret token) can be read.
	TLS WebhookTLS `yaml:"tls"`
	// PollInterval is the pause between two polls of a source's API. Default 1m,
	// at least 1s. Where webhooks arrive it may be longer; more often costs calls
	// that the server may limit.
	PollInterval Duration `yaml:"poll_interval"`
	// Back is how far back the first poll of a source goes; later ones go on where
	// the last one ended. Default 24h, at least 1m. Requests from before it stay
	// without a run.
	Back Duration `yaml:"back"`
	// Slack is how far the clocks of HAProxy and of a CI server may be apart: a
	// run counts as going on so much earlier and later than it says. Default 5m,
	// at most 1h. More makes neighbouring runs ambiguous, and a token that is used
	// shortly after its run goes unnoticed.
	Slack Duration `yaml:"slack"`
	// LookBack is how old requests may be that a late run is still tied to; what
	// changes is kept in reattributions. Default 7d, at least 1h. More costs work
	// when a run comes late.
	LookBack Duration `yaml:"look_back"`
	// Sources are the CI servers. Default: none.
	Sources []CISource `yaml:"sources"`
}

// WebhookTLS is the identity of the webhooks' listener: PEM files, read again
// when they change.
type WebhookTLS struct {
	Cert string `yaml:"cert"` // with its chain; needed for TLS
	Key  string `yaml:"key"`  // needed with cert; may be the same file
}

// CISource is one CI server, or one account of a hosted service. Which fields it
// takes depends on the provider. Without credentials (client_secret_*, token_* or
// app) only its webhooks are heard.
//
// A secret is never in the file: its key ends in _file (the text without blanks
// and line ends around it) or _env (a variable's name), one of the two. It is
// read each time it is used, so that a file can be rotated under a running daemon.
type CISource struct {
	// Name is the path segment of its webhooks and the label in metrics: letters,
	// digits, "-", "_" and ".". Unique. Renaming it polls anew from Back on.
	Name string `yaml:"name"`
	// Provider is space, teamcity, github or gitlab.
	Provider string `yaml:"provider"`
	// URL is the server's address, https (http for a loopback host): of Space
	// without /api/http, of TeamCity with its context path, of GitLab with its
	// relative root. Of GitHub it is the API's: https://HOST/api/v3 of an
	// Enterprise Server; default https://api.github.com. Else needed.
	URL string `yaml:"url"`

	// ClientID (space) is our application's. Needed with client_secret_* and
	// webhook.public_keys.
	ClientID string `yaml:"client_id"`
	// ClientSecretFile or ClientSecretEnv (space) is the application's secret, for
	// short tokens of its own. Excludes token_*.
	ClientSecretFile string `yaml:"client_secret_file"`
	ClientSecretEnv  string `yaml:"client_secret_env"` // likewise
	// TokenFile or TokenEnv is what the API is called with: Space's permanent
	// token, TeamCity's access token, GitHub's fine-grained token, GitLab's access
	// token with read_api. Give it nothing but what docs/providers.md lists.
	TokenFile string `yaml:"token_file"`
	TokenEnv  string `yaml:"token_env"` // likewise
	// App (github) is a GitHub App, in the place of a token.
	App *GitHubApp `yaml:"app"`

	// Webhook is how a delivery proves that it comes from this server. Default:
	// not at all, and every delivery is refused with 401.
	Webhook CIWebhook `yaml:"webhook"`

	// Projects are polled. TeamCity: external ids, each with the projects below
	// it; default all that the account may see. GitLab: paths; default all that the
	// account is a member of. Space: see CIProject; default none, only applications.
	Projects []CIProject `yaml:"projects"`
	// Repositories (github) are polled, as OWNER/NAME. Default none.
	Repositories []string `yaml:"repositories"`

	// Scope (space) is what client_secret_* asks for. Default "**", all that was
	// granted to the application.
	Scope string `yaml:"scope"`
	// Subject (space) says which name of an application is the subject of its
	// tokens: id, clientId or name. Default id; JetBrains does not document it, so
	// compare it with the subjects that are logged, or nothing is inferred.
	Subject string `yaml:"subject"`
	// CommitQuery (space) finds a commit on servers that are too old to be asked
	// for one; {sha} stands for it. Default "{sha}".
	CommitQuery string `yaml:"commit_query"`
	// PrincipalsInterval (space) is how often applications, their rights and their
	// tokens are read, about five calls each. Default 1h.
	PrincipalsInterval Duration `yaml:"principals_interval"`
	// LongestBuild (teamcity) is how long a build runs at most: the end of one that
	// runs longer is not seen. Default 7d; more costs the server time.
	LongestBuild Duration `yaml:"longest_build"`
	// Reruns (github) is for how long after a run was made its re-runs are looked
	// for. Default 24h, at most 30d; later ones are known by webhook only.
	Reruns Duration `yaml:"reruns"`
	// Approvals (github) asks who approved a run's deployments: one more call for
	// each run, and the permission to read Deployments. Default false.
	Approvals bool `yaml:"approvals"`
}

// GitHubApp is a GitHub App that is installed where the repositories are.
type GitHubApp struct {
	ID           string `yaml:"id"`           // the app's id or client id; needed
	Installation string `yaml:"installation"` // the digits at the end of the installation's URL; needed
	// KeyFile or KeyEnv is the app's private key, as GitHub gave it (PEM). Needed.
	KeyFile string `yaml:"key_file"`
	KeyEnv  string `yaml:"key_env"` // likewise
}

// CIWebhook is how a delivery proves its sender. While a secret is rotated, its
// file (or variable) may hold two, the old and the new one, each on a line of its
// own: either will do. Space takes one way, with one secret.
type CIWebhook struct {
	// PublicKeys (space) checks Space's own signature with keys from the server.
	// Best for Space: there is no secret to share.
	PublicKeys bool `yaml:"public_keys"`
	// SigningKeyFile or SigningKeyEnv is Space's signing key, or GitLab's signing
	// token (whsec_…). With GitLab's, secret_* does not count any more: a secret
	// that is sent along can be stolen and used again.
	SigningKeyFile string `yaml:"signing_key_file"`
	SigningKeyEnv  string `yaml:"signing_key_env"` // likewise
	// SecretFile or SecretEnv is GitHub's webhook secret, which signs the body, or
	// GitLab's secret token, which is sent along: use TLS.
	SecretFile string `yaml:"secret_file"`
	SecretEnv  string `yaml:"secret_env"` // likewise
	// BearerFile or BearerEnv (space) is a token in the header Authorization. It is
	// sent along and nothing is signed: whoever saw one delivery can forge others.
	BearerFile string `yaml:"bearer_file"`
	BearerEnv  string `yaml:"bearer_env"` // likewise
	// User (space, teamcity) is that of HTTP Basic, with password_*; as weak as a
	// bearer token.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"` // the user's password
	PasswordEnv  string `yaml:"password_env"`  // likewise
	// Header (teamcity) is one that a proxy before haptrail adds to what comes from
	// TeamCity, with the value of header_value_*; the proxy must take it off what
	// others send.
	Header          string `yaml:"header"`
	HeaderValueFile string `yaml:"header_value_file"` // the header's value
	HeaderValueEnv  string `yaml:"header_value_env"`  // likewise
	// Window (space, gitlab) is by how much the time of a signed delivery may
	// differ from ours. Default 5m; more lets a copied delivery be sent again for
	// longer, which changes nothing that is stored.
	Window Duration `yaml:"window"`
}

// CIProject is a project to poll. In the file it is a word, TeamCity's external id
// or GitLab's path; for Space it is these fields.
type CIProject struct {
	// Name is that word. Of a Space project it is what the policy file's projects
	// call it, and by default its key.
	Name string `yaml:"name"`
	// Key and ID (space) are both needed: a job sees them as JB_SPACE_PROJECT_KEY
	// and JB_SPACE_PROJECT_ID.
	Key string `yaml:"key"`
	ID  string `yaml:"id"` // likewise
	// Jobs (space) are the ids of the jobs to poll: the API lists runs by job only.
	// Default none: runs come by webhook.
	Jobs []string `yaml:"jobs"`
	// Repositories (space) are the names of those whose commits are polled.
	Repositories []string `yaml:"repositories"`
	// Principal (space) is the subject of the tokens that the project's jobs have:
	// its Automation Service. Without it, and without a header that names the run,
	// its requests stay without one.
	Principal string `yaml:"principal"`
}

// UnmarshalYAML lets a project be its name alone.
func (p *CIProject) UnmarshalYAML(node ast.Node) error {
	if _, ok := node.(*ast.StringNode); ok {
		*p = CIProject{Name: node.GetToken().Value}
		return nil
	}
	type fields CIProject
	return yaml.NewDecoder(strings.NewReader(""), yaml.Strict()).DecodeFromNode(node, (*fields)(p))
}
