package peers

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// within runs a session over a pipe, under the test's own clock.
func within(t *testing.T, o Options, play func(h *fakeHAProxy)) error {
	t.Helper()
	f, err := New(proxyAt("127.0.0.1:1"), o, func(poll.Sample) {})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- newSession(f, ours).run() }()
	h := meet(t, theirs, "200\n")
	play(h)
	synctest.Wait()
	select {
	case err = <-ended:
	default:
		_ = theirs.Close()
		err = <-ended
	}
	_ = theirs.Close()
	_ = ours.Close()
	h.hold()
	return err
}

// TestHeartbeats: HAProxy hears one every 3 s, however busy it is, and its own silence
// of 5 s ends the connection.
func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := within(t, Options{}, func(h *fakeHAProxy) {
			h.teach(packet(tableDefine, stick(1, "st")))
			last := time.Now()
			beats := 0
			for i := range uint32(300) {
				h.send(change(i, entry("a", uint64(i))))
				time.Sleep(100 * time.Millisecond)
				for len(h.heard) > 0 {
					if m := <-h.heard; m == beat {
						beats++
						last = time.Now()
					}
				}
				if time.Since(last) > 4*time.Second {
					t.Fatalf("no heartbeat for %v", time.Since(last))
				}
			}
			if beats < 9 || beats > 11 {
				t.Errorf("%d heartbeats in 30 s", beats)
			}
			for range 10 {
				h.send(beat)
				time.Sleep(4900 * time.Millisecond)
			}
			time.Sleep(200 * time.Millisecond)
		})
		if outcome(err) != "silent" {
			t.Errorf("%v", err)
		}
	})
}

// beatFor sends heartbeats for a time.
func (h *fakeHAProxy) beatFor(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		h.send(beat)
		time.Sleep(100 * time.Millisecond)
	}
}

// silent is that the client says nothing but heartbeats and acknowledgements.
func (h *fakeHAProxy) silent() {
	h.t.Helper()
	for len(h.heard) > 0 {
		if m := <-h.heard; m != beat && !strings.HasPrefix(m, "\x0a\x84") {
			h.t.Errorf("it says %q", m)
		}
	}
}

// TestPartialLesson: a HAProxy that is being taught itself is asked again until it has
// learned.
func TestPartialLesson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := within(t, Options{}, func(h *fakeHAProxy) {
			for range 3 {
				h.expect(request)
				h.send(packet(tableDefine, stick(1, "st")), timed(1, entry("a", 1)), partial)
				h.expect(confirm)
				h.beatFor(retell - 200*time.Millisecond)
				h.silent()
				h.beatFor(200 * time.Millisecond)
			}
			h.teach(timed(1, entry("a", 1)))
			h.beatFor(time.Minute)
			h.silent()
		})
		if outcome(err) != "closed" {
			t.Errorf("%v", err)
		}
	})
}

// TestAlone: a HAProxy that asks this feed has nobody else to ask: when it has heard
// that there is nothing here, its next lesson is whole, though it says it is not.
func TestAlone(t *testing.T) {
	for name, play := range map[string]func(h *fakeHAProxy){
		"before the lesson's end": func(h *fakeHAProxy) {
			h.expect(request)
			h.send(request, packet(tableDefine, stick(1, "st")), partial)
			h.expect(partial)
			h.expect(confirm)
		},
		"after it": func(h *fakeHAProxy) {
			h.expect(request)
			h.send(packet(tableDefine, stick(1, "st")), partial)
			h.expect(confirm)
			h.send(request)
			h.expect(partial)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			f, _ := listen(t, proxyAt(serve(t, func(conn net.Conn) {
				h := meet(t, conn, "200\n")
				play(h)
				h.send(confirm, beat)
				h.expect(request)
				h.send(partial)
				h.expect(confirm)
				h.send(change(1, entry("a", 3)))
				h.beatFor(2 * retell)
				h.silent()
			})), Options{}, l)
			await(t, f, StateOK)
			waitFor(t, "the sample", func() bool { return l.sum("st/a") == 3 })
			if s, _ := l.sample("st/a"); !s.First || s.Elapsed == 0 || s.Elapsed > justNow {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestUntaught: a HAProxy that lives and does not answer is left.
func TestUntaught(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := within(t, Options{}, func(h *fakeHAProxy) {
			h.expect(request)
			for range 5 {
				time.Sleep(3 * time.Second)
				h.send(beat)
			}
		})
		if !errors.Is(err, errUntaught) {
			t.Errorf("%v", err)
		}
	})
}

// TestAcknowledgements: they come soon, not for each update, and none is left out.
func TestAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := within(t, Options{}, func(h *fakeHAProxy) {
			h.teach(packet(tableDefine, stick(1, "st")), timed(4, entry("a", 1)))
			time.Sleep(time.Second)
			if len(h.heard) > 0 {
				t.Errorf("a lesson was acknowledged: %q", <-h.heard)
			}
			for i := range uint32(1000) {
				h.send(change(i, entry("a", uint64(i))))
				time.Sleep(time.Millisecond)
			}
			time.Sleep(2 * ackEvery)
			acks, last := 0, ""
			for len(h.heard) > 0 {
				if m := <-h.heard; m != beat {
					acks++
					last = m
				}
			}
			if want := "\x0a\x84" + number(1) + four(999); last != want || acks < 8 || acks > 15 {
				t.Errorf("%d acknowledgements in 1 s, the last one is %q, want %q", acks, last, want)
			}
		})
		if outcome(err) != "closed" {
			t.Errorf("%v", err)
		}
	})
}

// TestUnheard: answers that nobody reads do not pile up.
func TestUnheard(t *testing.T) {
	f, err := New(proxyAt("127.0.0.1:1"), Options{}, func(poll.Sample) {})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ended := make(chan error, 1)
	go func() { ended <- newSession(f, ours).run() }()
	_ = theirs.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAtLeast(theirs, make([]byte, 1000), len(f.greeting())); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"200\n", strings.Repeat(request, 1000)} {
		_, _ = io.WriteString(theirs, text)
	}
	if err := <-ended; !errors.Is(err, errUnheard) || outcome(err) != "malformed" {
		t.Errorf("%v", err)
	}
}
