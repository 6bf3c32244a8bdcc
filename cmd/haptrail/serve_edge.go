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
//	                                SIGHUP --> now ------^
//	                                      schedule ------+
type gatekeeper struct {
	refresher *edge.Refresher
	unknown   chan struct{} // holds one, as now does: more would say no more
	now       chan struct{}

	file   string         // the policy's
	policy *policy.Policy // as it was when it last could be read; the refresher's
	log    *slog.Logger
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
	g := &gatekeeper{unknown: make(chan struct{}, 1), now: make(chan struct{}, 1), file: section.Policy, policy: p, log: d.log}
	g.refresher = &edge.Refresher{
		Installation: in, Policy: g.current, Store: store, Schedule: schedule,
		AskInterval: time.Duration(section.KeyAskInterval),
		Metrics:     edge.NewMetrics(d.registry), Log: d.log,
	}
	d.gate = g
	d.log.Info("looking after the gate's keys", "policy", section.Policy, "dir", section.Dir, "issuers", len(p.Issuers), "haproxy", in.Version.String(), "schedule", expression)
	return nil
}

// current reads the policy file. A faulty one changes nothing.
func (g *gatekeeper) current() (*policy.Policy, error) {
	p, err := policy.Load(g.file)
	if err != nil {
		g.log.Error("the policy is faulty, the former one stays", "error", err)
		return g.policy, nil
	}
	g.policy = p
	return p, nil
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

// refresh asks for a round now.
func (g *gatekeeper) refresh() {
	select {
	case g.now <- struct{}{}:
	default:
	}
}

// addEdge runs the gatekeeper beside the other parts.
func (d *server) addEdge(g *run.Group) {
	if d.gate == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	g.Add(func() error { return d.gate.refresher.Run(ctx, d.gate.unknown, d.gate.now) }, func(error) { stop() })
}
