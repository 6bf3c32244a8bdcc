package alert

import (
	"errors"
	"slices"
	"time"
)

// makeRoom sees to it that a new alert may be kept. The caller holds the lock.
func (m *Manager) makeRoom(a Alert, now time.Time) error {
	size := len(a.Text) + 2048
	if m.outbox.room(size) {
		return nil
	}
	m.sweep(now)
	for !m.outbox.room(size) {
		e := m.outbox.oldestOver()
		if e == nil {
			m.o.Metrics.overflowed("refused")
			return ErrFull
		}
		if !m.settled(e, now) {
			m.mournAll(e, "overflow", now)
			m.syncDead()
			m.o.Metrics.overflowed("over")
		}
		m.write(record{Op: opForget, Time: now, Keys: []string{e.Alert.Key}})
	}
	return nil
}

// sweep forgets what all know, and gives up what is over for too long. The caller
// holds the lock.
func (m *Manager) sweep(now time.Time) {
	for id, s := range m.outbox.silences {
		if !now.Before(s.Until) {
			delete(m.outbox.silences, id) // by the clock: when the journal is read again as well
		}
	}
	forget := record{Op: opForget, Time: now}
	for key, e := range m.outbox.entries {
		switch {
		case e.Firing:
		case m.settled(e, now) && !m.outbox.stormy(e):
			forget.Keys = append(forget.Keys, key)
		case now.Sub(e.Changed) > m.o.Keep:
			m.mournAll(e, "expired", now)
			forget.Keys = append(forget.Keys, key)
		}
	}
	if len(forget.Keys) > 0 {
		m.syncDead() // before they are forgotten, and once for all
		m.write(forget)
	}
	m.o.Metrics.outbox(len(m.outbox.entries), m.outbox.bytes)
}

// settled reports whether no channel will have to be told anything more.
func (m *Manager) settled(e *entry, now time.Time) bool {
	return !slices.ContainsFunc(m.lanes, func(l *lane) bool { return !e.settled(&l.Channel, now) })
}

// mournAll makes an alert that is over a dead letter of each channel that does not
// know of it. The caller holds the lock, and forgets it.
func (m *Manager) mournAll(e *entry, reason string, now time.Time) {
	for _, l := range m.lanes {
		if !e.settled(&l.Channel, now) {
			m.bury(l.Name, reason, nil, e.Alert)
		}
	}
}

// write is outbox.do for what may be lost in a crash: it is done again then. The
// caller holds the lock.
func (m *Manager) write(r record) {
	if err := m.outbox.do(r); err != nil {
		m.o.Metrics.journalFailed()
	}
}

// bury puts an alert among the dead letters of a channel, and says so. The caller
// holds the lock, and calls syncDead.
func (m *Manager) bury(channel, reason string, cause error, a Alert) {
	now := time.Now()
	m.o.Metrics.died(channel, reason)
	err := m.dead.add(deadLetter{Time: now.UTC(), Channel: channel, Reason: reason, Cause: text(cause), Alert: a})
	if err != nil {
		m.o.Metrics.journalFailed()
	}
	if now.Sub(m.mourning) > time.Minute {
		m.mourning, m.mourned = now, 0
	}
	if m.mourned++; m.mourned <= maxMourned || err != nil {
		m.o.Log.Error("an alert was not told on a channel, and will not be; it is in dead.journal. Of many in a minute, some are counted only", "channel", channel, "reason", reason,
			"key", a.Key, "title", a.Title, "error", errors.Join(cause, err))
	}
}

// maxMourned is how many dead letters are logged in a minute.
const maxMourned = 20

// syncDead brings the dead letters to the disk.
func (m *Manager) syncDead() {
	if err := m.dead.journal.Sync(); err != nil {
		m.o.Metrics.journalFailed()
		m.o.Log.Error("the dead letters cannot be written", "error", err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
