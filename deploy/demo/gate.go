package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/deploy"
	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
)

// What deploy/policy.yaml says for docker-compose.yml, and a world of its own
// puts its own in the place of.
const (
	composeIssuer = "https://ci.example.test" // + "/" + provider
	composeJWKS   = "file:/edge/jwks"         // + "/" + provider + ".json"
	composeLog    = "haptrail:5514"
)

// PolicyFile is the path of the gate's policy: deploy/policy.yaml with the
// addresses of this world.
func (w *World) PolicyFile() string { return filepath.Join(w.options.Dir, "policy.yaml") }

// Configs are the files and folders that the gate is started with, in order.
func (w *World) Configs() []string { return []string{w.options.Edge, w.userFile()} }

func (w *World) userFile() string { return filepath.Join(w.options.Dir, "haproxy.cfg") }

// StatsSocket is the path of the gate's stats socket; empty where somebody else
// runs the gate.
func (w *World) StatsSocket() string {
	if w.options.Gate != "" {
		return ""
	}
	return StatsSocketIn(w.options.Dir)
}

// StatsSocketIn is where the gate's stats socket is in a world with that Dir, before
// it starts.
func StatsSocketIn(dir string) string { return filepath.Join(dir, "haproxy.sock") }

// render writes the policy and all that comes of it: keys, maps, configuration.
func (w *World) render(ctx context.Context) error {
	for _, dir := range []string{w.options.Dir, w.options.Edge} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := w.loadPolicy(); err != nil {
		return err
	}
	options := edge.Options{Version: w.options.Version, Base: w.options.EdgeBase, Source: "policy.yaml"}
	if w.options.Gate == "" {
		version, err := edge.BinaryVersion(ctx, w.options.Haproxy)
		if err != nil {
			return err
		}
		options.Version = version
	} else if err := w.writeJWKS(); err != nil {
		return err
	}
	store, err := keys.Open(w.options.Edge)
	if err != nil {
		return err
	}
	w.keys = &edge.Refresher{
		Installation: edge.Installation{Dir: w.options.Edge, Options: options},
		Policy:       func() (*policy.Policy, error) { return w.policy, nil },
		Store:        store, Log: w.options.Logger,
	}
	if _, err := w.keys.Refresh(ctx); err != nil {
		return fmt.Errorf("fetch the issuers' keys: %w", err)
	}
	files, err := edge.Render(w.policy, store, options)
	if err != nil {
		return fmt.Errorf("render the gate: %w", err)
	}
	_, err = files.Write(w.options.Edge)
	return err
}

// loadPolicy writes the policy file and reads it.
func (w *World) loadPolicy() (err error) {
	var changes []string
	for _, provider := range providers {
		changes = append(changes,
			composeIssuer+"/"+provider+"\n", w.issuer.url(provider)+"\n",
			composeJWKS+"/"+provider+".json\n", w.jwks(provider)+"\n")
	}
	if w.options.LogAddress != "" {
		changes = append(changes, composeLog, w.options.LogAddress)
	}
	text := strings.NewReplacer(changes...).Replace(string(deploy.Policy))
	if err := os.WriteFile(w.PolicyFile(), []byte(text), 0o644); err != nil {
		return err
	}
	if w.policy, err = policy.Load(w.PolicyFile()); err != nil {
		return err
	}
	for _, provider := range providers {
		i := slices.IndexFunc(w.policy.Issuers, func(i policy.Issuer) bool { return i.Name == provider && i.Issuer == w.issuer.url(provider) })
		if i < 0 {
			return fmt.Errorf("deploy/policy.yaml: no issuer %s is %s/%s, as the demo's cast needs it", provider, composeIssuer, provider)
		}
		w.issuer.audiences[provider] = w.policy.Issuers[i].Audiences[0]
	}
	return nil
}

// jwks is where the gate's keys come from: over http on this machine's loopback,
// else from files, since nothing else is safe without a certificate.
func (w *World) jwks(provider string) string {
	if w.options.Gate == "" {
		return w.issuer.url(provider) + jwksPaths[provider]
	}
	return "file:" + w.jwksFile(provider)
}

func (w *World) jwksFile(provider string) string {
	return filepath.Join(w.options.Edge, "jwks", provider+".json")
}

// writeJWKS stores what the issuers publish.
func (w *World) writeJWKS() error {
	for _, provider := range providers {
		text, err := json.Marshal(w.issuer.keys(provider).public())
		if err != nil {
			return err
		}
		path := w.jwksFile(provider)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// startGate starts HAProxy with a master, so that it can be reloaded for a key.
func (w *World) startGate(ctx context.Context, app string) error {
	w.say("starting HAProxy %s (%s)", w.keys.Version, w.options.Haproxy)
	listener, err := listen("gate", w.options.Listen)
	if err != nil {
		return err
	}
	defer listener.Close() // the child has a copy of its own
	w.gateURL = "http://" + listener.Addr().String()
	file, err := listener.File()
	if err != nil {
		return fmt.Errorf("hand the listener to haproxy: %w", err)
	}
	defer file.Close()
	if err := os.WriteFile(w.userFile(), deploy.HAProxy, 0o644); err != nil {
		return err
	}
	options := haproxy.Options{
		Binary: w.options.Haproxy, Configs: w.Configs(),
		Socket: w.StatsSocket(), Master: filepath.Join(w.options.Dir, "master.sock"),
		// The listener is bound before the child exists, so that no port can be lost
		// in between.
		Files:  []*os.File{file},
		Env:    []string{"TZ=UTC", "HAPTRAIL_BIND=fd@3", "HAPTRAIL_APP=" + app, "HAPTRAIL_STATS=" + w.StatsSocket()},
		Output: filepath.Join(w.options.Dir, "haproxy.log"),
	}
	if w.gate, err = haproxy.Start(ctx, options); err != nil {
		return err
	}
	w.keys.Sockets = []string{"unix:" + options.Socket}
	w.keys.Master = "unix:" + options.Master
	w.keys.Binary, w.keys.Configs = options.Binary, options.Configs
	return nil
}
