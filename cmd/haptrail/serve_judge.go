package main

import (
	"context"
	"time"

	"github.com/oklog/run"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/cmd/haptrail/judge"
	"github.com/haptrail/haptrail/schema"
)

// newJudge makes the judge that the configuration describes.
func newJudge(cfg config.Config, store *schema.Store) *judge.Judge {
	return &judge.Judge{
		Store: store, Slack: time.Duration(cfg.CI.Slack), LookBack: time.Duration(cfg.CI.LookBack), Policy: &cfg.Findings,
	}
}

// addJudge runs the judge beside the other parts. What arrives while the daemon
// stops is judged when it runs again.
func (d *server) addJudge(g *run.Group) {
	d.judge = newJudge(d.cfg, d.store)
	d.judge.Metrics, d.judge.Log, d.judge.Found = judge.NewMetrics(d.registry), d.log, d.bursts.desk.Findings
	ctx, stop := context.WithCancel(context.Background())
	g.Add(func() error { return d.judge.Run(ctx) }, func(error) { stop() })
}
