package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/haptrail/haptrail/ingest"
	"github.com/haptrail/haptrail/ingest/ci"
	"github.com/haptrail/haptrail/schema"
)

type importCmd struct {
	where
	Files      []string `arg:"" optional:"" name:"file" help:"Log files, plain or compressed with gzip or Zstandard; - for standard input."`
	Format     string   `placeholder:"FORMAT" help:"A built-in format (haptrail, httplog, httpslog, tcplog, clf, tcpclf) or a log-format string. Default: recognised from the first lines."`
	HAProxyCfg string   `name:"haproxy-cfg" placeholder:"FILE" help:"Take the format from this haproxy.cfg."`
	Frontend   string   `placeholder:"NAME" help:"The frontend or listen section in it."`
	Zone       string   `default:"" placeholder:"ZONE" help:"Time zone of %t and %tr, such as Europe/Berlin. Default: the configuration's, else UTC."`
	Runs       []string `placeholder:"FILE" type:"existingfile" help:"CI runs: a JSON array of objects with the columns of the view runs (docs/schema.md). Requests are tied to them again."`
	Commits    []string `placeholder:"FILE" type:"existingfile" help:"Commits: likewise, the columns of the view commits."`
	Again      bool     `help:"Store also what was imported before."`
	DryRun     bool     `help:"Parse only; store nothing."`
	output
}

// importResult is what the command prints.
type importResult struct {
	ingest.Summary
	Runs       int      `json:"runs"`
	Commits    int      `json:"commits"`
	Formats    []string `json:"formats"`
	Seconds    float64  `json:"seconds"`
	CPUSeconds float64  `json:"cpu_seconds"`
}

func (c *importCmd) Run(ctx context.Context, s streams) error {
	if len(c.Files)+len(c.Runs)+len(c.Commits) == 0 {
		return usageError{hint(errors.New("nothing to import"), "name log files, - for standard input, or --runs and --commits")}
	}
	if c.Output == "csv" {
		return usageError{errors.New("-o csv: an import's summary is one object: use table or json")}
	}
	start, cpu := time.Now(), cpuTime()
	var store *schema.Store
	if !c.DryRun {
		var err error
		if store, err = c.open(ctx, true); err != nil {
			return err
		}
		defer store.Close()
	}
	result := importResult{}
	err := c.importAll(ctx, s, store, &result)
	if err == nil && store != nil && store.Engine() != nil {
		err = c.judge(ctx, s, store)
	}
	result.Seconds = time.Since(start).Seconds()
	result.CPUSeconds = (cpuTime() - cpu).Seconds()
	if err == nil || result.Lines+result.Runs+result.Commits > 0 {
		err = errors.Join(err, c.print(s.out, result))
	}
	return err
}

func (c *importCmd) importAll(ctx context.Context, s streams, store *schema.Store, result *importResult) (err error) {
	if result.Runs, err = importRows(ctx, c.Runs, checkRun, func(ctx context.Context, rows []schema.Run) error {
		return unless(store == nil, func() error { return store.InsertRuns(ctx, rows) })
	}); err != nil {
		return err
	}
	if result.Commits, err = importRows(ctx, c.Commits, checkCommit, func(ctx context.Context, rows []schema.Commit) error {
		return unless(store == nil, func() error { return store.InsertCommits(ctx, rows) })
	}); err != nil {
		return err
	}
	if len(c.Files) == 0 {
		return nil
	}
	return c.importLogs(ctx, s, store, result)
}

// judge does what a daemon's judge would do with what was imported. Where the
// tables are elsewhere, a daemon's does.
func (c *importCmd) judge(ctx context.Context, s streams, store *schema.Store) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	j := newJudge(cfg, store)
	j.LookBack = everything
	steps := newSteps(s.err)
	steps.begin("judging which run each request is of")
	err = j.Once(ctx)
	steps.end()
	return err
}

// everything is a look-back to before all logs.
const everything = 100 * 365 * 24 * time.Hour

func unless(skip bool, f func() error) error {
	if skip {
		return nil
	}
	return f()
}

func (c *importCmd) importLogs(ctx context.Context, s streams, store *schema.Store, result *importResult) error {
	var files []*ingest.LogFile
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, name := range c.Files {
		f, err := ingest.OpenLogFile(name, s.in)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	formats, err := c.formats(cfg, files)
	if err != nil {
		return err
	}
	result.Formats = formats.names
	bar := newProgress(s.err, files)
	im := ingest.Import{
		Formats: formats.Formats, Again: c.Again,
		Keep:    ingest.Keep{Query: cfg.Keep.Query, Cookies: cfg.Keep.Cookies},
		Workers: runtime.GOMAXPROCS(0), Progress: bar.add,
	}
	if store != nil {
		im.Sink = store
	}
	result.Summary, err = im.Run(ctx, files)
	bar.done()
	if errors.Is(err, context.Canceled) {
		err = hint(errors.New("interrupted"), "run the same command again: what is stored is skipped")
	}
	return err
}

func (c *importCmd) print(w io.Writer, r importResult) error {
	if c.Output == "json" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			_, err = fmt.Fprintf(w, "%s\n", b)
		}
		return err
	}
	var t strings.Builder
	line := func(name string, n int, note string) {
		if n > 0 {
			fmt.Fprintf(&t, "%-18s %12s  %s\n", name, thousands(n), note)
		}
	}
	line("lines", r.Lines, "as "+strings.Join(r.Formats, ", "))
	line("requests", r.Requests, "")
	line("proxy events", r.Events, "handshake failures, stops, …")
	for _, reason := range sortedKeys(r.Rejected) {
		line("rejected", r.Rejected[reason], reason)
	}
	line("already imported", r.AlreadyImported, "skipped")
	for _, mark := range sortedKeys(r.Marked) {
		line("marked", r.Marked[mark], mark)
	}
	line("runs", r.Runs, "")
	line("commits", r.Commits, "")
	rate := ""
	if r.Seconds > 0 && r.Lines > 0 {
		rate = fmt.Sprintf(", %s lines/s", thousands(int(float64(r.Lines)/r.Seconds)))
	}
	dry := ""
	if c.DryRun {
		dry = " (dry run: nothing was stored)"
	}
	fmt.Fprintf(&t, "%.1f s, %.1f CPU s%s%s\n", r.Seconds, r.CPUSeconds, rate, dry)
	_, err := io.WriteString(w, t.String())
	return err
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// cpuTime is what the process has used, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// importRows reads JSON files of T, a whole array or one object after another.
func importRows[T any](ctx context.Context, files []string, check func(*T) error, insert func(context.Context, []T) error) (int, error) {
	total := 0
	for _, file := range files {
		rows, err := readJSON[T](file)
		if err != nil {
			return total, fmt.Errorf("%s: %w", file, err)
		}
		for i := range rows {
			if err := check(&rows[i]); err != nil {
				return total, fmt.Errorf("%s: row %d: %w", file, i+1, err)
			}
		}
		if err := insert(ctx, rows); err != nil {
			return total, fmt.Errorf("%s: %w", file, err)
		}
		total += len(rows)
	}
	return total, nil
}

func readJSON[T any](file string) ([]T, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	var rows []T
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); err == io.EOF {
			return rows, nil
		} else if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", d.InputOffset(), err)
		}
		part, err := decodeRows[T](raw)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", len(rows)+len(part)+1, err)
		}
		rows = append(rows, part...)
	}
}

// decodeRows reads an array of objects, or one object. Unknown fields are
// errors: a misspelt one would lose its value.
func decodeRows[T any](raw json.RawMessage) (rows []T, err error) {
	objects := []json.RawMessage{raw}
	if len(raw) > 0 && raw[0] == '[' {
		if err := json.Unmarshal(raw, &objects); err != nil {
			return nil, err
		}
	}
	for _, object := range objects {
		if object, err = withoutVersion(object); err != nil {
			return rows, err
		}
		var row T
		d := json.NewDecoder(bytes.NewReader(object))
		d.DisallowUnknownFields()
		if err := d.Decode(&row); err != nil {
			return rows, hint(err, "the fields are "+strings.Join(schema.Columns[T](), ", "))
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// withoutVersion leaves out what older files have to say which of two rows counts:
// now all rows of a run or a commit count together, whichever comes first.
func withoutVersion(object json.RawMessage) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if !bytes.Contains(object, []byte(`"version"`)) || json.Unmarshal(object, &fields) != nil {
		return object, nil // what is no object is the decoder's to refuse
	}
	delete(fields, "version")
	return json.Marshal(fields)
}

func checkRun(r *schema.Run) error {
	if r.Provider == "" || r.Run == "" {
		return errors.New("provider and run must not be empty")
	}
	r.Commit = strings.ToLower(r.Commit)
	if r.Status == "success" { // the word of older files
		r.Status = ci.Succeeded.String()
	}
	var words []string
	for status := ci.Unknown; status <= ci.Succeeded; status++ {
		if r.Status == status.String() {
			return nil
		}
		words = append(words, strconv.Quote(status.String()))
	}
	return hint(fmt.Errorf("status: %q is not known", r.Status), "write one of "+strings.Join(words, ", "))
}

func checkCommit(r *schema.Commit) error {
	if r.Commit == "" {
		return errors.New("commit must not be empty")
	}
	r.Commit = strings.ToLower(r.Commit)
	return nil
}
