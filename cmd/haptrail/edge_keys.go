package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
)

type edgeKeysCmd struct {
	gateFlags
	Dir string `name:"dir" short:"o" placeholder:"DIR" help:"The gate's folder; keys go below it."`
}

// Run fetches the issuers' keys once, writes them, and brings a HAProxy at
// --socket or --master to them.
func (c *edgeKeysCmd) Run(ctx context.Context, s streams) error {
	g, err := c.load(ctx, c.Dir, true)
	if err != nil {
		return err
	}
	store, err := keys.Open(g.Dir)
	if err != nil {
		return err
	}
	r := edge.Refresher{Installation: g.Installation, Policy: func() (*policy.Policy, error) { return g.policy, nil }, Store: store}
	done, err := r.Refresh(ctx)
	for _, result := range done.Issuers {
		printKeys(s.out, result, store.Keys())
	}
	for _, status := range store.Status() {
		if status.Failures > 0 {
			fmt.Fprintf(s.out, "%s: not refreshed (%s in a row); %s as before\n", status.Issuer,
				count(status.Failures, "failure", "failures"), count(status.Keys, "key verifies", "keys verify"))
		}
	}
	if err != nil {
		return err
	}
	if done.Reloaded || done.Swapped > 0 {
		printApplied(s.out, done.Applied, true)
	} else {
		printApplied(s.out, done.Applied, false)
	}
	return nil
}

// printKeys says which keys verify an issuer's tokens now, and what is new.
func printKeys(w io.Writer, result keys.Result, all []keys.Key) {
	note := make(map[string]string)
	for _, key := range result.Added {
		note[key.KID] = "new"
	}
	var names []string
	for _, key := range all {
		if key.Issuer != result.Issuer {
			continue
		}
		name := key.KID + " " + strings.Join(key.Algorithms, "/")
		switch {
		case note[key.KID] != "":
			name += " (new)"
		case !key.Retires.IsZero():
			name += " (until " + key.Retires.UTC().Format(time.RFC3339) + ")"
		}
		names = append(names, name)
	}
	fmt.Fprintf(w, "%s: %s\n", result.Issuer, strings.Join(names, ", "))
	for _, key := range append(result.Replaced, result.Dropped...) {
		fmt.Fprintf(w, "%s: gone: %s\n", result.Issuer, key.KID)
	}
	for _, skipped := range result.Skipped {
		fmt.Fprintf(w, "%s: not used: %s: %s\n", result.Issuer, skipped.KID, skipped.Reason)
	}
}
