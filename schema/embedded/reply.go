package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// ioTimeout is how long a client of an endpoint may take none of the answer
// that is ready, or send nothing of a body that is awaited.
const ioTimeout = time.Minute

// maxExceptionFrame is the room for an exception behind a partial result, which
// clients look for within the last 16 KiB.
const maxExceptionFrame = 15 << 10

// reply writes an answer: headers with the first byte of the result, the result
// encoded as the client wants it, or an exception in its place or behind it.
type reply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	version string
	begun   time.Time
	tag     string // marks an exception behind a partial result

	started bool
	out     io.Writer      // where the plain result goes
	closer  io.WriteCloser // Content-Encoding, nil for none
}

func newReply(w http.ResponseWriter, e *Engine) *reply {
	p := &reply{
		w: w, control: http.NewResponseController(w), version: e.version, begun: time.Now(),
		tag: strings.ToLower(rand.Text()[:16]),
	}
	h := w.Header()
	h.Set("X-ClickHouse-Server-Display-Name", "haptrail")
	h.Set("X-ClickHouse-Timezone", e.timezone)
	h.Set("X-ClickHouse-Exception-Tag", p.tag)
	return p
}

// start sends the headers of a success.
func (p *reply) start(q *request, format string, done progress) {
	if p.started {
		return
	}
	p.started = true
	h := p.w.Header()
	h.Set("X-ClickHouse-Format", format)
	h.Set("Content-Type", contentType(format))
	h.Set("X-ClickHouse-Summary", fmt.Sprintf(
		`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d","total_rows_to_read":"0","result_rows":"0","result_bytes":"0","elapsed_ns":"%d"}`,
		done.readRows, done.readBytes, done.writtenRows, done.writtenBytes, time.Since(p.begun).Nanoseconds()))
	p.out = deadlineWriter{p.w, p.control}
	if q.codec != "" {
		h.Set("Content-Encoding", q.codec)
		p.closer = encoder(q.codec, p.out)
		p.out = p.closer
	}
	if q.framed {
		p.out = newFramer(p.out, q.settings["network_compression_method"])
	}
	p.w.WriteHeader(http.StatusOK)
}

// finish ends a success.
func (p *reply) finish() error {
	if p.closer != nil {
		return p.closer.Close()
	}
	return nil
}

// fail ends the answer with an exception. Behind a partial result it comes in
// the frame in which ClickHouse's server sends it, and the connection breaks
// off, so that no client can take the part for the whole.
func (p *reply) fail(err error) {
	var ex *exception
	if !errors.As(err, &ex) {
		ex = refuse(codeStd, "STD_EXCEPTION", "%v", err)
	}
	text := fmt.Sprintf("%s (version %s)\n", ex.text, p.version)
	if !p.started {
		h := p.w.Header()
		h.Set("X-ClickHouse-Exception-Code", fmt.Sprint(ex.code))
		h.Set("Content-Type", "text/plain; charset=UTF-8")
		if ex.code == codeRequiredPassword {
			h.Set("WWW-Authenticate", `Basic realm="haptrail engine"`)
		}
		p.started = true
		p.w.WriteHeader(ex.status())
		io.WriteString(p.w, text)
		return
	}
	text = text[:min(len(text), maxExceptionFrame)]
	frame := fmt.Sprintf("\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", p.tag, text, len(text), p.tag)
	if p.closer != nil {
		io.WriteString(p.closer, frame)
		p.closer.Close()
	} else {
		io.WriteString(deadlineWriter{p.w, p.control}, frame)
	}
	p.control.Flush()
	panic(http.ErrAbortHandler)
}

// deadlineWriter gives each write its own deadline where the connection has one.
type deadlineWriter struct {
	w       io.Writer
	control *http.ResponseController
}

func (d deadlineWriter) Write(b []byte) (int, error) {
	d.control.SetWriteDeadline(time.Now().Add(ioTimeout))
	n, err := d.w.Write(b)
	d.control.SetWriteDeadline(time.Time{})
	return n, err
}

// deadlineReader is the same for reads of a body. The deadline is lifted after
// each read: net/http watches the connection while a statement runs and would
// take a timeout then for the client's end.
type deadlineReader struct {
	io.ReadCloser
	control *http.ResponseController
}

func (d deadlineReader) Read(b []byte) (int, error) {
	d.control.SetReadDeadline(time.Now().Add(ioTimeout))
	n, err := d.ReadCloser.Read(b)
	d.control.SetReadDeadline(time.Time{})
	return n, err
}

// contentType is what ClickHouse sends with a format.
func contentType(format string) string {
	switch {
	case strings.HasPrefix(format, "TabSeparated"), strings.HasPrefix(format, "TSV"):
		return "text/tab-separated-values; charset=UTF-8"
	case strings.HasPrefix(format, "CSVWithNames"):
		return "text/csv; charset=UTF-8; header=present"
	case strings.HasPrefix(format, "CSV"):
		return "text/csv; charset=UTF-8; header=absent"
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	case format == "XML":
		return "application/xml; charset=UTF-8"
	case format == "Native", format == "Parquet", format == "ORC", format == "Avro", format == "Npy",
		strings.HasPrefix(format, "RowBinary"), strings.HasPrefix(format, "Arrow"), strings.HasPrefix(format, "Protobuf"):
		return "application/octet-stream"
	}
	return "text/plain; charset=UTF-8"
}
