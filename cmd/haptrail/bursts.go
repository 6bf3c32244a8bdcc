package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/haptrail/haptrail/internal/strictyaml"
	"github.com/haptrail/haptrail/schema"
)

type burstsCmd struct {
	List      burstsListCmd      `cmd:"" default:"withargs" help:"List bursts, the newest first, or follow them as they are found (haptrail bursts --open, -f and so on; flags: haptrail bursts list --help)."`
	Explain   burstsExplainCmd   `cmd:"" help:"Tell all that is known of one burst: whose, how much against what is usual, from which run and commit."`
	Expect    burstsExpectCmd    `cmd:"" help:"Announce load, such as a load test, so that it is no burst; list and withdraw what was announced."`
	Calibrate burstsCalibrateCmd `cmd:"" help:"Find the thresholds that keep to a budget of false alarms on a history. It changes nothing."`
	Replay    burstsReplayCmd    `cmd:"" help:"Run the burst detector over a history of one's own: what it would have said, when, and why."`
}

type burstsListCmd struct {
	Words []string `arg:"" optional:"" hidden:""` // a command that there is not
	where
	Since    string `default:"24h" help:"From when: a duration back from now (90m, 7d), a date, an RFC 3339 time, or all. A burst that goes on is always among them."`
	Until    string `default:"now" help:"Until when, likewise."`
	Open     bool   `help:"Only those that go on."`
	Severity string `enum:",low,medium,high" default:"" placeholder:"WORD" help:"Only low, medium or high, and what is worse."`
	Measure  string `enum:",requests,denials,errors,kilobytes,callers" default:"" placeholder:"WORD" help:"Only bursts of requests, denials, errors or kilobytes, or of callers that a frontend denied."`
	Identity string `placeholder:"SUB" help:"Only this identity (the token's whole subject) or key; * stands for anything."`
	Limit    uint64 `short:"n" default:"50" help:"The newest so many; 0 for all."`
	Long     bool   `short:"l" help:"Each burst in full: the reason, the run, and what was asked for."`
	Follow   bool   `short:"f" help:"Show those that go on, then each change as it is told, until Ctrl-C. With -o json each is an object in a line of its own."`
	output
}

// burstLine is a burst as the table shows it; JSON and CSV have the columns of the
// table bursts.
type burstLine struct {
	ID       string `json:"id"`
	Start    string `json:"start"`
	Lasted   string `json:"lasted"`
	Severity string `json:"severity"`
	Identity string `json:"identity"`
	Peak     string `json:"peak"`
	Expected string `json:"expected"`
	Before   string `json:"before"` // the highest that the key itself had
	Run      string `json:"run"`
	Reason   string `json:"reason"`
}

var (
	burstColumns  = []string{"id", "start", "lasted", "severity", "identity", "peak", "expected", "before", "run", "reason"}
	narrowColumns = []string{"id", "start", "lasted", "severity", "identity", "peak", "expected", "run"}
)

// roomy is how many columns a terminal has for the reason to be in the table: cut
// short it would say what the columns before it say.
const roomy = 200

func (c *burstsListCmd) Run(ctx context.Context, s streams) error {
	if len(c.Words) > 0 {
		return usageError{hint(errors.New(strictyaml.Unknown("command", c.Words[0], []string{"list", "explain", "expect", "calibrate", "replay"})),
			"haptrail bursts --help; of one burst tells: haptrail bursts explain ID")}
	}
	query, err := c.query(time.Now())
	if err != nil {
		return usageError{err}
	}
	store, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer store.Close()
	switch {
	case c.Follow:
		return c.follow(ctx, store, s, query)
	case c.Output == "table" && c.Long:
		w := bufio.NewWriter(s.out)
		found := 0
		err := store.Bursts(ctx, query, func(row *schema.BurstRow) error {
			found++
			writeBurst(w, row, &c.where)
			return nil
		})
		if err == nil && found == 0 {
			fmt.Fprintln(w, c.empty(query))
		}
		return errors.Join(err, w.Flush())
	case c.Output == "table":
		p := newBurstTable(s.out)
		p.empty = c.empty(query)
		return errors.Join(store.Bursts(ctx, query, p.add), p.close())
	}
	p := newPrinter[schema.BurstRow](s.out, c.Output, nil)
	return errors.Join(store.Bursts(ctx, query, p.row), p.close())
}

func (c *burstsListCmd) query(now time.Time) (q schema.BurstsQuery, err error) {
	q = schema.BurstsQuery{Until: farFuture, Identity: c.Identity, Measure: c.Measure, Severity: c.Severity, Open: c.Open, Limit: c.Limit}
	q.Since, q.Until, err = between(c.Since, c.Until, now)
	if err == nil && c.Follow && (c.Long || c.Until != "now") {
		err = errors.New("--follow shows what comes, a line each: leave --long and --until out")
	}
	return q, err
}

// between reads --since and --until.
func between(since, until string, now time.Time) (from, to time.Time, err error) {
	if since != "all" {
		if from, err = parseTime(since, now); err != nil {
			return from, to, fmt.Errorf("--since: %w", err)
		}
	}
	if to, err = parseTime(until, now); err != nil {
		return from, to, fmt.Errorf("--until: %w", err)
	}
	if until == "now" {
		to = farFuture // a sender's clock may be ahead of ours
	}
	if !from.Before(to) {
		err = fmt.Errorf("--since %s is not before --until %s", since, until)
	}
	return from, to, err
}

func (c *burstsListCmd) empty(q schema.BurstsQuery) string { return noneSince("bursts", q.Since) }

// noneSince is what a table says that is empty.
func noneSince(what string, since time.Time) string {
	if since.IsZero() {
		return fmt.Sprintf("No %s. Loosen the filters.", what)
	}
	return fmt.Sprintf("No %s since %s. Widen --since, or loosen the filters.", what, since.UTC().Format(time.DateTime))
}

// burstTable prints bursts as a table. A terminal that is narrow gets the beginnings
// of ids, which explain takes, days without their year, and neither reasons nor what was
// before.
type burstTable struct {
	*printer[burstLine]
	narrow bool
}

func newBurstTable(w io.Writer) *burstTable {
	width := styleOf(w).width
	if width == 0 || width >= roomy {
		return &burstTable{newPrinter[burstLine](w, "table", burstColumns), false}
	}
	return &burstTable{newPrinter[burstLine](w, "table", narrowColumns), true}
}

func (t *burstTable) add(row *schema.BurstRow) error {
	line := lineOf(row)
	if t.narrow {
		line.ID = line.ID[:min(len(line.ID), 8)]
		line.Start = row.Start.UTC().Format("01-02 15:04:05")
	}
	return t.row(line)
}

func lineOf(row *schema.BurstRow) *burstLine {
	line := &burstLine{
		ID: row.ID, Start: moment(row.Start), Lasted: lasted(row), Severity: row.Severity, Identity: whoseBurst(row), Peak: peak(row),
		Expected: "<= " + digits(row.Expected), Before: digits(row.Own), Run: row.Run, Reason: row.Reason,
	}
	if row.Own == 0 {
		line.Before = "-"
	}
	return line
}

// whoseBurst names the identity, or else the key, and where it is.
func whoseBurst(row *schema.BurstRow) string {
	if row.Identity == "" {
		return row.Key
	}
	if row.Endpoint != "" {
		return row.Identity + " at " + row.Endpoint
	}
	return row.Identity
}

// peak is the count that was farthest above its limit, such as "412 requests in 10 s".
func peak(row *schema.BurstRow) string {
	return fmt.Sprintf("%s in %d s", counted(row.Measure, row.Peak), row.Window)
}

// counted is a number of what a measure counts.
func counted(measure string, n uint64) string {
	switch {
	case measure == "kilobytes":
		return digits(n) + " kB"
	case n == 1:
		return "1 " + strings.TrimSuffix(measure, "s")
	}
	return digits(n) + " " + measure
}

// lasted says for how long a burst went on, or that it does.
func lasted(row *schema.BurstRow) string {
	switch row.State {
	case schema.BurstOpen:
		return "goes on"
	case schema.BurstLost:
		return "lost"
	}
	return roughly(row.End.Sub(row.Start))
}

// roughly is a duration in its largest unit of which there are at least two.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", max(0, d)/time.Second)
}

// moment is a time to the second, in UTC.
func moment(t time.Time) string { return t.UTC().Format(time.DateTime) }

// writeBurst writes a burst for a person to read, found where from says.
func writeBurst(w io.Writer, row *schema.BurstRow, from *where) {
	fmt.Fprintf(w, "%s  %s  Burst of %s: %s, %s  [%s]\n    %s\n",
		moment(row.Start), row.Severity, row.Measure, printable(whoseBurst(row)), lastedWords(row), printable(row.ID), printable(row.Reason))
	if row.Run != "" {
		fmt.Fprintf(w, "    %s\n", ofRun(row))
	}
	for _, e := range evidenceOf(row) {
		fmt.Fprintf(w, "    %s\n", evidenceLine(&e))
	}
	fmt.Fprintf(w, "    More: %s\n\n", from.next("haptrail bursts explain "+shellWord(row.ID)))
}

func lastedWords(row *schema.BurstRow) string {
	switch row.State {
	case schema.BurstOpen:
		return "goes on"
	case schema.BurstLost:
		return "nobody saw its end"
	}
	return "lasted " + lasted(row)
}

// ofRun is the run that most of a burst's requests came from, in words.
func ofRun(row *schema.BurstRow) string {
	text := "Run " + told(row.Run)
	if row.Project != "" {
		text += " of " + told(row.Project)
	}
	if row.Commit != "" {
		text += ", commit " + told(row.Commit) + " by " + told(cmp.Or(row.Author, "an unknown author"))
	}
	return oneLine(text + " (" + cmp.Or(row.Grade, "none") + ").")
}

// evidenceOf are the busiest kinds of a burst's requests as they were stored with it.
func evidenceOf(row *schema.BurstRow) []schema.BurstEvidence {
	var rows []schema.BurstEvidence
	if json.Unmarshal([]byte(row.Evidence), &rows) != nil {
		return nil // there is none yet
	}
	return rows
}

func evidenceLine(e *schema.BurstEvidence) string {
	parts := []string{counted("requests", e.Requests), e.Method, e.Endpoint, e.Decision}
	if e.Network.IsValid() && !e.Network.IsUnspecified() {
		parts = append(parts, "from "+e.Network.String())
	}
	return printable(strings.Join(strings.Fields(strings.Join(parts, " ")), " "))
}

// shellWord is a value in a command that a person may paste into a shell.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_@%+=:,./-", r)
	}
	if s != "" && !strings.HasPrefix(s, "-") && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(starred(s), "'", `'\''`) + "'"
}

// starred replaces what a command cannot hold by a star: the flags that take an
// identity take it for anything.
func starred(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '*'
		}
		return r
	}, s)
}

// digits is a number with its thousands apart.
func digits(n uint64) string { return thousands(int(min(n, math.MaxInt64))) }
