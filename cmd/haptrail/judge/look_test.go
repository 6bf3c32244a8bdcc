package judge

import (
	"fmt"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/schema"
)

// kinds is how many findings there are of each kind and run.
func (w *world) kinds() map[string]int {
	w.Helper()
	kinds := map[string]int{}
	err := w.store.Findings(w.Context(), schema.FindingsQuery{Until: farFuture}, func(f *schema.FindingRow) error {
		kinds[f.Kind+" "+f.Run]++
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return kinds
}

func deploysProtected() *finding.Policy {
	return &finding.Policy{Protected: []finding.Place{{Endpoints: []string{"/deployments/**"}}}}
}

// One caller's requests of an hour are of one run and then of another: each is
// looked at by its own, also where they are looked at together.
func TestEachVerdictOfAnHourIsLookedAt(t *testing.T) {
	w := newWorld(t)
	w.runs(
		schema.Run{Provider: "space", Project: "p", Run: "feature", Principal: "sa", Ref: "refs/heads/feature", StartedAt: w.minute(0), FinishedAt: w.minute(5)},
		schema.Run{Provider: "space", Project: "p", Run: "main", Principal: "sa", Ref: "refs/heads/main", StartedAt: w.minute(30), FinishedAt: w.minute(35)},
	)
	w.requests(
		request{minute: 3, provider: "space", subject: "sa", method: "POST", path: "/deployments/prod"},
		request{minute: 20, provider: "space", subject: "sa", method: "POST", path: "/deployments/prod"},
		request{minute: 33, provider: "space", subject: "sa", method: "POST", path: "/deployments/prod"},
	)
	if err := (&Judge{Store: w.store, Policy: deploysProtected()}).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have := fmt.Sprint(w.kinds()); have != "map[unattributed_protected :1 unprotected_ref feature:1]" {
		t.Error(have)
	}
}

// A request that says a time which is yet to come settles once it has been here for
// long enough: it is not looked at again later.
func TestClockThatIsAheadHidesNothing(t *testing.T) {
	w := newWorld(t)
	b := schema.NewRequestBlock()
	appendRequest(b, time.Now().Add(10*time.Minute), request{provider: "space", subject: "sa", method: "POST", path: "/deployments/prod"})
	if err := w.store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	policy := deploysProtected()
	policy.Settle = finding.Duration(time.Second)
	j := &Judge{Store: w.store, Policy: policy}
	w.pass(j)
	time.Sleep(2100 * time.Millisecond) // received has whole seconds
	if err := j.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have := w.kinds(); have["unattributed_protected "] != 1 {
		t.Error(have)
	}
}

// Logs of last year are imported, with what there was before them.
func TestOldLogsHaveTheirPast(t *testing.T) {
	w := newWorld(t)
	year := -365 * 24 * 60
	w.requests(
		request{minute: year, provider: "okta", subject: "svc", token: "t", path: "/a", client: "192.0.2.1"},
		request{minute: year + 5, provider: "okta", subject: "svc", token: "t", path: "/a", client: "198.51.100.1"},
		request{minute: year + 45*24*60, provider: "okta", subject: "svc", token: "u", path: "/a"},
	)
	j := &Judge{Store: w.store, Policy: &finding.Policy{}, LookBack: 10 * 365 * 24 * time.Hour}
	if err := j.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have := w.kinds(); have["token_two_networks "] != 1 {
		t.Error(have)
	}
}

// A protected place that is open to everybody is found, by what came through.
func TestNobodyAtAProtectedPlace(t *testing.T) {
	w := newWorld(t)
	w.requests(
		request{minute: 3, method: "POST", path: "/deployments/prod", client: "10.1.2.3"},
		request{minute: 4, method: "POST", path: "/deployments/prod", client: "192.0.2.9"},
		request{minute: 4, method: "GET", path: "/index.html", client: "192.0.2.9"},
	)
	if err := (&Judge{Store: w.store, Policy: deploysProtected()}).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	var found []schema.FindingRow
	if err := w.store.Findings(t.Context(), schema.FindingsQuery{Until: farFuture}, func(f *schema.FindingRow) error { found = append(found, *f); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Kind != "unattributed_protected" || found[0].Severity != "high" || found[0].Requests != 2 || found[0].Identity != "" {
		t.Errorf("%+v", found)
	}
}

// Who was asleep for longer than the past goes as a rule is still known to have been awake.
func TestALongSleep(t *testing.T) {
	w := newWorld(t)
	day := 24 * 60
	policy := finding.Policy{DormantAfter: finding.Duration(100 * 24 * time.Hour)}
	j := &Judge{Store: w.store, Policy: &policy, LookBack: 1000 * 24 * time.Hour}
	w.requests(request{minute: -150 * day, provider: "space", subject: "sa", path: "/a"}, request{minute: -300 * day, provider: "space", subject: "other", path: "/a"})
	if err := w.store.Conn().Exec(t.Context(), "ALTER TABLE requests UPDATE received = received - 3600 WHERE 1 SETTINGS mutations_sync = 1"); err != nil {
		t.Fatal(err)
	}
	w.requests(request{minute: 1, provider: "space", subject: "sa", path: "/a"})
	j.lookedTo = time.Now().Add(-time.Minute)
	if err := j.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have := fmt.Sprint(w.kinds()); have != "map[dormant_principal :1]" {
		t.Error(have)
	}
}
