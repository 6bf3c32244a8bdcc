package alert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// stormKind is the kind of the alert that stands for many.
const stormKind = "alert_storm"

// stormNames is how many alerts a storm names.
const stormNames = 10

// weather begins, grows and ends a channel's storm, and reports whether it did. A
// storm is an alert of its own, told on one channel; it is in the journal before it
// is told, with the alerts that it stands for: so it is resolved even if we crash in
// between. The caller holds the manager's lock.
func (o *outbox) weather(c *Channel, due []Notice, now time.Time) bool {
	storm := o.stormOf(c.Name)
	var fresh []Notice
	for _, n := range due {
		if (n.State == Fired || n.Missed) && o.entries[n.Alert.Key].Storm == "" {
			fresh = append(fresh, n)
		}
	}
	firing, worst := 0, Severity(0)
	if storm != nil {
		for _, e := range o.entries {
			if e.Firing && e.knows(c.Name).Storm == storm.Alert.Key {
				firing++
				worst = max(worst, e.Alert.Severity)
			}
		}
	}
	switch {
	case len(fresh) > c.traits.Storm:
		r := record{Op: opStorm, Time: now, Channel: c.Name}
		a := grown(storm, c.Name, fresh, now)
		for _, n := range fresh {
			r.Keys = append(r.Keys, n.Alert.Key)
		}
		r.Key, r.Alert = a.Key, &a
		_ = o.do(r) // the journal's failure is seen when it is synced, before the message
		return true
	case storm != nil && firing == 0:
		_ = o.do(record{Op: opResolve, Time: now, Key: storm.Alert.Key})
		return true
	case storm != nil && worst > storm.Alert.Severity:
		a := storm.Alert
		a.Severity = worst
		_ = o.do(record{Op: opStorm, Time: now, Channel: c.Name, Key: a.Key, Alert: &a})
		return true
	}
	return false
}

// stormOf is the channel's storm that fires, or nil.
func (o *outbox) stormOf(channel string) *entry {
	for _, e := range o.entries {
		if e.Storm == channel && e.Firing {
			return e
		}
	}
	return nil
}

// grown is a storm's alert with more alerts in it; old is nil for a new one.
func grown(old *entry, channel string, fresh []Notice, now time.Time) Alert {
	a := Alert{Key: Key("storm", channel, fresh[0].Alert.Key, now.UTC().Format(time.RFC3339Nano)), Kind: stormKind, StartsAt: now.UTC().Round(0), Numbers: map[string]float64{}}
	if old != nil {
		a = old.Alert
		a.Numbers = maps.Clone(a.Numbers)
	} else {
		a.Command, a.Links = fresh[0].Alert.Command, fresh[0].Alert.Links
		a.Text = "Among them, the worst first:\n" + names(fresh)
	}
	for _, n := range fresh {
		a.Severity = max(a.Severity, n.Alert.Severity)
		a.Numbers["alerts"]++
		a.Numbers[Cut("alerts_"+n.Alert.Kind, maxKind)]++
	}
	a.Title = fmt.Sprintf("%.0f alerts at once (%s)", a.Numbers["alerts"], kinds(a.Numbers))
	a.Title = Cut(a.Title, maxTitle)
	return a
}

// names are the first alerts of a storm, a line each.
func names(fresh []Notice) string {
	var text strings.Builder
	for i, n := range fresh {
		if i == stormNames {
			fmt.Fprintf(&text, "and %d more\n", len(fresh)-i)
			break
		}
		fmt.Fprintf(&text, "%s: %s\n", n.Alert.Severity, cmp.Or(n.Alert.Identity, n.Alert.Title))
	}
	return Cut(text.String(), maxText)
}

// kinds are the counts by kind, the most first.
func kinds(numbers map[string]float64) string {
	var all []string
	for name := range numbers {
		if name != "alerts" {
			all = append(all, name)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(numbers[b], numbers[a]), cmp.Compare(a, b)) })
	for i, name := range all {
		all[i] = fmt.Sprintf("%.0f %s", numbers[name], strings.TrimPrefix(name, "alerts_"))
	}
	return strings.Join(all, ", ")
}
