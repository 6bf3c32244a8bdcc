package alert

import (
	"fmt"
	"math"
	"time"
)

// Limit bounds the messages of a channel.
type Limit struct {
	// PerMinute is how many go out in any minute, at least 2.
	PerMinute int
	// Burst is how many of them may go out at once; the others come evenly over the
	// minute. 1 to PerMinute-1.
	Burst int
	// Gap is the least time between two.
	Gap time.Duration
}

func (l Limit) check() error {
	if l.PerMinute < 2 || l.Burst < 1 || l.Burst >= l.PerMinute || l.Gap < 0 {
		return fmt.Errorf("limit %+v: per minute at least 2, burst from 1 to one less, gap not below 0", l)
	}
	return nil
}

// bucket is a token bucket. A full one gives Burst tokens at once, and while a
// minute passes it gets PerMinute-Burst new ones: so that no minute, wherever it
// begins, sees more than PerMinute.
type bucket struct {
	limit  Limit
	tokens float64
	filled time.Time // when tokens was right
	last   time.Time // when the last was taken
}

// wait is how long until a token is there.
func (b *bucket) wait(now time.Time) time.Duration {
	b.fill(now)
	var wait time.Duration
	if b.tokens < 1 {
		wait = time.Duration(math.Ceil((1 - b.tokens) / b.rate()))
	}
	if !b.last.IsZero() {
		wait = max(wait, b.limit.Gap-now.Sub(b.last))
	}
	return max(wait, 0)
}

// take takes a token, which wait has said is there.
func (b *bucket) take(now time.Time) {
	b.fill(now)
	b.tokens = max(b.tokens-1, 0)
	b.last = now
}

// rate is in tokens per nanosecond.
func (b *bucket) rate() float64 {
	return float64(b.limit.PerMinute-b.limit.Burst) / float64(time.Minute)
}

func (b *bucket) fill(now time.Time) {
	full := float64(b.limit.Burst)
	if b.filled.IsZero() {
		b.tokens, b.filled = full, now
	}
	if passed := now.Sub(b.filled); passed > 0 {
		b.tokens, b.filled = min(b.tokens+float64(passed)*b.rate(), full), now
		if full := math.Round(b.tokens); math.Abs(b.tokens-full) < 1e-9 {
			b.tokens = full // many small additions must not end just below a token
		}
	}
}

// backoff is how long to leave a receiver alone that fails.
type backoff struct {
	first, most time.Duration
	failures    int // in a row
}

// next is the pause after another failure: doubled each time, of which jitter, from
// 0 to 1, takes up to a half, so that many clients do not come back as one; and at
// least what the receiver asked for.
func (b *backoff) next(asked time.Duration, jitter float64) time.Duration {
	pause := b.most
	if b.failures < 30 {
		pause = min(b.first<<b.failures, b.most)
	}
	b.failures++
	return max(pause-time.Duration(jitter*float64(pause)/2), min(asked, time.Hour))
}
