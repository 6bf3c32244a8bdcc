package syslog

import "time"

// daysBefore are the days of a common year before each month.
var daysBefore = [13]int{0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334}

func leap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// daysSinceEpoch returns the days from 1970-01-01 to a date of the proleptic
// Gregorian calendar, and false when there is no such date. time.Date would
// take February 30 for March 2, and is slower.
func daysSinceEpoch(year, month, day int) (int64, bool) {
	if month < 1 || month > 12 || day < 1 || day > 31 {
		return 0, false
	}
	long := month == 2 && leap(year)
	last := 31
	if month < 12 {
		last = daysBefore[month+1] - daysBefore[month]
	}
	if day > last && !(long && day == 29) {
		return 0, false
	}
	y := int64(year) - 1
	days := y*365 + y/4 - y/100 + y/400 - 719162
	if year == 0 {
		days = -719528
	}
	if month > 2 && leap(year) {
		days++
	}
	return days + int64(daysBefore[month]+day-1), true
}

// two returns the number of two decimal digits, -1 when they are none.
func two(a, b byte) int {
	a -= '0'
	b -= '0'
	if a > 9 || b > 9 {
		return -1
	}
	return int(a)*10 + int(b)
}

// clock returns the seconds of "hh:mm:ss", -1 when b is not that. b has at
// least 8 bytes. There is no second 60 in syslog (RFC 5424, section 6.2.3).
func clock(b []byte) int {
	_ = b[7]
	h, m, s := two(b[0], b[1]), two(b[3], b[4]), two(b[6], b[7])
	if uint(h) > 23 || uint(m) > 59 || uint(s) > 59 || b[2] != ':' || b[5] != ':' {
		return -1
	}
	return h*3600 + m*60 + s
}

// isoDate reads "yyyy-mm-dd" as days since the epoch.
func isoDate(b []byte) (int64, bool) {
	_ = b[9]
	century, year := two(b[0], b[1]), two(b[2], b[3])
	if century < 0 || year < 0 || b[4] != '-' || b[7] != '-' {
		return 0, false
	}
	return daysSinceEpoch(century*100+year, two(b[5], b[6]), two(b[8], b[9]))
}

// fraction reads ".digits" (1 to 9 of them) as nanoseconds; n is 0 without.
func fraction(b []byte) (nsec int64, n int) {
	if len(b) < 2 || b[0] != '.' {
		return 0, 0
	}
	if len(b) > 7 && (b[7] < '0' || b[7] > '9') { // HAProxy's six digits
		x, y, z := two(b[1], b[2]), two(b[3], b[4]), two(b[5], b[6])
		if x|y|z >= 0 {
			return int64(x*10000+y*100+z) * 1000, 7
		}
	}
	n = 1
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		nsec = nsec*10 + int64(b[n]-'0')
		if n++; n > 10 {
			return 0, 0
		}
	}
	if n == 1 {
		return 0, 0
	}
	for i := n; i < 10; i++ {
		nsec *= 10
	}
	return nsec, n
}

// isoTime reads the RFC 3339 time at the start of b; n is its length, 0 when
// there is none. The offset may lack its colon (journalctl -o short-iso).
func isoTime(b []byte) (t time.Time, n int) {
	if len(b) < 20 || b[10] != 'T' {
		return t, 0
	}
	days, ok := isoDate(b)
	sec := clock(b[11:19])
	if !ok || sec < 0 {
		return t, 0
	}
	n = 19
	nsec, f := fraction(b[n:])
	n += f
	offset, o := isoOffset(b[n:])
	if o == 0 {
		return t, 0
	}
	return time.Unix(days*86400+int64(sec-offset), nsec).UTC(), n + o
}

// isoOffset reads "Z", "+hh:mm" or "+hhmm" as seconds east of UTC; n is 0
// when it is none of them.
func isoOffset(b []byte) (sec, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	if len(b) >= 6 && string(b[:6]) == "+00:00" {
		return 0, 6
	}
	if b[0] == 'Z' {
		return 0, 1
	}
	if len(b) < 5 || (b[0] != '+' && b[0] != '-') {
		return 0, 0
	}
	at := 3
	if b[3] == ':' {
		at = 4
	}
	if len(b) < at+2 {
		return 0, 0
	}
	h, m := two(b[1], b[2]), two(b[at], b[at+1])
	if uint(h) > 23 || uint(m) > 59 {
		return 0, 0
	}
	sec = h*3600 + m*60
	if b[0] == '-' {
		sec = -sec
	}
	return sec, at + 2
}

// unixTime reads "seconds.micros" (journalctl -o short-unix).
func unixTime(b []byte) (t time.Time, n int) {
	if len(b) < 17 || b[10] != '.' {
		return t, 0
	}
	var sec int64
	for _, c := range b[:10] {
		if c < '0' || c > '9' {
			return t, 0
		}
		sec = sec*10 + int64(c-'0')
	}
	nsec, f := fraction(b[10:])
	if f == 0 {
		return t, 0
	}
	return time.Unix(sec, nsec).UTC(), 10 + f
}

// stamp is a time of RFC 3164: it has no year and no zone.
type stamp struct {
	month, day, sec int
	nsec            int64
}

// bsdTime reads "Mmm dd hh:mm:ss[.fraction]" at the start of b, the day padded
// with a blank or a zero; n is its length, 0 when there is none.
func bsdTime(b []byte) (s stamp, n int) {
	if len(b) < 15 || b[3] != ' ' || b[6] != ' ' {
		return s, 0
	}
	s.month = month(b)
	tens := b[4]
	if tens == ' ' {
		tens = '0'
	}
	s.day = two(tens, b[5])
	s.sec = clock(b[7:15])
	// Every day that some year has; 2000 was a leap year.
	if _, ok := daysSinceEpoch(2000, s.month, s.day); !ok || s.sec < 0 {
		return s, 0
	}
	n = 15
	if len(b) > n && b[n] == '.' {
		var f int
		if s.nsec, f = fraction(b[n:]); f == 0 {
			return s, 0
		}
		n += f
	}
	return s, n
}

// month returns 1 to 12 for an English abbreviation, 0 for anything else.
func month(b []byte) int {
	switch string(b[:3]) {
	case "Jan":
		return 1
	case "Feb":
		return 2
	case "Mar":
		return 3
	case "Apr":
		return 4
	case "May":
		return 5
	case "Jun":
		return 6
	case "Jul":
		return 7
	case "Aug":
		return 8
	case "Sep":
		return 9
	case "Oct":
		return 10
	case "Nov":
		return 11
	case "Dec":
		return 12
	}
	return 0
}

// near returns the time with the year that brings it nearest to now: a message
// of New Year's Eve read on New Year's Day is of the year before, one of a
// sender whose clock runs ahead is of the next. February 29 looks for the
// nearest year that has one.
func (s stamp) near(now time.Time, zone *time.Location) time.Time {
	const surelyNearest = 182 * 86400
	at, year := now.Unix(), now.UTC().Year()
	days, ok := daysSinceEpoch(year, s.month, s.day)
	best := days*86400 + int64(s.sec)
	if ok && abs(best-at) <= surelyNearest {
		return inZone(best, s.nsec, zone)
	}
	// 8, as 1896 and 1904 are neighbours among the leap years.
	for y := year - 8; y <= year+8; y++ {
		days, exists := daysSinceEpoch(y, s.month, s.day)
		sec := days*86400 + int64(s.sec)
		if exists && (!ok || abs(sec-at) < abs(best-at)) {
			best, ok = sec, true
		}
	}
	return inZone(best, s.nsec, zone)
}

func abs(n int64) int64 { return max(n, -n) }

// inZone returns the instant at which a clock in zone (nil is UTC) shows what
// a clock in UTC shows at sec. It treats an hour that summer time skips or
// repeats as time.Date does, in a third of its time.
func inZone(sec, nsec int64, zone *time.Location) time.Time {
	if zone != nil && zone != time.UTC {
		_, guess := time.Unix(sec, 0).In(zone).Zone()
		_, offset := time.Unix(sec-int64(guess), 0).In(zone).Zone()
		sec -= int64(offset)
	}
	return time.Unix(sec, nsec).UTC()
}
