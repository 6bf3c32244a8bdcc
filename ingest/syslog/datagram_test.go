package syslog

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDatagramEndToEnd(t *testing.T) {
	for _, cfg := range []Config{
		{Address: "udp://127.0.0.1:0"},
		{Address: "udp://[::1]:0"},
		{Address: "udp://:0"},
		{Address: "unixgram://" + filepath.Join(t.TempDir(), "log.sock")},
	} {
		t.Run(strings.ReplaceAll(cfg.Address[:8], "/", ""), func(t *testing.T) {
			cfg.MaxLine = 200
			rec := newRecorder()
			r := start(t, cfg, rec)
			conn := r.dial(t)
			send(t, conn, haproxyHeaders[0]+"\n")
			send(t, conn, "\n")
			send(t, conn, "<1>a\nb\r\n\x00")
			send(t, conn, "<1>"+strings.Repeat("x", 198))
			send(t, conn, "<1>"+strings.Repeat("x", 197)+"\n")
			send(t, conn, "\x30\x82\x01")
			send(t, conn, "\x01\x02")
			rec.wait(t, 4, 2)
			want := []string{text, "a\nb", strings.Repeat("x", 197), "\x30\x82\x01"}
			if !reflect.DeepEqual(rec.texts, want) {
				t.Errorf("got %q, want %q", rec.texts, want)
			}
			if want := []string{"too_long: <1>" + strings.Repeat("x", 37), "garbage: \x01\x02"}; !reflect.DeepEqual(rec.rejects, want) {
				t.Errorf("rejects %q, want %q", rec.rejects, want)
			}
			for src := range rec.bySrc {
				network := conn.RemoteAddr().Network()
				peer := ""
				if network == "udp" {
					peer = conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().String()
				}
				if src.Transport != network || src.Peer != peer || !src.Lossy {
					t.Errorf("source is %+v, want peer %q", src, peer)
				}
			}
		})
	}
}

// TestDatagramSenders has two senders take turns: each has its Source, and
// its messages keep their order.
func TestDatagramSenders(t *testing.T) {
	rec := newRecorder()
	r := start(t, Config{Address: "udp://127.0.0.1:0"}, rec)
	to := r.Addr().(*net.UDPAddr)
	var conns [2]net.Conn
	for i := range conns {
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, byte(1+i))}, to)
		if err != nil {
			t.Skip("no second loopback address: ", err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	for i := range 100 {
		send(t, conns[i%2], fmt.Sprintf("<1>Nov 23 10:56:39 edge1 haproxy[1]: %d", i))
	}
	rec.wait(t, 100, 0)
	if len(rec.bySrc) != 2 {
		t.Fatalf("%d sources, want 2", len(rec.bySrc))
	}
	for src, texts := range rec.bySrc {
		for i, text := range texts {
			if want := fmt.Sprint(2*i + int(src.Peer[len(src.Peer)-1]-'1')); text != want {
				t.Fatalf("message %d of %s is %s, want %s", i, src.Peer, text, want)
			}
		}
	}
}

// TestForgedSenders bounds what the senders' addresses may cost.
func TestForgedSenders(t *testing.T) {
	d := &dispatcher{inlet: &inlet{}, senders: map[netip.Addr]*Source{}}
	for i := range 3 * maxSenders {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if src := d.source(addr); src.Peer != addr.String() || d.source(addr) != src {
			t.Fatalf("%s has source %+v", addr, src)
		}
		if len(d.senders) > maxSenders {
			t.Fatalf("%d senders are remembered", len(d.senders))
		}
	}
}

func TestDatagramAllowedPeers(t *testing.T) {
	rec := newRecorder()
	r := start(t, Config{Address: "udp://127.0.0.1:0", AllowedPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, rec)
	stranger, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, r.Addr().(*net.UDPAddr))
	if err != nil {
		t.Skip("no second loopback address: ", err)
	}
	defer stranger.Close()
	send(t, stranger, "<1>x")
	send(t, r.dial(t), "<1>y")
	rec.wait(t, 1, 0)
	if rec.texts[0] != "y" || r.metric(t, "rejects_total", "peer_not_allowed") != 1 {
		t.Errorf("got %q, %v rejects", rec.texts, r.metric(t, "rejects_total", "peer_not_allowed"))
	}
}

// TestDatagramDrain ends Serve while datagrams lie in the socket.
func TestDatagramDrain(t *testing.T) {
	for _, cfg := range []Config{{Address: "udp://127.0.0.1:0"}, {Address: "unixgram://" + filepath.Join(t.TempDir(), "log.sock")}} {
		for range 5 {
			rec := newRecorder()
			rec.block = make(chan struct{})
			r := start(t, cfg, rec)
			conn := r.dial(t)
			n := 9 // the queue of a unix socket holds 10
			if cfg.Address[:4] == "udp:" {
				n = 80
			}
			for range n {
				send(t, conn, "<1>"+strings.Repeat("x", 500))
			}
			stopped := make(chan error, 1)
			go func() { stopped <- r.stop() }()
			time.Sleep(5 * time.Millisecond)
			close(rec.block)
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			rec.check(t, n, 0)
		}
	}
}

// TestKernelDrops blocks the reader and floods a small buffer: what arrived
// and what the kernel counted must add up to what was sent.
func TestKernelDrops(t *testing.T) {
	if _, err := os.Stat("/proc/net/udp"); err != nil {
		t.Skip("no drop counter here: ", err)
	}
	rec := newRecorder()
	rec.block = make(chan struct{})
	r := start(t, Config{Address: "udp://127.0.0.1:0", ReceiveBuffer: 64 << 10}, rec)
	conn := r.dial(t)
	const n = 2000
	for range n {
		send(t, conn, "<1>"+strings.Repeat("x", 500))
	}
	dropped := procDrops(t, r.Addr().(*net.UDPAddr).Port)
	if dropped == 0 {
		t.Fatal("the kernel dropped nothing: the test says nothing")
	}
	close(rec.block)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	rec.check(t, n-dropped, 0)
	if got := r.metric(t, "kernel_drops_total"); got != float64(dropped) {
		t.Errorf("kernel_drops_total = %v, /proc/net/udp says %d", got, dropped)
	}
	if !strings.Contains(r.log.String(), "the kernel dropped datagrams") {
		t.Errorf("the log does not tell: %s", r.log)
	}
}

// procDrops reads the "drops" column of the socket on a port of 127.0.0.1.
func procDrops(t *testing.T, port int) int {
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if f[1] == fmt.Sprintf("0100007F:%04X", port) {
			var n int
			if _, err := fmt.Sscan(f[len(f)-1], &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the socket is not in /proc/net/udp")
	return 0
}

func TestReceiveBuffer(t *testing.T) {
	r := start(t, Config{Address: "udp://127.0.0.1:0"}, newRecorder())
	granted := r.metric(t, "receive_buffer_bytes")
	if granted <= 0 {
		t.Fatalf("receive_buffer_bytes = %v", granted)
	}
	warned := strings.Contains(r.log.String(), "net.core.rmem_max=16777216")
	if full := granted >= 16<<20; full == warned {
		t.Errorf("granted %v, warned %v", granted, warned)
	}
	// More than any kernel grants.
	r = start(t, Config{Address: "udp://127.0.0.1:0", ReceiveBuffer: 1 << 30}, newRecorder())
	if granted := r.metric(t, "receive_buffer_bytes"); granted < 1<<30 && !strings.Contains(r.log.String(), "net.core.rmem_max=1073741824") {
		t.Errorf("granted %v and did not say so: %s", granted, r.log)
	}
}
