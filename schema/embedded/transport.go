package embedded

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// roundTripper hands requests to a handler in the process.
type roundTripper struct{ handler http.Handler }

// RoundTrip runs the handler beside the caller and answers as soon as the
// handler sends its headers; the body is streamed. When the request's context
// ends, it returns at once, and the handler cleans up behind it.
func (t *roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	reader, writer := io.Pipe()
	answer := &pipedAnswer{header: make(http.Header), body: writer, ready: make(chan struct{})}
	inner := r.Clone(ctx)
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	sent := inner.Body // the handler may replace inner.Body
	stop := context.AfterFunc(ctx, func() {
		// Wakes whoever waits for either body.
		sent.Close()
		writer.CloseWithError(context.Cause(ctx))
	})
	go func() {
		defer cancel()
		defer stop()
		defer sent.Close()
		defer answer.end()
		t.handler.ServeHTTP(answer, inner)
	}()
	select {
	case <-answer.ready:
		return answer.response(r, reader), nil
	case <-ctx.Done():
		if r.Context().Err() == nil { // the handler is done, and cancelled itself
			<-answer.ready
			return answer.response(r, reader), nil
		}
		return nil, context.Cause(ctx)
	}
}

// CloseIdleConnections is here for http.Client; there are no connections.
func (t *roundTripper) CloseIdleConnections() {}

// pipedAnswer is the http.ResponseWriter of a request in the process.
type pipedAnswer struct {
	header http.Header
	body   *io.PipeWriter
	ready  chan struct{} // closed when the fields below are set

	once   sync.Once
	status int
	sent   http.Header
	length int64 // -1 when a body follows
}

func (a *pipedAnswer) Header() http.Header { return a.header }

func (a *pipedAnswer) WriteHeader(status int) { a.send(status, -1) }

func (a *pipedAnswer) send(status int, length int64) {
	a.once.Do(func() {
		a.status, a.sent, a.length = status, a.header.Clone(), length
		close(a.ready)
	})
}

func (a *pipedAnswer) Write(b []byte) (int, error) {
	a.send(http.StatusOK, -1)
	return a.body.Write(b)
}

// end is deferred around the handler. An aborted handler has written its
// exception frame, which the client finds at the body's end; no other panic may
// look like a complete answer.
func (a *pipedAnswer) end() {
	err := io.EOF
	if p := recover(); p != nil && p != http.ErrAbortHandler {
		a.body.CloseWithError(io.ErrUnexpectedEOF)
		panic(p)
	}
	a.send(http.StatusOK, 0)
	a.body.CloseWithError(err)
}

func (a *pipedAnswer) response(r *http.Request, body io.ReadCloser) *http.Response {
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.sent, Body: body, ContentLength: a.length, Request: r,
	}
}
