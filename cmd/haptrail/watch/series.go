package watch

import (
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/schema"
)

// What is counted, and of whom.
const (
	requests  = "requests"
	denials   = "denials"
	errs      = "errors"
	kilobytes = "kilobytes"
	// That a frontend denied something: schema.MeasureCallers.
	deniedCallers = "callers"

	ofIdentity = "identity"
	ofEndpoint = "endpoint"
	ofAddress  = "address"
	ofFrontend = "frontend"
	ofOther    = "other"
)

// kind is a measure, and of whom it is.
type kind struct {
	measure, of string
	stick       bool // stick tables tell it; else the logs
	options     func() burst.Options
}

// history picks what the logs tell of a kind.
func (k *kind) history(from, until time.Time) schema.HistoryQuery {
	return schema.HistoryQuery{
		From: from, Until: until, Denied: k.measure == denials, Failed: k.measure == errs, Kilobytes: k.measure == kilobytes,
		Nobody: k.of == ofAddress, Endpoints: k.of == ofEndpoint, Callers: k.measure == deniedCallers,
	}
}

// name is the kind's in files, cursors and metrics.
func (k *kind) name() string { return k.measure + "_of_" + k.of }

// The kinds, in the order of kinds.
const (
	requestsOfIdentity = iota
	requestsOfEndpoint
	denialsOfIdentity
	errorsOfIdentity
	kilobytesOfIdentity
	requestsOfAddress
	errorsOfAddress
	denialsOfAddress
	callersOfFrontend
	requestsOfOther
)

// kinds are all that is watched. One detector would do for none of it: what is a lot
// of requests is nothing in kilobytes, and ten denials are many.
var kinds = [...]*kind{
	requestsOfIdentity:  {requests, ofIdentity, true, burst.Requests},
	requestsOfEndpoint:  {requests, ofEndpoint, false, burst.Endpoints},
	denialsOfIdentity:   {denials, ofIdentity, false, burst.Denials},
	errorsOfIdentity:    {errs, ofIdentity, false, burst.Errors},
	kilobytesOfIdentity: {kilobytes, ofIdentity, false, burst.Kilobytes},
	requestsOfAddress:   {requests, ofAddress, true, burst.Addresses},
	errorsOfAddress:     {errs, ofAddress, true, func() burst.Options { return ofAddresses(burst.Errors()) }},
	denialsOfAddress:    {denials, ofAddress, false, func() burst.Options { return ofAddresses(burst.Denials()) }},
	callersOfFrontend:   {deniedCallers, ofFrontend, false, burst.Callers},
	requestsOfOther: {requests, ofOther, true, func() burst.Options {
		return burst.Options{Words: burst.Words{Subject: burst.Noun{One: "key", Many: "keys"}}}
	}},
}

func ofAddresses(o burst.Options) burst.Options {
	o.Words.Subject = burst.Addresses().Words.Subject
	return o
}

// series is a kind with its detector; the watch's lock guards both.
type series struct {
	kind     *kind
	watch    *Watch
	detector *burst.Detector
	limits   burst.Thresholds // zero: the default ones
}

// options are the detector's.
func (s *series) options() burst.Options {
	o := s.kind.options()
	o.MaxKeys, o.Role = s.watch.MaxKeys, s.watch.names.roleOf
	if s.limits != (burst.Thresholds{}) {
		o.Thresholds = s.limits
	}
	return o
}
