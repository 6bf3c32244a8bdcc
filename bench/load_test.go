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
	pipelined = 16 // requests that a client of the burst sends before it reads the answers
)

// requester appends the n-th request of a client.
type requester func(dst []byte, client, n int) []byte

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
	crowd, err := dialClients(address, appendRequest)
	if err != nil {
		return err
	}
	defer crowd.close()
	total, err := crowd.ask(long, pipelined)
	fmt.Println(total + clients) // with those of dialClients
	return err
}

// client asks on a connection of its own.
type client struct {
	conn    net.Conn
	request func(dst []byte, n int) []byte
	sent    int
	size    int // of every answer, as of the first: that is how they are counted
}

// crowd asks at the same time.
type crowd []*client

// dialClients connects clients, each of which has one request answered.
func dialClients(address string, r requester) (crowd, error) {
	var c crowd
	for i := range clients {
		one, err := dialClient(address, func(dst []byte, n int) []byte { return r(dst, i, n) })
		if err != nil {
			c.close()
			return nil, err
		}
		c = append(c, one)
	}
	return c, nil
}

func dialClient(address string, request func([]byte, int) []byte) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, request: request, sent: 1}
	if c.size, err = firstAnswer(conn, request(nil, 0)); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// firstAnswer returns how long the answer is, which must be a 200 without a body.
func firstAnswer(conn net.Conn, request []byte) (size int, err error) {
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	buf := make([]byte, 4<<10)
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
	return size, nil
}

func (c crowd) close() {
	for _, one := range c {
		one.conn.Close()
	}
}

// ask has every client send requests for so long, depth of them before it reads
// the answers, and returns how many were answered.
func (c crowd) ask(long time.Duration, depth int) (total int, err error) {
	type result struct {
		answers int
		err     error
	}
	end := time.Now().Add(long)
	results := make(chan result, len(c))
	for _, one := range c {
		go func() {
			n, err := one.askUntil(end, depth)
			results <- result{n, err}
		}()
	}
	for range c {
		r := <-results
		total += r.answers
		err = errors.Join(err, r.err)
	}
	return total, err
}

func (c *client) askUntil(end time.Time, depth int) (answers int, err error) {
	var batch []byte
	buf := make([]byte, depth*c.size)
	for time.Now().Before(end) {
		batch = batch[:0]
		for range depth {
			batch = c.request(batch, c.sent)
			c.sent++
		}
		if _, err := c.conn.Write(batch); err != nil {
			return answers, err
		}
		if _, err := io.ReadFull(c.conn, buf); err != nil {
			return answers, err
		}
		// answers as long as a 200 need not be one
		if bytes.Count(buf, []byte("HTTP/1.1 200 ")) != depth {
			return answers, fmt.Errorf("the gate answered %q", buf)
		}
		answers += depth
	}
	return answers, nil
}

// appendRequest asks for one of 5,000 paths.
func appendRequest(dst []byte, client, n int) []byte {
	return fmt.Appendf(dst, "GET /api/v1/builds/%d/artifacts/com/example/payments-api/app-%d.jar HTTP/1.1\r\n"+
		"Host: artifacts.example.com\r\nUser-Agent: gradle/8.5.0 (Linux; 6.1.0; amd64) (Eclipse Adoptium; OpenJDK; 21.0.2; build-agent)\r\n\r\n",
		10_000_000+client, n%5000)
}
