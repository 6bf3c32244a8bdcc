package oncall_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
)

// TestFaultsPage: the page on alerts has each sort of faults, and what one says.
func TestFaultsPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "<!-- faults -->")
	table, after, _ := strings.Cut(table, "<!-- end -->")
	var have []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(table, -1) {
		have = append(have, m[1])
	}
	want := append(oncall.GateFaults(), oncall.FaultStickTable)
	slices.Sort(want)
	if slices.Sort(have); !slices.Equal(slices.Compact(have), want) {
		t.Errorf("the page has %q, want %q", have, want)
	}
	synctest.Test(t, func(t *testing.T) {
		g := newGateRig(t, t.TempDir())
		h := health("github", 2, 2)
		h.URL = "https://token.actions.githubusercontent.com/.well-known/jwks"
		h.LastSuccess = time.Date(2026, 11, 24, 1, 21, 2, 0, time.UTC)
		h.Err = errors.New("issuer github: " + h.URL + ": the answer is 503 Service Unavailable")
		g.round(nil, h)
		g.after(time.Minute)
		a := g.Firing(oncall.KindFault)[0]
		for line := range strings.Lines(a.Key + "]\n" + a.Text + "\n" + a.Title + "\nMore: " + a.Command) {
			if !strings.Contains(after, strings.TrimSpace(line)) {
				t.Errorf("the page does not say %q", line)
			}
		}
	})
}
