package watch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/watch"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// burst has a key do a lot for some seconds from a time on.
func (r *rig) burst(table, key string, from time.Time, seconds int) {
	for second := range seconds {
		r.Sample(sample(table, key, from.Add(time.Duration(second)*time.Second), 300))
	}
}

// TestBurstOverARestart: a burst that goes on when the daemon stops is the same one
// when it runs again, and so is its alert. With its memory gone, nobody saw it end.
func TestBurstOverARestart(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("memory gone %t", gone), func(t *testing.T) {
			store, on := schematest.Open(t), newOnCall()
			o := options(t, store, on)
			r := run(t, o)
			now := time.Now().Truncate(time.Second)
			r.calm("identities", "space|ci-bot", now, 60)
			r.burst("identities", "space|ci-bot", now, 3)
			r.wait("a row", func() bool { rows := r.bursts(schema.BurstsQuery{Open: true}); return len(rows) == 1 })
			before := r.bursts(schema.BurstsQuery{})[0]
			r.stop()
			if firing, fires, resolved := on.state(); len(firing) != 1 || fires != 1 || len(resolved) != 0 {
				t.Fatalf("stopped: %d fire, %d fired, %d resolved; want one that fires", len(firing), fires, len(resolved))
			}
			if gone {
				files, err := filepath.Glob(filepath.Join(o.Dir, "*.state"))
				if err != nil || len(files) == 0 {
					t.Fatalf("states %v, error %v", files, err)
				}
				for _, file := range files { // as a disk might
					if err := os.WriteFile(file, []byte("\x00\x01"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if err := store.Conn().Exec(t.Context(), "TRUNCATE TABLE stick_samples"); err != nil {
					t.Fatal(err)
				}
			}
			o.Metrics = nil
			again := run(t, o)
			if gone {
				again.wait("the row", func() bool {
					rows := again.bursts(schema.BurstsQuery{})
					return len(rows) == 1 && rows[0].State == schema.BurstLost && strings.Contains(rows[0].Reason, "nobody saw it end")
				})
				if firing, _, resolved := on.state(); len(firing) != 0 || len(resolved) != 1 {
					t.Errorf("%d fire, %d resolved; want one resolved", len(firing), len(resolved))
				}
				return
			}
			again.burst("identities", "space|ci-bot", now.Add(5*time.Second), 2)
			again.stop()
			rows := again.bursts(schema.BurstsQuery{})
			if len(rows) != 1 || rows[0].ID != before.ID || !rows[0].Start.Equal(before.Start) {
				t.Errorf("after the restart:\nhave %+v\nwant that of %+v", rows, before)
			}
			if firing, fires, resolved := on.state(); len(firing) != 1 || fires != 1 || len(resolved) != 0 {
				t.Errorf("%d fire, %d fired, %d resolved; want the one that fired first", len(firing), fires, len(resolved))
			}
		})
	}
}

// TestOldStateOfABurstThatIsOver: a daemon that is killed may have saved its state when
// a burst went on that was over before it was killed. It is over, and told once.
func TestOldStateOfABurstThatIsOver(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	o := options(t, store, on)
	r := run(t, o)
	begin := aMinuteAgo().Add(10 * time.Second)
	r.calm("identities", "space|ci-bot", begin, 60)
	r.burst("identities", "space|ci-bot", begin, 3)
	if err := r.Save(); err != nil { // it goes on
		t.Fatal(err)
	}
	saved := map[string][]byte{}
	files, err := filepath.Glob(filepath.Join(o.Dir, "*.state"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if saved[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	r.wait("the end", func() bool {
		rows := r.bursts(schema.BurstsQuery{})
		return len(rows) == 1 && rows[0].State == schema.BurstOver
	})
	r.stop()
	before := r.bursts(schema.BurstsQuery{})
	for file, state := range saved {
		if err := os.WriteFile(file, state, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Metrics = nil
	again := run(t, o)
	if n := again.Bursting(); n != 1 {
		t.Fatalf("%d bursts go on in the state, want the one", n)
	}
	again.wait("that its detector ends it", func() bool { return again.Bursting() == 0 })
	again.stop()
	if have := again.bursts(schema.BurstsQuery{}); len(have) != 1 || have[0].State != schema.BurstOver || !have[0].End.Equal(before[0].End) || have[0].Total != before[0].Total {
		t.Errorf("have %+v\nwant %+v", have, before)
	}
	if firing, fires, resolved := on.state(); len(firing) != 0 || fires != 1 || len(resolved) != 1 {
		t.Errorf("%d fire, %d fired, %d resolved; want one that fired and is over", len(firing), fires, len(resolved))
	}
}

// TestSlowPollsOfSeveralProxies: what two proxies count of one identity adds up, also
// where each is looked at rarely.
func TestSlowPollsOfSeveralProxies(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	o := options(t, store, on)
	o.Proxies = 2
	r := run(t, o)
	begin := aMinuteAgo()
	for i, at := range []int{0, 1, 12, 13} {
		s := sample("identities", "space|ci-bot", begin.Add(time.Duration(at)*time.Second), 220) // too much for none of them alone
		s.Proxy, s.Elapsed = []string{"edge1", "edge2"}[i%2], 12*time.Second
		r.Sample(s)
	}
	r.stop() // which stores what is left
	rows := r.bursts(schema.BurstsQuery{})
	if len(rows) == 0 {
		t.Error("no burst")
	}
	for _, row := range rows {
		if row.Key != "space|ci-bot" || row.Identity != "ci-bot" {
			t.Errorf("row %+v", row)
		}
	}
}

// TestLearnsFromTheTables: a detector without a memory of its own is told the past.
func TestLearnsFromTheTables(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	now := time.Now().Truncate(time.Second)
	var rows []schema.StickSample
	for second := range 1000 {
		rows = append(rows, schema.StickSample{
			Time: now.Add(-time.Duration(1000-second) * time.Second), Proxy: "edge1", Table: "identities", Key: "space|ci-bot", Elapsed: 1000, Requests: 1,
		}, schema.StickSample{ // new keys, whose roles are asked for
			Time: now.Add(-time.Duration(1000-second) * time.Second), Proxy: "edge1", Table: "identities", Key: fmt.Sprint("space|k-", second%500), Elapsed: 1000, Requests: 1,
		})
	}
	if err := store.InsertStickSamples(t.Context(), rows, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	insert(t, store, now.Add(-15*time.Minute), "ci-bot", "r77", 3) // the role is known from here
	o := options(t, store, on)
	w, err := watch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var coming sync.WaitGroup
	coming.Go(func() { // requests of others come in meanwhile
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				w.Stored(block(now, fmt.Sprint("other-", i), "r1", 1))
			}
		}
	})
	r := runWatch(t, w, o)
	close(stop)
	coming.Wait()
	r.burst("identities", "space|ci-bot", now, 3)
	r.wait("a burst", func() bool { return len(r.bursts(schema.BurstsQuery{})) == 1 })
	if row := r.bursts(schema.BurstsQuery{})[0]; !strings.Contains(row.Reason, "known for 16 min") {
		t.Errorf("it does not know the past: %+v", row)
	}
}

// TestLearnsFromLogs: where no stick table has counted yet, the requests tell what is
// usual, such as those that were imported.
func TestLearnsFromLogs(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	now := time.Now().Truncate(time.Second)
	insert(t, store, now.Add(-16*time.Minute), "ci-bot", "r77", 3)
	o := options(t, store, on)
	o.Issuer = func(url string) string { return "space" }
	r := run(t, o)
	r.burst("identities", "space|ci-bot", now, 3)
	r.wait("a burst", func() bool { return len(r.bursts(schema.BurstsQuery{Measure: "requests"})) == 1 })
	if row := r.bursts(schema.BurstsQuery{Measure: "requests"})[0]; !strings.Contains(row.Reason, "known for 16 min") {
		t.Errorf("it does not know the past: %+v", row)
	}
}

// TestExpectedLoad: what was announced is no burst, and what was withdrawn is.
func TestExpectedLoad(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	now := time.Now().Truncate(time.Second)
	expect := func(id, identity string, withdrawn bool) {
		t.Helper()
		err := store.InsertExpectation(t.Context(), schema.Expectation{
			ID: id, Identity: identity, Starts: now.Add(-time.Hour), Ends: now.Add(time.Hour), Owner: "ann", Reason: "load test", Told: time.Now(), Withdrawn: withdrawn,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("e1", "load-*", false)
	expect("e2", "other", false)
	r := run(t, options(t, store, on)) // it hears of them before it judges
	for _, key := range []string{"space|load-1", "space|other", "space|third"} {
		r.calm("identities", key, now, 60)
	}
	expect("e2", "other", true)
	r.wait("the withdrawal", func() bool { return r.Expects("space|load-1") && !r.Expects("space|other") })
	for _, key := range []string{"space|load-1", "space|other", "space|third"} {
		r.burst("identities", key, now, 3)
	}
	r.wait("alerts", func() bool { firing, _, _ := on.state(); return len(firing) == 2 })
	time.Sleep(time.Second)
	firing, _, _ := on.state()
	var names []string
	for _, a := range firing {
		names = append(names, a.Identity)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"other", "third"}) {
		t.Errorf("alerts of %v", names)
	}
}

// TestLogsStandIn: while no stick table of identities can be read, the logs are
// counted, by the same keys and against what the tables taught.
func TestLogsStandIn(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	r := run(t, options(t, store, on))
	now := time.Now().Truncate(time.Second)
	r.calm("identities", "space|ci-bot", now, 100)
	logs := func(at time.Time) {
		for second := range 3 {
			r.Stored(block(at.Add(time.Duration(second)*time.Second), "ci-bot", "r77", 300))
		}
	}
	requests := func() (n int) {
		for _, row := range r.bursts(schema.BurstsQuery{Measure: "requests"}) {
			if row.Of == "identity" {
				n++
			}
		}
		return n
	}
	logs(now)
	r.wait("a burst at an endpoint", func() bool { return len(r.bursts(schema.BurstsQuery{})) > 0 })
	if n := requests(); n != 0 {
		t.Errorf("%d bursts of the identity by the logs, though its stick table can be read", n)
	}
	r.Sees(false, now)
	r.Sees(false, now.Add(20*time.Second))
	logs(now.Add(5 * time.Second))
	r.wait("a burst of the identity", func() bool { return requests() == 1 })
	for _, row := range r.bursts(schema.BurstsQuery{Measure: "requests"}) {
		if row.Of == "identity" && (row.Feed != "logs" || row.Key != "space|ci-bot" || !strings.Contains(row.Reason, "known for 9") && !strings.Contains(row.Reason, "known for 10")) {
			t.Errorf("row %+v", row)
		}
	}
	if firing, fires, _ := on.state(); len(firing) != 1 || fires != 1 {
		t.Errorf("%d alerts, %d fired; want one", len(firing), fires)
	}
}

// TestSharedTable: of a table that two proxies share each has all counts, and one is
// listened to, until it falls silent.
func TestSharedTable(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	o := options(t, store, on)
	o.Proxies = 2
	r := run(t, o)
	begin := aMinuteAgo()
	for second := range 40 {
		for _, proxy := range []string{"edge1", "edge2"} {
			if proxy == "edge1" && second >= 20 {
				continue
			}
			s := sample("identities", "space|ci-bot", begin.Add(time.Duration(second)*time.Second), 10)
			s.Proxy, s.Shared, s.Joint = proxy, true, true
			r.Sample(s)
		}
	}
	r.stop()
	var first, second uint64
	err := store.Conn().QueryRow(t.Context(), "SELECT sumIf(requests, proxy = 'edge1'), sumIf(requests, proxy = 'edge2') FROM stick_samples").Scan(&first, &second)
	if err != nil || first != 200 || second < 150 || second > 200 {
		t.Errorf("listened to %d and %d requests, error %v; want 200 of the first proxy, then those of the second but for the moment between", first, second, err)
	}
}

// TestTablesOfTheirOwn: two proxies that share nothing, each with a peers section for
// its reloads, count what each of them sees.
func TestTablesOfTheirOwn(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	o := options(t, store, on)
	o.Proxies = 2
	r := run(t, o)
	begin := aMinuteAgo()
	for second := range 20 {
		for _, proxy := range []string{"edge1", "edge2"} {
			s := sample("identities", "space|ci-bot", begin.Add(time.Duration(second)*time.Second), 10)
			s.Proxy, s.Shared = proxy, true
			r.Sample(s)
		}
	}
	r.stop()
	var first, second uint64
	err := store.Conn().QueryRow(t.Context(), "SELECT sumIf(requests, proxy = 'edge1'), sumIf(requests, proxy = 'edge2') FROM stick_samples").Scan(&first, &second)
	if err != nil || first != 200 || second != 200 {
		t.Errorf("%d and %d requests, error %v; want 200 of each", first, second, err)
	}
}

// TestStormOfBursts: a thousand identities at once are told of soon, and each gets its
// alert and its end.
func TestStormOfBursts(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	o := options(t, store, on)
	o.MaxKeys = 2000
	r := run(t, o)
	begin := aMinuteAgo().Add(40 * time.Second)
	const many = 1000
	for i := range many {
		r.burst("identities", fmt.Sprintf("space|ci-%d", i), begin, 2)
	}
	told := time.Now()
	r.wait("all alerts", func() bool { _, fires, _ := on.state(); return fires == many })
	if took := time.Since(told); took > 5*time.Second {
		t.Errorf("the last of %d alerts came after %s", many, took)
	}
	r.wait("all ends", func() bool { _, _, resolved := on.state(); return len(resolved) == many })
	r.wait("all rows", func() bool {
		rows := r.bursts(schema.BurstsQuery{})
		return len(rows) == many && !slices.ContainsFunc(rows, func(row schema.BurstRow) bool { return row.State != schema.BurstOver })
	})
}

// TestLeastSeverity: what is not bad enough is in the table, and nobody is told.
func TestLeastSeverity(t *testing.T) {
	for _, least := range []alert.Severity{0, alert.Critical} {
		t.Run(fmt.Sprint(least), func(t *testing.T) {
			store, on := schematest.Open(t), newOnCall()
			o := options(t, store, on)
			o.Least = least
			r := run(t, o)
			r.burst("identities", "space|ci-bot", aMinuteAgo(), 3)
			r.wait("the end", func() bool {
				rows := r.bursts(schema.BurstsQuery{})
				return len(rows) > 0 && rows[0].State == schema.BurstOver
			})
			if _, fires, _ := on.state(); fires != 0 {
				t.Errorf("%d alerts", fires)
			}
		})
	}
}

// TestStoppedWhileBeginning: a daemon that is stopped while it learns ends at once,
// and leaves what was saved before.
func TestStoppedWhileBeginning(t *testing.T) {
	store, on := schematest.Open(t), newOnCall()
	w, err := watch.New(options(t, store, on))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
}
