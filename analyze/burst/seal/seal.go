// Package seal keeps a state in a file that tells when it is not what was written.
//
// A sealed stream is a name, a version and frames:
//
//	name, version   as they are; the version two bytes, big-endian
//	frame           length and checksum, four bytes each, then so many bytes
//	...
//	end             a frame of length 0
//
// The checksum is CRC-32C (RFC 3720, appendix B.4) over the version, the frame's number,
// its length and its bytes: so a frame that is damaged, missing, doubled or out of its order is
// found before anybody reads it, and so is a stream that was cut off. It is no
// signature: who may write the file may write a valid one.
package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// ErrDamaged is why a stream is not read: it was cut off, changed, is of something
// else or of a later version.
var ErrDamaged = errors.New("not to be used")

const (
	full   = 64 << 10 // bytes after which a frame is written
	before = 8        // bytes before those of a frame
)

// sum is the checksum of a frame.
func sum(version uint16, number uint64, of []byte) uint32 {
	var head [14]byte
	binary.BigEndian.PutUint64(head[:], number)
	binary.BigEndian.PutUint32(head[8:], uint32(len(of)))
	binary.BigEndian.PutUint16(head[12:], version)
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(head[:], table), table, of)
}

// Writer writes a sealed stream. Its methods do nothing after the first error, which
// Close returns.
type Writer struct {
	to     io.Writer
	frame  []byte // with room for what comes before its bytes
	number uint64
	err    error

	version uint16
}

// NewWriter begins a stream of a name and a version.
func NewWriter(to io.Writer, name string, version uint16) *Writer {
	w := &Writer{to: to, version: version, frame: make([]byte, before, full+4<<10)}
	_, w.err = to.Write(binary.BigEndian.AppendUint16([]byte(name), version))
	return w
}

// Append adds a record by a function that appends it to what it is given. A record is
// never divided among frames.
func (w *Writer) Append(record func([]byte) []byte) {
	if w.frame = record(w.frame); len(w.frame) >= before+full {
		w.Flush()
	}
}

// Flush ends a frame, if there is anything in it.
func (w *Writer) Flush() {
	if len(w.frame) > before {
		w.write()
	}
}

func (w *Writer) write() {
	of := w.frame[before:]
	if w.err == nil && len(of) > math.MaxInt32 {
		w.err = fmt.Errorf("a record of %d bytes is more than a frame holds", len(of))
	}
	if w.err == nil {
		binary.BigEndian.PutUint32(w.frame, uint32(len(of)))
		binary.BigEndian.PutUint32(w.frame[4:], sum(w.version, w.number, of))
		_, w.err = w.to.Write(w.frame)
	}
	w.number++
	w.frame = w.frame[:before]
}

// Close ends the stream. It does not close what the stream is written to.
func (w *Writer) Close() error {
	w.Flush()
	w.write() // of nothing: the end
	return w.err
}

// Reader reads a sealed stream.
type Reader struct {
	from   io.Reader
	frame  bytes.Buffer
	number uint64
	ended  bool

	version uint16
}

// NewReader begins to read a stream of a name. It returns the stream's version, which
// is from 1 to newest.
func NewReader(from io.Reader, name string, newest uint16) (*Reader, uint16, error) {
	head := make([]byte, len(name)+2)
	switch n, err := io.ReadFull(from, head); {
	case err != nil && !cutOff(err):
		return nil, 0, err
	case !bytes.HasPrefix(head[:n], []byte(name)[:min(n, len(name))]):
		return nil, 0, fmt.Errorf("%w: it does not begin with %q, so it is something else", ErrDamaged, name)
	case err != nil:
		return nil, 0, fmt.Errorf("%w: cut off after %d bytes", ErrDamaged, n)
	}
	version := binary.BigEndian.Uint16(head[len(name):])
	if version == 0 || version > newest {
		return nil, 0, fmt.Errorf("%w: it is of version %d, and versions 1 to %d are known here", ErrDamaged, version, newest)
	}
	return &Reader{from: from, version: version}, version, nil
}

// cutOff reports whether an error is that nothing more came.
func cutOff(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// Frame is the next frame's bytes, valid until the next call; io.EOF after the last.
// It takes no more memory than twice the bytes that came, whatever length a frame says.
func (r *Reader) Frame() ([]byte, error) {
	if r.ended {
		return nil, io.EOF
	}
	var head [before]byte
	if _, err := io.ReadFull(r.from, head[:]); err != nil {
		return nil, r.wrong(err)
	}
	length := binary.BigEndian.Uint32(head[:])
	r.frame.Reset()
	if _, err := io.CopyN(&r.frame, r.from, int64(length)); err != nil {
		return nil, r.wrong(err)
	}
	if sum(r.version, r.number, r.frame.Bytes()) != binary.BigEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("%w: the checksum of part %d is wrong", ErrDamaged, r.number)
	}
	r.number++
	if length > 0 {
		return r.frame.Bytes(), nil
	}
	r.ended = true
	switch n, err := r.from.Read(head[:1]); {
	case n > 0:
		return nil, fmt.Errorf("%w: there is more after its end", ErrDamaged)
	case err != nil && !cutOff(err):
		return nil, err
	}
	return nil, io.EOF
}

// wrong is why a frame could not be read.
func (r *Reader) wrong(err error) error {
	if cutOff(err) {
		return fmt.Errorf("%w: cut off in part %d", ErrDamaged, r.number)
	}
	return err
}
