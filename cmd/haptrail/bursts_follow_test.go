package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/embedded"
	"github.com/haptrail/haptrail/schema/schematest"
)

// seen is what a command has printed so far.
type seen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *seen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *seen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// has waits until the text is there.
func (s *seen) has(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in\n%s", text, s)
		}
	}
}

// serveSocket lets others reach the engine, as the daemon does; stop ends that.
func serveSocket(t *testing.T, store *schema.Store, path string) (stop func()) {
	t.Helper()
	server, err := store.Engine().Listen(embedded.Endpoint{Network: "unix", Address: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	return func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// startFollowing runs the command until the returned function ends it.
func startFollowing(t *testing.T, dsn, format string) (out, notes *seen, end func()) {
	t.Helper()
	out, notes = &seen{}, &seen{}
	c := &burstsListCmd{Since: "24h", Until: "now", Follow: true}
	c.DSN, c.Output = dsn, format
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, streams{out: out, err: notes}) }()
	return out, notes, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("after Ctrl-C: %v", err)
		}
	}
}

// TestFollow: what goes on is shown, then each change once, over a restart of the
// daemon too; what is over is not, nor what was told again with nothing new in it.
func TestFollow(t *testing.T) {
	store := schematest.Open(t)
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	stop := serveSocket(t, store, socket)
	now := time.Now().UTC().Truncate(time.Second)
	tell := func(b schema.BurstRow) {
		t.Helper()
		if err := store.InsertBursts(t.Context(), []schema.BurstRow{b}); err != nil {
			t.Fatal(err)
		}
	}
	over, open := deployBurst(), hostileBurst()
	over.Start, over.End, over.Updated = now.Add(-time.Hour), now.Add(-50*time.Minute), now.Add(-50*time.Minute)
	open.Start, open.Updated = now.Add(-5*time.Minute), now.Add(-4*time.Minute)
	tell(over)
	tell(open)
	out, notes, end := startFollowing(t, "unix:"+socket, "table")
	lines, _, endLines := startFollowing(t, "unix:"+socket, "json")
	out.has(t, `start   low     evil\x1b[2J'; reboot #  17 denials in 60 s; `)
	lines.has(t, open.ID)

	next := deployBurst()
	next.ID, next.Start, next.State, next.End, next.Run, next.Severity, next.Updated = "111111111111", now, schema.BurstOpen, time.Time{}, "", "low", now
	next.Reason = "80 requests in 10 s"
	tell(next)
	out.has(t, moment(now)+"  start   low     payments-deploy  80 requests in 10 s  [111111111111]\n")
	next.Total, next.Updated = next.Total+1, now.Add(time.Second) // nothing that a line shows
	tell(next)
	next.Severity, next.Peak, next.Reason, next.Updated = "high", 500, "500 requests in 10 s", now.Add(2*time.Second)
	tell(next)
	out.has(t, "worse   high    payments-deploy  500 requests in 10 s  [111111111111]\n")
	next.Run, next.Updated = "r-7", now.Add(3*time.Second)
	tell(next)
	out.has(t, "update  high    payments-deploy  500 requests in 10 s  Run r-7 of payments, ")

	stop()
	notes.has(t, "The tables cannot be read: ")
	next.State, next.End, next.Reason, next.Updated = schema.BurstOver, now.Add(9*time.Second), "over after 9 s", now.Add(4*time.Second)
	tell(next)
	defer serveSocket(t, store, socket)()
	out.has(t, moment(next.End)+"  end     high    payments-deploy  over after 9 s  Run r-7 ")
	notes.has(t, "The tables are read again.\n")
	open.State, open.End, open.Updated = schema.BurstLost, now, now.Add(5*time.Second)
	tell(open)
	out.has(t, "  lost    low     evil")
	lines.has(t, `"change":"lost"`)
	end()
	endLines()

	if have := strings.Count(out.String(), "\n"); have != 6 {
		t.Errorf("%d lines, want 6: start twice, worse, update, end, lost\n%s", have, out)
	}
	if strings.Count(notes.String(), "\n") != 2 || strings.ContainsRune(out.String()+notes.String(), '\x1b') {
		t.Errorf("notes:\n%s", notes)
	}
	var changes []string
	for line := range strings.Lines(lines.String()) {
		var object struct{ ID, Change string }
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if object.ID == next.ID && object.Change != "update" {
			changes = append(changes, object.Change)
		}
	}
	if have := strings.Join(changes, " "); have != "start worse end" {
		t.Errorf("as JSON: %s", have)
	}
}

// TestFollowClocks: a daemon's clock that is ahead hides nothing that comes later.
func TestFollowClocks(t *testing.T) {
	now := time.Now()
	var have []string
	f := &follower{known: map[string]schema.BurstRow{}, looked: true, tell: func(b *toldBurst) error { have = append(have, b.ID+" "+b.Change); return nil }}
	row := func(id, state string, ahead time.Duration) *schema.BurstRow {
		return &schema.BurstRow{ID: id, State: state, Updated: now.Add(ahead)}
	}
	for _, r := range []*schema.BurstRow{
		row("a", schema.BurstOpen, 10*time.Hour), row("b", schema.BurstOpen, 0), row("b", schema.BurstOpen, 0), row("b", schema.BurstOpen, -time.Second),
		row("c", schema.BurstOver, time.Second), row("b", schema.BurstOver, time.Second), row("b", schema.BurstOver, 2*time.Second), row("a", schema.BurstLost, 11*time.Hour),
	} {
		if err := f.take(r); err != nil {
			t.Fatal(err)
		}
	}
	if have := strings.Join(have, ", "); have != "a start, b start, c end, b end, b update, a lost" {
		t.Error(have)
	}
	if limit := time.Now().Add(followLate); f.newest.After(limit) {
		t.Errorf("rows until %s are asked for no more", f.newest)
	}
}
