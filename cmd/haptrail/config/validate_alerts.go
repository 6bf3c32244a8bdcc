package config

import (
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/internal/strictyaml"
	"github.com/haptrail/haptrail/report/alert"
)

// alertTypes are the receivers that there are senders for.
var alertTypes = []string{alertmanager, pagerduty, slack, webhook}

// alertFields are the keys of a channel and the types that take them; a secret is
// named without _file and _env, but for a URL that is one. name, type,
// min_severity, per_minute and timeout are everybody's.
var alertFields = map[string][]string{
	"urls":          {alertmanager},
	"url":           {pagerduty, webhook},
	"url_file":      {slack, webhook},
	"url_env":       {slack, webhook},
	"username":      {alertmanager},
	"password":      {alertmanager},
	"token":         {alertmanager},
	"routing_key":   {pagerduty},
	"key":           {webhook},
	"heartbeat":     {alertmanager, webhook},
	"heartbeat_url": {webhook},
}

// The bounds of a channel.
const (
	leastPerMinute, mostPerMinute = 2, 600
	leastTimeout, mostTimeout     = Duration(100 * time.Millisecond), Duration(5 * time.Minute)
	leastHeartbeat                = Duration(time.Second)
	leastKeep                     = Duration(time.Minute)
	maxChannelName                = 60 // leaves room for the -N of a replica
)

// variable is a name in the environment (POSIX, 8.1).
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (c *Config) validateAlerts(fault faultFunc) {
	a := &c.Alerts
	if a.ExternalURL != "" {
		if wrong := wrongURL(a.ExternalURL); wrong != "" {
			fault("alerts.external_url", "%s", wrong)
		}
	}
	least(fault, "alerts.findings", a.Findings, "low", "medium", "high", "critical", "off")
	least(fault, "alerts.bursts", a.Bursts, "low", "medium", "high", "off")
	if a.Keep < leastKeep {
		fault("alerts.keep", "%s must be at least 1m: a channel that is down for so long is not told", a.Keep)
	}
	owners := map[string]int{} // of each name, also of a replica
	for i := range a.Channels {
		field, ch := fmt.Sprintf("alerts.channels[%d]", i), &a.Channels[i]
		faults := 0
		ch.validate(func(key, format string, args ...any) {
			faults++
			if key != "" {
				key = "." + key
			}
			fault(field+key, format, args...)
		})
		for _, name := range ch.names() {
			if owner, taken := owners[name]; taken && name != "" {
				faults++
				fault(field+".name", "%q is the name of alerts.channels[%d], too (several urls make NAME-1, NAME-2 of a name): give each channel its own", name, owner)
				break
			}
			owners[name] = i
		}
		if faults > 0 {
			continue
		}
		if _, err := ch.Senders(a.ExternalURL); err != nil {
			fault(field, "%s", err)
		}
	}
}

// least checks the least severity that is told.
func least(fault faultFunc, field, word string, known ...string) {
	if !slices.Contains(known, word) {
		fault(field, "%q must be %s or %s", word, strings.Join(known[:len(known)-1], ", "), known[len(known)-1])
	}
}

// names are what the channel is called: in the file, and as Senders calls it.
func (c *AlertChannel) names() []string {
	names := []string{c.Name}
	if c.Type == alertmanager && len(c.URLs) > 1 {
		for i := range c.URLs {
			names = append(names, fmt.Sprintf("%s-%d", c.Name, i+1))
		}
	}
	return names
}

// validate checks a channel by itself.
func (c *AlertChannel) validate(fault faultFunc) {
	switch {
	case c.Name == "":
		fault("name", "is missing: metrics, logs and \"haptrail alerts test\" know the channel by it")
	case !sourceName.MatchString(c.Name) || len(c.Name) > maxChannelName:
		fault("name", "%q must be at most %d letters, digits, -, _ and ., the first a letter or digit", c.Name, maxChannelName)
	}
	if !slices.Contains(alertTypes, c.Type) {
		fault("type", "%s; there are %s", strictyaml.Unknown("type", c.Type, alertTypes), strings.Join(alertTypes, ", "))
		return // whose fields are they?
	}
	if c.MinSeverity != "" {
		if _, err := alert.ParseSeverity(c.MinSeverity); err != nil {
			fault("min_severity", "%q must be info, low, medium, high or critical", c.MinSeverity)
		}
	}
	c.validateFields(fault)
	c.validateURLs(fault)
	c.validateSecrets(fault)
	if c.Heartbeat != 0 && c.Heartbeat < leastHeartbeat {
		fault("heartbeat", "%s must be at least 1s, or 0 for none", c.Heartbeat)
	}
	if c.PerMinute != 0 && (c.PerMinute < leastPerMinute || c.PerMinute > mostPerMinute) {
		fault("per_minute", "%d must be %d to %d", c.PerMinute, leastPerMinute, mostPerMinute)
	}
	if c.Timeout != 0 && (c.Timeout < leastTimeout || c.Timeout > mostTimeout) {
		fault("timeout", "%s must be 100ms to 5m", c.Timeout)
	}
}

// validateFields finds fields that are of another type.
func (c *AlertChannel) validateFields(fault faultFunc) {
	for _, key := range setKeys(reflect.ValueOf(c).Elem(), "") {
		takers, ok := alertFields[key]
		if !ok {
			takers, ok = alertFields[withoutWay(key)]
		}
		switch {
		case !ok || slices.Contains(takers, c.Type):
		case key == "url" && c.Type == slack:
			fault(key, "is a secret, as whoever has it can post: write it to a file of its own, and that file's path to url_file (or a variable's name to url_env)")
		case key == "heartbeat":
			fault(key, "is a field of %s, not of %s, where it would call people each time: take it out", strings.Join(takers, " and "), c.Type)
		default:
			fault(key, "is a field of %s, not of %s: take it out", strings.Join(takers, " and "), c.Type)
		}
	}
}

// validateURLs looks at what stands in the file; CheckSecrets looks at what is
// elsewhere.
func (c *AlertChannel) validateURLs(fault faultFunc) {
	switch c.Type {
	case alertmanager:
		c.validateReplicas(fault)
	case pagerduty:
		if c.URL == "" {
			return
		}
		u, _ := url.Parse(c.URL)
		switch wrong := wrongURL(c.URL); {
		case wrong != "":
			fault("url", "%s", wrong)
		case u.Scheme != "https" && !isLoopback(u.Hostname()):
			fault("url", "must be https: anybody on the way could read the routing key (http is for a loopback host only)")
		case strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v2/enqueue"):
			fault("url", "must be the base alone: leave out the path /v2/enqueue")
		}
	case slack:
		if !c.urlSecret().given() && c.URL == "" {
			fault("", "needs url_file or url_env: the URL of the incoming webhook")
		}
	case webhook:
		c.validateWebhookURL(fault)
	}
}

func (c *AlertChannel) validateReplicas(fault faultFunc) {
	if len(c.URLs) == 0 {
		fault("", "needs urls: the Alertmanager's base, such as [http://alertmanager:9093], or of a cluster each replica's")
	}
	first := map[string]int{}
	for i, base := range c.URLs {
		field := fmt.Sprintf("urls[%d]", i)
		if wrong := wrongURL(base); wrong != "" {
			fault(field, "%s", wrong)
			continue
		}
		base = strings.TrimSuffix(base, "/")
		if strings.HasSuffix(base, "/api/v2/alerts") || strings.HasSuffix(base, "/api/v2") {
			fault(field, "must be the base alone: leave out the path /api/v2")
		}
		if j, ok := first[base]; ok {
			fault(field, "is urls[%d], too: name each replica once", j)
		}
		first[base] = i
	}
}

func (c *AlertChannel) validateWebhookURL(fault faultFunc) {
	switch {
	case c.URL == "" && !c.urlSecret().given():
		fault("", "needs url, or where the URL is a secret url_file or url_env")
	case c.URL != "" && c.urlSecret().given():
		fault("url", "excludes %s: keep one of the two", c.urlSecret().field())
	case c.URL != "":
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			fault("url", "is no URL: write https://HOST/PATH")
		} else if u.User != nil {
			fault("url", "has a user in it: then it is a secret: write it to a file of its own, and that file's path to url_file")
		}
	}
}

// validateSecrets finds secrets that are missing, that exclude each other, or that
// belong to something which is missing.
func (c *AlertChannel) validateSecrets(fault faultFunc) {
	for _, r := range c.references() {
		switch { // none of it is shown: it may be the secret itself
		case *r.file != "" && *r.env != "":
			fault(r.key+"_env", "excludes %s_file: keep one of the two", r.key)
		case strings.Contains(*r.file, "http:/") || strings.Contains(*r.file, "https:/"):
			fault(r.key+"_file", "is a URL, and must be the path of a file that holds it")
		case *r.env != "" && !variable.MatchString(*r.env):
			fault(r.key+"_env", "must be a variable's name, letters, digits and _: the secret stands in that variable, not here")
		}
	}
	switch c.Type {
	case alertmanager:
		if (c.Username != "") != c.password().given() {
			fault("", "username and password_file (or password_env) belong together: write both, or none")
		}
		if c.token().given() && c.password().given() {
			fault(c.token().field(), "excludes %s: keep one of the two", c.password().field())
		}
	case pagerduty:
		if !c.routingKey().given() {
			fault("", "needs routing_key_file or routing_key_env: the integration key of the service")
		}
	case webhook:
		if c.heartbeatURL().given() && c.Heartbeat == 0 {
			fault(c.heartbeatURL().field(), "needs heartbeat: how often, such as 1m")
		}
	}
}

// wrongURL says what is wrong with the base of a receiver, "" if nothing is. It shows
// nothing of it: there may be a password in it.
func wrongURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "is no URL: write https://HOST"
	case u.User != nil:
		return "has a user in it: take it out, credentials have fields of their own"
	case u.RawQuery != "" || u.Fragment != "":
		return "has a ? or # in it: nothing may follow the path"
	}
	return ""
}
