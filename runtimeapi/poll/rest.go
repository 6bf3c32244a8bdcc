package poll

import (
	"context"
	"time"
)

// breaks spreads the reading of a dump, so that the budget holds for each moment and
// not only for the interval: work for a millisecond, rest for some. While nobody
// reads, HAProxy does not write, and its threads and this machine's cores are free
// for requests. With 100,000 entries every 2 s on two busy cores the 99th percentile
// of their latency was 3.4 ms without a poller, 4.1 ms with rests and 57.6 ms without
// them (BenchmarkLatency).
type breaks struct {
	budget float64
	left   time.Duration // that may still be rested: a dump has a timeout
	rested time.Duration
	since  time.Time // the end of the last rest
	n      int
}

const (
	workSlice   = time.Millisecond
	workEntries = 64 // the clock is read once for so many
)

// entry rests if it is time to. The error is the context's.
func (b *breaks) entry(ctx context.Context) error {
	b.n++
	if b.n%workEntries != 0 || b.left <= 0 {
		return nil
	}
	work := time.Since(b.since)
	if work < workSlice {
		return nil
	}
	rest := min(time.Duration(float64(work)*(1/b.budget-1)), b.left)
	timer := time.NewTimer(rest)
	defer timer.Stop()
	start := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	b.since = time.Now()
	b.left -= rest
	b.rested += b.since.Sub(start)
	return nil
}
