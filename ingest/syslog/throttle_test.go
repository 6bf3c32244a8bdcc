package syslog

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		q := newThrottle(slog.New(slog.NewTextHandler(&log, nil)))
		for range 5 {
			q.warn("a", "first kind")
		}
		q.warn("b", "second kind")
		if got := log.String(); strings.Count(got, "first kind") != 1 || strings.Count(got, "second kind") != 1 {
			t.Errorf("got %s", got)
		}
		time.Sleep(quietFor - time.Millisecond)
		q.warn("a", "first kind")
		time.Sleep(time.Millisecond)
		q.warn("a", "first kind")
		if got := log.String(); strings.Count(got, "first kind") != 2 || !strings.Contains(got, "more_since_last=5") {
			t.Errorf("got %s", got)
		}
	})
}
