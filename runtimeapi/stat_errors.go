package runtimeapi

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// CapturedError is one message that HAProxy could not read, of "show errors"
// (management guide). HAProxy shows the bytes of the message, with any token in
// them; they are dropped here and are in no error.
type CapturedError struct {
	// Time by HAProxy's clock, to the millisecond. The reply names no time zone: it
	// is read as this process's own.
	Time time.Time
	// Response is true for one of a server, false for a client's request.
	Response bool
	// Proxy that captured it: of a request the frontend, of a response the backend.
	// Other is the one on the other side; "" for none.
	Proxy, Other string
	// Server is "" for none.
	Server string
	// Event is HAProxy's number, counted from 0 since the worker started.
	Event int64
	// Source is the client; invalid for a unix socket.
	Source netip.AddrPort
	// Length of the message as captured, and the byte where it went wrong, from 0.
	Length, Position int
}

// CapturedErrors reads the last bad request and the last bad response of each proxy,
// and how many there were in all since the worker started (level operator).
func (c *Client) CapturedErrors(ctx context.Context) (captured []CapturedError, total uint64, err error) {
	const name = "show errors"
	reply, err := c.ask(ctx, of("show", "errors"))
	if err != nil {
		return nil, 0, err
	}
	captured, total, err = parseErrors(reply, time.Local)
	if err == nil {
		return captured, total, nil
	}
	if kind := classify(reply); !strings.HasPrefix(reply, "Total events") && kind != ErrRejected {
		return nil, 0, c.to.refuse(name, kind, reply)
	}
	// Not the reply itself: it holds what clients sent.
	return nil, 0, &CommandError{Address: c.to.String(), Command: name, Kind: ErrMalformed, Cause: err}
}

var (
	errorsTotal = regexp.MustCompile(`^Total events captured on \[[^]]*\] : (\d+)$`)
	errorHead   = regexp.MustCompile(`^\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] (frontend|backend) (\S+) \(#-?\d+\): invalid (request|response)$`)
	errorWho    = regexp.MustCompile(`^  (?:backend|frontend) (\S+) \(#-?\d+\), server (\S+) \(#-?\d+\), event #(\d+), src (.*)$`)
	errorWhere  = regexp.MustCompile(`^  len (\d+), wraps at \d+, error at position (\d+)$`)
)

// parseErrors takes of each block what stands before the dump of its bytes, whose
// lines begin with two blanks and the offset and so look like no other line.
func parseErrors(reply string, zone *time.Location) (captured []CapturedError, total uint64, err error) {
	first, rest, _ := strings.Cut(reply, "\n")
	m := errorsTotal.FindStringSubmatch(first)
	if m == nil {
		return nil, 0, fmt.Errorf("the first line does not tell the total")
	}
	if total, err = strconv.ParseUint(m[1], 10, 64); err != nil {
		return nil, 0, err
	}
	for n, block := range strings.Split(rest, " \n[") {
		if n == 0 {
			continue // before the first one
		}
		e, err := parseError("["+block, zone)
		if err != nil {
			return nil, 0, fmt.Errorf("block %d: %w", n, err)
		}
		captured = append(captured, e)
	}
	return captured, total, nil
}

func parseError(block string, zone *time.Location) (CapturedError, error) {
	lines := strings.SplitN(block, "\n", 5)
	if len(lines) < 5 {
		return CapturedError{}, fmt.Errorf("it has %d lines, want at least 5", len(lines))
	}
	head, who, where := errorHead.FindStringSubmatch(lines[0]), errorWho.FindStringSubmatch(lines[1]), errorWhere.FindStringSubmatch(lines[3])
	if head == nil || who == nil || where == nil {
		return CapturedError{}, fmt.Errorf("its first lines have another form")
	}
	e := CapturedError{Response: head[4] == "response", Proxy: head[3], Other: named(who[1]), Server: named(who[2])}
	var err error
	if e.Time, err = time.ParseInLocation("02/Jan/2006:15:04:05.000", head[1], zone); err != nil {
		return CapturedError{}, fmt.Errorf("its time %q is none", head[1])
	}
	if e.Event, err = strconv.ParseInt(who[3], 10, 64); err != nil {
		return CapturedError{}, err
	}
	if e.Length, err = strconv.Atoi(where[1]); err != nil {
		return CapturedError{}, err
	}
	if e.Position, err = strconv.Atoi(where[2]); err != nil {
		return CapturedError{}, err
	}
	e.Source = source(who[4])
	return e, nil
}

// named is "" for HAProxy's word for none.
func named(text string) string {
	if text == "<NONE>" {
		return ""
	}
	return text
}

// source reads "address:port", without brackets; anything else is no address.
func source(text string) netip.AddrPort {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddr(text[:i])
	port, err2 := strconv.ParseUint(text[i+1:], 10, 16)
	if err != nil || err2 != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, uint16(port))
}
