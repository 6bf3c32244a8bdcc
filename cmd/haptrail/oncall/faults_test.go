package oncall_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
	"github.com/haptrail/haptrail/report/alert"
)

// teller is a desk whose table nobody reads, and how often something began or changed.
type teller struct {
	*oncall.Desk
	manager *alert.Manager
	fires   []string // titles
}

func (d *teller) Fire(a alert.Alert) {
	d.fires = append(d.fires, a.Title)
	d.Desk.Fire(a)
}

// firing are the titles that fire, with their severities.
func (d *teller) firing() (titles []string) {
	for _, a := range d.Firing(oncall.KindFault) {
		titles = append(titles, a.Severity.String()+" "+a.Title)
	}
	slices.Sort(titles)
	return titles
}

func newTeller(t *testing.T, dir string) *teller {
	t.Helper()
	manager, err := alert.Open(alert.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	d := &teller{Desk: oncall.New(oncall.Options{Manager: manager}), manager: manager}
	t.Cleanup(func() { _ = manager.Close() })
	return d
}

// again is a desk after a restart, which has what was told before from the disk.
func (d *teller) again(t *testing.T, dir string) *teller {
	t.Helper()
	if err := d.manager.Close(); err != nil {
		t.Fatal(err)
	}
	return newTeller(t, dir)
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func broken(what string) oncall.Fault {
	return oncall.Fault{What: []string{what}, Alert: alert.Alert{Severity: alert.Medium, Title: what + " is broken", Text: "why", Labels: map[string]string{"part": what}}}
}

// TestFaults: one that lasts is told once, with its beginning; another severity or title
// is a change, another text is none; its end is told.
func TestFaults(t *testing.T) {
	d := newTeller(t, t.TempDir())
	f := oncall.NewFaults(d, "sort", time.Minute)
	steps := []struct {
		at    time.Duration
		wrong []oncall.Fault
		want  string
		fires int
	}{
		{0, []oncall.Fault{broken("a")}, "", 0},
		{59 * time.Second, []oncall.Fault{broken("a"), broken("b")}, "", 0},
		{60 * time.Second, []oncall.Fault{broken("b"), broken("a")}, "medium a is broken", 1},
		{2 * time.Minute, []oncall.Fault{broken("a")}, "medium a is broken", 1}, // b was wrong for a moment
		{3 * time.Minute, []oncall.Fault{broken("a"), broken("b")}, "medium a is broken", 1},
		{4 * time.Minute, []oncall.Fault{broken("b")}, "medium b is broken", 2},
		{5 * time.Minute, nil, "", 2},
	}
	for _, step := range steps {
		f.Look(noon.Add(step.at), step.wrong)
		if have := strings.Join(d.firing(), ", "); have != step.want || len(d.fires) != step.fires {
			t.Errorf("after %s %q fire, told %q; want %q", step.at, have, d.fires, step.want)
		}
		for _, a := range d.Firing(oncall.KindFault) {
			if a.Labels["fault"] != "sort" || a.Labels["part"] == "" || strings.HasPrefix(a.Title, "a") && !a.StartsAt.Equal(noon) {
				t.Errorf("alert %+v", a)
			}
		}
	}
	worse, text := broken("a"), broken("a")
	worse.Alert.Severity = alert.High
	text.Alert.Text = "another try, another error"
	for i, wrong := range []oncall.Fault{broken("a"), broken("a"), text, worse, worse, text} {
		f.Look(noon.Add(10*time.Minute+time.Duration(i)*time.Minute), []oncall.Fault{wrong})
	}
	if len(d.fires) != 5 { // anew, worse, and as it was
		t.Errorf("told %q", d.fires[2:])
	}
}

// TestFaultsEarly: what may pass by itself is not told, however long it lasts; once it
// is told it goes on until it is over.
func TestFaultsEarly(t *testing.T) {
	d := newTeller(t, t.TempDir())
	f := oncall.NewFaults(d, "sort", time.Minute)
	early := broken("a")
	early.Early = true
	f.Look(noon, []oncall.Fault{early})
	f.Look(noon.Add(time.Hour), []oncall.Fault{early})
	if len(d.fires) > 0 {
		t.Errorf("told %q", d.fires)
	}
	f.Look(noon.Add(time.Hour), []oncall.Fault{broken("a")})
	f.Look(noon.Add(2*time.Hour), []oncall.Fault{early})
	if have := d.firing(); len(d.fires) != 1 || len(have) != 1 || !d.Firing(oncall.KindFault)[0].StartsAt.Equal(noon) {
		t.Errorf("told %q, %q fire", d.fires, have)
	}
}

// TestFaultsAgain: after a restart what was told goes on without being told again, or
// ends; what is of another sort is left alone.
func TestFaultsAgain(t *testing.T) {
	dir := t.TempDir()
	d := newTeller(t, dir)
	f, other := oncall.NewFaults(d, "sort", 0), oncall.NewFaults(d, "other", 0)
	f.Look(noon, []oncall.Fault{broken("goes on"), broken("ends"), broken("gets worse")})
	other.Look(noon, []oncall.Fault{broken("other")})
	d = d.again(t, dir)
	f = oncall.NewFaults(d, "sort", time.Hour)
	early, worse := broken("goes on"), broken("gets worse")
	early.Early, worse.Alert.Severity = true, alert.High
	f.Look(noon.Add(time.Minute), []oncall.Fault{early, worse, broken("new")})
	if have, want := strings.Join(d.firing(), ", "), "high gets worse is broken, medium goes on is broken, medium other is broken"; have != want || len(d.fires) != 1 {
		t.Errorf("%q fire, told %q; want %q", have, d.fires, want)
	}
	for _, a := range d.Firing(oncall.KindFault) {
		if !a.StartsAt.Equal(noon) {
			t.Errorf("alert %+v", a)
		}
	}
	d = d.again(t, dir)
	oncall.EndFaults(d, noon.Add(time.Hour), "sort", "nothing")
	if have := d.firing(); len(have) != 1 || !strings.Contains(have[0], "other") {
		t.Errorf("%q fire", have)
	}
}

// TestFaultsOracle plays faults at random, with restarts: what fires is what a plain
// recount of the whole past says.
func TestFaultsOracle(t *testing.T) {
	dice := rand.New(rand.NewPCG(5, 1))
	dir := t.TempDir()
	d := newTeller(t, dir)
	const after = 3 * time.Minute
	f := oncall.NewFaults(d, "sort", after)
	since, told := map[string]time.Time{}, map[string]bool{}
	bad := map[string]bool{}
	for step := range 2000 {
		now := noon.Add(time.Duration(step) * time.Minute)
		var wrong []oncall.Fault
		for i := range 4 {
			name := fmt.Sprint("part", i)
			if dice.IntN(4) == 0 {
				bad[name] = !bad[name]
			}
			if !bad[name] {
				delete(since, name)
				delete(told, name)
				continue
			}
			if _, known := since[name]; !known {
				since[name] = now
			}
			told[name] = told[name] || now.Sub(since[name]) >= after
			wrong = append(wrong, broken(name))
		}
		f.Look(now, wrong)
		var want []string
		for name := range told {
			if told[name] {
				want = append(want, "medium "+name+" is broken")
			}
		}
		slices.Sort(want)
		if have := d.firing(); !slices.Equal(have, want) {
			t.Fatalf("step %d: %q fire, want %q", step, have, want)
		}
		if dice.IntN(50) == 0 {
			d = d.again(t, dir)
			f = oncall.NewFaults(d, "sort", after)
			for name := range since { // what was not told yet begins anew
				if !told[name] {
					delete(since, name)
				}
			}
		}
	}
}
