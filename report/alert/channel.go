package alert

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Channel is a receiver, and what is wanted of it. Name and Sender are needed.
type Channel struct {
	// Name is the channel's in metrics, logs and the outbox: one that is renamed is
	// told of everything that fires, as a new one.
	Name   string
	Sender Sender

	// MinSeverity is the least that is told here. Default: all.
	MinSeverity Severity
	// Limit bounds the messages. Default: the sender's.
	Limit Limit
	// Timeout is for one try. Default 10 s.
	Timeout time.Duration
	// Heartbeat is how often the receiver is to hear from us, so that it can raise
	// the alarm when it does not: 0 is never, else at least a second. Only for
	// receivers that are machines.
	Heartbeat time.Duration

	traits Traits // Sender's, with defaults
}

const (
	sendTimeout = 10 * time.Second
	firstPause  = time.Second
	maxPause    = 5 * time.Minute
	// Until a receiver that takes nothing from us is tried again. A wrong secret stays
	// wrong; but while receivers are deployed, and by the proxies before them, right ones
	// are answered 401, 403 and 404, too, and that is over in seconds.
	wrongFirst = 10 * time.Second
	wrongMost  = 5 * time.Minute
)

// withDefaults is the channel as a lane uses it, or what is wrong with it.
func (c Channel) withDefaults() (Channel, error) {
	if c.Name == "" || len(c.Name) > maxKind || clip(c.Name, maxKind) != c.Name {
		return c, fmt.Errorf("channel %.40q: it needs a name of at most %d printable bytes", c.Name, maxKind)
	}
	if c.Sender == nil {
		return c, fmt.Errorf("channel %s: it has no sender", c.Name)
	}
	c.traits = c.Sender.Traits()
	c.traits.Batch = max(c.traits.Batch, 1)
	c.traits.FirstPause = cmp.Or(c.traits.FirstPause, firstPause)
	c.traits.MaxPause = max(cmp.Or(c.traits.MaxPause, maxPause), c.traits.FirstPause)
	c.Timeout = cmp.Or(c.Timeout, sendTimeout)
	c.Limit = cmp.Or(c.Limit, c.traits.Limit)
	switch err := c.Limit.check(); {
	case err != nil:
		return c, fmt.Errorf("channel %s: %w", c.Name, err)
	case c.Timeout < 0:
		return c, fmt.Errorf("channel %s: timeout %s is below 0", c.Name, c.Timeout)
	case c.Heartbeat != 0 && !c.traits.Heartbeats:
		return c, fmt.Errorf("channel %s: no heartbeat here, as it would call people each time: use a webhook or Alertmanager", c.Name)
	case c.Heartbeat != 0 && c.Heartbeat < time.Second:
		return c, fmt.Errorf("channel %s: heartbeat %s: at least 1s", c.Name, c.Heartbeat)
	}
	return c, nil
}

// withDefaults fills in and checks.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("alerts need a folder for their outbox")
	}
	o.Keep = cmp.Or(o.Keep, keepFor)
	o.MaxAlerts = cmp.Or(o.MaxAlerts, maxAlerts)
	o.MaxBytes = cmp.Or(o.MaxBytes, maxBytes)
	o.Collect = cmp.Or(o.Collect, collectFor)
	if o.Keep < 0 || o.MaxAlerts < 0 || o.MaxBytes < 0 || o.Collect < 0 {
		return o, errors.New("alerts: keep, max alerts, max bytes and collect must not be below 0")
	}
	channels := make([]Channel, 0, len(o.Channels))
	names := make(map[string]bool)
	for _, c := range o.Channels {
		c, err := c.withDefaults()
		if err != nil {
			return o, err
		}
		if names[c.Name] {
			return o, fmt.Errorf("channel %s: two have this name", c.Name)
		}
		names[c.Name] = true
		channels = append(channels, c)
	}
	o.Channels = channels
	return o, nil
}
