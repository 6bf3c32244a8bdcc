package oncall

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/report/alert"
)

const (
	// lastDay is how long before an issuer's last key stops verifying that is told as
	// bad as if it had: a working day to mend it.
	lastDay = 24 * time.Hour
	// failuresTold are those in a row after which what may pass by itself is told: an
	// issuer that is deployed, or a HAProxy that is started, just when we ask.
	failuresTold = 2
)

// Gate tells people what keeps HAProxy from knowing the issuers' keys:
//
//	edge.Refresher --a round--> Refreshed --+
//	the policy's file --read--> Policy -----+--> Faults --> Desk
//	the clock ----------------> Look -------'
//
// Its methods are safe for concurrent use.
type Gate struct {
	mu       sync.Mutex
	issuers  *Faults
	unapply  *Faults
	policies *Faults

	// As the last round left it; nil before the first.
	round *edge.Refreshed
	// Rounds in a row that failed since we run: the issuers' state counts over restarts,
	// but not where the state itself cannot be written.
	failed    map[string]int
	unapplied int

	read   bool // the policy's file was
	file   string
	policy error
}

// GateFaults are the sorts of faults that a Gate tells of.
func GateFaults() []string { return []string{FaultIssuer, FaultApply, FaultPolicy} }

// NewGate makes one, which tells of what has lasted for after. It looks when it is told
// to: see Look.
func NewGate(on Teller, after time.Duration) *Gate {
	return &Gate{
		issuers: NewFaults(on, FaultIssuer, after), unapply: NewFaults(on, FaultApply, after), policies: NewFaults(on, FaultPolicy, after),
		failed: map[string]int{},
	}
}

// Refreshed takes what a round of an edge.Refresher came to.
func (g *Gate) Refreshed(done edge.Refreshed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	failed := map[string]int{} // an issuer that left the policy is forgotten
	for _, h := range done.Health {
		if h.Err != nil {
			failed[h.Issuer] = g.failed[h.Issuer] + 1
		}
	}
	g.failed, g.round = failed, &done
	g.unapplied++
	if done.Unapplied == nil {
		g.unapplied = 0
	}
	g.look(time.Now())
}

// Policy takes how reading the policy's file went; nil: it is good.
func (g *Gate) Policy(file string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.read, g.file, g.policy = true, file, err
	g.look(time.Now())
}

// Look tells what only time brings: that something has lasted, that a key has ended. To
// be called every few seconds.
func (g *Gate) Look(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.look(now)
}

// look is Look. What is not known yet, after a restart, is neither wrong nor over. The
// caller holds mu.
func (g *Gate) look(now time.Time) {
	if g.round != nil {
		var wrong []Fault
		for _, h := range g.round.Health {
			if a, bad := issuerAlert(h, max(h.Failures, g.failed[h.Issuer]), now); bad {
				wrong = append(wrong, Fault{What: []string{h.Issuer}, Alert: a, Early: h.Err != nil && a.Numbers["failures"] < failuresTold})
			}
		}
		g.issuers.Look(now, wrong)
		g.unapply.Look(now, unapplied(g.round.Unapplied, g.unapplied))
	}
	if g.read {
		g.policies.Look(now, faultyPolicy(g.file, g.policy))
	}
}

// issuerAlert is what is wrong with an issuer's keys, if anything.
func issuerAlert(h edge.IssuerHealth, failures int, now time.Time) (a alert.Alert, bad bool) {
	usable := h.Keys
	if !h.LastKey.IsZero() && !now.Before(h.LastKey) {
		usable = 0
	}
	if h.Err == nil && usable > 0 {
		return a, false
	}
	a = alert.Alert{
		Severity: alert.Medium, Title: "Keys of issuer " + h.Issuer + " cannot be fetched", Labels: map[string]string{"issuer": h.Issuer},
		Numbers: map[string]float64{"failures": float64(failures), "keys": float64(usable)},
		Command: "haptrail edge keys",
	}
	switch {
	case usable == 0:
		a.Severity, a.Title = alert.High, "No key of issuer "+h.Issuer+" verifies: all of its tokens are denied"
	case !h.LastKey.IsZero() && h.LastKey.Sub(now) < lastDay:
		a.Severity, a.Title = alert.High, fmt.Sprintf("The last key of issuer %s verifies until %s only", h.Issuer, moment(h.LastKey))
	}
	var text strings.Builder
	if h.Err != nil {
		fmt.Fprintf(&text, "%s in a row, the last: %v.\n", plural(failures, "failure", "failures"), h.Err)
	}
	fetched := "They were never fetched"
	if !h.LastSuccess.IsZero() {
		fetched = "They were fetched last at " + moment(h.LastSuccess)
	}
	fmt.Fprintf(&text, "%s, and %s. ", fetched, whatVerifies(h, usable))
	switch {
	case usable == 0:
		text.WriteString("Every job with its token gets 401 kid_unknown.\n")
	default:
		text.WriteString("What a key signs that the issuer takes into use now is denied: 401 kid_unknown.\n")
	}
	text.WriteString("To do: " + issuerMend(h))
	a.Text = text.String()
	return a, true
}

// whatVerifies says what is left of an issuer's keys.
func whatVerifies(h edge.IssuerHealth, usable int) string {
	switch {
	case usable == 0 && h.Keys > 0:
		return "the last of them ended at " + moment(h.LastKey)
	case usable == 0:
		return "none is there"
	case !h.LastKey.IsZero():
		return plural(usable, "key verifies", "keys verify") + " its tokens, the last until " + moment(h.LastKey)
	}
	return plural(usable, "key verifies", "keys verify") + " its tokens as before"
}

// issuerMend says what a person is to do.
func issuerMend(h edge.IssuerHealth) string {
	where, file := strings.CutPrefix(h.URL, "file:")
	if file {
		return "see that whoever writes " + where + " does so, and that the daemon's user may read it. It is read again by itself; at once by: haptrail edge keys"
	}
	return "see why " + cmp.Or(where, "its key set") + " cannot be had from here; if the issuer has moved it, write the new place as jwks into the policy. It is asked again by itself; at once by: haptrail edge keys"
}

// unapplied is that HAProxy was not brought to the keys, if so.
func unapplied(err error, times int) []Fault {
	if err == nil {
		return nil
	}
	mend := "mend what the error says. It is tried again at the next refresh; at once by: haptrail edge keys"
	byHand := errors.Is(err, edge.ErrReloadNeeded)
	if byHand {
		mend = "reload HAProxy, as by: systemctl reload haproxy; or have haptrail do it: edge.master names the master's socket"
	}
	return []Fault{{
		Early: times < failuresTold && !byHand, // what waits for a person does not pass by itself
		Alert: alert.Alert{
			Severity: alert.Medium, Title: "HAProxy does not have its issuers' keys as they are now",
			Text: fmt.Sprintf("%s in a row, the last: %v.\nIt goes on with those that it has: what a newer key signs is denied (401 kid_unknown), and a key that its issuer took back still verifies.\nTo do: %s",
				plural(times, "failure", "failures"), err, mend),
			Numbers: map[string]float64{"failures": float64(times)}, Command: "haptrail edge keys",
		},
	}}
}

// faultyPolicy is that the policy's file cannot be read, if so.
func faultyPolicy(file string, err error) []Fault {
	if err == nil {
		return nil
	}
	return []Fault{{
		Alert: alert.Alert{
			Severity: alert.Medium, Title: filepath.Base(file) + " is faulty: the policy stays as it was",
			Text:    fmt.Sprintf("%v.\nWhat was changed in it since it could be read last has no effect: keys of an issuer that it adds are not fetched, those of one that it removes still verify. The daemon would not start with it.\nTo do: mend the line; it is read again by itself. What it comes to shows: haptrail edge render --dry-run", err),
			Command: "haptrail edge render --dry-run",
		},
	}}
}

// moment is a time as people on call compare it with their logs.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}
