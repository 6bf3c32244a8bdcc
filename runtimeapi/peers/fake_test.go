package peers

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// number writes a varint from its definition in doc/peers-v2.0.txt: the ranges tell
// how many bytes there are, and each further byte has seven bits more. It shares no
// code with what is tested.
func number(n uint64) string {
	length, from, size := 1, uint64(0), uint64(240)
	for bits := 11; n-from >= size && length < 10; bits += 7 {
		from += size
		length++
		size = 1 << bits
		if bits == 11 {
			size = 2288 - 240
		} else if bits < 64 {
			size = 1 << bits
		}
	}
	if length == 1 {
		return string([]byte{byte(n)})
	}
	b := []byte{0xf0 | byte(n&0x0f)}
	n = (n - 240) / 16
	for range length - 2 {
		b = append(b, 0x80|byte(n&0x7f))
		n = (n - 128) / 128
	}
	return string(append(b, byte(n)))
}

// prefixed writes a string after its length.
func prefixed(s string) string { return number(uint64(len(s))) + s }

// packet is a message of the stick table class.
func packet(kind byte, content string) string {
	return string([]byte{classTable, kind}) + prefixed(content)
}

// four is a number in the network's order.
func four(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// stick is a table of the fake's: strings of up to 31 bytes, http_req_cnt,
// http_req_rate(10s) and bytes_in_cnt, for a minute.
func stick(id uint64, name string) string {
	return number(id) + prefixed(name) + number(6) + number(32) + number(1<<9|1<<10|1<<13) + number(60_000) + number(10) + number(10_000)
}

// entry is what stick's updates hold, with a rate that has seen every request.
func entry(key string, requests uint64) string {
	return prefixed(key) + number(requests) + number(0) + number(requests) + number(0) + number(100*requests)
}

// fakeHAProxy is HAProxy's side of a connection, played by a test.
type fakeHAProxy struct {
	t     testing.TB
	conn  net.Conn
	hello []string
	heard chan string // each of the client's messages
	acks  map[string]int
}

// meet hears the greeting, answers, and listens.
func meet(t testing.TB, conn net.Conn, status string) *fakeHAProxy {
	h := &fakeHAProxy{t: t, conn: conn, heard: make(chan string, 10_000), acks: map[string]int{}}
	in := bufio.NewReader(conn)
	for range 3 {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Errorf("greeting: %v after %q", err, h.hello)
			return h
		}
		h.hello = append(h.hello, strings.TrimSuffix(line, "\n"))
	}
	go h.listen(in)
	h.send(status)
	return h
}

// listen cuts what the client sends.
func (h *fakeHAProxy) listen(in *bufio.Reader) {
	defer close(h.heard)
	for {
		head := make([]byte, 2)
		if _, err := readFull(in, head); err != nil {
			return
		}
		text := string(head)
		if head[1] >= 0x80 {
			length, err := in.ReadByte()
			if err != nil {
				return
			}
			content := make([]byte, length)
			if _, err := readFull(in, content); err != nil {
				return
			}
			text += string(content)
		}
		h.heard <- text
	}
}

func readFull(in *bufio.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = in.Read(b[n:])
		n += m
	}
	return n, err
}

// send writes; that the client has gone is no fault of the fake's.
func (h *fakeHAProxy) send(parts ...string) {
	_ = h.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, _ = h.conn.Write([]byte(strings.Join(parts, "")))
}

// Whole messages.
const (
	request  = "\x00\x00"
	finished = "\x00\x01"
	partial  = "\x00\x02"
	confirm  = "\x00\x03"
	beat     = "\x00\x04"
)

// expect waits for a message of the client's; heartbeats and acknowledgements may
// come before it.
func (h *fakeHAProxy) expect(want string) {
	h.t.Helper()
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	for {
		select {
		case have, ok := <-h.heard:
			switch {
			case have == want:
				return
			case !ok:
				h.t.Errorf("the client has gone, want %q", want)
				return
			case have != beat && !strings.HasPrefix(have, "\x0a\x84"):
				h.t.Errorf("the client sent %q, want %q", have, want)
				return
			}
		case <-timeout.C:
			h.t.Errorf("the client sent nothing, want %q", want)
			return
		}
	}
}

// acknowledged waits for an acknowledgement; false if the client has gone without.
func (h *fakeHAProxy) acknowledged(table uint64, update uint32) bool {
	want := "\x0a\x84" + number(table) + four(update)
	for h.acks[want] == 0 {
		have, ok := <-h.heard
		if !ok {
			return false
		}
		h.acks[have]++
	}
	return true
}

// expectAck waits for an acknowledgement.
func (h *fakeHAProxy) expectAck(table uint64, update uint32) {
	h.t.Helper()
	want := "\x0a\x84" + number(table) + four(update)
	for h.acks[want] == 0 {
		select {
		case have, ok := <-h.heard:
			if !ok {
				h.t.Errorf("the client has gone without acknowledging %d of table %d", update, table)
				return
			}
			h.acks[have]++
		case <-time.After(10 * time.Second):
			h.t.Errorf("no acknowledgement of %d of table %d came", update, table)
			return
		}
	}
}

// teach is a lesson.
func (h *fakeHAProxy) teach(content ...string) {
	h.t.Helper()
	h.expect(request)
	h.send(content...)
	h.send(finished)
	h.expect(confirm)
}

// serve listens on loopback and plays one connection after another; it ends with the
// test.
func serve(t testing.TB, plays ...func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	if len(plays) == 0 {
		_ = l.Close()
	}
	go func() {
		defer close(done)
		for _, play := range plays {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			play(conn)
			_ = conn.Close()
		}
		_ = l.Close()
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// hold keeps a connection until the client goes.
func (h *fakeHAProxy) hold() {
	for range h.heard {
	}
}

// proxyAt is a proxy at the fake's address.
func proxyAt(address string, tables ...string) Proxy {
	return Proxy{Name: "edge1", Address: address, Local: "haptrail", Remote: "me", Tables: tables}
}

// waitFor waits until ok.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 10 s", what)
		}
	}
}

// timed is an update in a lesson, and change one on the fly.
func timed(id uint32, content string) string {
	return packet(tableUpdateTimed, four(id)+four(60_000)+content)
}
func change(id uint32, content string) string { return packet(tableUpdate, four(id)+content) }

// TestFakeNumbers: the fake's numbers are those of the document.
func TestFakeNumbers(t *testing.T) {
	for _, tc := range []struct {
		n    uint64
		want string
	}{
		{0, "00"}, {239, "ef"}, {240, "f000"}, {241, "f100"}, {2287, "ff7f"}, {2288, "f08000"}, {264431, "ffff7f"},
		{264432, "f0808000"}, {33818863, "ffffff7f"}, {33818864, "f080808000"}, {4328786159, "ffffffff7f"},
	} {
		if have := fmt.Sprintf("%x", number(tc.n)); have != tc.want {
			t.Errorf("%d is %s, want %s", tc.n, have, tc.want)
		}
	}
}
