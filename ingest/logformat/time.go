package logformat

import "time"

const (
	dateLen     = len("23/Nov/2026:11:10:03.499")
	dateZoneLen = len("23/Nov/2026:11:10:03 +0000")
	minuteLen   = len("23/Nov/2026:11:10")

	// maxEpoch is the last second of the year 9999.
	maxEpoch = 253402300799
)

// readDate reads %t or %tr: local time of Options.Zone to the millisecond.
func (r *Record) readDate(o *op, line []byte, pos int) (int, ParseReason) {
	if len(line)-pos < dateLen {
		if plausibleDate(line[pos:]) {
			return pos, Short
		}
		return pos, BadTime
	}
	us, ok := r.localTime(line[pos : pos+dateLen])
	if !ok {
		return pos, BadTime
	}
	r.setInt(o.field, us)
	return pos + dateLen, OK
}

// plausibleDate tells whether b can be the beginning of a date.
func plausibleDate(b []byte) bool {
	const shape = "00/Aaa/0000:00:00:00.000"
	for i, c := range b {
		if ok := shape[i] == '0' && isDigit(c) || shape[i]|0x20 == 'a' && isAlpha(c) || shape[i] == c; !ok {
			return false
		}
	}
	return true
}

// localTime turns "23/Nov/2026:11:10:03.499" into microseconds since the epoch.
func (r *Record) localTime(v []byte) (us int64, ok bool) {
	_ = v[dateLen-1]
	if *(*[minuteLen]byte)(v) != r.minute.text || r.minute.zone != r.format.opts.Zone {
		if !r.setMinute(v) {
			return 0, false
		}
	}
	s1, s2 := v[18]-'0', v[19]-'0'
	m1, m2, m3 := v[21]-'0', v[22]-'0', v[23]-'0'
	if v[17] != ':' || s1 > 6 || s2 > 9 || v[20] != '.' || m1 > 9 || m2 > 9 || m3 > 9 {
		return 0, false
	}
	ms := (int64(s1)*10+int64(s2))*1000 + int64(m1)*100 + int64(m2)*10 + int64(m3)
	return r.minute.start + ms*1000, true
}

// setMinute fills the cache of the minute that v begins with.
func (r *Record) setMinute(v []byte) bool {
	local, ok := parseMinute(v)
	if !ok {
		return false
	}
	zone := r.format.opts.Zone
	copy(r.minute.text[:], v)
	r.minute.zone = zone
	r.minute.start = inZone(local, zone) * 1e6
	return true
}

// inZone turns a local time, given as if it were UTC, into the instant. An hour
// that a clock set back repeats is taken as the first of the two; one that a
// clock set forward leaves out is read with the offset of before.
func inZone(local int64, zone *time.Location) int64 {
	if zone == time.UTC {
		return local
	}
	const day = 24 * 60 * 60
	before, after := offsetAt(local-day, zone), offsetAt(local+day, zone)
	switch {
	case before == after:
		return local - before
	case offsetAt(local-before, zone) == before:
		return local - before
	case offsetAt(local-after, zone) == after:
		return local - after
	}
	return local - before
}

func offsetAt(unix int64, zone *time.Location) int64 {
	_, offset := time.Unix(unix, 0).In(zone).Zone()
	return int64(offset)
}

// parseMinute reads "23/Nov/2026:11:10" as seconds since the epoch.
func parseMinute(v []byte) (int64, bool) {
	day, ok1 := twoDigits(v[0:])
	month := monthOf(v[3:6])
	century, ok2 := twoDigits(v[7:])
	year, ok3 := twoDigits(v[9:])
	hour, ok4 := twoDigits(v[12:])
	minute, ok5 := twoDigits(v[15:])
	if !(ok1 && ok2 && ok3 && ok4 && ok5) || v[2] != '/' || v[6] != '/' || v[11] != ':' || v[14] != ':' ||
		month == 0 || day < 1 || hour > 23 || minute > 59 {
		return 0, false
	}
	year += century * 100
	t := time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
	return t.Unix(), t.Day() == day // the 31st of April has become the 1st of May
}

func twoDigits(v []byte) (int, bool) {
	a, b := v[0]-'0', v[1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

func monthOf(v []byte) time.Month {
	const names = "JanFebMarAprMayJunJulAugSepOctNovDec"
	for m := range 12 {
		if string(v[:3]) == names[3*m:3*m+3] {
			return time.Month(m + 1)
		}
	}
	return 0
}

// zonedTime turns "23/Nov/2026:11:10:03 +0000" into microseconds.
func zonedTime(v []byte) (us int64, ok bool) {
	if len(v) != dateZoneLen || v[17] != ':' || v[20] != ' ' || v[21] != '+' && v[21] != '-' {
		return 0, false
	}
	local, ok := parseMinute(v)
	second, ok1 := twoDigits(v[18:])
	hours, ok2 := twoDigits(v[22:])
	minutes, ok3 := twoDigits(v[24:])
	if !(ok && ok1 && ok2 && ok3) || second > 60 || minutes > 59 {
		return 0, false
	}
	offset := int64(hours*60+minutes) * 60
	if v[21] == '-' {
		offset = -offset
	}
	return (local + int64(second) - offset) * 1e6, true
}

// assignTime stores the times other than %t and %tr.
func (r *Record) assignTime(o *op, v []byte) ParseReason {
	var n int64
	ok := false
	switch o.grammar {
	case gDate:
		if len(v) == dateLen {
			n, ok = r.localTime(v)
		}
	case gDateZone:
		n, ok = zonedTime(v)
	case gEpoch:
		n, ok = epochSeconds(v, o.lenient)
		n *= 1e6
	case gHexEpoch:
		n, ok = hexNumber(v)
		ok = ok && n <= maxEpoch
		n *= 1e6
	case gEpochMs:
		n, ok = decimal(v)
		ok = ok && len(v) > 3 && n <= maxEpoch*1000
		n *= 1000
	case gMillis, gHexMillis:
		return r.addMillis(o, v)
	}
	if !ok {
		return o.grammar.fault()
	}
	r.setInt(o.field, n)
	return OK
}

// addMillis stores %ms, the milliseconds of the accept date.
func (r *Record) addMillis(o *op, v []byte) ParseReason {
	n, ok := decimal(v)
	if o.grammar == gHexMillis {
		n, ok = hexNumber(v)
	}
	switch {
	case !ok || n > 999:
		return BadNumber
	case o.extra >= 0:
		r.Extra[o.extra].Value = v
	case o.adds && r.Has(AcceptTime):
		r.Int[AcceptTime] += n * 1000
	}
	return OK
}

// epochSeconds reads seconds since the epoch. A claim may come as "1795.5": the
// fraction is dropped then.
func epochSeconds(v []byte, fraction bool) (int64, bool) {
	for i, c := range v {
		if c == '.' && fraction && i > 0 {
			v = v[:i]
			break
		}
	}
	n, ok := decimal(v)
	return n, ok && n <= maxEpoch
}

func decimal(v []byte) (int64, bool) {
	n := int64(0)
	for _, c := range v {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(v) > 0 && len(v) <= 18
}
