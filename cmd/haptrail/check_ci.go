package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/ingest/ci"
)

const (
	ciCallTime = 10 * time.Second // of the one call to a CI server
	maxCISkew  = time.Minute      // of its clock
)

// checkCI looks at the webhooks' address and at each CI server.
func checkCI(ctx context.Context, r *report, cfg config.Config) {
	section := &cfg.CI
	if len(section.Sources) == 0 {
		return
	}
	checkWebhooks(r, cfg)
	for i := range section.Sources {
		checkSource(ctx, r, section, &section.Sources[i])
	}
}

func checkWebhooks(r *report, cfg config.Config) {
	section := &cfg.CI
	if section.Listen == "off" {
		r.add("ci.listen", nil, "off: runs and commits come by polls only")
		return
	}
	if section.TLS.Cert != "" {
		_, err := tls.LoadX509KeyPair(section.TLS.Cert, section.TLS.Key)
		r.add("ci.tls", err, section.TLS.Cert)
	} else if !onLoopback(section.Listen) {
		r.warn("ci.tls", "is not set, and "+section.Listen+" is not loopback: webhooks come in plain HTTP, and whoever is on the way can read the secrets of TeamCity's and GitLab's")
	}
	if answers(cfg.HTTP) { // a daemon runs
		if answers(section.Listen) {
			r.add("ci.listen", nil, section.Listen+", held by the running daemon")
			return
		}
		r.add("ci.listen", hint(fmt.Errorf("the running daemon does not listen at %s", section.Listen), "restart it: it has read another configuration"), "")
		return
	}
	listener, err := net.Listen("tcp", section.Listen)
	if err != nil {
		r.add("ci.listen", hint(err, "choose another address for ci.listen in the configuration, or off"), "")
		return
	}
	_ = listener.Close() // nothing was received
	r.add("ci.listen", nil, section.Listen+" can be bound")
}

// onLoopback reports whether an address can be reached from this machine only.
func onLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// checkSource reads a source's secrets and makes one call with its credentials,
// for a run that is hardly there.
func checkSource(ctx context.Context, r *report, section *config.CI, s *config.CISource) {
	what := "ci source " + s.Name
	if err := s.CheckSecrets(); err != nil {
		r.add(what, hint(err, secretHint(err)), "")
		return
	}
	switch {
	case section.Listen == "off":
	case s.Hears():
		r.add(what, nil, "has "+s.Provider+" send its webhooks to /webhooks/"+s.Name)
	default:
		r.warn(what, "has no webhook secret: deliveries are refused, and runs are known when they are polled, up to "+section.PollInterval.String()+" late")
	}
	if !s.Polled() {
		r.warn(what, "has no credentials for its API: what a lost webhook told is not fetched")
		return
	}
	watch := &watched{}
	source, err := s.Source(config.Calls{HTTP: &http.Client{Transport: watch, Timeout: ciCallTime}, Pause: onceOnly})
	if err != nil {
		r.add(what, err, "")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ciCallTime)
	defer cancel()
	project, run := unlikelyRun(s)
	_, err = source.Run(ctx, project, run)
	server := fmt.Sprint(source)
	if err != nil && !errors.Is(err, ci.ErrNotFound) {
		r.add(what, watch.explain(s.Provider, server, err), "")
		return
	}
	r.add(what, nil, server+" answers, and takes the credentials")
	checkCIClock(r, what, time.Duration(section.Slack), watch)
}

// secretHint mends what the error of a secret does not mend itself.
func secretHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "write the secret there, and let the daemon's user read it"
	case errors.Is(err, fs.ErrPermission):
		return "let the daemon's user read it"
	}
	return ""
}

// checkCIClock says when the server's clock is not ours. Runs are compared with
// requests by both.
func checkCIClock(r *report, what string, slack time.Duration, watch *watched) {
	skew, ok := watch.clock()
	switch {
	case !ok:
		r.warn(what, "the server's answer has no Date: its clock cannot be compared with this machine's")
	case skew.Abs() > max(slack, maxCISkew):
		r.add(what+" clock", hint(fmt.Errorf("the server's clock is %s away from this machine's, more than ci.slack (%s)", skew, slack),
			"synchronise both by NTP: runs are looked for at the wrong time"), "")
	case skew.Abs() > maxCISkew:
		r.warn(what+" clock", fmt.Sprintf("the server's clock is %s away from this machine's: synchronise both by NTP before it is more than ci.slack (%s)", skew, slack))
	}
}

// unlikelyRun names a run to ask for: the answer that there is none shows as well
// that the credentials are taken.
func unlikelyRun(s *config.CISource) (project, run string) {
	switch s.Provider {
	case "space":
		return "", "haptrail-check"
	case "teamcity":
		return "", "1"
	case "gitlab":
		if len(s.Projects) > 0 {
			return s.Projects[0].Name, "1"
		}
	case "github":
		if len(s.Repositories) > 0 {
			return s.Repositories[0], "1"
		}
	}
	return "haptrail/check", "1"
}

// ciPermissions say of each provider what a refused credential lacks, and where
// that is mended.
var ciPermissions = map[string]struct{ unknown, forbidden string }{
	"space": {
		"are client_id and the secret (or permanent token) the application's, and is it not archived? In Space: Extensions, Installed, the application, Authentication",
		"grant the application Automation.Execution.View, VcsRepository.Read and Applications.View: in Space, Extensions, Installed, the application, Authorization",
	},
	"teamcity": {
		"the access token is wrong or has run out: make one in TeamCity as the account that reads: Profile, Access Tokens",
		"give the token's account the role Project viewer in the projects: in TeamCity, Administration, Users, the account, Roles",
	},
	"github": {
		"the token is wrong or has run out: make a fine-grained one on GitHub: Settings, Developer settings, Personal access tokens; or generate a new private key of the app",
		"let the token, or the app's installation, read Actions, Contents and Metadata (and Deployments, with approvals) of the repositories: Settings, Developer settings",
	},
	"gitlab": {
		"the token is wrong, has run out or lacks the scope read_api: make one in GitLab: the group or project, Settings, Access tokens",
		"give the token the role Reporter and the scope read_api: in GitLab, the group or project, Settings, Access tokens",
	},
}

// errOnce ends a call that would be tried again.
var errOnce = errors.New("tried once")

func onceOnly(context.Context, time.Duration) error { return errOnce }

// watched makes HTTP requests and remembers how the last one went.
type watched struct {
	mu       sync.Mutex // guards what follows
	failure  error
	response *http.Response
	at       time.Time // half-way between question and answer
}

// RoundTrip is http.RoundTripper's.
func (w *watched) RoundTrip(request *http.Request) (*http.Response, error) {
	asked := time.Now()
	response, err := http.DefaultTransport.RoundTrip(request)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.response, w.failure, w.at = response, err, asked.Add(time.Since(asked)/2)
	return response, err
}

// clock is the server's less ours, to a second: a Date leaves out the fraction,
// which is half of one at a guess.
func (w *watched) clock() (skew time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.response == nil {
		return 0, false
	}
	theirs, err := http.ParseTime(w.response.Header.Get("Date"))
	return theirs.Add(time.Second / 2).Sub(w.at).Round(time.Second), err == nil
}

// explain is the error of a call, with what mends it.
func (w *watched) explain(provider, server string, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	status := 0
	if w.response != nil {
		status = w.response.StatusCode
	}
	if errors.Is(err, errOnce) { // says nothing of what failed
		err = w.failure
		if err == nil && status == http.StatusOK {
			err = ci.ErrMalformed
		} else if err == nil {
			err = fmt.Errorf("answered %d %s", status, http.StatusText(status))
		}
		err = fmt.Errorf("%s: %w", server, err)
	}
	permission := ciPermissions[provider]
	switch {
	case status == http.StatusUnauthorized || errors.Is(err, ci.ErrRefused) && status != http.StatusForbidden:
		return hint(err, permission.unknown)
	case status == http.StatusForbidden && errors.Is(err, ci.ErrRefused):
		return hint(err, permission.forbidden)
	case status == http.StatusTooManyRequests || status == http.StatusForbidden:
		return hint(err, "the server limits calls: ask again later, and lengthen ci.poll_interval")
	case w.failure != nil:
		return hint(err, "is its url right, and may this machine reach it?")
	case errors.Is(err, ci.ErrMalformed):
		return hint(err, "what answers is not the API: is its url right, and no login page before it?")
	}
	return err
}
