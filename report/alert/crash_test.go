package alert

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// firing are the keys that fire.
func firing(m *Manager) []string {
	var keys []string
	for _, a := range m.Firing() {
		keys = append(keys, a.Key)
	}
	slices.Sort(keys)
	return keys
}

// A crash may leave any beginning of the journal: then the outbox is as it was after
// the changes that are whole in it, and a receiver that was told of the others
// before ends up with the truth all the same.
func TestCrashAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	m, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "alerts.journal")
	var states []string // after each record
	note := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, fmt.Sprint(firing(m), len(m.Silences())))
	}
	note(nil)
	a := simple("a")
	note(m.Fire(a))
	note(m.Fire(simple("b")))
	a.Severity = Critical
	note(m.Update(a))
	note(m.Resolve("b", time.Time{}))
	_, err = m.Silence(Silence{Identity: "x", Until: time.Now().Add(time.Hour), Owner: "o", Reason: "r"})
	note(err)
	note(m.Fire(simple("b")))
	note(m.Resolve("a", time.Time{}))
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(whole, []byte("\n")); lines != len(states) {
		t.Fatalf("%d lines for %d changes", lines, len(states)-1)
	}
	for length := range len(whole) + 1 {
		if err := os.WriteFile(name, whole[:length], 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatalf("%d bytes: %v", length, err)
		}
		want := states[max(bytes.Count(whole[:length], []byte("\n"))-1, 0)]
		if have := fmt.Sprint(firing(m), len(m.Silences())); have != want {
			t.Fatalf("%d bytes: have %s, want %s", length, have, want)
		}
		if err := errors.Join(m.Fire(simple("after")), m.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// Anything may happen, in any order, with receivers that fail and a daemon that is
// restarted: the promises are kept (receiver checks them), and in the end each
// channel knows what is true.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { anyOrder(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func anyOrder(t *testing.T, random *rand.Rand) {
	receivers := map[string]*receiver{"list": newReceiver(t, list()), "one": newReceiver(t, one()), "few": newReceiver(t, Traits{Batch: 2, Repeat: time.Minute, Afterglow: 3 * time.Minute, Limit: people})}
	healthy := false
	for _, r := range receivers {
		random := rand.New(rand.NewPCG(random.Uint64(), 8)) // its goroutine's own
		r.answer = func(context.Context, Message) error {
			if healthy || random.IntN(2) > 0 {
				return nil
			}
			return []error{errors.New("reset"), &LaterError{Err: errors.New("429")}, ErrMisdirected}[random.IntN(3)]
		}
	}
	d := newDesk(t, Options{}, receivers)
	truth := map[string]bool{}
	fires := map[string]int{}
	for range 400 {
		key := fmt.Sprint("k", random.IntN(25))
		switch op := random.IntN(20); {
		case op < 8:
			if !truth[key] {
				fires[key]++
			}
			truth[key] = true
			d.fire(key)
		case op < 15 && truth[key]:
			delete(truth, key)
			d.resolve(key)
		case op < 17 && truth[key]:
			a := simple(key)
			a.Severity = Low + Severity(random.IntN(4))
			if err := d.Update(a); err != nil {
				t.Error(err)
			}
		case op == 17:
			d.restart()
		}
		d.sleep(time.Duration(random.ExpFloat64() * float64(5*time.Second)))
	}
	healthy = true
	d.sleep(3 * time.Hour)
	for name, r := range receivers {
		for key := range truth {
			if !r.open[key] && name != "one" { // there it may be part of a storm
				t.Errorf("%s does not know that %s fires", name, key)
			}
		}
		for key := range r.open {
			if !truth[key] && name != "one" {
				t.Errorf("%s does not know that %s is over", name, key)
			}
		}
		if r.busiest() > r.traits.Limit.PerMinute && name != "one" { // resolves are free there
			t.Errorf("%s: %d messages in a minute", name, r.busiest())
		}
	}
	for key := range truth {
		d.resolve(key)
	}
	d.sleep(24 * time.Hour)
	for name, r := range receivers {
		for key, n := range r.fires {
			if r.resolves[key] != n || name != "one" && n > fires[key] {
				t.Errorf("%s: %s was fired %d times, told %d times, resolved %d times", name, key, fires[key], n, r.resolves[key])
			}
		}
		if len(r.open) > 0 {
			t.Errorf("%s: open are %v", name, r.open)
		}
	}
	d.expectMetric("haptrail_alerts_outbox_entries", 0)
}

// A disk that has damaged a record anywhere: the daemon starts, says so, keeps the
// file, and knows all but that record.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	m, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	a := simple("a")
	a.Severity = Critical
	if err := errors.Join(m.Fire(simple("a")), m.Fire(simple("b")), m.Update(a), m.Resolve("b", time.Time{}), m.Fire(simple("c")), m.Close()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "alerts.journal")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for i, want := range map[int]string{1: "[a c]", 2: "[a c]", 3: "[a c]", 4: "[a b c]"} {
		damaged := slices.Clone(lines)
		damaged[i] = append([]byte("X"), lines[i][1:]...)
		if err := os.WriteFile(name, bytes.Join(damaged, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		d := newDesk(t, Options{Dir: dir}, nil)
		if have := fmt.Sprint(firing(d.Manager)); have != want || !strings.Contains(d.log.String(), "damaged") {
			t.Errorf("without record %d: have %s, log %s", i, have, d.log)
		}
		d.expectMetric("haptrail_alerts_journal_damaged_total", 1)
		if kept, err := os.ReadFile(name + ".damaged"); err != nil || !bytes.Equal(kept, bytes.Join(damaged, nil)) {
			t.Errorf("the damaged file is not kept: %v", err)
		}
		d.restart() // whole again
		d.expectMetric("haptrail_alerts_journal_damaged_total", 0)
		d.stop()
	}
}

// The journal is rewritten before it grows large, and nothing changes by that.
func TestRewritten(t *testing.T) {
	dir := t.TempDir()
	m, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c"} {
		if err := m.Fire(simple(key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Resolve("b", time.Time{}); err != nil {
		t.Fatal(err)
	}
	a := simple("a")
	a.Text = strings.Repeat("x", 4000)
	rewritten := false
	for i := range 700 {
		a.Numbers["n"] = float64(i)
		before := m.outbox.journal.Size()
		m.mu.Lock()
		err := m.outbox.do(record{Op: opUpdate, Time: time.Now(), Key: "a", Alert: &a}) // without the fsync of each
		m.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		rewritten = rewritten || m.outbox.journal.Size() < before
		if size := m.outbox.journal.Size(); size > minRewrite+10_000 {
			t.Fatalf("%d bytes", size)
		}
	}
	version := m.outbox.version
	_ = m.Close()
	if m, err = Open(Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if have := firing(m); !rewritten || fmt.Sprint(have) != "[a c]" || m.outbox.entries["a"].Alert.Numbers["n"] != 699 || m.outbox.version != version {
		t.Errorf("rewritten %t, have %v, version %d of %d", rewritten, have, m.outbox.version, version)
	}
}

// A disk that fails: the alert is told all the same, the caller hears of it, and
// when the disk works again all is kept that fires.
func TestDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, list())
		d := newDesk(t, Options{}, map[string]*receiver{"r": r})
		d.fire("kept")
		d.sleep(time.Second)
		hidden := d.options.Dir + ".hidden"
		if err := os.Rename(d.options.Dir, hidden); err != nil { // no new file can be made there
			t.Fatal(err)
		}
		d.outbox.journal.Break(errors.New("no space left on device"))
		if err := d.Fire(simple("memory")); err == nil || !strings.Contains(err.Error(), "in memory only") {
			t.Errorf("have %v", err)
		}
		d.sleep(10 * time.Second)
		r.expect("+kept; +memory")
		if err := os.Rename(hidden, d.options.Dir); err != nil {
			t.Fatal(err)
		}
		d.fire("again")
		d.sleep(10 * time.Second)
		d.restart()
		d.sleep(10 * time.Second)
		if have := fmt.Sprint(firing(d.Manager)); have != "[again kept memory]" {
			t.Errorf("have %v", have)
		}
		r.expect("+kept; +memory; +again")
	})
}

// envChild has a child of this test fire alerts in a folder until it is killed.
const envChild = "HAPTRAIL_ALERT_CHILD"

// TestKilled: kill -9 at any moment, many times. Whatever Fire or Resolve has
// returned for is there afterwards.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(envChild); dir != "" {
		child(dir)
	}
	dir := t.TempDir()
	truth := map[string]bool{}
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), envChild+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(200+70*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		last := answers(out, truth)
		_ = cmd.Wait()
		kill.Stop()
		m, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for _, key := range firing(m) {
			have[key] = true
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		for key, fires := range truth {
			if have[key] != fires && key != last { // the one after the last answer may be there or not
				t.Errorf("round %d: %s fires: %t, and it was answered %t", round, key, have[key], fires)
			}
		}
		for key := range have {
			if !truth[key] && key != last {
				t.Errorf("round %d: %s fires, and nobody fired it", round, key)
			}
		}
		truth = have
	}
	if len(truth) < 10 {
		t.Errorf("only %d alerts: the child did next to nothing", len(truth))
	}
}

// answers reads what the child did: "try KEY", then "+KEY" or "-KEY" when it is
// durable. The key that was tried last may be in either state.
func answers(out io.Reader, truth map[string]bool) (last string) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if key, ok := strings.CutPrefix(line, "try "); ok {
			last = key
		} else if line != "" {
			truth[line[1:]] = line[0] == '+'
		}
	}
	return last
}

// child fires and resolves, with a channel that takes all, until it is killed.
func child(dir string) {
	m, err := Open(Options{Dir: dir, Channels: []Channel{{Name: "r", Sender: newReceiver(&testing.B{}, list())}}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() { _ = m.Run(context.Background()) }()
	for i := 0; ; i++ {
		key := fmt.Sprintf("%d-%d", os.Getpid(), i)
		fmt.Println("try " + key)
		a := simple(key)
		a.Text = strings.Repeat("so that rewriting happens too ", 100)
		if err := m.Fire(a); err != nil {
			os.Exit(1)
		}
		fmt.Println("+" + key)
		if i%3 > 0 {
			fmt.Println("try " + key)
			if err := m.Resolve(key, time.Time{}); err != nil {
				os.Exit(1)
			}
			fmt.Println("-" + key)
		}
	}
}
