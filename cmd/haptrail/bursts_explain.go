package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/schema"
)

type burstsExplainCmd struct {
	ID string `arg:"" help:"The burst's id, or the beginning of it."`
	where
	Output string `short:"o" enum:"table,json" default:"table" help:"table: in words, for a person; json: one array with one object."`
}

// explained is all that is known of a burst.
type explained struct {
	schema.BurstRow
	Denied   *schema.Denials   `json:"denied,omitempty"` // of a frontend's burst: how many callers, and why
	Asked    []askedFor        `json:"asked"`            // what for, the busiest first
	Runs     []runShare        `json:"runs"`             // the runs of its requests, the busiest first
	From     []networkShare    `json:"from"`             // the networks of its clients, likewise
	Chart    chart             `json:"chart"`            // from two minutes before it was found
	Earlier  []schema.BurstRow `json:"earlier"`          // of the same key and measure, the newest first
	EarlierN int               `json:"earlier_count"`
	Commands []string          `json:"commands"` // to go on with

	whole bool // Asked is of all its requests, not only of those stored with it
}

// askedFor is how many requests asked for something.
type askedFor struct {
	Requests uint64 `json:"requests"`
	Method   string `json:"method"`
	Endpoint string `json:"endpoint"`
	Decision string `json:"decision"`
}

// runShare is how many requests came from a run.
type runShare struct {
	Requests uint64 `json:"requests"`
	Project  string `json:"project"`
	Run      string `json:"run"`
	Commit   string `json:"commit"`
	Author   string `json:"author"`
	Grade    string `json:"grade"`
}

// networkShare is how many requests came from a network.
type networkShare struct {
	Requests uint64 `json:"requests"`
	Network  string `json:"network"` // a /24, or of IPv6 a /56
}

const (
	leadIn       = 2 * time.Minute     // shown of the time before a burst, and of a silence after it
	longestChart = 6 * time.Hour       // shown of the burst itself
	earlierIn    = 90 * 24 * time.Hour // looked through for others of the same key
	earlierMost  = 5                   // shown of those
	askedMost    = 8                   // rows of what was asked for, and of runs
	reasonsMost  = 5                   // why a frontend denied something
	lookedAt     = 1000                // kinds of requests that are looked up
)

func (c *burstsExplainCmd) Run(ctx context.Context, s streams) error {
	if strings.TrimSpace(c.ID) == "" {
		return usageError{hint(errors.New("which burst? Its id is empty"), c.next("haptrail bursts lists them, the id in front"))}
	}
	store, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer store.Close()
	row, err := c.find(ctx, s, store)
	if err != nil {
		return err
	}
	e, err := explain(ctx, store, row, time.Now())
	if err != nil {
		return err
	}
	for i, command := range e.Commands {
		e.Commands[i] = c.next(command)
	}
	if c.Output == "json" {
		p := newPrinter[explained](s.out, "json", nil)
		return errors.Join(p.row(e), p.close())
	}
	w := bufio.NewWriter(s.out)
	e.write(w, styleOf(s.out))
	return w.Flush()
}

// find is the burst with the id, or the only one whose id begins so.
func (c *burstsExplainCmd) find(ctx context.Context, s streams, store *schema.Store) (*schema.BurstRow, error) {
	var rows []schema.BurstRow
	err := store.Bursts(ctx, schema.BurstsQuery{Until: farFuture, ID: c.ID}, func(row *schema.BurstRow) error {
		rows = append(rows, *row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(rows, func(r schema.BurstRow) bool { return r.ID == c.ID }); i >= 0 {
		return &rows[i], nil
	}
	switch len(rows) {
	case 0:
		return nil, hint(fmt.Errorf("no burst has an id that begins with %q", c.ID), c.next("haptrail bursts --since all lists them, the id in front"))
	case 1:
		return &rows[0], nil
	}
	if c.Output == "table" {
		p := newBurstTable(s.out)
		for i := range rows {
			err = errors.Join(err, p.add(&rows[i]))
		}
		if err = errors.Join(err, p.close()); err != nil {
			return nil, err
		}
	}
	return nil, hint(fmt.Errorf("%d bursts have an id that begins with %q", len(rows), c.ID), "give more of the id")
}

// explain gathers what is known of a burst.
func explain(ctx context.Context, store *schema.Store, row *schema.BurstRow, now time.Time) (*explained, error) {
	e := &explained{BurstRow: *row, Asked: []askedFor{}, Runs: []runShare{}, From: []networkShare{}, Earlier: []schema.BurstRow{}}
	until := row.End
	if row.State == schema.BurstOpen {
		until = later(row.Start.Add(time.Second), now)
	}
	if latest := row.Start.Add(longestChart); until.After(latest) {
		until = latest
	}
	from := row.Start.Add(-leadIn)
	counts, err := store.BurstCounts(ctx, row, from, until.Add(time.Second))
	if err != nil {
		return nil, err
	}
	// A silence at the end only makes the columns before it wider.
	if n := len(counts); n > 0 && until.Sub(counts[n-1].Time) > leadIn {
		until = later(row.Start, counts[n-1].Time).Add(leadIn)
	}
	e.Chart = newChart(counts, from, until)
	if err := e.look(ctx, store); err != nil {
		return nil, err
	}
	query := schema.BurstsQuery{Since: row.Start.Add(-earlierIn), Until: row.Start, Identity: row.Key, Measure: row.Measure}
	err = store.Bursts(ctx, query, func(other *schema.BurstRow) error {
		if other.Key != row.Key || other.Of != row.Of || other.ID == row.ID {
			return nil
		}
		if e.EarlierN++; e.EarlierN <= earlierMost {
			e.Earlier = append(e.Earlier, *other)
		}
		return nil
	})
	e.Commands = e.commands()
	return e, err
}

// look sums up what the burst's requests asked for, all of them if they can be looked
// up, else those that were stored with it.
func (e *explained) look(ctx context.Context, store *schema.Store) error {
	q := schema.EvidenceQuery{
		Since: e.Start.Add(-max(time.Duration(e.Window)*time.Second, 10*time.Second)), Until: farFuture, Identity: e.Identity, Limit: lookedAt,
	}
	if e.State != schema.BurstOpen {
		q.Until = e.End.Add(time.Second)
	}
	if e.Of == "frontend" {
		return e.lookDenied(ctx, store, q.Since, q.Until)
	}
	if e.Of == "address" {
		q.Client, _ = netip.ParseAddr(e.Key) // of another key nothing is looked up
	}
	rows := evidenceOf(&e.BurstRow)
	// A star in a subject would stand for others.
	if q.Identity != "" && !strings.Contains(q.Identity, "*") || q.Identity == "" && q.Client.IsValid() {
		found, err := store.BurstEvidence(ctx, q)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			rows, e.whole = found, true
		}
	}
	e.sum(rows)
	return nil
}

// lookDenied sums up what the frontend denied, whoever asked.
func (e *explained) lookDenied(ctx context.Context, store *schema.Store, since, until time.Time) error {
	found, err := store.Denials(ctx, e.Key, since, until, lookedAt)
	switch {
	case err != nil:
		return err
	case found.All.Requests == 0:
		e.sum(evidenceOf(&e.BurstRow))
		return nil
	}
	e.Denied, e.whole = &found, true
	for _, share := range found.Endpoints {
		e.Asked = append(e.Asked, askedFor{Requests: share.Requests, Method: share.Method, Endpoint: share.Endpoint, Decision: "deny"})
	}
	return nil
}

func (e *explained) sum(rows []schema.BurstEvidence) {
	asked, runs, from := map[askedFor]uint64{}, map[runShare]uint64{}, map[networkShare]uint64{}
	for i := range rows {
		r := &rows[i]
		asked[askedFor{Method: r.Method, Endpoint: r.Endpoint, Decision: r.Decision}] += r.Requests
		runs[runShare{Project: r.Project, Run: r.Run, Commit: r.Commit, Author: r.Author, Grade: r.Grade}] += r.Requests
		if r.Network.IsValid() && !r.Network.IsUnspecified() {
			bits := 24
			if r.Network.Is6() {
				bits = 56
			}
			from[networkShare{Network: netip.PrefixFrom(r.Network, bits).String()}] += r.Requests
		}
	}
	for a, n := range asked {
		a.Requests = n
		e.Asked = append(e.Asked, a)
	}
	for r, n := range runs {
		r.Requests = n
		e.Runs = append(e.Runs, r)
	}
	for f, n := range from {
		f.Requests = n
		e.From = append(e.From, f)
	}
	slices.SortFunc(e.Asked, func(a, b askedFor) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), strings.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	slices.SortFunc(e.Runs, func(a, b runShare) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), strings.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	slices.SortFunc(e.From, func(a, b networkShare) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), strings.Compare(a.Network, b.Network))
	})
}

// commands are those to go on with.
func (e *explained) commands() []string {
	since := e.Start.Add(-leadIn).UTC().Format(time.RFC3339)
	until := ""
	if e.State != schema.BurstOpen {
		until = " --until " + e.End.Add(time.Second).UTC().Format(time.RFC3339)
	}
	var all []string
	address, err := netip.ParseAddr(e.Key)
	switch {
	case e.Identity != "":
		denied := ""
		if e.Measure == "denials" {
			denied = " --decision deny"
		}
		all = append(all, "haptrail trail --identity "+shellWord(e.Identity)+denied+" --since "+since+until)
	case e.Of == "frontend":
		all = append(all, "haptrail trail --summary --decision deny --since "+since+until)
	case e.Of == "address" && err == nil && address.Zone() == "":
		all = append(all, fmt.Sprintf(`haptrail query "SELECT time, identity, method, path, decision, reason FROM trail WHERE client_ip = toIPv6('%s') AND time >= '%s' ORDER BY time LIMIT 50"`,
			address, moment(e.Start.Add(-leadIn))))
	}
	if e.Run != "" {
		all = append(all, "haptrail trail --run "+shellWord(e.Run))
	}
	whose := shellWord(cmp.Or(e.Identity, e.Key))
	return append(all,
		"haptrail bursts --since all --identity "+whose,
		"haptrail bursts expect "+whose+" --until 2h --reason 'why it is known'",
		"haptrail alerts silence --identity "+whose+" --until 2h --reason 'who looks at it'")
}
