package ci

import (
	"cmp"
	"sync"
	"time"
)

// recentLimit is what a recent remembers at least, where it does not say.
const recentLimit = 32768

// recent remembers between limit and twice as many keys: those that were put last.
// It is safe for concurrent use.
type recent[K comparable, V any] struct {
	limit int // 0: recentLimit

	mu         sync.Mutex
	young, old map[K]V // young is full at limit, and becomes old
}

// get is what was put last under a key, if that is remembered.
func (r *recent[K, V]) get(key K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	value, ok := r.young[key]
	if !ok {
		value, ok = r.old[key]
	}
	return value, ok
}

func (r *recent[K, V]) put(key K, value V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= cmp.Or(r.limit, recentLimit) {
		r.young, r.old = make(map[K]V), r.young
	}
	r.young[key] = value
}

// sometimes lets each of a few keys through once an interval: a log must not be
// filled by whoever sends us nonsense. It is safe for concurrent use.
type sometimes struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (s *sometimes) due(key string, now time.Time, interval time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[key]; ok && now.Sub(last) < interval {
		return false
	}
	if s.last == nil {
		s.last = make(map[string]time.Time)
	}
	s.last[key] = now
	return true
}
