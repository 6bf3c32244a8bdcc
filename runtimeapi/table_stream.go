package runtimeapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// maxLine bounds one line of a streamed reply. HAProxy writes an entry into one
// buffer of tune.bufsize.
const maxLine = 256 << 10

// lines reads a reply line by line, in the memory of one line.
type lines struct {
	in   *bufio.Reader
	read int64 // bytes, over all replies
	fail error // what ended the reading before the end of a reply
}

// errCut: the stream ended in the middle of a reply.
var errCut = errors.New("without the final blank line")

// next is the next line without its line feed, or nil at the blank line that ends
// a reply, and after a failure, which l.fail tells apart.
func (l *lines) next() []byte {
	line, err := l.in.ReadSlice('\n')
	l.read += int64(len(line))
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		l.fail = fmt.Errorf("a line: %w of %d bytes", errTooLong, maxLine)
	case errors.Is(err, io.EOF):
		l.fail = errCut
	case err != nil:
		l.fail = err
	case len(line) > 1:
		return line[:len(line)-1]
	}
	return nil
}

// end is nil if nothing but the end of the stream follows.
func (l *lines) end() error {
	_, err := l.in.ReadByte()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errors.New("more follows after the final blank line")
	}
	l.fail = err
	return nil
}

// text is the rest of a reply, at most limit bytes of it, after a first line.
func (l *lines) text(first []byte, limit int) string {
	var b bytes.Buffer
	for line := first; line != nil; line = l.next() {
		if b.Len() < limit {
			b.Write(line)
			b.WriteByte('\n')
		}
	}
	return severity.ReplaceAllString(b.String(), "")
}

// stream sends cmd and lets consume read the replies, within the timeout. A failure
// to read goes before what consume returns: a cut reply is never an answer.
func (c *Client) stream(ctx context.Context, cmd command, consume func(*lines) error) error {
	text := cmd.text()
	if len(text) > maxMessage {
		return fmt.Errorf("haproxy %s: %.60q: %w: %d bytes, the limit is %d", c.to, cmd.name, ErrTooLarge, len(text), maxMessage)
	}
	ctx, cancel := context.WithTimeout(ctx, c.to.options.Timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, c.to.network, c.to.address)
	if err != nil {
		return c.to.fail(cmd.name, fmt.Errorf("%w: %w", errDial, err))
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	// As in exchange: a refusal may be there although the write broke.
	_, sendErr := io.WriteString(conn, text)
	l := &lines{in: bufio.NewReaderSize(conn, maxLine)}
	err = consume(l)
	switch {
	case l.fail == nil:
		return err
	case sendErr != nil && l.read == 0:
		return c.to.fail(cmd.name, fmt.Errorf("send: %w", sendErr))
	case errors.Is(l.fail, errCut):
		return c.to.fail(cmd.name, fmt.Errorf("the stream ended after %d bytes, %w", l.read, errCut))
	case ctx.Err() != nil:
		return c.to.fail(cmd.name, fmt.Errorf("after %d bytes: %w", l.read, context.Cause(ctx)))
	}
	return c.to.fail(cmd.name, fmt.Errorf("after %d bytes: %w", l.read, l.fail))
}
