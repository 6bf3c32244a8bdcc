package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/report/alert/send"
)

// Alerts is who is told of bursts and findings, and from which severity on.
type Alerts struct {
	// ExternalURL is where people find the dashboards, http or https; alerts link to
	// it. Default: no links.
	ExternalURL string `yaml:"external_url"`
	// Findings is the least severity of a finding that is an alert: low, medium, high,
	// critical, or "off" for none. Default high. The others are in "haptrail findings".
	Findings string `yaml:"findings"`
	// Bursts is likewise for bursts: low, medium, high, or "off". Default low: all
	// that the budget lets through.
	Bursts string `yaml:"bursts"`
	// Keep is for how long an alert that is over is kept for a channel that cannot be
	// told. Default 24h, at least 1m; then it is given up, logged and counted.
	Keep Duration `yaml:"keep"`
	// Channels are told. Default: none, and alerts are in the tables only.
	Channels []AlertChannel `yaml:"channels"`
}

// AlertChannel is a receiver of alerts. Which fields it takes depends on its type.
//
// A secret is never in the file: its key ends in _file (the text without blanks and
// line ends around it) or _env (a variable's name), one of the two. It is read each
// time it is used, so that a file can be rotated under a running daemon.
type AlertChannel struct {
	// Name is the channel's in metrics, logs and commands: letters, digits, "-", "_"
	// and ".". Unique, with the names NAME-1, NAME-2 that several Alertmanagers get. One
	// that is renamed is told of everything that fires, as a new one.
	Name string `yaml:"name"`
	// Type is alertmanager, pagerduty, slack or webhook. Needed.
	Type string `yaml:"type"`
	// MinSeverity is the least that is told here: info, low, medium, high or critical.
	// Default: all that is an alert.
	MinSeverity string `yaml:"min_severity"`

	// URLs (alertmanager) are the bases, such as http://alertmanager:9093, with the
	// route prefix if there is one. Of a cluster name each replica and no load
	// balancer: every one is told, and one that is down delays no other. Needed.
	URLs []string `yaml:"urls"`
	// URL (pagerduty) is the base of its events API. Default
	// https://events.pagerduty.com; in the EU https://events.eu.pagerduty.com. Of a
	// webhook it is the whole address, where that is no secret.
	URL string `yaml:"url"`
	// URLFile or URLEnv (slack, webhook) leads to the URL: whoever has an incoming
	// webhook's can post to it. Slack needs one of the two, a webhook these or url.
	URLFile string `yaml:"url_file"`
	URLEnv  string `yaml:"url_env"` // likewise

	// Username (alertmanager) is for basic authentication, with password_*; over plain
	// HTTP everybody on the way can read both.
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"` // the user's password
	PasswordEnv  string `yaml:"password_env"`  // likewise
	// TokenFile or TokenEnv (alertmanager) is a bearer token for a proxy before it.
	// Excludes username.
	TokenFile string `yaml:"token_file"`
	TokenEnv  string `yaml:"token_env"` // likewise
	// RoutingKeyFile or RoutingKeyEnv (pagerduty) is the integration key of the
	// service, of an integration Events API v2: 32 characters. Needed.
	RoutingKeyFile string `yaml:"routing_key_file"`
	RoutingKeyEnv  string `yaml:"routing_key_env"` // likewise
	// KeyFile or KeyEnv (webhook) signs what is sent, by HMAC-SHA256; 16 bytes at least.
	// Without one, a receiver cannot tell our alerts from anybody else's.
	KeyFile string `yaml:"key_file"`
	KeyEnv  string `yaml:"key_env"` // likewise

	// Heartbeat (alertmanager, webhook) is how often the receiver hears from us, so
	// that it can raise the alarm when it does not. Default 0: never. At least 1s. It
	// needs a rule at the receiver: without one nobody notices that it stopped.
	Heartbeat Duration `yaml:"heartbeat"`
	// HeartbeatURLFile or HeartbeatURLEnv (webhook) is where heartbeats go, if not to
	// the URL: a service that calls when they cease.
	HeartbeatURLFile string `yaml:"heartbeat_url_file"`
	HeartbeatURLEnv  string `yaml:"heartbeat_url_env"` // likewise

	// PerMinute is how many messages go out in any minute, 2 to 600; what comes
	// meanwhile goes out together. Default 5 for pagerduty and slack, which call
	// people, 62 for alertmanager and webhook.
	PerMinute int `yaml:"per_minute"`
	// Timeout is for one try. Default 10s; 100ms to 5m. What fails is tried again.
	Timeout Duration `yaml:"timeout"`
}

// The types of channels.
const (
	alertmanager = "alertmanager"
	pagerduty    = "pagerduty"
	slack        = "slack"
	webhook      = "webhook"
)

// Senders are the channel as package alert takes it: several for a cluster of
// Alertmanagers, in the order of URLs. externalURL is Alerts.ExternalURL. Nothing is
// sent, and no secret read.
func (c *AlertChannel) Senders(externalURL string) ([]alert.Channel, error) {
	like := alert.Channel{Name: c.Name, Timeout: time.Duration(c.Timeout), Heartbeat: time.Duration(c.Heartbeat)}
	if c.MinSeverity != "" {
		least, err := alert.ParseSeverity(c.MinSeverity)
		if err != nil {
			return nil, fmt.Errorf("channel %s: min_severity: %w", c.Name, err)
		}
		like.MinSeverity = least
	}
	if c.Type == alertmanager {
		one := send.Alertmanager{Username: c.Username, Password: secretOf(c.password()), Token: secretOf(c.token())}
		like.Limit = c.limit(&one)
		return send.Replicas(c.Name, c.URLs, one, like)
	}
	sender, err := c.sender(externalURL)
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", c.Name, err)
	}
	like.Sender, like.Limit = sender, c.limit(sender)
	return []alert.Channel{like}, nil
}

// sender is that of a channel with one receiver.
func (c *AlertChannel) sender(externalURL string) (alert.Sender, error) {
	switch c.Type {
	case pagerduty:
		return &send.PagerDuty{RoutingKey: secretOf(c.routingKey()), URL: c.URL}, nil
	case slack:
		return &send.Slack{URL: c.address()}, nil
	case webhook:
		return &send.Webhook{URL: c.address(), Key: secretOf(c.key()), HeartbeatURL: secretOf(c.heartbeatURL()), ExternalURL: externalURL}, nil
	}
	return nil, fmt.Errorf("type %q is none of %s", c.Type, strings.Join(alertTypes, ", "))
}

// limit is the sender's own with the channel's PerMinute.
func (c *AlertChannel) limit(s alert.Sender) alert.Limit {
	l := s.Traits().Limit
	if c.PerMinute > 0 {
		l.PerMinute = c.PerMinute
		l.Burst = max(min(l.Burst, c.PerMinute-1), 1)
	}
	return l
}

// address is where a channel with one receiver posts to. What a file holds is
// looked at each time it is read: it may have been rotated.
func (c *AlertChannel) address() alert.Secret {
	if c.URL != "" {
		return alert.SecretValue(c.URL)
	}
	read, kind := c.urlSecret().one(), c.Type
	if read == nil {
		return nil
	}
	return func() (string, error) {
		text, err := read()
		if err == nil {
			err = secretURL(text, kind == slack)
		}
		if err != nil {
			return "", err
		}
		return text, nil
	}
}

// pagerdutyURL is where PagerDuty takes events, where url names no other place.
const pagerdutyURL = "https://events.pagerduty.com"

// Targets are the URLs that the channel sends to, read anew: of a cluster each, and
// at the end where a webhook's heartbeats go. Of a webhook or of Slack they are
// secrets: show no more of one than its host.
func (c *AlertChannel) Targets() ([]*url.URL, error) {
	var texts []string
	switch c.Type {
	case alertmanager:
		texts = c.URLs
	case pagerduty:
		texts = []string{cmp.Or(c.URL, pagerdutyURL)}
	default:
		for _, secret := range []alert.Secret{c.address(), secretOf(c.heartbeatURL())} {
			if secret == nil {
				continue
			}
			text, err := secret()
			if err != nil {
				return nil, err
			}
			texts = append(texts, text)
		}
	}
	targets := make([]*url.URL, 0, len(texts))
	for _, text := range texts {
		target, err := url.Parse(text)
		if err != nil || target.Host == "" {
			return nil, errNoURL
		}
		targets = append(targets, target)
	}
	return targets, nil
}

// Authorize adds the credentials to a request for an Alertmanager, if it has some,
// and says whether it has.
func (c *AlertChannel) Authorize(r *http.Request) (bool, error) {
	if read := c.token().one(); read != nil {
		token, err := read()
		if err == nil {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return true, err
	}
	if read := c.password().one(); read != nil {
		password, err := read()
		if err == nil {
			r.SetBasicAuth(c.Username, password)
		}
		return true, err
	}
	return false, nil
}

// errNoURL shows nothing of what is none.
var errNoURL = errors.New("what it holds is no URL: it has to be the whole of it, beginning with https://")

// secretURL finds what is wrong with a URL that is a secret, and shows none of it.
func secretURL(text string, https bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errNoURL
	case https && u.Scheme != "https" && !isLoopback(u.Hostname()):
		return errors.New("the URL in it must be https: it is a password, which anybody on the way could read")
	}
	return nil
}

func secretOf(r reference) alert.Secret { return alert.Secret(r.one()) }

func (c *AlertChannel) urlSecret() reference { return reference{"url", &c.URLFile, &c.URLEnv} }
func (c *AlertChannel) password() reference {
	return reference{"password", &c.PasswordFile, &c.PasswordEnv}
}
func (c *AlertChannel) token() reference { return reference{"token", &c.TokenFile, &c.TokenEnv} }
func (c *AlertChannel) routingKey() reference {
	return reference{"routing_key", &c.RoutingKeyFile, &c.RoutingKeyEnv}
}
func (c *AlertChannel) key() reference { return reference{"key", &c.KeyFile, &c.KeyEnv} }
func (c *AlertChannel) heartbeatURL() reference {
	return reference{"heartbeat_url", &c.HeartbeatURLFile, &c.HeartbeatURLEnv}
}

// references are all secrets of a channel.
func (c *AlertChannel) references() []reference {
	return []reference{c.urlSecret(), c.password(), c.token(), c.routingKey(), c.key(), c.heartbeatURL()}
}

// files are the paths in the section.
func (a *Alerts) files() (paths []*string) {
	for i := range a.Channels {
		for _, r := range a.Channels[i].references() {
			paths = append(paths, r.file)
		}
	}
	return paths
}

// The least bytes of an HMAC key, and those of an Events API v2 integration key.
const (
	minKey     = 16
	routingKey = 32
)

// CheckSecrets reads each secret of the channel, by its key in the file, and finds
// what a receiver or a sender would refuse about it.
func (c *AlertChannel) CheckSecrets() error {
	for _, r := range c.references() {
		if !r.given() {
			continue
		}
		text, err := r.one()()
		switch {
		case err != nil:
		case r.key == "url" || r.key == "heartbeat_url":
			err = secretURL(text, c.Type == slack)
		case r.key == "key" && len(text) < minKey:
			err = fmt.Errorf("the key in it has %d bytes, and needs %d: make one with openssl rand -hex 32", len(text), minKey)
		case r.key == "routing_key" && len(text) != routingKey:
			err = fmt.Errorf("the key in it has %d characters, and an integration key has %d: copy that of an integration Events API v2", len(text), routingKey)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.field(), err)
		}
	}
	return nil
}
