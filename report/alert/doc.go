// Package alert brings alerts to people on call: each that was fired reaches every
// channel that wants it, and is resolved there once, over crashes of ours and
// outages of theirs, without burying anybody.
//
//	Fire/Update/Resolve --> outbox (journal, fsync) --+--> lane --> Sender --> Alertmanager
//	                          ^                       +--> lane --> Sender --> PagerDuty
//	   what a channel knows --+<----------------------+--> lane --> Sender --> Slack, webhook
//
// # The outbox
//
// What is kept is the state of each alert and what each channel was last told of
// it; a message is the difference between the two. So an outage piles up no
// messages: a channel that comes back is told what is true now. An alert that was
// both fired and resolved meanwhile is told as such, once (Notice.Missed): nothing
// is lost. One that went on and off several times is one notice that says how
// often (Notice.Fires). For each alert a channel gets fire, updates, resolve, in
// that order, and after a fire exactly one resolve before the next fire.
//
// Delivery is at least once: after a crash between a receiver's answer and our
// note of it the notice goes out again. Receivers with a key (Alertmanager,
// PagerDuty) make one of the two; in Slack it is seen twice.
//
// # Storms
//
// A lane has a token bucket that lets at most Limit.PerMinute messages through in
// any minute. What comes meanwhile waits, and goes out together: in one message
// where the receiver takes lists (Alertmanager, webhook, Slack's digest), as one
// alert with a count and the first names where it takes one at a time (PagerDuty).
// Such a storm is resolved when all its alerts are.
//
// # Receivers that fail
//
// Each channel has a goroutine of its own: a slow one delays nobody else. What may
// be better later is tried again, ever more slowly, with jitter. What the receiver
// refuses for what it says (400) is never sent again: it goes to the dead letters,
// is counted and logged. In a list that is refused, the bad one is found by
// halving. Wrong credentials are no fault of the alert: it waits until a person has
// mended them, at most Options.Keep after it was over.
package alert
