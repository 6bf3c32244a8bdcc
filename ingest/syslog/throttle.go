package syslog

import (
	"log/slog"
	"sync"
	"time"
)

// quietFor is how long a listener says nothing more of the same kind.
const quietFor = 10 * time.Second

// throttle lets one log line of a kind through in quietFor, so that a hostile
// or broken sender cannot fill the log. The next line tells how many were
// kept back; the metrics have them all.
type throttle struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*quiet // by kind: a small set of constants
}

type quiet struct {
	since time.Time
	kept  int
}

func newThrottle(log *slog.Logger) *throttle {
	return &throttle{log: log, kinds: map[string]*quiet{}}
}

// warn logs msg, unless a line of the kind was logged within quietFor.
func (t *throttle) warn(kind, msg string, args ...any) {
	now := time.Now()
	t.mu.Lock()
	q := t.kinds[kind]
	if q == nil {
		q = &quiet{}
		t.kinds[kind] = q
	}
	if now.Sub(q.since) < quietFor {
		q.kept++
		t.mu.Unlock()
		return
	}
	kept := q.kept
	q.since, q.kept = now, 0
	t.mu.Unlock()
	if kept > 0 {
		args = append(args, "more_since_last", kept)
	}
	t.log.Warn(msg, args...)
}
