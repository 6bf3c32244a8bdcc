package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ciProviders are the providers that have runs. Okta and AWS only issue tokens.
var ciProviders = []string{space, teamcity, github, gitlab}

// ciFields are the keys of a source and the providers whose sources take them; a
// secret is named without _file and _env. name and provider are everybody's.
var ciFields = map[string][]string{
	"url":                  ciProviders,
	"client_id":            {space},
	"client_secret":        {space},
	"token":                ciProviders,
	"app":                  {github},
	"projects":             {space, teamcity, gitlab},
	"repositories":         {github},
	"scope":                {space},
	"subject":              {space},
	"commit_query":         {space},
	"principals_interval":  {space},
	"longest_build":        {teamcity},
	"reruns":               {github},
	"approvals":            {github},
	"webhook.public_keys":  {space},
	"webhook.signing_key":  {space, gitlab},
	"webhook.secret":       {github, gitlab},
	"webhook.bearer":       {space},
	"webhook.user":         {space, teamcity},
	"webhook.password":     {space, teamcity},
	"webhook.header":       {teamcity},
	"webhook.header_value": {teamcity},
	"webhook.window":       {space, gitlab},
}

// sourceName is a path segment, and a label that needs no quoting.
var sourceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// maxReruns is for how long GitHub lets people re-run.
const maxReruns = Duration(30 * 24 * time.Hour)

func (c *Config) validateCI(fault faultFunc) {
	section := &c.CI
	if section.Listen != "off" && !isAddress(section.Listen) {
		fault("ci.listen", `%q must be an address such as 127.0.0.1:9596, or "off"`, section.Listen)
	}
	if (section.TLS.Cert == "") != (section.TLS.Key == "") {
		fault("ci.tls", "cert and key belong together: write both, or none for plain HTTP")
	}
	if section.PollInterval < Duration(time.Second) {
		fault("ci.poll_interval", "%s must be at least 1s", section.PollInterval)
	}
	if section.Back < Duration(time.Minute) {
		fault("ci.back", "%s must be at least 1m", section.Back)
	}
	if section.Slack > Duration(time.Hour) {
		fault("ci.slack", "%s must be at most 1h: set the clocks by NTP instead", section.Slack)
	}
	if section.LookBack < Duration(time.Hour) {
		fault("ci.look_back", "%s must be at least 1h", section.LookBack)
	}
	names := map[string]bool{}
	for i := range section.Sources {
		field, s := fmt.Sprintf("ci.sources[%d]", i), &section.Sources[i]
		faults := 0
		s.validate(func(key, format string, args ...any) {
			faults++
			fault(field+"."+key, format, args...)
		})
		if s.Name != "" && names[s.Name] {
			fault(field+".name", "%q is used twice: its webhooks and its cursor are known by it: give each source its own", s.Name)
		}
		names[s.Name] = true
		if faults > 0 {
			continue
		}
		err := s.validateUse(section.Listen)
		if err == nil {
			_, err = s.Source(Calls{})
		}
		if err != nil {
			fault(field, "%s", err)
		}
	}
}

// validate checks a source by itself; package ci checks the rest, such as what a
// project's name may be.
func (s *CISource) validate(fault faultFunc) {
	switch {
	case s.Name == "":
		fault("name", "is missing: it is the last part of its webhooks' address, /webhooks/NAME")
	case !sourceName.MatchString(s.Name):
		fault("name", "%q must be a path segment of at most 64 characters: letters, digits, -, _ and ., the first a letter or digit", s.Name)
	}
	if !slices.Contains(ciProviders, s.Provider) {
		fault("provider", "%q must be one of %s: others only issue tokens, and have no runs", s.Provider, strings.Join(ciProviders, ", "))
		return // whose fields are they?
	}
	for _, key := range setKeys(reflect.ValueOf(s).Elem(), "") {
		takers, ok := ciFields[withoutWay(key)]
		if ok && !slices.Contains(takers, s.Provider) {
			fault(key, "is a field of %s, not of %s: take it out", strings.Join(takers, " and "), s.Provider)
		}
	}
	s.validateURL(fault)
	for _, r := range s.references() {
		if *r.file != "" && *r.env != "" {
			fault(r.key+"_env", "excludes %s_file: keep one of the two", r.key)
		}
	}
	s.validateCredentials(fault)
	s.validateWebhook(fault)
	s.validateProjects(fault)
	if s.Reruns > maxReruns {
		fault("reruns", "%s must be at most 30d: GitHub lets nobody re-run later", s.Reruns)
	}
}

// validateUse finds a source that could never tell anything.
func (s *CISource) validateUse(listen string) error {
	switch {
	case s.Polled() || s.Hears() && listen != "off":
		return nil
	case s.Hears():
		return errors.New("could tell nothing: ci.listen is off, and it has no credentials for its API (docs/providers.md)")
	}
	return errors.New("could tell nothing: give it a webhook's secret, or credentials for its API (docs/providers.md)")
}

// validateURL shows nothing of a URL, which may have a password in it.
func (s *CISource) validateURL(fault faultFunc) {
	if s.URL == "" {
		if s.Provider != github { // which has a default
			fault("url", "is missing: write the server's, https://HOST")
		}
		return
	}
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Host == "":
		fault("url", "is no URL: write https://HOST")
	case u.User != nil:
		fault("url", "has a user in it: take it out, credentials have fields of their own")
	case u.RawQuery != "" || u.Fragment != "":
		fault("url", "has a ? or # in it: nothing may follow the path")
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		fault("url", "must be https: anybody on the way could read our credentials (http is for a loopback host only)")
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

func (s *CISource) validateCredentials(fault faultFunc) {
	if s.clientSecret().given() && s.ClientID == "" {
		fault("client_id", "is missing: %s needs it", s.clientSecret().field())
	}
	if s.clientSecret().given() && s.token().given() {
		fault(s.token().field(), "excludes %s: keep one of the two", s.clientSecret().field())
	}
	if s.Subject != "" && !slices.Contains([]string{"id", "clientId", "name"}, s.Subject) {
		fault("subject", "%q must be id, clientId or name", s.Subject)
	}
	if s.App == nil {
		return
	}
	if s.token().given() {
		fault(s.token().field(), "excludes app: keep one of the two")
	}
	if s.App.ID == "" {
		fault("app.id", "is missing: write the app's id or client id")
	}
	if s.App.Installation == "" || strings.Trim(s.App.Installation, "0123456789") != "" {
		fault("app.installation", "%q must be the digits at the end of the installation's URL", s.App.Installation)
	}
	if !s.App.key().given() {
		fault("app", "needs key_file or key_env: the app's private key")
	}
}

func (s *CISource) validateWebhook(fault faultFunc) {
	w := &s.Webhook
	if (w.User != "") != w.password().given() {
		fault("webhook", "user and password_file (or password_env) belong together: write both, or none")
	}
	if (w.Header != "") != w.headerValue().given() {
		fault("webhook", "header and header_value_file (or header_value_env) belong together: write both, or none")
	}
	if w.Header != "" && !isHeader(w.Header) {
		fault("webhook.header", "%q is no header's name: letters, digits and -", w.Header)
	}
	if s.Provider != space {
		return
	}
	var ways []string
	if w.PublicKeys {
		ways = append(ways, "public_keys")
	}
	for _, r := range []reference{w.signingKey(), w.bearer(), w.password()} {
		if r.given() {
			ways = append(ways, strings.TrimPrefix(r.field(), "webhook."))
		}
	}
	if len(ways) > 1 {
		fault("webhook", "%s exclude each other: keep the one that is set up in Space, or an attacker takes the weakest", strings.Join(ways, " and "))
	}
	if w.PublicKeys && (s.ClientID == "" || !s.Polled()) {
		fault("webhook.public_keys", "needs client_id, and client_secret_file or token_file (or _env), with which the keys are fetched")
	}
}

// isHeader reports whether a text is a header's name, but for some that nobody has.
func isHeader(name string) bool {
	return strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func (s *CISource) validateProjects(fault faultFunc) {
	for i, p := range s.Projects {
		field := fmt.Sprintf("projects[%d]", i)
		if s.Provider == space {
			if p.Key == "" || p.ID == "" {
				fault(field, "needs key and id: a job sees them as JB_SPACE_PROJECT_KEY and JB_SPACE_PROJECT_ID")
			}
			continue
		}
		if len(setKeys(reflect.ValueOf(p), "")) != 1 || p.Name == "" {
			fault(field, "must be one word for %s: the project's external id or path; other fields are Space's", s.Provider)
		}
	}
}

// setKeys are the keys of a struct whose values are not zero, those of structs in
// it among them. What a pointer leads to is one value.
func setKeys(v reflect.Value, prefix string) (keys []string) {
	for i := range v.NumField() {
		key, field := prefix+v.Type().Field(i).Tag.Get("yaml"), v.Field(i)
		switch {
		case field.IsZero():
		case field.Kind() == reflect.Struct:
			keys = append(keys, setKeys(field, key+".")...)
		default:
			keys = append(keys, key)
		}
	}
	return keys
}

// withoutWay is a secret's key without the way to it.
func withoutWay(key string) string {
	return strings.TrimSuffix(strings.TrimSuffix(key, "_file"), "_env")
}
