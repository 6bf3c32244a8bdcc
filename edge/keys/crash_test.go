package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var errFault = errors.New("fault")

// crash is what a test's fault panics with: nothing behind it runs, as when the
// process dies.
type crash struct{ step string }

// faulty breaks the nth thing that is done to the disk: before it is done or
// after, by an error or by the death of the process. It counts them, too.
func faulty(nth int, after, die bool) (*disk, *int) {
	count := new(int)
	return &disk{fault: func(step string, done bool) error {
		if !done {
			*count++
		}
		if *count != nth || done != after {
			return nil
		}
		if die {
			panic(crash{step})
		}
		return errFault
	}}, count
}

// survive runs what may die.
func survive(do func() error) (err error, died bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(crash); !ok {
				panic(p)
			}
			died = true
		}
	}()
	return do(), false
}

// Whatever step fails, or is the process's last, before or after it took effect:
// the keys that worked still work, what the state names is on the disk, and the
// next Refresh ends where an undisturbed one does.
func TestFaultsOfRefresh(t *testing.T) {
	server := newIssuer(t, false)
	old := set(t, jwk(t, "a", rsaKey()[0].Public(), nil), jwk(t, "b", rsaKey()[1].Public(), nil))
	next := set(t, jwk(t, "b", rsaKey()[2].Public(), nil), jwk(t, "c", ecKey()["P-256"].Public(), nil))
	// prepare is a Store that knows the old set, but whose issuer has the next.
	prepare := func(first bool) *Store {
		s := open(t, t.TempDir())
		if !first {
			server.publish(old)
			refresh(t, s, source(server.URL))
		}
		server.publish(next)
		return s
	}
	for _, first := range []bool{true, false} {
		s := prepare(first)
		d, steps := faulty(0, false, false)
		s.disk = *d
		refresh(t, s, source(server.URL))
		want := kids(s.Keys())
		if *steps < 12 {
			t.Fatalf("only %d steps: the disk is written past the faults", *steps)
		}
		for nth := 1; nth <= *steps; nth++ {
			for _, c := range []struct{ after, die bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
				t.Run(fmt.Sprintf("first=%t/step=%d/after=%t/die=%t", first, nth, c.after, c.die), func(t *testing.T) {
					s := prepare(first)
					d, _ := faulty(nth, c.after, c.die)
					s.disk = *d
					err, died := survive(func() error { _, err := s.Refresh(t.Context(), source(server.URL)); return err })
					if died != c.die || !died && !errors.Is(err, errFault) {
						t.Fatalf("died %t, error %v", died, err)
					}
					if left := temporary(t, s.dir); !died && len(left) > 0 {
						t.Errorf("left over, though nobody died: %v", left)
					}
					afterFault(t, s, first, want, source(server.URL))
				})
			}
		}
	}
}

// afterFault looks at what a fault left, as another process would find it.
func afterFault(t *testing.T, s *Store, first bool, want []string, src Source) {
	t.Helper()
	again := open(t, s.dir)
	check(t, again)
	have := kids(again.Keys())
	if !first && !slices.Contains(have, "a") || !first && !slices.Contains(have, "b") {
		t.Errorf("a working key is gone: %v", have)
	}
	if first && len(have) != 0 && !slices.Equal(have, want) {
		t.Errorf("half a set: %v", have)
	}
	refresh(t, again, src)
	if have := kids(again.Keys()); !slices.Equal(have, want) {
		t.Errorf("want %v, have %v", want, have)
	}
	// Nothing of the accident stays.
	stale := time.Now().Add(-2 * staleAfter)
	filepath.WalkDir(filepath.Join(s.dir, "keys"), func(name string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			err = os.Chtimes(name, stale, stale)
		}
		return err
	})
	if _, err := again.Prune(t.Context(), []string{src.Issuer}); err != nil {
		t.Fatal(err)
	}
	check(t, again)
	if left := temporary(t, s.dir); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if pems, _ := filepath.Glob(filepath.Join(s.dir, "keys", "*", "*.pem")); len(pems) != len(want) {
		t.Errorf("%v for the keys %v", pems, want)
	}
}

// temporary lists what a write that did not end has left.
func temporary(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "keys"), func(name string, entry os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // not even the folder was made
			return nil
		}
		if err == nil && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".lock" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFaultsOfPrune(t *testing.T) {
	server := newIssuer(t, false)
	prepare := func() *Store {
		s := open(t, t.TempDir())
		for _, name := range []string{"old", "ci"} {
			server.publish(set(t, jwk(t, "a", rsaKey()[0].Public(), nil), jwk(t, "b", rsaKey()[1].Public(), nil)))
			src := source(server.URL)
			src.Issuer = name
			src.Overlap = 0
			refresh(t, s, src)
			server.publish(set(t, jwk(t, "b", rsaKey()[1].Public(), nil)))
			refresh(t, s, src)
		}
		return s
	}
	prune := func(s *Store) error { _, err := s.Prune(t.Context(), []string{"ci"}); return err }
	s := prepare()
	d, steps := faulty(0, false, false)
	s.disk = *d
	if err := prune(s); err != nil || *steps < 8 {
		t.Fatalf("%d steps, %v", *steps, err)
	}
	for nth := 1; nth <= *steps; nth++ {
		for _, c := range []struct{ after, die bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
			s := prepare()
			d, _ := faulty(nth, c.after, c.die)
			s.disk = *d
			if err, died := survive(func() error { return prune(s) }); died != c.die || !died && !errors.Is(err, errFault) {
				t.Fatalf("step %d: died %t, error %v", nth, died, err)
			}
			again := open(t, s.dir)
			check(t, again)
			if have := kids(again.Keys()); !slices.Contains(have, "b") {
				t.Errorf("step %d: %v", nth, have)
			}
			if err := prune(again); err != nil {
				t.Fatal(err)
			}
			check(t, again)
			pems, _ := filepath.Glob(filepath.Join(s.dir, "keys", "*", "*.pem"))
			if keys := again.Keys(); len(keys) != 1 || len(pems) != 1 || keys[0].Issuer != "ci" {
				t.Errorf("step %d: %v, files %v", nth, keys, pems)
			}
		}
	}
}
