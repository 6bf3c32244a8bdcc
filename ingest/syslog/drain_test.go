package syslog

import (
	"net"
	"strings"
	"testing"
	"time"
)

// TestDrain ends Serve while senders' bytes lie in kernels: all that their
// writes returned for must come, from connections that are idle, busy, or not
// yet accepted.
func TestDrain(t *testing.T) {
	for _, cfg := range streamConfigs(t) {
		t.Run(cfg.Address[:4], func(t *testing.T) {
			rec := newRecorder()
			rec.block = make(chan struct{})
			r := start(t, cfg, rec)
			conns := make([]net.Conn, 8)
			for i := range conns {
				conns[i] = r.dial(t)
				send(t, conns[i], "<1>begin\n") // its goroutine now waits in the handler
			}
			eventually(t, "all are in", func() bool { return r.metric(t, "connections") == 8 })
			want := len(conns)
			for i, conn := range conns[1:] { // conns[0] stays idle
				for range 20 * (i + 1) {
					send(t, conn, "<1>"+strings.Repeat("x", 500)+"\n")
					want++
				}
			}
			stopped := make(chan error, 1)
			go func() { stopped <- r.stop() }()
			time.Sleep(20 * time.Millisecond)
			close(rec.block)
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			rec.check(t, want, 0)
			if _, err := net.Dial(r.Addr().Network(), r.Addr().String()); err == nil {
				t.Error("the address still accepts")
			}
		})
	}
	t.Run("not yet accepted", func(t *testing.T) {
		// Connections that come in the very moment of the end: each either is
		// served in full or was never let in.
		for range 20 {
			rec := newRecorder()
			r := start(t, Config{Address: "tcp://127.0.0.1:0"}, rec)
			const n = 50
			for range n {
				send(t, r.dial(t), "<1>x\n")
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			rec.check(t, n, 0)
		}
	})
}

// TestDrainIsBounded has a sender that never stops and a handler that never
// returns.
func TestDrainIsBounded(t *testing.T) {
	t.Run("sender", func(t *testing.T) {
		rec := newRecorder()
		r := start(t, Config{Address: "tcp://127.0.0.1:0", DrainTimeout: 300 * time.Millisecond}, rec)
		conn := r.dial(t)
		go func() {
			for {
				if _, err := conn.Write([]byte("<1>x\n")); err != nil {
					return
				}
			}
		}()
		eventually(t, "messages come", func() bool { m, _ := rec.counts(); return m > 0 })
		began := time.Now()
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("took %s", d)
		}
	})
	t.Run("handler", func(t *testing.T) {
		rec := newRecorder()
		rec.block = make(chan struct{})
		cfg := Config{Name: "test", Address: "tcp://127.0.0.1:0", DrainTimeout: 100 * time.Millisecond}
		r := start(t, cfg, rec)
		send(t, r.dial(t), "<1>x\n")
		eventually(t, "the connection is in", func() bool { return r.metric(t, "connections") == 1 })
		time.Sleep(10 * time.Millisecond)
		err := r.stop()
		close(rec.block)
		if err == nil || !strings.Contains(err.Error(), "drain_timeout") {
			t.Errorf("Serve = %v, want an error about drain_timeout", err)
		}
		r.stop = func() error { return nil }
	})
}
