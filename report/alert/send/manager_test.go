package send

import (
	"context"
	"testing"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// start runs a manager with these channels until the test ends.
func start(t testing.TB, dir string, channels ...alert.Channel) *alert.Manager {
	t.Helper()
	return startWith(t, alert.Options{Dir: dir, Channels: channels, Collect: 20 * time.Millisecond})
}

// startWith is start with other options.
func startWith(t testing.TB, o alert.Options) *alert.Manager {
	t.Helper()
	m, err := alert.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}
