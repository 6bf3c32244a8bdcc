package watch_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/cmd/haptrail/watch"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// deny adds a denied request.
func deny(b *schema.RequestBlock, at time.Time, frontend, address, subject, reason string) {
	row(b, at, 401, map[string]string{
		"frontend": frontend, "client_ip": address, "subject": subject, "decision": "deny", "reason": reason, "method": "GET", "endpoint": "/orders/*",
	})
}

// botnet is addresses with a denial each, over 20 s, at a frontend of two proxies; and
// beside them two identities and requests that were allowed.
func botnet(begin time.Time, addresses int) *schema.RequestBlock {
	b := schema.NewRequestBlock()
	for i := range addresses {
		at := begin.Add(time.Duration(i) * 20 * time.Second / time.Duration(addresses))
		deny(b, at, "www", fmt.Sprintf("198.51.%d.%d", i/200, i%200), "", []string{"sig_bad", "sig_bad", "no_token"}[i%3])
		if i%50 == 0 {
			row(b, at, 200, map[string]string{"frontend": "www", "subject": "calm", "decision": "allow"})
		}
	}
	deny(b, begin.Add(time.Second), "www", "192.0.2.1", "job-1", "grant_denied")
	deny(b, begin.Add(time.Second), "www", "192.0.2.1", "job-2", "grant_denied")
	return b
}

// take has a watch take a block that is stored, as the daemon does.
func (r *rig) take(b *schema.RequestBlock) {
	r.t.Helper()
	if err := r.store.InsertRequests(r.t.Context(), b, schema.NewBlockID()); err != nil {
		r.t.Fatal(err)
	}
	r.Stored(b)
}

// TestManyCallers: 500 addresses with a denial each are told once, of their frontend,
// with all that a person wants to know, and end once.
func TestManyCallers(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	r := run(t, options(t, store, on))
	begin := aMinuteAgo()
	r.take(botnet(begin, 500))
	r.wait("the end", func() bool { _, _, resolved := on.state(); return len(resolved) == 1 })
	time.Sleep(3 * time.Second) // of another alert, if there were one
	firing, fires, resolved := on.state()
	if len(firing) != 0 || fires != 1 || len(resolved) != 1 {
		t.Fatalf("%d fire, %d fired, %d resolved; want one that fired and is over", len(firing), fires, len(resolved))
	}
	a := resolved[0]
	if a.Identity != "www" || a.Labels["of"] != "frontend" || a.Title != "Many callers are denied at frontend www" || a.Severity != alert.High {
		t.Errorf("alert %+v", a)
	}
	for _, want := range []string{
		"denied callers in ", "known for ", "502 denials from 501 addresses, 2 verified identities.", "Reasons: sig_bad 334, no_token 166, grant_denied 2.", "Asked for: GET /orders/* 502.",
	} {
		if !strings.Contains(a.Text, want) {
			t.Errorf("no %q in\n%s", want, a.Text)
		}
	}
	if len(a.Evidence) != 1 || a.Evidence[0].Requests != 502 || a.Evidence[0].Decision != "deny" || !strings.Contains(a.Links[0].URL, "var-frontend=www") {
		t.Errorf("evidence %+v, link %+v", a.Evidence, a.Links)
	}
	if want := "haptrail trail --summary --decision deny --since " + begin.Add(-time.Minute).UTC().Format("2006-01-02T15:04"); !strings.HasPrefix(a.Command, want) || !strings.Contains(a.Command, " --until ") {
		t.Errorf("command %q, want %s…", a.Command, want)
	}
	r.wait("the row", func() bool {
		rows := r.bursts(schema.BurstsQuery{Measure: "callers"})
		return len(rows) == 1 && rows[0].State == schema.BurstOver && len(rows[0].Evidence) > 2
	})
	if b := r.bursts(schema.BurstsQuery{})[0]; b.Of != "frontend" || b.Key != "www" || b.Identity != "" || b.Feed != schema.FeedLogs || b.Total < 480 || b.Total > 502 {
		t.Errorf("row %+v", b)
	}
}

// TestOneLoudCaller: as many denials of one address, or of one identity from many
// addresses, are one alert, the caller's.
func TestOneLoudCaller(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	r := run(t, options(t, store, on))
	begin := aMinuteAgo()
	b := schema.NewRequestBlock()
	for i := range 500 {
		at := begin.Add(time.Duration(i) * 40 * time.Millisecond)
		deny(b, at, "www", "192.0.2.7", "", "sig_bad")
		deny(b, at, "www", fmt.Sprintf("198.51.100.%d", i%250), "ci-bot", "grant_denied")
	}
	r.take(b)
	r.wait("the ends", func() bool { _, _, resolved := on.state(); return len(resolved) >= 2 })
	time.Sleep(3 * time.Second)
	firing, fires, resolved := on.state()
	have := map[string]bool{}
	for _, a := range resolved {
		have[a.Labels["of"]+" "+a.Identity] = true
	}
	if want := map[string]bool{"address 192.0.2.7": true, "identity ci-bot": true}; !maps.Equal(have, want) || fires != 2 || len(firing) != 0 {
		t.Errorf("told of %v, %d times, want %v", have, fires, want)
	}
}

// TestScannersAfterARestart: who was denied something all the time is not new because
// the daemon is, nor because its tables are all that it has.
func TestScannersAfterARestart(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	scan := func(begin time.Time) *schema.RequestBlock {
		b := schema.NewRequestBlock()
		for i := range 400 {
			deny(b, begin.Add(time.Duration(i%20)*time.Second), "www", fmt.Sprintf("198.51.%d.%d", i/200, i%200), "", "no_token")
		}
		return b
	}
	if err := store.InsertRequests(t.Context(), scan(time.Now().Add(-90*time.Minute)), schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	r := run(t, options(t, store, on))
	r.take(scan(aMinuteAgo()))
	r.take(botnetOf(t, aMinuteAgo().Add(25*time.Second), "api"))
	r.wait("an alert", func() bool { firing, _, resolved := on.state(); return len(firing)+len(resolved) > 0 })
	time.Sleep(2 * time.Second)
	firing, fires, resolved := on.state()
	for _, a := range append(firing, resolved...) {
		if a.Identity != "api" {
			t.Errorf("told of %q: %s", a.Identity, a.Text)
		}
	}
	if fires != 1 {
		t.Errorf("%d alerts, want one, of another frontend", fires)
	}
}

// botnetOf is 60 addresses within three seconds at a frontend.
func botnetOf(t *testing.T, begin time.Time, frontend string) *schema.RequestBlock {
	t.Helper()
	b := schema.NewRequestBlock()
	for i := range 60 {
		deny(b, begin.Add(time.Duration(i)*50*time.Millisecond), frontend, fmt.Sprintf("203.0.113.%d", i), "", "sig_bad")
	}
	return b
}

// TestCallers holds what is remembered of callers against all that ever came.
func TestCallers(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 1))
	fresh, _ := watch.NewCallers(1_000)
	last, second, counted := map[int]int64{}, int64(1_000_000), 0
	for range 20_000 {
		second += random.Int64N(4)
		who := random.IntN(400)
		before, known := last[who]
		want := !known || second-before >= schema.CallerForgotten
		if have := fresh(who, second); have != want {
			t.Fatalf("caller %d at %d, before at %d: new is %v, want %v", who, second, before, have, want)
		}
		last[who] = second
		if want {
			counted++
		}
		if fresh(who, second-int64(random.IntN(9))) {
			t.Fatal("what comes late makes a caller new")
		}
	}
	if counted < 3_000 {
		t.Errorf("only %d of 20,000 were new: nothing was shown", counted)
	}
	// An attack of more callers than there is room for is remembered in part, and no
	// more memory than for twice the room.
	fresh, size := watch.NewCallers(1_000)
	for who := range 50_000 {
		if !fresh(who, second) {
			t.Fatalf("caller %d is not new", who)
		}
		if size() > 2_000 {
			t.Fatalf("%d callers are remembered, with room for 1,000", size())
		}
	}
}

// TestCallersAreCalibrated: the callers of a frontend have a history, by which their
// thresholds are found.
func TestCallersAreCalibrated(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	const past = `INSERT INTO requests (time, frontend, client_ip, decision, subject)
SELECT now() - toIntervalSecond(300 * number), 'www', toIPv6(concat('198.51.', toString(number % 200), '.', toString(number % 199))), 'deny', ''
FROM numbers(2880)` // one in five minutes, for ten days
	if err := store.Conn().Exec(context.Background(), past); err != nil {
		t.Fatal(err)
	}
	o := options(t, store, on)
	o.Schedule = cron.Every(time.Second)
	r := run(t, o)
	r.wait("thresholds", func() bool { return r.Limits("callers_of_frontend") != "" })
	if text := r.Limits("callers_of_frontend"); !strings.Contains(text, `"Least":10`) {
		t.Errorf("thresholds %s", text)
	}
}
