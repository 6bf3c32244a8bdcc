package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/run"
	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
	"github.com/haptrail/haptrail/cmd/haptrail/watch"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/runtimeapi/peers"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// bursts are the daemon's burst detectors, what they are fed from, and who is told.
//
//	HAProxys --> feeds --+
//	pipeline ------------+--> watch --> desk --> alert.Manager --> channels
//	judge's findings ------------------^
type bursts struct {
	manager *alert.Manager
	desk    *oncall.Desk
	watch   *watch.Watch // nil where bursts are off
	feeds   *watch.Feeds // nil where no stick table is read
}

// setupBursts opens the outbox and makes the detectors.
func (d *server) setupBursts(ctx context.Context) error {
	manager, err := d.openAlerts()
	if err != nil {
		return err
	}
	d.onStop("alerts", manager.Close)
	d.bursts = &bursts{manager: manager, desk: oncall.New(oncall.Options{
		Manager: manager, Store: d.store, Findings: least(d.cfg.Alerts.Findings), Log: d.log,
	})}
	if d.cfg.Bursts.Off {
		return nil
	}
	if err := d.store.SetSampleHistory(ctx, int(time.Duration(d.cfg.Bursts.History)/(24*time.Hour))); err != nil {
		return err
	}
	options, err := d.watchOptions()
	if err != nil {
		return err
	}
	if d.bursts.watch, err = watch.New(options); err != nil {
		return err
	}
	proxies := d.cfg.BurstProxies()
	if len(proxies) == 0 {
		d.log.Info("bursts are found in the logs alone: no HAProxy's stick tables are configured")
		return nil
	}
	feeds := watch.FeedOptions{
		Interval: time.Duration(d.cfg.Bursts.Interval), Load: d.cfg.Bursts.Load, OnCall: d.bursts.desk,
		Polls: poll.NewMetrics(d.registry), Peers: peers.NewMetrics(d.registry), Log: d.log,
	}
	for i := range proxies {
		feeds.Proxies = append(feeds.Proxies, watchedProxy(&proxies[i]))
	}
	if d.bursts.feeds, err = watch.NewFeeds(feeds, d.bursts.watch); err != nil {
		return fmt.Errorf("bursts.proxies: %w", err)
	}
	return nil
}

// openAlerts opens the outbox with every channel that is configured.
func (d *server) openAlerts() (*alert.Manager, error) {
	options := alert.Options{
		Dir: filepath.Join(d.cfg.StateDir(), "alerts"), Alive: d.alive, Keep: time.Duration(d.cfg.Alerts.Keep),
		Metrics: alert.NewMetrics(d.registry), Log: d.log,
	}
	for i := range d.cfg.Alerts.Channels {
		c := &d.cfg.Alerts.Channels[i]
		channels, err := c.Senders(d.cfg.Alerts.ExternalURL)
		if err != nil {
			return nil, fmt.Errorf("alerts.channels: %w", err)
		}
		options.Channels = append(options.Channels, channels...)
		d.log.Info("telling of alerts", "channel", c.Name, "type", c.Type)
	}
	manager, err := alert.Open(options)
	if err != nil {
		return nil, hint(fmt.Errorf("alerts: %w", err), "see that this user may write there, or name another folder: state: DIR")
	}
	return manager, nil
}

// alive says what keeps the daemon from its work: heartbeats cease then.
func (d *server) alive() error {
	if d.pipeline != nil && d.pipeline.Failing() {
		return errors.New("the last insert of requests failed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return d.checkEngine(ctx)
}

// watchOptions are the detectors', from the configuration.
func (d *server) watchOptions() (watch.Options, error) {
	b := &d.cfg.Bursts
	o := watch.Options{
		Store: d.store, Dir: filepath.Join(d.cfg.StateDir(), "bursts"), OnCall: d.bursts.desk,
		Tables: map[string]watch.Table{}, Interval: time.Duration(b.Interval), Lag: time.Duration(d.cfg.Flush.Age) + 2*time.Second,
		Budget: b.Budget, History: time.Duration(b.History), MaxKeys: b.MaxKeys,
		Least: least(d.cfg.Alerts.Bursts), ExternalURL: d.cfg.Alerts.ExternalURL,
		Metrics: watch.NewMetrics(d.registry), Log: d.log,
	}
	if d.gate != nil {
		o.Issuer = d.gate.issuerNames()
	}
	if b.Calibrate != "off" {
		schedule, err := cron.ParseStandard(b.Calibrate)
		if err != nil {
			return o, fmt.Errorf("bursts.calibrate: %w", err)
		}
		o.Schedule = schedule
	}
	proxies := d.cfg.BurstProxies()
	o.Proxies = len(proxies)
	for i := range proxies {
		for _, t := range proxies[i].Tables {
			o.Tables[t.Name] = watch.Table{Keys: keysOf[t.Key], Counter: t.Counter}
		}
	}
	return o, nil
}

// keysOf are the words of the configuration.
var keysOf = map[string]watch.Keys{
	config.KeyIdentity: watch.IdentityKeys, config.KeySubject: watch.SubjectKeys, config.KeyGroup: watch.GroupKeys,
	config.KeyAddress: watch.AddressKeys, config.KeyOther: watch.OtherKeys,
}

func watchedProxy(p *config.BurstProxy) watch.Proxy {
	proxy := watch.Proxy{Name: p.Name, Socket: p.Socket}
	for _, t := range p.Tables {
		proxy.Tables = append(proxy.Tables, t.Name)
	}
	if p.Peers != nil {
		proxy.Peers = &peers.Proxy{
			Name: p.Name, Address: p.Peers.Address, Local: p.Peers.Local, Remote: p.Peers.Remote, Tables: slices.Clone(proxy.Tables),
		}
	}
	return proxy
}

// least is a severity of the configuration; 0 for "off".
func least(word string) alert.Severity {
	severity, err := alert.ParseSeverity(word)
	if err != nil {
		return 0 // the configuration was validated: "off"
	}
	return severity
}

// issuerNames tells the policy's names of issuers by their URLs, as the policy was
// when the daemon began.
func (g *gatekeeper) issuerNames() func(url string) string {
	names := map[string]string{}
	for _, i := range g.policy.Issuers {
		names[i.Issuer] = i.Name
	}
	return func(url string) string { return names[url] }
}

// addBursts runs all that beside the other parts. The desk ends when the detectors
// have, so that the table alerts has their last word.
func (d *server) addBursts(g *run.Group) {
	b := d.bursts
	telling, stopTelling := context.WithCancel(context.Background())
	g.Add(func() error { return b.manager.Run(telling) }, func(error) { stopTelling() })
	recording, stopRecording := context.WithCancel(context.Background())
	g.Add(func() error { return b.desk.Run(recording) }, func(error) {
		if b.watch == nil {
			stopRecording()
		}
	})
	if b.watch != nil {
		ctx, stop := context.WithCancel(context.Background())
		g.Add(func() error { defer stopRecording(); return b.watch.Run(ctx) }, func(error) { stop() })
	}
	if b.feeds != nil {
		ctx, stop := context.WithCancel(context.Background())
		g.Add(func() error {
			if d.proxied != nil {
				select {
				case <-d.proxied:
				case <-ctx.Done():
				}
			}
			return b.feeds.Run(ctx)
		}, func(error) { stop() })
	}
}
