package alert

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	rnd "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/haptrail/haptrail/report/alert/journal"
)

// Options are a Manager's. Dir is needed.
type Options struct {
	// Dir holds the outbox, alerts.journal, and the dead letters, dead.journal; it is
	// made if it is missing. One process can use it. What is in them is as secret as
	// the trail itself: the files are for the owner only.
	Dir      string
	Channels []Channel

	// Alive says what is wrong with haptrail, if anything: while it does, there are no
	// heartbeats. May be nil.
	Alive func() error

	// Keep is how long an alert that is over is kept for a channel that cannot be
	// told. Then it is a dead letter. Default 24 h.
	Keep time.Duration
	// MaxAlerts and MaxBytes bound the outbox: what fires above that is refused
	// (ErrFull) and counted, after alerts that are over and that nobody was told of
	// have made room, oldest first. Default 10,000 and 64 MiB.
	MaxAlerts, MaxBytes int
	// Collect is how long a message waits for more to tell. Default 200 ms.
	Collect time.Duration

	Metrics *Metrics
	Log     *slog.Logger
}

const (
	keepFor    = 24 * time.Hour
	maxAlerts  = 10_000
	maxBytes   = 64 << 20
	collectFor = 200 * time.Millisecond
	sweepEvery = 30 * time.Second
)

// ErrFull: the outbox is at its bound.
var ErrFull = errors.New("the outbox is full: too many alerts fire, or wait for a channel that cannot be told")

// Manager keeps alerts and has them told. Its methods are safe for concurrent use.
type Manager struct {
	o     Options
	lanes []*lane
	dead  *deadLetters

	jitter func() float64 // in [0,1)

	mu       sync.Mutex // owns the rest, and what is in dead
	outbox   *outbox
	closed   bool
	mourning time.Time // since when mourned dead letters were logged
	mourned  int
}

// Open reads the outbox, or makes one. Nothing is sent before Run.
func Open(o Options) (*Manager, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	box, found, err := openOutbox(filepath.Join(o.Dir, "alerts.journal"), limits{alerts: o.MaxAlerts, bytes: o.MaxBytes})
	if err != nil {
		return nil, fmt.Errorf("open the alerts' outbox: %w", err)
	}
	m := &Manager{o: o, outbox: box, jitter: rnd.Float64}
	if m.dead, err = openDeadLetters(filepath.Join(o.Dir, "dead.journal")); err != nil {
		return nil, errors.Join(fmt.Errorf("open the dead letters: %w", err), box.journal.Close())
	}
	for _, c := range o.Channels {
		m.lanes = append(m.lanes, newLane(m, c))
	}
	if err := m.recovered(found); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// recovered says what was found, and mends it.
func (m *Manager) recovered(found journal.Recovered) error {
	if found.Torn > 0 {
		m.o.Log.Warn("the outbox of alerts ended in the middle of a record, as after a crash; nobody was told that it was kept", "bytes", found.Torn)
	}
	m.o.Metrics.recovered(found)
	for _, e := range m.outbox.inOrder() {
		if e.Storm != "" && m.lane(e.Storm) == nil {
			m.outbox.forget(e.Alert.Key) // of a channel that is configured no more
		}
	}
	if found.Damaged == 0 {
		return nil
	}
	m.o.Log.Error("the outbox of alerts is damaged: some of its records are lost; check the disk. The old file is kept beside it, .damaged", "records", found.Damaged)
	return m.outbox.rewrite()
}

// Fire begins an alert, and returns when it is on the disk. One that fires already
// is updated. After ErrFull, or an error that says what is wrong with the alert, it
// is not kept. After any other error it is in memory only, but told nonetheless:
// the disk is what failed.
func (m *Manager) Fire(a Alert) error {
	now := time.Now()
	a, err := a.normal(now)
	if err != nil {
		return err
	}
	return m.commit(func() (record, error) {
		e := m.outbox.entries[a.Key]
		if e != nil && e.Firing {
			return m.updateOf(e, a, now)
		}
		if e != nil && e.Storm != "" {
			return record{}, fmt.Errorf("alert %s: the key is that of a storm", a.Key)
		}
		if e == nil {
			if err := m.makeRoom(a, now); err != nil {
				return record{}, err
			}
		}
		m.o.Metrics.changed(opFire)
		return record{Op: opFire, Time: now, Key: a.Key, Alert: &a}, nil
	})
}

// Update changes an alert that fires; ErrNotFiring if none does. Key, Kind,
// Identity, Labels and StartsAt stay as they were. Its errors are Fire's otherwise.
func (m *Manager) Update(a Alert) error {
	now := time.Now()
	a, err := a.normal(now)
	if err != nil {
		return err
	}
	return m.commit(func() (record, error) {
		e := m.outbox.entries[a.Key]
		if e == nil || !e.Firing || e.Storm != "" {
			return record{}, fmt.Errorf("update %s: %w", a.Key, ErrNotFiring)
		}
		return m.updateOf(e, a, now)
	})
}

func (m *Manager) updateOf(e *entry, a Alert, now time.Time) (record, error) {
	if e.Storm != "" {
		return record{}, fmt.Errorf("alert %s: the key is that of a storm", a.Key)
	}
	if e.same(a) {
		return record{}, nil
	}
	m.o.Metrics.changed(opUpdate)
	return record{Op: opUpdate, Time: now, Key: a.Key, Alert: &a}, nil
}

// Resolve ends an alert that fires; ErrNotFiring if none does, as when it was
// resolved before. at is when it ended; zero is now, and so is a time to come.
func (m *Manager) Resolve(key string, at time.Time) error {
	now := time.Now()
	if at = inYears(at); at.IsZero() || at.After(now) {
		at = now.UTC().Round(0)
	}
	return m.commit(func() (record, error) {
		e := m.outbox.entries[key]
		if e == nil || !e.Firing || e.Storm != "" {
			return record{}, fmt.Errorf("resolve %.80q: %w", key, ErrNotFiring)
		}
		m.o.Metrics.changed(opResolve)
		if at.Before(e.Alert.StartsAt) {
			at = e.Alert.StartsAt
		}
		quiet := !m.outbox.quietUntil(&e.Alert, now).IsZero()
		return record{Op: opResolve, Time: now, Key: key, Quiet: quiet, Alert: &Alert{Severity: e.Alert.Severity, EndsAt: at}}, nil
	})
}

// Firing are the alerts that fire, by when they last changed: after a restart,
// whoever fires alerts has to resolve what is over.
func (m *Manager) Firing() []Alert {
	m.mu.Lock()
	defer m.mu.Unlock()
	var firing []Alert
	for _, e := range m.outbox.inOrder() {
		if e.Firing && e.Storm == "" {
			firing = append(firing, e.Alert)
		}
	}
	return firing
}

// Silence begins a silence and gives it its ID.
func (m *Manager) Silence(s Silence) (string, error) {
	now := time.Now()
	if s.From.IsZero() {
		s.From = now
	}
	if err := s.check(now); err != nil {
		return "", err
	}
	s.From, s.Until = s.From.UTC().Round(0), s.Until.UTC().Round(0)
	s.ID, s.Labels = rand.Text(), maps.Clone(s.Labels)
	return s.ID, m.commit(func() (record, error) {
		if len(m.outbox.silences) >= m.outbox.limits.alerts {
			return record{}, fmt.Errorf("%d silences: end some first", len(m.outbox.silences))
		}
		return record{Op: opSilence, Time: now, Silence: &s}, nil
	})
}

// Unsilence ends a silence.
func (m *Manager) Unsilence(id string) error {
	return m.commit(func() (record, error) {
		if _, ok := m.outbox.silences[id]; !ok {
			return record{}, fmt.Errorf("no silence %.40q: it may have ended", id)
		}
		return record{Op: opUnsilence, Time: time.Now(), Key: id}, nil
	})
}

// Silences are those that have not ended, by their end.
func (m *Manager) Silences() []Silence {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.DeleteFunc(slices.Collect(maps.Values(m.outbox.silences)), func(s Silence) bool { return !time.Now().Before(s.Until) })
	for i := range all {
		all[i].Labels = maps.Clone(all[i].Labels)
	}
	slices.SortFunc(all, func(a, b Silence) int { return a.Until.Compare(b.Until) })
	return all
}

// Test sends a trial message to a channel, at once and past every limit, and says
// whether the receiver took it.
func (m *Manager) Test(ctx context.Context, channel string) error {
	l := m.lane(channel)
	if l == nil {
		names := make([]string, 0, len(m.lanes))
		for _, l := range m.lanes {
			names = append(names, l.Name)
		}
		return fmt.Errorf("no channel %.40q; there are %v", channel, names)
	}
	now := time.Now().UTC().Round(0)
	trial := Alert{
		Key: Key("haptrail", "test", channel), Kind: "haptrail_test", Severity: Info, StartsAt: now,
		Title: "haptrail: a test of this channel", Text: "Somebody ran: haptrail alerts test. Nothing has happened, and nothing is to be done.",
	}
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	err := l.Sender.Send(ctx, Message{ID: Key(channel, now.String()), Channel: channel, Purpose: Trial, Notices: []Notice{{State: Fired, Alert: trial, Fires: 1}}})
	m.o.Metrics.sent(channel, err, now)
	if err != nil {
		return fmt.Errorf("channel %s: %w", channel, err)
	}
	return nil
}

func (m *Manager) lane(channel string) *lane {
	for _, l := range m.lanes {
		if l.Name == channel {
			return l
		}
	}
	return nil
}

// commit makes one change durable: decided and written under the lock, synced
// outside of it, so that those who wait share an fsync.
func (m *Manager) commit(decide func() (record, error)) error {
	m.mu.Lock()
	r, err := decide()
	if err != nil || r.Op == "" {
		m.mu.Unlock()
		return err
	}
	if m.closed {
		m.mu.Unlock()
		return errors.New("alerts: the manager is closed")
	}
	err = m.outbox.do(r)
	m.mu.Unlock()
	err = errors.Join(err, m.sync())
	for _, l := range m.lanes {
		l.poke()
	}
	if err != nil {
		return fmt.Errorf("alerts: kept in memory only: %w", err)
	}
	return nil
}

// sync brings what was written to the disk. A failed fsync is made good by writing
// everything anew.
func (m *Manager) sync() error {
	err := m.outbox.journal.Sync()
	if err == nil {
		return nil
	}
	m.o.Metrics.journalFailed()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return err
	}
	return m.outbox.rewrite()
}

// Run tells the channels what there is to tell until ctx ends. It returns nil, when
// no message is on its way; what was not told is told after the next start.
func (m *Manager) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, l := range m.lanes {
		all.Go(func() { l.run(ctx) })
	}
	all.Go(func() {
		ticker := time.NewTicker(sweepEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				m.mu.Lock()
				m.sweep(now)
				m.mu.Unlock()
			}
		}
	})
	all.Wait()
	return nil
}

// Close closes the outbox; call it after Run has returned.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	return errors.Join(m.outbox.journal.Close(), m.dead.journal.Close())
}
