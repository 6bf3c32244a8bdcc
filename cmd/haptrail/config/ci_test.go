package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEverythingOfCI reads a file in which each field of a source is set for each
// provider that takes it: each reaches its place, and each path is taken from the
// file's folder.
func TestEverythingOfCI(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	c, err := Load("testdata/good.ci.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if unset := zeroFields(reflect.ValueOf(c.CI), "ci"); len(unset) > 0 {
		t.Errorf("not set: %v", unset)
	}
	seen := map[string]bool{}
	for i := range c.CI.Sources {
		s := &c.CI.Sources[i]
		for _, key := range setKeys(reflect.ValueOf(s).Elem(), "") {
			seen[s.Provider+" "+withoutWay(key)] = true
		}
		source, err := s.Source(Calls{})
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		want := s.Provider + " " + strings.TrimRight(s.URL, "/")
		if s.URL == "" {
			want = "github https://api.github.com"
		}
		if have := fmt.Sprint(source); have != want {
			t.Errorf("%s: have %s, want %s", s.Name, have, want)
		}
	}
	for key, providers := range ciFields {
		if !slices.ContainsFunc(providers, func(p string) bool { return seen[p+" "+key] }) {
			t.Errorf("%s is set for no provider", key)
		}
	}
	sp, tc, gh := c.CI.Sources[0], c.CI.Sources[3], c.CI.Sources[4]
	for name, v := range map[string][2]string{
		"times":         {fmt.Sprint(c.CI.PollInterval, c.CI.Back, c.CI.Slack, c.CI.LookBack), "5m0s 720h0m0s 2m0s 336h0m0s"},
		"tls":           {fmt.Sprint(c.CI.TLS), "{testdata/tls/cert.pem testdata/tls/key.pem}"},
		"client secret": {sp.ClientSecretFile, "testdata/secrets/space"},
		"token":         {tc.TokenFile, "testdata/secrets/teamcity"},
		"password":      {tc.Webhook.PasswordFile, "testdata/secrets/teamcity-webhook"},
		"app key":       {gh.App.KeyFile, "testdata/secrets/app.pem"},
		"secret":        {gh.Webhook.SecretFile, "testdata/secrets/github-webhook"},
		"bearer":        {c.CI.Sources[2].Webhook.BearerFile, "testdata/secrets/bearer"},
		"signing key":   {c.CI.Sources[6].Webhook.SigningKeyFile, "testdata/secrets/gitlab-signing"},
		"words":         {fmt.Sprint(tc.projectNames()), "[Platform_Infra Web]"},
		"project":       {fmt.Sprint(sp.Projects[0]), "{infra INFRA 1AbCd [3aBcDe] [platform] automation-infra}"},
	} {
		if v[0] != v[1] {
			t.Errorf("%s: have %s, want %s", name, v[0], v[1])
		}
	}
}

// TestFieldsOfProviders: the table has every key of a source, and a key that is
// not the provider's is a fault, whatever else is set.
func TestFieldsOfProviders(t *testing.T) {
	var keys []string
	var walk func(of reflect.Type, prefix string)
	walk = func(of reflect.Type, prefix string) {
		for i := range of.NumField() {
			if key := prefix + of.Field(i).Tag.Get("yaml"); of.Field(i).Type.Kind() == reflect.Struct {
				walk(of.Field(i).Type, key+".")
			} else if base := withoutWay(key); !slices.Contains(keys, base) {
				keys = append(keys, base)
			}
		}
	}
	walk(reflect.TypeFor[CISource](), "")
	keys = slices.DeleteFunc(keys, func(key string) bool { return key == "name" || key == "provider" })
	if len(keys) != len(ciFields) {
		t.Errorf("a source has %d keys, the table %d", len(keys), len(ciFields))
	}
	values := map[string]string{
		"url": "https://ci.example.com", "app": "{id: a, installation: \"1\", key_file: k}", "projects": "[a/b]", "repositories": "[a/b]",
		"principals_interval": "2h", "longest_build": "2d", "reruns": "2d", "webhook.window": "1m", "approvals": "true", "webhook.public_keys": "true",
	}
	for _, key := range keys {
		takers, ok := ciFields[key]
		if !ok {
			t.Errorf("the table lacks %s", key)
		}
		value := values[key]
		if value == "" {
			value = "a"
		}
		name := key
		if strings.HasSuffix(key, "token") || strings.HasSuffix(key, "secret") || slices.Contains([]string{"webhook.signing_key", "webhook.bearer", "webhook.password", "webhook.header_value"}, key) {
			name += "_env"
		}
		line := name + ": " + value
		if inner, ok := strings.CutPrefix(name, "webhook."); ok {
			line = "webhook: {" + inner + ": " + value + "}"
		}
		for _, provider := range ciProviders {
			_, err := Parse([]byte("ci:\n  sources:\n    - name: a\n      provider: " + provider + "\n      " + line + "\n"))
			refused := err != nil && strings.Contains(err.Error(), name+": is a field of ")
			if refused == slices.Contains(takers, provider) {
				t.Errorf("%s with %s: have error %v", provider, line, err)
			}
		}
	}
}

// TestSecretIsReadAnew: at each use, with one or two lines of which each will do,
// and never shown.
func TestSecretIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	t.Setenv("CI_SECRET", "")
	for _, c := range []struct {
		text       string
		one        string // "" where it has to fail
		either     string // both, by a blank
		oneWrong   string
		eitherNote string
	}{
		{text: "SESAME", one: "SESAME", either: "SESAME SESAME"},
		{text: " SESAME \r\n\n", one: "SESAME", either: "SESAME SESAME"},
		{text: "OLD\r\n\n NEW\n", either: "OLD NEW", oneWrong: "leads to 2 lines of text, and may have 1"},
		{text: "A\nB\nC\n", oneWrong: "3 lines of text, and may have 1", eitherNote: "3 lines of text, and may have 2"},
		{text: " \n", oneWrong: "is empty", eitherNote: "is empty"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("CI_SECRET", c.text)
		empty, env := "", "CI_SECRET"
		for _, r := range []reference{{"webhook.secret", &path, &empty}, {"webhook.secret", &empty, &env}} {
			one, err := r.one()()
			if one != c.one || !complains(err, c.oneWrong) {
				t.Errorf("%q by %s: have %q, error %v, want %q, error %q", c.text, r.field(), one, err, c.one, c.oneWrong)
			}
			both := r.either()
			first, err := both[0]()
			second, err2 := both[1]()
			if have := strings.TrimSpace(first + " " + second); have != c.either || !complains(err, c.eitherNote) || !complains(err2, c.eitherNote) {
				t.Errorf("%q by %s: have %q, errors %v and %v, want %q, error %q", c.text, r.field(), have, err, err2, c.either, c.eitherNote)
			}
		}
	}
}

// complains tells whether an error says a text, or is none where that is "".
func complains(err error, text string) bool {
	if err == nil || text == "" {
		return err == nil && text == ""
	}
	return strings.Contains(err.Error(), text)
}

// TestCheckSecrets names the key of a secret that cannot be read, and shows none.
func TestCheckSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two, pem := write("one", "SESAME"), write("two", "SESAME\nSESAME2"), write("pem", "-----BEGIN\nSESAME\n-----END\n")
	for _, c := range []struct {
		source CISource
		want   string
	}{
		{CISource{Provider: github, TokenFile: one, Webhook: CIWebhook{SecretFile: two}}, ""},
		{CISource{Provider: github, App: &GitHubApp{KeyFile: pem}}, ""},
		{CISource{Provider: teamcity, Webhook: CIWebhook{User: "u", PasswordFile: two, Header: "X", HeaderValueFile: two}}, ""},
		{CISource{Provider: space, Webhook: CIWebhook{SigningKeyFile: two}}, "webhook.signing_key_file: webhook.signing_key_file leads to 2 lines"},
		{CISource{Provider: gitlab, TokenFile: two}, "token_file: "},
		{CISource{Provider: space, ClientSecretFile: one + "x"}, "client_secret_file: open "},
		{CISource{Provider: github, App: &GitHubApp{KeyEnv: "UNSET_CI_KEY"}}, "app.key_env: the environment variable UNSET_CI_KEY is empty"},
		{CISource{Provider: space, Webhook: CIWebhook{BearerFile: write("empty", "\n")}}, "webhook.bearer_file: "},
	} {
		err := c.source.CheckSecrets()
		if !complains(err, c.want) || err != nil && strings.Contains(err.Error(), "SESAME") {
			t.Errorf("%+v: have error %v, want %q", c.source, err, c.want)
		}
	}
}

// TestUses: what a source can do without credentials, and what without a secret.
func TestUses(t *testing.T) {
	for _, c := range []struct {
		source        CISource
		polled, hears bool
	}{
		{source: CISource{}},
		{source: CISource{ClientID: "c"}},
		{source: CISource{ClientSecretEnv: "S"}, polled: true},
		{source: CISource{TokenFile: "t"}, polled: true},
		{source: CISource{App: &GitHubApp{}}, polled: true},
		{source: CISource{Webhook: CIWebhook{User: "u", Header: "h", Window: Duration(time.Minute)}}},
		{source: CISource{Webhook: CIWebhook{PublicKeys: true}}, hears: true},
		{source: CISource{Webhook: CIWebhook{SigningKeyEnv: "S"}}, hears: true},
		{source: CISource{Webhook: CIWebhook{SecretFile: "s"}}, hears: true},
		{source: CISource{Webhook: CIWebhook{BearerFile: "s"}}, hears: true},
		{source: CISource{Webhook: CIWebhook{PasswordFile: "s"}}, hears: true},
		{source: CISource{Webhook: CIWebhook{HeaderValueEnv: "s"}}, hears: true},
	} {
		if have := [2]bool{c.source.Polled(), c.source.Hears()}; have != [2]bool{c.polled, c.hears} {
			t.Errorf("%+v: have polled and hears %v", c.source, have)
		}
	}
}

// TestSourceErrorsShowNoURL: a URL may have a password in it, also one that no
// file has been checked for.
func TestSourceErrorsShowNoURL(t *testing.T) {
	for _, provider := range ciProviders {
		for _, url := range []string{"https://u:SESAME@h", "https://h/?token=SESAME", "https://u:SESAME@h:port", "http://u:SESAME@h", "ht tp://SESAME"} {
			text := fmt.Sprintf("ci: {sources: [{name: a, provider: %s, url: %q, token_env: T}]}\n", provider, url)
			if _, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), "SESAME") {
				t.Errorf("%s %s: have error %v", provider, url, err)
			}
		}
	}
}
