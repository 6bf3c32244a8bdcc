package peers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Classes and types of messages (HAProxy's doc/peers-v2.0.txt, section IV, and
// src/peers.c for what came later).
const (
	classControl = 0
	classError   = 1
	classTable   = 10

	controlRequest   = 0 // teach me all
	controlFinished  = 1 // that was all, and I know all
	controlPartial   = 2 // that was all I have, and others may know more
	controlConfirm   = 3 // the end of the lesson was heard
	controlHeartbeat = 4

	errorProtocol = 0
	errorSize     = 1

	tableUpdate      = 0x80 // with its number
	tableNext        = 0x81 // its number is the last one's and 1
	tableDefine      = 0x82
	tableSwitch      = 0x83
	tableAck         = 0x84
	tableUpdateTimed = 0x85 // as tableUpdate, with the time until it expires
	tableNextTimed   = 0x86

	// lengthBit is set in the types that a length and content follow.
	lengthBit = 0x80
)

// maxMessage bounds a message's content: HAProxy keeps its length in 16 bits.
const maxMessage = 1<<16 - 1

// errMalformed is in every error about bytes that are no message.
var errMalformed = errors.New("malformed message")

// message is one from HAProxy. The content is the reader's own and stays until the
// next one is read.
type message struct {
	class, kind byte
	content     []byte
}

// reader cuts a stream into messages, in constant memory.
type reader struct {
	in   *bufio.Reader
	skip int // bytes of the former message, which are still in the buffer
}

// newReader reads from r; the buffer holds the largest message there is.
func newReader(r io.Reader) *reader {
	return &reader{in: bufio.NewReaderSize(r, 2+maxVarint+maxMessage)}
}

// more is whether the next message has come already, at least in part.
func (r *reader) more() bool { return r.in.Buffered() > r.skip }

// next reads one message. The error is the stream's own, or errMalformed.
func (r *reader) next() (message, error) {
	if _, err := r.in.Discard(r.skip); err != nil {
		return message{}, err
	}
	r.skip = 0
	head, err := r.in.Peek(2)
	if err != nil {
		return message{}, cut(err, len(head))
	}
	m := message{class: head[0], kind: head[1]}
	if m.kind&lengthBit == 0 {
		r.skip = 2
		return m, nil
	}
	length, n, err := r.length()
	if err != nil {
		return message{}, err
	}
	if length > maxMessage {
		return message{}, fmt.Errorf("%w: class %d type %d says it has %d bytes, HAProxy's have at most %d", errMalformed, m.class, m.kind, length, maxMessage)
	}
	all, err := r.in.Peek(n + int(length))
	if err != nil {
		return message{}, cut(err, len(all))
	}
	m.content = all[n:]
	r.skip = len(all)
	return m, nil
}

// length reads a message's length, and says where its content begins.
func (r *reader) length() (length uint64, n int, err error) {
	for n = 3; ; n++ {
		head, err := r.in.Peek(n)
		if err != nil {
			return 0, 0, cut(err, len(head))
		}
		if n-2 == maxVarint || endOfVarint(head[2:]) {
			c := cursor{rest: head[2:]}
			length = c.varint()
			if c.bad {
				return 0, 0, fmt.Errorf("%w: class %d type %d has a length beyond 64 bits", errMalformed, head[0], head[1])
			}
			return length, n, nil
		}
	}
}

// cut makes the end of the stream inside of a message another error than the end
// between two.
func cut(err error, seen int) error {
	if errors.Is(err, io.EOF) && seen > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// The bytes of a varint: below 0xf0 it is the number; else its four low bits are
// the lowest, and seven of each following byte are next, as long as its highest bit
// is set. Each byte's continuation is part of the number, so that no number has two
// forms.
const (
	varintMore = 0xf0
	maxVarint  = 10 // for 64 bits
)

// endOfVarint is whether b, which holds nothing else, is whole.
func endOfVarint(b []byte) bool {
	if len(b) == 1 {
		return b[0] < varintMore
	}
	return b[len(b)-1] < 0x80
}

// appendVarint appends n.
func appendVarint(b []byte, n uint64) []byte {
	if n < varintMore {
		return append(b, byte(n))
	}
	b = append(b, byte(n)|varintMore)
	n = (n - varintMore) >> 4
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n = (n - 0x80) >> 7
	}
	return append(b, byte(n))
}

// cursor takes a message's content apart. After the first thing that is not there it
// is bad and gives zeros, so that the caller asks once, at the end.
type cursor struct {
	rest []byte
	bad  bool
}

// varint takes a number of up to 64 bits.
func (c *cursor) varint() uint64 {
	if len(c.rest) == 0 {
		c.bad = true
		return 0
	}
	n := uint64(c.rest[0])
	if n < varintMore {
		c.rest = c.rest[1:]
		return n
	}
	for i, shift := 1, 4; i < len(c.rest) && i < maxVarint; i, shift = i+1, shift+7 {
		b := uint64(c.rest[i])
		part := b << shift
		if part>>shift != b || n+part < n {
			break // beyond 64 bits
		}
		n += part
		if b < 0x80 {
			c.rest = c.rest[i+1:]
			return n
		}
	}
	c.bad = true
	return 0
}

// bytes takes n bytes.
func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.rest)) {
		c.bad = true
		return nil
	}
	b := c.rest[:n]
	c.rest = c.rest[n:]
	return b
}

// uint32 takes four bytes in the network's order.
func (c *cursor) uint32() uint32 {
	b := c.bytes(4)
	if b == nil {
		return 0
	}
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
