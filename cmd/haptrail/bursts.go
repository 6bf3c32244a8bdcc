package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

type burstsCmd struct {
	Replay burstsReplayCmd `cmd:"" help:"Run the burst detector over a history of one's own: what it would have said, when, and why."`
}

type burstsReplayCmd struct {
	File   string        `arg:"" optional:"" default:"-" help:"CSV with the columns time, key and count, the time as RFC 3339 or in seconds since 1970; - for standard input."`
	Step   time.Duration `help:"For how long a row's count stands. Windows shorter than that are not judged." default:"1s"`
	Slack  time.Duration `help:"How far behind the newest row a row may be." default:"10s"`
	Scores bool          `help:"Also each row with its score: below 0.5 it is within its limits, at 0.67 twice as much."`
	output
}

// replayRow is a verdict or, without a kind, a row of the history with its score.
type replayRow struct {
	Time     time.Time `json:"time"`
	Key      string    `json:"key"`
	Count    uint64    `json:"count"` // of a verdict: in its window
	Score    float64   `json:"score"` // of a row
	Kind     string    `json:"kind"`  // start, update or end
	Severity string    `json:"severity"`
	Began    time.Time `json:"began"`
	Window   float64   `json:"window_s"`
	Expected uint32    `json:"expected"`
	Reason   string    `json:"reason"`
}

var (
	verdictColumns = []string{"time", "kind", "severity", "key", "reason"}
	scoreColumns   = []string{"time", "key", "count", "score", "kind", "reason"}
)

// Run replays the history and nothing else: it reads no configuration and no tables.
func (c *burstsReplayCmd) Run(ctx context.Context, s streams) error {
	in := s.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	replay, err := burst.NewReplay(burst.Options{Resolution: c.Step})
	if err != nil {
		return usageError{err}
	}
	columns := verdictColumns
	if c.Scores {
		columns = scoreColumns
	}
	p := newPrinter[replayRow](s.out, c.Output, columns)
	p.empty = "No bursts."
	return errors.Join(c.replay(ctx, replay, in, p), p.close())
}

func (c *burstsReplayCmd) replay(ctx context.Context, replay *burst.Replay, in io.Reader, p *printer[replayRow]) error {
	tell := func(verdicts []burst.Verdict) error {
		for i := range verdicts {
			if err := p.row(verdictRow(&verdicts[i])); err != nil {
				return err
			}
		}
		return nil
	}
	last := time.Time{}
	for row, err := range burst.ReadCSV(in, c.Slack) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return hint(fmt.Errorf("%s: %w", c.name(), err), "each line is time,key,count, such as 2026-11-23T10:00:00Z,payments-api,12")
		}
		verdicts, score := replay.Row(row)
		if err := tell(verdicts); err != nil {
			return err
		}
		if c.Scores {
			if err := p.row(&replayRow{Time: row.Time.UTC(), Key: row.Key, Count: uint64(row.Count), Score: score}); err != nil {
				return err
			}
		}
		last = row.Time
	}
	if last.IsZero() {
		return nil
	}
	// What the silence after the last row would end.
	return tell(replay.Detector().Advance(last.Add(time.Hour).Unix()))
}

func (c *burstsReplayCmd) name() string {
	if c.File == "-" {
		return "standard input"
	}
	return c.File
}

func verdictRow(v *burst.Verdict) *replayRow {
	return &replayRow{
		Time: v.At, Key: v.Key, Count: v.Count, Kind: v.Kind.String(), Severity: v.Severity.String(), Began: v.Began,
		Window: v.Window.Seconds(), Expected: v.Expected, Reason: v.Why(),
	}
}
