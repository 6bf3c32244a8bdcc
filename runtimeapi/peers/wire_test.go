package peers

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// numbersToTry are those at which a byte more is needed, and others.
func numbersToTry() []uint64 {
	all := []uint64{0, 1, 127, 128, 239, 240, 241, 2287, 2288, 264431, 264432, 33818863, 33818864, 4328786159, 4328786160, math.MaxUint32, math.MaxInt64, math.MaxUint64 - 1, math.MaxUint64}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		all = append(all, r.Uint64()>>r.IntN(64))
	}
	return all
}

// TestVarint: written as the document says, read back, and each shorter form is none.
func TestVarint(t *testing.T) {
	for _, n := range numbersToTry() {
		b := appendVarint([]byte("x"), n)[1:]
		if string(b) != number(n) {
			t.Fatalf("%d is written %x, want %x", n, b, number(n))
		}
		c := cursor{rest: append(b, 0x77)}
		if have := c.varint(); have != n || c.bad || len(c.rest) != 1 {
			t.Fatalf("%d is read as %d, bad %t, %d bytes left", n, have, c.bad, len(c.rest))
		}
		if !endOfVarint(b) {
			t.Fatalf("%x is whole", b)
		}
		for i := range b {
			c := cursor{rest: b[:i]}
			if c.varint(); !c.bad {
				t.Fatalf("%x of %x is taken for a number", b[:i], b)
			}
		}
	}
	for _, b := range []string{"\xf0\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\xf0" + strings.Repeat("\x80", 1000)} {
		c := cursor{rest: []byte(b)}
		if n := c.varint(); !c.bad || n != 0 {
			t.Errorf("%x is taken for %d", b, n)
		}
	}
}

// TestReader: messages of every length, however the stream is cut.
func TestReader(t *testing.T) {
	var stream strings.Builder
	var want []string
	for _, length := range []int{0, 1, 2, 239, 240, 241, 2287, 2288, 16384, maxMessage} {
		content := strings.Repeat("\x85", length)
		stream.WriteString(packet(tableUpdate, content) + finished + packet(tableDefine, content))
		want = append(want, "\x0a\x80"+content, finished, "\x0a\x82"+content)
	}
	for name, in := range map[string]io.Reader{
		"whole":       strings.NewReader(stream.String()),
		"by bytes":    iotest.OneByteReader(strings.NewReader(stream.String())),
		"halved":      iotest.HalfReader(strings.NewReader(stream.String())),
		"with errors": iotest.DataErrReader(strings.NewReader(stream.String())),
	} {
		r := newReader(in)
		for i, want := range want {
			m, err := r.next()
			if have := string([]byte{m.class, m.kind}) + string(m.content); err != nil || have != want {
				t.Fatalf("%s: message %d: %v, %d bytes, want %d", name, i, err, len(have), len(want))
			}
		}
		if _, err := r.next(); err != io.EOF {
			t.Errorf("%s: %v at the end", name, err)
		}
	}
}

// TestReaderFaults: what is cut off, too long or endless is an error, in the memory of
// one message.
func TestReaderFaults(t *testing.T) {
	whole := packet(tableUpdate, strings.Repeat("x", 300))
	for i := 1; i < len(whole); i++ {
		if _, err := newReader(strings.NewReader(whole[:i])).next(); err != io.ErrUnexpectedEOF {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
	}
	for name, head := range map[string]string{
		"65536 bytes":    "\x0a\x80" + number(maxMessage+1),
		"2^64-1 bytes":   "\x0a\x80" + number(math.MaxUint64),
		"endless length": "\x0a\x80\xf0",
	} {
		r := newReader(io.MultiReader(strings.NewReader(head), endless{}))
		if _, err := r.next(); !errors.Is(err, errMalformed) || r.in.Size() > 70_000 {
			t.Errorf("%s: %v, %d bytes of memory", name, err, r.in.Size())
		}
	}
}

// endless is a stream of 0xff.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

// FuzzReader: the messages are the stream again, as far as it was taken.
func FuzzReader(f *testing.F) {
	f.Add([]byte(finished + packet(tableDefine, stick(1, "st")) + timed(1, entry("a", 3))))
	f.Add([]byte("\x0a\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newReader(bytes.NewReader(stream))
		var again []byte
		for {
			m, err := r.next()
			if err != nil {
				break
			}
			again = append(again, m.class, m.kind)
			if m.kind >= 0x80 {
				again = append(appendVarint(again, uint64(len(m.content))), m.content...)
			}
		}
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("%x was read as %x", stream, again)
		}
	})
}
