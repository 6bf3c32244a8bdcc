package edgetest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/logformat"
)

// Sink stands for haptrail's TCP syslog listener: it reads octet-counted frames
// (RFC 6587, section 3.4.1), strictly.
type Sink struct {
	listener net.Listener

	mu     sync.Mutex
	frames []string
	fault  error
}

// NewSink listens on a free loopback port until the test ends.
func NewSink(t testing.TB) *Sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{listener: listener}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.read(conn)
		}
	}()
	return s
}

// Address is the listener's host:port.
func (s *Sink) Address() string { return s.listener.Addr().String() }

func (s *Sink) read(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		length, err := r.ReadString(' ')
		if err != nil {
			return // the gate ended
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil {
			s.mu.Lock()
			s.fault = fmt.Errorf("frame length %q: %w", length, err)
			s.mu.Unlock()
			return
		}
		frame := make([]byte, n)
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		s.mu.Lock()
		s.frames = append(s.frames, string(frame))
		s.mu.Unlock()
	}
}

// Line is the part of a log line that tests look at.
type Line struct {
	PID      int    `json:"pid"`
	Client   string `json:"ci"`
	Frontend string `json:"fe"`
	Backend  string `json:"be"`
	Server   string `json:"srv"`
	Status   int    `json:"st"`
	End      string `json:"ts"`
	Decision string `json:"dec"`
	Reason   string `json:"why"`
	Method   string `json:"m"`
	Host     string `json:"host"`
	Path     string `json:"path"`

	Provider   string `json:"prov"`
	Issuer     string `json:"iss"`
	Subject    string `json:"sub"`
	TokenID    string `json:"jti"`
	Key        string `json:"kid"`
	Audience   string `json:"aud"`
	Issued     string `json:"iat"`
	Expires    string `json:"exp"`
	Tenant     string `json:"tenant"`
	Project    string `json:"proj"`
	Job        string `json:"job"`
	Run        string `json:"run"`
	Attempt    string `json:"att"`
	Ref        string `json:"ref"`
	Commit     string `json:"sha"`
	Actor      string `json:"actor"`
	Runner     string `json:"runner"`
	Role       string `json:"role"`
	ClaimedRun string `json:"claim"`
}

// settleTime is how long the sink stays quiet before Take believes that no
// surplus line will come.
const settleTime = 300 * time.Millisecond

// Take waits for n lines, makes sure that no more come, checks that each is a
// whole RFC 5424 message with a JSON object that haptrail's own parser reads in
// the same way and that holds no piece of a token, and forgets them.
func (s *Sink) Take(t testing.TB, n int) []Line {
	t.Helper()
	frames := s.wait(t, n)
	format, err := logformat.Compile(logformat.Haptrail, logformat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var record logformat.Record
	lines := make([]Line, len(frames))
	for i, frame := range frames {
		header, text, found := strings.Cut(frame, " - - ")
		if !found || !strings.HasPrefix(header, "<134>1 ") {
			t.Fatalf("frame %d is no RFC 5424 message: %q", i, frame)
		}
		if err := json.Unmarshal([]byte(text), &lines[i]); err != nil {
			t.Fatalf("frame %d: %v: %s", i, err, text)
		}
		if fault := format.Parse([]byte(text), &record); fault.Reason != logformat.OK || record.Truncated {
			t.Errorf("frame %d: %s (truncated: %t): %s", i, format.Describe(fault), record.Truncated, text)
		}
		for field, want := range map[logformat.Field]string{
			logformat.Decision: lines[i].Decision, logformat.Reason: lines[i].Reason, logformat.Path: lines[i].Path,
			logformat.Subject: lines[i].Subject, logformat.Run: lines[i].Run, logformat.ClaimedRun: lines[i].ClaimedRun,
		} {
			if have := string(record.Text[field]); record.Has(field) != (want != "") || record.Has(field) && have != rawBytes(want) {
				t.Errorf("frame %d: %s: JSON has %q, the parser %q", i, field, want, have)
			}
		}
		if strings.Contains(frame, "eyJ") {
			t.Errorf("frame %d holds a piece of a token: %s", i, frame)
		}
	}
	return lines
}

// Await waits until n lines have come, or none for a second, and takes them all.
func (s *Sink) Await(n int) []Line {
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.frames)
	}
	have, since := count(), time.Now()
	for have < n && time.Since(since) < time.Second {
		time.Sleep(10 * time.Millisecond)
		if now := count(); now != have {
			have, since = now, time.Now()
		}
	}
	return s.Drain()
}

// Drain takes the lines that have come so far, however many.
func (s *Sink) Drain() []Line {
	s.mu.Lock()
	frames := s.frames
	s.frames = nil
	s.mu.Unlock()
	var lines []Line
	for _, frame := range frames {
		var l Line
		if _, text, found := strings.Cut(frame, " - - "); found && json.Unmarshal([]byte(text), &l) == nil {
			lines = append(lines, l)
		}
	}
	return lines
}

// rawBytes undoes HAProxy's ascii JSON, which writes each byte as a character.
func rawBytes(text string) string {
	raw := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			return text
		}
		raw = append(raw, byte(r))
	}
	return string(raw)
}

func (s *Sink) wait(t testing.TB, n int) []string {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		s.mu.Lock()
		have, fault := len(s.frames), s.fault
		s.mu.Unlock()
		if fault != nil {
			t.Fatal(fault)
		}
		if have >= n || time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(settleTime)
	s.mu.Lock()
	defer s.mu.Unlock()
	frames := s.frames
	s.frames = nil
	if len(frames) != n {
		t.Fatalf("want %d log lines, have %d", n, len(frames))
	}
	return frames
}
