package watch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/schema"
)

// Looking a burst's requests up: their lines come a second or two after the counts
// of a stick table, and what they are attributed to later still.
const (
	atOnce     = 500 * time.Millisecond // for all bursts that begin together, before people are told
	atOnceMost = 3                      // where more begin, people are told first
	settle     = 5 * time.Second        // after a burst's start and end, until it is looked up again
	lookFor    = 10 * time.Second       // at most
	maxAsked   = 4                      // at a time
	rowsKept   = 20
	linesKept  = 8 // of an alert's text, one for each burst
)

// wanted is a burst whose requests are to be looked up.
type wanted struct {
	burst *burstOf
	due   time.Time
}

// answer is what was looked up of a burst.
type answer struct {
	burst  *burstOf
	rows   []schema.BurstEvidence
	spread string
	err    error
}

func (b *book) want(o *burstOf, due time.Time) { b.wanted = append(b.wanted, wanted{o, due}) }

// lookAtOnce looks up the requests of bursts that have begun, as far as that keeps
// nobody waiting.
func (b *book) lookAtOnce(ctx context.Context, begun []*burstOf) {
	for _, o := range begun {
		b.want(o, time.Now().Add(settle))
	}
	if len(begun) == 0 || len(begun) > atOnceMost || b.asked > maxAsked-len(begun) {
		return
	}
	for _, o := range begun {
		b.lookUp(ctx, o)
	}
	patience := time.NewTimer(atOnce)
	defer patience.Stop()
	for range begun {
		select {
		case a := <-b.answers:
			b.note(a)
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// ask has looked up what is due, a few at a time.
func (b *book) ask(ctx context.Context, now time.Time) {
	for b.asked < maxAsked {
		i := slices.IndexFunc(b.wanted, func(w wanted) bool { return !w.due.After(now) })
		if i < 0 {
			return
		}
		o := b.wanted[i].burst
		b.wanted = slices.Delete(b.wanted, i, i+1)
		b.lookUp(ctx, o)
	}
}

// lookUp asks for a burst's requests; the answer comes by answers.
func (b *book) lookUp(ctx context.Context, o *burstOf) {
	r := &o.row
	query := schema.EvidenceQuery{
		Since: r.Start.Add(-max(time.Duration(r.Window)*time.Second, 10*time.Second)), Until: time.Now().Add(time.Hour),
		Identity: r.Identity, Limit: rowsKept,
	}
	if r.State != schema.BurstOpen {
		query.Until = r.End.Add(time.Second)
	}
	if r.Of == ofAddress {
		query.Client, _ = netip.ParseAddr(r.Key)
	}
	callers := r.Of == ofFrontend
	if query.Identity == "" && !query.Client.IsValid() && !callers {
		return
	}
	of := *r
	b.asked++
	go func() {
		asking, cancel := context.WithTimeout(ctx, lookFor)
		defer cancel()
		a := answer{burst: o}
		if callers {
			a.rows, a.spread, a.err = b.denialsOf(asking, &of, query.Since, query.Until)
		} else {
			a.rows, a.err = b.Store.BurstEvidence(asking, query)
		}
		b.answers <- a
	}()
}

// hear takes an answer, and tells people what it changes.
func (b *book) hear(a answer) {
	if b.note(a) && a.burst.subject.open > 0 {
		b.alert(a.burst.subject, time.Now())
	}
}

// note takes down what a burst's requests asked for, and from which run most of them
// came.
func (b *book) note(a answer) (changed bool) {
	b.asked--
	if a.err != nil {
		b.Log.Warn("a burst has no evidence yet: its requests cannot be looked up", "id", a.burst.row.ID, "error", a.err)
		return false
	}
	r := &a.burst.row
	a.burst.spread = cmp.Or(a.spread, a.burst.spread)
	text, err := json.Marshal(a.rows)
	if err != nil || len(a.rows) == 0 || string(r.Evidence) == string(text) {
		return false
	}
	r.Evidence = schema.JSONText(text)
	if i := slices.IndexFunc(a.rows, func(e schema.BurstEvidence) bool { return e.Run != "" }); i >= 0 {
		of := &a.rows[i]
		r.Project, r.Run, r.Commit, r.Author, r.Grade = of.Project, of.Run, of.Commit, of.Author, of.Grade
	}
	r.Role = cmp.Or(r.Role, a.rows[0].Role)
	r.Updated = time.Now().UTC()
	b.record(r)
	return true
}

// alert has people know what is true of a subject.
func (b *book) alert(s *subject, at time.Time) {
	if s.open == 0 {
		delete(b.subjects, s.key)
		if s.fired {
			b.OnCall.Fire(b.compose(s)) // how it ended
			b.OnCall.Resolve(s.key, at)
		}
		return
	}
	a := b.compose(s)
	if b.Least == 0 || a.Severity < b.Least && !s.fired {
		return
	}
	now := time.Now()
	if s.fired && a.Severity <= s.level && now.Sub(s.told) < newsEvery {
		s.stale = true
		return
	}
	s.fired, s.level, s.told, s.stale = true, a.Severity, now, false
	b.OnCall.Fire(a)
}

// newsEvery is how often people are told that a burst has become larger, or of its
// evidence; what begins, ends or becomes more severe is told at once.
const newsEvery = 3 * time.Second

// refresh tells what there was to say of subjects in the meantime.
func (b *book) refresh(now time.Time) {
	for _, s := range b.subjects {
		if s.stale && now.Sub(s.told) >= newsEvery {
			b.alert(s, now)
		}
	}
}

// severities are the detectors' as people on call know them.
var severities = map[burst.Severity]alert.Severity{burst.Low: alert.Low, burst.Medium: alert.Medium, burst.High: alert.High}

// compose words the alert of all bursts of a subject: the worst one first.
func (b *book) compose(s *subject) alert.Alert {
	all := slices.Clone(s.bursts)
	slices.SortFunc(all, func(x, y *burstOf) int {
		return cmp.Or(cmp.Compare(y.level, x.level), x.row.Start.Compare(y.row.Start), strings.Compare(x.row.ID, y.row.ID))
	})
	worst := &all[0].row
	a := alert.Alert{
		Key: s.key, Kind: oncall.KindBurst, Severity: severities[all[0].level], Identity: cmp.Or(worst.Identity, worst.Key),
		Title: title(worst), Run: worst.Run, Commit: worst.Commit, StartsAt: worst.Start,
		Labels:  map[string]string{"of": worst.Of, "issuer": worst.Issuer},
		Numbers: map[string]float64{}, Command: "haptrail bursts explain " + worst.ID,
	}
	switch worst.Of {
	case ofEndpoint: // the alert is the identity's, wherever it began
		a.Labels["of"] = ofIdentity
	case ofFrontend:
		a.Command = deniedCommand(worst)
	}
	var lines []string
	for i, o := range all {
		r := &o.row
		if i == linesKept {
			lines = append(lines, fmt.Sprintf("and %d more", len(all)-i))
		}
		a.StartsAt = earlier(a.StartsAt, r.Start)
		line := r.Reason
		if r.Endpoint != "" {
			line = r.Endpoint + ": " + line
		}
		if i < linesKept {
			lines = append(lines, line)
		}
		window := r.Measure + "_" + strconv.Itoa(int(r.Window)) + "s"
		a.Numbers[window] = max(a.Numbers[window], float64(r.Peak))
	}
	a.Numbers["expected"], a.Numbers["high_water"], a.Numbers["total"] = float64(worst.Expected), math.Round(worst.High), float64(worst.Total)
	if all[0].spread != "" {
		lines = append(lines, all[0].spread)
	}
	if worst.Run != "" {
		lines = append(lines, fmt.Sprintf("Run %s of %s, commit %s by %s (%s).", worst.Run, worst.Project, short(worst.Commit), cmp.Or(worst.Author, "an unknown author"), worst.Grade))
	}
	a.Text = strings.Join(lines, "\n")
	a.Evidence = evidence(worst.Evidence)
	if link := b.link(worst); link != "" {
		a.Links = []alert.Link{{Text: "dashboard", URL: link}}
	}
	return a
}

func title(r *schema.BurstRow) string {
	switch {
	case r.Endpoint != "":
		return fmt.Sprintf("Burst of %s: %s at %s", r.Measure, r.Identity, r.Endpoint)
	case r.Identity != "":
		return fmt.Sprintf("Burst of %s: %s", r.Measure, r.Identity)
	case r.Of == ofFrontend:
		return fmt.Sprintf("Many callers are denied at frontend %s", r.Key)
	}
	return fmt.Sprintf("Burst of %s: %s %s", r.Measure, r.Of, r.Key)
}

func evidence(text schema.JSONText) []alert.Evidence {
	var rows []schema.BurstEvidence
	if json.Unmarshal([]byte(text), &rows) != nil {
		return nil // it has none yet
	}
	all := make([]alert.Evidence, len(rows))
	for i, r := range rows {
		all[i] = alert.Evidence{
			Time: r.First, Method: r.Method, Endpoint: r.Endpoint, Decision: r.Decision, Run: r.Run, Requests: r.Requests,
		}
		if !r.Network.IsUnspecified() {
			all[i].Network = netip.PrefixFrom(r.Network, networkBits(r.Network)).String()
		}
	}
	return all
}

// networkBits are of the networks that evidence is told by.
func networkBits(first netip.Addr) int {
	if first.Is4() {
		return 24
	}
	return 56
}

// link is the dashboard's address for a burst: with the variable identity, or frontend,
// and the time around it, as Grafana reads them.
func (b *book) link(r *schema.BurstRow) string {
	u, err := url.Parse(b.ExternalURL)
	if err != nil || b.ExternalURL == "" {
		return ""
	}
	query := u.Query()
	if r.Of == ofFrontend {
		query.Set("var-frontend", r.Key)
	} else {
		query.Set("var-identity", cmp.Or(r.Identity, r.Key))
	}
	query.Set("from", strconv.FormatInt(r.Start.Add(-10*time.Minute).UnixMilli(), 10))
	query.Set("to", strconv.FormatInt(r.Start.Add(20*time.Minute).UnixMilli(), 10))
	u.RawQuery = query.Encode()
	return u.String()
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func short(commit string) string { return commit[:min(len(commit), 10)] }
