// Package schematest gives tests the real engine, with haptrail's tables made,
// in a directory of its own.
package schematest

import (
	"errors"
	"testing"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/embedded"
)

// Open starts the embedded engine in a temporary directory and makes the
// tables. The test is skipped where libchdb is not installed. One process has
// one engine at a time: such tests of a package do not run in parallel.
func Open(t testing.TB) *schema.Store {
	t.Helper()
	store := OpenEmpty(t)
	if _, err := store.Migrate(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	return store
}

// OpenEmpty is Open without the tables.
func OpenEmpty(t testing.TB) *schema.Store {
	t.Helper()
	NeedEngine(t)
	store, err := schema.Open(t.Context(), "embedded:"+t.TempDir(), schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	return store
}

// NeedEngine skips the test where libchdb is not installed.
func NeedEngine(t testing.TB) {
	t.Helper()
	if _, err := embedded.Locate(); errors.Is(err, embedded.ErrNoLibrary) {
		t.Skipf("no embedded engine: %v", err)
	}
}
