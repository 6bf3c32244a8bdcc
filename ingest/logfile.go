package ingest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// LogFile is an open log file, decompressed as it is read.
type LogFile struct {
	Name string
	Size int64 // on disk, in bytes; 0 where it is not known, as of a pipe

	*bufio.Reader
	read   atomic.Int64 // of Size
	closer []io.Closer
}

// OpenLogFile opens a file, or stdin for "-". Gzip and Zstandard are recognised
// by their first bytes, whatever the name says.
func OpenLogFile(name string, stdin io.Reader) (*LogFile, error) {
	f := &LogFile{Name: name}
	source := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		f.closer = append(f.closer, file)
		info, err := file.Stat()
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s is a directory: name the files in it", name)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		if info.Mode().IsRegular() {
			f.Size = info.Size()
		}
		source = file
	}
	if err := f.decompress(bufio.NewReaderSize(&countingReader{source, &f.read}, 1<<20)); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// Head returns the file's first lines, at most n and whole ones within 1 MiB,
// without taking them from what Read delivers.
func (f *LogFile) Head(n int) [][]byte {
	text, _ := f.Peek(1 << 20)
	if cut := bytes.LastIndexByte(text, '\n'); cut >= 0 {
		text = text[:cut]
	}
	var head [][]byte
	for line := range lines(text) {
		if len(head) == n {
			break
		}
		if len(line) > 0 {
			head = append(head, bytes.Clone(line))
		}
	}
	return head
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

func (f *LogFile) decompress(r *bufio.Reader) error {
	magic, _ := r.Peek(len(zstdMagic))
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		f.Reader = bufio.NewReaderSize(z, 1<<20)
		f.closer = append(f.closer, z)
	case bytes.Equal(magic, zstdMagic):
		z, err := zstd.NewReader(r)
		if err != nil {
			return err
		}
		f.Reader = bufio.NewReaderSize(z, 1<<20)
		f.closer = append(f.closer, z.IOReadCloser())
	default:
		f.Reader = r
	}
	return nil
}

// Done is how much of Size was read.
func (f *LogFile) Done() int64 { return f.read.Load() }

// Close closes the file.
func (f *LogFile) Close() error {
	var first error
	for i := len(f.closer) - 1; i >= 0; i-- {
		if err := f.closer[i].Close(); first == nil {
			first = err
		}
	}
	return first
}

type countingReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// lines iterates over the lines of text, without their LF or CR LF.
func lines(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(text) > 0 {
			line := text
			if i := bytes.IndexByte(text, '\n'); i >= 0 {
				line, text = text[:i], text[i+1:]
			} else {
				text = nil
			}
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			if !yield(line) {
				return
			}
		}
	}
}

// A chunk ends after chunkLines lines or with the last line that ends within
// chunkBytes, whichever comes first: the same file is always cut the same way.
const (
	chunkLines  = 100_000
	chunkBytes  = 64 << 20
	maxFileLine = 1 << 20 // longer lines are rejected
)

// split cuts files into chunks. buffers holds memory to read into; a chunk's
// text must be put back there.
func split(ctx context.Context, files []*LogFile, chunks chan<- chunk, buffers <-chan []byte) error {
	for _, f := range files {
		if err := splitFile(ctx, f, chunks, buffers); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func splitFile(ctx context.Context, f *LogFile, chunks chan<- chunk, buffers <-chan []byte) error {
	var carry []byte
	for more := true; more; {
		var buf []byte
		select {
		case buf = <-buffers:
		case <-ctx.Done():
			return nil
		}
		buf, cut, err := fill(f, append(buf[:0], carry...))
		carry = append(carry[:0], buf[cut:]...)
		more = err == nil || len(carry) > 0
		select {
		case chunks <- chunk{file: f.Name, text: buf[:cut], last: !more}:
		case <-ctx.Done():
			return nil
		}
		if !more && err != io.EOF {
			return err // what could be read is on its way
		}
	}
	return nil
}

// fill reads behind what buf holds until a chunk is in it, and says where the
// chunk ends. err is io.EOF when the file has ended.
func fill(r io.Reader, buf []byte) (_ []byte, cut int, err error) {
	const piece = 1 << 20
	newlines, scanned := 0, 0
	for {
		if n := bytes.Count(buf[scanned:], []byte{'\n'}); newlines+n < chunkLines {
			newlines += n
			scanned = len(buf)
		} else {
			for ; newlines < chunkLines; newlines++ {
				scanned += bytes.IndexByte(buf[scanned:], '\n') + 1
			}
			return buf, min(scanned, wholeLines(buf)), err
		}
		if len(buf) >= chunkBytes || err != nil {
			return buf, wholeLines(buf), err
		}
		if cap(buf)-len(buf) < piece {
			buf = append(make([]byte, 0, min(2*cap(buf)+piece, chunkBytes+2*piece)), buf...)
		}
		var n int
		n, err = r.Read(buf[len(buf) : len(buf)+piece])
		buf = buf[:len(buf)+n]
	}
}

// wholeLines is where the last line within chunkBytes ends; a single line that
// is longer is cut there.
func wholeLines(buf []byte) int {
	if len(buf) < chunkBytes {
		return len(buf)
	}
	if i := bytes.LastIndexByte(buf[:chunkBytes], '\n'); i >= 0 {
		return i + 1
	}
	return chunkBytes
}
