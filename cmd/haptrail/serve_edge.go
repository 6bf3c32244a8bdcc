package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/oklog/run"
	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
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
//	                                SIGHUP --> now ------^  |
//	                                      schedule ------+  '--what fails--> desk
type gatekeeper struct {
	refresher *edge.Refresher
	unknown   chan struct{} // holds one, as now does: more would say no more
	now       chan struct{}

	file   string         // the policy's
	policy *policy.Policy // as it was when it last could be read; the refresher's
	faulty atomic.Bool    // the file is, as it was read last
	faults *oncall.Gate
	every  time.Duration // between two looks at what has lasted
	log    *slog.Logger
}

const (
	// keyFaultAfter is how long what keeps keys from HAProxy must last before people
	// hear of it: a policy is saved in the middle of a change, and mended.
	keyFaultAfter = time.Minute
	lookAtFaults  = 10 * time.Second
)

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
	g := &gatekeeper{unknown: make(chan struct{}, 1), now: make(chan struct{}, 1), file: section.Policy, policy: p, every: lookAtFaults, log: d.log}
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
	g.faulty.Store(err != nil)
	g.faults.Policy(g.file, err)
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
	d.endFaults()
	if d.gate == nil {
		return
	}
	d.gate.tell(d.bursts.desk, keyFaultAfter)
	ctx, stop := context.WithCancel(context.Background())
	g.Add(func() error { return d.gate.refresher.Run(ctx, d.gate.unknown, d.gate.now) }, func(error) { stop() })
	looking, stopLooking := context.WithCancel(context.Background())
	g.Add(func() error { d.gate.look(looking); return nil }, func(error) { stopLooking() })
}

// endFaults ends what people were told, before a restart, of a gate or of stick tables
// that are configured no more: nobody else would.
func (d *server) endFaults() {
	var gone []string
	if d.gate == nil {
		gone = oncall.GateFaults()
	}
	if d.bursts.feeds == nil {
		gone = append(gone, oncall.FaultStickTable)
	}
	oncall.EndFaults(d.bursts.desk, time.Now(), gone...)
}

// tell has people know of what fails for so long. To be called before it runs.
func (g *gatekeeper) tell(on oncall.Teller, after time.Duration) {
	g.faults = oncall.NewGate(on, after)
	g.refresher.Done = g.faults.Refreshed
}

// look looks what has lasted until ctx ends, and whether a faulty policy was mended:
// then the keys are refreshed by it.
func (g *gatekeeper) look(ctx context.Context) {
	tick := time.NewTicker(g.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			g.faults.Look(now)
		}
		if g.faulty.Load() {
			if _, err := policy.Load(g.file); err == nil {
				g.refresh()
			}
		}
	}
}
