package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
	"github.com/haptrail/haptrail/deploy/demo"
	"github.com/haptrail/haptrail/schema"
)

// demoOnCall is who the demo tells of alerts: an Alertmanager, where one is installed.
type demoOnCall struct {
	alertmanager *demo.Alertmanager // nil where none is
}

func startDemoOnCall(ctx context.Context, dir string, steps *steps) (*demoOnCall, error) {
	alertmanager, err := demo.StartAlertmanager(ctx, dir)
	if errors.Is(err, demo.ErrNoAlertmanager) {
		steps.begin("none is told of alerts: " + err.Error())
		return &demoOnCall{}, nil
	}
	return &demoOnCall{alertmanager}, err
}

func (o *demoOnCall) close() {
	if o.alertmanager != nil {
		_ = o.alertmanager.Close() // the demo is over
	}
}

// section is the demo's section alerts, as an operator would write it.
func (o *demoOnCall) section() config.Alerts {
	section := config.Default().Alerts
	if o.alertmanager != nil {
		section.Channels = []config.AlertChannel{{Name: "alertmanager", Type: "alertmanager", URLs: []string{o.alertmanager.URL()}}}
	}
	return section
}

// demoBursts is the demo's section bursts. Polls are twice as frequent as they need to
// be: somebody is watching.
func demoBursts(gate string) config.Bursts {
	section := config.Default().Bursts
	section.Interval = config.Duration(time.Second)
	section.Proxies = []config.BurstProxy{{Name: "edge1", Socket: "unix:" + gate}}
	return section
}

// demoBurst is how the burst of the demo was noticed.
type demoBurst struct {
	job      demo.JobResult
	began    time.Time // its first request
	requests int
	rows     []schema.BurstRow // of its requests: of the identity, and at an endpoint; in the order in which they were found
	told     notice            // by Alertmanager, first; its zero value: there is none
}

const (
	burstTimeout = 30 * time.Second // until people are told
	calmTimeout  = 2 * time.Minute  // until they are told that it is over
	burstPause   = 200 * time.Millisecond
)

// burst waits until the demo's burst was found, and told of.
func (d *demoDaemon) burst(ctx context.Context, summary demo.Summary) (b demoBurst, err error) {
	i := slices.IndexFunc(summary.Jobs, func(j demo.JobResult) bool { _, n := j.Burst(); return n > 0 })
	if i < 0 {
		return b, nil
	}
	b.job = summary.Jobs[i]
	b.began, b.requests = b.job.Burst()
	err = d.until(ctx, "the burst of "+b.job.Subject+" is told of", burstTimeout, func(ctx context.Context) (done bool, err error) {
		b.rows, err = d.burstsOf(ctx, &b)
		inTable := slices.ContainsFunc(b.rows, func(row schema.BurstRow) bool { return row.Feed != schema.FeedLogs })
		if err != nil || !inTable || d.onCall.alertmanager == nil {
			return inTable, err
		}
		notices := d.onCall.of(b.job.Subject)
		if len(notices) > 0 {
			b.told = notices[0]
		}
		return len(notices) > 0, nil
	})
	return b, err
}

// resolved waits until the burst is over, and told to be so; it returns when.
func (d *demoDaemon) resolved(ctx context.Context, b *demoBurst) (at time.Time, err error) {
	err = d.until(ctx, "the burst of "+b.job.Subject+" is over", calmTimeout, func(ctx context.Context) (over bool, err error) {
		if b.rows, err = d.burstsOf(ctx, b); err != nil {
			return false, err
		}
		for _, row := range b.rows {
			if row.State == schema.BurstOpen {
				return false, nil
			}
			if row.Updated.After(at) {
				at = row.Updated
			}
		}
		if d.onCall.alertmanager == nil {
			return true, nil
		}
		// With another severity an alert is another one there: all of them must be over.
		last := map[string]string{}
		for _, n := range d.onCall.of(b.job.Subject) {
			last[n.alert.Fingerprint], at = n.alert.State, n.at
		}
		for _, state := range last {
			if state != "resolved" {
				return false, nil
			}
		}
		return true, nil
	})
	return at, err
}

// until asks again and again, until it is so.
func (d *demoDaemon) until(ctx context.Context, what string, patience time.Duration, ask func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done, err := ask(ctx)
		if done && err == nil {
			return nil
		}
		select {
		case <-time.After(burstPause):
		case <-ctx.Done():
			return hint(fmt.Errorf("%s: not within %s: %w", what, patience, errors.Join(err, ctx.Err())), "see "+d.log.Name())
		}
	}
}

// burstsOf are the bursts of requests that come of it, in the order in which they were
// found. The data may have others, of a demo before.
func (d *demoDaemon) burstsOf(ctx context.Context, b *demoBurst) (rows []schema.BurstRow, err error) {
	query := schema.BurstsQuery{Until: farFuture, Identity: b.job.Subject, Measure: "requests"}
	err = d.server.store.Bursts(ctx, query, func(row *schema.BurstRow) error {
		if !row.Found.Before(b.began) {
			rows = append(rows, *row)
		}
		return nil
	})
	slices.SortFunc(rows, func(a, b schema.BurstRow) int { return a.Found.Compare(b.Found) })
	return rows, err
}

// notice is an alert in a notification that Alertmanager sent.
type notice struct {
	at    time.Time
	alert demo.AlertState
}

// of are the notices of an identity's bursts, as they came.
func (o *demoOnCall) of(subject string) (notices []notice) {
	for _, n := range o.alertmanager.Received() {
		for _, a := range n.Alerts {
			if a.Labels["alertname"] == oncall.KindBurst && a.Labels["identity"] == subject {
				notices = append(notices, notice{n.At, a})
			}
		}
	}
	return notices
}

// showBurst says how the burst was noticed, and waits until it is over.
func (d *demoDaemon) showBurst(ctx context.Context, out io.Writer, b demoBurst, steps *steps) error {
	if b.requests == 0 {
		return nil
	}
	fmt.Fprintf(out, "\nA burst: %s sent %d requests.\n\n", b.job.Subject, b.requests)
	for _, line := range b.lines() {
		fmt.Fprintf(out, "  %+6.1f s  %s\n", line.at.Sub(b.began).Seconds(), line.text)
	}
	if b.told.at.IsZero() {
		fmt.Fprintln(out, "            nobody is told: no Alertmanager is installed")
	}
	steps.begin("waiting until it was calm for a minute, and the alert is resolved")
	at, err := d.resolved(ctx, &b)
	steps.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %+6.1f s  over, and resolved\n", at.Sub(b.began).Seconds())
	return nil
}

// timed is a line about a time.
type timed struct {
	at   time.Time
	text string
}

// lines are what was found and told, in order.
func (b *demoBurst) lines() (lines []timed) {
	for _, row := range b.rows {
		where := "in HAProxy's stick table " + row.Feed
		if row.Feed == schema.FeedLogs {
			where = "in the logs, at " + row.Endpoint
		}
		lines = append(lines, timed{row.Found, fmt.Sprintf("found %s: %s", where, row.Reason)})
	}
	if a := b.told.alert; !b.told.at.IsZero() {
		lines = append(lines, timed{b.told.at, fmt.Sprintf("told by Alertmanager (%s), with the run %s and its commit %.10s",
			a.Labels["severity"], a.Annotations["run"], a.Annotations["commit"])})
	}
	slices.SortFunc(lines, func(a, b timed) int { return a.at.Compare(b.at) })
	return lines
}
