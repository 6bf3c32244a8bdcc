package oncall_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

const patience = 30 * time.Second

// receiver keeps what it is sent.
type receiver struct {
	mu      sync.Mutex
	notices []alert.Notice
}

func (r *receiver) Send(_ context.Context, m alert.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notices = append(r.notices, m.Notices...)
	return nil
}

func (r *receiver) Traits() alert.Traits {
	return alert.Traits{Batch: 100, Updates: true, Limit: alert.Limit{PerMinute: 600, Burst: 500}}
}

// told are the titles of what was sent, those that ended with a minus.
func (r *receiver) told() (titles []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notices {
		mark := "+"
		if !n.State.Firing() {
			mark = "-"
		}
		titles = append(titles, mark+n.Alert.Title)
	}
	slices.Sort(titles)
	return slices.Compact(titles)
}

type rig struct {
	*oncall.Desk
	t        *testing.T
	store    *schema.Store
	receiver *receiver
	stop     func()
}

// start runs a desk with its manager, whose outbox is in dir.
func start(t *testing.T, store *schema.Store, dir string) *rig {
	t.Helper()
	r := &rig{t: t, store: store, receiver: &receiver{}}
	manager, err := alert.Open(alert.Options{Dir: dir, Channels: []alert.Channel{{Name: "test", Sender: r.receiver}}, Collect: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r.Desk = oncall.New(oncall.Options{Manager: manager, Store: store, Findings: alert.Medium})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = manager.Run(ctx) })
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := manager.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *rig) wait(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within %s; told %q", what, patience, r.receiver.told())
		}
	}
}

func (r *rig) rows() (rows []schema.AlertRow) {
	r.t.Helper()
	err := r.store.Alerts(r.t.Context(), schema.AlertsQuery{Until: time.Now().Add(time.Hour)}, func(row *schema.AlertRow) error {
		rows = append(rows, *row)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return rows
}

func anAlert(key, title string) alert.Alert {
	return alert.Alert{Key: key, Kind: oncall.KindBurst, Severity: alert.Medium, Title: title, Identity: "ci-bot"}
}

// TestRecord: the table has each time that an alert fired once, with how it was last
// told and its end; over a restart, too.
func TestRecord(t *testing.T) {
	store, dir := schematest.Open(t), t.TempDir()
	r := start(t, store, dir)
	r.Fire(anAlert("a", "first"))
	began := r.Firing(oncall.KindBurst)[0].StartsAt
	worse := anAlert("a", "worse")
	worse.Severity = alert.High
	r.Fire(worse)
	r.Fire(anAlert("b", "other"))
	r.Resolve("nobody", time.Now())
	r.wait("rows", func() bool { return len(r.rows()) == 2 })
	r.stop()

	again := start(t, store, dir)
	if firing := again.Firing(oncall.KindBurst); len(firing) != 2 || firing[0].Title != "worse" {
		t.Fatalf("after a restart %+v fire", firing)
	}
	ended := time.Now().UTC().Add(time.Second).Truncate(time.Millisecond)
	again.Resolve("a", ended)
	again.Fire(anAlert("a", "once more"))
	again.stop() // which stores what is left
	rows := again.rows()
	if len(rows) != 3 {
		t.Fatalf("rows %+v", rows)
	}
	for _, row := range rows {
		switch row.Title {
		case "worse":
			if !row.Start.Equal(began.Truncate(time.Millisecond)) || !row.End.Equal(ended) || row.Severity != "high" {
				t.Errorf("row %+v; want from %s to %s", row, began, ended)
			}
		case "other", "once more":
			if row.End.Unix() != 0 {
				t.Errorf("row %+v has ended", row)
			}
		default:
			t.Errorf("row %+v", row)
		}
	}
}

// TestReconciles: what the table has firing from before and nobody is told of any more
// is over.
func TestReconciles(t *testing.T) {
	store, now := schematest.Open(t), time.Now().UTC().Truncate(time.Millisecond)
	row := schema.AlertRow{Key: "gone", Kind: oncall.KindFault, Severity: "medium", Title: "old", Start: now.Add(-time.Hour), Updated: now.Add(-time.Hour)}
	if err := store.InsertAlerts(t.Context(), []schema.AlertRow{row}); err != nil {
		t.Fatal(err)
	}
	r := start(t, store, t.TempDir())
	r.Fire(anAlert("a", "new"))
	r.wait("its end", func() bool {
		rows := r.rows()
		return len(rows) == 2 && rows[1].Title == "old" && rows[1].End.Unix() > 0 && rows[0].End.Unix() == 0
	})
}

// TestFindings: bad enough and new ones are told, once, and end when they are not
// found any more.
func TestFindings(t *testing.T) {
	r := start(t, schematest.Open(t), t.TempDir())
	now := time.Now().UTC()
	found := []finding.Finding{
		{Key: alert.Key("1"), Kind: "token_after_run", Severity: finding.High, Title: "bad", Text: "what", Action: "do", Subject: "ci-bot", Run: "r1", First: now.Add(-time.Hour), Last: now,
			Evidence: []finding.Evidence{{Time: now, Method: "GET", Endpoint: "/secrets/*", Requests: 3}}},
		{Key: alert.Key("2"), Kind: "commit_unverified", Severity: finding.Low, Title: "not so bad", First: now, Last: now},
		{Key: alert.Key("3"), Kind: "token_after_run", Severity: finding.High, Title: "old", First: now.AddDate(0, -1, 0), Last: now.AddDate(0, 0, -2)},
	}
	for range 3 {
		r.Findings(found)
	}
	r.wait("the alert", func() bool { return len(r.receiver.told()) > 0 })
	if told := r.receiver.told(); !slices.Equal(told, []string{"+bad"}) {
		t.Errorf("told %q", told)
	}
	a := r.Firing(oncall.KindFinding)[0]
	if a.Identity != "ci-bot" || a.Run != "r1" || !strings.Contains(a.Text, "To do: do") || len(a.Evidence) != 1 || a.Labels["finding"] != "token_after_run" {
		t.Errorf("alert %+v", a)
	}
	r.EndFindings(now.Add(59 * time.Minute))
	if len(r.Firing(oncall.KindFinding)) != 1 {
		t.Error("it is over too soon")
	}
	r.EndFindings(now.Add(2 * time.Hour))
	r.wait("the end", func() bool { return slices.Contains(r.receiver.told(), "-bad") })
}

// TestSilences: what the table says is kept quiet, until it is withdrawn, and by a
// manager that runs again too.
func TestSilences(t *testing.T) {
	store, dir := schematest.Open(t), t.TempDir()
	now := time.Now().UTC()
	row := schema.SilenceRow{
		ID: "s1", Kind: oncall.KindBurst, Identity: "ci-*", Starts: now.Add(-time.Minute), Ends: now.Add(time.Hour), Owner: "ann", Reason: "known", Told: now,
	}
	faulty := row
	faulty.ID, faulty.Owner = "s2", ""
	for _, row := range []schema.SilenceRow{row, faulty} {
		if err := store.InsertSilence(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, store, dir)
	r.wait("the silence", func() bool { return len(r.Manager.Silences()) == 1 })
	r.Fire(anAlert("a", "quiet"))
	loud := anAlert("b", "loud")
	loud.Identity = "other"
	r.Fire(loud)
	r.wait("an alert", func() bool { return len(r.receiver.told()) > 0 })
	r.stop()
	if told := r.receiver.told(); !slices.Equal(told, []string{"+loud"}) {
		t.Errorf("told %q", told)
	}

	again := start(t, store, dir)
	time.Sleep(3 * time.Second) // in which the table is read again
	if n := len(again.Manager.Silences()); n != 1 {
		t.Errorf("%d silences after a restart, want the one", n)
	}
	row.Withdrawn, row.Told = true, now.Add(time.Minute)
	if err := store.InsertSilence(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	again.wait("what was quiet", func() bool { return slices.Contains(again.receiver.told(), "+quiet") })
}
