package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Reload makes HAProxy read its configuration again and returns when a new worker
// serves it. ErrReload: HAProxy refused the configuration, and the old workers go
// on with the former one; the error has HAProxy's messages where it gives them
// (2.7 and later; 2.6 writes them to its own log: CheckConfig shows them).
// ErrBusy: another reload was under way (3.1 and later).
//
// Old workers may still be finishing their connections. What it takes that no
// request fails is in the package's documentation.
func (m *Master) Reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.reloadTimeout)
	defer cancel()
	before, err := m.Procs(ctx)
	if err != nil {
		return err
	}
	slow := m.to
	slow.options.Timeout = m.reloadTimeout
	reply, err := slow.exchange(ctx, "reload\n", true)
	if errors.Is(err, errDial) || ctx.Err() != nil {
		return m.to.fail("reload", err)
	}
	// 2.6 closes without a word, or resets while it executes itself anew; so do
	// builds without shared memory. Then only the processes can tell.
	switch {
	case strings.HasPrefix(reply, "Success=1"):
	case strings.HasPrefix(reply, "Success=0"):
		return m.refused(before, reply)
	case strings.TrimSpace(reply) != "":
		return m.to.refuse("reload", classify(reply), reply)
	}
	return m.await(ctx, before)
}

// poll is how often the processes are looked at while a reload goes on.
const poll = 20 * time.Millisecond

// await returns when a worker that was not there before serves, or when the
// master has counted a failure.
func (m *Master) await(ctx context.Context, before []Proc) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		now, err := m.Procs(ctx)
		if err == nil && now[0].Reloads > before[0].Reloads {
			if now[0].Failed > 0 {
				return m.refused(before, "")
			}
			if replaced(before, now) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &CommandError{Address: m.to.String(), Command: "reload", Kind: ErrPartial,
				Cause: errors.Join(errors.New("no new worker was seen"), err, ctx.Err())}
		}
	}
}

// replaced is whether a worker serves that was not there before, and each former
// one is leaving or gone.
func replaced(before, now []Proc) bool {
	fresh := false
	for _, p := range now {
		if p.Type != "worker" || p.Old {
			continue
		}
		if slices.ContainsFunc(before, func(b Proc) bool { return b.PID == p.PID }) {
			return false
		}
		fresh = true
	}
	return fresh
}

// refused is the error of a configuration that HAProxy did not take.
func (m *Master) refused(before []Proc, reply string) error {
	kind := ErrReload
	if classify(reply) == ErrBusy {
		kind = ErrBusy
	}
	var workers []string
	for _, p := range before {
		if p.Type == "worker" && !p.Old {
			workers = append(workers, fmt.Sprint(p.PID))
		}
	}
	goOn := "the old worker goes on"
	if len(workers) > 0 {
		goOn += " (PID " + strings.Join(workers, ", ") + ")"
	}
	why := alerts(reply)
	if why == "" {
		why = "see HAProxy's log, or haproxy -c -f FILE"
	}
	return &CommandError{Address: m.to.String(), Command: "reload", Kind: kind, Cause: fmt.Errorf("%s: %s", goOn, why)}
}
