package watch

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/schema"
)

// sharesKept is how many reasons and endpoints of a frontend's denials are told.
const sharesKept = 5

// denialsOf looks up what a frontend denied in a burst of callers: as evidence by
// endpoint, and in words.
func (b *book) denialsOf(ctx context.Context, r *schema.BurstRow, since, until time.Time) (rows []schema.BurstEvidence, words string, err error) {
	found, err := b.Store.Denials(ctx, r.Key, since, until, rowsKept)
	if err != nil || found.All.Requests == 0 {
		return nil, "", err
	}
	for _, s := range found.Endpoints {
		rows = append(rows, schema.BurstEvidence{
			Method: s.Method, Endpoint: s.Endpoint, Decision: "deny", Network: netip.IPv6Unspecified(), Requests: s.Requests, First: s.First, Last: s.Last,
		})
	}
	return rows, spread(&found), nil
}

// spread tells how many were denied what, and why.
func spread(found *schema.Denials) string {
	all := &found.All
	who := number(all.Addresses, "address", "addresses")
	if all.Identities > 0 {
		who += ", " + number(all.Identities, "verified identity", "verified identities")
	}
	lines := []string{fmt.Sprintf("%s from %s.", number(all.Requests, "denial", "denials"), who)}
	parts := func(of string, shares []schema.DenialShare, name func(*schema.DenialShare) string) {
		var some []string
		for i := range shares[:min(len(shares), sharesKept)] {
			some = append(some, name(&shares[i])+" "+strconv.FormatUint(shares[i].Requests, 10))
		}
		if len(shares) > sharesKept {
			some = append(some, "and others")
		}
		if len(some) > 0 {
			lines = append(lines, of+": "+strings.Join(some, ", ")+".")
		}
	}
	parts("Reasons", found.Reasons, func(s *schema.DenialShare) string {
		if s.Reason == "" {
			return "none given"
		}
		return s.Reason
	})
	parts("Asked for", found.Endpoints, func(s *schema.DenialShare) string {
		if place := strings.TrimSpace(s.Method + " " + s.Endpoint); place != "" {
			return place
		}
		return "nothing that could be read"
	})
	return strings.Join(lines, "\n")
}

func number(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatUint(n, 10) + " " + many
}

// deniedCommand shows who they were and what they were denied. A minute before the
// burst shows the usual ones beside it.
func deniedCommand(r *schema.BurstRow) string {
	command := "haptrail trail --summary --decision deny --since " + r.Start.Add(-time.Minute).UTC().Format(time.RFC3339)
	if r.State != schema.BurstOpen {
		command += " --until " + r.End.Add(time.Second).UTC().Format(time.RFC3339)
	}
	return command
}
