package alert

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/haptrail/haptrail/report/alert/journal"
)

// outbox is the state of all alerts, and its journal. Each change is one record:
// apply changes the state by it, now and when the journal is read again.
type outbox struct {
	journal *journal.Journal
	limits  limits

	entries  map[string]*entry // by key
	silences map[string]Silence
	version  uint64 // changes of alerts so far
	bytes    int    // of all entries, about

	// sent is when each channel took messages, in the last minute.
	sent map[string][]time.Time

	rewritten int64 // bytes of the journal when it was last rewritten
}

// minRewrite is below what size, in bytes, a journal is not worth rewriting. Above
// it, it may grow to four times what it was: each byte is written twice at most.
const minRewrite = 1 << 20

// limits bound an outbox.
type limits struct{ alerts, bytes int }

// record is one change, or one thing of a rewritten journal.
type record struct {
	Op      string       `json:"op"`
	Time    time.Time    `json:"time"`
	Key     string       `json:"key,omitempty"`
	Alert   *Alert       `json:"alert,omitempty"`
	Channel string       `json:"channel,omitempty"`
	Quiet   bool         `json:"quiet,omitempty"`
	Keys    []string     `json:"keys,omitempty"` // of a storm's new alerts, or of what is forgotten
	Told    []toldRecord `json:"told,omitempty"`
	Silence *Silence     `json:"silence,omitempty"`
	Entry   *entry       `json:"entry,omitempty"`
	Version uint64       `json:"version,omitempty"` // of the alert that is changed
}

// toldRecord is a notice that a channel has answered, or refused for good.
type toldRecord struct {
	Key      string   `json:"key"`
	Version  uint64   `json:"version"`
	Episode  int      `json:"episode"`
	Severity Severity `json:"severity"`
	Resolved bool     `json:"resolved,omitempty"`
	Dead     bool     `json:"dead,omitempty"`
	// Former are the severities whose end was told with it.
	Former []Severity `json:"former,omitempty"`
}

// The records.
const (
	opFire      = "fire"
	opUpdate    = "update"
	opResolve   = "resolve"
	opStorm     = "storm" // a storm fires or grows
	opTold      = "told"
	opForget    = "forget" // what all know, or was given up before
	opSilence   = "silence"
	opUnsilence = "unsilence"
	opEntry     = "entry"   // of a rewritten journal
	opVersion   = "version" // likewise
)

// openOutbox reads the journal.
func openOutbox(name string, l limits) (*outbox, journal.Recovered, error) {
	o := &outbox{limits: l, entries: make(map[string]*entry), silences: make(map[string]Silence), sent: make(map[string][]time.Time)}
	j, found, err := journal.Open(name, func(text []byte) error {
		var r record
		if err := json.Unmarshal(text, &r); err != nil {
			return err
		}
		return o.apply(r)
	})
	o.journal = j
	return o, found, err
}

// apply changes the state. Its errors are of records that we do not write.
func (o *outbox) apply(r record) error {
	switch r.Op {
	case opFire, opUpdate, opResolve, opStorm:
		return o.change(r)
	case opTold:
		for _, t := range r.Told {
			if e := o.entries[t.Key]; e != nil {
				e.heard(r.Channel, t, r.Time)
			}
		}
		o.sent[r.Channel] = append(slices.DeleteFunc(o.sent[r.Channel], func(at time.Time) bool { return r.Time.Sub(at) >= time.Minute }), r.Time)
	case opForget:
		for _, key := range r.Keys {
			o.forget(key)
		}
	case opSilence:
		if r.Silence == nil {
			return errors.New("a silence without its text")
		}
		o.silences[r.Silence.ID] = *r.Silence
	case opUnsilence:
		delete(o.silences, r.Key)
	case opEntry:
		if r.Entry == nil {
			return errors.New("an entry without its text")
		}
		o.put(r.Entry)
	case opVersion:
		o.version = r.Version
	default:
		return fmt.Errorf("record %.20q: a newer haptrail has written here; run that one", r.Op)
	}
	return nil
}

// change applies a change of an alert.
func (o *outbox) change(r record) error {
	e := o.entries[r.Key]
	if r.Op != opResolve && r.Alert == nil {
		return fmt.Errorf("%s of %.80q without its alert", r.Op, r.Key)
	}
	o.version = r.Version
	op := r.Op
	if e == nil { // then it fires; if that record is damaged, by what came after it
		if op == opResolve {
			return nil
		}
		e = &entry{}
		if op == opUpdate {
			op = opFire
		}
	}
	switch op {
	case opFire:
		e.fire(*r.Alert, o.stormFires, r.Time)
	case opUpdate:
		e.update(*r.Alert, r.Time)
	case opStorm:
		if e.Storm == "" {
			e.fire(*r.Alert, o.stormFires, r.Time)
		}
		e.Alert, e.Storm = *r.Alert, r.Channel
		for _, key := range r.Keys {
			if member := o.entries[key]; member != nil {
				member.tells(r.Channel).Storm = r.Key
			}
		}
	case opResolve:
		e.Firing, e.Quiet, e.Alert.EndsAt = false, r.Quiet, r.Alert.endsAt(r.Time)
	}
	e.Version, e.Changed = r.Version, r.Time
	o.put(e)
	return nil
}

// endsAt is the end that a record of a resolve names.
func (a *Alert) endsAt(other time.Time) time.Time {
	if a == nil || a.EndsAt.IsZero() {
		return other
	}
	return a.EndsAt
}

func (o *outbox) stormFires(key string) bool {
	e := o.entries[key]
	return e != nil && e.Firing
}

// put keeps an entry, with its size: what its JSON has, about.
func (o *outbox) put(e *entry) {
	a := &e.Alert
	if old := o.entries[a.Key]; old != nil {
		o.bytes -= old.size
	}
	e.size = 400 + len(a.Key) + len(a.Title) + len(a.Text) + len(a.Identity) + len(a.Run) + len(a.Commit) + len(a.Command) + 40*len(a.Numbers)
	for name, value := range a.Labels {
		e.size += len(name) + len(value) + 6
	}
	for i := range a.Evidence {
		e.size += 160 + len(a.Evidence[i].Endpoint) + len(a.Evidence[i].Run)
	}
	for i := range a.Links {
		e.size += 20 + len(a.Links[i].Text) + len(a.Links[i].URL)
	}
	o.bytes += e.size
	o.entries[a.Key] = e
}

// forget drops an entry.
func (o *outbox) forget(key string) {
	if e := o.entries[key]; e != nil {
		o.bytes -= e.size
		delete(o.entries, key)
	}
}

// do applies a record and writes it. After an error the state has changed, and only
// the journal is behind: an alert that is told but not kept is better than none.
func (o *outbox) do(r record) error {
	if r.Op == opFire || r.Op == opUpdate || r.Op == opResolve || r.Op == opStorm {
		r.Version = o.version + 1
	}
	if err := o.apply(r); err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = o.journal.Append(text)
	if errors.Is(err, journal.ErrBroken) || o.journal.Size() > max(minRewrite, 4*o.rewritten) {
		return o.rewrite()
	}
	return err
}

// rewrite replaces the journal by the state.
func (o *outbox) rewrite() error {
	records := []record{{Op: opVersion, Version: o.version}}
	for _, id := range slices.Sorted(maps.Keys(o.silences)) {
		s := o.silences[id]
		records = append(records, record{Op: opSilence, Silence: &s})
	}
	for _, e := range o.inOrder() {
		records = append(records, record{Op: opEntry, Entry: e})
	}
	for _, channel := range slices.Sorted(maps.Keys(o.sent)) {
		for _, at := range o.sent[channel] {
			records = append(records, record{Op: opTold, Time: at, Channel: channel})
		}
	}
	var wrong error
	err := o.journal.Rewrite(func(yield func([]byte) bool) {
		for _, r := range records {
			text, err := json.Marshal(r)
			if err != nil {
				wrong = errors.Join(wrong, err) // the others must not be lost with it
			} else if !yield(text) {
				return
			}
		}
	})
	o.rewritten = o.journal.Size()
	return errors.Join(err, wrong)
}

// inOrder are the entries, by their last change.
func (o *outbox) inOrder() []*entry {
	return slices.SortedFunc(maps.Values(o.entries), func(a, b *entry) int { return cmp.Compare(a.Version, b.Version) })
}

// room reports whether a new alert of so many bytes may be kept.
func (o *outbox) room(bytes int) bool {
	return len(o.entries) < o.limits.alerts && o.bytes+bytes <= o.limits.bytes
}

// stormy reports whether a storm that goes on stands for this entry: it is kept as
// long, to be part of it if it fires again.
func (o *outbox) stormy(e *entry) bool {
	for _, t := range e.Told {
		if t.Storm != "" && o.stormFires(t.Storm) {
			return true
		}
	}
	return false
}

// oldestOver is the oldest alert that is over and that no channel waits for the end
// of: what hurts least when something has to go.
func (o *outbox) oldestOver() *entry {
	var oldest *entry
	for _, e := range o.entries {
		if !e.Firing && !e.open() && (oldest == nil || e.Version < oldest.Version) {
			oldest = e
		}
	}
	return oldest
}

// quietUntil is when the last silence that covers an alert now will have ended.
func (o *outbox) quietUntil(a *Alert, now time.Time) time.Time {
	until := now
	for again := true; again; { // silences may overlap, or follow each other
		again = false
		for _, s := range o.silences {
			if s.covers(a, until) {
				until, again = s.Until, true
			}
		}
	}
	if until.Equal(now) {
		return time.Time{}
	}
	return until
}

// same reports whether an update would change nothing.
func (e *entry) same(a Alert) bool {
	return reflect.DeepEqual(e.Alert, a.inEpisodeOf(e.Alert))
}
