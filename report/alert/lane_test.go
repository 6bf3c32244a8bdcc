package alert

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An hour without the receiver: it is told what is true then, once, and the other
// channel has noticed nothing.
func TestReceiverDownForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("connection refused")
		r, other := newReceiver(t, list()), newReceiver(t, list())
		tries := 0
		r.answer = func(context.Context, Message) error {
			if down != nil {
				tries++
			}
			return down
		}
		d := newDesk(t, Options{}, map[string]*receiver{"r": r, "other": other})
		d.fire("lasts", "over", "flaps")
		d.sleep(10 * time.Minute)
		d.resolve("over", "flaps")
		for range 3 {
			d.sleep(time.Minute)
			d.fire("flaps")
			d.sleep(time.Minute)
			d.resolve("flaps")
		}
		d.fire("flaps")
		d.restart() // changes nothing
		d.sleep(44 * time.Minute)
		r.expect("")
		if tries > 40 {
			t.Errorf("%d tries in an hour", tries)
		}
		down = nil
		d.sleep(6 * time.Minute)
		r.expect("+lasts +flaps !over")
		if n := r.messages[0].Notices[1]; n.Fires != 5 {
			t.Errorf("it fired %d times", n.Fires)
		}
		// the last two, in one moment, made an update
		if other.fires["flaps"] != 4 || other.resolves["flaps"] != 3 {
			t.Errorf("the other channel: %s", other.took())
		}
		if log := d.log.String(); !strings.Contains(log, "answers again") || strings.Count(log, "connection refused") != tries {
			t.Errorf("%d tries, log: %s", tries, log)
		}
	})
}

// A receiver that hangs delays nobody else, and is left after its timeout.
func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, fast := newReceiver(t, list()), newReceiver(t, list())
		slow.answer = func(ctx context.Context, _ Message) error {
			<-ctx.Done()
			return ctx.Err()
		}
		d := newDesk(t, Options{}, map[string]*receiver{"slow": slow, "fast": fast})
		d.fire("a")
		d.sleep(time.Second)
		d.resolve("a")
		d.sleep(2 * time.Second)
		fast.expect("+a; -a")
		d.sleep(time.Minute)
		d.expectMetric("haptrail_alerts_messages_total", 4, "channel=slow", "outcome=failed")
	})
}

// A message on its way when we stop may arrive; and one that does not is told after
// the next start.
func TestStopInTheMiddle(t *testing.T) {
	for _, arrives := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newReceiver(t, list())
			r.answer = func(ctx context.Context, _ Message) error {
				if !arrives {
					<-ctx.Done()
					return ctx.Err()
				}
				time.Sleep(3 * time.Second)
				return nil
			}
			d := newDesk(t, Options{}, map[string]*receiver{"r": r})
			d.fire("a")
			d.sleep(time.Second)
			begin := time.Now()
			d.stop()
			if took := time.Since(begin); took > grace {
				t.Errorf("stopping took %s", took)
			}
			r.answer = nil
			d.start()
			d.sleep(10 * time.Second)
			r.expect("+a") // once in both cases
		})
	}
}

// 400: the bad one of a list is found, and never sent again until it has changed.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		tries := 0
		r.answer = func(_ context.Context, m Message) error {
			for _, n := range m.Notices {
				if n.Alert.Key == "bad" && n.Alert.Severity == High {
					tries++
					return fmt.Errorf("%w: 400", ErrRefused)
				}
			}
			return nil
		}
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		keys := []string{"bad"}
		for i := range 20 {
			keys = append(keys, fmt.Sprint("k", i))
		}
		d.fire(keys...)
		d.sleep(10 * time.Minute)
		if len(r.open) != 20 || r.open["bad"] || tries > 6 {
			t.Errorf("%d tries, %s", tries, r.took())
		}
		d.expectMetric("haptrail_alerts_dead_total", 1, "channel=r", "reason=refused")
		if !strings.Contains(d.log.String(), "an alert was not told") {
			t.Error("nothing was said")
		}
		dead, err := os.ReadFile(filepath.Join(d.options.Dir, "dead.journal"))
		if err != nil || !strings.Contains(string(dead), `"reason":"refused"`) || !strings.Contains(string(dead), `"title":"burst of bad"`) {
			t.Errorf("%s, %v", dead, err)
		}
		d.restart()
		d.sleep(10 * time.Minute)
		before := tries
		a := simple("bad")
		a.Severity = Critical // another text may be taken
		_ = d.Update(a)
		d.sleep(time.Minute)
		d.resolve("bad")
		d.sleep(time.Minute)
		if r.fires["bad"] != 1 || r.resolves["bad"] != 1 || tries != before {
			t.Errorf("%d tries, %s", tries, r.took())
		}
	})
}

// One that was refused and is over was never there: no resolve.
func TestRefusedAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, one())
		r.answer = func(context.Context, Message) error { return ErrRefused }
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("a")
		d.sleep(time.Minute)
		r.answer = nil
		d.resolve("a")
		d.sleep(time.Minute)
		r.expect("")
		d.fire("a") // a new episode is told
		d.sleep(time.Minute)
		r.expect("+a")
	})
}

// A receiver that takes nothing from us in passing, as while it is deployed, is told
// within seconds of its return; one that goes on is tried ever more rarely, and never
// before the time that it asks for. What does not answer in between changes nothing.
func TestMisdirectedInPassing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, Traits{Batch: 10, Updates: true, Limit: machine, MaxPause: time.Minute})
		var tries []time.Duration
		begin := time.Now()
		answers := []error{ErrMisdirected, errors.New("connection refused"), ErrMisdirected, &LaterError{After: 90 * time.Second, Err: ErrMisdirected}, ErrMisdirected, ErrMisdirected, ErrMisdirected, ErrMisdirected}
		r.answer = func(context.Context, Message) error {
			tries = append(tries, time.Since(begin).Round(time.Second))
			if len(answers) == 0 {
				return nil
			}
			err := answers[0]
			answers = answers[1:]
			return err
		}
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("a")
		d.sleep(time.Hour)
		// pauses 10 s, 1 s, 20 s, 90 s (asked for, instead of 40), 80 s, 160 s, 5 min, 5 min
		if have := fmt.Sprint(tries); have != "[0s 10s 11s 31s 2m1s 3m21s 6m1s 11m1s 16m1s]" {
			t.Errorf("tried at %s", have)
		}
		r.expect("+a")
		d.expectMetric("haptrail_alerts_messages_total", 7, "channel=r", "outcome=misdirected")
		// When it was well in between, it begins anew.
		tries, answers, begin = nil, []error{ErrMisdirected}, time.Now()
		d.resolve("a")
		d.sleep(time.Minute)
		if have := fmt.Sprint(tries); have != "[0s 10s]" {
			t.Errorf("tried at %s", have)
		}
		r.expect("+a; -a")
	})
}

// Wrong secrets of a channel that people read: no minute has more tries than messages
// are allowed.
func TestMisdirectedKeepsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, Traits{Batch: 1, Limit: Limit{PerMinute: 2, Burst: 1}})
		var tries []time.Time
		r.answer = func(context.Context, Message) error { tries = append(tries, time.Now()); return ErrMisdirected }
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("a", "b", "c")
		d.sleep(30 * time.Minute)
		for i := range tries {
			if i >= 2 && tries[i].Sub(tries[i-2]) < time.Minute {
				t.Errorf("tried thrice from %s to %s", tries[i-2], tries[i])
			}
		}
		if len(tries) < 7 || len(tries) > 11 {
			t.Errorf("%d tries in half an hour", len(tries))
		}
	})
}

// Wrong credentials: the alerts wait, and one that is over for too long is a dead
// letter.
func TestMisdirected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		tries := 0
		r.answer = func(context.Context, Message) error { tries++; return ErrMisdirected }
		d := newDesk(t, Options{Keep: time.Hour}, map[string]*receiver{"r": r})
		d.fire("a", "b")
		d.sleep(time.Minute)
		d.resolve("b")
		d.sleep(2 * time.Hour)
		if tries < 22 || tries > 32 { // six in the first minutes
			t.Errorf("%d tries in two hours", tries)
		}
		d.expectMetric("haptrail_alerts_dead_total", 1, "channel=r", "reason=expired")
		r.answer = nil
		d.restart()
		d.sleep(10 * time.Minute)
		r.expect("+a")
	})
}

// 429 and 503: as long as asked for, else minutes, ever longer.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, one())
		var tries []time.Duration
		begin := time.Now()
		r.answer = func(context.Context, Message) error {
			tries = append(tries, time.Since(begin).Round(time.Second))
			switch len(tries) {
			case 1:
				return &LaterError{Err: errors.New("503")}
			case 2:
				return &LaterError{After: 7 * time.Minute, Err: errors.New("429")}
			case 3:
				return &LaterError{Err: errors.New("503")}
			}
			return nil
		}
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("a")
		d.sleep(time.Hour)
		if fmt.Sprint(tries) != "[0s 1m0s 8m0s 12m0s]" {
			t.Errorf("tried at %v", tries)
		}
		r.expect("+a")
		d.expectMetric("haptrail_alerts_messages_total", 3, "channel=r", "outcome=later")
	})
}
