package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/haptrail/haptrail/edge"
)

type edgeRenderCmd struct {
	gateFlags
	Dir    string `name:"dir" short:"o" placeholder:"DIR" help:"Where the files go."`
	DryRun bool   `help:"Only say which files would change; exit code 1 if any."`
	Apply  bool   `help:"Bring every HAProxy at a --socket to the files: maps at once and without a reload, rules by a reload over --master."`
}

// Run writes the gate's files, and with --apply brings HAProxy to them.
func (c *edgeRenderCmd) Run(ctx context.Context, s streams) error {
	g, err := c.load(ctx, c.Dir, true)
	if err != nil {
		return err
	}
	if c.Apply && len(g.Sockets) == 0 && g.Master == "" {
		return usageError{hint(errors.New("--apply: no running HAProxy is named"), "give --socket unix:PATH, and --master unix:PATH for what needs a reload")}
	}
	fmt.Fprint(s.err, g.warnings())
	store, without, err := g.keyStore()
	if err != nil {
		return err
	}
	files, err := edge.Render(g.policy, store, g.Options)
	if err != nil {
		return err
	}
	if c.DryRun {
		changes, err := files.Diff(g.Dir)
		if err != nil {
			return err
		}
		printChanges(s.out, g.Dir, changes, "would change")
		if len(changes) > 0 {
			return errFaults
		}
		return nil
	}
	if !c.Apply {
		g.Sockets, g.Master = nil, ""
	}
	done, err := g.Apply(ctx, files)
	if err == nil || len(done.Changes) > 0 {
		printChanges(s.out, g.Dir, done.Changes, "changed")
	}
	if err != nil {
		return err
	}
	printApplied(s.out, done, c.Apply)
	if len(without) > 0 {
		fmt.Fprintf(s.err, "hint: there is no key yet of %s: haptrail edge keys -p %s -o %s\n", strings.Join(without, ", "), g.file, g.Dir)
	}
	return nil
}

func printChanges(w io.Writer, dir string, changes []edge.Change, verb string) {
	if len(changes) == 0 {
		fmt.Fprintf(w, "%s is up to date\n", dir)
		return
	}
	fmt.Fprintf(w, "%s %s:\n", verb, dir)
	for _, change := range changes {
		fmt.Fprintf(w, "  %s\n", change)
	}
}

func printApplied(w io.Writer, done edge.Applied, applied bool) {
	reload := false
	for _, change := range done.Changes {
		reload = reload || change.NeedsReload()
	}
	switch {
	case done.Reloaded:
		fmt.Fprintf(w, "HAProxy reloaded: the rules or keys are new\n")
	case applied:
		fmt.Fprintf(w, "maps swapped in %s, without a reload\n", count(done.Swapped, "HAProxy", "HAProxys"))
	case reload:
		fmt.Fprintf(w, "HAProxy reads them when it is started or reloaded\n")
	case len(done.Changes) > 0:
		fmt.Fprintf(w, "only maps: a running HAProxy takes them without a reload, by --apply --socket unix:PATH\n")
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
