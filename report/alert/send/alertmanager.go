package send

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// Alertmanager sends to one Prometheus Alertmanager: POST /api/v2/alerts, as its
// docs/alerts_api.md has it. Of several that form a cluster each is to be sent
// everything: Replicas makes a channel for each.
//
// An alert is the same when its labels are: alertname (the kind), source, severity,
// key, identity, and those of the alert. A firing alert is sent again every minute,
// as Alertmanager ends what it does not hear of for its resolve_timeout (5 min);
// it is sent without an end, so that the two clocks need not agree. A resolved one
// is sent for 5 minutes more. Grouping is Alertmanager's: group_by [source, alertname].
type Alertmanager struct {
	// URL is the base, as "http://alertmanager:9093", with its route prefix if it has
	// one. Without credentials.
	URL string
	// Username and Password are for basic authentication; Token is a bearer's. All may
	// be left out.
	Username        string
	Password, Token alert.Secret
	// HTTP makes the requests; nil is net/http's default client, which uses the
	// environment's proxy.
	HTTP *http.Client
}

// Replicas are channels that tell each Alertmanager of a cluster: NAME for one,
// NAME-1, NAME-2 and so on for more. One that is down delays none of the others.
func Replicas(name string, urls []string, like Alertmanager, c alert.Channel) ([]alert.Channel, error) {
	if len(urls) == 0 {
		return nil, fmt.Errorf("channel %s: no Alertmanager's URL", name)
	}
	var channels []alert.Channel
	for i, base := range urls {
		one := like
		one.URL = base
		if err := one.check(); err != nil {
			return nil, fmt.Errorf("channel %s: Alertmanager %d: %w", name, i+1, err)
		}
		c.Name, c.Sender = name, &one
		if len(urls) > 1 {
			c.Name = fmt.Sprintf("%s-%d", name, i+1)
		}
		channels = append(channels, c)
	}
	return channels, nil
}

func (s *Alertmanager) check() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("its URL is not an absolute http or https one, as http://alertmanager:9093")
	case u.User != nil:
		return errors.New("its URL has credentials in it: use username and password")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("its URL has a query or a fragment: give the base alone")
	}
	return nil
}

// Traits: it takes lists, forgets what it does not hear of, and groups itself: so a
// message a second is let through, with all that came meanwhile.
func (s *Alertmanager) Traits() alert.Traits {
	return alert.Traits{
		Batch: 1000, Updates: true, Repeat: time.Minute, Afterglow: 5 * time.Minute, Heartbeats: true,
		Limit: alert.Limit{PerMinute: 62, Burst: 2}, MaxPause: time.Minute,
	}
}

// Send posts the alerts.
func (s *Alertmanager) Send(ctx context.Context, m alert.Message) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("%w: %w", alert.ErrMisdirected, err)
	}
	now := time.Now().UTC()
	alerts := wireAlerts(m.Notices)
	switch m.Purpose {
	case alert.Heartbeat:
		alerts = []wireAlert{heartbeat(m.Interval, now)}
	case alert.Trial:
		for i := range alerts {
			alerts[i].EndsAt = now.Add(time.Minute) // nobody resolves it
		}
	}
	for i := range alerts {
		alerts[i].Status = "" // not part of what it takes
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return fmt.Errorf("%w: %w", alert.ErrRefused, err)
	}
	c := call{client: s.HTTP, url: strings.TrimSuffix(s.URL, "/") + "/api/v2/alerts", body: body}
	if c.header, c.secrets, err = s.authorization(); err != nil {
		return err
	}
	return c.post(ctx)
}

// authorization is the header for the credentials, and what must not be shown.
func (s *Alertmanager) authorization() (http.Header, []string, error) {
	var value, secret string
	var err error
	switch {
	case s.Token != nil:
		if secret, err = read(s.Token, "Alertmanager's token"); err != nil {
			return nil, nil, err
		}
		value = "Bearer " + secret
	case s.Password != nil:
		if secret, err = read(s.Password, "Alertmanager's password"); err != nil {
			return nil, nil, err
		}
		value = "Basic " + base64.StdEncoding.EncodeToString([]byte(s.Username+":"+secret))
	default:
		return nil, nil, nil
	}
	return http.Header{"Authorization": {value}}, []string{secret, value}, nil
}
