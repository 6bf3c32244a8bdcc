package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/internal/strictyaml"
)

// TestNoSecretFields: the configuration leads to passwords and holds none, but
// in a DSN's URL; so it may be logged field by field, all but DSN.
func TestNoSecretFields(t *testing.T) {
	for _, key := range strictyaml.Keys(reflect.TypeFor[Config]()) {
		if regexp.MustCompile(`password|secret|token|bearer|(^|_)key$|value`).MatchString(key) && !regexp.MustCompile(`_(file|env|lifetime|age)$`).MatchString(key) && !slices.Contains(notSecret, key) {
			t.Errorf("the key %s would hold a secret", key)
		}
	}
}

// notSecret is the path of a listener's key, and what Space calls a project.
var notSecret = []string{"key"}

// TestErrorsHideThePassword: whatever is wrong, with the DSN or beside it.
func TestErrorsHideThePassword(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	dsns := []string{
		"clickhouse://u:SESAME@h:9000/db?dial_timeout=x", "clickhouse://u:SESAME@h:x/db", "clickhouse://u:SES%zzSESAME@h/db", "clickhouse://u:SES/SESAME@h/db",
		"http://h:8123/db?password=SESAME&dial_timeout=x", "mysql://u:SESAME@h/db", "mysql:u:SESAME@h", "clickhous://h/db?user=u&Password=SESAME",
		"clickhouse://u:SES@SESAME@h/db?dial_timeout=x", "clickhouse://u:SESAME@h/db?password_file=missing", "clickhouse://u:SESAME@h/db?password_env=UNSET_VARIABLE",
	}
	for _, dsn := range dsns {
		texts := []string{
			fmt.Sprintf("dsn: %q\n", dsn), fmt.Sprintf("dsn: %q\nlistners: []\n", dsn), fmt.Sprintf("dsn: %q\nflush: {age: 5}\n", dsn),
			fmt.Sprintf("dsn: [%q]\n", dsn), fmt.Sprintf("dsn: \"%s\n", dsn), fmt.Sprintf("%q: 1\n", dsn), fmt.Sprintf("dsn: %q\ndsn: %q\n", dsn, dsn),
			fmt.Sprintf("dsn: %q\n---\nx: 1\n", dsn), fmt.Sprintf("dsn: %q\n\tx: 1\n", dsn),
		}
		for _, text := range texts {
			if _, err := Parse([]byte(text)); err == nil {
				t.Errorf("%q: no error", text)
			} else if strings.Contains(err.Error(), "SESAME") {
				t.Errorf("%q: the error shows the password:\n%v", text, err)
			}
		}
	}
}

func TestHintSurvivesMasking(t *testing.T) {
	_, err := Parse([]byte("dsn: mysql://u:SESAME@h\n"))
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "embedded:DIR") {
		t.Errorf("no hint in %v", err)
	}
}

func TestPassword(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(" open sesame \r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("READER_PASSWORD", "from-env")
	t.Setenv("EMPTY_PASSWORD", "")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user      User
		want, err string
	}{
		{User{Name: "a", PasswordFile: path}, " open sesame ", ""}, // only the line end goes
		{User{Name: "a", PasswordEnv: "READER_PASSWORD"}, "from-env", ""},
		{User{Name: "a", PasswordEnv: "EMPTY_PASSWORD"}, "", `user "a": the environment variable EMPTY_PASSWORD is empty`},
		{User{Name: "a", PasswordFile: empty}, "", "empty is empty"},
		{User{Name: "a", PasswordFile: path + "x"}, "", "no such file"},
	} {
		have, err := c.user.Password()
		if have != c.want || (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%+v: have %q, error %v, want %q, error %q", c.user, have, err, c.want, c.err)
		}
	}
}
