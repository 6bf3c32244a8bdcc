package runtimeapi

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Master speaks to the master process's socket ("haproxy -W -S /path"). It holds
// no connection and no state; any number of goroutines may use it.
type Master struct {
	to socket
	// reloadTimeout bounds a reload as a whole.
	reloadTimeout time.Duration
}

// NewMaster makes a client for the master's socket; addresses are as in New.
// Options.Timeout is one command's; a reload has six times as long, because
// HAProxy answers it only when the new configuration is loaded.
func NewMaster(address string, o Options) (*Master, error) {
	to, err := newSocket(address, o)
	if err != nil {
		return nil, err
	}
	return &Master{to, 6 * to.options.Timeout}, nil
}

// Proc is one line of "show proc" (management guide 9.4).
type Proc struct {
	PID int
	// Type is master, worker, or program.
	Type string
	// Reloads that the process has lived through: 0 for a new worker.
	Reloads int
	// Failed reloads since the last good one; the master's only.
	Failed int
	// Uptime, to the second.
	Uptime time.Duration
	// Old is true for a worker that HAProxy lists as leaving. After a failed
	// reload 3.3.0 lists the serving worker so, too.
	Old bool
	// Version of the process, "-" for a program.
	Version string
}

// Procs lists the master, its workers and the old workers that still finish.
func (m *Master) Procs(ctx context.Context) ([]Proc, error) {
	reply, err := m.to.exchange(ctx, "show proc\n", true)
	if err != nil {
		return nil, m.to.fail("show proc", err)
	}
	body, ok := whole(reply)
	if !ok {
		return nil, m.to.cut("show proc", reply)
	}
	procs, err := parseProcs(body)
	if err != nil {
		return nil, m.to.misread("show proc", body, err)
	}
	return procs, nil
}

// procLine: PID, type, reloads, the master's failed ones, uptime, version.
var procLine = regexp.MustCompile(`^(\d+) +(\S+) +(\d+)(?: \[failed: (\d+)\])? +(\d+)d(\d+)h(\d+)m(\d+)s +(\S+) *$`)

func parseProcs(body string) ([]Proc, error) {
	var procs []Proc
	old, header := false, false
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#<PID>"):
			header = true
			continue
		case strings.HasPrefix(line, "# "):
			old = strings.HasPrefix(line, "# old ")
			continue
		}
		f := procLine.FindStringSubmatch(line)
		if f == nil || !header {
			return nil, fmt.Errorf("line %.100q is no process", line)
		}
		// A field that is not there is 0; one beyond an int is no process.
		var n [9]int
		for _, i := range []int{1, 3, 4, 5, 6, 7, 8} {
			var err error
			if n[i], err = strconv.Atoi(f[i]); err != nil && f[i] != "" || n[i] > 1<<31 {
				return nil, fmt.Errorf("line %.100q: the number %q is too large", line, f[i])
			}
		}
		uptime := time.Duration(n[6])*time.Hour + time.Duration(n[7])*time.Minute + time.Duration(n[8])*time.Second
		uptime += time.Duration(min(n[5], 1<<15)) * 24 * time.Hour // days, below the overflow of a Duration
		procs = append(procs, Proc{PID: n[1], Type: f[2], Reloads: n[3], Failed: n[4], Uptime: uptime, Old: old, Version: f[9]})
	}
	if len(procs) == 0 || procs[0].Type != "master" {
		return nil, fmt.Errorf("there is no master in it")
	}
	return procs, nil
}
