package ingest

import (
	"maps"
	"sync"
	"time"
)

// Marks say what is remarkable about a stored row; they are a bit set while a
// line is judged and a list of words in the column marks.
type Marks uint8

// The marks, in the order in which the column names them.
const (
	MarkTruncated  Marks = 1 << iota // the line was cut; what could be read is there
	MarkTimeFuture                   // the line's time is more than a day after its arrival
	MarkTimePast                     // the line's time is before HAProxy existed, or (live) a day before its arrival
	MarkClockSkew                    // (live) the line's time is minutes away from its arrival: see the setting zone
	MarkTimeHeader                   // the line has no time; the syslog header's, or the arrival's, stands in
)

var markNames = [...]string{"truncated", "time_future", "time_past", "clock_skew", "time_header"}

// appendNames appends the column's text: the marks' names, comma-separated.
func (m Marks) appendNames(dst []byte) []byte {
	for i, name := range markNames {
		if m&(1<<i) == 0 {
			continue
		}
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, name...)
	}
	return dst
}

const (
	day  = int64(24 * time.Hour / time.Microsecond)
	skew = int64(5 * time.Minute / time.Microsecond)
)

// firstHAProxy is the day of HAProxy's first release, 1.0: no log line is older.
var firstHAProxy = time.Date(2001, 12, 16, 0, 0, 0, 0, time.UTC).UnixMicro()

// The column time is a DateTime64(6), which holds the years 1900 to 2299.
var (
	earliest = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	latest   = time.Date(2299, 12, 31, 0, 0, 0, 0, time.UTC).UnixMicro()
)

// clock judges the times of lines. requests is partitioned by day, so times
// that senders make up would make partitions without end: only so many days
// beyond the plausible are let through in a day's time, the rest is rejected by
// reason. It is safe for concurrent use.
type clock struct {
	live  bool // lines arrive as they are written: compare with the arrival
	limit int

	mu sync.Mutex // guards what follows
	// future and past hold the implausible days that were let through, and when.
	future, past map[int64]int64
}

// DefaultStrangeDays is how many days in the future, and how many in the far
// past, are stored before further ones are rejected.
const DefaultStrangeDays = 8

// plausible is how late a line may come on a live stream: as long as a relay's
// disk may have kept it.
const plausible = 400 * day

func newClock(live bool, limit int) *clock {
	return &clock{live: live, limit: limit, future: map[int64]int64{}, past: map[int64]int64{}}
}

// judge compares a line's time (when it was written, so a request's end) with
// its arrival, both in microseconds. reason is "" or why the line is rejected.
func (c *clock) judge(at, written, received int64) (marks Marks, reason string) {
	switch {
	case at < earliest || at > latest:
		return 0, ReasonTime
	case at > received+day:
		return MarkTimeFuture, c.admit(c.future, dayOf(at), received)
	case at < firstHAProxy, c.live && at < received-plausible:
		return MarkTimePast, c.admit(c.past, dayOf(at), received)
	case !c.live:
		return 0, ""
	case written < received-day:
		return MarkTimePast, ""
	case written > received+skew || written < received-skew:
		return MarkClockSkew, ""
	}
	return 0, ""
}

// dayOf is the number of a time's day, also before 1970.
func dayOf(at int64) int64 {
	if at < 0 {
		at -= day - 1
	}
	return at / day
}

// admit lets a day through that is known, or for which there is room. A day
// makes room for another a day after it was let through.
func (c *clock) admit(days map[int64]int64, today, received int64) (reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := days[today]; known {
		return ""
	}
	if len(days) >= c.limit {
		maps.DeleteFunc(days, func(_, since int64) bool { return since < received-day })
	}
	if len(days) >= c.limit {
		return ReasonStrangeDay
	}
	days[today] = received
	return ""
}
