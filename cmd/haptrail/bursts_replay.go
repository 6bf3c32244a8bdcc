package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

type burstsReplayCmd struct {
	File       string        `arg:"" optional:"" default:"-" help:"CSV with the columns time, key and count, the time as RFC 3339 or in seconds since 1970; - for standard input."`
	Step       time.Duration `help:"For how long a row's count stands. Windows shorter than that are not judged." default:"1s"`
	Slack      time.Duration `help:"How far behind the newest row a row may be." default:"10s"`
	Scores     bool          `help:"Also each row with its score: below 0.5 it is within its limits, at 0.67 twice as much."`
	Measure    string        `enum:",requests,denials,errors,kilobytes,endpoints,addresses,callers" default:"" placeholder:"WORD" help:"What is counted: requests, denials, errors or kilobytes of identities, requests of endpoints or of addresses, or the callers that frontends denied. Default: that of --thresholds, else requests."`
	Thresholds string        `placeholder:"FILE" help:"Thresholds to replay with: what haptrail bursts calibrate -o json printed, of an older history. Default: the built-in ones."`
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

const csvHint = "each line is time,key,count, such as 2026-11-23T10:00:00Z,payments-api,12"

// Run replays the history and nothing else: it reads no configuration and no tables.
func (c *burstsReplayCmd) Run(ctx context.Context, s streams) error {
	options, err := c.options()
	if err != nil {
		return err
	}
	in := s.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	replay, err := burst.NewReplay(options)
	if err != nil {
		return usageError{err}
	}
	columns := verdictColumns
	if c.Scores {
		columns = scoreColumns
	}
	p := newPrinter[replayRow](s.out, c.Output, columns)
	if err = c.replay(ctx, replay, in, p); err == nil {
		p.empty = "No bursts."
	}
	return errors.Join(err, p.close())
}

// options are the detector's.
func (c *burstsReplayCmd) options() (burst.Options, error) {
	var limits burst.Thresholds
	measure := c.Measure
	if c.Thresholds != "" {
		found, err := readThresholds(c.Thresholds)
		if err != nil {
			return burst.Options{}, err
		}
		if measure != "" && found.Measure != "" && measure != found.Measure {
			return burst.Options{}, usageError{fmt.Errorf("--measure %s: %s is of %s: calibrate on a history of %s, or leave --measure out", measure, c.Thresholds, found.Measure, measure)}
		}
		limits = burst.Thresholds(found.Thresholds)
		if measure == "" {
			measure = found.Measure
		}
	}
	options, err := measureOptions(measure)
	if err != nil {
		return options, hint(fmt.Errorf("%s: %w", c.Thresholds, err), thresholdsHint)
	}
	options.Resolution = c.Step
	if c.Thresholds != "" {
		options.Thresholds = limits
	}
	return options, nil
}

// measureOptions are those of a detector for a measure; "" is requests.
func measureOptions(measure string) (burst.Options, error) {
	switch measure {
	case "", "requests":
		return burst.Requests(), nil
	case "denials":
		return burst.Denials(), nil
	case "errors":
		return burst.Errors(), nil
	case "kilobytes":
		return burst.Kilobytes(), nil
	case "endpoints":
		return burst.Endpoints(), nil
	case "addresses":
		return burst.Addresses(), nil
	case "callers":
		return burst.Callers(), nil
	}
	return burst.Options{}, fmt.Errorf("measure %q is none of requests, denials, errors, kilobytes, endpoints, addresses and callers", measure)
}

const thresholdsHint = "make the file by: haptrail bursts calibrate HISTORY.csv -o json > FILE.json"

// readThresholds reads what a calibration printed: an array with one object.
func readThresholds(path string) (calibrated, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return calibrated{}, hint(fmt.Errorf("--thresholds: %w", err), thresholdsHint)
	}
	var found []calibrated
	if err := json.Unmarshal(text, &found); err != nil {
		return calibrated{}, hint(fmt.Errorf("--thresholds: %s: %w", path, err), thresholdsHint)
	}
	if len(found) != 1 || found[0].Thresholds == (limits{}) {
		return calibrated{}, hint(fmt.Errorf("--thresholds: %s: there are no thresholds in it", path), thresholdsHint)
	}
	return found[0], nil
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
			return hint(fmt.Errorf("%s: %w", historyName(c.File), err), csvHint)
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

// historyName is a history's name in errors.
func historyName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

func verdictRow(v *burst.Verdict) *replayRow {
	return &replayRow{
		Time: v.At, Key: v.Key, Count: v.Count, Kind: v.Kind.String(), Severity: v.Severity.String(), Began: v.Began,
		Window: v.Window.Seconds(), Expected: v.Expected, Reason: v.Why(),
	}
}
