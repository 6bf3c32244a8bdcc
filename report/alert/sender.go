package alert

import (
	"context"
	"errors"
	"time"
)

// Sender speaks to one receiver. Senders are in package send.
type Sender interface {
	// Send delivers a message and returns nil when the receiver has answered that it
	// has it. Other errors than ErrRefused, ErrMisdirected and *LaterError are
	// failures of the way, and tried again. No error may hold a secret. It is called
	// by one goroutine at a time, but for Manager.Test.
	Send(ctx context.Context, m Message) error
	// Traits says what the receiver is like; always the same.
	Traits() Traits
}

// The errors of a receiver that are not of the moment.
var (
	// ErrRefused: the receiver will never take this message, for what it says.
	ErrRefused = errors.New("the receiver refuses the message")
	// ErrMisdirected: it takes none from us: the URL or the credentials are wrong. A
	// person has to mend that; the alerts wait.
	ErrMisdirected = errors.New("the receiver takes nothing from us")
)

// LaterError: the receiver wants nothing for so long. It may wrap ErrMisdirected.
type LaterError struct {
	After time.Duration // 0: it does not say
	Err   error
}

// Error is the cause.
func (e *LaterError) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *LaterError) Unwrap() error { return e.Err }

// Purpose says what a message is for.
type Purpose uint8

// The purposes.
const (
	Alerts    Purpose = iota // its notices are to be told
	Heartbeat                // it is to be heard, every Message.Interval; no notices
	Trial                    // of Manager.Test: one notice, of severity info
)

// Message is what a Sender sends at one time.
type Message struct {
	// ID is the same whenever the same notices are sent again.
	ID       string
	Channel  string
	Purpose  Purpose
	Notices  []Notice      // at most Traits.Batch, of different alerts; resolves, then fires, the worst first
	Interval time.Duration // of heartbeats
}

// State is what a notice tells of its alert.
type State uint8

// The states.
const (
	Fired    State = iota + 1
	Updated        // it fires, and something else in it has changed
	Repeated       // nothing has changed; for receivers that forget
	Resolved
)

// Firing reports whether the alert goes on.
func (s State) Firing() bool { return s != Resolved }

// Notice is one alert's part of a message.
type Notice struct {
	State State
	Alert Alert // EndsAt is set when resolved
	// Missed: it is resolved, and this channel was never told that it fired.
	Missed bool
	// Fires is how often it fired since the channel was last told: 2 or more if it
	// went on and off meanwhile.
	Fires int
	// Former are other severities that the alert had, of which the receiver has not
	// taken the end, or not for Traits.Afterglow yet: those with the severity among
	// their labels know it under each.
	Former []Former

	again   bool // the channel knows all of it
	version uint64
	episode int
}

// Former is a severity that an alert had, until EndsAt.
type Former struct {
	Severity Severity  `json:"severity"`
	EndsAt   time.Time `json:"ends_at"`
}

// Traits is what a lane has to know of a receiver.
type Traits struct {
	// Batch is how many notices fit in a message, at least 1.
	Batch int
	// Storm is how many unknown alerts at once become one alert with a count;
	// 0: never. For receivers that take one at a time.
	Storm int
	// Updates: each change is told. Else only a rise of the severity.
	Updates bool
	// Repeat is how often a firing alert is told again, 0: never; and Afterglow for
	// how long a resolved one is. For receivers that forget.
	Repeat, Afterglow time.Duration
	// FreeResolve: a resolve notifies nobody there, and needs no token.
	FreeResolve bool
	// Heartbeats: it is a machine, which can miss us. People would be told each time.
	Heartbeats bool
	// Limit is the default of Channel.Limit.
	Limit Limit
	// FirstPause is before the second try after an answer that asks for one; it
	// doubles up to MaxPause. Default 1 s and 5 min.
	FirstPause, MaxPause time.Duration
}
