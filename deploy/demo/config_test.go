package demo

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/deploy"
	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/check"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/policy"
)

// matches returns the first group of each match in deploy/haproxy.cfg: sorted,
// each once.
func matches(pattern string) []string {
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(deploy.HAProxy, -1) {
		found = append(found, string(m[1]))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// another starts a world for a HAProxy that somebody else runs, as in
// docker-compose.yml, and ends it: what stays is its files.
func another(t *testing.T, change func(*Options)) *World {
	t.Helper()
	s := edgetest.NewSink(t) // anything that accepts
	options := Options{Dir: edgetest.Root(t), Gate: "http://" + s.Address(), IssuerURL: composeIssuer}
	if change != nil {
		change(&options)
	}
	w, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// The files as a user copies them: the policy has nothing to warn of, and the
// configuration beside the gate leaves it no hole.
func TestPolicyAndConfigurationPassTheCheck(t *testing.T) {
	w := another(t, nil)
	for _, warning := range w.policy.Warnings() {
		t.Errorf("deploy/policy.yaml: %s", warning)
	}
	files := []string{w.options.Edge, filepath.Join("..", "haproxy.cfg")}
	in := check.Input{
		Files: files, Dir: w.options.Edge, Policy: w.policy, PolicyFile: w.PolicyFile(),
		Render:    func() (map[string][]byte, error) { return edge.Render(w.policy, w.keys.Store, w.keys.Options) },
		Listeners: []string{"tcp://0.0.0.0:5514"}, // of haptrail.yaml
		Keys:      w.keys.Store, MasterSocket: "/run/haproxy/master.sock",
	}
	found, err := check.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("%s", f)
	}
}

// HAProxy takes what compose gives it, once haptrail has an address there, with
// every environment variable at its default, and says nothing to it.
func TestHaproxyAcceptsTheConfiguration(t *testing.T) {
	binary := edgetest.Binary(t)
	w := another(t, func(o *Options) { o.LogAddress = "127.0.0.1:5514" })
	output := accept(t, binary, "-f", w.options.Edge, "-f", filepath.Join("..", "haproxy.cfg"))
	if strings.Contains(output, "WARNING") {
		t.Errorf("haproxy -c: %s", output)
	}
}

// accept runs haproxy -c, without any environment but TZ.
func accept(t *testing.T, binary string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, append([]string{"-c", "-V"}, args...)...)
	command.Env = []string{"TZ=UTC"}
	output, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "Configuration file is valid") {
		t.Errorf("haproxy -c: %v\n%s", err, output)
	}
	return string(output)
}

// The cast expects of the gate what the policy says, by its own oracle: the two
// cannot drift apart without a test that says which of them is wrong.
func TestCastExpectsWhatThePolicySays(t *testing.T) {
	p, err := policy.Parse(deploy.Policy, "deploy/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, j := range cast {
		id := policy.Identity{
			Issuer: j.provider, Provider: j.provider, Project: j.project, Job: j.job, Run: j.run,
			Ref: j.ref, SHA: history[j.change].sha, Actor: j.actor, Runner: j.agent, Subject: j.subject,
		}
		if j.provider == space { // its tokens say no more than that
			id = policy.Identity{Issuer: j.provider, Provider: j.provider, Project: j.project, Subject: j.subject}
		}
		for _, s := range j.steps {
			if j.token != genuine && j.token != lingering && s.want.reason != policy.ReasonPublic {
				continue // the gate looks no further than the token
			}
			judged++
			have := p.Decide(id, policy.Request{Method: s.method, Host: hostOf(s.path), Path: s.path})
			if have.Reason != s.want.reason || have.Allow != (s.want.decision == "allow") {
				t.Errorf("job %q: %s %s: the policy says %+v, the cast wants %+v", j.name, s.method, s.path, have, s.want)
			}
		}
	}
	if judged < 25 {
		t.Errorf("only %d steps were judged", judged)
	}
}

// No job is named in the policy: the next one of a known project has its role.
func TestNewJobsInheritTheirRole(t *testing.T) {
	p, err := policy.Parse(deploy.Policy, "deploy/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	id := policy.Identity{
		Issuer: github, Provider: github, Project: "acme/web-shop", Job: "acme/web-shop/.github/workflows/new.yml@refs/heads/main",
		Run: "1", Ref: "refs/heads/main", Actor: "somebody-new", Subject: "repo:acme/web-shop:ref:refs/heads/main",
	}
	if role, _ := p.Role(id); role != "publisher" {
		t.Errorf("a new job on the main branch is %q", role)
	}
	id.Ref, id.Subject = "refs/heads/idea", "repo:acme/web-shop:ref:refs/heads/idea"
	if role, _ := p.Role(id); role != "reader" {
		t.Errorf("a new branch is %q", role)
	}
	others := policy.Request{Method: "PUT", Host: "registry.example.test", Path: "/artifacts/Billing/7.3.0/billing.zip"}
	id.Ref = "refs/heads/main"
	if have := p.Decide(id, others); have.Reason != policy.ReasonGrantDenied {
		t.Errorf("a publisher writes another project's artifact: %+v", have)
	}
}

// With Gate set, as in docker-compose.yml, Start runs no HAProxy, but renders for
// one, elsewhere, and waits for it.
func TestStartRendersForAnotherGate(t *testing.T) {
	shared := filepath.Join(edgetest.Root(t), "shared")
	w := another(t, func(o *Options) {
		o.Dir, o.Edge, o.EdgeBase = filepath.Join(o.Dir, "new"), shared, "/elsewhere"
	})
	if w.StatsSocket() != "" || w.gate != nil {
		t.Error("the world runs a HAProxy of its own")
	}
	text, err := os.ReadFile(filepath.Join(shared, edge.GateFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"for HAProxy 2.6 and newer", "(/elsewhere/maps/roles.map)", "server haptrail " + composeLog + " "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %q", edge.GateFile, want)
		}
	}
	for _, provider := range providers {
		keys, err := os.ReadFile(filepath.Join(shared, "jwks", provider+".json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range w.issuer.keys(provider) {
			if !strings.Contains(string(keys), `"`+k.id+`"`) {
				t.Errorf("%s.json lacks %s", provider, k.id)
			}
		}
		if strings.Contains(string(keys), `"d":`) {
			t.Errorf("%s.json holds a private key", provider)
		}
	}
	if _, err := os.Stat(w.ReadyFile()); err != nil {
		t.Error(err)
	}

	// A world that cannot be set up does not look as if it were.
	failing := w.options
	failing.Edge = filepath.Join(w.options.Dir, "policy.yaml") // a file
	if _, err := Start(t.Context(), failing); err == nil {
		t.Fatal("started")
	}
	if _, err := os.Stat(w.ReadyFile()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file ready of an earlier world stays, by which compose starts HAProxy: %v", err)
	}

	for what, change := range map[string]func(*Options){
		"gate":     func(o *Options) { o.Gate = "http://127.0.0.1:1" },
		"haptrail": func(o *Options) { o.Webhooks = "http://127.0.0.1:1/webhooks" },
	} {
		silent := w.options
		change(&silent)
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		if _, err := Start(ctx, silent); err == nil || !strings.Contains(err.Error(), what+" http://127.0.0.1:1") {
			t.Errorf("started without %s: %v", what, err)
		}
		cancel()
	}
}
