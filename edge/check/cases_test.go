package check

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testPolicy(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := policy.Load(filepath.Join("testdata", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// now is when the tests take place.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// input is about a configuration that is well, but for what file holds.
func input(t testing.TB, file string) Input {
	t.Helper()
	return Input{
		Files:      []string{filepath.Join("testdata", "gate"), file},
		Policy:     testPolicy(t),
		PolicyFile: filepath.Join("testdata", "policy.yaml"),

		MasterSocket: "/run/haproxy/master.sock",
		Now:          func() time.Time { return now },
	}
}

func render(all []Finding) string {
	var b strings.Builder
	for _, f := range all {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// TestCases: each configuration in testdata/cases has its findings beside it;
// those named clean have none.
func TestCases(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join("testdata", "cases", "*.cfg"))
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".cfg"), func(t *testing.T) {
			in := input(t, file)
			if strings.HasPrefix(filepath.Base(file), "alone-") { // it has its own gate, or none

				in.Files = in.Files[1:]
			}
			found, err := Check(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(filepath.Base(file), "clean") && len(found) > 0 {
				t.Errorf("this one is to have no findings:\n%s", render(found))
			}
			golden(t, strings.TrimSuffix(file, ".cfg")+".golden", render(found))
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// parsePolicy is the policy of the tests with one text in place of another.
func parsePolicy(t testing.TB, old, new string) *policy.Policy {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "policy.yaml"))
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("%v: no %q", err, old)
	}
	p, err := policy.Parse([]byte(strings.Replace(string(text), old, new, 1)), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return p
}
