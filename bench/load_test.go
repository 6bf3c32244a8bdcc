package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	clients   = 32
	pipelined = 16 // requests that a client sends before it reads the answers
)

// sendRequests is the role "http ADDRESS DURATION": it sends requests as fast as
// they are answered and prints how many were.
func sendRequests(spec string) error {
	var address, duration string
	if _, err := fmt.Sscan(spec, &address, &duration); err != nil {
		return err
	}
	long, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	if err := awaitGo(); err != nil {
		return err
	}
	end := time.Now().Add(long)
	type result struct {
		answers int
		err     error
	}
	results := make(chan result, clients)
	for i := range clients {
		go func() {
			n, err := requestUntil(end, address, i)
			results <- result{n, err}
		}()
	}
	total := 0
	for range clients {
		r := <-results
		total += r.answers
		err = errors.Join(err, r.err)
	}
	fmt.Println(total)
	return err
}

// requestUntil sends requests on one connection. Every answer is as long as the
// first one, which is how they are counted.
func requestUntil(end time.Time, address string, client int) (answers int, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := conn.Write(appendRequest(nil, client, 0)); err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	size := 0
	for !bytes.HasSuffix(buf[:size], []byte("\r\n\r\n")) {
		n, err := conn.Read(buf[size:])
		if err != nil {
			return 0, err
		}
		size += n
	}
	if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("the gate answered %q", buf[:size])
	}
	answers = 1
	var batch []byte
	for time.Now().Before(end) {
		batch = batch[:0]
		for i := range pipelined {
			batch = appendRequest(batch, client, answers+i)
		}
		if _, err := conn.Write(batch); err != nil {
			return answers, err
		}
		if _, err := io.ReadFull(conn, buf[:pipelined*size]); err != nil {
			return answers, err
		}
		answers += pipelined
	}
	return answers, nil
}

// appendRequest asks for one of 5,000 paths.
func appendRequest(dst []byte, client, n int) []byte {
	return fmt.Appendf(dst, "GET /api/v1/builds/%d/artifacts/com/example/payments-api/app-%d.jar HTTP/1.1\r\n"+
		"Host: artifacts.example.com\r\nUser-Agent: gradle/8.5.0 (Linux; 6.1.0; amd64) (Eclipse Adoptium; OpenJDK; 21.0.2; build-agent)\r\n\r\n",
		10_000_000+client, n%5000)
}
