package edge_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/runtimeapi"
)

// rounds runs a Refresher and hands over what it tells of each round.
func rounds(t *testing.T, r *edge.Refresher) (next func(what string) edge.Refreshed) {
	t.Helper()
	every, err := cron.ParseStandard("@every 24h")
	if err != nil {
		t.Fatal(err)
	}
	told, now := make(chan edge.Refreshed, 1), make(chan struct{}, 1)
	r.Schedule, r.Done = every, func(done edge.Refreshed) { told <- done }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx, nil, now) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	first := true
	return func(what string) edge.Refreshed {
		t.Helper()
		if !first { // that one comes by itself
			now <- struct{}{}
		}
		first = false
		select {
		case done := <-told:
			return done
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: no round is told of", what)
			return edge.Refreshed{}
		}
	}
}

// TestRoundsAreTold: of each round it is told whose keys could not be fetched, and
// whether the HAProxy that runs was brought to them.
func TestRoundsAreTold(t *testing.T) {
	a := startApplied(t, edgetest.Options{})
	store, err := keys.Open(a.Dir)
	if err != nil {
		t.Fatal(err)
	}
	jwks := filepath.Join(a.Root, "jwks/one.json")
	next := rounds(t, &edge.Refresher{Installation: a.Installation, Policy: func() (*policy.Policy, error) { return a.Policy, nil }, Store: store})
	check := func(what string, failures int, unapplied error) {
		t.Helper()
		done := next(what)
		if len(done.Health) != 1 || !errors.Is(done.Unapplied, unapplied) || (done.Unapplied != nil) != (unapplied != nil) {
			t.Errorf("%s: %+v", what, done)
			return
		}
		h := done.Health[0]
		if h.Issuer != "one" || h.URL != "file:"+jwks || h.Failures != failures || (h.Err != nil) != (failures > 0) || h.Keys != 1 || !h.LastKey.IsZero() || h.LastSuccess.IsZero() {
			t.Errorf("%s: %+v", what, h)
		}
	}
	check("all is well", 0, nil)
	if err := os.WriteFile(jwks, []byte("<html>"), 0o644); err != nil {
		t.Fatal(err)
	}
	check("nonsense", 1, nil)
	check("nonsense again", 2, nil)
	edgetest.WriteJWKS(t, jwks, a.signer)
	if err := a.Process.Stop(); err != nil {
		t.Fatal(err)
	}
	check("HAProxy is away", 0, runtimeapi.ErrUnreachable)
	a.Restart(t)
	check("HAProxy is back", 0, nil)
	edgetest.WriteJWKS(t, jwks, a.signer, edgetest.NewSigner(t, "k2", jose.RS256, 1))
	if done := next("a key that needs a reload"); !a.RuntimeKeys && !errors.Is(done.Unapplied, edge.ErrReloadNeeded) || done.Health[0].Keys != 2 {
		t.Errorf("a key that needs a reload: %+v", done)
	}
}

const twoAlgorithms = `
version: 1
gate: {log: "127.0.0.1:5514"}
issuers:
- {name: one, provider: generic, issuer: "https://one.test", jwks: "file:ROOT/one.json", audiences: [g], algorithms: ALGORITHMS, key_overlap: 1h}
- {name: two, provider: generic, issuer: "https://two.test", jwks: "file:ROOT/two.json", audiences: [g], algorithms: [ES256]}
protect: {frontends: [www]}
`

// TestLastKey: when an issuer's keys end by themselves is known where all that are left
// have left its set.
func TestLastKey(t *testing.T) {
	root := t.TempDir()
	parse := func(algorithms string) *policy.Policy {
		t.Helper()
		p, err := policy.Parse([]byte(strings.NewReplacer("ROOT", root, "ALGORITHMS", algorithms).Replace(twoAlgorithms)), "policy.yaml")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	store, err := keys.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	current := parse("[RS256, ES256]")
	next := rounds(t, &edge.Refresher{
		Installation: edge.Installation{Dir: root, Options: edge.Options{Version: runtimeapi.Version{Major: 2, Minor: 6}, Base: "/gate"}},
		Policy:       func() (*policy.Policy, error) { return current, nil }, Store: store,
	})
	old, young := edgetest.NewSigner(t, "old", jose.RS256, 0), edgetest.NewSigner(t, "young", jose.ES256, 0)
	one := filepath.Join(root, "one.json")
	done := next("no file")
	if h := done.Health; len(h) != 2 || h[0].Issuer != "one" || h[1].Issuer != "two" || h[0].Keys != 0 || h[0].Err == nil || h[1].Err == nil || !h[0].LastKey.IsZero() {
		t.Errorf("no file: %+v", h)
	}
	edgetest.WriteJWKS(t, one, old, young)
	if h := next("two keys").Health; h[0].Keys != 2 || h[0].Err != nil || !h[0].LastKey.IsZero() || h[1].Failures != 2 {
		t.Errorf("two keys: %+v", h)
	}
	edgetest.WriteJWKS(t, one, young)
	left := time.Now()
	if h := next("one left").Health; h[0].Keys != 2 || !h[0].LastKey.IsZero() {
		t.Errorf("one left: %+v", h)
	}
	current = parse("[RS256]") // the young one is not allowed any more, and nothing else is in the set
	h := next("only the one that left").Health[0]
	if ends := h.LastKey.Sub(left); h.Keys != 1 || h.Err == nil || ends < 59*time.Minute || ends > time.Hour+20*time.Second {
		t.Errorf("only the one that left: %+v", h)
	}
}

// TestNothingIsToldWithoutRound: a policy that cannot be had, and an end, are no news of
// the issuers.
func TestNothingIsToldWithoutRound(t *testing.T) {
	store, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	every, err := cron.ParseStandard("@every 24h")
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse([]byte(strings.NewReplacer("ROOT", t.TempDir(), "ALGORITHMS", "[ES256]").Replace(twoAlgorithms)), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := 0
	now := make(chan struct{}, 1)
	r := edge.Refresher{
		Installation: edge.Installation{Dir: t.TempDir()}, Store: store, Schedule: every,
		Done: func(done edge.Refreshed) { t.Errorf("told of %+v", done) },
		Policy: func() (*policy.Policy, error) {
			if asked++; asked == 1 {
				now <- struct{}{} // another round
				return nil, errors.New("no policy")
			}
			cancel()
			return p, nil
		},
	}
	if err := r.Run(ctx, nil, now); err != nil || asked != 2 {
		t.Errorf("%d rounds, %v", asked, err)
	}
}
