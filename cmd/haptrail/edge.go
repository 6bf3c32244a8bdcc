package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/runtimeapi"
)

type edgeCmd struct {
	Render edgeRenderCmd `cmd:"" help:"Write HAProxy's configuration and maps from the policy; --apply brings a running HAProxy to them."`
	Keys   edgeKeysCmd   `cmd:"" help:"Fetch the issuers' public keys and bring HAProxy to them."`
	Check  edgeCheckCmd  `cmd:"" help:"Hold a haproxy.cfg and the policy against reality."`
	Schema edgeSchemaCmd `cmd:"" help:"Print the policy file's JSON Schema, for editors."`
}

type edgeSchemaCmd struct{}

// Run prints the schema.
func (edgeSchemaCmd) Run(s streams) error {
	_, err := s.out.Write(policy.Schema)
	return err
}

// gateFlags say which gate; each goes before the configuration's edge section.
type gateFlags struct {
	Config  string   `name:"config" short:"c" placeholder:"FILE" help:"Configuration file, whose edge section gives the defaults below. Default: ${default_config}, if it is there."`
	Policy  string   `short:"p" placeholder:"FILE" help:"The policy file."`
	Base    string   `placeholder:"PATH" help:"DIR's absolute path as HAProxy sees it (in its container). Default: DIR."`
	HAProxy string   `name:"haproxy" placeholder:"VERSION" help:"The HAProxy that reads the files, such as 2.6. Default: the running one's, else the binary's."`
	Binary  string   `placeholder:"FILE" help:"The haproxy binary; off for none. Default: searched on PATH."`
	Files   []string `name:"file" short:"f" placeholder:"FILE" help:"What HAProxy is started with, in the order of its -f; repeat it. Default: DIR alone."`
	Sockets []string `name:"socket" placeholder:"ADDRESS" help:"A HAProxy's stats socket: unix:PATH or tcp:HOST:PORT; repeat it for several."`
	Master  string   `placeholder:"ADDRESS" help:"The master's socket (haproxy -W -S), for reloads."`
	Runtime bool     `name:"runtime-keys" help:"HAProxy 3.3 and newer, where it cannot be reloaded: verify with keys that come at run time (see docs/edge.md)."`
}

// gate is what the flags and the configuration come to.
type gate struct {
	edge.Installation
	cfg    config.Config
	file   string // the policy's
	policy *policy.Policy
}

// load reads the configuration and the policy. dir is the flag's; needDir refuses
// to go without one.
func (f *gateFlags) load(ctx context.Context, dir string, needDir bool) (*gate, error) {
	cfg, err := (&where{Config: f.Config}).load()
	if err != nil {
		return nil, err
	}
	e := f.over(cfg.Edge, dir)
	if e.Policy == "" {
		return nil, usageError{hint(errors.New("no policy is named"), "give --policy FILE, or edge.policy in the configuration")}
	}
	if e.Dir == "" && needDir {
		return nil, usageError{hint(errors.New("no folder is named for the gate's files"), "give -o DIR, or edge.dir in the configuration")}
	}
	g := &gate{cfg: cfg, file: e.Policy}
	if g.policy, err = policy.Load(e.Policy); err != nil {
		return nil, err
	}
	g.Installation, err = installation(ctx, e)
	return g, err
}

// over puts the flags over the configuration's section.
func (f *gateFlags) over(section *config.Edge, dir string) config.Edge {
	var e config.Edge
	if section != nil {
		e = *section
	}
	for _, field := range []struct {
		to   *string
		flag string
	}{{&e.Policy, f.Policy}, {&e.Dir, dir}, {&e.Base, f.Base}, {&e.HAProxy, f.HAProxy}, {&e.Binary, f.Binary}, {&e.Master, f.Master}} {
		if field.flag != "" {
			*field.to = field.flag
		}
	}
	if len(f.Files) > 0 {
		e.Files = f.Files
	}
	if len(f.Sockets) > 0 {
		e.Sockets = f.Sockets
	}
	e.RuntimeKeys = e.RuntimeKeys || f.Runtime
	return e
}

// installation finds the binary and the version that the files are for.
func installation(ctx context.Context, e config.Edge) (edge.Installation, error) {
	in := edge.Installation{
		Dir: e.Dir, Sockets: e.Sockets, Master: e.Master, Configs: e.Files,
		Options: edge.Options{Base: e.Base, Source: filepath.Base(e.Policy), RuntimeKeys: e.RuntimeKeys},
	}
	if in.Base == "" && in.Dir != "" {
		base, err := filepath.Abs(in.Dir)
		if err != nil {
			return in, err
		}
		in.Base = base
	}
	if len(in.Configs) == 0 && in.Dir != "" {
		in.Configs = []string{in.Dir}
	}
	var err error
	if in.Binary, err = binary(e.Binary); err != nil {
		return in, err
	}
	in.Version, err = haproxyVersion(ctx, e.HAProxy, in)
	return in, err
}

// binary is haproxy's path; "" where there is none, or none is wanted.
func binary(name string) (string, error) {
	switch {
	case name == "off":
		return "", nil
	case name != "":
		path, err := exec.LookPath(name)
		if err != nil {
			return "", hint(fmt.Errorf("haproxy's binary: %w", err), "name another with --binary, or off for none")
		}
		return path, nil
	}
	path, err := haproxy.Find()
	if err != nil {
		return "", nil // it may run on another machine
	}
	return path, nil
}

// haproxyVersion is the version given, the running process's, or the binary's.
func haproxyVersion(ctx context.Context, given string, in edge.Installation) (runtimeapi.Version, error) {
	if given != "" && given != "auto" {
		version, err := runtimeapi.ParseVersion(given)
		if err != nil {
			return version, usageError{err}
		}
		return version, nil
	}
	for _, address := range in.Sockets {
		client, err := runtimeapi.New(address, runtimeapi.Options{})
		if err != nil {
			return runtimeapi.Version{}, usageError{err}
		}
		if version, err := client.Version(ctx); err == nil {
			return version, nil
		}
	}
	if in.Binary != "" {
		return edge.BinaryVersion(ctx, in.Binary)
	}
	return runtimeapi.Version{}, usageError{hint(errors.New("for which HAProxy?"), "give --haproxy VERSION, such as 2.6: none is installed here, and none runs at a --socket")}
}

// keyStore opens the gate's keys and says of which issuers there are none.
func (g *gate) keyStore() (store *keys.Store, without []string, err error) {
	if store, err = keys.Open(g.Dir); err != nil {
		return nil, nil, err
	}
	have := make(map[string]bool)
	for _, key := range store.Keys() {
		have[key.Issuer] = true
	}
	for i := range g.policy.Issuers {
		if name := g.policy.Issuers[i].Name; !have[name] {
			without = append(without, name)
		}
	}
	return store, without, nil
}

// warnings are the policy's, one a line.
func (g *gate) warnings() string {
	var b strings.Builder
	for _, w := range g.policy.Warnings() {
		fmt.Fprintf(&b, "warning: %s:%d: %s\n", g.file, w.Line, w.Text)
	}
	return b.String()
}
