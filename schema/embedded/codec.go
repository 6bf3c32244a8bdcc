package embedded

import (
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const codecNames = "gzip, deflate, br, zstd, lz4"

// decodeBody undoes a request's Content-Encoding, and below it ClickHouse's own
// compressed frames if framed.
func decodeBody(body io.Reader, encoding string, framed bool) (io.Reader, error) {
	if body == nil || body == http.NoBody {
		return http.NoBody, nil
	}
	var err error
	plain := body
	switch strings.ToLower(encoding) {
	case "", "identity":
	case "gzip", "x-gzip":
		plain, err = gzip.NewReader(body)
	case "deflate":
		plain, err = zlib.NewReader(body)
	case "br":
		plain = brotli.NewReader(body)
	case "zstd":
		plain, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
	case "lz4":
		plain = lz4.NewReader(body)
	default:
		return nil, refuse(89, "UNKNOWN_COMPRESSION_METHOD", "Content-Encoding %q is not supported: use %s", encoding, codecNames)
	}
	if err != nil {
		return nil, refuse(codeCannotDecompress, "CANNOT_DECOMPRESS", "Content-Encoding %s: %v", encoding, err)
	}
	if framed {
		plain = compress.NewReader(plain)
	}
	if plain == body {
		return body, nil
	}
	return &decoder{plain}, nil
}

// decoder gives a decompressor's errors the form of the engine's. io.EOF is
// passed on bare: compress.Reader wraps it, which io.Copy would not recognise.
type decoder struct{ io.Reader }

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		err = io.EOF
	default:
		err = refuse(codeCannotDecompress, "CANNOT_DECOMPRESS", "request body: %v", err)
	}
	return n, err
}

// chooseCodec takes the first supported encoding of an Accept-Encoding header.
func chooseCodec(accept string) string {
	for item := range strings.SplitSeq(accept, ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(item), ";")
		if strings.TrimSpace(quality) == "q=0" {
			continue
		}
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "gzip", "deflate", "br", "zstd", "lz4":
			return name
		}
	}
	return ""
}

// encoder makes the writer for a response's Content-Encoding.
func encoder(codec string, w io.Writer) io.WriteCloser {
	switch codec {
	case "gzip":
		return gzip.NewWriter(w)
	case "deflate":
		return zlib.NewWriter(w)
	case "br":
		return brotli.NewWriterLevel(w, brotli.BestSpeed)
	case "zstd":
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err) // constant options: cannot happen
		}
		return z
	case "lz4":
		return lz4.NewWriter(w)
	}
	return nil
}

// framer writes ClickHouse's compressed frames.
type framer struct {
	w     io.Writer
	block *compress.Writer
}

// maxFrame is how much goes into one frame before compression, as in ClickHouse.
const maxFrame = 1 << 20

func newFramer(w io.Writer, method string) *framer {
	m := compress.LZ4
	switch strings.ToUpper(method) {
	case "ZSTD":
		m = compress.ZSTD
	case "LZ4HC":
		m = compress.LZ4HC
	case "NONE":
		m = compress.None
	}
	return &framer{w: w, block: compress.NewWriter(compress.LevelZero, m)}
}

func (f *framer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), maxFrame)
		if err := f.block.Compress(p[:n]); err != nil {
			return written, err
		}
		if _, err := f.w.Write(f.block.Data); err != nil {
			return written, err
		}
		written += n
		p = p[n:]
	}
	return written, nil
}
