package keys

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func write(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPrune(t *testing.T) {
	l := newTimeline(t)
	l.src.Overlap = 0
	l.publish(jwk(t, "a", rsaKey()[0].Public(), nil), jwk(t, "b", rsaKey()[1].Public(), nil))
	gone, kept := l.Keys()[0].File, l.Keys()[1].File
	l.publish(jwk(t, "b", rsaKey()[1].Public(), nil))
	certificate := func(file string) string { return strings.TrimSuffix(file, ".pem") + ".crt" }
	other := "keys/other/" + strings.Repeat("B", 43) + ".pem"
	for _, name := range []string{certificate(gone), certificate(kept), other,
		"keys/ci/README", "keys/ci/" + strings.Repeat("C", 43) + ".key", "keys/mine/note.txt", "keys/UPPER/" + strings.Repeat("D", 43) + ".pem", "keys/hand.pem"} {
		write(t, l.dir, name)
	}
	temp := "keys/ci/." + strings.Repeat("E", 43) + ".pem.123"
	old := "keys/ci/." + strings.Repeat("E", 43) + ".crt.456"
	oldState := "keys/.state.json.789"
	for _, name := range []string{temp, old, oldState} {
		write(t, l.dir, name)
	}
	for _, name := range []string{old, oldState} {
		stale := time.Now().Add(-2 * staleAfter)
		if err := os.Chtimes(filepath.Join(l.dir, name), stale, stale); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Prune(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "name the issuers to keep") {
		t.Errorf("of no issuer: %v", err)
	}
	removed, err := l.Prune(t.Context(), []string{"ci", "unheard-of"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{gone, certificate(gone), other, old, oldState}
	slices.Sort(want)
	if !slices.Equal(removed, want) {
		t.Errorf("removed\n%s\nwant\n%s", strings.Join(removed, "\n"), strings.Join(want, "\n"))
	}
	for _, name := range []string{kept, certificate(kept), temp, "keys/ci/README", "keys/mine/note.txt", "keys/hand.pem", "keys/UPPER"} {
		if _, err := os.Stat(filepath.Join(l.dir, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(l.dir, "keys/other")); err == nil {
		t.Error("an empty folder stays")
	}
	check(t, l.Store)
	if removed, err := l.Prune(t.Context(), []string{"ci"}); err != nil || len(removed) != 0 {
		t.Errorf("the second time: %v, %v", removed, err)
	}
	// The issuer leaves the policy.
	removed, err = l.Prune(t.Context(), []string{"another"})
	if err != nil || !slices.Equal(removed, []string{certificate(kept), kept}) || len(l.Keys()) != 0 || len(l.Status()) != 0 {
		t.Errorf("%v, %v; %v", removed, err, l.Keys())
	}
}

// A file stays while HAProxy may name it: until the Refresh that drops its key
// was there to tell.
func TestPruneWaitsForTheDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTimeline(t)
		l.publish(jwk(t, "a", rsaKey()[0].Public(), nil), jwk(t, "b", rsaKey()[1].Public(), nil))
		file := l.Keys()[0].File
		l.publish(jwk(t, "b", rsaKey()[1].Public(), nil))
		time.Sleep(2 * time.Hour)
		if removed, err := l.Prune(t.Context(), []string{"ci"}); err != nil || len(removed) != 0 {
			t.Errorf("before: %v, %v", removed, err)
		}
		l.expect(refresh(t, l.Store, l.src), "b", "-a")
		if removed, err := l.Prune(t.Context(), []string{"ci"}); err != nil || !slices.Equal(removed, []string{file}) {
			t.Errorf("after: %v, %v", removed, err)
		}
	})
}
