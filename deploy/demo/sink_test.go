package demo

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

// sink stands for haptrail's TCP syslog listener: it reads octet-counted frames
// (RFC 6587, section 3.4.1), strictly.
type sink struct {
	listener net.Listener

	mu     sync.Mutex
	frames []string
	fault  error
}

func newSink(t *testing.T) *sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{listener: listener}
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

func (s *sink) address() string { return s.listener.Addr().String() }

func (s *sink) read(conn net.Conn) {
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

// line is the part of a log line that the tests look at.
type line struct {
	Client   string `json:"ci"`
	Frontend string `json:"fe"`
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

// settleTime is how long the sink stays quiet before take believes that no
// surplus line will come.
const settleTime = 300 * time.Millisecond

// take waits for n lines, makes sure that no more come, checks that each is a
// whole RFC 5424 message with a JSON object that haptrail's own parser reads in
// the same way, and forgets them.
func (s *sink) take(t *testing.T, n int) []line {
	t.Helper()
	frames := s.wait(t, n)
	format, err := logformat.Compile(logformat.Haptrail, logformat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var record logformat.Record
	lines := make([]line, len(frames))
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
			if have := string(record.Text[field]); record.Has(field) != (want != "") || record.Has(field) && have != want {
				t.Errorf("frame %d: %s: JSON has %q, the parser %q", i, field, want, have)
			}
		}
		if strings.Contains(frame, "eyJ") {
			t.Errorf("frame %d holds a piece of a token: %s", i, frame)
		}
	}
	return lines
}

func (s *sink) wait(t *testing.T, n int) []string {
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
