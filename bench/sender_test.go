package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sender is a process of its own that sends load.
type sender struct {
	b      *testing.B
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// startSender starts a sender and returns when it has prepared what it sends.
func startSender(b *testing.B, role string, args ...any) *sender {
	b.Helper()
	s := &sender{b: b, cmd: exec.Command(os.Args[0])}
	s.cmd.Env = append(os.Environ(), roleEnv+"="+role+" "+strings.TrimSpace(fmt.Sprintln(args...)))
	s.cmd.Stderr = os.Stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.cmd.Process.Kill() }) // ended long ago unless the benchmark failed
	s.stdout = bufio.NewReader(stdout)
	if line, err := s.stdout.ReadString('\n'); err != nil || line != "ready\n" {
		b.Fatalf("the sender said %q: %v", line, err)
	}
	return s
}

// start lets the sender go.
func (s *sender) start() {
	if _, err := s.stdin.Write([]byte{'\n'}); err != nil {
		s.b.Fatal("sender: ", err)
	}
}

// wait waits for the sender's end and returns what it printed.
func (s *sender) wait() string {
	said, err := io.ReadAll(s.stdout)
	if err := errors.Join(err, s.cmd.Wait()); err != nil {
		s.b.Fatal("sender: ", err)
	}
	return strings.TrimSpace(string(said))
}

// linesPerWrite is about what a ring of HAProxy has ready at full speed.
const linesPerWrite = 200

// sendStream is the role "tcp ADDRESS CONNECTIONS FILE": it sends a file of
// frames, 200 to a write, dealt out to the connections in turn.
func sendStream(spec string) error {
	var address, name string
	var conns int
	if _, err := fmt.Sscan(spec, &address, &conns, &name); err != nil {
		return err
	}
	stream, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	shares := make([][][]byte, conns)
	for i := 0; len(stream) > 0; i++ {
		var n int
		if n, err = framesEnd(stream, linesPerWrite); err != nil {
			return err
		}
		shares[i%conns] = append(shares[i%conns], stream[:n])
		stream = stream[n:]
	}
	if err := awaitGo(); err != nil {
		return err
	}
	errs := make(chan error, conns)
	for _, share := range shares {
		go func() { errs <- writeAll("tcp", address, share) }()
	}
	for range shares {
		err = errors.Join(err, <-errs)
	}
	return err
}

// framesEnd is where the first n octet-counted frames of stream end.
func framesEnd(stream []byte, n int) (end int, err error) {
	for ; n > 0 && end < len(stream); n-- {
		count, _, found := bytes.Cut(stream[end:min(end+20, len(stream))], []byte{' '})
		size, err := strconv.Atoi(string(count))
		if err != nil || !found {
			return 0, fmt.Errorf("no frame at byte %d", end)
		}
		end += len(count) + 1 + size
	}
	return end, nil
}

func writeAll(network, address string, blocks [][]byte) error {
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	for _, block := range blocks {
		if _, err := conn.Write(block); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	return conn.Close()
}

// sendDatagrams is the role "udp ADDRESS PER-SECOND FILE": it sends a file of
// lines, one to a datagram and a write, and holds the pace by sending each
// millisecond what is due.
func sendDatagrams(spec string) error {
	var address, name string
	var rate int
	if _, err := fmt.Sscan(spec, &address, &rate, &name); err != nil {
		return err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(text, []byte{'\n'}), []byte{'\n'})
	conn, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := awaitGo(); err != nil {
		return err
	}
	began := time.Now()
	for sent := 0; sent < len(lines); time.Sleep(time.Millisecond) {
		due := min(int(time.Since(began).Seconds()*float64(rate)), len(lines))
		for ; sent < due; sent++ {
			if _, err := conn.Write(lines[sent]); err != nil {
				return err
			}
		}
	}
	_, err = fmt.Println(float64(len(lines)) / time.Since(began).Seconds())
	return err
}
