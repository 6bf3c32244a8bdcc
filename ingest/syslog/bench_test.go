package syslog

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// The benchmarks measure this process's CPU time, so the sender is a process
// of its own: the test binary, started with senderEnv.
const senderEnv = "HAPTRAIL_SYSLOG_TEST_SENDER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(senderEnv); spec != "" {
		if err := runSender(spec); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// benchLine is a message as HAProxy's ring sends it: 525 bytes with its header.
var benchLine = func() string {
	s := `<134>1 2026-11-23T10:56:39.178433+00:00 edge1 haproxy 10586 - - 10.1.2.3:60664 [23/Nov/2026:10:56:39.175] fe_main be_app/app1 0/0/0/3/3 200 122 - - ---- 1/1/0/0/0 0/0 {app.example.com|curl/8.5.0} {application/json} ` +
		`"repo:acme/app:ref:refs/heads/main" "https://token.actions.githubusercontent.com" "4c7a0a2e-5d0e-4a53-9d1c-0c1f2a3b4c5d" "deployer" "48211903317" "0123456789abcdef0123456789abcdef01234567" "allow" "ok" "GET /api/v1/jobs/`
	return s + strings.Repeat("x", 525-len(s)-len(` HTTP/1.1"`)) + ` HTTP/1.1"`
}()

// runSender sends what spec asks for: "tcp ADDRESS CONNECTIONS LINES-EACH" or
// "udp ADDRESS DATAGRAMS PER-SECOND". It waits for a byte on stdin first, so
// that its start is not measured.
func runSender(spec string) error {
	var network, address string
	var a, b int
	if _, err := fmt.Sscan(spec, &network, &address, &a, &b); err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	if network == "udp" {
		return sendDatagrams(address, a, b)
	}
	errs := make(chan error, a)
	for range a {
		go func() { errs <- sendLines(address, b) }()
	}
	for range a {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func sendLines(address string, n int) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	const perWrite = 200
	one := counted(benchLine)
	block := bytes.Repeat([]byte(one), perWrite)
	for ; n > 0; n -= perWrite {
		if _, err := conn.Write(block[:min(n, perWrite)*len(one)]); err != nil {
			return err
		}
	}
	return nil
}

// sendDatagrams sends n datagrams in a burst each millisecond.
func sendDatagrams(address string, n, perSecond int) error {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	burst := make([]ipv4.Message, max(perSecond/1000, 1))
	for i := range burst {
		burst[i].Buffers = [][]byte{[]byte(benchLine + "\n")}
	}
	packets := ipv4.NewPacketConn(conn.(*net.UDPConn))
	began := time.Now()
	for sent := 0; sent < n; {
		due := int(time.Since(began).Seconds() * float64(perSecond))
		if due <= sent {
			time.Sleep(time.Millisecond)
			continue
		}
		m, err := packets.WriteBatch(burst[:min(len(burst), due-sent, n-sent)], 0)
		if err != nil {
			return err
		}
		sent += m
	}
	return nil
}

// startSender starts a sender that waits; go lets it go, and wait waits for
// its end.
func startSender(b *testing.B, spec string) (goOn, wait func()) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), senderEnv+"="+spec)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	return func() {
			if _, err := io.WriteString(stdin, "\n"); err != nil {
				b.Error(err)
			}
		}, sync.OnceFunc(func() {
			if err := cmd.Wait(); err != nil {
				b.Error("sender: ", err)
			}
		})
}

// counter is a Handler that only counts.
type counter struct{ messages, rejects atomic.Int64 }

func (c *counter) Handle(_ *Source, _ time.Time, batch []Message) {
	c.messages.Add(int64(len(batch)))
}

func (c *counter) Reject(*Source, time.Time, string, []byte) { c.rejects.Add(1) }

// cpu returns the CPU seconds, user and system, that this process has used.
func cpu(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkTCP: run with -benchtime 1000000x. cpu-s/Mline is user and system
// time of the receiver, headers parsed, messages discarded.
func BenchmarkTCP(b *testing.B) {
	for _, conns := range []int{1, 4} {
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) {
			each := max(b.N/conns, 1)
			var c counter
			r := start(b, Config{Address: "tcp://127.0.0.1:0"}, &c)
			goOn, wait := startSender(b, fmt.Sprintf("tcp %s %d %d", r.Addr(), conns, each))
			want := int64(each * conns)
			before := cpu(b)
			b.ReportAllocs()
			b.ResetTimer()
			goOn()
			for c.messages.Load() < want && c.rejects.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			used := cpu(b) - before
			wait()
			if c.messages.Load() != want || c.rejects.Load() != 0 {
				b.Errorf("%d messages and %d rejects, want %d", c.messages.Load(), c.rejects.Load(), want)
			}
			b.ReportMetric(used*1e6/float64(want), "cpu-s/Mline")
			b.ReportMetric(float64(want)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// BenchmarkTCPFramesOnly is the floor under BenchmarkTCP: reads of the same
// size and frames counted, by no code but the framer's.
func BenchmarkTCPFramesOnly(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	goOn, wait := startSender(b, fmt.Sprintf("tcp %s 1 %d", l.Addr(), b.N))
	before := cpu(b)
	goOn()
	conn, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	f := framer{maxLine: defaultMaxLine}
	buf := make([]byte, defaultMaxLine+readAhead)
	held := 0
	for got := 0; got < b.N; {
		n, err := conn.Read(buf[held:])
		if err != nil {
			b.Fatal(err)
		}
		held += n
		used := 0
		for v := gotNothing; v != wantMore; {
			_, n, v = f.next(buf[used:held])
			used += n
			if v == gotMessage {
				got++
			}
		}
		held = copy(buf, buf[used:held])
	}
	b.ReportMetric((cpu(b)-before)*1e6/float64(b.N), "cpu-s/Mline")
	wait()
}

// BenchmarkUDP: run with -benchtime 200000x. lost must be 0.
func BenchmarkUDP(b *testing.B) {
	for _, rate := range []int{50_000, 1_000_000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) {
			var c counter
			r := start(b, Config{Address: "udp://127.0.0.1:0"}, &c)
			goOn, wait := startSender(b, fmt.Sprintf("udp %s %d %d", r.Addr(), b.N, rate))
			before := cpu(b)
			b.ReportAllocs()
			b.ResetTimer()
			goOn()
			wait()
			b.StopTimer()
			used := cpu(b) - before
			if err := r.stop(); err != nil {
				b.Error(err)
			}
			got := c.messages.Load()
			b.ReportMetric(used*1e6/float64(max(got, 1)), "cpu-s/Mline")
			b.ReportMetric(float64(got)/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric(float64(int64(b.N)-got), "lost")
			b.ReportMetric(r.metric(b, "kernel_drops_total"), "kernel-drops")
		})
	}
}

// BenchmarkFramer cuts 64 KiB of frames in memory, headers not parsed.
func BenchmarkFramer(b *testing.B) {
	for _, bb := range []struct{ name, one string }{{"octet-counted", counted(benchLine)}, {"newline", benchLine + "\n"}} {
		b.Run(bb.name, func(b *testing.B) {
			stream := bytes.Repeat([]byte(bb.one), readAhead/len(bb.one))
			f := framer{maxLine: defaultMaxLine}
			b.SetBytes(int64(len(bb.one)))
			b.ReportAllocs()
			for n := 0; n < b.N; {
				rest := stream
				for {
					_, used, v := f.next(rest)
					rest = rest[used:]
					if v == gotMessage {
						n++
					}
					if v == wantMore {
						break
					}
				}
			}
		})
	}
}
