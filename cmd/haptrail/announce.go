package main

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/schema"
)

// announcement are the flags of what somebody announces for a time: load that is no
// burst, alerts that are to be quiet.
type announcement struct {
	From     string `default:"now" placeholder:"WHEN" help:"From when: a duration from now (30m, 1d), a date, or an RFC 3339 time."`
	Until    string `placeholder:"WHEN" help:"Until when: a duration from then (2h, 3d), a date, or an RFC 3339 time; at most 90 days. Needed."`
	Reason   string `placeholder:"TEXT" help:"Why, for whoever asks later. Needed."`
	Owner    string `placeholder:"NAME" help:"Who announces it. Default: the user of this machine."`
	List     bool   `help:"List what was announced and has neither ended nor was withdrawn."`
	Withdraw string `placeholder:"ID" help:"Withdraw the one with this id, or the only one whose id begins so."`
}

const (
	// longestAhead is for how long something is announced at most: one that was
	// forgotten must end.
	longestAhead = 90 * 24 * time.Hour
	// longestText is how many bytes its texts have at most, together.
	longestText = 4000
)

// action is what the flags ask for: "list", "withdraw" or "announce". given names what
// there is of an announcement beside the common flags, such as "--kind"; "" for nothing.
func (a *announcement) action(given string) (string, error) {
	if given == "" && a.Until != "" {
		given = "--until"
	}
	if given == "" && a.Reason != "" {
		given = "--reason"
	}
	switch {
	case a.List && a.Withdraw != "":
		return "", errors.New("--list and --withdraw exclude each other")
	case a.List && given != "":
		return "", fmt.Errorf("--list and %s exclude each other: leave one out", given)
	case a.Withdraw != "" && given != "":
		return "", fmt.Errorf("--withdraw and %s exclude each other: leave one out", given)
	case a.List:
		return "list", nil
	case a.Withdraw != "":
		return "withdraw", nil
	}
	return "announce", nil
}

// span reads --from and --until.
func (a *announcement) span(now time.Time) (starts, ends time.Time, err error) {
	if a.Until == "" {
		return starts, ends, errors.New("--until is missing: say when it ends, such as --until 2h or --until 2026-11-24T06:00:00Z")
	}
	if starts, err = parseAhead(a.From, now); err != nil {
		return starts, ends, fmt.Errorf("--from: %w", err)
	}
	if ends, err = parseAhead(a.Until, starts); err != nil {
		return starts, ends, fmt.Errorf("--until: %w", err)
	}
	starts, ends = starts.UTC().Truncate(time.Millisecond), ends.UTC().Truncate(time.Millisecond)
	switch {
	case !ends.After(now):
		err = fmt.Errorf("--until %s is over: give a time to come, or a duration such as 2h", a.Until)
	case !ends.After(starts):
		err = fmt.Errorf("--until %s is not after --from %s: give a later end, or a duration such as 2h", a.Until, a.From)
	case ends.Sub(starts) > longestAhead:
		err = fmt.Errorf("--until: %s is too long: at most 90 days, to be announced again by someone who still knows why", roughly(ends.Sub(starts)))
	case starts.After(now.Add(longestAhead)):
		err = fmt.Errorf("--from %s is more than 90 days ahead: announce it when it is nearer", a.From)
	}
	return starts, ends, err
}

// who is the owner and the reason. texts are others that are stored with them.
func (a *announcement) who(texts ...string) (owner, reason string, err error) {
	owner, reason = strings.TrimSpace(cmp.Or(a.Owner, osUser())), strings.TrimSpace(a.Reason)
	switch {
	case reason == "":
		err = errors.New(`--reason is missing: say why, such as --reason "load test of the new checkout"`)
	case owner == "":
		err = errors.New("--owner is missing, and this machine does not know who you are: name yourself")
	case len(owner)+len(reason)+len(strings.Join(texts, "")) > longestText:
		err = fmt.Errorf("--reason and the other texts have more than %d bytes: shorten them", longestText)
	}
	return owner, reason, err
}

// parseAhead reads a duration from a time on, a date or a time.
func parseAhead(s string, from time.Time) (time.Time, error) {
	if d, err := config.ParseDuration(s); err == nil {
		return from.Add(d), nil
	}
	return parseTime(s, from)
}

func osUser() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return os.Getenv("USER")
}

// newID names something announced: 12 hexadecimal digits.
func newID() string {
	var b [6]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails
	return hex.EncodeToString(b[:])
}

// pickOne is the row whose id is or begins with what was given. what is the rows' name
// in errors, such as "announcement"; list the command that shows them.
func pickOne[T any](rows []T, given, what, list string, id func(*T) (id string, withdrawn bool)) (*T, error) {
	var found []*T
	var ids []string
	gone := ""
	for i := range rows {
		switch name, withdrawn := id(&rows[i]); {
		case !strings.HasPrefix(name, given):
		case withdrawn:
			gone = name
		case name == given:
			return &rows[i], nil
		default:
			found, ids = append(found, &rows[i]), append(ids, name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, usageError{hint(fmt.Errorf("--withdraw %s: the ids of %d begin so: %s", given, len(found), strings.Join(ids, ", ")), "give more of it")}
	case gone != "":
		return nil, hint(fmt.Errorf("--withdraw %s: it was withdrawn before", gone), list+" shows those that are left")
	}
	return nil, hint(fmt.Errorf("--withdraw %s: there is no %s with such an id, or it has ended", given, what), list+" shows those that there are")
}

// after is now, or a moment after what was told before: of rows of one id the one that
// was told last counts, and clocks differ.
func after(before time.Time) time.Time {
	return later(time.Now().UTC(), before.Add(time.Microsecond))
}

// reads says when the daemon knows of what was stored.
func reads(store *schema.Store) string {
	if store.Engine() != nil {
		return "No daemon runs on this data now; it counts as soon as one does."
	}
	return "The daemon knows within 2 s."
}

// spanText is a span in words.
func spanText(starts, ends time.Time) string {
	return fmt.Sprintf("from %s until %s UTC (%s)", moment(starts), moment(ends), roughly(ends.Sub(starts)))
}
