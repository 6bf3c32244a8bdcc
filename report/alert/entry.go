package alert

import (
	"slices"
	"time"
)

// entry is an alert and what each channel knows of it.
type entry struct {
	Alert   Alert     `json:"alert"`
	Version uint64    `json:"version"` // of the last change; over all entries
	Episode int       `json:"episode"` // fires, while the entry is kept
	Firing  bool      `json:"firing"`
	Former  []Former  `json:"formers,omitempty"` // other severities, also of episodes that are not told everywhere
	Changed time.Time `json:"changed"`           // when we heard of it last
	// Quiet: it was silenced when it was resolved. Who was not told need not be.
	Quiet bool `json:"quiet,omitempty"`
	// Storm is the channel whose storm this entry is, "" for an alert.
	Storm string           `json:"storm,omitempty"`
	Told  map[string]*told `json:"told,omitempty"` // by channel

	size int // in bytes, about
}

// told is what a channel knows of an entry.
type told struct {
	Version  uint64    `json:"version,omitempty"` // the last that was answered, or that is dead
	Episode  int       `json:"episode,omitempty"`
	Severity Severity  `json:"severity,omitempty"`
	Open     bool      `json:"open,omitempty"` // it was told that the alert fires, and not that it ended
	Ended    time.Time `json:"ended,omitzero"` // when it was told that it ended
	Dead     bool      `json:"dead,omitempty"` // Version was refused
	// Over are the severities whose end it has taken, and since when.
	Over map[Severity]time.Time `json:"over,omitempty"`
	// Storm is the key of the storm that tells of this alert instead.
	Storm string `json:"storm,omitempty"`

	repeated time.Time // when it was told anything last; zero after a restart
}

// knows is what a channel knows, never nil.
func (e *entry) knows(channel string) *told {
	if t := e.Told[channel]; t != nil {
		return t
	}
	return &told{}
}

// tells is knows, to be changed.
func (e *entry) tells(channel string) *told {
	t := e.Told[channel]
	if t == nil {
		if e.Told == nil {
			e.Told = make(map[string]*told)
		}
		t = &told{}
		e.Told[channel] = t
	}
	return t
}

// open reports whether any channel believes that the alert fires.
func (e *entry) open() bool {
	for _, t := range e.Told {
		if t.Open {
			return true
		}
	}
	return false
}

// fire begins an episode, in a new entry or in one whose last episode is not yet
// told everywhere.
func (e *entry) fire(a Alert, stormy func(key string) bool, now time.Time) {
	e.grade(a.Severity, now)
	e.Alert = a
	e.Firing, e.Quiet = true, false
	e.Episode++
	for _, t := range e.Told {
		t.Ended, t.Dead = time.Time{}, false
		if !stormy(t.Storm) {
			t.Storm = "" // that one is over
		}
	}
}

// update changes what may change within an episode.
func (e *entry) update(a Alert, now time.Time) {
	e.grade(a.Severity, now)
	e.Alert = a.inEpisodeOf(e.Alert)
}

// grade gives the alert a severity. From now on any channel may hear it, so that its
// end, when it comes, is news again.
func (e *entry) grade(s Severity, now time.Time) {
	e.Former = slices.DeleteFunc(e.Former, func(f Former) bool { return f.Severity == s || f.Severity == e.Alert.Severity })
	if old := e.Alert.Severity; old != s && old != 0 {
		e.Former = append(e.Former, Former{Severity: old, EndsAt: now.UTC().Round(0)})
	}
	for _, t := range e.Told {
		delete(t.Over, s)
	}
}

// formers are the severities of whose end a channel is to hear: no answer may mean
// that it knows of any that the alert had.
func (e *entry) formers(c *Channel, t *told, now time.Time) []Former {
	var all []Former
	for _, f := range e.Former {
		if told, over := t.Over[f.Severity]; !over || now.Before(told.Add(c.traits.Afterglow)) {
			all = append(all, f)
		}
	}
	return all
}

// inEpisodeOf is the alert with what an episode keeps: see Alert.Labels.
func (a Alert) inEpisodeOf(first Alert) Alert {
	a.Kind, a.Identity, a.Labels, a.StartsAt = first.Kind, first.Identity, first.Labels, first.StartsAt
	return a
}

// heard notes that a channel has answered to a notice, or refused it for good.
func (e *entry) heard(channel string, r toldRecord, now time.Time) {
	t := e.tells(channel)
	if r.Version < t.Version {
		return
	}
	t.Version, t.Episode, t.Dead = r.Version, r.Episode, r.Dead
	switch {
	case r.Resolved:
		t.Open, t.Ended = false, now
	case !r.Dead:
		t.Open, t.Severity, t.Ended = true, r.Severity, time.Time{}
	}
	if r.Dead {
		return
	}
	ended := slices.Clone(r.Former)
	if r.Resolved {
		ended = append(ended, r.Severity)
	}
	for _, s := range ended {
		// One that the alert has again, since the message left, will have another end.
		if _, known := t.Over[s]; !known && (r.Resolved && !e.Firing || s != e.Alert.Severity) {
			if t.Over == nil {
				t.Over = make(map[Severity]time.Time)
			}
			t.Over[s] = now
		}
	}
}

// notice is what a channel has to be told now, if anything, and else when that may
// change; zero: when something happens.
func (e *entry) notice(c *Channel, quietUntil, now time.Time) (n Notice, due bool, next time.Time) {
	if e.Storm != "" && e.Storm != c.Name {
		return n, false, next
	}
	t := e.knows(c.Name)
	n = Notice{Alert: e.Alert, Former: e.formers(c, t, now), Fires: e.Episode - t.Episode, version: e.Version, episode: e.Episode}
	switch {
	case t.Storm != "":
		return n, false, next
	case e.Firing && t.Open:
		return e.going(c, t, n, now)
	case e.Firing:
		if t.Dead && t.Version == e.Version || e.Alert.Severity < c.MinSeverity {
			return n, false, next
		}
		if now.Before(quietUntil) {
			return n, false, quietUntil
		}
		n.State = Fired
		return n, true, next
	case t.Open:
		n.State = Resolved
		return n, true, next
	case !t.Ended.IsZero():
		return e.afterglow(c, t, n, now)
	}
	n.State, n.Missed = Resolved, true
	return n, !e.Quiet && !t.Dead && e.Alert.Severity >= c.MinSeverity, next
}

// going is notice for an alert that fires, as the channel knows.
func (e *entry) going(c *Channel, t *told, n Notice, now time.Time) (Notice, bool, time.Time) {
	if t.Version != e.Version && (c.traits.Updates || e.Storm != "" || e.Alert.Severity > t.Severity) {
		n.State = Updated
		return n, true, time.Time{}
	}
	if c.traits.Repeat == 0 {
		return n, false, time.Time{}
	}
	n.State, n.again = Repeated, true
	next := t.repeated.Add(c.traits.Repeat)
	return n, !now.Before(next), next
}

// afterglow is notice for an alert whose end the channel knows.
func (e *entry) afterglow(c *Channel, t *told, n Notice, now time.Time) (Notice, bool, time.Time) {
	if t.Dead || !now.Before(t.Ended.Add(c.traits.Afterglow)) {
		return n, false, time.Time{}
	}
	n.State, n.again = Resolved, true
	next := t.repeated.Add(c.traits.Repeat)
	return n, !now.Before(next), next
}

// settled reports whether a channel will never have to be told anything more of a
// resolved entry.
func (e *entry) settled(c *Channel, now time.Time) bool {
	_, due, next := e.notice(c, time.Time{}, now)
	return !e.Firing && !due && next.IsZero()
}
