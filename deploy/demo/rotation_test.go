package demo

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/edgetest"
)

// GitHub changes its key in the middle of a busy script: no request is lost, none
// is denied for it, and tokens of either key pass.
func TestRotationLosesNothing(t *testing.T) {
	s := edgetest.NewSink(t)
	w := startWorld(t, s, func(o *Options) { o.Rotate, o.Duration, o.Burst = true, 4*time.Second, 600 })
	i := slices.IndexFunc(cast, func(j job) bool { return j.name == "shop release" })
	before, err := w.issuer.token(cast[i], "before", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	summary, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := summary.Rotation
	if r == nil || r.Issuer != github || r.Old != "github-2026a" || r.New != "github-2026b" {
		t.Fatalf("rotation: %+v", r)
	}
	if r.Requests < 10 || r.Lost != 0 || r.Reload <= 0 || r.Took < r.Reload+time.Second {
		t.Errorf("rotation: %+v", r)
	}
	t.Logf("%d requests in %s, %s of it until HAProxy had the key", r.Requests, r.Took.Round(time.Millisecond), r.Reload.Round(time.Millisecond))

	// What the old key signed is good until its overlap ends.
	p := w.player(cast[i], i, 2)
	if status, err := p.send(t.Context(), before, get("/packages/npm/react-18.3.1.tgz")); err != nil || status != http.StatusOK {
		t.Errorf("a token of the old key: status %d, %v", status, err)
	}
	checkRotated(t, s.Await(summary.Requests+1), summary)
}

// checkRotated compares the log of both HAProxy processes with the summary.
// HAProxy does not log what the old process still answers when it is told to
// stop, since its rings close at once (haproxy/haproxy issue 3436): of each job the
// one request that was under way in the reload, if any.
func checkRotated(t *testing.T, lines []edgetest.Line, summary Summary) {
	t.Helper()
	if missing := summary.Requests + 1 - len(lines); missing < 0 || missing > len(cast) {
		t.Errorf("%d log lines of %d are missing", missing, summary.Requests+1)
	}
	want, excused := make(map[row]int), make(map[row]int)
	reload := Rotation{began: summary.Rotation.began, ended: summary.Rotation.began.Add(summary.Rotation.Reload)}
	for _, j := range summary.Jobs {
		for _, q := range j.Requests {
			r := row{method: q.Method, host: q.Host, path: q.Path, status: q.Status, decision: q.Decision, reason: q.Reason}
			want[r]++
			before := reload.Requests
			reload.count(q)
			excused[r] += reload.Requests - before
		}
	}
	want[row{method: "GET", host: "registry.example.test", path: "/packages/npm/react-18.3.1.tgz", status: 200, decision: "allow", reason: "ok"}]++
	pids, kids := map[int]int{}, map[string]int{}
	for _, l := range lines {
		r := row{method: l.Method, host: l.Host, path: l.Path, status: l.Status, decision: l.Decision, reason: l.Reason}
		if want[r]--; want[r] < 0 {
			t.Errorf("logged, and not told: %+v", r)
		}
		pids[l.PID]++
		if l.Provider == github {
			kids[l.Key]++
		}
	}
	for r, n := range want {
		if n > excused[r] {
			t.Errorf("%d times told, and not logged, %d of them while HAProxy reloaded: %+v", n, excused[r], r)
		}
	}
	if len(pids) != 2 {
		t.Errorf("the lines are of the processes %v, want two", pids)
	}
	if len(kids) != 2 || kids["github-2026a"] == 0 || kids["github-2026b"] == 0 {
		t.Errorf("github's tokens are signed with %v", kids)
	}
}

// When the gate cannot get the new key, the issuer goes on with its old one, and
// so do the jobs.
func TestRotationThatFailsChangesNothing(t *testing.T) {
	s := edgetest.NewSink(t)
	w := startWorld(t, s, func(o *Options) { o.Rotate = true })
	w.keys.Binary = "/nowhere/haproxy" // checks the configuration before the reload
	summary, err := w.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "new key") || !strings.Contains(err.Error(), "the old configuration goes on") {
		t.Fatalf("want an error that says what failed, have %v", err)
	}
	if summary.Rotation != nil {
		t.Errorf("rotation: %+v", summary.Rotation)
	}
	for _, l := range s.Take(t, summary.Requests) {
		if l.Provider == github && l.Key != "github-2026a" {
			t.Errorf("signed with %s, which the gate does not have: %+v", l.Key, l)
		}
	}
	for _, j := range summary.Jobs {
		for _, q := range j.Requests {
			if q.lost {
				t.Errorf("job %q: %+v", j.Name, q)
			}
		}
	}
}

// Only what was under way between the two ends of a rotation counts.
func TestRotationCounts(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	r := Rotation{began: at(10), ended: at(20)}
	for _, q := range []Request{
		{began: at(1), ended: at(9), lost: true}, // over before
		{began: at(9), ended: at(11)},
		{began: at(12), ended: at(13), lost: true},
		{began: at(5), ended: at(25)},
		{began: at(19), ended: at(25), lost: true},
		{began: at(21), ended: at(22), lost: true}, // began after
	} {
		r.count(q)
	}
	if r.Requests != 4 || r.Lost != 2 {
		t.Errorf("want 4 requests, 2 lost, have %d and %d", r.Requests, r.Lost)
	}
}
