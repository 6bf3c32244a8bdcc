package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/internal/strictyaml"
	"github.com/haptrail/haptrail/report/alert"
)

type alertsCmd struct {
	List    alertsListCmd    `cmd:"" default:"withargs" help:"List alerts, the newest first: who was to be told of what, from when to when (flags: haptrail alerts list --help)."`
	Silence alertsSilenceCmd `cmd:"" help:"Keep alerts quiet for a time; list and withdraw silences."`
	Test    alertsTestCmd    `cmd:"" help:"Send a trial message to the channels, and say of each whether it took it."`
}

type alertsTestCmd struct {
	Channels []string `arg:"" optional:"" name:"channel" help:"Only these channels of the configuration. Default: all."`
	Config   string   `name:"config" short:"c" placeholder:"FILE" help:"Configuration file. Default: ${default_config}, if it is there."`
}

// Run sends one message to each channel, past the limits and the least severities. It
// needs no daemon and disturbs none: the outbox that it uses is its own.
func (c *alertsTestCmd) Run(ctx context.Context, s streams) (err error) {
	cfg, err := (&where{Config: c.Config}).load()
	if err != nil {
		return err
	}
	channels, err := pickChannels(&cfg.Alerts, c.Channels)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "haptrail-alerts-test-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	manager, err := alert.Open(alert.Options{Dir: dir, Channels: channels})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, manager.Close()) }()
	r := &report{w: s.out}
	for _, channel := range channels {
		r.add("channel "+channel.Name, tryChannel(ctx, manager, channel.Name), "took the trial message")
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return r.result()
}

// pickChannels are the channels of those names, all of them for none. An
// Alertmanager of a cluster is named by itself, NAME-1, or with all others, NAME.
func pickChannels(section *config.Alerts, names []string) ([]alert.Channel, error) {
	if len(section.Channels) == 0 {
		return nil, hint(errors.New("alerts.channels: none are configured"), `add one to the configuration, such as: alerts: {channels: [{name: chat, type: slack, url_file: /etc/haptrail/slack.url}]}`)
	}
	var picked []alert.Channel
	var known []string
	wanted := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	for i := range section.Channels {
		c := &section.Channels[i]
		senders, err := c.Senders(section.ExternalURL)
		if err != nil {
			return nil, err
		}
		known = append(known, c.Name)
		for _, sender := range senders {
			if wanted(c.Name) || wanted(sender.Name) {
				picked = append(picked, sender)
			}
			if sender.Name != c.Name {
				known = append(known, sender.Name)
			}
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, usageError{hint(errors.New(strictyaml.Unknown("channel", name, known)), "the configuration has "+strings.Join(known, ", "))}
		}
	}
	return picked, nil
}

// tryChannel sends the trial message. Its error has what mends it.
func tryChannel(ctx context.Context, manager *alert.Manager, name string) error {
	err := manager.Test(ctx, name)
	if err == nil {
		return nil
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // the line names the channel already
	}
	var later *alert.LaterError
	switch {
	case errors.Is(err, alert.ErrMisdirected) && secretHint(err) != "":
		return hint(err, secretHint(err))
	case errors.Is(err, alert.ErrMisdirected):
		return hint(err, "mend the channel's URL or secret in alerts.channels; haptrail check looks at both")
	case errors.Is(err, alert.ErrRefused):
		return hint(err, "is the receiver of the channel's type, and what does its log say?")
	case errors.As(err, &later) && later.After > 0:
		return hint(err, fmt.Sprintf("it wants nothing for %s: try again then", later.After))
	case errors.As(err, &later):
		return hint(err, "the receiver, or what stands before it, fails or has no room: look at its log, and try again")
	case errors.Is(err, context.DeadlineExceeded):
		return hint(err, "it did not answer in time: may this machine reach it, or is the channel's timeout too short?")
	}
	return hint(err, "does it run, is its URL right, and may this machine reach it?")
}
