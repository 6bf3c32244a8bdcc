package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestSpan reads from when until when something is announced.
func TestSpan(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct{ from, until, want string }{
		{"now", "2h", "2026-11-23 10:00:00 2026-11-23 12:00:00"},
		{"1d", "2h", "2026-11-24 10:00:00 2026-11-24 12:00:00"},
		{"2026-11-22", "2026-11-24T06:00:00+02:00", "2026-11-22 00:00:00 2026-11-24 04:00:00"},
		{"2026-11-23 09:00", "90m", "2026-11-23 09:00:00 2026-11-23 10:30:00"},
		{"now", "90d", "2026-11-23 10:00:00 2027-02-21 10:00:00"},
		{"now", "", "error: --until is missing"},
		{"now", "now", "error: --until now is over"},
		{"now", "0s", "error: --until 0s is over"},
		{"now", "-2h", "error: --until: "},
		{"-2h", "2h", "error: --from: "},
		{"now", "2026-11-23", "error: --until 2026-11-23 is over"},
		{"2026-11-20", "1d", "error: --until 1d is over"},
		{"3h", "2026-11-23T12:00:00Z", "error: --until 2026-11-23T12:00:00Z is not after --from 3h"},
		{"now", "91d", "error: --until: 91 days is too long"},
		{"100d", "1h", "error: --from 100d is more than 90 days ahead"},
		{"now", "tomorrow", "error: --until: \"tomorrow\" is neither"},
	} {
		a := announcement{From: c.from, Until: c.until}
		starts, ends, err := a.span(now)
		have := moment(starts) + " " + moment(ends)
		if err != nil {
			have = "error: " + err.Error()
		}
		if have != c.want && (err == nil || !strings.HasPrefix(have, c.want)) {
			t.Errorf("--from %s --until %s: have %s, want %s", c.from, c.until, have, c.want)
		}
	}
}

// TestWho: there is always an owner and a reason, and not too much of either.
func TestWho(t *testing.T) {
	a := announcement{Reason: " load test \n"}
	if owner, reason, err := a.who("x"); err != nil || owner == "" || reason != "load test" {
		t.Errorf("have %q, %q, error %v", owner, reason, err)
	}
	for _, a := range []announcement{{Owner: "ann", Reason: "\t"}, {Owner: "ann", Reason: strings.Repeat("x", longestText)}} {
		if _, _, err := a.who("y"); err == nil {
			t.Errorf("a reason of %d bytes: no error", len(a.Reason))
		}
	}
}

// TestPickOne: an id or its unique beginning; what was withdrawn is not found again,
// but said to be.
func TestPickOne(t *testing.T) {
	type row struct {
		id   string
		gone bool
	}
	rows := []row{{"aa11", false}, {"aa12", false}, {"aa1", false}, {"bb", true}, {"bb1", false}, {"cc", true}}
	id := func(r *row) (string, bool) { return r.id, r.gone }
	for given, want := range map[string]string{
		"aa11": "aa11", "aa1": "aa1", "bb": "bb1", "bb1": "bb1", "aa": "the ids of 3 begin so: aa11, aa12, aa1", "c": "it was withdrawn before", "x": "there is no thing",
	} {
		r, err := pickOne(rows, given, "thing", "list", id)
		if err != nil {
			if hinted := (hintedError{}); !strings.Contains(err.Error(), want) || !errors.As(err, &hinted) {
				t.Errorf("%s: %v, want %s", given, err, want)
			}
		} else if r.id != want {
			t.Errorf("%s: have %s, want %s", given, r.id, want)
		}
	}
}

// TestNewID: ids differ.
func TestNewID(t *testing.T) {
	known := map[string]bool{}
	for range 1000 {
		id := newID()
		if len(id) != 12 || known[id] {
			t.Fatalf("%q", id)
		}
		known[id] = true
	}
}

// TestAfter: what is told later counts, whatever the clock says.
func TestAfter(t *testing.T) {
	if before := time.Now().Add(time.Hour); !after(before).After(before) {
		t.Error("a clock that went back")
	}
	if old := time.Now().Add(-time.Hour); after(old).Before(old.Add(59 * time.Minute)) {
		t.Error("not now")
	}
}

func TestFactor(t *testing.T) {
	for text, want := range map[string]float64{"any": 0, "10": 10, "1.5": 1.5, "1e3": 1000} {
		if have, err := parseFactor(text); err != nil || have != want {
			t.Errorf("%q: have %v, error %v", text, have, err)
		}
	}
	for _, text := range []string{"", "1", "0", "-3", "NaN", "inf", "ten", "0x"} {
		if have, err := parseFactor(text); err == nil {
			t.Errorf("%q: have %v, want an error", text, have)
		}
	}
}

// TestRoughly: a duration in words that are not longer than they need to be.
func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 95 * time.Second: "95 s", 2 * time.Minute: "2 min", 119 * time.Minute: "119 min", 2 * time.Hour: "2 h", 47 * time.Hour: "47 h", 48 * time.Hour: "2 days",
	} {
		if have := roughly(d); have != want {
			t.Errorf("%s: have %s, want %s", d, have, want)
		}
	}
}

// TestWrapped: words stay whole and in order, and lines short.
func TestWrapped(t *testing.T) {
	text := strings.Repeat("some words and averyveryverylongone ", 12)
	lines := strings.Split(wrapped(text, 4, 40), "\n")
	for i, line := range lines {
		if limit := map[bool]int{true: 36, false: 40}[i == 0]; len(strings.TrimRight(line, " ")) > limit || i > 0 && !strings.HasPrefix(line, "    ") {
			t.Errorf("line %d: %q", i+1, line)
		}
		lines[i] = strings.TrimSpace(line)
	}
	if have := strings.Join(lines, " "); strings.TrimSpace(have) != strings.TrimSpace(text) {
		t.Errorf("have %q", have)
	}
}
