package ingest

import (
	"testing"
	"time"
)

func at(s string) int64 {
	t, err := time.Parse(time.DateTime, s)
	if err != nil {
		panic(err)
	}
	return t.UnixMicro()
}

func TestClockJudges(t *testing.T) {
	now := at("2026-11-23 10:00:00")
	for _, c := range []struct {
		name, time string
		live       bool
		marks      Marks
		reason     string
	}{
		{"now", "2026-11-23 10:00:00", true, 0, ""},
		{"a little late", "2026-11-23 09:55:01", true, 0, ""},
		{"an hour off, as with a wrong zone", "2026-11-23 09:00:00", true, MarkClockSkew, ""},
		{"an hour ahead", "2026-11-23 11:00:00", true, MarkClockSkew, ""},
		{"two days late", "2026-11-21 10:00:00", true, MarkTimePast, ""},
		{"two days ahead", "2026-11-25 10:00:01", true, MarkTimeFuture, ""},
		{"a file of last year", "2025-11-23 10:00:00", false, 0, ""},
		{"a file from the future", "2100-01-01 00:00:00", false, MarkTimeFuture, ""},
		{"a file from before HAProxy", "1999-12-31 00:00:00", false, MarkTimePast, ""},
		{"1999, live", "1999-12-31 00:00:00", true, MarkTimePast, ""},
		{"beyond the column", "1899-12-31 00:00:00", true, 0, ReasonTime},
		{"beyond the column, above", "2300-01-01 00:00:00", false, 0, ReasonTime},
	} {
		marks, reason := newClock(c.live, 8).judge(at(c.time), at(c.time), now)
		if marks != c.marks || reason != c.reason {
			t.Errorf("%s: marks %q, reason %q; want %q, %q", c.name, marks.appendNames(nil), reason, c.marks.appendNames(nil), c.reason)
		}
	}
}

// A sender that makes up times makes so many partitions and no more.
func TestClockBoundsStrangeDays(t *testing.T) {
	now := at("2026-11-23 10:00:00")
	for _, c := range []struct {
		name string
		live bool
		from int64
		want int
	}{
		{"future, live", true, at("2100-01-01 00:00:00"), 8},
		{"future, file", false, at("2100-01-01 00:00:00"), 8},
		{"past, live", true, at("1999-01-01 00:00:00"), 8},
		{"far past, file", false, at("1951-01-01 00:00:00"), 8},
		{"past, file: an archive has many days", false, at("2015-01-01 00:00:00"), 1000},
		{"last year, live: a relay's disk", true, at("2025-10-25 00:00:00"), 395},
	} {
		clock := newClock(c.live, 8)
		stored := 0
		for n := range int64(1000) {
			if c.from+n*day > now && c.from < now {
				break
			}
			_, first := clock.judge(c.from+n*day, c.from+n*day, now)
			_, again := clock.judge(c.from+n*day+1, c.from+n*day+1, now)
			if first != again {
				t.Fatalf("%s: one day is judged %q and then %q", c.name, first, again)
			}
			if first == "" {
				stored++
			} else if first != ReasonStrangeDay {
				t.Fatalf("%s: reason %q", c.name, first)
			}
		}
		if stored != c.want {
			t.Errorf("%s: %d days stored, want %d", c.name, stored, c.want)
		}
	}
}

func TestStrangeDaysMakeRoomAfterADay(t *testing.T) {
	now := at("2026-11-23 10:00:00")
	c := newClock(true, 2)
	far := at("2100-01-01 00:00:00")
	for n, want := range []string{"", "", ReasonStrangeDay, ReasonStrangeDay} {
		if _, reason := c.judge(far+int64(n)*day, far, now); reason != want {
			t.Errorf("day %d: %q, want %q", n, reason, want)
		}
	}
	if _, reason := c.judge(at("1990-01-01 00:00:00"), far, now); reason != "" {
		t.Errorf("the past pays for the future: %q", reason)
	}
	if _, reason := c.judge(far+9*day, far, now+day+1); reason != "" {
		t.Errorf("a day later: %q", reason)
	}
}

func TestLongRequestIsNoSkew(t *testing.T) {
	// HAProxy logs a request when it ends, with the time at which it began.
	began, ended := at("2026-11-23 07:00:00"), at("2026-11-23 10:00:00")
	if marks, _ := newClock(true, 8).judge(began, ended, ended); marks != 0 {
		t.Errorf("marks %q", marks.appendNames(nil))
	}
}

func TestMarkNames(t *testing.T) {
	if have := string((MarkTruncated | MarkTimeHeader).appendNames(nil)); have != "truncated,time_header" {
		t.Errorf("have %q", have)
	}
}
