package alert

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A thousand identities in a second: at most five messages a minute on each channel,
// with the count and the first names, and all of it resolved.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		digest := Traits{Batch: 1000, Limit: people}
		machines, readers, pager := newReceiver(t, list()), newReceiver(t, digest), newReceiver(t, one())
		d := newDesk(t, Options{}, map[string]*receiver{"machines": machines, "readers": readers, "pager": pager})
		for i := range 1000 {
			a := simple(fmt.Sprintf("k%03d", i))
			if i == 700 {
				a.Severity = Critical
			}
			if err := d.Fire(a); err != nil {
				t.Fatal(err)
			}
			d.sleep(time.Millisecond)
		}
		d.sleep(10 * time.Minute)
		for name, r := range map[string]*receiver{"machines": machines, "readers": readers, "pager": pager} {
			if busiest := r.busiest(); busiest > 5 {
				t.Errorf("%s: %d messages in a minute", name, busiest)
			}
		}
		if len(machines.open) != 1000 || len(readers.open) != 1000 {
			t.Errorf("%d and %d were told", len(machines.open), len(readers.open))
		}
		if len(pager.open) != 1 {
			t.Fatalf("the pager has %s", pager.took())
		}
		storm := pager.messages[len(pager.messages)-1].Notices[0].Alert
		if storm.Title != "1000 alerts at once (1000 burst)" || storm.Severity != Critical || storm.Numbers["alerts"] != 1000 ||
			!strings.Contains(storm.Text, "high: id-k000\n") || !strings.Contains(storm.Text, "more") {
			t.Errorf("have %+v", storm)
		}
		if _, err := storm.normal(time.Now()); err != nil {
			t.Errorf("a storm is no good alert: %v", err)
		}
		if err := errors.Join(d.Fire(Alert{Key: storm.Key, Kind: "burst", Severity: Low, Title: "t"}), d.Resolve(storm.Key, time.Time{})); err == nil || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("a storm can be changed from outside: %v", err)
		}
		d.restart()
		for i := range 1000 {
			d.resolve(fmt.Sprintf("k%03d", i))
			if i == 998 {
				d.sleep(time.Minute)
				if len(pager.open) != 1 {
					t.Error("the storm is over before its last alert is")
				}
			}
		}
		d.sleep(10 * time.Minute)
		if len(machines.open)+len(readers.open)+len(pager.open) != 0 || pager.resolves[storm.Key] != 1 {
			t.Errorf("open are %d, %d, %d", len(machines.open), len(readers.open), len(pager.open))
		}
		d.expectMetric("haptrail_alerts_outbox_entries", 0)
	})
}

// Few alerts are told one by one, also while a storm goes on; one that fires again
// within the storm stays in it, and afterwards is told.
func TestStormAndSingles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, one())
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("a", "b", "c")
		d.sleep(2 * time.Minute)
		r.expect("+a; +b; +c")
		d.fire("s1", "s2", "s3", "s4")
		d.sleep(2 * time.Minute)
		d.resolve("s1")
		d.fire("single")
		d.sleep(2 * time.Minute)
		d.fire("s1")
		d.sleep(2 * time.Minute)
		d.resolve("s1", "s2", "s3", "s4")
		d.sleep(2 * time.Minute)
		storm := r.messages[3].Notices[0].Alert.Key
		r.expect(fmt.Sprintf("+a; +b; +c; +%s; +single; -%[1]s", storm))
		d.fire("s1")
		d.resolve("a", "b", "c", "single") // not held back by the limit
		d.sleep(2 * time.Second)
		r.expect(fmt.Sprintf("+a; +b; +c; +%s; +single; -%[1]s; -a; -b; -c; -single; +s1", storm))
	})
}

// A storm that was over before it could be told is one notice.
func TestStormMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, one())
		r.answer = func(context.Context, Message) error { return errors.New("down") }
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		for i := range 100 {
			d.fire(fmt.Sprint("k", i))
		}
		d.sleep(time.Minute)
		for i := range 100 {
			d.resolve(fmt.Sprint("k", i))
		}
		d.fire("lasts")
		d.sleep(time.Minute)
		r.answer = nil
		d.sleep(20 * time.Minute)
		if len(r.messages) != 2 || !r.messages[1].Notices[0].Missed || r.messages[1].Notices[0].Alert.Numbers["alerts"] != 100 || !r.open["lasts"] {
			t.Errorf("was sent %s", r.took())
		}
	})
}

// The storm is as bad as the worst of it.
func TestStormGetsWorse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, one())
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("a", "b", "c", "d")
		d.sleep(2 * time.Minute)
		a := simple("c")
		a.Severity = Critical
		_ = d.Update(a)
		d.sleep(2 * time.Minute)
		if len(r.messages) != 2 || r.messages[1].Notices[0].State != Updated || r.messages[1].Notices[0].Alert.Severity != Critical {
			t.Errorf("was sent %s", r.took())
		}
	})
}

// At its bound the outbox lets go of what is over and untold, counts it, and then
// refuses.
func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		r.answer = func(context.Context, Message) error { return errors.New("down") }
		d := newDesk(t, Options{MaxAlerts: 10}, map[string]*receiver{"r": r})
		for i := range 10 {
			d.fire(fmt.Sprint("k", i))
		}
		if err := d.Fire(simple("x")); !errors.Is(err, ErrFull) {
			t.Errorf("have %v", err)
		}
		d.fire("k0") // those that fire can go on
		d.resolve("k3", "k2")
		d.fire("x") // in place of k3, which was over first
		d.restart()
		r.answer = nil
		d.sleep(10 * time.Minute)
		if r.fires["k3"] != 0 || r.resolves["k2"] != 1 || !r.open["x"] || len(r.open) != 9 {
			t.Errorf("was sent %s", r.took())
		}
		d.resolve("x")
		d.sleep(time.Minute)
		d.fire("y") // there is room again
	})
}

// The bound in bytes counts what an alert brings.
func TestOverflowBytes(t *testing.T) {
	d := newDesk(t, Options{MaxBytes: 100_000}, nil)
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		a := simple(fmt.Sprint("k", n))
		a.Text = strings.Repeat("x", 4000)
		err = d.Fire(a)
	}
	if !errors.Is(err, ErrFull) || n < 15 || n > 30 {
		t.Errorf("after %d: %v", n, err)
	}
	d.expectMetric("haptrail_alerts_overflow_total", 1, "what=refused")
}
