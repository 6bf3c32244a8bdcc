package edge_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/runtimeapi"
)

// running is a Refresher that Runs without a HAProxy.
type running struct {
	store   *keys.Store
	unknown chan struct{}
	now     chan struct{}
	jwks    string
}

func run(t *testing.T, schedule string) running {
	root := t.TempDir()
	r := running{unknown: make(chan struct{}), now: make(chan struct{}), jwks: filepath.Join(root, "one.json")}
	edgetest.WriteJWKS(t, r.jwks, edgetest.NewSigner(t, "k1", jose.ES256, 0))
	p, err := policy.Parse([]byte(`
version: 1
gate: {log: "127.0.0.1:5514"}
issuers: [{name: one, provider: generic, issuer: "https://one.test", jwks: "file:`+r.jwks+`", audiences: [g], algorithms: [ES256]}]
protect: {frontends: [www]}
`), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if r.store, err = keys.Open(root); err != nil {
		t.Fatal(err)
	}
	every, err := cron.ParseStandard(schedule)
	if err != nil {
		t.Fatal(err)
	}
	refresher := edge.Refresher{
		Installation: edge.Installation{Dir: root, Options: edge.Options{Version: runtimeapi.Version{Major: 2, Minor: 6}, Base: "/gate"}},
		Policy:       func() (*policy.Policy, error) { return p, nil },
		Store:        r.store, Schedule: every, Metrics: edge.NewMetrics(prometheus.NewRegistry()),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- refresher.Run(ctx, r.unknown, r.now) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// asked is how often and when the issuer was last asked.
func (r running) asked() time.Time { return r.store.Status()[0].LastSuccess }

func TestKeysAreRefreshedOnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := run(t, "@every 15m")
		synctest.Wait()
		if !r.asked().Equal(start) {
			t.Errorf("asked at %s, started at %s", r.asked(), start)
		}
		time.Sleep(15*time.Minute + time.Second)
		synctest.Wait()
		if want := start.Add(15 * time.Minute); !r.asked().Equal(want) {
			t.Errorf("asked at %s, want %s", r.asked(), want)
		}
	})
}

func TestKeysAreRefreshedWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, "@every 24h")
		synctest.Wait()
		time.Sleep(time.Second)
		r.now <- struct{}{}
		synctest.Wait()
		if !r.asked().Equal(time.Now()) {
			t.Errorf("asked at %s, want %s", r.asked(), time.Now())
		}
	})
}

// The first token of an unknown kid has the issuer asked within half a minute;
// one who makes up kids all day has it asked ever more rarely.
func TestUnknownKidsAskTheIssuerButNotOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, "@every 24h")
		synctest.Wait()
		edgetest.WriteJWKS(t, r.jwks, edgetest.NewSigner(t, "k2", jose.ES256, 0))
		r.unknown <- struct{}{}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if names := r.store.Keys(); len(names) != 2 {
			t.Fatalf("after half a minute: %+v", names)
		}
		times := map[time.Time]bool{}
		for range 6 * 3600 {
			select {
			case r.unknown <- struct{}{}:
			default:
				t.Fatal("an unknown kid blocks whoever reports it")
			}
			time.Sleep(time.Second)
			synctest.Wait()
			times[r.asked()] = true
		}
		if len(times) < 24 || len(times) > 32 {
			t.Errorf("an attacker had the issuer asked %d times in 6 hours", len(times))
		}
	})
}

// A failing issuer shows in the metrics, by which people are alerted.
func TestFailuresShowInMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	root := t.TempDir()
	p, err := policy.Parse([]byte(`
version: 1
gate: {log: "127.0.0.1:5514"}
issuers: [{name: one, provider: generic, issuer: "https://one.test", jwks: "file:/nowhere/one.json", audiences: [g], algorithms: [ES256]}]
protect: {frontends: [www]}
`), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	store, err := keys.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	r := edge.Refresher{
		Installation: edge.Installation{Dir: root, Options: edge.Options{Version: runtimeapi.Version{Major: 2, Minor: 6}, Base: "/gate"}},
		Policy:       func() (*policy.Policy, error) { return p, nil },
		Store:        store, Metrics: edge.NewMetrics(registry),
	}
	for range 2 {
		if _, err := r.Refresh(t.Context()); err == nil {
			t.Fatal("no error")
		}
	}
	for name, want := range map[string]float64{"haptrail_edge_key_failures": 2, "haptrail_edge_keys": 0, "haptrail_edge_key_last_success_timestamp_seconds": 0} {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		have := -1.0
		for _, family := range families {
			if family.GetName() == name {
				have = family.GetMetric()[0].GetGauge().GetValue()
			}
		}
		if have != want {
			t.Errorf("%s: want %v, have %v", name, want, have)
		}
	}
	if n := testutil.CollectAndCount(registry); n == 0 {
		t.Error("nothing is registered")
	}
}
