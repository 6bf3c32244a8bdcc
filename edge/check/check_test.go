package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
)

func TestFindingString(t *testing.T) {
	for _, tc := range []struct {
		f    Finding
		want string
	}{
		{Finding{Severity: Error, Code: "c", File: "a.cfg", Line: 3, Text: "t", Mend: "m"}, "a.cfg:3: error: t [c]\n    m"},
		{Finding{Severity: Warning, Code: "c", File: "a.cfg", Text: "t\nu", Mend: "m\nn"}, "a.cfg: warning: t\n    u [c]\n    m\n    n"},
		{Finding{Severity: Note, Code: "c", Text: "t", Mend: "m"}, "haproxy: note: t [c]\n    m"},
	} {
		if got := tc.f.String(); got != tc.want {
			t.Errorf("got %q\nwant %q", got, tc.want)
		}
	}
	data, err := json.Marshal(Finding{Severity: Warning, Code: "c", File: "f", Line: 1, Section: "global", Text: "t", Mend: "m"})
	if want := `{"severity":"warning","code":"c","file":"f","line":1,"section":"global","text":"t","mend":"m"}`; err != nil || string(data) != want {
		t.Errorf("%v: %s, want %s", err, data, want)
	}
	if _, ok := Worst(nil); ok {
		t.Error("no findings have a worst one")
	}
	if worst, ok := Worst([]Finding{{Severity: Note}, {Severity: Error}, {Severity: Warning}}); !ok || worst != Error {
		t.Error(worst)
	}
}

// TestSort: in the order of the files as HAProxy reads them, then of the lines;
// what is said twice is said once.
func TestSort(t *testing.T) {
	all := []Finding{
		{Code: "z"}, {File: "b", Line: 1, Code: "x"}, {File: "z", Line: 2, Code: "a"}, {File: "z", Line: 1, Code: "a", Severity: Note},
		{File: "z", Line: 1, Code: "b", Severity: Error}, {File: "other", Line: 9}, {File: "b", Line: 1, Code: "x"},
	}
	var got []string
	for _, f := range sortFindings(all, []string{"z", "b"}) {
		got = append(got, f.Where()+f.Code)
	}
	if want := "z:1b z:1a z:2a b:1x haproxyz other:9"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestCodes: each code is explained once, and is named by a test or stands in a
// golden file; nothing else does.
func TestCodes(t *testing.T) {
	var text strings.Builder
	for _, pattern := range []string{"*_test.go", "testdata/cases/*.golden"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(data)
		}
	}
	seen := make(map[string]bool)
	for _, c := range Codes() {
		if seen[c.Name] || c.Means == "" || !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(c.Name) {
			t.Errorf("code %q", c.Name)
		}
		seen[c.Name] = true
		if !regexp.MustCompile(`[\[ "]` + c.Name + `[] "]`).MatchString(text.String()) {
			t.Errorf("no test reports %s", c.Name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a code that is not explained can be reported")
		}
	}()
	severityOf("no-such-code")
}

func TestInputErrors(t *testing.T) {
	in := input(t, "testdata/cases/clean.cfg")
	for name, broken := range map[string]func() Input{
		"no policy": func() Input { in := in; in.Policy = nil; return in },
		"no files":  func() Input { in := in; in.Files = nil; return in },
	} {
		if found, err := Check(t.Context(), broken()); err == nil || found != nil {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	in.Files = []string{"testdata/no-such.cfg"}
	if _, err := Check(t.Context(), in); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ended, input(t, "testdata/cases/clean.cfg")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestDirIsRead: the folder is put before the files, unless it is among them.
func TestDirIsRead(t *testing.T) {
	for _, files := range [][]string{
		{"testdata/cases/clean.cfg"},
		{"testdata/gate/", "testdata/cases/clean.cfg"},
		{"./testdata/gate/haptrail.cfg", "testdata/gate/keys.cfg", "testdata/cases/clean.cfg"},
	} {
		in := input(t, "")
		in.Files, in.Dir = files, "testdata/gate"
		found, err := Check(t.Context(), in)
		if err != nil || len(found) > 0 {
			t.Errorf("%q: %v\n%s", files, err, render(found))
		}
	}
}

// TestUnknownSockets: what no file says.
func TestUnknownSockets(t *testing.T) {
	in := input(t, "testdata/cases/clean.cfg")
	in.MasterSocket = ""
	found, err := Check(t.Context(), in)
	if got := places(found, ""); err != nil || !slices.Equal(got, []string{"haproxy master-unknown"}) {
		t.Errorf("%v %q", err, got)
	}
}

func TestPolicyWarnings(t *testing.T) {
	in := input(t, "testdata/cases/clean.cfg")
	warnings := in.Policy.Warnings()
	if len(warnings) > 0 {
		t.Fatalf("the policy of the tests has warnings: %v", warnings)
	}
	in.Policy = parsePolicy(t, "  - {issuer: teamcity, project: \"*\"}\n", "  - {issuer: teamcity, project: \"*\"}\n- name: idle\n  match:\n  - {issuer: github, project: acme/app}\n")
	found, err := Check(t.Context(), in)
	if err != nil || len(found) == 0 {
		t.Fatal(err, found)
	}
	var got, want []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%s %s %s %s", f.Where(), f.Severity, f.Code, f.Text))
	}
	for _, w := range in.Policy.Warnings() {
		want = append(want, fmt.Sprintf("testdata/policy.yaml:%d warning policy-warning %s", w.Line, w.Text))
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestListeners: which addresses lead to haptrail.
func TestListeners(t *testing.T) {
	for _, tc := range []struct {
		log       string // of the frontend
		listeners []string
		want      []string
	}{
		{"log ring@haptrail len 8192 local0", nil, nil},
		{"log ring@haptrail len 8192 local0", []string{"tcp://:5514"}, nil},
		{"log ring@haptrail len 8192 local0", []string{"tcp://0.0.0.0:5514", "udp://[::]:514"}, nil},
		{"log ring@haptrail len 8192 local0", []string{"tcp://localhost:5514"}, nil},
		{"log ring@haptrail len 8192 local0", []string{"tcp://127.0.0.2:5514"}, []string{"policy log-unheard"}},
		{"log 10.0.0.9:514 len 8192 local0", nil, []string{"frontend log-elsewhere"}},
		{"log 10.0.0.9:514 len 8192 local0", []string{"tcp://127.0.0.1:5514", "udp://:514"}, []string{"line log-udp"}},
		{"log 10.0.0.9:514 len 8192 local0", []string{"tcp://127.0.0.1:5514", "udp://10.0.0.9:514"}, []string{"line log-udp"}},
		{"log /run/haptrail/log.sock len 8192 local0", []string{"tcp://127.0.0.1:5514", "unixgram:///run/haptrail/log.sock"}, nil},
		{"log unix@/run/haptrail/other.sock len 8192 local0", []string{"tcp://127.0.0.1:5514", "unix:///run/haptrail/log.sock"}, []string{"frontend log-elsewhere"}},
		{"log fd@1 len 8192 local0", nil, []string{"frontend log-elsewhere"}},
		{"log", nil, []string{"frontend log-missing"}},
	} {
		file := filepath.Join(t.TempDir(), "user.cfg")
		write(t, "global\n stats socket /s mode 600 level admin\nfrontend www from haptrail\n bind 127.0.0.1:80\n no log\n "+tc.log+"\n default_backend app\nbackend app\n", file)
		in := input(t, file)
		in.Listeners = tc.listeners
		found, err := Check(t.Context(), in)
		var got []string
		for _, f := range found {
			where := map[string]string{file + ":3": "frontend", file + ":5": "frontend", file + ":6": "line", in.PolicyFile: "policy"}[f.Where()]
			got = append(got, where+" "+f.Code)
		}
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s %q: %v, got %q, want %q\n%s", tc.log, tc.listeners, err, got, tc.want, render(found))
		}
	}
}

func TestParseAddress(t *testing.T) {
	for _, tc := range []struct {
		in, want string
		local    bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"localhost:80", "127.0.0.1:80", true},
		{"[::1]:80", "[::1]:80", true},
		{"::1:80", "[::1]:80", true},
		{"ipv4@127.9.9.9:80", "127.9.9.9:80", true},
		{"::ffff:127.0.0.1:80", "[::ffff:127.0.0.1]:80", true},
		{":80", ":80", false},
		{"*:80", ":80", false},
		{"0.0.0.0:80", ":80", false},
		{"[::]:80", ":80", false},
		{"ipv6@:::80", ":80", false},
		{"App.Example:80", "app.example:80", false},
		{"10.0.0.1", "10.0.0.1", false},
		{"/run/x.sock", "/run/x.sock", true},
		{"unix@/run/x.sock", "/run/x.sock", true},
		{"unix@x.sock", "x.sock", true},
		{"abns@name", "name", true},
		{"fd@3", "3", true},
		{"stdout", "stdout", true},
		{"ring@r", "r", false},
		{"udp@10.0.0.1:514", "10.0.0.1:514", false},
		{"tls://:6514", ":6514", false},
		{"unixgram:///run/x.sock", "/run/x.sock", true},
		{"user@host:80", "user@host:80", false},
		{"", "", false},
	} {
		if a := parseAddress(tc.in); a.String() != tc.want || a.local() != tc.local {
			t.Errorf("%s: %s, local %v; want %s, %v", tc.in, a, a.local(), tc.want, tc.local)
		}
	}
}

func TestParseRule(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"http-request deny if { x }", "http-request deny| deny||"},
		{"http-request set-var(txn.a,ifnotset) str(if) unless x", "http-request set-var(txn.a)| set-var|txn.a|str(if)"},
		{"tcp-request content set-var(req.a) str(b)", "tcp-request content set-var(req.a)| set-var|req.a|str(b)"},
		{"http-request set-header A b c", "http-request set-header| set-header||A b c"},
		{"http-request set-map(f) k v", "http-request set-map(f)| set-map|f|k v"},
		{"http-request", ""}, {"tcp-request", ""}, {"tcp-request content", ""}, {"bind :80", ""},
	} {
		r, ok := parseRule(&haproxycfg.Section{}, haproxycfg.Line{Words: strings.Fields(tc.in)})
		got := ""
		if ok {
			got = r.String() + "| " + r.action + "|" + r.arg + "|" + strings.Join(r.rest, " ")
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.in, got, tc.want)
		}
	}
}

// FuzzCheck: no configuration makes it panic, and every finding says where and
// what, under a code that is explained.
func FuzzCheck(f *testing.F) {
	files, err := filepath.Glob("testdata/cases/*.cfg")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("frontend www from haptrail\nbind\nlog\nstats\nno\noption\nmonitor-uri\nunique-id-format\nuse_backend\ndefault_backend\nfilter\nerror-log-format\nlog-format\nhttp-request del-header x -m")
	gate, err := os.ReadFile("testdata/gate/haptrail.cfg")
	if err != nil {
		f.Fatal(err)
	}
	p := testPolicy(f)
	f.Fuzz(func(t *testing.T, text string) {
		c := &checker{Input: Input{Policy: p, PolicyFile: "policy.yaml", Dir: "testdata/gate", Now: time.Now}}
		if c.readConfig([]haproxycfg.Source{{Name: "gate", Text: gate}, {Name: "user", Text: []byte(text)}}) {
			c.checkConfig()
		}
		c.checkDir(t.Context())
		for _, finding := range sortFindings(c.found, []string{"gate", "user"}) {
			if finding.Text == "" || finding.Mend == "" || finding.Line < 0 || finding.Severity != severityOf(finding.Code) {
				t.Fatalf("%+v", finding)
			}
			if finding.File == "user" && finding.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("%s: the file has %d lines", finding, strings.Count(text, "\n")+1)
			}
		}
	})
}
