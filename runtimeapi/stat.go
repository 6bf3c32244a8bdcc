package runtimeapi

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// StatKind is what a line of "show stat" speaks of (field "type").
type StatKind int

// The kinds, by HAProxy's numbers.
const (
	StatFrontend StatKind = 0
	StatBackend  StatKind = 1
	StatServer   StatKind = 2
	StatListener StatKind = 3
)

// Stat is one line of "show stat" (management guide 9.1, "Statistics and
// monitoring": the meaning of each field). A counter that a kind of line does not
// have is 0 here and "" in Fields.
type Stat struct {
	// Proxy is the frontend or backend; Service is FRONTEND, BACKEND, or the name of
	// the server or listener.
	Proxy, Service string
	Kind           StatKind
	// Status such as OPEN, UP, "UP 1/3", DOWN, MAINT, "no check".
	Status string
	// Sessions now, at most, and in total since the worker started.
	SessionsCurrent, SessionsMax, SessionsTotal uint64
	// Requests in total (HTTP), and in the last second.
	Requests, RequestRate uint64
	// BytesIn and BytesOut, of requests and responses.
	BytesIn, BytesOut uint64
	// Denied by rules, and malformed requests.
	DeniedRequests, DeniedResponses, BadRequests uint64
	// Responses by the first digit of their status, 1 to 5; 0 is any other.
	Responses [6]uint64
	// LastChange is the age of the status, to the second.
	LastChange time.Duration
	// Fields are all columns, by HAProxy's own names.
	Fields map[string]string
}

// Stats reads the counters of all frontends, backends, servers and listeners of the
// worker (level user).
func (c *Client) Stats(ctx context.Context) ([]Stat, error) {
	cmd := of("show", "stat")
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return nil, err
	}
	stats, err := parseStats(reply)
	if err != nil {
		return nil, c.to.misread(cmd.name, reply, err)
	}
	return stats, nil
}

// parseStats reads the CSV form: the first line names the columns, and each line
// ends with a comma. A field with a comma, a quote or a line feed is quoted.
func parseStats(reply string) ([]Stat, error) {
	text, ok := strings.CutPrefix(reply, "# ")
	if !ok {
		return nil, errors.New("the first line does not begin with #")
	}
	r := csv.NewReader(strings.NewReader(text))
	names, err := r.Read()
	if err != nil {
		return nil, err
	}
	var stats []Stat
	for {
		values, err := r.Read()
		if errors.Is(err, io.EOF) {
			return stats, nil
		}
		if err != nil {
			return nil, err
		}
		s, err := newStat(names, values)
		if err != nil {
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		stats = append(stats, s)
	}
}

// newStat types a line.
func newStat(names, values []string) (Stat, error) {
	s := Stat{Fields: make(map[string]string, len(names))}
	for i, name := range names {
		if name != "" {
			s.Fields[name] = values[i]
		}
	}
	s.Proxy, s.Service, s.Status = s.Fields["pxname"], s.Fields["svname"], s.Fields["status"]
	var kind, change uint64
	for _, number := range []struct {
		field string
		to    *uint64
	}{
		{"type", &kind}, {"scur", &s.SessionsCurrent}, {"smax", &s.SessionsMax}, {"stot", &s.SessionsTotal},
		{"req_tot", &s.Requests}, {"req_rate", &s.RequestRate}, {"bin", &s.BytesIn}, {"bout", &s.BytesOut},
		{"dreq", &s.DeniedRequests}, {"dresp", &s.DeniedResponses}, {"ereq", &s.BadRequests},
		{"hrsp_other", &s.Responses[0]}, {"hrsp_1xx", &s.Responses[1]}, {"hrsp_2xx", &s.Responses[2]},
		{"hrsp_3xx", &s.Responses[3]}, {"hrsp_4xx", &s.Responses[4]}, {"hrsp_5xx", &s.Responses[5]}, {"lastchg", &change},
	} {
		text, ok := s.Fields[number.field]
		if !ok {
			return Stat{}, fmt.Errorf("there is no field %s", number.field)
		}
		var err error
		if *number.to, err = statNumber(text); err != nil {
			return Stat{}, fmt.Errorf("field %s: %w", number.field, err)
		}
	}
	if s.Kind = StatKind(min(kind, 100)); s.Proxy == "" || kind > uint64(StatListener) {
		return Stat{}, fmt.Errorf("proxy %q has type %d", s.Proxy, kind)
	}
	s.LastChange = time.Duration(min(change, 1<<32)) * time.Second
	return s, nil
}

// statNumber is 0 for a field that the kind of line does not have.
func statNumber(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.ParseUint(text, 10, 64)
}
