package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Secrets of the CI servers, each the text of a file: see CI.SecretFile.
const (
	SpaceClientSecret       = "space-client-secret"
	SpaceSigningKey         = "space-signing-key"
	TeamCityToken           = "teamcity-token"
	TeamCityWebhookPassword = "teamcity-webhook-password"
	GitHubToken             = "github-token"
	GitHubWebhookSecret     = "github-webhook-secret"
	GitLabToken             = "gitlab-token"
	GitLabWebhookSecret     = "gitlab-webhook-secret"
)

// secretNames are all of them.
var secretNames = [...]string{
	SpaceClientSecret, SpaceSigningKey, TeamCityToken, TeamCityWebhookPassword,
	GitHubToken, GitHubWebhookSecret, GitLabToken, GitLabWebhookSecret,
}

// secretsDir is the folder of their files, below CIOptions.Dir.
const secretsDir = "secrets"

// CIOptions says how to set the CI servers up. Dir is required.
type CIOptions struct {
	// Dir is a scratch directory, made when it is missing, for the servers' secrets.
	Dir string
	// SecretMode is the mode of the secrets' files. Default 0600; docker-compose.yml
	// shares them with a container of another user.
	SecretMode os.FileMode
	// Listen is where each server answers its API, at a port of its own. Default
	// "127.0.0.1:0".
	Listen string
	// Logger gets what goes wrong in the background. Default: discarded.
	Logger *slog.Logger
}

// CI is the CI servers behind the cast: a Space, a TeamCity, a GitHub and a GitLab
// of package citest. They answer the calls of their APIs, and each run of the cast
// happens in one of them while World.Run plays it:
//
//	player: queued, started, finished --> server (ci_space.go, ...) <-- polls
//	                                         |  webhooks, signed: on time, late,
//	                                         v  twice, or lost (hookKind)
//	                                      Options.Webhooks: haptrail
//
// What happened before haptrail was there is in them from the beginning, and only
// polls tell of it. Close ends them.
type CI struct {
	options CIOptions
	began   time.Time
	secrets map[string]string
	servers map[string]*ciServer // by provider
	client  *http.Client         // sends the webhooks
	closing sync.Once
	closed  error
}

// ciServer is one of them, behind its listener.
type ciServer struct {
	fake
	url  string
	http *http.Server
}

// fake is a server of package citest, made to follow the cast.
type fake interface {
	http.Handler
	// put tells it how far a run is, and returns the webhooks that it sends for it.
	put(r ciRun) []webhook
	// Violations are the calls that a client got wrong.
	Violations() []string
}

// webhook sends one delivery to a URL, signed, and gives the answer's status.
type webhook func(ctx context.Context, client *http.Client, url string) (status int, err error)

// ciRun is a run of a job, as far as it is. Times are UTC, zero where not yet.
type ciRun struct {
	job
	queued, started, finished time.Time
}

// ended is a job's run that was over when the script began. It took five minutes.
func (j job) ended(began time.Time) ciRun {
	finished := began.Add(-j.before).UTC().Truncate(time.Second)
	return ciRun{job: j, queued: finished.Add(-5*time.Minute - 12*time.Second), started: finished.Add(-5 * time.Minute), finished: finished}
}

// webhookTimeout bounds one delivery; haptrail answers or gives up before.
const webhookTimeout = 15 * time.Second

// StartCI sets the servers up and returns when they answer. After an error nothing
// is left running.
func StartCI(options CIOptions) (*CI, error) {
	if options.Dir == "" {
		return nil, errors.New("demo: CIOptions.Dir is not set")
	}
	if options.SecretMode == 0 {
		options.SecretMode = 0o600
	}
	if options.Listen == "" {
		options.Listen = "127.0.0.1:0"
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	c := &CI{
		options: options, began: time.Now(), servers: make(map[string]*ciServer),
		client: &http.Client{Timeout: webhookTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}},
	}
	if err := c.start(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *CI) start() error {
	if err := c.writeSecrets(); err != nil {
		return err
	}
	for _, provider := range providers {
		listener, err := listen(provider, c.options.Listen)
		if err != nil {
			return err
		}
		c.serve(provider, listener)
	}
	for _, j := range cast {
		if j.before > 0 {
			c.servers[j.provider].put(j.ended(c.began))
		}
	}
	return nil
}

// serve makes a provider's server and lets it answer on the listener until Close.
func (c *CI) serve(provider string, listener net.Listener) {
	server := &ciServer{url: "http://" + listener.Addr().String()}
	switch provider {
	case space:
		server.fake = newSpace(c.began, c.secrets)
	case teamcity:
		server.fake = newTeamCity(c.began, c.secrets)
	case github:
		server.fake = newGitHub(c.began, c.secrets)
	case gitlab:
		server.fake = newGitLab(c.began, c.secrets, server.url)
	}
	server.http = serve(c.options.Logger, listener, server.fake)
	c.servers[provider] = server
}

// writeSecrets makes up the servers' secrets and writes each into a file, as an
// operator hands them to haptrail.
func (c *CI) writeSecrets() error {
	if err := os.MkdirAll(filepath.Join(c.options.Dir, secretsDir), 0o755); err != nil {
		return err
	}
	c.secrets = make(map[string]string)
	for _, name := range secretNames {
		c.secrets[name] = rand.Text()
		path := c.SecretFile(name)
		if err := os.WriteFile(path, []byte(c.secrets[name]+"\n"), c.options.SecretMode); err != nil {
			return err
		}
		// the umask, and a file that was there, have a say in the mode
		if err := os.Chmod(path, c.options.SecretMode); err != nil {
			return err
		}
	}
	return nil
}

// URL is the address of a provider's server: space, teamcity, github or gitlab.
func (c *CI) URL(provider string) string { return c.servers[provider].url }

// SecretFile is the path of the file that holds a secret.
func (c *CI) SecretFile(name string) string {
	return filepath.Join(c.options.Dir, secretsDir, name)
}

// Violations are the calls that a client of the servers got wrong, by what their
// vendors document.
func (c *CI) Violations() []string {
	var all []string
	for _, provider := range providers {
		for _, violation := range c.servers[provider].Violations() {
			all = append(all, provider+": "+violation)
		}
	}
	return all
}

// Close ends the servers. Their secrets' files stay. It may be called again.
func (c *CI) Close() error {
	c.closing.Do(func() {
		c.client.CloseIdleConnections()
		var faults []error
		for _, server := range c.servers {
			faults = append(faults, server.http.Close())
		}
		c.closed = errors.Join(faults...)
	})
	return c.closed
}

// serve answers on the listener until the server is closed.
func serve(log *slog.Logger, listener net.Listener, handler http.Handler) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("demo server stopped", "address", listener.Addr().String(), "error", err)
		}
	}()
	return server
}

// changesOf are the commits that the jobs of a provider build, each once, in the
// order of the cast.
func changesOf(provider string) []change {
	var names []string
	for _, j := range cast {
		if j.provider == provider && j.change != "" && !slices.Contains(names, j.change) {
			names = append(names, j.change)
		}
	}
	changes := make([]change, len(names))
	for i, name := range names {
		changes[i] = history[name]
	}
	return changes
}

// branch is a ref's name without refs/heads/.
func branch(ref string) string { return strings.TrimPrefix(ref, "refs/heads/") }
