package burst

import (
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
)

// matches is match by a regular expression.
func matches(pattern, key string) bool {
	parts := strings.Split(pattern, "*")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\z`).MatchString(key)
}

func TestMatch(t *testing.T) {
	parts := []string{"", "*", "a", "b", "ab", "**", "a*", "*b"}
	keys := []string{"", "a", "b", "ab", "ba", "aab", "abab", "abba", "a*b", "a\nb"}
	for _, x := range parts {
		for _, y := range parts {
			for _, z := range parts {
				for _, key := range keys {
					if pattern := x + y + z; match(pattern, key) != matches(pattern, key) {
						t.Errorf("%q fits %q is %v", key, pattern, match(pattern, key))
					}
				}
			}
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("ci/*", "ci/one")
	f.Add("*a*b*", "xxaxxbxx")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		if len(pattern)+len(key) > 200 { // the regular expressions would take all the time
			return
		}
		valid := strings.ToValidUTF8(pattern, "?") // a regular expression has to be
		if key = strings.ToValidUTF8(key, "?"); match(valid, key) != matches(valid, key) {
			t.Errorf("%q fits %q is %v", key, valid, match(valid, key))
		}
	})
}

func TestIncrease(t *testing.T) {
	const top32, top64 = math.MaxUint32, math.MaxUint64
	for _, c := range []struct {
		name        string
		before, now uint64
		width       int
		want        uint32
	}{
		{"nothing", 7, 7, 32, 0},
		{"up", 7, 12, 32, 5},
		{"set anew", 1_000, 12, 32, 12},
		{"cleared", 1_000, 0, 32, 0},
		{"wrapped", top32 - 4, 5, 32, 10},
		{"wrapped to 0", top32, 0, 32, 1},
		{"set anew, though it was high", top32 - 4, top32 / 2, 32, top32 / 2},
		{"set anew from the middle", top32 / 2, 5, 32, 5},
		{"64 bits do not wrap at 32", top32 - 4, 5, 64, 5},
		{"64 bits wrap", top64 - 4, 5, 64, 10},
		{"more than fits", 0, top64, 64, top32},
		{"from zero to the top", 0, top32, 32, top32},
		{"wider than it is said to be", 1 << 40, 5, 32, 5},
	} {
		if have := Increase(c.before, c.now, c.width); have != c.want {
			t.Errorf("%s: from %d to %d of %d bits: want %d, have %d", c.name, c.before, c.now, c.width, c.want, have)
		}
	}
}

// TestWithdraw: what was announced for a pattern no longer counts, and nothing else
// is taken back.
func TestWithdraw(t *testing.T) {
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, pattern := range []string{"a*", "b"} {
		if err := d.Expect(pattern, begin, begin.Add(time.Hour), math.Inf(1)); err != nil {
			t.Fatal(err)
		}
	}
	d.Withdraw("a*")
	d.Withdraw("nobody")
	for key, want := range map[string]int{"a1": 1, "b": 0} {
		starts := 0
		for second := range int64(20) {
			for _, v := range d.Step(key, begin.Unix()+second, 500) {
				if v.Kind == Start {
					starts++
				}
			}
		}
		if starts != want {
			t.Errorf("%s: %d bursts, want %d", key, starts, want)
		}
	}
}
