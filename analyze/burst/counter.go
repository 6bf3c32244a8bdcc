package burst

// Increase is what a counter of so many bits (32 for HAProxy's http_req_cnt, gpc0 and
// gpc; 64 for its byte counters) went up by between two samples, at most 2^32-1.
//
// A counter that is lower than before has wrapped when it was in the last 16th of its
// range and is in the first one now; else it was set anew (the entry expired, a
// reload, clear table), and all that it shows came since.
func Increase(before, now uint64, width int) uint32 {
	if now >= before {
		return fit(now - before)
	}
	width = min(max(width, 8), 64)
	most := uint64(1)<<width - 1
	if width == 64 {
		most = 1<<64 - 1
	}
	if before <= most && before > most-most/16 && now < most/16 {
		return fit(most - before + now + 1)
	}
	return fit(now)
}
