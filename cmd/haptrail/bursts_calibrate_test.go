package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

var historyBegin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// writeHistory writes keys that do 1 to 9 things a minute, and now and then a clump.
func writeHistory(t *testing.T, keys, days int) (path string) {
	t.Helper()
	var b bytes.Buffer
	random := rand.New(rand.NewPCG(1, 2))
	for minute := range days * 24 * 60 {
		for k := range keys {
			n := 1 + random.IntN(9)
			if random.IntN(700) == 0 {
				n = int(20 * (1 + random.ExpFloat64()))
			}
			fmt.Fprintf(&b, "%d,key-%d,%d\n", historyBegin.Unix()+int64(minute)*60, k, n)
		}
	}
	path = filepath.Join(t.TempDir(), "history.csv")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// command runs one as main does.
func command(t *testing.T, in io.Reader, args ...string) (out, errors string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(args, in, &o, &e)
	return o.String(), e.String(), code
}

func calibration(t *testing.T, in io.Reader, args ...string) calibrated {
	t.Helper()
	out, errors, code := command(t, in, append([]string{"bursts", "calibrate", "-o", "json"}, args...)...)
	var found []calibrated
	if err := json.Unmarshal([]byte(out), &found); code != 0 || err != nil || len(found) != 1 {
		t.Fatalf("%v: exit code %d, error %v\n%s%s", args, code, err, out, errors)
	}
	return found[0]
}

// starts replays a file with thresholds and counts the bursts that began after a time.
func starts(t *testing.T, file, thresholds string, after time.Time) (n int) {
	t.Helper()
	args := []string{"bursts", "replay", file, "--step", "60s", "-o", "csv"}
	if thresholds != "" {
		args = append(args, "--thresholds", thresholds)
	}
	out, errors, code := command(t, nil, args...)
	if code != 0 {
		t.Fatal(errors)
	}
	records, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records[1:] {
		if at, err := time.Parse(time.RFC3339, r[0]); err != nil {
			t.Fatal(err)
		} else if r[4] == "start" && !at.Before(after) {
			n++
		}
	}
	return n
}

// TestCalibrateFile: what is found keeps to the budget, as a replay of the same file
// with it counts too; standard input tells the same.
func TestCalibrateFile(t *testing.T) {
	file := writeHistory(t, 5, 6)
	flags := []string{"--step", "60s", "--learn", "2d", "--budget", "0.3"}
	found := calibration(t, nil, append(flags, file)...)
	if found.Rows != 5*6*1440 || found.Keys != 5 || found.Days < 19.9 || found.Days > 20 || found.Short || found.Measure != "requests" {
		t.Fatalf("%+v", found)
	}
	if found.Alarms == 0 || found.Rate > 0.3 || found.Thresholds == found.Defaults {
		t.Errorf("%d alarms, %v a day, thresholds %v", found.Alarms, found.Rate, found.Thresholds)
	}
	text, err := json.Marshal([]calibrated{found})
	if err != nil {
		t.Fatal(err)
	}
	thresholds := filepath.Join(t.TempDir(), "found.json")
	if err := os.WriteFile(thresholds, text, 0o600); err != nil {
		t.Fatal(err)
	}
	learned := historyBegin.Add(48 * time.Hour)
	if have := starts(t, file, thresholds, learned); have != found.Alarms {
		t.Errorf("a replay with what was found has %d starts, it says %d", have, found.Alarms)
	}
	if have := starts(t, file, "", learned); have != found.Default {
		t.Errorf("a replay with the default thresholds has %d starts, it says %d", have, found.Default)
	}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	again := calibration(t, in, append(flags, "-")...)
	again.Source = found.Source
	if !reflect.DeepEqual(found, again) {
		t.Errorf("standard input: %+v\nfile: %+v", again, found)
	}
	words, _, _ := command(t, nil, append([]string{"bursts", "calibrate", file}, flags...)...)
	for _, want := range []string{
		"5 keys of requests in " + file + ", from 2026-11-01 00:00:00 until 2026-11-06 23:59:00: 20 identity-days after 2 days of learning.\n",
		fmt.Sprintf("On this history the default thresholds would have told of %s, those found of %d; the budget is 0.3 ", thing(uint64(found.Default), "burst", "bursts"), found.Alarms),
		fmt.Sprintf("found       %.2f  ", found.Thresholds.Ratio[0]), fmt.Sprintf("default     %.2f  ", found.Defaults.Ratio[0]),
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, words)
		}
	}
	row, _, _ := command(t, nil, append([]string{"bursts", "calibrate", "-o", "csv", file}, flags...)...)
	if records, err := csv.NewReader(strings.NewReader(row)).ReadAll(); err != nil || len(records) != 2 || !strings.HasPrefix(records[1][11], `{"ratio":[`) {
		t.Errorf("as CSV: error %v\n%s", err, row)
	}
}

// TestCalibrateShort: a history that is too short says by how much.
func TestCalibrateShort(t *testing.T) {
	file := writeHistory(t, 2, 3)
	found := calibration(t, nil, "--step", "60s", "--learn", "1d", file)
	if !found.Short || found.Missing < 96 || found.Missing > 96.1 {
		t.Errorf("4 identity-days of 100: %+v", found)
	}
	words, _, _ := command(t, nil, "bursts", "calibrate", "--step", "60s", "--learn", "1d", file)
	if want := "it has 4.0 identity-days of the 100 needed. 96 more are missing, which 2 keys make in 49 days.\n"; !strings.Contains(words, want) {
		t.Errorf("no %q in\n%s", want, words)
	}
	_, errors, code := command(t, nil, "bursts", "calibrate", "--step", "60s", file)
	if code != exitFailed || !strings.Contains(errors, "error: the history is too short: it has 2 days, and each key is learned for 7 days") || !strings.Contains(errors, "hint: give 4 days more of it, or learn for a shorter time: --learn") {
		t.Errorf("exit code %d\n%s", code, errors)
	}
}

// TestCalibrateWrong: what is wrong is named, with what mends it.
func TestCalibrateWrong(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.csv", "2026-11-23T10:00:00Z,a,3\n")
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"calibrate --budget 0 " + good, exitUsage, []string{"--budget 0: give false alarms"}},
		{"calibrate --budget 2 " + good, exitUsage, []string{"up to 1"}},
		{"calibrate --learn 0s " + good, exitUsage, []string{"--learn"}},
		{"calibrate --step never " + good, exitUsage, []string{`--step "never"`}},
		{"calibrate --step 2d " + good, exitUsage, []string{"--step: ", "at most a day"}},
		{"calibrate --logs " + good, exitUsage, []string{"--logs is of the daemon's history"}},
		{"calibrate --since 3d " + good, exitUsage, []string{"--since is of the daemon's history"}},
		{"calibrate --logs --table t", exitUsage, []string{"exclude each other"}},
		{"calibrate --measure denials --table t", exitUsage, []string{"denials are in the logs"}},
		{"calibrate --measure bytes " + good, exitUsage, []string{"--measure"}},
		{"calibrate " + good, exitFailed, []string{"the history is too short: it has 0 s", "--learn"}},
		{"calibrate " + file("empty.csv", ""), exitFailed, []string{"there is no history of requests", "each line is time,key,count"}},
		{"calibrate " + file("bad.csv", "2026-11-23T10:00:00Z,a,3\n1,2\n"), exitFailed, []string{"bad.csv: line 2", "each line is time,key,count"}},
		{"calibrate " + filepath.Join(dir, "none.csv"), exitFailed, []string{"none.csv"}},
		{"calibrate --dsn embedded:" + filepath.Join(dir, "none"), exitFailed, []string{"no data at"}},
		{"replay --thresholds " + filepath.Join(dir, "none.json") + " " + good, exitFailed, []string{"--thresholds: ", "hint: make the file by: haptrail bursts calibrate"}},
		{"replay --thresholds " + file("cut.json", `[{"meas`) + " " + good, exitFailed, []string{"cut.json", "hint: make the file by"}},
		{"replay --thresholds " + file("other.json", `[{"a":1}]`) + " " + good, exitFailed, []string{"there are no thresholds in it"}},
		{"replay --thresholds " + file("no.json", `[{"measure":"requests","thresholds":{"ratio":[2,2,2,0.5],"tail":-9,"gate":1.1,"least":5}}]`) + " " + good, exitUsage, []string{"Thresholds.Ratio"}},
		{"replay --thresholds " + file("odd.json", `[{"measure":"bytes","thresholds":{"tail":-9}}]`) + " " + good, exitFailed, []string{`measure "bytes" is none of`}},
		{"replay --measure denials --thresholds " + file("ok.json", `[{"measure":"requests","thresholds":{"ratio":[2,2,2,2],"tail":-9,"gate":1.1,"least":5}}]`) + " " + good, exitUsage, []string{"is of requests", "leave --measure out"}},
		{"replay --thresholds " + filepath.Join(dir, "ok.json") + " " + good, 0, nil},
	} {
		_, errors, code := command(t, strings.NewReader(""), append([]string{"bursts"}, strings.Fields(c.args)...)...)
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d\n%s", c.args, code, c.code, errors)
		}
		for _, want := range c.want {
			if !strings.Contains(errors, want) {
				t.Errorf("%s: no %q in\n%s", c.args, want, errors)
			}
		}
	}
}

// TestReplayMeasure: the words are the measure's.
func TestReplayMeasure(t *testing.T) {
	var b strings.Builder
	for i := range 180 {
		fmt.Fprintf(&b, "%d,a,2000\n", 1_700_000_000+20*i)
	}
	fmt.Fprintf(&b, "%d,a,900000\n", 1_700_000_000+20*180)
	for measure, want := range map[string]string{
		"": "900,000 requests in ", "requests": "900,000 requests in ", "denials": "900,000 denials in ", "errors": "900,000 errors in ",
		"kilobytes": "900,000 kB in ", "endpoints": "at this endpoint", "addresses": "addresses", "callers": "900,000 denied callers in ",
	} {
		out, errors, code := command(t, strings.NewReader(b.String()), "bursts", "replay", "--measure", measure)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d, no %q in\n%s%s", measure, code, want, out, errors)
		}
	}
}

// TestCalibrateKept: the daemon's history, by stick tables and by the logs, with roles,
// and without the bursts that are known.
func TestCalibrateKept(t *testing.T) {
	store := schematest.Open(t)
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	dsn := "unix:" + filepath.Join(dir, "s")
	defer serveSocket(t, store, filepath.Join(dir, "s"))()
	_, errors, code := command(t, nil, "bursts", "calibrate", "--dsn", dsn)
	if code != exitFailed || !strings.Contains(errors, "there is no history of requests from stick table haptrail_identity") || !strings.Contains(errors, "--logs") {
		t.Errorf("no samples: exit code %d\n%s", code, errors)
	}
	begin := time.Now().UTC().Truncate(time.Hour).Add(-73 * time.Hour)
	attack := seedPast(t, store, begin)
	flags := []string{"--dsn", dsn, "--learn", "1d", "--budget", "0.5"}
	known := calibration(t, nil, flags...)
	if known.Keys != 2 || known.LeftOut < 60 || known.LeftOut > 300 || known.Default != 0 || known.Days < 3.9 || known.Days > 4.1 {
		t.Errorf("without the attack: %+v", known)
	}
	all := calibration(t, nil, append(flags, "--with-bursts")...)
	if all.LeftOut != 0 || all.Default != 1 || all.Rows <= known.LeftOut {
		t.Errorf("with the attack: %+v", all)
	}
	if want := []string{"deployer", "reader"}; len(known.Roles) != 2 || known.Roles[0].Role != want[0] || known.Roles[1].Role != want[1] {
		t.Errorf("roles: %+v", known.Roles)
	}
	logs := calibration(t, nil, append(flags, "--logs")...)
	if logs.Source != "the logs" || logs.Keys != 2 || logs.LeftOut != 60 || logs.Default != 0 || len(logs.Roles) != 2 {
		t.Errorf("by the logs, without the attack at %s: %+v", attack, logs)
	}
	denials := calibration(t, nil, append(flags, "--measure", "denials", "--since", "60h")...)
	if denials.Source != "the logs" || denials.Keys != 1 || denials.Since.Before(begin.Add(12*time.Hour)) {
		t.Errorf("denials: %+v", denials)
	}
	callers := calibration(t, nil, append(flags, "--measure", "callers")...)
	if callers.Source != "the logs" || callers.Keys != 1 || callers.Rows < 400 || callers.Rows > 440 { // one in ten minutes
		t.Errorf("callers: %+v", callers)
	}
	endpoints := calibration(t, nil, append(flags, "--measure", "endpoints")...)
	if endpoints.Keys != 2 || endpoints.LeftOut != 0 || endpoints.Roles[0].Role != "deployer" {
		t.Errorf("endpoints: %+v", endpoints)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &burstsCalibrateCmd{Measure: "requests", Budget: 0.01, Learn: "1d", Slack: "10s", Since: "14d"}
	c.DSN, c.Output = dsn, "table"
	if err := c.Run(ctx, streams{out: io.Discard}); err == nil {
		t.Error("a reading that was cut off: no error")
	}
}

// seedPast stores three days of two identities, in samples of a minute and in the logs,
// with an attack that is known as a burst of medium severity.
func seedPast(t *testing.T, store *schema.Store, begin time.Time) (attack time.Time) {
	t.Helper()
	attack = begin.Add(50 * time.Hour)
	var samples []schema.StickSample
	for minute := range 72 * 60 {
		at := begin.Add(time.Duration(minute) * time.Minute)
		for _, key := range []string{"ci|payments-deploy", "ci|docs"} {
			n := uint64(6 + minute%5)
			if key == "ci|docs" && at.Equal(attack) {
				n = 9000
			}
			samples = append(samples, schema.StickSample{Time: at, Proxy: "edge1", Table: "haptrail_identity", Key: key, Elapsed: 60_000, Requests: n})
		}
	}
	if err := store.InsertStickSamples(t.Context(), samples, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	row := schema.BurstRow{
		ID: "b", Key: "ci|docs", Measure: "requests", Of: "identity", Identity: "docs", Issuer: "ci", Feed: "haptrail_identity", State: schema.BurstOver, Severity: "medium",
		Start: attack.Add(-55 * time.Second), End: attack.Add(time.Minute), Window: 5,
	}
	if err := store.InsertBursts(t.Context(), []schema.BurstRow{row}); err != nil {
		t.Fatal(err)
	}
	seconds := begin.Unix()
	for _, sql := range []string{
		fmt.Sprintf(`INSERT INTO requests (time, issuer, subject, role, method, endpoint, decision)
SELECT toDateTime64(%d + number * 30, 6, 'UTC'), 'https://ci.example.test', if(number %% 2 = 0, 'payments-deploy', 'docs'), if(number %% 2 = 0, 'deployer', 'reader'), 'GET', '/a',
    if(number %% 20 = 0, 'deny', 'allow') FROM numbers(8640)`, seconds),
		fmt.Sprintf(`INSERT INTO requests (time, issuer, subject, role, method, endpoint, decision)
SELECT toDateTime64(%d + number %% 58, 6, 'UTC'), 'https://ci.example.test', 'docs', 'reader', 'GET', '/a', 'allow' FROM numbers(9000)`, attack.Add(-time.Minute).Unix()),
	} {
		if err := store.Conn().Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return attack
}

// TestSpreadOut: a sample's counts are all there, as even as they can be, in the
// seconds up to its time.
func TestSpreadOut(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	for _, c := range []struct{ elapsed, count uint64 }{{0, 7}, {999, 7}, {1001, 7}, {2000, 7}, {60_000, 7}, {60_000, 601}, {900_000, 1000}, {2000, 0}} {
		var sum, rows uint64
		err := spreadOut(&schema.Counted{Time: at, Key: "k", Elapsed: c.elapsed, Count: c.count}, func(key string, second int64, n uint64) error {
			sum, rows = sum+n, rows+1
			if key != "k" || second > at.Unix() || second <= at.Unix()-int64(max(1, (c.elapsed+999)/1000)) || n == 0 {
				t.Errorf("%+v: %d at %d", c, n, second)
			}
			return nil
		})
		if err != nil || sum != c.count || rows > min(c.count, longestSample) {
			t.Errorf("%+v: %d in %d rows, error %v", c, sum, rows, err)
		}
	}
}
