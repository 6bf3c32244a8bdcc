package oncall_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/keys"
)

// health is an issuer's, with so many keys, and failures in a row.
func health(name string, usable, failures int) edge.IssuerHealth {
	h := edge.IssuerHealth{IssuerStatus: keys.IssuerStatus{
		Issuer: name, URL: "https://" + name + ".test/jwks", LastSuccess: noon, Failures: failures, Keys: usable,
	}}
	if failures > 0 {
		h.Err = fmt.Errorf("issuer %s: %s: the answer is 503 Service Unavailable", name, h.URL)
	}
	return h
}

// gateRig is a gate whose rounds come each quarter of an hour.
type gateRig struct {
	*oncall.Gate
	*teller
	t *testing.T
}

func newGateRig(t *testing.T, dir string) *gateRig {
	d := newTeller(t, dir)
	return &gateRig{Gate: oncall.NewGate(d, time.Minute), teller: d, t: t}
}

// after lets time pass, in which it looks.
func (g *gateRig) after(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(10*time.Second, time.Until(end)))
		g.Look(time.Now())
	}
}

func (g *gateRig) round(unapplied error, all ...edge.IssuerHealth) {
	g.Refreshed(edge.Refreshed{Health: all, Unapplied: unapplied})
}

func (g *gateRig) expect(step string, want ...string) {
	g.t.Helper()
	if have := strings.Join(g.firing(), "; "); have != strings.Join(want, "; ") {
		g.t.Errorf("%s: %q fire, want %q", step, have, want)
	}
}

// TestIssuerFails: one failure wakes nobody, a second one does after a minute, once; it
// is over when the issuer answers, or leaves the policy.
func TestIssuerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateRig(t, t.TempDir())
		g.after(time.Hour)
		g.round(nil, health("hub", 2, 1), health("lab", 1, 0))
		g.after(14 * time.Minute)
		g.expect("one failure")
		g.round(nil, health("hub", 2, 0), health("lab", 1, 0))
		g.after(15 * time.Minute)
		g.round(nil, health("hub", 2, 1), health("lab", 1, 0))
		g.after(30 * time.Second) // a token names a kid that nobody knows
		g.round(nil, health("hub", 2, 2), health("lab", 1, 0))
		g.after(20 * time.Second)
		g.expect("for less than a minute")
		g.after(10 * time.Second)
		g.expect("for a minute", "medium Keys of issuer hub cannot be fetched")
		for n := 3; n < 50; n++ {
			g.round(nil, health("hub", 2, n), health("lab", 1, 0))
			g.after(15 * time.Minute)
		}
		if len(g.fires) != 1 {
			t.Errorf("told %d times", len(g.fires))
		}
		a := g.Firing(oncall.KindFault)[0]
		for _, want := range []string{"2 failures in a row", "503 Service Unavailable", "fetched last at 2026-11-23 12:00:00 UTC", "2 keys verify its tokens as before", "kid_unknown", "https://hub.test/jwks", "haptrail edge keys"} {
			if !strings.Contains(a.Text, want) {
				t.Errorf("%q is missing in %s", want, a.Text)
			}
		}
		if a.Labels["issuer"] != "hub" || a.Labels["fault"] != "issuer_keys" || a.Numbers["keys"] != 2 || a.Command != "haptrail edge keys" {
			t.Errorf("alert %+v", a)
		}
		g.round(nil, health("hub", 2, 0), health("lab", 1, 2))
		g.after(2 * time.Minute)
		g.expect("it answers", "medium Keys of issuer lab cannot be fetched")
		g.round(nil, health("hub", 2, 0))
		g.expect("it left the policy")
	})
}

// TestNoKeyVerifies: as bad as it gets, at once when the clock brings it, and a day
// before where that is known.
func TestNoKeyVerifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateRig(t, t.TempDir())
		never := health("new", 0, 1)
		never.LastSuccess = time.Time{}
		g.round(nil, never)
		g.after(14 * time.Minute)
		g.expect("one failure")
		never.Failures = 2
		g.round(nil, never)
		g.expect("two failures", "high No key of issuer new verifies: all of its tokens are denied")
		if text := g.Firing(oncall.KindFault)[0].Text; !strings.Contains(text, "They were never fetched, and none is there. Every job with its token gets 401 kid_unknown.") {
			t.Errorf("text %s", text)
		}
		ends := health("hub", 1, 2)
		ends.LastKey = time.Now().Add(25 * time.Hour)
		until := ends.LastKey.UTC().Format("2006-01-02 15:04:05") + " UTC"
		g.round(nil, ends)
		g.after(time.Minute)
		g.expect("25 hours before", "medium Keys of issuer hub cannot be fetched")
		g.after(time.Hour)
		g.expect("24 hours before", "high The last key of issuer hub verifies until "+until+" only")
		g.after(24 * time.Hour)
		g.expect("then", "high No key of issuer hub verifies: all of its tokens are denied")
		if text := g.Firing(oncall.KindFault)[0].Text; !strings.Contains(text, "the last of them ended at "+until) {
			t.Errorf("text %s", text)
		}
		if len(g.fires) != 4 {
			t.Errorf("told %q", g.fires)
		}
		gone := health("hub", 0, 0) // its files were removed
		g.round(nil, gone)
		g.expect("no file", "high No key of issuer hub verifies: all of its tokens are denied")
		g.round(nil, health("hub", 1, 0))
		g.expect("all is well")
	})
}

// TestStateUnwritable: where the state cannot be written it does not count, and we do.
func TestStateUnwritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateRig(t, t.TempDir())
		h := health("hub", 1, 0)
		h.URL, h.Err = "file:/srv/jwks.json", errors.New("write the keys' state: permission denied")
		g.round(nil, h)
		g.after(15 * time.Minute)
		g.expect("once")
		g.round(nil, h)
		g.expect("twice", "medium Keys of issuer hub cannot be fetched")
		if text := g.Firing(oncall.KindFault)[0].Text; !strings.Contains(text, "2 failures") || !strings.Contains(text, "see that whoever writes /srv/jwks.json does so") {
			t.Errorf("text %s", text)
		}
	})
}

// TestNotApplied: a HAProxy that is away once is nobody's business, one that waits for
// a person is.
func TestNotApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const title = "medium HAProxy does not have its issuers' keys as they are now"
		g := newGateRig(t, t.TempDir())
		ok := health("hub", 1, 0)
		g.round(errors.New("no HAProxy"), ok)
		g.after(14 * time.Minute)
		g.round(nil, ok)
		g.after(time.Minute)
		g.round(errors.New("no HAProxy"), ok)
		g.after(14 * time.Minute)
		g.expect("once, twice")
		g.round(errors.New("no HAProxy"), ok)
		g.expect("twice in a row", title)
		g.round(nil, ok)
		g.expect("it is there")
		g.round(fmt.Errorf("%w: rules or keys changed", edge.ErrReloadNeeded), ok)
		g.after(time.Minute)
		g.expect("a reload is needed", title)
		if text := g.Firing(oncall.KindFault)[0].Text; !strings.Contains(text, "1 failure in a row, the last: HAProxy has to be reloaded") || !strings.Contains(text, "systemctl reload haproxy") {
			t.Errorf("text %s", text)
		}
	})
}

// TestFaultyPolicy: a file that was saved in the middle of a change is told if it stays
// so, with the line.
func TestFaultyPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateRig(t, t.TempDir())
		g.Policy("/etc/haptrail/policy.yaml", nil)
		g.Policy("/etc/haptrail/policy.yaml", errors.New("policy.yaml:3: nonsense"))
		g.after(50 * time.Second)
		g.Policy("/etc/haptrail/policy.yaml", nil)
		g.after(time.Minute)
		g.expect("for a moment")
		g.Policy("/etc/haptrail/policy.yaml", errors.New("policy.yaml:3: nonsense"))
		g.after(time.Hour)
		g.expect("for long", "medium policy.yaml is faulty: the policy stays as it was")
		if a := g.Firing(oncall.KindFault)[0]; !strings.HasPrefix(a.Text, "policy.yaml:3: nonsense.\n") || a.Command != "haptrail edge render --dry-run" {
			t.Errorf("alert %+v", a)
		}
		g.Policy("/etc/haptrail/policy.yaml", nil)
		g.expect("mended")
	})
}

// TestGateAgain: over a restart nothing is told twice, and nothing ends before it is
// known how it stands.
func TestGateAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		g := newGateRig(t, dir)
		g.round(errors.New("no HAProxy"), health("hub", 1, 2), health("lab", 1, 2))
		g.Policy("policy.yaml", errors.New("nonsense"))
		g.after(time.Minute)
		g.round(errors.New("no HAProxy"), health("hub", 1, 3), health("lab", 1, 3))
		all := []string{
			"medium HAProxy does not have its issuers' keys as they are now", "medium Keys of issuer hub cannot be fetched",
			"medium Keys of issuer lab cannot be fetched", "medium policy.yaml is faulty: the policy stays as it was",
		}
		g.expect("before", all...)
		d := g.again(t, dir)
		g = &gateRig{Gate: oncall.NewGate(d, time.Minute), teller: d, t: t}
		g.after(time.Minute)
		g.expect("nothing is known", all...)
		g.Policy("policy.yaml", nil)
		g.round(errors.New("no HAProxy"), health("hub", 1, 4), health("lab", 1, 0))
		g.expect("half is known", all[:2]...)
		if len(g.fires) > 0 {
			t.Errorf("told again: %q", g.fires)
		}
		d = g.again(t, dir)
		oncall.EndFaults(d, time.Now(), oncall.GateFaults()...)
		if firing := d.Firing(oncall.KindFault); len(firing) > 0 {
			t.Errorf("no gate any more, and %+v fire", firing)
		}
	})
}

var _ oncall.Teller = (*oncall.Desk)(nil)
