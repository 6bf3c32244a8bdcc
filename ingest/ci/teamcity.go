package ci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// teamcityProvider is the provider's name in edge/provider's table.
const teamcityProvider = "teamcity"

// TeamCityConfig says where a TeamCity server is and what may be read from it.
type TeamCityConfig struct {
	// URL is the server's, with a context path if it has one, such as
	// https://teamcity.example.com. http is for a loopback host only.
	URL string
	// Token is an access token. Its account needs "View project and all parent
	// projects" (the role Project viewer) where runs are to be known; nothing else.
	Token Secret
	// Projects are the external ids of the projects to poll, each with those below
	// it. Empty: all that the account may see.
	Projects []string
	// LongestBuild is how long a build runs at most; default 7 days. TeamCity looks
	// for finished builds by their start, and would otherwise read through its
	// whole history at each poll: the end of one that runs longer is not seen.
	LongestBuild time.Duration
	// Webhook is how a delivery shows that it comes from this server.
	Webhook TeamCityWebhook
	// HTTP makes the requests; nil is a client with a time limit of 30 s. It does not
	// follow redirects to another host.
	HTTP *http.Client
	// Pause waits between two tries; nil is by the clock.
	Pause func(ctx context.Context, d time.Duration) error
}

// TeamCityWebhook is what a delivery has to have. One of the two ways has to be
// configured and is enough; with neither, no delivery is taken. TeamCity signs
// nothing, so that what was sent once can be sent again: facts that come twice
// change nothing.
type TeamCityWebhook struct {
	// User and Passwords are those of the parameters teamcity.internal.webhooks
	// .username and .password (HTTP Basic). Any password will do: there are two while
	// one is rotated. Unconfirmed: that a server sends a password whose parameter
	// has the type "password"; 2026.1 was seen not to.
	User      string
	Passwords []Secret
	// Header and Values are of a header that a proxy before haptrail adds.
	Header string
	Values []Secret
}

// TeamCity is one TeamCity server as a Source. It is safe for concurrent use.
//
// A build is a run: its ID is the claim build_id, its Project the claim
// project_external_id, its Job the claim build_type_external_id; builds have no
// attempts. A personal build says so in Trigger and Name: it ran its owner's patch on top of
// its commit. Accounts are not read: listing them, or their tokens, takes a
// permission to administer users.
type TeamCity struct {
	config TeamCityConfig
	client *Client
}

var _ Source = (*TeamCity)(nil)

// Bounds of a poll.
const (
	defaultLongestBuild = 7 * 24 * time.Hour
	teamcityOverlap     = clockSlack + 5*time.Minute // an agent sets its build's times, by its own clock
	teamcityWindow      = 24 * time.Hour             // of one list of finished builds, so that a long back-fill gets on
	teamcityPage        = 100
	teamcityPages       = 10_000 // of one list
	// teamcityLookup is how many builds the server looks at for one page. By its
	// default, 5,000, a list with few matches ends before its end.
	teamcityLookup = 100_000
)

// NewTeamCity checks a configuration. It makes no call.
func NewTeamCity(config TeamCityConfig) (*TeamCity, error) {
	base, err := checkBase("teamcity: url", config.URL)
	if err != nil {
		return nil, err
	}
	if config.LongestBuild < 0 {
		return nil, fmt.Errorf("teamcity: longest build %v: write a time above 0, or none for %v", config.LongestBuild, defaultLongestBuild)
	}
	if config.LongestBuild == 0 {
		config.LongestBuild = defaultLongestBuild
	}
	for _, id := range config.Projects {
		if !isTeamcityID(id) {
			return nil, fmt.Errorf("teamcity: project %q: write its external id, such as Platform_Infra", id)
		}
	}
	if (config.Webhook.User == "") != (len(config.Webhook.Passwords) == 0) {
		return nil, errors.New("teamcity: webhook: user and password belong together: write both, or none")
	}
	if (config.Webhook.Header == "") != (len(config.Webhook.Values) == 0) {
		return nil, errors.New("teamcity: webhook: header and value belong together: write both, or none")
	}
	if slices.ContainsFunc(slices.Concat(config.Webhook.Passwords, config.Webhook.Values), func(s Secret) bool { return s == nil }) {
		return nil, errors.New("teamcity: webhook: a secret is nil: leave it out of the list")
	}
	config.Projects = slices.Clone(config.Projects)
	t := &TeamCity{config: config}
	t.client = &Client{Base: base, HTTP: stayHome(config.HTTP), Authorize: t.authorize, Pause: config.Pause}
	return t, nil
}

// String names the server.
func (t *TeamCity) String() string { return teamcityProvider + " " + t.client.Base }

func (t *TeamCity) authorize(_ context.Context, r *http.Request, _ bool) error {
	if t.config.Token == nil {
		return fmt.Errorf("%w: teamcity: no token is configured", ErrRefused)
	}
	token, err := t.config.Token()
	if err != nil {
		return fmt.Errorf("teamcity: token: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// isTeamcityID reports whether a text is an external id (letters, digits and
// underscores), which is safe inside a locator.
func isTeamcityID(text string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
	return text != "" && len(text) <= 225 && strings.Trim(text, letters) == ""
}

// Run looks a build up by the claim build_id. A build of another project than the
// claim project_external_id is ErrNotFound; project may be "".
func (t *TeamCity) Run(ctx context.Context, project, run string) (Run, error) {
	if !isNumber(run) {
		return Run{}, fmt.Errorf("teamcity: build %.40q: %w: a build's id is a number", run, ErrNotFound)
	}
	var build teamcityBuild
	if _, err := t.client.Get(ctx, "app/rest/builds/id:"+run, url.Values{"fields": {teamcityBuildFields}}, &build); err != nil {
		return Run{}, err
	}
	found, ok := build.run("", true)
	if !ok || found.ID != run {
		return Run{}, fmt.Errorf("teamcity: build %s: %w: the answer names no project", run, ErrMalformed)
	}
	if project != "" && found.Project != project {
		return Run{}, fmt.Errorf("teamcity: build %s: %w: it is of another project than %.80q", run, ErrNotFound, project)
	}
	return found, nil
}

// Commit looks a change up by its revision. repository is the external id of a VCS
// root, or "" for any. TeamCity knows the changes that it has collected, and none
// that are older than the root or were built before it looked.
func (t *TeamCity) Commit(ctx context.Context, repository, sha string) (Commit, error) {
	if !isRevision(sha) || repository != "" && !isTeamcityID(repository) {
		return Commit{}, fmt.Errorf("teamcity: commit %.80q of %.80q: %w: a revision and the external id of a VCS root are asked for", sha, repository, ErrNotFound)
	}
	locator := "version:" + strings.ToLower(sha)
	if repository != "" {
		locator += ",vcsRoot:(id:" + repository + ")"
	}
	var page teamcityChanges
	query := url.Values{"locator": {locator + ",count:2"}, "fields": {teamcityChangeFields}}
	if _, err := t.client.Get(ctx, "app/rest/changes", query, &page); err != nil {
		return Commit{}, err
	}
	for _, change := range page.Change {
		if commit, ok := change.commit(); ok && commit.SHA == strings.ToLower(sha) {
			return commit, nil
		}
	}
	return Commit{}, fmt.Errorf("teamcity: commit %s: %w", sha, ErrNotFound)
}
