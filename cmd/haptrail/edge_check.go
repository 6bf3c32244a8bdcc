package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/check"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/runtimeapi"
)

type edgeCheckCmd struct {
	gateFlags
	output
	Dir  string   `name:"dir" short:"d" placeholder:"DIR" help:"The gate's folder, to be compared with the policy and its keys."`
	Args []string `arg:"" optional:"" name:"haproxy.cfg" help:"The files and folders that HAProxy is started with, in their order. Default: --file."`
}

// Run prints the findings; one that is an error makes the exit code 1.
func (c *edgeCheckCmd) Run(ctx context.Context, s streams) error {
	if len(c.Args) > 0 {
		c.Files = c.Args
	}
	g, err := c.load(ctx, c.Dir, false)
	if err != nil {
		return err
	}
	if len(g.Configs) == 0 {
		return usageError{hint(errors.New("no haproxy.cfg is named"), "name the files that HAProxy is started with: haptrail edge check -p policy.yaml -d DIR /etc/haproxy/haproxy.cfg")}
	}
	in, err := g.checkInput()
	if err != nil {
		return err
	}
	found, err := check.Check(ctx, in)
	if err != nil {
		return err
	}
	if err := c.print(s, found); err != nil {
		return err
	}
	if worst, ok := check.Worst(found); ok && worst == check.Error {
		return errFaults
	}
	return nil
}

func (g *gate) checkInput() (check.Input, error) {
	in := check.Input{
		Files: g.Configs, Env: os.LookupEnv, Policy: g.policy, PolicyFile: g.file,
		Dir: g.Dir, Base: g.Base, MasterSocket: g.Master, HAProxy: g.Binary,
	}
	for i := range g.cfg.Listeners {
		in.Listeners = append(in.Listeners, g.cfg.Listeners[i].Address)
	}
	if len(g.Sockets) > 0 {
		client, err := runtimeapi.New(g.Sockets[0], runtimeapi.Options{})
		if err != nil {
			return in, usageError{err}
		}
		in.Live = client
	}
	if g.Dir == "" {
		return in, nil
	}
	store, err := keys.Open(g.Dir)
	if err != nil {
		return in, err
	}
	in.Keys = store
	in.Render = func() (map[string][]byte, error) { return edge.Render(g.policy, store, g.Options) }
	return in, nil
}

func (c *edgeCheckCmd) print(s streams, found []check.Finding) error {
	if c.Output != "table" {
		p := newPrinter[check.Finding](s.out, c.Output, nil)
		for i := range found {
			if err := p.row(&found[i]); err != nil {
				return err
			}
		}
		return p.close()
	}
	counts := map[check.Severity]int{}
	for _, f := range found {
		counts[f.Severity]++
		fmt.Fprintln(s.out, f)
	}
	_, err := fmt.Fprintf(s.out, "%s, %s, %s\n", count(counts[check.Error], "error", "errors"),
		count(counts[check.Warning], "warning", "warnings"), count(counts[check.Note], "note", "notes"))
	return err
}
