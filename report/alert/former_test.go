package alert

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// graded is what a receiver with the severity among its labels was sent: of each
// message "+" what fires and "-" the severities that it was told the end of.
func (r *receiver) graded() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, m := range r.messages {
		for _, n := range m.Notices {
			var words []string
			for _, f := range n.Former {
				words = append(words, "-"+f.Severity.String())
			}
			mark := "+"
			if n.State == Resolved {
				mark = "-"
			}
			lines = append(lines, strings.Join(append(words, mark+n.Alert.Severity.String()), " "))
		}
	}
	return strings.Join(lines, "; ")
}

func (d *desk) grade(key string, severity Severity) {
	d.t.Helper()
	a := simple(key)
	a.Severity = severity
	a.Numbers["requests_10s"] = float64(time.Now().UnixNano()) // something else, too
	if err := d.Fire(a); err != nil {
		d.t.Error(err)
	}
	d.sleep(2 * time.Second)
}

// TestFormerEndsOnce: a receiver hears the end of a former severity until it has taken
// it, and not again with each update; over restarts.
func TestFormerEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.grade("a", Low)
		d.grade("a", High)
		d.grade("a", High)
		d.restart()
		d.grade("a", High)
		d.grade("a", Low) // once more: its end is news again
		d.grade("a", Critical)
		d.mu.Lock()
		err := d.outbox.rewrite() // what is known stands in a rewritten journal as well
		d.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		d.restart()
		d.grade("a", Critical)
		d.resolve("a")
		d.sleep(time.Minute)
		if want := "+low; -low +high; +high; +high; -high +low; -low +critical; +critical; -critical"; r.graded() != want {
			t.Errorf("told %q\nwant %q", r.graded(), want)
		}
	})
}

// TestFormerNotTaken: what the receiver did not answer to it may have taken, or not:
// every severity that it may know ends there.
func TestFormerNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.grade("a", Low)
		r.answer = func(context.Context, Message) error { return errors.New("no answer") }
		d.sleep(0)
		d.grade("a", High)
		d.grade("a", Critical)
		d.sleep(time.Hour)
		r.answer = nil
		d.sleep(10 * time.Minute)
		// It ends and begins anew, worse, unseen by the receiver.
		r.answer = func(context.Context, Message) error { return errors.New("no answer") }
		d.resolve("a")
		d.sleep(time.Second)
		d.grade("a", Medium)
		r.answer = nil
		d.sleep(10 * time.Minute)
		d.resolve("a")
		d.sleep(time.Minute)
		if want := "+low; -low -high +critical; -critical +medium; -medium"; r.graded() != want {
			t.Errorf("told %q\nwant %q", r.graded(), want)
		}
	})
}

// TestFormerAfterglow: one that forgets hears the end of a former severity for as long
// as that of an alert, always at the same time.
func TestFormerAfterglow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		traits := list()
		traits.Repeat, traits.Afterglow = time.Minute, 5*time.Minute
		r := newReceiver(t, traits)
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.grade("a", Low)
		ended := time.Now()
		d.grade("a", High)
		d.sleep(2*time.Minute + 30*time.Second)
		d.restart()
		d.sleep(10 * time.Minute)
		told := 0
		for i, m := range r.messages {
			for _, f := range m.Notices[0].Former {
				if f.Severity != Low || !f.EndsAt.Equal(ended) {
					t.Errorf("message %d: former %+v, want low until %s", i, f, ended)
				}
				told++
				if late := r.times[i].Sub(ended); late > 5*time.Minute+time.Second {
					t.Errorf("told %s after its end", late)
				}
			}
		}
		// at once, after 1 and 2 minutes, by the restart, and each minute from then on
		if told < 5 || told > 7 || !strings.HasPrefix(r.graded(), "+low; -low +high; -low +high; -low +high") || !strings.HasSuffix(r.graded(), "; +high; +high") {
			t.Errorf("told %d times: %s", told, r.graded())
		}
		r.messages, r.times = nil, nil
		d.grade("a", Critical)
		d.resolve("a")
		d.sleep(time.Hour)
		if want := "-high +critical; -high -critical; -high -critical"; !strings.HasPrefix(r.graded(), want) || strings.Contains(r.graded(), "low") || strings.Count(r.graded(), ";") > 7 {
			t.Errorf("told %q", r.graded())
		}
		d.expectMetric("haptrail_alerts_outbox_entries", 0)
	})
}

// TestFormerAnyOrder plays severities at random, with answers that get lost, against a
// receiver that takes each severity for another alert: in the end none fires there,
// and once it answers it knows exactly the one that fires.
func TestFormerAnyOrder(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { formerAnyOrder(t, seed) })
		})
	}
}

func formerAnyOrder(t *testing.T, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 9))
	loss := rand.New(rand.NewPCG(seed, 10)) // its goroutine's own
	r := newReceiver(t, list())
	open := map[Severity]bool{}
	var lossy atomic.Bool // a message may be on its way while it changes
	lossy.Store(true)
	r.answer = func(_ context.Context, m Message) error {
		if lossy.Load() && loss.IntN(3) == 0 {
			return errors.New("it does not arrive")
		}
		for _, n := range m.Notices {
			for _, f := range n.Former {
				delete(open, f.Severity)
			}
			open[n.Alert.Severity] = true
			if n.State == Resolved {
				delete(open, n.Alert.Severity)
			}
		}
		if lossy.Load() {
			time.Sleep(time.Duration(loss.IntN(4000)) * time.Millisecond) // in which the alert may change
		}
		if lossy.Load() && loss.IntN(3) == 0 {
			return errors.New("its answer does not arrive")
		}
		return nil
	}
	d := newDesk(t, Options{}, map[string]*receiver{"r": r})
	var now Severity
	for range 40 {
		switch roll := dice.IntN(10); {
		case roll == 0:
			d.restart()
		case roll == 1 && now != 0:
			d.resolve("a")
			now = 0
		default:
			now = Severity(1 + dice.IntN(5))
			a := simple("a")
			a.Severity = now
			if err := d.Fire(a); err != nil {
				t.Error(err)
			}
		}
		d.sleep(time.Duration(dice.IntN(3000)) * time.Millisecond)
		if dice.IntN(8) > 0 {
			continue
		}
		lossy.Store(false)
		d.sleep(time.Hour)
		if fmt.Sprint(open) != fmt.Sprint(only(now)) {
			t.Fatalf("seed %d: there fire %v, want %v", seed, open, only(now))
		}
		lossy.Store(true)
	}
}

// only is the one severity that fires; 0: none does.
func only(s Severity) map[Severity]bool {
	if s == 0 {
		return map[Severity]bool{}
	}
	return map[Severity]bool{s: true}
}

// TestNoAnswerAtTheEnd: the end of all is told again to whom it may not have reached.
func TestNoAnswerAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.grade("a", Low)
		r.answer = func(context.Context, Message) error { return errors.New("no answer") }
		d.sleep(0)
		d.grade("a", High)
		d.resolve("a")
		d.sleep(time.Minute)
		r.answer = nil
		d.sleep(10 * time.Minute)
		if want := "+low; -low -high"; r.graded() != want {
			t.Errorf("told %q, want %q", r.graded(), want)
		}
	})
}

// TestFormerEpisode: a severity of an episode whose end was taken does not end again
// in the next one, which another channel that is down keeps in the same entry.
func TestFormerEpisode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, down := newReceiver(t, list()), newReceiver(t, list())
		down.answer = func(context.Context, Message) error { return errors.New("down") }
		d := newDesk(t, Options{}, map[string]*receiver{"r": r, "down": down})
		d.grade("a", Low)
		d.resolve("a")
		d.sleep(2 * time.Second)
		d.grade("a", High)
		d.grade("a", Low)
		if want := "+low; -low; +high; -high +low"; r.graded() != want {
			t.Errorf("told %q, want %q", r.graded(), want)
		}
		down.answer = nil
		d.sleep(10 * time.Minute)
		if want := "-high +low"; down.graded() != want { // it may have taken any
			t.Errorf("told %q, want %q", down.graded(), want)
		}
	})
}
