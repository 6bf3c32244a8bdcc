package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNext: a printed command leads to the same tables; other texts stay as they are.
func TestNext(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "embedded:/from/environment")
	const dsn = " --dsn embedded:data"
	for _, c := range []struct {
		w          where
		text, want string
	}{
		{where{}, "haptrail trail --run 7", "haptrail trail --run 7"},
		{where{DSN: "embedded:/from/environment"}, "haptrail trail --run 7", "haptrail trail --run 7"},
		{where{DSN: "embedded:data"}, "haptrail trail --run 7", "haptrail trail" + dsn + " --run 7"},
		{where{DSN: "embedded:data"}, "haptrail bursts explain 3fa9", "haptrail bursts explain" + dsn + " 3fa9"},
		{where{DSN: "embedded:data"}, "haptrail bursts --since all --identity x", "haptrail bursts" + dsn + " --since all --identity x"},
		{where{DSN: "embedded:data"}, "haptrail bursts", "haptrail bursts" + dsn},
		{where{DSN: "embedded:data"}, `haptrail query "SELECT 1"`, "haptrail query" + dsn + ` "SELECT 1"`},
		{where{DSN: "embedded:data"}, "Read it: haptrail trail --commit c shows all. haptrail findings, too", "Read it: haptrail trail" + dsn + " --commit c shows all. haptrail findings" + dsn + ", too"},
		{where{DSN: "embedded:data"}, "haptrail bursts lists them; haptrail alerts", "haptrail bursts" + dsn + " lists them; haptrail alerts" + dsn},
		{where{Config: "a b.yaml"}, "haptrail check", "haptrail check --config 'a b.yaml'"},
		{where{DSN: "unix:it's", Config: "c.yaml"}, "haptrail alerts silence --list", `haptrail alerts silence --dsn 'unix:it'\''s' --config c.yaml --list`},
		// These take no --dsn, or are no commands.
		{where{DSN: "embedded:data"}, "haptrail edge keys; haptrail bursts replay F; haptrail alerts test am; haptrail bursts-x; haptrail trail9; haptrail serve; haptrails trail", ""},
		{where{DSN: "clickhouse://u:sesame@h/db"}, "haptrail trail --run 7", `haptrail trail --dsn "${HAPTRAIL_DSN:?}" --run 7`},
		{where{DSN: "embedded:a\x1b[2J", Config: "b\x1b[2J"}, "haptrail trail", `haptrail trail --dsn "${HAPTRAIL_DSN:?}" --config FILE`},
	} {
		if c.want == "" {
			c.want = c.text
		}
		if have := c.w.next(c.text); have != c.want {
			t.Errorf("%+v: have %s\nwant %s", c.w, have, c.want)
		}
	}
}

// TestSecretDSN: a password is not printed, wherever it stands; what only leads to one is.
func TestSecretDSN(t *testing.T) {
	for dsn, want := range map[string]bool{
		"embedded:/var/lib/a@b:c": false, "unix:/run/password=x": false, "clickhouse://host:9000/haptrail": false, "clickhouse://ann@host/haptrail": false,
		"http://ann@host:8123/db?password_file=/run/secret": false, "https://host?password_env=PW&secure=true": false,
		"clickhouse://ann:sesame@host/db": true, "clickhouse://ann:@host/db": true, "http://host:8123/db?user=ann&password=sesame": true,
		"https://host/db?PASSWORD=sesame": true, "https://host/?access_token=sesame": true, "clickhouse://ann:ses%ame@host": true, "http://host/?a=1;password=sesame": true,
		"clickhouse://a:b@h1:9000,h2:9000/db": true, "mysql://ann:sesame@host": true,
	} {
		if have := secretDSN(dsn); have != want {
			t.Errorf("%s: %t, want %t", dsn, have, want)
		}
		w := where{DSN: dsn}
		if text := w.next("haptrail trail"); want && strings.Contains(text, "sesame") {
			t.Errorf("printed: %s", text)
		}
	}
}

// TestNextInShell: a shell reads the flags as they were given.
func TestNextInShell(t *testing.T) {
	for _, dsn := range []string{"embedded:data", "embedded:it's $HOME `ls` \"x\" \\ *", "unix:-x", "clickhouse://ann@host:9000/db?a=1&b=2", "http://[::1]:8123/#x"} {
		out, err := exec.Command("/bin/sh", "-c", "printf '%s\\n' "+strings.TrimPrefix((&where{DSN: dsn}).flags(), " ")).Output()
		if want := "--dsn\n" + dsn + "\n"; err != nil || string(out) != want {
			t.Errorf("have %q, want %q, %v", out, want, err)
		}
	}
	out, err := exec.Command("/bin/sh", "-c", "unset HAPTRAIL_DSN; : "+(&where{DSN: "http://a:b@c"}).flags()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "HAPTRAIL_DSN") {
		t.Errorf("without the variable: %q, %v", out, err)
	}
}
