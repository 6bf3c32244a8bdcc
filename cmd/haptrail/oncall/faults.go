package oncall

import (
	"maps"
	"slices"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// Sorts of faults, as the label "fault" has them.
const (
	FaultStickTable = "stick_table" // one cannot be read
	FaultIssuer     = "issuer_keys" // an issuer's keys cannot be fetched, or none verifies
	FaultApply      = "gate_keys"   // HAProxy was not brought to the keys
	FaultPolicy     = "gate_policy" // the policy cannot be read
)

// Teller is told of faults, and knows those from before. *Desk is one.
type Teller interface {
	Fire(a alert.Alert)
	Resolve(key string, at time.Time)
	Firing(kind string) []alert.Alert
}

// Fault is something that is wrong at a time.
type Fault struct {
	// What names it among the faults of its sort, as a proxy and its table.
	What []string
	// Alert is how people are to see it: severity, title, text, labels, numbers and
	// command; the rest is for Faults to fill in. Another severity or title is told as
	// a change, another text is not: errors differ from one try to the next.
	Alert alert.Alert
	// Early: it may well pass by itself, and is not to be told yet, however long it
	// lasts. One that was told goes on nonetheless.
	Early bool
}

// Faults tells people of one sort of faults: of each once, when it has lasted for a
// while, and when it is over. Those from before a restart it takes over. It is for one
// goroutine at a time.
type Faults struct {
	on    Teller
	sort  string
	after time.Duration
	going map[string]*fault // by the alert's key; nil before the first look
}

// fault is one that goes on.
type fault struct {
	since time.Time
	told  bool
	// As it was told.
	severity alert.Severity
	title    string
}

// NewFaults keeps faults of a sort; each is told when it has lasted for after.
func NewFaults(on Teller, sort string, after time.Duration) *Faults {
	return &Faults{on: on, sort: sort, after: after}
}

// Look is told all that is wrong now. What was wrong before and is not among it is over.
func (f *Faults) Look(now time.Time, wrong []Fault) {
	if f.going == nil {
		f.takeOver()
	}
	seen := map[string]bool{}
	for i := range wrong {
		key := alert.Key(append([]string{KindFault, f.sort}, wrong[i].What...)...)
		seen[key] = true
		f.goesOn(now, key, &wrong[i])
	}
	for _, key := range slices.Sorted(maps.Keys(f.going)) {
		if seen[key] {
			continue
		}
		if f.going[key].told {
			f.on.Resolve(key, now)
		}
		delete(f.going, key)
	}
}

// takeOver knows what people were told before a restart: it is told again only if it
// is over.
func (f *Faults) takeOver() {
	f.going = map[string]*fault{}
	for _, a := range f.on.Firing(KindFault) {
		if a.Labels["fault"] == f.sort {
			f.going[a.Key] = &fault{since: a.StartsAt, told: true, severity: a.Severity, title: a.Title}
		}
	}
}

// goesOn tells of a fault if it is time, or if it has changed.
func (f *Faults) goesOn(now time.Time, key string, wrong *Fault) {
	one := f.going[key]
	if one == nil {
		one = &fault{since: now}
		f.going[key] = one
	}
	a := wrong.Alert
	switch {
	case one.told && one.severity == a.Severity && one.title == a.Title:
		return
	case !one.told && (wrong.Early || now.Sub(one.since) < f.after):
		return
	}
	one.told, one.severity, one.title = true, a.Severity, a.Title
	a.Key, a.Kind, a.StartsAt = key, KindFault, one.since
	a.Labels = maps.Clone(a.Labels)
	if a.Labels == nil {
		a.Labels = map[string]string{}
	}
	a.Labels["fault"] = f.sort
	f.on.Fire(a)
}

// EndFaults ends what people were told before a restart of sorts of faults that nobody
// looks for any more: their part of the configuration is gone.
func EndFaults(on Teller, now time.Time, sorts ...string) {
	for _, sort := range sorts {
		NewFaults(on, sort, 0).Look(now, nil)
	}
}
