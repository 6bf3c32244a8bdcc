package runtimeapi

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Info is what a worker says about itself ("show info", management guide 9.3).
type Info struct {
	Version Version
	// Node is the name in its logs ("node" or the host name).
	Node string
	// PID is the worker's process id, which %pid logs.
	PID int
	// Uptime since the worker was started, in whole seconds.
	Uptime time.Duration
	// Threads is nbthread.
	Threads int
	// Stopping is true in an old worker that only finishes its connections.
	Stopping bool
	// Fields are all the lines, by HAProxy's own names.
	Fields map[string]string
}

// Info asks a worker about itself (level user). An error leaves Info zero.
func (c *Client) Info(ctx context.Context) (Info, error) {
	cmd := of("show", "info")
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return Info{}, err
	}
	info, err := parseInfo(reply)
	if err != nil {
		return Info{}, c.to.misread(cmd.name, reply, err)
	}
	return info, nil
}

// parseInfo reads "Name: value" lines.
func parseInfo(reply string) (Info, error) {
	info := Info{Fields: map[string]string{}}
	for line := range strings.Lines(reply) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			return Info{}, fmt.Errorf("line %.60q has no colon", line)
		}
		info.Fields[name] = strings.TrimPrefix(value, " ")
	}
	var err error
	if info.Version, err = ParseVersion(info.Fields["Version"]); err != nil {
		return Info{}, err
	}
	var seconds, stopping int
	for _, number := range []struct {
		field string
		to    *int
	}{{"Pid", &info.PID}, {"Uptime_sec", &seconds}, {"Nbthread", &info.Threads}, {"Stopping", &stopping}} {
		if *number.to, err = strconv.Atoi(info.Fields[number.field]); err != nil {
			return Info{}, fmt.Errorf("field %s: %w", number.field, err)
		}
	}
	info.Node = info.Fields["node"]
	info.Uptime = time.Duration(seconds) * time.Second
	info.Stopping = stopping != 0
	return info, nil
}
