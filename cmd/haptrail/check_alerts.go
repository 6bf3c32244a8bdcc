package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
)

// receiverCallTime is for one look at a receiver.
const receiverCallTime = 5 * time.Second

// checkAlerts looks at the channels, and sends them nothing: that is what alerts test
// is for.
func checkAlerts(ctx context.Context, r *report, section *config.Alerts) {
	if len(section.Channels) == 0 {
		r.warn("alerts", "no channel is configured: of bursts and findings nobody is told; name one in alerts.channels")
	}
	for i := range section.Channels {
		c := &section.Channels[i]
		what := "alerts channel " + c.Name
		if err := c.CheckSecrets(); err != nil {
			r.add(what, hint(err, secretHint(err)), "")
			continue
		}
		targets, err := c.Targets()
		if err != nil {
			r.add(what, err, "")
			continue
		}
		for _, target := range targets {
			checkReceiver(ctx, r, c, target)
		}
	}
}

// checkReceiver asks an Alertmanager whether it is ready; any other receiver is only
// connected to, as all that could be asked of it would be an alert.
func checkReceiver(ctx context.Context, r *report, c *config.AlertChannel, target *url.URL) {
	ctx, cancel := context.WithTimeout(ctx, receiverCallTime)
	defer cancel()
	what := "alerts channel " + c.Name
	if c.Type == "alertmanager" {
		r.add(what, checkReady(ctx, r, c, target), target.Host+" is an Alertmanager, and ready")
		return
	}
	if err := connects(ctx, target); err != nil {
		r.add(what, hint(err, "is its URL right, and may this machine reach it?"), "")
		return
	}
	r.add(what, nil, fmt.Sprintf("%s can be connected to; whether it takes alerts, shows: haptrail alerts test %s", target.Host, c.Name))
	if target.Scheme == "http" && !onLoopback(net.JoinHostPort(target.Hostname(), portOf(target))) {
		r.warn(what, "alerts go out in plain HTTP: whoever is on the way to "+target.Host+" can read them")
	}
}

// checkReady asks GET /-/ready, which Alertmanager has had since 0.15 ("Management
// API" of its documentation).
func checkReady(ctx context.Context, r *report, c *config.AlertChannel, base *url.URL) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("-", "ready").String(), nil)
	if err != nil {
		return err
	}
	credentials, err := c.Authorize(request)
	if err != nil {
		return hint(err, secretHint(err))
	}
	if credentials && base.Scheme == "http" && !onLoopback(net.JoinHostPort(base.Hostname(), portOf(base))) {
		r.warn("alerts channel "+c.Name, "its credentials go out in plain HTTP: whoever is on the way to "+base.Host+" can read them: use https")
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return hint(fmt.Errorf("%s: %w", base.Host, withoutURL(err)), "does the Alertmanager run, is its URL right, and may this machine reach it?")
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<10)) // the status is what counts
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return notReady(base, response.StatusCode)
}

// notReady is the error of another status than 200, with what mends it.
func notReady(base *url.URL, status int) error {
	err := fmt.Errorf("%s answers %d %s to GET %s", base.Host, status, http.StatusText(status), base.JoinPath("-", "ready").Path)
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return hint(err, "are username and password_* (or token_*) those of the proxy before it, or of its --web.config.file?")
	case status >= 300 && status < 400:
		return hint(err, "write the address to which it leads: alerts follow no redirect")
	case status == http.StatusServiceUnavailable:
		return hint(err, "it is starting, or joining its cluster: ask again in a minute, and look at its log")
	case status >= 500:
		return hint(err, "look at its log, and at that of the proxy before it")
	}
	return hint(err, "what answers is no Alertmanager, or its --web.route-prefix is missing in urls")
}

// connects sees whether a receiver, or the proxy through which the environment has us
// reach it, can be connected to.
func connects(ctx context.Context, target *url.URL) error {
	through, err := http.ProxyFromEnvironment(&http.Request{URL: target})
	if err != nil {
		return errors.New("the environment's proxy (HTTPS_PROXY, HTTP_PROXY) is no URL")
	}
	if through != nil {
		target = through
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(target.Hostname(), portOf(target)))
	if err != nil {
		return fmt.Errorf("%s: %w", target.Host, err)
	}
	return conn.Close() // nothing was sent
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case strings.HasPrefix(u.Scheme, "socks5"):
		return "1080"
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// withoutURL is the cause of net/http's error, which shows the whole URL.
func withoutURL(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		return inner.Err
	}
	return err
}
