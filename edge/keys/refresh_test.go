package keys

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// timeline is a Store that reads its set from a file, on a clock of its own.
type timeline struct {
	*Store
	t    *testing.T
	file string
	src  Source
}

func newTimeline(t *testing.T) *timeline {
	t.Helper()
	file := filepath.Join(t.TempDir(), "jwks.json")
	src := source("file:" + file)
	src.Algorithms = []string{"RS256", "RS512", "ES256"}
	return &timeline{Store: open(t, t.TempDir()), t: t, file: file, src: src}
}

// publish writes the issuer's set and refreshes.
func (l *timeline) publish(keys ...map[string]any) Result {
	l.t.Helper()
	if err := os.WriteFile(l.file, set(l.t, keys...), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return refresh(l.t, l.Store, l.src)
}

// expect compares the keys that verify, and what the last step did:
// "+a" added, "~a" updated, "<a" returned, ">a" retired, "=a" replaced, "-a" dropped.
func (l *timeline) expect(result Result, usable, did string) {
	l.t.Helper()
	if have := strings.Join(kids(l.Keys()), " "); have != usable {
		l.t.Errorf("usable: want %q, have %q", usable, have)
	}
	var have []string
	for _, list := range []struct {
		mark string
		keys []Key
	}{{"+", result.Added}, {"~", result.Updated}, {"<", result.Returned}, {">", result.Retired}, {"=", result.Replaced}, {"-", result.Dropped}} {
		for _, key := range list.keys {
			have = append(have, list.mark+key.KID)
		}
	}
	if text := strings.Join(have, " "); text != did {
		l.t.Errorf("did: want %q, have %q", did, text)
	}
	if want := strings.ContainsAny(did, "+~=-"); result.Changed() != want {
		l.t.Errorf("%q: Changed is %t", did, !want)
	}
}

func TestRotation(t *testing.T) {
	a, b, c := rsaKey()[0].Public(), rsaKey()[1].Public(), ecKey()["P-256"].Public()
	synctest.Test(t, func(t *testing.T) {
		l := newTimeline(t)
		start := time.Now()
		l.expect(l.publish(jwk(t, "a", a, nil)), "a", "+a")
		time.Sleep(time.Minute)
		l.expect(l.publish(jwk(t, "a", a, nil), jwk(t, "b", b, nil)), "a b", "+b")
		if key := l.Keys()[0]; !key.Added.Equal(start) || !key.Seen.Equal(start.Add(time.Minute)) || !key.Retires.IsZero() {
			t.Errorf("%+v", key)
		}
		time.Sleep(time.Minute)
		result := l.publish(jwk(t, "b", b, nil))
		l.expect(result, "a b", ">a")
		left := time.Now()
		if retires := result.Retired[0].Retires; !retires.Equal(left.Add(time.Hour)) {
			t.Errorf("retires at %v", retires)
		}
		// Back again, as when an issuer's servers disagree, and gone again.
		time.Sleep(30 * time.Minute)
		l.expect(l.publish(jwk(t, "a", a, nil), jwk(t, "b", b, nil)), "a b", "<a")
		time.Sleep(time.Minute)
		l.expect(l.publish(jwk(t, "b", b, nil)), "a b", ">a")
		time.Sleep(time.Hour - time.Nanosecond)
		l.expect(Result{}, "a b", "")
		// Its time comes whether somebody refreshes or not; the next Refresh says so.
		time.Sleep(time.Nanosecond)
		l.expect(Result{}, "b", "")
		l.expect(refresh(t, l.Store, l.src), "b", "-a")
		// It is a new key if it comes now.
		l.expect(l.publish(jwk(t, "a", a, nil), jwk(t, "b", b, nil)), "a b", "+a")
		// All at once others.
		l.expect(l.publish(jwk(t, "c", c, nil)), "a b c", "+c >a >b")
		time.Sleep(2 * time.Hour)
		l.expect(refresh(t, l.Store, l.src), "c", "-a -b")
		// No overlap: gone at once.
		l.src.Overlap = 0
		l.expect(l.publish(jwk(t, "b", b, nil)), "b", "+b -c")
	})
}

// An overlap that is shortened holds for keys that are already leaving: that is
// how one gets rid of a stolen key.
func TestShortenedOverlap(t *testing.T) {
	a, b := rsaKey()[0].Public(), rsaKey()[1].Public()
	synctest.Test(t, func(t *testing.T) {
		l := newTimeline(t)
		l.publish(jwk(t, "a", a, nil), jwk(t, "b", b, nil))
		l.expect(l.publish(jwk(t, "b", b, nil)), "a b", ">a")
		l.src.Overlap = time.Minute
		l.expect(refresh(t, l.Store, l.src), "a b", "")
		time.Sleep(time.Minute)
		l.expect(refresh(t, l.Store, l.src), "b", "-a")
		l.src.Overlap = time.Hour
		l.expect(l.publish(jwk(t, "a", a, nil)), "a b", "+a >b")
		l.src.Overlap = 0
		l.expect(refresh(t, l.Store, l.src), "a", "-b")
	})
}

// What left the set in good order goes when its time comes, also while the
// issuer is down; what the set had last stays for as long as that lasts.
func TestOutage(t *testing.T) {
	a, b := rsaKey()[0].Public(), rsaKey()[1].Public()
	synctest.Test(t, func(t *testing.T) {
		l := newTimeline(t)
		l.publish(jwk(t, "a", a, nil), jwk(t, "b", b, nil))
		l.publish(jwk(t, "b", b, nil))
		success := time.Now()
		for n := range 24 * 365 {
			if err := os.WriteFile(l.file, []byte("<html>sorry"), 0o644); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if n > 3 && n < 24*364 { // a year, of which a few hours are looked at
				continue
			}
			result, err := l.Refresh(t.Context(), l.src)
			if err == nil {
				t.Fatal("no error")
			}
			did := ""
			if n == 0 {
				did = "-a"
			}
			l.expect(result, "b", did)
		}
		status := l.Status()[0]
		if !status.LastSuccess.Equal(success) || status.Failures != 4+24 || !status.LastFailure.Equal(time.Now()) {
			t.Errorf("%+v", status)
		}
		l.expect(l.publish(jwk(t, "b", b, nil)), "b", "")
		status = l.Status()[0]
		if status.Failures != 0 || status.Failure == "" || !status.LastSuccess.Equal(time.Now()) {
			t.Errorf("after it: %+v", status)
		}
	})
}

func TestKidWithAnotherKey(t *testing.T) {
	a, b := rsaKey()[0].Public(), rsaKey()[1].Public()
	l := newTimeline(t)
	l.publish(jwk(t, "a", a, nil), jwk(t, "b", b, nil))
	old := l.Keys()[0]
	result := l.publish(jwk(t, "a", rsaKey()[2].Public(), nil), jwk(t, "b", b, nil))
	l.expect(result, "a b", "+a =a")
	now := l.Keys()[0]
	if now.File == old.File || result.Replaced[0].File != old.File || result.Added[0].File != now.File {
		t.Errorf("was %s, is %s: %+v", old.File, now.File, result)
	}
	// The old file is HAProxy's still, until it is told.
	if _, err := os.Stat(filepath.Join(l.dir, old.File)); err != nil {
		t.Error(err)
	}
	// A kid with both keys at once names neither; the one that was known leaves in
	// good order.
	l.expect(l.publish(jwk(t, "a", rsaKey()[2].Public(), nil), jwk(t, "a", a, nil), jwk(t, "b", b, nil)), "a b", ">a")
	// Two kids of one key share its file.
	l.expect(l.publish(jwk(t, "b", b, nil), jwk(t, "b2", b, nil)), "a b b2", "+b2")
	keys := l.Keys()
	if keys[1].File != keys[2].File || keys[0].File == keys[1].File {
		t.Errorf("%+v", keys)
	}
}

func TestAlgorithmsOfThePolicy(t *testing.T) {
	a, b := rsaKey()[0].Public(), ecKey()["P-256"].Public()
	l := newTimeline(t)
	both := []map[string]any{jwk(t, "a", a, nil), jwk(t, "b", b, nil)}
	l.publish(both...)
	l.src.Algorithms = []string{"RS512", "ES256", "RS256"}
	l.expect(l.publish(both...), "a b", "")
	l.src.Algorithms = []string{"RS512", "ES256"}
	result := l.publish(both...)
	l.expect(result, "a b", "~a")
	if have := result.Updated[0].Algorithms; !slices.Equal(have, []string{"RS512"}) {
		t.Errorf("%v", have)
	}
	l.expect(l.publish(jwk(t, "a", a, map[string]any{"alg": "RS512"}), jwk(t, "b", b, nil)), "a b", "")
	l.src.Algorithms = []string{"RS512", "RS256"}
	l.expect(l.publish(both...), "a", "~a -b")
	// An algorithm that is forbidden is so at once, whether the set can be had or not.
	if err := os.Remove(l.file); err != nil {
		t.Fatal(err)
	}
	l.src.Algorithms = []string{"RS256"}
	result, err := l.Refresh(t.Context(), l.src)
	if err == nil {
		t.Error("no error")
	}
	l.expect(result, "a", "~a")
	l.src.Algorithms = []string{"ES384"}
	result, err = l.Refresh(t.Context(), l.src)
	if err == nil {
		t.Error("no error")
	}
	l.expect(result, "", "-a")
}

func TestIssuersAreApart(t *testing.T) {
	server := newIssuer(t, false)
	s := open(t, t.TempDir())
	one, two := source(server.URL), source(server.URL)
	two.Issuer = "another"
	server.publish(set(t, jwk(t, "a", rsaKey()[0].Public(), nil)))
	refresh(t, s, one)
	server.publish(set(t, jwk(t, "a", rsaKey()[1].Public(), nil), jwk(t, "0", rsaKey()[2].Public(), nil)))
	refresh(t, s, two)
	keys := s.Keys()
	have := []string{}
	for _, key := range keys {
		have = append(have, key.Issuer+" "+key.KID)
	}
	if !slices.Equal(have, []string{"another 0", "another a", "ci a"}) || keys[1].File == keys[2].File {
		t.Errorf("%v", have)
	}
	server.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	refuse(t, s, two, "503")
	status := s.Status()
	if len(status) != 2 || status[0].Issuer != "another" || status[0].Failures != 1 || status[0].Keys != 2 ||
		status[1].Issuer != "ci" || status[1].Failures != 0 || status[1].Keys != 1 || status[1].URL != server.URL {
		t.Errorf("%+v", status)
	}
	// What is handed out is the caller's.
	keys[0].Algorithms[0] = "none"
	if s.Keys()[0].Algorithms[0] == "none" {
		t.Error("a caller changed the Store")
	}
}

// A key without its file is none that HAProxy could use.
func TestKeyWithoutItsFileIsNotUsable(t *testing.T) {
	l := newTimeline(t)
	l.publish(jwk(t, "a", rsaKey()[0].Public(), nil), jwk(t, "b", rsaKey()[1].Public(), nil))
	if err := os.Remove(filepath.Join(l.dir, l.Keys()[0].File)); err != nil {
		t.Fatal(err)
	}
	if have := kids(l.Keys()); !slices.Equal(have, []string{"b"}) || l.Status()[0].Keys != 1 {
		t.Errorf("%v", have)
	}
	l.expect(refresh(t, l.Store, l.src), "a b", "")
}

func TestFailureIsOneLine(t *testing.T) {
	have := oneLine("a\nb\x1b[2J\x7f" + strings.Repeat("ö", 400))
	if strings.ContainsAny(have, "\n\x1b\x7f") || len(have) > 503 || !strings.HasPrefix(have, "a b [2J ") || strings.ContainsRune(have, '\ufffd') {
		t.Errorf("%q", have)
	}
}

// Many at once, in one process and in several Stores, as a daemon and a command
// are: each key is there in the end, and no issuer's is lost to another's.
func TestConcurrentRefreshes(t *testing.T) {
	server := newIssuer(t, false)
	server.publish(set(t, jwk(t, "a", rsaKey()[0].Public(), nil), jwk(t, "b", ecKey()["P-256"].Public(), nil)))
	dir := t.TempDir()
	shared := open(t, dir)
	var wg sync.WaitGroup
	for n := range 8 {
		s := shared
		if n%2 == 0 {
			s = open(t, dir)
		}
		wg.Go(func() {
			src := source(server.URL)
			src.Issuer = fmt.Sprint("ci", n)
			if _, err := s.Refresh(t.Context(), src); err != nil {
				t.Error(err)
			}
			shared.Keys()
			shared.Status()
		})
	}
	wg.Wait()
	if have := open(t, dir).Keys(); len(have) != 16 {
		t.Errorf("%d keys: %v", len(have), have)
	}
}

func TestLock(t *testing.T) {
	server := newIssuer(t, false)
	server.publish(set(t, jwk(t, "a", rsaKey()[0].Public(), nil)))
	s := open(t, t.TempDir())
	refresh(t, s, source(server.URL))
	file, err := os.OpenFile(filepath.Join(s.dir, "keys", ".lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, do := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := s.Refresh(ctx, source(server.URL)); return err },
		func(ctx context.Context) error { _, err := s.Prune(ctx, []string{"ci"}); return err },
	} {
		err := do(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another haptrail is at work") {
			t.Errorf("%v", err)
		}
	}
	if len(s.Keys()) != 1 { // reading waits for nobody
		t.Error("no keys while another one writes")
	}
	time.AfterFunc(50*time.Millisecond, func() { file.Close() }) // as when it dies
	refresh(t, s, source(server.URL))
}
