package syslog

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// streamConfigs are the transports that are byte streams, TLS aside.
func streamConfigs(t *testing.T) []Config {
	return []Config{
		{Address: "tcp://127.0.0.1:0"},
		{Address: "unix://" + filepath.Join(t.TempDir(), "log.sock")},
	}
}

func TestStreamEndToEnd(t *testing.T) {
	octets := counted(haproxyHeaders[2]) + counted(haproxyHeaders[0])
	lines := haproxyHeaders[2] + "\n" + haproxyHeaders[0] + "\n"
	want := make([]string, 2)
	for i, h := range []string{haproxyHeaders[2], haproxyHeaders[0]} {
		var m Message
		ParseHeader([]byte(h), time.Now(), time.UTC, &m)
		want[i] = show(&m)
	}
	for _, cfg := range streamConfigs(t) {
		for _, framing := range []struct{ name, sent string }{
			{"auto", octets}, {"auto", lines}, {"octet-counted", octets}, {"newline", lines},
		} {
			for _, chunk := range []int{1, 7, 1 << 20} {
				t.Run(fmt.Sprintf("%s %s by %d", cfg.Address[:4], framing.name, chunk), func(t *testing.T) {
					cfg.Framing = framing.name
					rec := newRecorder()
					r := start(t, cfg, rec)
					conn := r.dial(t)
					for s := framing.sent; s != ""; {
						n := min(chunk, len(s))
						send(t, conn, s[:n])
						s = s[n:]
					}
					rec.wait(t, 2, 0)
					if !reflect.DeepEqual(rec.shown, want) {
						t.Errorf("got  %q\nwant %q", rec.shown, want)
					}
					if got := r.metric(t, "bytes_total"); got != float64(len(framing.sent)) {
						t.Errorf("bytes_total = %v, want %d", got, len(framing.sent))
					}
					if got := r.metric(t, "messages_total"); got != 2 {
						t.Errorf("messages_total = %v, want 2", got)
					}
				})
			}
		}
	}
}

// TestBadStreams sends what is no syslog beside a good connection, which must
// not notice.
func TestBadStreams(t *testing.T) {
	mib := strings.Repeat("x", 1<<20)
	tests := []struct {
		name, in string
		texts    int // that come through on the bad connection
		reject   string
		closed   bool
		hint     string
	}{
		{"frame length of 9999999999", "5 <1>ab9999999999 <1>cd", 1, "bad_frame: 9999999999 <1>cd", true, "octet-count"},
		{"frame length of 11 digits", "12345678901 <1>cd", 0, "bad_frame: 12345678901 <1>cd", true, "octet-count"},
		{"out of step", "5 <1>abcdef", 1, "bad_frame: cdef", true, "octet-count"},
		{"TLS handshake", "\x16\x03\x01\x00\x05hello", 0, "garbage: \x16\x03\x01\x00\x05hello", true, "tls://"},
		{"a line of 1 MiB", "<1>a\n" + mib + "\n<1>b\n", 2, "too_long: " + mib[:40], false, "max_line"},
		{"a frame of 1 MiB", "4 <1>a" + counted(mib) + "4 <1>b", 2, "too_long: " + mib[:40], false, "max_line"},
		{"a control character first", "<1>a\n\x1b[31m\n<1>b\n", 2, "garbage: \x1b[31m", false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := newRecorder()
			r := start(t, Config{Address: "tcp://127.0.0.1:0"}, rec)
			good, bad := r.dial(t), r.dial(t)
			send(t, good, "<1>first\n<1>sec")
			rec.wait(t, 1, 0)
			send(t, bad, tt.in)
			rec.wait(t, 1+tt.texts, 1)
			if rec.rejects[0] != tt.reject {
				t.Errorf("reject %q, want %q", rec.rejects[0], tt.reject)
			}
			if tt.closed {
				_ = bad.SetReadDeadline(time.Now().Add(10 * time.Second))
				if n, err := bad.Read(make([]byte, 1)); n != 0 || err == nil || isTimeout(err) {
					t.Errorf("the connection is not closed: %d, %v", n, err)
				}
			}
			send(t, good, "ond\n")
			rec.wait(t, 2+tt.texts, 1)
			reason, _, _ := strings.Cut(tt.reject, ":")
			if got := r.metric(t, "rejects_total", reason); got != 1 {
				t.Errorf("rejects_total{reason=%q} = %v, want 1", reason, got)
			}
			if !strings.Contains(r.log.String(), tt.hint) {
				t.Errorf("the log does not say %q: %s", tt.hint, r.log)
			}
		})
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

func TestHalfFrames(t *testing.T) {
	for _, tt := range []struct{ in, reject string }{
		{"<1>a\n<1>half", "half_frame: <1>half"},
		{"4 <1>a9 <1>half", "half_frame: <1>half"},
		{"4 <1>a9 ", "half_frame: "},
		{"4 <1>a12", "half_frame: 12"},
	} {
		rec := newRecorder()
		r := start(t, Config{Address: "tcp://127.0.0.1:0"}, rec)
		conn := r.dial(t)
		send(t, conn, tt.in)
		_ = conn.Close()
		rec.wait(t, 1, 1)
		if rec.rejects[0] != tt.reject {
			t.Errorf("%q: reject %q, want %q", tt.in, rec.rejects[0], tt.reject)
		}
	}
}

// TestSendersStayApart has two senders write the same hostname.
func TestSendersStayApart(t *testing.T) {
	rec := newRecorder()
	r := start(t, Config{Address: "tcp://127.0.0.1:0"}, rec)
	a, b := r.dial(t), r.dial(t)
	for range 20 {
		send(t, a, "<1>Nov 23 10:56:39 edge1 haproxy[1]: a\n")
		send(t, b, "<1>Nov 23 10:56:39 edge1 haproxy[1]: b\n")
	}
	rec.wait(t, 40, 0)
	if len(rec.bySrc) != 2 {
		t.Fatalf("%d sources, want 2", len(rec.bySrc))
	}
	for src, texts := range rec.bySrc {
		if got := strings.Join(texts, ""); got != strings.Repeat(texts[0], 20) {
			t.Errorf("one source has %s", got)
		}
		if src.Transport != "tcp" || src.Listener != "test" || src.Peer != "127.0.0.1" || src.Lossy {
			t.Errorf("source is %+v", src)
		}
	}
}

func TestSlowAndIdleConnections(t *testing.T) {
	t.Run("a message that does not end", func(t *testing.T) {
		rec := newRecorder()
		r := start(t, Config{Address: "tcp://127.0.0.1:0", FrameTimeout: 150 * time.Millisecond}, rec)
		conn, idle := r.dial(t), r.dial(t)
		began := time.Now()
		// One byte now and then does not put the end off.
		for range 100 {
			if _, err := conn.Write([]byte("<")); err != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		rec.wait(t, 0, 1)
		if !strings.HasPrefix(rec.rejects[0], "slow: <<<") {
			t.Errorf("reject %q", rec.rejects[0])
		}
		if d := time.Since(began); d < 150*time.Millisecond {
			t.Errorf("given up after %s", d)
		}
		send(t, idle, "<1>a\n") // nothing had begun there
		rec.wait(t, 1, 1)
	})
	t.Run("a connection without traffic", func(t *testing.T) {
		rec := newRecorder()
		r := start(t, Config{Address: "tcp://127.0.0.1:0", IdleTimeout: 100 * time.Millisecond}, rec)
		conn := r.dial(t)
		for range 8 { // busy for longer than idle_timeout
			send(t, conn, "<1>a\n")
			time.Sleep(25 * time.Millisecond)
		}
		rec.wait(t, 8, 0)
		eventually(t, "the idle connection is closed", func() bool { return r.metric(t, "connections") == 0 })
		rec.check(t, 8, 0)
	})
}

func TestRefusedConnections(t *testing.T) {
	refused := func(t *testing.T, r *running) {
		t.Helper()
		conn := r.dial(t)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("the connection was not closed: %v", err)
		}
	}
	t.Run("max_connections", func(t *testing.T) {
		rec := newRecorder()
		r := start(t, Config{Address: "tcp://127.0.0.1:0", MaxConnections: 2}, rec)
		a, b := r.dial(t), r.dial(t)
		send(t, a, "<1>a\n")
		send(t, b, "<1>b\n")
		rec.wait(t, 2, 0)
		refused(t, r)
		refused(t, r)
		if got := r.metric(t, "connections_refused_total", "max_connections"); got != 2 {
			t.Errorf("refused %v, want 2", got)
		}
		_ = a.Close()
		eventually(t, "a place is free", func() bool { return r.metric(t, "connections") == 1 })
		send(t, r.dial(t), "<1>c\n")
		send(t, b, "<1>d\n")
		rec.wait(t, 4, 0)
		if got := strings.Count(r.log.String(), "too many connections"); got != 1 {
			t.Errorf("the log tells it %d times, want once:\n%s", got, r.log)
		}
	})
	t.Run("allowed_peers", func(t *testing.T) {
		rec := newRecorder()
		r := start(t, Config{Address: "tcp://127.0.0.1:0", AllowedPeers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, rec)
		refused(t, r)
		if got := r.metric(t, "connections_refused_total", "peer_not_allowed"); got != 1 {
			t.Errorf("refused %v, want 1", got)
		}
		r = start(t, Config{Address: "tcp://127.0.0.1:0", AllowedPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, rec)
		send(t, r.dial(t), "<1>c\n")
		rec.wait(t, 1, 0)
	})
}

// TestBufferMemory has one connection use up what may be lent.
func TestBufferMemory(t *testing.T) {
	rec := newRecorder()
	r := start(t, Config{Address: "tcp://127.0.0.1:0", BufferMemory: 150 << 10}, rec)
	long := "<1>" + strings.Repeat("x", 9000)
	holder, other := r.dial(t), r.dial(t)
	send(t, holder, long) // without its end
	pool := &r.receiver.(*streamListener).pool
	eventually(t, "a buffer is lent", func() bool { return pool.lent.Load() > 0 })
	send(t, other, "<1>short\n"+long+"\n<1>short\n")
	rec.wait(t, 2, 1)
	if want := "memory: " + long[:40]; rec.rejects[0] != want {
		t.Errorf("reject %q, want %q", rec.rejects[0], want)
	}
	send(t, holder, "\n")
	rec.wait(t, 3, 1)
	_ = holder.Close()
	eventually(t, "the buffer is back", func() bool { return pool.lent.Load() == 0 })
	send(t, other, long+"\n")
	rec.wait(t, 4, 1)
	eventually(t, "an idle connection gives it back", func() bool { return pool.lent.Load() == 0 })
	send(t, other, "<1>short\n")
	rec.wait(t, 5, 1)
}

// TestBackpressure blocks the handler: the sender's writes must block, another
// connection go on, and nothing be lost.
func TestBackpressure(t *testing.T) {
	rec := newRecorder()
	rec.block = make(chan struct{})
	r := start(t, Config{Address: "tcp://127.0.0.1:0"}, rec)
	conn := r.dial(t)
	line := strings.Repeat("x", 1000) + "\n"
	chunk := strings.Repeat(line, 256)
	sent := 0
	for rest := chunk; ; {
		_ = conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := conn.Write([]byte(rest))
		sent += n
		if err != nil {
			if !isTimeout(err) {
				t.Fatal(err)
			}
			break
		}
		if sent > 1<<30 {
			t.Fatal("the sender never blocks")
		}
		if rest = rest[n:]; rest == "" {
			rest = chunk
		}
	}
	if m, _ := rec.counts(); m != 0 {
		t.Fatalf("%d messages passed a blocked handler", m)
	}
	close(rec.block)
	if rest := sent % len(line); rest > 0 { // finish the line that was cut by the deadline
		_ = conn.SetWriteDeadline(time.Time{})
		send(t, conn, line[rest:])
		sent += len(line) - rest
	}
	rec.wait(t, sent/len(line), 0)
}

func TestCloseCutsAtOnce(t *testing.T) {
	for _, cfg := range append(streamConfigs(t), Config{Address: "udp://127.0.0.1:0"}, Config{Address: "unixgram://" + filepath.Join(t.TempDir(), "d.sock")}) {
		rec := newRecorder()
		r := start(t, cfg, rec)
		conn := r.dial(t)
		send(t, conn, "<1>x\n")
		rec.wait(t, 1, 0)
		if err := r.Close(); err != nil {
			t.Errorf("%s: Close: %v", cfg.Address, err)
		}
		if err := r.stop(); err != nil {
			t.Errorf("%s: Serve: %v", cfg.Address, err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: second Close: %v", cfg.Address, err)
		}
		if err := r.Serve(t.Context(), rec); err == nil {
			t.Errorf("%s: second Serve did not fail", cfg.Address)
		}
	}
}
