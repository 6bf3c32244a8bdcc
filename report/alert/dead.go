package alert

import (
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/haptrail/haptrail/report/alert/journal"
)

// maxDead is how long the dead letters' file gets before it becomes dead.journal.1,
// in place of an earlier one.
const maxDead = 8 << 20

// deadLetter is an alert that a channel was not told.
type deadLetter struct {
	Time    time.Time `json:"time"`
	Channel string    `json:"channel"`
	Reason  string    `json:"reason"` // refused, expired or overflow
	Cause   string    `json:"cause,omitempty"`
	Alert   Alert     `json:"alert"`
}

// deadLetters is their file. It is for people: nothing reads it. It is used under
// the manager's lock.
type deadLetters struct {
	name    string
	journal *journal.Journal
	most    int64 // bytes
}

func openDeadLetters(name string) (*deadLetters, error) {
	j, _, err := journal.Open(name, func([]byte) error { return nil })
	return &deadLetters{name: name, journal: j, most: maxDead}, err
}

// add writes one; journal.Sync brings it to the disk.
func (d *deadLetters) add(l deadLetter) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if d.journal.Size() > d.most {
		err = d.rotate()
	}
	if err == nil {
		err = d.journal.Append(text)
	}
	if errors.Is(err, journal.ErrBroken) { // as after a full disk: on in a new file
		err = errors.Join(d.rotate(), d.journal.Append(text))
	}
	return err
}

// rotate begins a new file; the one before is kept.
func (d *deadLetters) rotate() error {
	_ = os.Remove(d.name + ".1")
	if err := os.Link(d.name, d.name+".1"); err != nil {
		return err
	}
	return d.journal.Rewrite(func(func([]byte) bool) {})
}
