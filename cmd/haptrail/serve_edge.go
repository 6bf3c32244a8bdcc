package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/oklog/run"
	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
)

// defaultKeySchedule is when issuers are asked for their keys. They publish a new
// one hours to days before they sign with it.
const defaultKeySchedule = "@every 15m"

// gatekeeper keeps the keys of the configured gate fresh.
//
//	pipeline --a token's kid is unknown--> unknown --> Refresher --> JWKS, DIR, HAProxy
//	                                                      ^
//	                                          schedule ---+
type gatekeeper struct {
	file      string // the policy's
	refresher *edge.Refresher
	unknown   chan struct{} // holds one: more would say no more
}

// setupEdge makes the gatekeeper; nil where no gate is configured.
func (d *server) setupEdge(ctx context.Context) error {
	section := d.cfg.Edge
	if section == nil {
		return nil
	}
	p, err := policy.Load(section.Policy)
	if err != nil {
		return fmt.Errorf("edge.policy: %w", err)
	}
	for _, w := range p.Warnings() {
		d.log.Warn("policy", "file", section.Policy, "line", w.Line, "warning", w.Text)
	}
	in, err := installation(ctx, *section)
	if err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	store, err := keys.Open(section.Dir)
	if err != nil {
		return fmt.Errorf("edge.dir: %w", err)
	}
	expression := section.KeySchedule
	if expression == "" {
		expression = defaultKeySchedule
	}
	schedule, err := cron.ParseStandard(expression)
	if err != nil {
		return fmt.Errorf("edge.key_schedule: %w", err)
	}
	d.gate = &gatekeeper{
		file: section.Policy,
		refresher: &edge.Refresher{
			Installation: in, Store: store, Schedule: schedule,
			AskInterval: time.Duration(section.KeyAskInterval),
			Metrics:     edge.NewMetrics(d.registry), Log: d.log,
		},
		unknown: make(chan struct{}, 1),
	}
	d.gate.refresher.Use(p)
	return nil
}

// denied hears of every request that the gate turned away.
func (g *gatekeeper) denied(reason []byte) {
	if string(reason) != edge.ReasonUnknownKID {
		return
	}
	select {
	case g.unknown <- struct{}{}:
	default:
	}
}

// reload reads the policy file again. A faulty one changes nothing.
func (g *gatekeeper) reload(log *slog.Logger) {
	p, err := policy.Load(g.file)
	if err != nil {
		log.Error("reload: the policy is faulty, the old one stays", "error", err)
		return
	}
	g.refresher.Use(p)
}

// addEdge runs the gatekeeper beside the other parts.
func (d *server) addEdge(g *run.Group) {
	if d.gate == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	g.Add(func() error { return d.gate.refresher.Run(ctx, d.gate.unknown) }, func(error) { stop() })
}
