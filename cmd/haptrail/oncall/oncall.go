// Package oncall brings what the daemon finds to the people on call, and keeps a
// record of it.
//
//	bursts ----+
//	findings --+--> Desk --> alert.Manager --> Alertmanager, PagerDuty, Slack, webhooks
//	faults ----+     |  ^
//	                 |  '-- table silences ("haptrail alerts silence")
//	                 '----> table alerts: what fired, from when to when
//
// The manager's outbox, not the table, is what makes sure that everybody is told: the
// table follows when the engine has time.
package oncall

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/schema"
)

// Kinds of alerts.
const (
	KindBurst   = "burst"
	KindFinding = "finding"
	KindFault   = "fault" // something of haptrail's own, or its sight of HAProxy
)

const (
	syncEvery    = 2 * time.Second
	storeTimeout = 30 * time.Second
	// maxRecords bounds what waits for the table alerts while the engine takes nothing.
	maxRecords = 10_000
)

// Options are a Desk's. Manager and Store are needed.
type Options struct {
	Manager *alert.Manager
	Store   *schema.Store
	// Findings is the least severity of a finding that is an alert; 0: none is.
	Findings alert.Severity
	Log      *slog.Logger
}

// Desk takes what is found and has it told. Its methods are safe for concurrent use.
type Desk struct {
	Options

	mu      sync.Mutex
	records map[recordKey]schema.AlertRow // that the table does not have yet
	firing  map[string]alert.Alert        // by key, as they were told last
	// When each finding that fires was found last, by key.
	findings map[string]time.Time

	// Owned by Run.
	refused    map[string]bool // silences of the table, by id
	reconciled bool            // the table has no alert as firing that does not
}

type recordKey struct {
	key   string
	start time.Time
}

// New makes a desk. What the manager has firing from before is the caller's to end:
// see Firing.
func New(o Options) *Desk {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Desk{Options: o, records: map[recordKey]schema.AlertRow{}, firing: map[string]alert.Alert{}, findings: map[string]time.Time{}, refused: map[string]bool{}}
	for _, a := range o.Manager.Firing() {
		d.firing[a.Key] = a
	}
	return d
}

// Fire begins an alert, or changes one that fires.
func (d *Desk) Fire(a alert.Alert) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if former, fires := d.firing[a.Key]; fires {
		a.StartsAt = former.StartsAt
	} else if a.StartsAt.IsZero() {
		a.StartsAt = time.Now().UTC()
	}
	if err := d.Manager.Fire(a); err != nil {
		d.Log.Error("an alert may not be told", "kind", a.Kind, "identity", a.Identity, "title", a.Title, "error", err)
		if errors.Is(err, alert.ErrFull) {
			return
		}
	}
	d.firing[a.Key] = a
	d.record(a, time.Time{})
}

// Resolve ends an alert; one that does not fire stays as it is.
func (d *Desk) Resolve(key string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, fires := d.firing[key]
	if !fires {
		return
	}
	if err := d.Manager.Resolve(key, at); err != nil && !errors.Is(err, alert.ErrNotFiring) {
		d.Log.Error("the end of an alert may not be told", "kind", a.Kind, "identity", a.Identity, "title", a.Title, "error", err)
	}
	delete(d.firing, key)
	if at.Before(a.StartsAt) { // the clock went back
		at = a.StartsAt
	}
	d.record(a, at)
}

// Firing are the alerts of a kind that fire, by key.
func (d *Desk) Firing(kind string) []alert.Alert {
	d.mu.Lock()
	defer d.mu.Unlock()
	var firing []alert.Alert
	for _, a := range d.firing {
		if a.Kind == kind {
			firing = append(firing, a)
		}
	}
	slices.SortFunc(firing, func(a, b alert.Alert) int { return strings.Compare(a.Key, b.Key) })
	return firing
}

// record has the table know. The caller holds mu.
func (d *Desk) record(a alert.Alert, end time.Time) {
	key := recordKey{a.Key, a.StartsAt}
	if _, known := d.records[key]; !known && len(d.records) >= maxRecords {
		d.Log.Error("an alert is not in the table alerts: too many wait for the engine", "key", a.Key, "title", a.Title)
		return
	}
	d.records[key] = schema.AlertRow{
		Key: a.Key, Kind: a.Kind, Severity: a.Severity.String(), Title: a.Title, Text: a.Text, Identity: a.Identity,
		Run: a.Run, Commit: a.Commit, Start: a.StartsAt, End: end, Updated: time.Now().UTC(), Command: a.Command,
	}
}

// Run keeps the tables and the manager's silences in step until ctx ends, and then
// stores what is left.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	failing := false
	for {
		d.endFindings(time.Now())
		err := errors.Join(d.reconcile(ctx), d.store(ctx), d.silence(ctx))
		if failed := err != nil && ctx.Err() == nil; failed != failing {
			if failing = failed; failed {
				d.Log.Error("alerts and silences are not in step with their tables; it is tried again", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return d.store(context.WithoutCancel(ctx))
		case <-tick.C:
		}
	}
}

// reconcile ends what the table has firing from before, and the manager has not: the
// outbox is on the disk when a person is told, and the table follows.
func (d *Desk) reconcile(ctx context.Context) error {
	if d.reconciled {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	now := time.Now().UTC()
	var over []schema.AlertRow
	err := d.Store.Alerts(ctx, schema.AlertsQuery{Until: now.Add(24 * time.Hour), Firing: true}, func(row *schema.AlertRow) error {
		over = append(over, *row)
		return nil
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range over {
		fires, ok := d.firing[row.Key]
		if ok && fires.StartsAt.Truncate(time.Millisecond).Equal(row.Start) {
			continue
		}
		key := recordKey{row.Key, row.Start}
		if _, known := d.records[key]; !known {
			row.End, row.Updated = now, now
			d.records[key] = row
		}
	}
	d.reconciled = true
	return nil
}

// store writes what the table does not have.
func (d *Desk) store(ctx context.Context) error {
	d.mu.Lock()
	rows := make([]schema.AlertRow, 0, len(d.records))
	for _, row := range d.records {
		rows = append(rows, row)
	}
	d.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b schema.AlertRow) int { return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.Key, b.Key)) })
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := d.Store.InsertAlerts(ctx, rows); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range rows {
		if key := (recordKey{row.Key, row.Start}); d.records[key].Updated.Equal(row.Updated) { // else it has changed meanwhile
			delete(d.records, key)
		}
	}
	return nil
}
