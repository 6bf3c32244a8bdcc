package config

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/haptrail/haptrail/ingest/ci"
)

// The providers of sources, as edge/provider names them.
const (
	space    = "space"
	teamcity = "teamcity"
	github   = "github"
	gitlab   = "gitlab"
)

// Calls are how a source calls its server. The zero value is the usual way.
type Calls struct {
	HTTP  *http.Client
	Pause func(ctx context.Context, d time.Duration) error // between two tries
}

// Source is the source as package ci takes it. Nothing is asked of its server.
func (s *CISource) Source(calls Calls) (ci.Source, error) {
	switch s.Provider {
	case space:
		return s.space(calls)
	case teamcity:
		return ci.NewTeamCity(ci.TeamCityConfig{
			URL: s.URL, Token: s.token().one(), Projects: s.projectNames(), LongestBuild: time.Duration(s.LongestBuild),
			Webhook: ci.TeamCityWebhook{
				User: s.Webhook.User, Passwords: s.Webhook.password().either(), Header: s.Webhook.Header, Values: s.Webhook.headerValue().either(),
			},
			HTTP: calls.HTTP, Pause: calls.Pause,
		})
	case github:
		c := ci.GitHubConfig{
			API: s.URL, Webhooks: s.Webhook.secret().either(), Token: s.token().one(), Repositories: s.Repositories,
			Reruns: time.Duration(s.Reruns), Approvals: s.Approvals, HTTP: calls.HTTP, Pause: calls.Pause,
		}
		if s.App != nil {
			c.App = &ci.GitHubApp{ID: s.App.ID, Installation: s.App.Installation, Key: s.App.key().text()}
		}
		return ci.NewGitHub(c)
	case gitlab:
		return ci.NewGitLab(ci.GitLabConfig{
			URL: s.URL, Token: s.token().one(), Projects: s.projectNames(), WebhookSecrets: s.Webhook.secret().either(),
			SigningTokens: s.Webhook.signingKey().either(), Window: time.Duration(s.Webhook.Window), HTTP: calls.HTTP, Pause: calls.Pause,
		})
	}
	return nil, fmt.Errorf("provider %q is none of %s", s.Provider, strings.Join(ciProviders, ", "))
}

func (s *CISource) space(calls Calls) (ci.Source, error) {
	c := ci.SpaceConfig{
		ServerURL: s.URL, ClientID: s.ClientID, ClientSecret: s.clientSecret().one(), PermanentToken: s.token().one(), Scope: s.Scope,
		Webhooks: ci.SpaceVerification{
			PublicKeys: s.Webhook.PublicKeys, SigningKey: s.Webhook.signingKey().one(), Bearer: s.Webhook.bearer().one(),
			BasicUser: s.Webhook.User, BasicPassword: s.Webhook.password().one(), Window: time.Duration(s.Webhook.Window),
		},
		Subject: ci.SpaceSubject(s.Subject), CommitQuery: s.CommitQuery, PrincipalsEvery: time.Duration(s.PrincipalsInterval),
		HTTP: calls.HTTP, Pause: calls.Pause,
	}
	for _, p := range s.Projects {
		c.Projects = append(c.Projects, ci.SpaceProject{
			Key: p.Key, ID: p.ID, Name: p.Name, Jobs: p.Jobs, Repositories: p.Repositories, Principal: p.Principal,
		})
	}
	return ci.NewSpace(c)
}

func (s *CISource) projectNames() (names []string) {
	for _, p := range s.Projects {
		names = append(names, p.Name)
	}
	return names
}

// Polled reports whether the source's API can be used: without credentials only
// its webhooks are heard.
func (s *CISource) Polled() bool {
	return s.App != nil || s.token().given() || s.clientSecret().given()
}

// Hears reports whether a delivery of the source can prove its sender: else all
// are refused.
func (s *CISource) Hears() bool {
	w := &s.Webhook
	return w.PublicKeys || w.signingKey().given() || w.secret().given() || w.bearer().given() || w.password().given() || w.headerValue().given()
}

// CheckSecrets reads each secret of the source, by its key in the file.
func (s *CISource) CheckSecrets() error {
	for _, r := range s.references() {
		if !r.given() {
			continue
		}
		for _, read := range r.readers(s.Provider) {
			if _, err := read(); err != nil {
				return fmt.Errorf("%s: %w", r.field(), err)
			}
		}
	}
	return nil
}

// reference is where a secret is: in a file or in a variable.
type reference struct {
	key       string // in the file, without _file and _env
	file, env *string
}

func (s *CISource) clientSecret() reference {
	return reference{"client_secret", &s.ClientSecretFile, &s.ClientSecretEnv}
}
func (s *CISource) token() reference { return reference{"token", &s.TokenFile, &s.TokenEnv} }
func (a *GitHubApp) key() reference  { return reference{"app.key", &a.KeyFile, &a.KeyEnv} }
func (w *CIWebhook) bearer() reference {
	return reference{"webhook.bearer", &w.BearerFile, &w.BearerEnv}
}
func (w *CIWebhook) secret() reference {
	return reference{"webhook.secret", &w.SecretFile, &w.SecretEnv}
}
func (w *CIWebhook) password() reference {
	return reference{"webhook.password", &w.PasswordFile, &w.PasswordEnv}
}
func (w *CIWebhook) signingKey() reference {
	return reference{"webhook.signing_key", &w.SigningKeyFile, &w.SigningKeyEnv}
}
func (w *CIWebhook) headerValue() reference {
	return reference{"webhook.header_value", &w.HeaderValueFile, &w.HeaderValueEnv}
}

// references are all of a source.
func (s *CISource) references() []reference {
	w := &s.Webhook
	all := []reference{s.clientSecret(), s.token(), w.signingKey(), w.secret(), w.bearer(), w.password(), w.headerValue()}
	if s.App != nil {
		all = append(all, s.App.key())
	}
	return all
}

// files are the paths in the section.
func (c *CI) files() []*string {
	paths := []*string{&c.TLS.Cert, &c.TLS.Key}
	for i := range c.Sources {
		for _, r := range c.Sources[i].references() {
			paths = append(paths, r.file)
		}
	}
	return paths
}

func (r reference) given() bool { return *r.file != "" || *r.env != "" }

// field is the key that is used.
func (r reference) field() string {
	if *r.env != "" {
		return r.key + "_env"
	}
	return r.key + "_file"
}

// readers are the secrets as the provider's source takes them.
func (r reference) readers(provider string) []ci.Secret {
	switch {
	case r.key == "app.key":
		return []ci.Secret{r.text()}
	case provider != space && strings.HasPrefix(r.key, "webhook."):
		return r.either()
	}
	return []ci.Secret{r.one()}
}

// text is the whole secret, nil where there is none. It is read at each use.
func (r reference) text() ci.Secret {
	switch {
	case *r.file != "":
		return ci.SecretFile(*r.file)
	case *r.env != "":
		name := *r.env
		return func() (string, error) {
			value := strings.TrimSpace(os.Getenv(name))
			if value == "" {
				return "", fmt.Errorf("the environment variable %s is empty: put the secret into it", name)
			}
			return value, nil
		}
	}
	return nil
}

// one is a secret of one line.
func (r reference) one() ci.Secret {
	if !r.given() {
		return nil
	}
	return r.line(1, func(lines []string) string { return lines[0] })
}

// either are two secrets of which one has to fit: the lines of the text, twice the
// same where it has one line.
func (r reference) either() []ci.Secret {
	if !r.given() {
		return nil
	}
	return []ci.Secret{
		r.line(2, func(lines []string) string { return lines[0] }),
		r.line(2, func(lines []string) string { return lines[len(lines)-1] }),
	}
}

// line picks one of the secret's lines, of which there may be most.
func (r reference) line(most int, pick func(lines []string) string) ci.Secret {
	read, field := r.text(), r.field()
	return func() (string, error) {
		text, err := read()
		if err != nil {
			return "", err
		}
		var lines []string
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
		if len(lines) > most {
			return "", fmt.Errorf("%s leads to %d lines of text, and may have %d: one for each secret", field, len(lines), most)
		}
		return pick(lines), nil
	}
}
