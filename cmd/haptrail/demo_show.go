package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/deploy/demo"
	"github.com/haptrail/haptrail/schema"
)

// show prints what came of it all: the trail, the findings, how the runs were told.
func (d *demoDaemon) show(ctx context.Context, out io.Writer, summary demo.Summary, polled []string, began time.Time) error {
	if err := showTrail(ctx, out, d.server.store, began); err != nil {
		return err
	}
	if err := showFindings(ctx, out, d.server.store, began); err != nil {
		return err
	}
	taken, err := d.counted("haptrail_ci_deliveries_total", "outcome", "taken")
	if err != nil {
		return err
	}
	showRuns(out, summary, taken, polled)
	return nil
}

// counted sums up the daemon's own counter over the series with a label.
func (d *demoDaemon) counted(metric, label, value string) (n int, err error) {
	families, err := d.server.registry.Gather()
	if err != nil {
		return 0, err
	}
	for _, family := range families {
		if family.GetName() != metric {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, pair := range m.GetLabel() {
				if pair.GetName() == label && pair.GetValue() == value {
					n += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return n, nil
}

// showRuns says how the daemon came to know of the runs: taken is its own count.
func showRuns(out io.Writer, summary demo.Summary, taken int, polled []string) {
	hooks := summary.Webhooks
	fmt.Fprintf(out, "\n%d webhooks of CI servers were taken, %d of them late; %d came twice and counted once, %d were lost.\n",
		taken, hooks.Late, hooks.Again, hooks.Lost)
	if len(polled) > 0 {
		fmt.Fprintf(out, "%d runs only a poll found: %s.\n", len(polled), strings.Join(polled, ", "))
	}
}

// showTraffic says what the jobs did, and that a key's rotation disturbed none.
func showTraffic(out io.Writer, summary demo.Summary, missing uint64) {
	fmt.Fprintf(out, "\n%d requests of %d CI jobs reached HAProxy in %.0f s: %d allowed, %d denied.\n",
		summary.Requests, len(summary.Jobs), summary.Elapsed.Seconds(), summary.Allowed, summary.Denied)
	if r := summary.Rotation; r != nil {
		fmt.Fprintf(out, "%s rotated its key (%s, then %s): %d requests meanwhile, %d lost.\n", r.Issuer, r.Old, r.New, r.Requests, r.Lost)
	}
	if missing > 0 {
		fmt.Fprintf(out, "%d of them HAProxy answered and did not log: a reload closes its log at once (haproxy/haproxy issue 3436).\n", missing)
	}
}

func showTrail(ctx context.Context, out io.Writer, store *schema.Store, began time.Time) error {
	fmt.Fprint(out, "\nWho touched what, from which run and commit, allowed or denied, and why:\n\n")
	p := newPrinter[schema.TrailSummaryRow](out, "table", summaryColumns)
	query := schema.TrailQuery{Since: began, Until: farFuture}
	err := store.TrailSummary(ctx, query, func(row *schema.TrailSummaryRow) error {
		nameUnknown(row)
		return p.row(row)
	})
	if err != nil {
		return err
	}
	if err := p.close(); err != nil {
		return err
	}
	_, err = fmt.Fprint(out, demoLegend)
	return err
}

const demoLegend = `
identity  the token's subject, as HAProxy verified it
grade     how sure the run is. proven: a signed claim names it · corroborated: a header names it
          and the CI's own record agrees · inferred: the identity's only run at that time · none
`

// showFindings shows what the judge has found by now, if anything: the worst first.
func showFindings(ctx context.Context, out io.Writer, store *schema.Store, began time.Time) error {
	var found []schema.FindingRow
	query := schema.FindingsQuery{Since: began, Until: farFuture}
	err := store.Findings(ctx, query, func(row *schema.FindingRow) error {
		found = append(found, *row)
		return nil
	})
	if err != nil || len(found) == 0 {
		return err
	}
	slices.SortStableFunc(found, func(a, b schema.FindingRow) int {
		mine, _ := finding.ParseSeverity(a.Severity)
		theirs, _ := finding.ParseSeverity(b.Severity)
		return cmp.Compare(theirs, mine)
	})
	fmt.Fprint(out, "\nWhat somebody should look at:\n\n")
	p := newPrinter[schema.FindingRow](out, "table", []string{"severity", "kind", "identity", "run", "title"})
	for i := range found {
		if err := p.row(&found[i]); err != nil {
			return err
		}
	}
	return p.close()
}
