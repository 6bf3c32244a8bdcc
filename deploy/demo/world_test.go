package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/haproxy"
)

// startWorld starts a world against the sink, without pauses; it ends with the test.
func startWorld(t *testing.T, s *edgetest.Sink, change func(*Options)) *World {
	t.Helper()
	options := testOptions(t, s)
	if change != nil {
		change(&options)
	}
	w, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func testOptions(t *testing.T, s *edgetest.Sink) Options {
	t.Helper()
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "demo") // t.TempDir's path may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Options{Dir: dir, LogAddress: s.Address(), Haproxy: binary, Duration: -1, Burst: 60}
}

// row is what a request and its log line must agree on.
type row struct {
	provider, subject, project, claimed string
	method, host, path                  string
	status                              int
	decision, reason                    string
}

func TestRunLogsEachRequestAsTheSummarySays(t *testing.T) {
	s := edgetest.NewSink(t)
	w := startWorld(t, s, nil)
	summary, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if summary.Allowed == 0 || summary.Denied == 0 || summary.Allowed+summary.Denied != summary.Requests {
		t.Fatalf("summary: %d requests, %d allowed, %d denied", summary.Requests, summary.Allowed, summary.Denied)
	}
	want := make(map[row]int)
	for _, j := range summary.Jobs {
		unproven := j.Count("deny", "sig_bad")+j.Count("deny", "no_token") > 0
		for _, q := range j.Requests {
			r := row{method: q.Method, host: q.Host, path: q.Path, status: q.Status, decision: q.Decision, reason: q.Reason}
			if !unproven {
				r.provider, r.subject, r.project, r.claimed = j.Provider, j.Subject, j.Project, j.ClaimedRun
			}
			want[r]++
		}
	}
	have := make(map[row]int)
	for _, l := range s.Take(t, summary.Requests) {
		r := row{l.Provider, l.Subject, l.Project, l.ClaimedRun, l.Method, l.Host, l.Path, l.Status, l.Decision, l.Reason}
		have[r]++
		if hungUp := strings.HasPrefix(l.Path, slowPath); hungUp != (l.End == "CD--") {
			t.Errorf("%s %s ended as %q", l.Method, l.Path, l.End)
		}
		checkRegistered(t, l)
	}
	if !maps.Equal(want, have) {
		t.Errorf("the log differs from the summary:\n%s", difference(want, have))
	}
}

// checkRegistered checks what a line says of its token beside the identity.
func checkRegistered(t *testing.T, l edgetest.Line) {
	t.Helper()
	proven := l.Provider != ""
	for name, value := range map[string]string{"kid": l.Key, "iss": l.Issuer, "jti": l.TokenID} {
		if (value != "") != proven {
			t.Errorf("%s %s (%s): proven=%t, but %s=%q", l.Method, l.Path, l.Reason, proven, name, value)
		}
	}
	ours := proven && l.Reason != "aud_bad" // the times of another's token are not looked at
	for name, value := range map[string]string{"aud": l.Audience, "iat": l.Issued, "exp": l.Expires} {
		if (value != "") != ours {
			t.Errorf("%s %s (%s): ours=%t, but %s=%q", l.Method, l.Path, l.Reason, ours, name, value)
		}
	}
	if (l.Role != "") != (l.Reason == "ok" || l.Reason == "grant_denied" || l.Reason == "path_unsafe") {
		t.Errorf("%s %s (%s): role=%q", l.Method, l.Path, l.Reason, l.Role)
	}
	if (l.Server == "app1") != (l.Decision == "allow") {
		t.Errorf("%s %s: decision %s, yet server %s", l.Method, l.Path, l.Decision, l.Server)
	}
}

func difference(want, have map[row]int) string {
	var out []string
	for r := range want {
		if want[r] != have[r] {
			out = append(out, fmt.Sprintf("want %d, have %d: %+v", want[r], have[r], r))
		}
	}
	for r := range have {
		if want[r] == 0 {
			out = append(out, fmt.Sprintf("want 0, have %d: %+v", have[r], r))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// Each provider's claims, as they come out of the log in the normal form.
func TestNormalForm(t *testing.T) {
	s := edgetest.NewSink(t)
	w := startWorld(t, s, nil)
	var want []edgetest.Line
	for i, name := range []string{"payments release", "load test", "shop release", "app release"} {
		index := slices.IndexFunc(cast, func(j job) bool { return j.name == name })
		j := cast[index]
		p := w.player(j, i, 0)
		token, err := w.issuer.token(j, "id-"+j.provider, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if status, err := p.send(t.Context(), token, j.steps[0]); err != nil || status != 200 {
			t.Fatalf("%s: status %d, %v", name, status, err)
		}
		l := edgetest.Line{
			Provider: j.provider, Issuer: w.issuer.url(j.provider), Subject: j.subject, TokenID: "id-" + j.provider,
			Key: w.issuer.key(j.provider, "").id, Audience: w.issuer.audiences[j.provider], Project: j.project,
			Job: j.job, Run: j.run, Ref: j.ref, Commit: history[j.change].sha, Actor: j.actor, Runner: j.agent,
		}
		switch j.provider {
		case space: // the token names neither run nor commit, nor itself
			l.Job, l.Run, l.Ref, l.Commit, l.Actor, l.Runner, l.TokenID = "", "", "", "", "", "", ""
			l.ClaimedRun = j.run
		case github:
			l.Tenant, l.Attempt = "acme", "2"
		case gitlab:
			l.Tenant = "mobile"
		}
		want = append(want, l)
	}
	have := s.Take(t, len(want))
	for i := range have {
		l := have[i]
		if l.Provider == space {
			if hash, found := strings.CutPrefix(l.TokenID, "sha256:"); !found || len(hash) != 64 {
				t.Errorf("a token without jti: want a SHA-256 for it, have %q", l.TokenID)
			}
			l.TokenID = ""
		}
		have[i] = edgetest.Line{
			Provider: l.Provider, Issuer: l.Issuer, Subject: l.Subject, TokenID: l.TokenID, Key: l.Key, Audience: l.Audience,
			Tenant: l.Tenant, Project: l.Project, Job: l.Job, Run: l.Run, Attempt: l.Attempt, Ref: l.Ref, Commit: l.Commit,
			Actor: l.Actor, Runner: l.Runner, ClaimedRun: l.ClaimedRun,
		}
	}
	byProvider := func(a, b edgetest.Line) int { return cmp.Compare(a.Provider, b.Provider) }
	slices.SortFunc(want, byProvider)
	slices.SortFunc(have, byProvider)
	for i := range want {
		if want[i] != have[i] {
			t.Errorf("want %+v\nhave %+v", want[i], have[i])
		}
	}
}

func TestSameSeedSameScript(t *testing.T) {
	s := edgetest.NewSink(t)
	ids := func() []string {
		w := startWorld(t, s, func(o *Options) { o.Seed, o.Burst = 7, 1 })
		summary, err := w.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, l := range s.Take(t, summary.Requests) {
			if l.Provider != space { // a hash of the signature, which has a random key
				ids = append(ids, strings.Join([]string{l.Provider, l.TokenID, l.Method, l.Path, l.Reason}, " "))
			}
		}
		slices.Sort(ids)
		return ids
	}
	if first, second := ids(), ids(); !slices.Equal(first, second) {
		t.Errorf("two worlds with one seed differ:\n%q\n%q", first, second)
	}
}

func TestIdleTrickles(t *testing.T) {
	s := edgetest.NewSink(t)
	w := startWorld(t, s, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*idlePause+idlePause/2)
	defer cancel()
	w.Idle(ctx)
	for _, l := range s.Take(t, 2) {
		if l.Decision != "allow" {
			t.Errorf("idle traffic is denied: %+v", l)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	s := edgetest.NewSink(t)
	w := startWorld(t, s, nil)
	pid := w.gate.PID()
	var addresses []string
	for _, url := range []string{w.Gate(), w.issuer.base} {
		addresses = append(addresses, strings.TrimPrefix(url, "http://"))
	}
	begin := time.Now()
	for range 2 { // idempotent
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > 6*time.Second {
		t.Errorf("Close took %s", took)
	}
	// The master is gone; its workers, which it ended before, are so once the system
	// has noticed.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Kill(-pid, 0)
		if errors.Is(err, syscall.ESRCH) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("haproxy (pid %d) or its group outlives Close: %v", pid, err)
		}
	}
	for _, address := range addresses {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Errorf("%s still accepts connections", address)
		}
	}
	for _, socket := range []string{w.StatsSocket(), filepath.Join(w.options.Dir, "master.sock")} {
		if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s outlives Close", socket)
		}
	}
}

// A child that does not listen to SIGTERM is killed.
func TestCloseKillsTheDeaf(t *testing.T) {
	s := edgetest.NewSink(t)
	w := startWorld(t, s, nil)
	pid := w.gate.PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil { // a stopped process leaves SIGTERM pending
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("haproxy (pid %d) outlives Close: %v", pid, err)
	}
}

func TestStartErrors(t *testing.T) {
	s := edgetest.NewSink(t)
	taken := s.Address()
	fakes := t.TempDir()
	// fake is a haproxy that knows its version and does not start.
	fake := func(name, script string) string {
		path := filepath.Join(fakes, name)
		script = "#!/bin/sh\n[ \"$1\" != -v ] || { echo HAProxy version 2.6.12; exit; }\n" + script + "\n"
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tooOld := filepath.Join(fakes, "old")
	if err := os.WriteFile(tooOld, []byte("#!/bin/sh\necho HAProxy version 2.4.22\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   []string // parts of the error
	}{
		{"no directory", func(o *Options) { o.Dir = "" }, []string{"Dir is not set"}},
		{"no log address", func(o *Options) { o.LogAddress = "" }, []string{"LogAddress"}},
		{"gate's port taken", func(o *Options) { o.Listen = taken }, []string{"gate", taken, "in use", "choose another"}},
		{"issuers' port taken", func(o *Options) { o.IssuerListen = taken }, []string{"issuers", taken, "in use"}},
		{"application's port taken", func(o *Options) { o.BackendListen = taken }, []string{"application", taken, "in use"}},
		{"rotation of another's gate", func(o *Options) { o.Gate, o.Rotate = "http://gate.test", true }, []string{"Rotate", "Gate"}},
		{"haproxy missing", func(o *Options) { o.Haproxy = filepath.Join(fakes, "none") }, []string{"none", "no such file"}},
		{"haproxy too old", func(o *Options) { o.Haproxy = tooOld }, []string{"2.4.22", "2.6"}},
		{"haproxy refuses", func(o *Options) { o.Haproxy = fake("refuses", "echo cannot bind >&2; exit 3") },
			[]string{"stopped at once", "exit status 3", "cannot bind"}},
		{"log address is none", func(o *Options) { o.LogAddress = "nowhere" }, []string{"policy.yaml", "gate.log", "nowhere"}},
		{"blank in the path", func(o *Options) { o.Dir = filepath.Join(o.Dir, "a b") }, []string{"a b", "choose such a folder"}},
		{"path too long", func(o *Options) { o.Dir = filepath.Join(fakes, strings.Repeat("d", 90)) }, []string{"shorter name"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			options := testOptions(t, s)
			c.change(&options)
			w, err := Start(t.Context(), options)
			if err == nil {
				w.Close()
				t.Fatal("started")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error lacks %q: %v", part, err)
				}
			}
		})
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	s := edgetest.NewSink(t)
	options := testOptions(t, s)
	silent := filepath.Join(options.Dir, "silent")
	if err := os.WriteFile(silent, []byte("#!/bin/sh\n[ \"$1\" != -v ] || { echo HAProxy version 2.6.12; exit; }\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	options.Haproxy = silent
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	w, err := Start(ctx, options)
	if err == nil {
		w.Close()
		t.Fatal("started")
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("want a context's error that says what was waited for, have %v", err)
	}
}
