// Package docs_test holds what the pages of bursts and alerts show against the code.
package docs_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/cmd/haptrail/watch"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/report/alert/send"
	"github.com/haptrail/haptrail/runtimeapi/peers"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// section is what stands between <!-- name --> and the next comment or heading.
func section(t *testing.T, page, name string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- "+name+" -->\n")
	if !found {
		t.Fatalf("%s has no <!-- %s -->", page, name)
	}
	if end := regexp.MustCompile(`(?m)^(<!-- |#+ )`).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

// block is the code of the first block of a language in a text.
func block(t *testing.T, text, language string) string {
	t.Helper()
	m := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$").FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no block of %q", language)
	}
	return m[1]
}

// needs is the path of a program, or skips the test.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: %v", program, err)
	}
	return path
}

// run runs a program to its end, in dir.
func run(t *testing.T, dir string, argv ...string) (output string, err error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	command.Dir = dir
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err = command.Run()
	return out.String(), err
}

// TestExample: the history that the page of bursts has its reader make gives the
// verdicts that it shows.
func TestExample(t *testing.T) {
	needs(t, "awk")
	code := block(t, section(t, "bursts.md", "example"), "")
	script, shown, ok := strings.Cut(code, "$ haptrail bursts replay history.csv\n")
	if !ok {
		t.Fatal("the example replays nothing")
	}
	dir := t.TempDir()
	if out, err := run(t, dir, needs(t, "sh"), "-c", strings.TrimPrefix(script, "$ ")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	history, err := os.Open(filepath.Join(dir, "history.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer history.Close()
	replay, err := burst.NewReplay(burst.Requests())
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []burst.Verdict
	last := time.Time{}
	for row, err := range burst.ReadCSV(history, 10*time.Second) {
		if err != nil {
			t.Fatal(err)
		}
		said, _ := replay.Row(row)
		verdicts = append(verdicts, said...)
		last = row.Time
	}
	verdicts = append(verdicts, replay.Detector().Advance(last.Add(time.Hour).Unix())...)
	lines := strings.Split(strings.TrimSpace(shown), "\n")[1:] // without the columns' names
	if len(lines) != len(verdicts) || len(lines) < 3 {
		t.Fatalf("the page shows %d verdicts, and there are %d", len(lines), len(verdicts))
	}
	for i, v := range verdicts {
		want := fmt.Sprintf("%s %s %s %s %s", v.At.Format("2006-01-02 15:04:05.000"), v.Kind, v.Severity, v.Key, v.Why())
		if have := strings.Join(strings.Fields(lines[i]), " "); have != want {
			t.Errorf("the page shows\n%s\nwant\n%s", have, want)
		}
	}
}

// receiver is a program with the page's function genuine: it takes a key, a
// timestamp, a signature and a body in hex, and ends with 0 if it believes them.
type receiver func(t *testing.T, dir string) (argv []string)

func pythonReceiver(t *testing.T, dir string) []string {
	python := needs(t, "python3")
	code := block(t, section(t, "alerts.md", "python"), "python") + `
import sys
key, stamp, signature, body = sys.argv[1:]
sys.exit(0 if genuine({"Haptrail-Timestamp": stamp, "Haptrail-Signature": signature}, bytes.fromhex(body), key.encode()) else 3)
`
	write(t, filepath.Join(dir, "verify.py"), code)
	return []string{python, "verify.py"}
}

func goReceiver(t *testing.T, dir string) []string {
	compiler := needs(t, "go")
	code := `package main

import ("crypto/hmac"; "crypto/sha256"; "encoding/hex"; "net/http"; "os"; "strconv"; "strings"; "time")

` + block(t, section(t, "alerts.md", "go"), "go") + `
func main() {
	body, _ := hex.DecodeString(os.Args[4])
	header := http.Header{"Haptrail-Timestamp": {os.Args[2]}, "Haptrail-Signature": {os.Args[3]}}
	if !genuine(header, body, []byte(os.Args[1])) {
		os.Exit(3)
	}
}
`
	write(t, filepath.Join(dir, "verify.go"), code)
	if out, err := run(t, dir, compiler, "build", "-o", "verify", "verify.go"); err != nil {
		t.Fatalf("what the page shows does not compile: %v\n%s", err, out)
	}
	return []string{filepath.Join(dir, "verify")}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReceivers: what the page of alerts gives receivers to verify with takes what we
// sign, and nothing else; just as Verify does.
func TestReceivers(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	body := []byte("{\"text\": \"ü \x00\"}\n")
	at := func(age time.Duration) string { return strconv.FormatInt(time.Now().Add(-age).Unix(), 10) }
	now, old, ahead := at(0), at(time.Hour), at(-time.Hour)
	sign := func(key, stamp string) string { return "v1=" + send.Sign([]byte(key), stamp, body) }
	tests := []struct {
		name, stamp, signature string
		body                   []byte
		genuine                bool
	}{
		{"ours", now, sign(key, now), body, true},
		{"a later version beside it", now, "v2=abc, " + sign(key, now), body, true},
		{"another body", now, sign(key, now), append(slices.Clone(body), ' '), false},
		{"another key", now, sign(key+"x", now), body, false},
		{"another timestamp", at(time.Second), sign(key, now), body, false},
		{"old", old, sign(key, old), body, false},
		{"from the future", ahead, sign(key, ahead), body, false},
		{"no timestamp", "", sign(key, ""), body, false},
		{"no number", "now", sign(key, "now"), body, false},
		{"no ASCII number", "²", sign(key, "²"), body, false},
		{"no signature", now, "", body, false},
		{"no version", now, strings.TrimPrefix(sign(key, now), "v1="), body, false},
		{"no ASCII", now, "v1=ü", body, false},
	}
	for language, prepare := range map[string]receiver{"python": pythonReceiver, "go": goReceiver} {
		t.Run(language, func(t *testing.T) {
			dir := t.TempDir()
			argv := prepare(t, dir)
			for _, test := range tests {
				out, err := run(t, dir, append(slices.Clone(argv), key, test.stamp, test.signature, hex.EncodeToString(test.body))...)
				if have := err == nil; have != test.genuine || strings.TrimSpace(out) != "" {
					t.Errorf("%s: genuine is %t, want %t: %v %s", test.name, have, test.genuine, err, out)
				}
			}
		})
	}
	for _, test := range tests {
		header := http.Header{}
		header.Set(send.HeaderTimestamp, test.stamp)
		header.Set(send.HeaderSignature, test.signature)
		if err := send.Verify(header, test.body, []byte(key), time.Now(), 5*time.Minute); (err == nil) != test.genuine {
			t.Errorf("Verify: %s: %v", test.name, err)
		}
	}
}

// TestSeries: the table of what is counted of whom has each kind of the watch, in its
// order.
func TestSeries(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "cmd", "haptrail", "watch", "series.go"))
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+) += "(\w+)"$`).FindAllStringSubmatch(string(text), -1) {
		words[m[1]] = m[2]
	}
	want := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+: +\{(\w+), (of\w+), (?:true|false)`).FindAllStringSubmatch(string(text), -1) {
		want[words[m[1]]+" of "+words[m[2]]] = true
	}
	have := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(section(t, "bursts.md", "series"), -1) {
		have[m[1]+" of "+m[2]] = true
	}
	for kind := range want {
		if !have[kind] {
			t.Errorf("the table lacks %s", kind)
		}
	}
	for kind := range have {
		if !want[kind] {
			t.Errorf("the table has %s, which nobody counts", kind)
		}
	}
	if len(want) < 8 {
		t.Errorf("%d kinds found in series.go", len(want))
	}
}

// TestMetrics: the metrics that the pages name are published under those names.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	watch.NewMetrics(registry)
	poll.NewMetrics(registry)
	peers.NewMetrics(registry)
	alert.NewMetrics(registry)
	descriptions := make(chan *prometheus.Desc, 1000)
	registry.Describe(descriptions)
	close(descriptions)
	published := map[string]bool{}
	for d := range descriptions {
		published[regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1]] = true
	}
	for page, least := range map[string]int{"bursts.md": 10, "alerts.md": 5} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(`\bhaptrail_(?:alerts|bursts?|stick|peers)_\w+`).FindAllString(string(text), -1)
		for _, name := range named {
			if !published[name] {
				t.Errorf("%s: there is no metric %s", page, name)
			}
		}
		if len(named) < least {
			t.Errorf("%s names %d metrics", page, len(named))
		}
	}
}
