package alert

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"
)

// lane tells one channel. Its goroutine owns all but what poke uses.
type lane struct {
	Channel
	m    *Manager
	wake chan struct{} // of one place: that something happened, not how often

	bucket   bucket
	backoff  backoff   // from one that does not answer, or asks for time
	wrong    backoff   // from one that takes nothing from us; each goes its own way, as a proxy and what is behind it take turns
	closed   time.Time // until when the receiver is left alone
	looked   time.Time // when it was last seen what there is to tell
	since    time.Time // since when there is something; zero: there is nothing
	batch    int       // notices in a message: fewer after a refused list
	down     time.Time // since when the receiver fails; zero: it does not
	nextBeat time.Time
}

const (
	beatAgain = 15 * time.Second // after a heartbeat that failed
	idle      = time.Hour        // without anything to wait for
	grace     = 5 * time.Second  // for the message on its way when we stop
)

func newLane(m *Manager, c Channel) *lane {
	l := &lane{
		Channel: c, m: m, wake: make(chan struct{}, 1), batch: c.traits.Batch,
		bucket: bucket{limit: c.Limit}, backoff: backoff{most: c.traits.MaxPause},
		wrong: backoff{first: wrongFirst, most: wrongMost},
	}
	for _, at := range m.outbox.sent[c.Name] {
		l.bucket.take(at) // a daemon that crashes and starts, again and again, has one limit
	}
	return l
}

// poke has the lane look again.
func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (l *lane) run(ctx context.Context) {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for ctx.Err() == nil { // asked each time, as select picks any that is ready
		wait := l.turn(ctx)
		if wait <= 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// turn does what there is to do now, one message at most beside the heartbeat, and
// says in how long there may be more.
func (l *lane) turn(ctx context.Context) time.Duration {
	now := time.Now()
	beat := l.beat(ctx, now)
	now = time.Now()
	if now.Before(l.closed) {
		return min(beat, l.closed.Sub(now))
	}
	// More may come in this moment, and go along; and looking costs a walk over all.
	if again := l.looked.Add(l.m.o.Collect); now.Before(again) {
		return min(beat, again.Sub(now))
	}
	l.looked = now
	due, next := l.due(now)
	if len(due) == 0 {
		l.since = time.Time{}
		if next.IsZero() {
			return min(beat, idle)
		}
		return min(beat, next.Sub(now))
	}
	if l.since.IsZero() {
		l.since = now
		return min(beat, l.m.o.Collect)
	}
	free := l.traits.FreeResolve && due[0].State == Resolved && !due[0].Missed
	if wait := l.bucket.wait(now); wait > 0 && !free {
		return min(beat, wait)
	}
	if free {
		due = due[:1]
	} else {
		l.bucket.take(now)
	}
	l.tell(ctx, due[:min(len(due), l.batch)])
	return 0
}

// due is what the channel has to be told, the most urgent first, and else when that
// may change. New alerts in numbers become a storm first.
func (l *lane) due(now time.Time) ([]Notice, time.Time) {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	due, next := m.outbox.due(&l.Channel, now)
	for l.traits.Storm > 0 && m.outbox.weather(&l.Channel, due, now) {
		due, next = m.outbox.due(&l.Channel, now)
	}
	m.o.Metrics.waits(l.Name, len(due))
	return due, next
}

// due is what a channel has to be told, and the next time at which that may change
// by itself. The caller holds the manager's lock.
func (o *outbox) due(c *Channel, now time.Time) (due []Notice, next time.Time) {
	for _, e := range o.entries {
		var quiet time.Time
		if e.Firing && len(o.silences) > 0 {
			quiet = o.quietUntil(&e.Alert, now)
		}
		n, isDue, at := e.notice(c, quiet, now)
		switch {
		case isDue:
			due = append(due, n)
		case !at.IsZero() && (next.IsZero() || at.Before(next)):
			next = at
		}
	}
	slices.SortFunc(due, func(a, b Notice) int {
		return cmp.Or(cmp.Compare(a.urgency(), b.urgency()), cmp.Compare(b.Alert.Severity, a.Alert.Severity), cmp.Compare(a.version, b.version))
	})
	return due, next
}

// urgency is the order in which notices go out, 0 first. Resolves are first: in
// most receivers they call nobody, and stop some from being called.
func (n *Notice) urgency() int {
	switch {
	case n.again:
		return 4
	case n.State == Resolved && !n.Missed:
		return 0
	case n.State == Fired:
		return 1
	case n.State == Resolved:
		return 2
	}
	return 3
}

// tell sends a message and notes what became of it.
func (l *lane) tell(ctx context.Context, notices []Notice) {
	m := l.m
	// A receiver must not know of an alert that we would not remember after a crash:
	// nobody would resolve it there. If the disk fails, it is told all the same.
	if err := m.sync(); err != nil {
		m.o.Log.Error("the outbox of alerts cannot be written; alerts are told, but would not be resolved after a crash", "error", err)
	}
	err := l.send(ctx, Message{ID: messageID(l.Name, notices), Channel: l.Name, Purpose: Alerts, Notices: slices.Clone(notices)})
	now := time.Now()
	m.o.Metrics.sent(l.Name, err, now)
	switch {
	case err == nil:
		l.up(now)
		l.batch = min(2*l.batch, l.traits.Batch)
		l.note(notices, false, now)
	case errors.Is(err, ErrRefused):
		l.up(now) // it is there
		if len(notices) > 1 {
			l.batch = max(len(notices)/2, 1) // one of them is the bad one
			return
		}
		l.batch = 1
		l.mourn(err, notices[0])
		l.note(notices, true, now)
	case ctx.Err() != nil: // we stop; it is told after the next start
	default:
		l.fail(err, now)
	}
}

// messageID is by what is told, and of which version.
func messageID(channel string, notices []Notice) string {
	parts := make([]string, 0, 1+2*len(notices))
	parts = append(parts, channel)
	for _, n := range notices {
		parts = append(parts, n.Alert.Key, strconv.FormatUint(n.version, 10))
	}
	return Key(parts...)
}

// send is Sender.Send, in bounds. When we stop, a message on its way has a moment
// to arrive: else it would be told twice.
func (l *lane) send(ctx context.Context, message Message) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-within.Done():
		}
	})
	defer stop()
	return l.Sender.Send(within, message)
}

// note writes down what the channel knows now. If that is lost in a crash, it is
// told again: so there is no need to wait for the disk.
func (l *lane) note(notices []Notice, dead bool, now time.Time) {
	m := l.m
	r := record{Op: opTold, Time: now, Channel: l.Name}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range notices {
		if e := m.outbox.entries[n.Alert.Key]; e != nil {
			e.tells(l.Name).repeated = now
			if !n.again && !dead {
				m.o.Metrics.told(l.Name, n, now.Sub(e.Changed))
			}
		}
		if !n.again || dead {
			told := toldRecord{Key: n.Alert.Key, Version: n.version, Episode: n.episode,
				Severity: n.Alert.Severity, Resolved: n.State == Resolved, Dead: dead}
			for _, f := range n.Former {
				told.Former = append(told.Former, f.Severity)
			}
			r.Told = append(r.Told, told)
		}
	}
	// Without anything told, as after repeats, it still counts for the limit.
	if err := m.outbox.do(r); err != nil {
		m.o.Metrics.journalFailed()
		m.o.Log.Error("the outbox of alerts cannot be written; after a restart some alerts are told again", "channel", l.Name, "error", err)
	}
}

// mourn puts a refused notice among the dead letters.
func (l *lane) mourn(err error, n Notice) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.bury(l.Name, "refused", err, n.Alert)
	l.m.syncDead()
}

// up notes that the receiver answers.
func (l *lane) up(now time.Time) {
	if !l.down.IsZero() {
		l.m.o.Log.Info("the receiver of alerts answers again; it is told what is true now", "channel", l.Name, "down", now.Sub(l.down).Round(time.Second), "tries", l.tries())
	}
	l.down, l.closed = time.Time{}, time.Time{}
	l.backoff.failures, l.wrong.failures = 0, 0
}

// tries are those in a row that failed.
func (l *lane) tries() int { return l.backoff.failures + l.wrong.failures }

// fail leaves the receiver alone for a while.
func (l *lane) fail(err error, now time.Time) {
	if l.down.IsZero() {
		l.down = now
	}
	later := new(LaterError)
	asked := errors.As(err, &later)
	level := slog.LevelWarn
	var pause time.Duration
	switch {
	case errors.Is(err, ErrMisdirected):
		level = slog.LevelError // a person has to mend it
		pause = l.wrong.next(later.After, l.m.jitter())
	case asked:
		l.backoff.first = l.traits.FirstPause
		pause = l.backoff.next(later.After, l.m.jitter())
	default: // not reached: that is soon known to be over
		l.backoff.first = firstPause
		pause = l.backoff.next(0, l.m.jitter())
	}
	l.closed = now.Add(pause)
	l.m.o.Log.Log(context.Background(), level, "alerts could not be told; they wait", "channel", l.Name, "again_in", pause.Round(time.Millisecond), "tries", l.tries(), "error", err)
}

// beat lets the receiver hear from us when it is time, and says when that is again.
// It has no part in limits and pauses: a heart that stops must mean what it says.
func (l *lane) beat(ctx context.Context, now time.Time) time.Duration {
	if l.Heartbeat == 0 {
		return idle
	}
	if now.Before(l.nextBeat) {
		return l.nextBeat.Sub(now)
	}
	l.nextBeat = now.Add(l.Heartbeat)
	err := l.alive()
	if err == nil {
		err = l.send(ctx, Message{ID: Key(l.Name, now.String()), Channel: l.Name, Purpose: Heartbeat, Interval: l.Heartbeat})
	}
	l.m.o.Metrics.beat(l.Name, err, time.Now())
	if err != nil && ctx.Err() == nil {
		l.nextBeat = now.Add(min(l.Heartbeat, beatAgain))
		l.m.o.Log.Warn("no heartbeat was sent", "channel", l.Name, "error", err)
	}
	return max(time.Until(l.nextBeat), 0)
}

// alive says what is wrong with us: a heartbeat must not say that alerts would come
// if they would not.
func (l *lane) alive() error {
	if err := l.m.outbox.journal.Sync(); err != nil {
		return err
	}
	if l.m.o.Alive == nil {
		return nil
	}
	return l.m.o.Alive()
}
