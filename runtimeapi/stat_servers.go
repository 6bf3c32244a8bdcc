package runtimeapi

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Server is one line of "show servers state" (management guide, format 1).
type Server struct {
	Backend, Name string
	// BackendID and ID are HAProxy's numbers.
	BackendID, ID int
	// Address is an IP address, a path, or "-"; Port is 0 where there is none.
	Address string
	Port    int
	// FQDN is the host name that Address was resolved from, "-" for none.
	FQDN string
	// State: 0 stopped, 1 starting, 2 running, 3 stopping.
	State int
	// Admin are bits: 0x01 forced maintenance, 0x08 forced drain, and others.
	Admin int
	// Weight is the one that counts now, InitialWeight the configuration's.
	Weight, InitialWeight int
	// LastChange is how long ago the state changed, to the second.
	LastChange time.Duration
	// Fields are all columns, by HAProxy's own names.
	Fields map[string]string
}

// ServersState reads the state of a backend's servers, or of all for "" (level user).
func (c *Client) ServersState(ctx context.Context, backend string) ([]Server, error) {
	words := []string{"show", "servers", "state"}
	if backend != "" {
		if err := checkArg("backend", backend); err != nil {
			return nil, err
		}
		words = append(words, backend)
	}
	cmd := of(words...)
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(reply, "Can't find backend") {
		return nil, c.to.refuse(cmd.name, ErrNotFound, reply)
	}
	servers, err := parseServers(reply)
	if err != nil {
		return nil, c.to.misread(cmd.name, reply, err)
	}
	return servers, nil
}

// parseServers reads the format's number, the line of names, and the servers.
func parseServers(reply string) ([]Server, error) {
	rest, ok := strings.CutPrefix(reply, "1\n# ")
	if !ok {
		return nil, fmt.Errorf("it does not begin with the format's number 1 and the names of the columns")
	}
	header, rest, _ := strings.Cut(rest, "\n")
	names := strings.Fields(header)
	var servers []Server
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		s, err := newServer(names, strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("line %.200q: %w", line, err)
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// newServer types a line.
func newServer(names, values []string) (Server, error) {
	if len(names) != len(values) {
		return Server{}, fmt.Errorf("it has %d fields, the header names %d", len(values), len(names))
	}
	s := Server{Fields: make(map[string]string, len(names))}
	for i, name := range names {
		s.Fields[name] = values[i]
	}
	s.Backend, s.Name = s.Fields["be_name"], s.Fields["srv_name"]
	s.Address, s.FQDN = s.Fields["srv_addr"], s.Fields["srv_fqdn"]
	var seconds int
	for _, number := range []struct {
		field string
		to    *int
	}{
		{"be_id", &s.BackendID}, {"srv_id", &s.ID}, {"srv_op_state", &s.State}, {"srv_admin_state", &s.Admin},
		{"srv_uweight", &s.Weight}, {"srv_iweight", &s.InitialWeight}, {"srv_time_since_last_change", &seconds}, {"srv_port", &s.Port},
	} {
		var err error
		if *number.to, err = strconv.Atoi(s.Fields[number.field]); err != nil {
			return Server{}, fmt.Errorf("field %s: %w", number.field, err)
		}
	}
	s.LastChange = time.Duration(min(max(seconds, 0), 1<<31-1)) * time.Second
	return s, nil
}
