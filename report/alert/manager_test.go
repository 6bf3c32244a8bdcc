package alert

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestFireUpdateResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, quiet := newReceiver(t, list()), newReceiver(t, Traits{Batch: 10, Limit: machine})
		d := newDesk(t, Options{}, map[string]*receiver{"r": r, "quiet": quiet})
		begin := time.Now()
		d.fire("a")
		d.sleep(time.Second)
		r.expect("+a")
		if delay := r.times[0].Sub(begin); delay > 2*collectFor {
			t.Errorf("it took %s", delay)
		}
		d.fire("a") // the same: nothing to tell
		a := simple("a")
		a.Numbers["requests_10s"] = 500
		a.Kind, a.Identity, a.Labels = "other", "other", map[string]string{"x": "y"} // stay as they were
		if err := d.Update(a); err != nil {
			t.Error(err)
		}
		d.sleep(2 * time.Second)
		a.Severity = Critical
		if err := d.Fire(a); err != nil { // fires already: an update
			t.Error(err)
		}
		d.sleep(2 * time.Second)
		if firing := d.Firing(); len(firing) != 1 || firing[0].Kind != "burst" || firing[0].Identity != "id-a" || firing[0].Labels != nil || !firing[0].StartsAt.Equal(begin) {
			t.Errorf("have %+v", firing)
		}
		d.resolve("a")
		d.sleep(2 * time.Second)
		r.expect("+a; ~a; ~a; -a")
		quiet.expect("+a; ~a; -a") // only the rise of the severity
		if rise := r.messages[2].Notices[0]; len(rise.Former) != 1 || rise.Former[0].Severity != High || !rise.Former[0].EndsAt.Equal(begin.Add(3*time.Second)) {
			t.Errorf("former %v", rise.Former)
		}
		last := r.messages[3].Notices[0]
		if !last.Alert.EndsAt.Equal(begin.Add(5*time.Second)) || len(last.Former) != 0 { // which it knows
			t.Errorf("ended at %s, former %v", last.Alert.EndsAt, last.Former)
		}
		if err := errors.Join(d.Update(simple("a")), d.Resolve("a", time.Time{}), d.Resolve("b", time.Time{})); !errors.Is(err, ErrNotFiring) || strings.Count(err.Error(), "firing") != 3 {
			t.Errorf("have %v", err)
		}
		d.sleep(time.Minute)
		d.expectMetric("haptrail_alerts_outbox_entries", 0)
		d.expectMetric("haptrail_alerts_changes_total", 1, "change=fire")
		d.expectMetric("haptrail_alerts_changes_total", 2, "change=update")
		d.expectMetric("haptrail_alerts_notices_total", 1, "channel=r", "state=resolved")
		d.lint()
	})
}

// What comes at one time goes out together, the worst first.
func TestGrouping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("a", "b")
		worst := simple("c")
		worst.Severity = Critical
		if err := d.Fire(worst); err != nil {
			t.Error(err)
		}
		d.sleep(5 * time.Second)
		d.fire("d")
		d.resolve("b")
		d.sleep(5 * time.Second)
		r.expect("+c +a +b; -b +d")
	})
}

func TestMinSeverity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		d := newDesk(t, Options{Channels: []Channel{{Name: "r", Sender: r, MinSeverity: High}}}, map[string]*receiver{"r": r})
		a := simple("a")
		a.Severity = Medium
		low := simple("low")
		low.Severity = Low
		_ = d.Fire(low)
		_ = d.Fire(a)
		d.sleep(5 * time.Second)
		r.expect("")
		d.resolve("low")
		a.Severity = High
		_ = d.Update(a)
		d.sleep(5 * time.Second)
		a.Severity = Low // it was told: so it is resolved
		_ = d.Update(a)
		d.resolve("a")
		d.sleep(5 * time.Second)
		r.expect("+a; -a")
	})
}

func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		traits := list()
		traits.Repeat, traits.Afterglow = time.Minute, 5*time.Minute
		r := newReceiver(t, traits)
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("a")
		d.sleep(2*time.Minute + 30*time.Second)
		r.expect("+a; =a; =a")
		d.restart() // what was told may have been forgotten there meanwhile
		d.sleep(10 * time.Second)
		r.expect("+a; =a; =a; =a")
		r.messages = nil
		d.resolve("a")
		d.sleep(2*time.Minute + 30*time.Second)
		r.expect("-a; *a; *a")
		d.fire("a") // from now on its end is not repeated
		d.sleep(90 * time.Second)
		d.resolve("a")
		d.sleep(time.Hour)
		r.expect("-a; *a; *a; +a; =a; -a; *a; *a; *a; *a")
		d.expectMetric("haptrail_alerts_outbox_entries", 0)
	})
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("before")
		d.sleep(5 * time.Second)
		id, err := d.Silence(Silence{Kind: "burst", Identity: "id-*", Until: time.Now().Add(time.Hour), Owner: "ann", Reason: "load test"})
		if err != nil {
			t.Fatal(err)
		}
		d.fire("within", "lasts")
		d.sleep(10 * time.Minute)
		d.resolve("before", "within")
		d.restart()
		d.sleep(10 * time.Minute)
		r.expect("+before; -before")
		if s := d.Silences(); len(s) != 1 || s[0].ID != id || s[0].Owner != "ann" {
			t.Errorf("have %+v", s)
		}
		d.sleep(time.Hour)
		r.expect("+before; -before; +lasts")
		if s := d.Silences(); len(s) != 0 {
			t.Errorf("have %+v", s)
		}
		id, _ = d.Silence(Silence{Identity: "*", Until: time.Now().Add(time.Hour), Owner: "ann", Reason: "x"})
		d.fire("late")
		d.sleep(time.Minute)
		if err := d.Unsilence(id); err != nil {
			t.Error(err)
		}
		d.sleep(time.Minute)
		r.expect("+before; -before; +lasts; +late")
		if err := d.Unsilence(id); err == nil {
			t.Error("ended twice")
		}
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		var sick atomic.Pointer[error] // nil: well
		d := newDesk(t, Options{
			Channels: []Channel{{Name: "r", Sender: r, Heartbeat: time.Minute}},
			Alive: func() error {
				if err := sick.Load(); err != nil {
					return *err
				}
				return nil
			},
		}, map[string]*receiver{"r": r})
		d.sleep(2*time.Minute + time.Second)
		r.expect("beat; beat; beat")
		stalled := errors.New("no samples for 5m")
		sick.Store(&stalled)
		d.sleep(10 * time.Minute)
		r.expect("beat; beat; beat")
		if !strings.Contains(d.log.String(), "no samples for 5m") {
			t.Error("nothing was said")
		}
		sick.Store(nil)
		d.sleep(beatAgain)
		r.expect("beat; beat; beat; beat")
		// a receiver that takes no alerts still hears that we live
		r.answer = func(_ context.Context, m Message) error {
			if m.Purpose == Alerts {
				return ErrMisdirected
			}
			return nil
		}
		d.fire("a")
		d.sleep(2 * time.Minute)
		r.expect("beat; beat; beat; beat; beat; beat")
		if r.messages[0].Interval != time.Minute {
			t.Error("the interval is not told")
		}
	})
}

func TestTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, one())
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		for range 10 { // past every limit
			if err := d.Test(t.Context(), "r"); err != nil {
				t.Error(err)
			}
		}
		if r.took() != strings.TrimSuffix(strings.Repeat("trial; ", 10), "; ") {
			t.Error(r.took())
		}
		r.answer = func(context.Context, Message) error { return ErrMisdirected }
		if err := d.Test(t.Context(), "r"); !errors.Is(err, ErrMisdirected) || !strings.HasPrefix(err.Error(), "channel r: ") {
			t.Errorf("have %v", err)
		}
		if err := d.Test(t.Context(), "q"); err == nil || !strings.Contains(err.Error(), "there are [r]") {
			t.Errorf("have %v", err)
		}
	})
}

func TestOptions(t *testing.T) {
	good := func() Options {
		return Options{Dir: t.TempDir(), Channels: []Channel{{Name: "r", Sender: newReceiver(t, list())}}}
	}
	for want, change := range map[string]func(*Options){
		"folder":       func(o *Options) { o.Dir = "" },
		"needs a name": func(o *Options) { o.Channels[0].Name = "" },
		"no sender":    func(o *Options) { o.Channels[0].Sender = nil },
		"two have":     func(o *Options) { o.Channels = append(o.Channels, o.Channels[0]) },
		"limit":        func(o *Options) { o.Channels[0].Limit.PerMinute = 1 },
		"at least 1s":  func(o *Options) { o.Channels[0].Heartbeat = 1 },
		"call people": func(o *Options) {
			o.Channels[0] = Channel{Name: "p", Sender: newReceiver(t, one()), Heartbeat: time.Hour}
		},
		"timeout":           func(o *Options) { o.Channels[0].Timeout = -1 },
		"must not be below": func(o *Options) { o.Keep = -1 },
	} {
		o := good()
		change(&o)
		if m, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %s", err, want)
			if m != nil {
				_ = m.Close()
			}
		}
	}
	o := good()
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "another haptrail") {
		t.Errorf("opened twice: %v", err)
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	if err := m.Fire(simple("a")); err == nil {
		t.Error("fired after Close")
	}
}
